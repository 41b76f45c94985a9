//! What callers want of a group, and what they get.

use std::sync::Arc;

use super::account::Account;
use crate::{
    error::Error,
    link::{Link, Place, Shape},
    opts::session::SessionOpts,
    session::variables::Shared,
};

/// What a caller needs for one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A place on a lane will do.
    Place,
    /// As [`Need::Place`], but it is known to run long: it would hold up those behind it.
    Slow,
    /// A link alone.
    Alone,
    /// This link alone, for what was left there; nothing, where it is not at hand.
    Exact(u32),
    /// A link that has proven the credentials; one that is being opened is waited for.
    Proof,
}

/// What a caller wishes.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub account: Arc<Account>,
    pub handle: u64,
    pub need: Need,
    /// The handle had a link alone before: its session may still be there.
    pub owns: bool,
    pub begin: Arc<SessionOpts>,
    pub schema: Option<Arc<str>>,
    pub vars: Shared,
    pub user: Shared,
    pub why: &'static str,
    /// There are other servers: a connect that fails is told at once, and not tried again.
    pub hurries: bool,
}

impl Wish {
    /// Of a session as the account's own options begin it, but for the schema.
    pub(super) fn plain(
        account: &Arc<Account>,
        handle: u64,
        need: Need,
        why: &'static str,
    ) -> Wish {
        Wish {
            account: account.clone(),
            handle,
            need,
            owns: false,
            begin: account.opts.session().clone(),
            schema: None,
            vars: None,
            user: None,
            why,
            hurries: false,
        }
    }

    /// Where a place would do for it.
    pub(super) fn like(&self) -> Like<'_> {
        Like {
            account: &self.account,
            schema: &self.schema,
            vars: &self.vars,
            user: &self.user,
            begin: &self.begin,
        }
    }

    /// The session that is wished for.
    pub(super) fn want(&self) -> Shape<'_> {
        Shape {
            schema: self.schema.as_deref(),
            vars: &self.vars,
            user: &self.user,
            begin: &self.begin,
        }
    }

    pub(super) fn is_like(&self, account: &Arc<Account>, need: Need) -> bool {
        Arc::ptr_eq(&self.account, account) && self.need == need
    }
}

/// The account and the session that a link must have, for whoever keeps nothing of his wish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Like<'a> {
    pub account: &'a Arc<Account>,
    pub schema: &'a Option<Arc<str>>,
    pub vars: &'a Shared,
    pub user: &'a Shared,
    pub begin: &'a Arc<SessionOpts>,
}

/// What a caller may do now.
#[derive(Debug)]
pub(crate) enum Grant {
    Place(Place),
    /// Use this link of one's own account.
    Link(Box<Link>),
    /// Make this link one's own account's.
    Steal(Box<Link>),
    /// Open a link; it is counted already.
    Open,
    /// Nothing: the credentials are proven, or the link is not to be had.
    Nothing,
    Failed(Error),
}

/// What a caller got.
#[derive(Debug)]
pub(crate) enum Got {
    /// Nothing, where only a proof was needed, or a link that is not to be had.
    Nothing,
    Place(Place),
    Link(Box<Link>),
}

/// Why a link is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Explicit,
    Implicit,
    Lost,
}
