//! Over how many lanes statements are spread, where many are in flight: as many as serve them best.
//!
//! More lanes have more of the server's threads work, and cut what would go out and come back in one
//! piece into several. What is better depends on the server's cores, on how far away it is and on the
//! statements, none of which can be told from here; so it is tried. What is sought is the least mean
//! time to a reply over the rate of statements (Kleinrock's "power", the other way up): where callers
//! wait for each other the rate shows what is better, where they come as they like the time. Arrivals
//! alone tell both, as by Little's law what is in flight is the rate times the time. Knows no
//! lane and no clock.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// Statements in flight per lane that are a crowd.
const CROWD: usize = 4;

/// It is one until they are as few as this.
const FEW: usize = 2;

/// How long an epoch takes at least, once it was waited for as long until what is otherwise now shows: a
/// scheduler that has to move threads between cores takes some 50 ms to.
const TIME: Duration = Duration::from_millis(100);

/// Where nothing arrives for so long, the load has ended or is another. Commits that wait for a disk are
/// a tenth of a second late at times.
const GAP: Duration = Duration::from_millis(500);

/// Arrivals that an epoch takes at least.
const ARRIVALS: u64 = 512;

/// Epochs of the other width that a trial has at most; the most of them have to agree.
const OTHERS: usize = 3;

/// Another width is better where it costs less than this part of what the best so far does.
const BETTER: f64 = 0.9;

/// Where it costs less than this, chance has no more to say once it has come twice.
const MUCH_BETTER: f64 = 0.75;

/// Where it costs more than this, to be surer of it would cost too much.
const MUCH_WORSE: f64 = 1.5;

/// How often a trial may be interrupted in turn: a load that comes in bursts is no place for it.
const BREAKS: u32 = 3;

/// Epochs from a trial in vain to the next: at first, and where nothing has come of them for long.
const PAUSE: RangeInclusive<u32> = 4..=256;

/// Arrivals over which it is averaged what they find.
const SMOOTH: usize = 64;

/// All lanes that there are, at first and until fewer have been found to be better.
const ALL: usize = usize::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Width {
    /// Whose crowd all the rest is of.
    who: usize,
    best: usize,
    phase: Phase,
    /// Trials since it became the best.
    tried: usize,
    pause: u32,
    /// Moving average of what arrivals find in flight, times [`SMOOTH`].
    usual: usize,
    is_crowd: bool,
    /// When the last of them arrived whose time is known.
    last: Option<Instant>,
    epoch: Option<Epoch>,
}

#[derive(Debug)]
enum Phase {
    /// So many epochs are left until the next trial.
    Rest(u32),
    Trial(Trial),
}

/// Epochs of the best width so far and of another in turns, each of the other between two of the best: a load
/// that grows or abates all the while favours neither.
#[derive(Debug)]
struct Trial {
    width: usize,
    /// What the best width so far cost last.
    best: Option<f64>,
    /// What the other has cost since.
    other: Option<f64>,
    /// What the other cost, as parts of what the best did before and after it.
    parts: Vec<f64>,
    /// How often it was interrupted since the last of them.
    breaks: u32,
}

#[derive(Debug)]
struct Epoch {
    began: Instant,
    /// What went by another width has its replies, and what is otherwise shows: arrivals count.
    counts: bool,
    arrivals: u64,
    /// Sum of what each arrival found in flight.
    found: u64,
    /// Arrivals that went to any lane.
    apart: u64,
}

impl Default for Width {
    fn default() -> Self {
        Width {
            who: 0,
            best: ALL,
            phase: Phase::Rest(0),
            tried: 0,
            pause: *PAUSE.start(),
            usual: 0,
            is_crowd: false,
            last: None,
            epoch: None,
        }
    }
}

impl Width {
    /// How many lanes are used first, where statements are a crowd.
    #[inline]
    pub(super) fn wide(&self) -> usize {
        match &self.phase {
            Phase::Trial(trial) if trial.is_others_turn() => trial.width,
            _ => self.best,
        }
    }

    /// There were many in flight of late.
    #[inline]
    pub(super) fn is_crowd(&self) -> bool {
        self.is_crowd
    }

    /// A statement arrives, and finds so many in flight on so many lanes, or waiting for them. Gives
    /// whether it goes to the first lanes only: they are many, and quick. The time need not be known of
    /// all.
    ///
    /// One crowd at a time is looked after, `who`'s: others go to any of their lanes.
    #[inline]
    pub(super) fn matters(
        &mut self,
        who: usize,
        lanes: usize,
        found: usize,
        quick: bool,
        now: Option<Instant>,
    ) -> bool {
        let is_crowd = found >= lanes * CROWD;
        if lanes < 2 || (who != self.who && !(is_crowd && self.begins_anew(who, now))) {
            return false;
        }
        self.usual = self.usual - self.usual / SMOOTH + found;
        let least = if self.is_crowd { FEW } else { CROWD };
        self.is_crowd = self.usual >= lanes * least * SMOOTH;
        if !self.is_crowd {
            self.interrupt();
            return false;
        }
        if self.is_over(now) {
            self.interrupt();
        }
        self.last = now.or(self.last);
        self.arrival(lanes, found as u64, quick, now);
        quick
    }

    /// Nothing has arrived for so long that the load has ended, or is another.
    fn is_over(&self, now: Option<Instant>) -> bool {
        match (self.last, now) {
            (Some(last), Some(now)) => now.saturating_duration_since(last) >= GAP,
            _ => false,
        }
    }

    /// For another's crowd, where there is none.
    fn begins_anew(&mut self, who: usize, now: Option<Instant>) -> bool {
        let is_free = self.last.is_none() || self.is_over(now);
        if is_free {
            *self = Width {
                who,
                ..Width::default()
            };
        }
        is_free
    }

    /// What was being measured says nothing, and what is to be compared with it is measured anew.
    fn interrupt(&mut self) {
        self.epoch = None;
        if let Phase::Trial(trial) = &mut self.phase
            && trial.best.take().is_some()
        {
            trial.other = None;
            trial.breaks += 1;
            if trial.breaks == BREAKS {
                self.rest();
            }
        }
    }

    fn arrival(&mut self, lanes: usize, found: u64, quick: bool, now: Option<Instant>) {
        let epoch = match (&mut self.epoch, now) {
            (Some(epoch), _) => epoch,
            (none, Some(now)) => none.insert(Epoch::new(now, false)),
            (None, None) => return,
        };
        epoch.arrivals += 1;
        epoch.found += found;
        epoch.apart += u64::from(!quick);
        let Some(now) = now else {
            return;
        };
        let elapsed = now.saturating_duration_since(epoch.began);
        // All who come again and again have their turns.
        if elapsed < TIME || epoch.arrivals < ARRIVALS.max(2 * found) {
            return;
        }
        if epoch.apart * 4 > epoch.arrivals {
            self.epoch = None;
            // What takes long with the other may do so because of it.
            if let Phase::Trial(trial) = &self.phase
                && trial.is_others_turn()
            {
                self.end(lanes, false);
            }
            return;
        }
        if !epoch.counts {
            *epoch = Epoch::new(now, true);
            return;
        }
        let arrivals = epoch.arrivals as f64;
        let interval = elapsed.as_secs_f64() / arrivals;
        let time = interval * (epoch.found as f64 / arrivals);
        self.epoch = None;
        self.measured(lanes, interval * time);
    }

    /// An epoch is over, and had this cost.
    fn measured(&mut self, lanes: usize, cost: f64) {
        match &mut self.phase {
            Phase::Rest(left @ 1..) => *left -= 1,
            Phase::Rest(_) => {
                let width = self.next(lanes);
                self.phase = Phase::Trial(Trial {
                    width,
                    best: Some(cost),
                    other: None,
                    parts: Vec::new(),
                    breaks: 0,
                });
            }
            Phase::Trial(trial) => {
                if let Some(better) = trial.measured(cost) {
                    self.end(lanes, better);
                }
            }
        }
    }

    /// What is to be tried: one lane and all of them, as there is often no more to choose from than
    /// whether the server has cores left; and half as many and twice.
    fn next(&self, lanes: usize) -> usize {
        let best = self.best.min(lanes);
        let widths = [1, best / 2, (best * 2).min(lanes), lanes];
        let others = widths
            .into_iter()
            .filter(|width| *width != best && *width > 0);
        let mut others: Vec<_> = others.collect();
        others.dedup();
        others[self.tried % others.len()]
    }

    fn end(&mut self, lanes: usize, better: bool) {
        let Phase::Trial(Trial { width, .. }) = self.phase else {
            return;
        };
        if better {
            self.best = if width >= lanes { ALL } else { width };
            self.tried = 0;
            self.pause = *PAUSE.start();
            // What helped may help once more.
            self.phase = Phase::Rest(0);
        } else {
            self.tried += 1;
            self.rest();
        }
    }

    /// The next trial is in vain too, most likely.
    fn rest(&mut self) {
        self.phase = Phase::Rest(self.pause);
        self.pause = (self.pause * 2).min(*PAUSE.end());
    }
}

impl Epoch {
    fn new(began: Instant, counts: bool) -> Epoch {
        Epoch {
            began,
            counts,
            arrivals: 0,
            found: 0,
            apart: 0,
        }
    }
}

impl Trial {
    fn is_others_turn(&self) -> bool {
        self.best.is_some() && self.other.is_none()
    }

    /// Whether the other width is better, once that is known.
    fn measured(&mut self, cost: f64) -> Option<bool> {
        if self.is_others_turn() {
            self.other = Some(cost);
            return None;
        }
        let before = self.best.replace(cost)?;
        let other = self.other.take()?;
        self.parts.push(other / (before * cost).sqrt());
        self.breaks = 0;
        self.verdict()
    }

    /// Whether the other width is better by more than chance may do; `None`: not known yet.
    fn verdict(&self) -> Option<bool> {
        const MOST: usize = OTHERS / 2 + 1;
        let less_than = |most: f64| self.parts.iter().filter(|part| **part < most).count();
        let done = self.parts.len();
        if done - less_than(BETTER) >= MOST || less_than(MUCH_WORSE) < done {
            return Some(false);
        }
        (less_than(MUCH_BETTER) >= MOST || done == OTHERS).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds from `now` of callers that come again and again, to whom replies come after what
    /// `time` says of so many lanes; gives how long each width was used, in milliseconds.
    fn run(
        width: &mut Width,
        now: &mut Instant,
        lanes: usize,
        callers: usize,
        seconds: u64,
        time: impl Fn(usize) -> Duration,
    ) -> Vec<u128> {
        let end = *now + Duration::from_secs(seconds);
        let mut used = vec![Duration::ZERO; lanes + 1];
        let mut clock = [true, false].into_iter().cycle();
        while *now < end {
            let wide = width.wide().min(lanes);
            let next = time(wide) / callers as u32;
            used[wide] += next;
            *now += next;
            let now = clock.next().filter(|known| *known).map(|_| *now);
            width.matters(1, lanes, callers, true, now);
        }
        used.iter().map(Duration::as_millis).collect()
    }

    fn micros(n: usize) -> Duration {
        Duration::from_micros(n as u64)
    }

    #[test]
    fn fewer_lanes_are_used_where_they_answer_sooner() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        assert_eq!(width.wide(), ALL, "until it is known");
        run(&mut width, &mut now, 4, 64, 6, |wide| {
            micros(500 + 100 * wide)
        });
        assert_eq!(width.best, 1);
        let used = run(&mut width, &mut now, 4, 64, 60, |wide| {
            micros(500 + 100 * wide)
        });
        assert!(used[1] > 50_000, "trials cost little: {used:?}");
    }

    #[test]
    fn all_lanes_are_used_where_a_server_has_cores_for_them() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        let used = run(&mut width, &mut now, 8, 64, 100, |wide| micros(4000 / wide));
        assert_eq!(width.best, ALL);
        assert!(used[8] > 98_000, "{used:?}");
    }

    #[test]
    fn of_callers_who_come_as_they_like_the_time_counts() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        for _ in 0..500_000 {
            now += micros(20);
            let in_flight = 30 + 10 * width.wide().min(4);
            width.matters(1, 4, in_flight, true, Some(now));
        }
        assert_eq!(width.best, 1);
    }

    #[test]
    fn what_is_between_is_found_too_and_what_changes_is_found_again() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        let best_with = |best: usize| move |wide: usize| micros(1000 + 300 * wide.abs_diff(best));
        run(&mut width, &mut now, 8, 64, 10, best_with(2));
        assert_eq!(width.best, 2);
        run(&mut width, &mut now, 8, 64, 200, best_with(4));
        assert_eq!(width.best, 4);
        run(&mut width, &mut now, 8, 64, 200, best_with(8));
        assert_eq!(width.best, ALL);
    }

    #[test]
    fn what_makes_no_difference_changes_nothing() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        let used = run(&mut width, &mut now, 4, 64, 200, |_| micros(1000));
        assert_eq!(width.best, ALL);
        assert!(used[4] > 190_000, "{used:?}");
    }

    #[test]
    fn a_load_that_grows_or_abates_favours_no_width() {
        for factor in [0.92, 1.08] {
            let (mut width, mut now) = (Width::default(), Instant::now());
            let mut time = 1_000_000.0;
            for _ in 0..40 {
                let end = now + 2 * TIME;
                while now < end {
                    now += Duration::from_nanos(time as u64 / 64);
                    width.matters(1, 4, 64, true, Some(now));
                }
                time *= factor;
            }
            assert_eq!(width.best, ALL, "{factor}");
            assert_ne!(width.tried, 0, "it was tried");
        }
    }

    #[test]
    fn a_trial_that_is_interrupted_goes_back_to_what_is_known() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        let arrive = |width: &mut Width, now: &mut Instant, found| {
            *now += micros(20);
            width.matters(1, 4, found, true, Some(*now));
        };
        while width.wide() == ALL {
            arrive(&mut width, &mut now, 64);
        }
        (0..500).for_each(|_| arrive(&mut width, &mut now, 0));
        assert_eq!(width.wide(), ALL, "they are few now");
        while width.wide() == ALL {
            arrive(&mut width, &mut now, 64);
        }
        now += GAP;
        arrive(&mut width, &mut now, 64);
        assert_eq!(width.wide(), ALL, "there was nobody for long");
        while width.wide() == ALL {
            arrive(&mut width, &mut now, 64);
        }
        for _ in 0..50_000 {
            now += micros(20);
            width.matters(1, 4, 64, false, Some(now));
        }
        assert_eq!(width.wide(), ALL, "they are slow now");
    }

    #[test]
    fn a_load_that_comes_and_goes_has_its_trials_too() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        for _ in 0..4 {
            // Not as long as a trial takes that has to be sure.
            run(&mut width, &mut now, 4, 64, 1, |wide| {
                micros(1000 + 50 * wide)
            });
            now += Duration::from_secs(10);
        }
        assert_eq!(width.best, 1);
    }

    #[test]
    fn bursts_that_no_trial_fits_into_have_few() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        let mut used = [Duration::ZERO; 2];
        for _ in 0..2000 {
            let end = now + Duration::from_millis(350);
            while now < end {
                used[usize::from(width.wide() != ALL)] += micros(20);
                now += micros(20);
                width.matters(1, 4, 64, true, Some(now));
            }
            now += Duration::from_secs(1);
        }
        assert!(used[1] * 20 < used[0], "{used:?}");
        assert_ne!(used[1], Duration::ZERO, "it is tried");
    }

    #[test]
    fn what_is_found_twice_in_turn_is_believed() {
        let trial = |parts: &[f64]| {
            let trial = Trial {
                width: 1,
                best: None,
                other: None,
                parts: parts.to_vec(),
                breaks: 0,
            };
            trial.verdict()
        };
        assert_eq!(trial(&[]), None);
        assert_eq!(trial(&[0.1]), None, "once may be chance");
        assert_eq!(trial(&[0.7, 0.7]), Some(true));
        assert_eq!(trial(&[0.8, 0.8]), None);
        assert_eq!(trial(&[0.8, 1.2, 0.8]), Some(true));
        assert_eq!(trial(&[0.7, 1.0]), None);
        assert_eq!(trial(&[1.0, 1.0]), Some(false));
        assert_eq!(trial(&[0.7, 1.6]), Some(false), "it hurts");
        assert_eq!(trial(&[2.0]), Some(false));
    }

    #[test]
    fn who_comes_beside_a_crowd_changes_nothing_until_it_is_over() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        run(&mut width, &mut now, 4, 64, 6, |wide| {
            micros(500 + 100 * wide)
        });
        assert!(!width.matters(2, 2, 64, true, Some(now)));
        assert!(!width.matters(2, 2, 64, true, None));
        assert_eq!(width.best, 1);
        now += GAP;
        assert!(
            !width.matters(2, 2, 7, true, Some(now)),
            "nor then, if they are few"
        );
        assert_eq!(width.best, 1);
        width.matters(2, 2, 8, true, Some(now));
        assert_eq!((width.who, width.best), (2, ALL));
    }

    #[test]
    fn a_few_statements_are_no_crowd() {
        let (mut width, mut now) = (Width::default(), Instant::now());
        assert!(!width.matters(1, 4, 15, true, Some(now)));
        run(&mut width, &mut now, 4, 64, 6, |wide| {
            micros(500 + 100 * wide)
        });
        let crowd = |width: &mut Width, found, arrivals| {
            (0..arrivals).all(|_| width.matters(1, 4, found, true, None))
        };
        assert!(crowd(&mut width, 0, 20), "for a moment there are few");
        assert!(!crowd(&mut width, 0, 200));
        assert!(!crowd(&mut width, 15, 1000));
        assert_eq!(width.best, 1, "what was learnt is kept");
        assert!(!width.matters(1, 1, 1000, true, None), "there is no choice");
        assert!(!width.matters(1, 4, 100_000, false, None), "they are slow");
    }
}
