//! What the user holds: [`Handle`], its results, statements and transactions. Mirrors the `mysql`
//! crate's connection; knows the mux's seat and nothing of links.

pub mod aio;
mod gather;
mod info;
mod lease;
mod params;
mod pipe;
mod query;
mod queryable;
mod result;
mod statement;
mod stream;
mod transaction;
mod within;

use std::{cell::Cell, marker::PhantomData, pin::pin, time::Duration};

pub use lease::Lease;
pub use pipe::{Pipe, Piped};
pub use query::{BatchQuery, BinQuery, QueryWithParams, TextQuery, WithParams};
pub use queryable::{AsStatement, Queryable};
pub use result::{Binary, Protocol, QueryResult, ResultSet, SetColumns, Text};
pub use statement::Statement;
pub use stream::QueryStream;
pub use transaction::{AccessMode, IsolationLevel, Transaction, TxOpts};
pub use within::Within;

use mysql_common::{params::Params, row::convert::FromRow};

use crate::{
    error::Result,
    link::{Face, now},
    mux::{Mux, Seat},
    opts::{ChangeUserOpts, Opts},
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

impl Handle {
    pub(crate) fn open(mux: &Mux, opts: Opts) -> Result<Handle> {
        Ok(Handle {
            seat: now(pin!(Seat::open(mux, opts, Face::Blocking)))?,
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
        now(pin!(self.seat.query(sql.as_bytes(), None)))
    }

    /// Asks the server for a sign of life (`COM_PING`).
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub fn ping(&mut self) -> Result<()> {
        now(pin!(self.seat.ping()))
    }

    /// Makes the session as new: an open transaction is rolled back, what was set is undone, the
    /// options' schema and init statements stand. Under `Shared` for everybody on the link.
    ///
    /// # Errors
    /// No link could be had, it was lost, or an init statement failed.
    pub fn reset(&mut self) -> Result<()> {
        now(pin!(self.seat.reset()))
    }

    /// Becomes another user, with a session as new. The credentials are checked. Nobody else on the
    /// link becomes anybody.
    ///
    /// # Errors
    /// As opening a handle; it then stays who it was, with a session as new.
    pub fn change_user(&mut self, opts: ChangeUserOpts) -> Result<()> {
        now(pin!(self.seat.change_user(opts)))
    }

    /// Makes a schema the current one (`COM_INIT_DB`).
    ///
    /// # Errors
    /// The server doesn't have it or doesn't give it to this user.
    pub fn select_db(&mut self, schema: &str) -> Result<()> {
        now(pin!(self.seat.select_db(schema)))
    }

    /// A line of the server's statistics for people (`COM_STATISTICS`).
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub fn statistics(&mut self) -> Result<String> {
        now(pin!(self.seat.statistics()))
    }

    /// Begins a transaction and keeps the link for it. Dropped without a commit it is rolled back.
    ///
    /// # Errors
    /// A statement that begins it failed; then nothing is begun.
    pub fn start_transaction(&mut self, opts: TxOpts) -> Result<Transaction<'_>> {
        Transaction::begin(self, opts)
    }

    /// Sends many statements without waiting for the reply of each, and has all results, in order,
    /// each with its own error: a statement that fails stops none behind it.
    ///
    /// ```no_run
    /// # use mysql_mux::prelude::*;
    /// # let mut handle = mysql_mux::connect("mysql://localhost/")?;
    /// let item = handle.prep("INSERT INTO item (name) VALUES (?)")?;
    /// let results = handle.pipeline(|pipe| {
    ///     pipe.exec(&item, ("tea",))?;
    ///     pipe.exec(&item, ("milk",))?;
    ///     pipe.query("SELECT COUNT(*) FROM item");
    ///     Ok(())
    /// })?;
    /// for result in results {
    ///     println!("{} rows", result?.affected_rows());
    /// }
    /// # Ok::<(), mysql_mux::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `fill` fails with: then nothing is sent. No link could be had.
    pub fn pipeline(
        &mut self,
        fill: impl FnOnce(&mut Pipe) -> Result<()>,
    ) -> Result<Vec<Result<Piped>>> {
        let mut pipe = Pipe::default();
        fill(&mut pipe)?;
        let (asks, kinds) = pipe.into_parts();
        Ok(pipe::results(now(pin!(self.seat.run_all(asks)))?, &kinds))
    }

    /// Runs a query whose rows come one by one as they are read, for results too large to hold. The
    /// handle has a link to itself until the stream is dropped. A stream that is dropped with more
    /// than a little left costs the link.
    ///
    /// ```no_run
    /// # use mysql_mux::prelude::*;
    /// # let mut handle = mysql_mux::connect("mysql://localhost/")?;
    /// for row in handle.query_stream::<(u64, String), _>("SELECT id, name FROM item")? {
    ///     let (id, name) = row?;
    ///     println!("{id}: {name}");
    /// }
    /// # Ok::<(), mysql_mux::Error>(())
    /// ```
    ///
    /// # Errors
    /// The server's error, where it comes before the first row, or no link.
    pub fn query_stream<T: FromRow, Q: AsRef<str>>(
        &mut self,
        query: Q,
    ) -> Result<QueryStream<'_, Text, T>> {
        now(pin!(self.seat.start_query(query.as_ref().as_bytes())))?;
        QueryStream::new(&mut self.seat)
    }

    /// As [`Self::query_stream`], for a prepared statement.
    ///
    /// # Errors
    /// As [`Queryable::exec_iter`].
    pub fn exec_stream<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<QueryStream<'_, Binary, T>> {
        let stmt = stmt.as_statement(self)?.into_owned();
        let values = stmt.bind(params.into())?;
        now(pin!(self.seat.start_execute(&stmt.prepared, &values)))?;
        QueryStream::new(&mut self.seat)
    }

    /// The handle with a link to itself, for as long as the lease is there: for what can't share a
    /// connection, or must not wait for one.
    ///
    /// ```no_run
    /// # use mysql_mux::prelude::*;
    /// # let mut handle = mysql_mux::connect("mysql://localhost/")?;
    /// let mut lease = handle.lease()?;
    /// lease.query_drop("SET @batch = 7")?;
    /// let id = lease.connection_id();
    /// # Ok::<(), mysql_mux::Error>(())
    /// ```
    ///
    /// # Errors
    /// No link could be had.
    pub fn lease(&mut self) -> Result<Lease<'_, Handle>> {
        now(pin!(self.seat.lease()))?;
        Ok(Lease::new(self))
    }

    /// The handle for statements that must be done within this time; see
    /// [`OptsBuilder::statement_timeout`](crate::OptsBuilder::statement_timeout).
    ///
    /// ```no_run
    /// # use mysql_mux::prelude::*;
    /// # use std::time::Duration;
    /// # let mut handle = mysql_mux::connect("mysql://localhost/")?;
    /// let report: Vec<u64> = handle
    ///     .within(Duration::from_secs(2))
    ///     .query("SELECT id FROM item WHERE name LIKE '%tea%'")?;
    /// # Ok::<(), mysql_mux::Error>(())
    /// ```
    pub fn within(&mut self, time: Duration) -> Within<'_> {
        Within::new(self, time)
    }

    /// How long a statement may take from here on; `None`: for ever.
    pub fn set_statement_timeout(&mut self, timeout: Option<Duration>) {
        self.seat.set_timeout(timeout);
    }
}

info::info!(Handle, "Handle");
