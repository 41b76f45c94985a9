//! Who of those that share a session left what in it: what a server says of that are a few numbers, of which
//! nobody else may take its own. Knows nothing of places, nor of how replies come.

use super::{Entry, Session};
use crate::{
    link::{
        MANY, NOBODY,
        sync::{AtomicU64, Ordering::Relaxed},
    },
    proto::{
        pipeline::Reply,
        result::{Outcome, Response},
    },
    session::InsertId,
};

/// An id that is not known. No table gives it.
const UNKNOWN: u64 = u64::MAX;

/// Handles, by what of theirs is there; [`MANY`]: nobody knows. What is noted of a statement that is asked is
/// noted under the lane's lock, what is noted of a reply by who reads.
pub(super) struct Owners {
    /// The only handle that used the session since it began, 0 for none.
    user: AtomicU64,
    /// The handle that asked last.
    last: AtomicU64,
    /// The handle whose `LAST_INSERT_ID()` this is.
    insert_id: AtomicU64,
    /// What it is, if that is known.
    insert_id_known: AtomicU64,
    /// The handle whose `FOUND_ROWS()` this is.
    rows: AtomicU64,
    /// The handle whose warnings these are.
    warnings: AtomicU64,
}

impl Owners {
    pub(super) fn of(session: &Session) -> Owners {
        Owners {
            user: AtomicU64::new(session.owner),
            last: AtomicU64::new(session.last),
            insert_id: AtomicU64::new(session.insert_id_of),
            insert_id_known: AtomicU64::new(session.insert_id_known.unwrap_or(UNKNOWN)),
            rows: AtomicU64::new(session.rows_of),
            warnings: AtomicU64::new(session.warnings_of),
        }
    }

    /// Tells the session, which is one caller's again. `one_session`: it belongs to all who share it.
    pub(super) fn give_back(&self, session: &mut Session, one_session: bool) {
        if !one_session {
            session.owner = self.user.load(Relaxed);
        }
        session.last = self.last.load(Relaxed);
        session.insert_id_of = self.insert_id.load(Relaxed);
        let known = self.insert_id_known.load(Relaxed);
        session.insert_id_known = (known != UNKNOWN).then_some(known);
        session.rows_of = self.rows.load(Relaxed);
        session.warnings_of = self.warnings.load(Relaxed);
    }

    /// A handle asks. Under the lock: no need to compare and swap.
    #[inline]
    pub(super) fn asks(&self, handle: u64, prepares: bool) {
        let last = last_behind(self.last.load(Relaxed), handle, prepares);
        self.last.store(last, Relaxed);
        match self.user.load(Relaxed) {
            0 => self.user.store(handle, Relaxed),
            user if user == handle => {}
            _ => self.user.store(MANY, Relaxed),
        }
    }

    /// Whose `LAST_INSERT_ID()`, `FOUND_ROWS()` and warnings these are from here on. An id that is told may
    /// be one that the statement named, and leaves what was there.
    #[inline]
    pub(super) fn answered(&self, reply: &Reply, entry: &Entry, link: u32, mariadb: bool) {
        let handle = entry.handle;
        let Reply::Response(response) = reply else {
            if let Reply::Prepared(Err(_)) = reply {
                self.warnings.store(handle, Relaxed);
                // Unless a statement was sent behind it.
                let _ = self.last.compare_exchange(NOBODY, handle, Relaxed, Relaxed);
            }
            return;
        };
        if let Some(Outcome::Set(_)) = response.outcomes.back()
            && entry.is_query
        {
            self.rows.store(handle, Relaxed);
        } else if self.rows.load(Relaxed) != handle {
            // `INSERT … SELECT` counts rows, too.
            self.rows.store(MANY, Relaxed);
        }
        let warnings = self.warnings.load(Relaxed);
        let theirs = warnings != NOBODY && warnings != handle;
        let is_new = entry.careful || !mariadb || has_warnings(response, theirs);
        if is_new || warnings == NOBODY && entry.is_first {
            self.warnings.store(handle, Relaxed);
        } else if theirs {
            // One that uses tables clears them.
            self.warnings.store(MANY, Relaxed);
        }
        if leaves_insert_id(response, entry.careful) {
            let owner = self.insert_id.load(Relaxed);
            let known = self.insert_id_known.swap(UNKNOWN, Relaxed);
            let was_its = match entry.insert_id {
                InsertId::Known(0) if owner == 0 => true,
                InsertId::Known(id) => owner == handle && known == id,
                InsertId::OnLink(on) => owner == handle && on == link,
                InsertId::Lost => false,
            };
            let owner = if was_its { handle } else { MANY };
            self.insert_id.store(owner, Relaxed);
        }
    }

    /// A statement ran that was not to.
    pub(super) fn forget(&self) {
        for owner in [&self.insert_id, &self.rows, &self.warnings] {
            owner.store(MANY, Relaxed);
        }
    }

    pub(super) fn has_warnings_of(&self, handle: u64) -> bool {
        self.warnings.load(Relaxed) == handle
    }

    pub(super) fn has_insert_id_of(&self, handle: u64) -> bool {
        self.insert_id.load(Relaxed) == handle
    }
}

/// Whether a statement with this response left warnings or an error of its own.
///
/// `theirs`: there were another handle's warnings. On MariaDB a statement that uses no tables leaves
/// them, and tells how many they are.
pub(crate) fn has_warnings(response: &Response, theirs: bool) -> bool {
    response.outcomes.any(|outcome| {
        let ok = outcome.ok();
        ok.is_none_or(|ok| ok.warnings > 0 && !theirs)
    })
}

/// Whose `ROW_COUNT()` it is behind a handle's statement, where it was `last`'s: one that is only
/// prepared leaves it as it was.
pub(crate) fn last_behind(last: u64, handle: u64, prepares: bool) -> u64 {
    match prepares && last != handle {
        true => NOBODY,
        false => handle,
    }
}

/// Whether a neutral statement with this response may have changed `LAST_INSERT_ID()`: the id that
/// is told may be one that the statement named, and after an error nobody knows.
pub(crate) fn leaves_insert_id(response: &Response, writes: bool) -> bool {
    response.outcomes.any(|outcome| match outcome {
        Outcome::Ok(ok) => ok.last_insert_id != 0,
        // `INSERT … RETURNING` doesn't tell.
        Outcome::Set(_) => writes,
        Outcome::Err(_) => writes,
    })
}
