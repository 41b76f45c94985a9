//! What a thread opened last: the next handle with the same options goes straight to its party
//! or its account, by no lock and no map.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{account::Account, party::Party};
use crate::opts::Opts;

/// Numbers that a thread takes at a time.
const NUMBERS: u64 = 1 << 10;

/// Handles and muxes are numbered from 1: 0 is nobody.
static NEXT: AtomicU64 = AtomicU64::new(1);

struct Recent {
    mux: u64,
    opts: Opts,
    party: Weak<Party>,
    account: Weak<Account>,
}

/// What a thread remembers of options.
pub(super) enum Found {
    /// It has handles.
    Party(Arc<Party>),
    /// The party has no handle left. The group may have forgotten the account.
    Account(Arc<Account>),
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
    static LEFT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// What this thread remembers of these options.
///
/// Weak counts keep the memory of both, not their links.
pub(super) fn find(mux: u64, opts: &Opts) -> Option<Found> {
    RECENT
        .try_with(|recent| {
            let recent = recent.try_borrow().ok()?;
            let recent = recent.as_ref()?;
            if !recent.is_of(mux, opts) {
                return None;
            }
            let account = || recent.account.upgrade().map(Found::Account);
            recent.party.upgrade().map(Found::Party).or_else(account)
        })
        .ok()?
}

/// Remembers the party of its options.
pub(super) fn keep(party: &Arc<Party>) {
    let mux = party.mux.number();
    // A thread that ends remembers nothing.
    let _ = RECENT.try_with(|recent| {
        let Ok(mut recent) = recent.try_borrow_mut() else {
            return;
        };
        match recent.as_mut().filter(|r| r.is_of(mux, &party.opts)) {
            Some(recent) => {
                recent.party = Arc::downgrade(party);
                if !std::ptr::eq(recent.account.as_ptr(), &*party.account) {
                    recent.account = Arc::downgrade(&party.account);
                }
            }
            None => {
                *recent = Some(Recent {
                    mux,
                    opts: party.opts.clone(),
                    party: Arc::downgrade(party),
                    account: Arc::downgrade(&party.account),
                });
            }
        }
    });
}

impl Recent {
    fn is_of(&self, mux: u64, opts: &Opts) -> bool {
        self.mux == mux && self.opts.is(opts)
    }
}

/// A number that handles of the same thread have, mostly.
pub(super) fn block(number: u64) -> u64 {
    number / NUMBERS
}

/// A number that no other handle has.
pub(super) fn number() -> u64 {
    let fresh = || NEXT.fetch_add(NUMBERS, Ordering::Relaxed);
    LEFT.try_with(|left| {
        let (next, end) = left.get();
        let (next, end) = match next < end {
            true => (next, end),
            false => {
                let begin = fresh();
                (begin, begin + NUMBERS)
            }
        };
        left.set((next + 1, end));
        next
    })
    .unwrap_or_else(|_| fresh())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_handles_have_a_number() {
        let of_thread = || (0..3000).map(|_| number()).collect::<Vec<_>>();
        let others: Vec<_> = (0..4).map(|_| std::thread::spawn(of_thread)).collect();
        let mut all = of_thread();
        for other in others {
            all.extend(other.join().unwrap());
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all[0] > 0);
    }
}
