//! Those who wait for a place or a link, in order. What is given to one goes straight to it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    account::Account,
    handed::Handed,
    wish::{Grant, Need, Wish},
};
use crate::link::Face;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub wish: Wish,
    ticket: u64,
    pub granted: Handed<Grant>,
}

/// Those who wait, by what they wait for: the first of each kind stands for the rest of it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Vec<VecDeque<Arc<Waiter>>>,
    next_ticket: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    /// Somebody waits for the same.
    pub(super) fn has_line(&self, account: &Arc<Account>, need: Need) -> bool {
        self.line(account, need).is_some()
    }

    /// How many wait for the same.
    pub(super) fn in_line(&self, account: &Arc<Account>, need: Need) -> usize {
        self.line(account, need)
            .map_or(0, |at| self.lines[at].len())
    }

    fn line(&self, account: &Arc<Account>, need: Need) -> Option<usize> {
        let is_it = |waiter: &Arc<Waiter>| waiter.wish.is_like(account, need);
        self.lines
            .iter()
            .position(|line| line.front().is_some_and(is_it))
    }

    pub(super) fn join(&mut self, wish: Wish, face: Face) -> Arc<Waiter> {
        self.next_ticket += 1;
        let at = self.line(&wish.account, wish.need);
        let waiter = Arc::new(Waiter {
            wish,
            ticket: self.next_ticket,
            granted: Handed::new(face),
        });
        match at {
            Some(at) => self.lines[at].push_back(waiter.clone()),
            None => self.lines.push(VecDeque::from([waiter.clone()])),
        }
        waiter
    }

    /// The only one who stands first, where all wait for the same.
    pub(super) fn only_head(&self) -> Option<Arc<Waiter>> {
        match &self.lines[..] {
            [line] => line.front().cloned(),
            _ => None,
        }
    }

    pub(super) fn leave(&mut self, waiter: &Arc<Waiter>) {
        if let Some(at) = self.line(&waiter.wish.account, waiter.wish.need) {
            let line = &mut self.lines[at];
            match line.front() {
                Some(first) if Arc::ptr_eq(first, waiter) => drop(line.pop_front()),
                _ => line.retain(|w| !Arc::ptr_eq(w, waiter)),
            }
            if self.lines[at].is_empty() {
                self.lines.swap_remove(at);
            }
        }
    }

    /// Those who stand first, the one who came first before the others.
    pub(super) fn heads(&self) -> Vec<Arc<Waiter>> {
        let mut heads: Vec<_> = self
            .lines
            .iter()
            .filter_map(|line| line.front().cloned())
            .collect();
        heads.sort_by_key(|w| w.ticket);
        heads
    }

    /// All of one account.
    pub(super) fn take_all(&mut self, account: Option<&Arc<Account>>) -> Vec<Arc<Waiter>> {
        let theirs = |line: &VecDeque<Arc<Waiter>>| {
            line.front()
                .is_some_and(|w| account.is_none_or(|a| Arc::ptr_eq(&w.wish.account, a)))
        };
        let (taken, left) = std::mem::take(&mut self.lines)
            .into_iter()
            .partition(theirs);
        self.lines = left;
        let taken: Vec<VecDeque<_>> = taken;
        taken.into_iter().flatten().collect()
    }

    /// How many of such accounts wait to have a link alone, of those who run long no more than `slow`.
    pub(super) fn alone(&self, slow: usize, of: impl Fn(&Account) -> bool) -> usize {
        let count = |need: fn(Need) -> bool| {
            let is_it = |w: &Arc<Waiter>| need(w.wish.need) && of(&w.wish.account);
            self.lines
                .iter()
                .filter(|line| line.front().is_some_and(is_it))
                .map(VecDeque::len)
                .sum::<usize>()
        };
        count(|need| matches!(need, Need::Alone | Need::Proof))
            + count(|need| need == Need::Slow).min(slow)
    }
}
