//! What handles have in common that one thread opened with the same options. Their account counts a
//! party and not each of them, so that threads that open handles don't wait for each other's processors.
//! A handle that is at several servers is a party by itself, and so is one whose options have changed.

use std::sync::Arc;

use super::{Mux, account::Account};
use crate::opts::Opts;

/// See the module.
#[derive(Debug)]
pub(super) struct Party {
    pub mux: Mux,
    pub opts: Opts,
    pub account: Arc<Account>,
    /// The schema that its handles begin in.
    pub schema: Option<Arc<str>>,
    /// The account counts it. Else it is a guest: one handle's, which its home counts.
    counted: bool,
}

impl Party {
    /// Of an account that has counted it.
    pub(super) fn counted(mux: &Mux, opts: &Opts, account: Arc<Account>) -> Party {
        let schema = opts.session().db_name.as_deref().map(Into::into);
        Party {
            mux: mux.clone(),
            opts: opts.clone(),
            account,
            schema,
            counted: true,
        }
    }

    /// Of an account that others keep.
    pub(super) fn guest(mux: &Mux, opts: &Opts, account: Arc<Account>) -> Party {
        let mut party = Party::counted(mux, opts, account);
        party.counted = false;
        party
    }

    /// Goes to another server.
    pub(super) fn go_to(&mut self, account: &Arc<Account>) {
        debug_assert!(!self.counted, "whose account has it counted");
        self.account = account.clone();
    }
}

/// For a handle that goes another way than the others.
impl Clone for Party {
    fn clone(&self) -> Party {
        if self.counted {
            self.account.join();
        }
        Party {
            mux: self.mux.clone(),
            opts: self.opts.clone(),
            account: self.account.clone(),
            schema: self.schema.clone(),
            counted: self.counted,
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if self.counted {
            self.account.exit();
        }
    }
}
