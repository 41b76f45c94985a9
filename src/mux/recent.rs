//! What a thread opened last: the next handle with the same options goes straight to its party, or begins
//! another of the same account, by no lock and no map.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Mux, account::Account, party::Party};
use crate::opts::{Opts, OptsMark};

/// Numbers that a thread takes at a time.
const NUMBERS: u64 = 1 << 10;

/// Handles and muxes are numbered from 1: 0 is nobody.
static NEXT: AtomicU64 = AtomicU64::new(1);

struct Recent {
    mux: u64,
    opts: OptsMark,
    party: Weak<Party>,
    account: Weak<Account>,
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
    static LEFT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The party of these options in this thread, if it takes no lock to have it.
///
/// Weak counts keep the memory of what a thread remembers, not its links, nor its secrets.
pub(super) fn find(mux: &Mux, opts: &Opts) -> Option<Arc<Party>> {
    RECENT
        .try_with(|recent| {
            let mut recent = recent.try_borrow_mut().ok()?;
            let is_it = |r: &&mut Recent| r.mux == mux.number() && r.opts.is_of(opts);
            let recent = recent.as_mut().filter(is_it)?;
            if let Some(party) = recent.party.upgrade() {
                return Some(party);
            }
            // Who opens handles one at a time. The group may have forgotten the account.
            let account = recent.account.upgrade()?;
            account.join_others().then(|| {
                let party = Arc::new(Party::counted(mux, opts, account));
                recent.party = Arc::downgrade(&party);
                party
            })
        })
        .ok()?
}

/// Remembers the party of its options.
pub(super) fn keep(party: &Arc<Party>) {
    // A thread that ends remembers nothing.
    let _ = RECENT.try_with(|recent| {
        if let Ok(mut recent) = recent.try_borrow_mut() {
            *recent = Some(Recent {
                mux: party.mux.number(),
                opts: party.opts.mark(),
                party: Arc::downgrade(party),
                account: Arc::downgrade(&party.account),
            });
        }
    });
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
