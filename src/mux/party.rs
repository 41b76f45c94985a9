//! What handles have in common that one thread opened with the same options. Their account counts a
//! party and not each of them, so that threads that open handles don't wait for each other's processors.

use std::sync::Arc;

use super::{Mux, account::Account};
use crate::opts::Opts;

/// See the module.
#[derive(Debug)]
pub(crate) struct Party {
    pub mux: Mux,
    pub opts: Opts,
    pub account: Arc<Account>,
    /// The schema that its handles begin in.
    pub schema: Option<Arc<str>>,
    /// The account counts it.
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

    /// The same with other options that belong to the same account.
    pub(super) fn with_opts(&self, opts: Opts) -> Party {
        if self.counted {
            self.account.join();
        }
        Party {
            mux: self.mux.clone(),
            opts,
            account: self.account.clone(),
            schema: self.schema.clone(),
            counted: self.counted,
        }
    }

    /// The same as a guest at another server.
    pub(super) fn at(&self, account: Arc<Account>) -> Party {
        Party {
            mux: self.mux.clone(),
            opts: self.opts.clone(),
            account,
            schema: self.schema.clone(),
            counted: false,
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
