//! What makes one session another: the variables that can be moved from link to link, and what can't
//! be moved and therefore pins. Pure: it knows what statements and servers say, and no link, handle or
//! clock.
//!
//! Each piece of state has one place here that says how it is followed and restored: system variables
//! and character sets in [`variables`]; what stays with its link in [`pins`]; what a statement does to
//! either in [`follow`]; user variables in [`user`]. [`seen`] remembers what texts told.

pub(crate) mod follow;
pub(crate) mod pins;
pub(crate) mod seen;
pub(crate) mod user;
pub(crate) mod variables;

pub(crate) use follow::{Doing, Said, follow, reasons};
pub use pins::{Pin, PinPolicy, PinReason};
pub(crate) use pins::{Pins, Policies, PreparedInSql};
pub(crate) use variables::Variables;

/// Where a handle's `LAST_INSERT_ID()` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertId {
    Known(u64),
    /// On this link, unless another handle's statement made one there since.
    OnLink(u32),
    /// A statement may have made one on a link that had another handle's.
    Lost,
}
