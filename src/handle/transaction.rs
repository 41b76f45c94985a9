//! Transactions that the API begins and ends.

use std::{borrow::Cow, fmt, pin::pin};

use super::{Handle, Queryable};
use crate::{error::Result, link::now, opts::LocalInfileHandler};

/// What a transaction sees of others.
///
/// <https://dev.mysql.com/doc/refman/9.0/en/innodb-transaction-isolation-levels.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IsolationLevel::ReadUncommitted => "READ UNCOMMITTED",
            IsolationLevel::ReadCommitted => "READ COMMITTED",
            IsolationLevel::RepeatableRead => "REPEATABLE READ",
            IsolationLevel::Serializable => "SERIALIZABLE",
        })
    }
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AccessMode {
    ReadOnly,
    ReadWrite,
}

/// How a transaction begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TxOpts {
    with_consistent_snapshot: bool,
    isolation_level: Option<IsolationLevel>,
    access_mode: Option<AccessMode>,
}

impl TxOpts {
    /// Whether it begins with a consistent snapshot. Default: `false`.
    pub fn with_consistent_snapshot(&self) -> bool {
        self.with_consistent_snapshot
    }

    /// Whether it may write. Default: as the session has it.
    pub fn access_mode(&self) -> Option<AccessMode> {
        self.access_mode
    }

    /// Its isolation level. Default: as the session has it.
    pub fn isolation_level(&self) -> Option<IsolationLevel> {
        self.isolation_level
    }

    /// See [`Self::with_consistent_snapshot`].
    pub fn set_with_consistent_snapshot(mut self, snapshot: bool) -> Self {
        self.with_consistent_snapshot = snapshot;
        self
    }

    /// See [`Self::access_mode`].
    pub fn set_access_mode(mut self, mode: Option<AccessMode>) -> Self {
        self.access_mode = mode;
        self
    }

    /// See [`Self::isolation_level`].
    pub fn set_isolation_level(mut self, level: Option<IsolationLevel>) -> Self {
        self.isolation_level = level;
        self
    }

    pub(super) fn reads_only(&self) -> bool {
        self.access_mode == Some(AccessMode::ReadOnly)
    }

    /// The statements that begin it.
    pub(super) fn sql(&self) -> (Option<String>, String) {
        let set = self
            .isolation_level
            .map(|level| format!("SET TRANSACTION ISOLATION LEVEL {level}"));
        let mode = self.access_mode.map(|mode| match mode {
            AccessMode::ReadOnly => "READ ONLY",
            AccessMode::ReadWrite => "READ WRITE",
        });
        let snapshot = self
            .with_consistent_snapshot
            .then_some("WITH CONSISTENT SNAPSHOT");
        let parts: Vec<_> = snapshot.into_iter().chain(mode).collect();
        let start = format!("START TRANSACTION {}", parts.join(", "));
        (set, start.trim_end().to_owned())
    }
}

/// An open transaction; it has its link to itself. Dropped without [`Self::commit`] it is rolled back.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) handle: &'a mut Handle,
    over: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(handle: &'a mut Handle, opts: TxOpts) -> Result<Transaction<'a>> {
        let (set, start) = opts.sql();
        now(pin!(handle.seat.hold(opts.reads_only())))?;
        // Dropping it releases the link, whatever happens from here on.
        let mut transaction = Transaction { handle, over: true };
        if let Some(set) = set {
            transaction.handle.query_drop(set)?;
        }
        transaction.handle.query_drop(start)?;
        transaction.over = false;
        Ok(transaction)
    }

    /// Makes what was done last.
    ///
    /// # Errors
    /// The server didn't commit; or the link was lost, and whether it did is not known.
    pub fn commit(mut self) -> Result<()> {
        self.over = true;
        self.handle.query_drop("COMMIT")
    }

    /// Undoes what was done.
    ///
    /// # Errors
    /// The link was lost; the server undoes it by itself then.
    pub fn rollback(mut self) -> Result<()> {
        self.over = true;
        self.handle.query_drop("ROLLBACK")
    }

    /// As [`Handle::set_local_infile_handler`].
    pub fn set_local_infile_handler(&mut self, handler: Option<LocalInfileHandler>) {
        self.handle.set_local_infile_handler(handler);
    }

    /// As [`Handle::affected_rows`].
    pub fn affected_rows(&self) -> u64 {
        self.handle.affected_rows()
    }

    /// The last statement's insert id.
    pub fn last_insert_id(&self) -> Option<u64> {
        Some(self.handle.last_insert_id()).filter(|&id| id != 0)
    }

    /// As [`Handle::warnings`].
    pub fn warnings(&self) -> u16 {
        self.handle.warnings()
    }

    /// As [`Handle::info_ref`].
    pub fn info_ref(&self) -> &[u8] {
        self.handle.info_ref()
    }

    /// As [`Handle::info_str`].
    pub fn info_str(&self) -> Cow<'_, str> {
        self.handle.info_str()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.over {
            // Where it fails the link is gone, and the transaction with it.
            drop(self.handle.query_drop("ROLLBACK"));
        }
        self.handle.seat.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_that_begin_it() {
        assert_eq!(TxOpts::default().sql(), (None, "START TRANSACTION".into()));
        let opts = TxOpts::default()
            .set_with_consistent_snapshot(true)
            .set_access_mode(Some(AccessMode::ReadOnly))
            .set_isolation_level(Some(IsolationLevel::RepeatableRead));
        assert_eq!(
            opts.sql(),
            (
                Some("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ".into()),
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY".into()
            )
        );
    }
}
