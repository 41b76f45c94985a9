//! What the user holds: [`Handle`], its results, statements and transactions. Mirrors the `mysql`
//! crate's connection; knows the mux's seat and nothing of links.

mod params;
mod query;
mod queryable;
mod result;
mod statement;
mod transaction;

use std::{borrow::Cow, cell::Cell, fmt, io, marker::PhantomData};

use mysql_common::{io::ParseBuf, packets::SessionStateInfo};

pub use query::{BatchQuery, BinQuery, QueryWithParams, TextQuery, WithParams};
pub use queryable::{AsStatement, Queryable};
pub use result::{Binary, Protocol, QueryResult, ResultSet, SetColumns, Text};
pub use statement::Statement;
pub use transaction::{AccessMode, IsolationLevel, Transaction, TxOpts};

use crate::{
    error::Result,
    mux::{Mux, Seat},
    opts::{ChangeUserOpts, LocalInfileHandler, Opts},
    proto::result::Response,
};

/// A connection as far as a program can tell, without a connection of its own while it is idle.
///
/// It can move between threads; sharing one is refused by the compiler:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<mysql_mux::Handle>();
/// ```
///
/// ```
/// fn sent<T: Send>() {}
/// sent::<mysql_mux::Handle>();
/// ```
pub struct Handle {
    seat: Seat,
    /// A session is used by one thread at a time.
    not_sync: PhantomData<Cell<()>>,
}

const _: () = assert!(
    size_of::<Handle>() <= 256,
    "an idle handle costs at most 256 bytes"
);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("server", &self.seat.opts().target().endpoint.to_string())
            .field("user", &self.seat.opts().get_user())
            .field("isolation", &self.seat.opts().get_isolation())
            .field("pin", &self.seat.pin())
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn open(mux: &Mux, opts: Opts) -> Result<Handle> {
        Ok(Handle {
            seat: Seat::open(mux, opts)?,
            not_sync: PhantomData,
        })
    }

    /// Opens a handle through the program's mux, as [`connect`](crate::connect).
    ///
    /// # Errors
    /// As [`Mux::connect`].
    pub fn new<T>(opts: T) -> Result<Handle>
    where
        T: TryInto<Opts>,
        crate::Error: From<T::Error>,
    {
        crate::connect(opts)
    }

    fn run(&mut self, sql: &str) -> Result<Response> {
        self.seat.query(sql.as_bytes())
    }

    /// Asks the server for a sign of life (`COM_PING`).
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub fn ping(&mut self) -> Result<()> {
        self.seat.ping()
    }

    /// Makes the session as new: an open transaction is rolled back, what was set is undone, the
    /// options' schema and init statements stand. Under `Shared` for everybody on the link.
    ///
    /// # Errors
    /// No link could be had, it was lost, or an init statement failed.
    pub fn reset(&mut self) -> Result<()> {
        self.seat.reset()
    }

    /// Becomes another user, with a session as new. The credentials are checked. Nobody else on the
    /// link becomes anybody.
    ///
    /// # Errors
    /// As opening a handle; it then stays who it was, with a session as new.
    pub fn change_user(&mut self, opts: ChangeUserOpts) -> Result<()> {
        self.seat.change_user(opts)
    }

    /// Makes a schema the current one (`COM_INIT_DB`).
    ///
    /// # Errors
    /// The server doesn't have it or doesn't give it to this user.
    pub fn select_db(&mut self, schema: &str) -> Result<()> {
        self.seat.select_db(schema)
    }

    /// A line of the server's statistics for people (`COM_STATISTICS`).
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub fn statistics(&mut self) -> Result<String> {
        self.seat.statistics()
    }

    /// Begins a transaction and keeps the link for it. Dropped without a commit it is rolled back.
    ///
    /// # Errors
    /// A statement that begins it failed; then nothing is begun.
    pub fn start_transaction(&mut self, opts: TxOpts) -> Result<Transaction<'_>> {
        Transaction::begin(self, opts)
    }

    /// What answers a server that asks for a local file; replaces the options' handler.
    pub fn set_local_infile_handler(&mut self, handler: Option<LocalInfileHandler>) {
        self.seat.set_local_infile_handler(handler);
    }

    /// The last statement's insert id; 0: none.
    pub fn last_insert_id(&self) -> u64 {
        self.seat.last_ok().last_insert_id
    }

    /// Rows that the last statement affected.
    pub fn affected_rows(&self) -> u64 {
        self.seat.last_ok().affected_rows
    }

    /// Warnings of the last statement.
    pub fn warnings(&self) -> u16 {
        self.seat.last_ok().warnings
    }

    /// What the server says about the last statement for people; empty: nothing.
    pub fn info_ref(&self) -> &[u8] {
        &self.seat.last_ok().info
    }

    /// [`Self::info_ref`] as text; bytes that are no UTF-8 are replaced.
    pub fn info_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.info_ref())
    }

    /// The session trackers that came with the last statement's OK.
    ///
    /// # Errors
    /// They can't be read.
    pub fn session_state_changes(&self) -> io::Result<Vec<SessionStateInfo<'_>>> {
        let mut raw = ParseBuf(&self.seat.last_ok().changes);
        let mut changes = Vec::new();
        while !raw.is_empty() {
            changes.push(raw.parse(())?);
        }
        Ok(changes)
    }

    /// The server's version; MariaDB's is its own, without `5.5.5-`.
    pub fn server_version(&self) -> (u16, u16, u16) {
        self.seat.server().map_or((0, 0, 0), |server| server.parsed)
    }

    /// The server's version as it tells it, with what follows the numbers.
    pub fn server_version_str(&self) -> &str {
        self.seat.server().map_or("", |server| &server.version)
    }

    /// The server is MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.seat.server().is_some_and(|server| server.mariadb)
    }

    /// The server's id of the connection that ran the last statement; 0 before the first one. The
    /// next statement may run on another.
    pub fn connection_id(&self) -> u32 {
        self.seat.connection_id()
    }

    /// Why the handle keeps a link to itself at the moment, if it does.
    pub fn pin(&self) -> Option<&'static str> {
        self.seat.pin()
    }

    /// The options that it was opened with.
    pub fn opts(&self) -> &Opts {
        self.seat.opts()
    }

    /// `NO_BACKSLASH_ESCAPES` is on.
    pub fn no_backslash_escape(&self) -> bool {
        let flag = mysql_common::constants::StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES;
        self.seat.last_ok().status.contains(flag)
    }
}
