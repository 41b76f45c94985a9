//! Where the primary was, and when: tells what another server has, and how far behind it is. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::gtids::Gtids;

/// How far apart two positions are, where they are kept: what is in between says little more.
const APART: Duration = Duration::from_millis(250);

/// How many are kept: those of a minute at least.
const KEPT: usize = 256;

/// The positions of one server, one after the other.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Whose they are.
    source: u32,
    all: VecDeque<(Instant, Gtids)>,
}

/// What a server has of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Has {
    /// Whose.
    pub source: u32,
    /// It has all that was there then.
    pub until: Option<Instant>,
    /// It has not all that was there then, which it has got since it is asked.
    pub lacks_of: Option<Instant>,
}

impl History {
    /// `at`: no later than that the server was there.
    pub(super) fn push(&mut self, source: u32, at: Instant, position: Gtids) {
        if self.source != source {
            self.all.clear();
            self.source = source;
        }
        let crowded = match &*self.all.make_contiguous() {
            [.., (before, _), (last, _)] => *last < *before + APART,
            _ => false,
        };
        if crowded {
            self.all.pop_back();
        }
        if self.all.len() == KEPT {
            self.all.pop_front();
        }
        self.all.push_back((at, position));
    }

    /// What one that has reached this has of it. All of it, if it is its own.
    pub(super) fn has(&self, member: u32, reached: &Gtids) -> Has {
        let has_it = |position: &Gtids| member == self.source || reached.has(position);
        // Who has a later position has those before it.
        let has = self.all.partition_point(|(_, position)| has_it(position));
        let at = |n: usize| self.all.get(n).map(|(at, _)| *at);
        Has {
            source: self.source,
            until: has.checked_sub(1).and_then(at),
            lacks_of: at(has),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> Gtids {
        Gtids::reported(&format!("0-1-{number}"))
    }

    #[test]
    fn who_lacks_a_position_is_behind_since_then() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut history = History::default();
        assert_eq!(history.has(2, &position(1)).until, None);
        for n in 1..=9 {
            history.push(1, at(n), position(n * 10));
        }
        let has = |n: u64| {
            let has = history.has(2, &position(n));
            (has.until, has.lacks_of)
        };
        assert_eq!(has(9), (None, Some(at(1))));
        assert_eq!(has(35), (Some(at(3)), Some(at(4))));
        assert_eq!(has(90), (Some(at(9)), None));
        // It has what it has, whatever it got from others.
        assert_eq!(history.has(1, &position(9)).until, Some(at(9)));
    }

    #[test]
    fn another_primary_begins_anew() {
        let now = Instant::now();
        let mut history = History::default();
        history.push(1, now, position(5));
        history.push(2, now, position(3));
        let has = history.has(3, &position(3));
        assert_eq!((has.source, has.until, has.lacks_of), (2, Some(now), None));
    }

    #[test]
    fn those_close_together_are_one() {
        let begin = Instant::now();
        let mut history = History::default();
        for n in 0..10_000 {
            history.push(1, begin + Duration::from_millis(n), position(n));
        }
        assert_eq!(history.all.len(), 41);
        let last = begin + Duration::from_millis(9_999);
        assert_eq!(history.has(2, &position(9_999)).until, Some(last));
        for n in 0..10_000 {
            history.push(1, last + Duration::from_secs(n), position(n + 10_000));
        }
        assert_eq!(history.all.len(), KEPT);
    }
}
