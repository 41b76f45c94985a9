//! The async handle: the same methods as [`crate::Handle`]'s, over the same links, for any executor.
//!
//! No runtime is needed: one thread of the library watches the connections for all async handles. A
//! future that is dropped leaves everything in order: what was not sent is not sent, and what was
//! sent is answered and thrown away. What such a statement did to a session that nothing else kept
//! (`SET`, `BEGIN`) may be undone; within a transaction the transaction goes on. A future that is kept
//! and not polled keeps what it has: a place among others, or, for what is not a plain statement, a
//! link.
//!
//! ```no_run
//! use mysql_mux::Mux;
//!
//! # async fn example() -> mysql_mux::Result<()> {
//! let mut handle = Mux::global()
//!     .connect_async("mysql://user:password@localhost/shop")
//!     .await?;
//! let names: Vec<String> = handle.query("SELECT name FROM item").await?;
//! let one: Option<String> = handle
//!     .exec_first("SELECT name FROM item WHERE id = ?", (1,))
//!     .await?;
//! # Ok(())
//! # }
//! ```

use std::{borrow::Cow, cell::Cell, marker::PhantomData, time::Duration};

use mysql_common::{
    params::Params,
    row::{
        Row,
        convert::{FromRow, from_row},
    },
};

pub use super::stream::RowStream;
use super::{
    Binary, Lease, Pipe, Piped, QueryResult, Statement, Text, TxOpts,
    gather::{gather_as_task, is_bulky},
    info, params, pipe,
};
use crate::{
    error::Result,
    link::{Face, Parts},
    mux::{Mux, Seat},
    opts::{ChangeUserOpts, Opts},
};

/// What can be run as a prepared statement: a [`Statement`], or text that is prepared first.
pub trait AsStatement {
    /// The statement, or the text of one.
    fn statement(&self) -> std::result::Result<&Statement, &str>;
}

impl AsStatement for Statement {
    fn statement(&self) -> std::result::Result<&Statement, &str> {
        Ok(self)
    }
}

impl AsStatement for &Statement {
    fn statement(&self) -> std::result::Result<&Statement, &str> {
        Ok(self)
    }
}

macro_rules! text_is_a_statement {
    ($($text:ty),*) => {
        $(impl AsStatement for $text {
            fn statement(&self) -> std::result::Result<&Statement, &str> {
                Err(self)
            }
        })*
    };
}

text_is_a_statement!(&str, String, &String, Box<str>, Cow<'_, str>);

/// A connection as far as a program can tell, without a connection of its own while it is idle. See
/// [`crate::Handle`].
pub struct Handle {
    pub(super) seat: Seat,
    /// A session is used by one task at a time.
    not_sync: PhantomData<Cell<()>>,
}

info::info!(Handle, "aio::Handle");

impl Handle {
    pub(crate) async fn open(mux: &Mux, opts: Opts) -> Result<Handle> {
        Ok(Handle {
            seat: Seat::open(mux, opts, Face::Async).await?,
            not_sync: PhantomData,
        })
    }

    /// Opens a handle through the program's mux.
    ///
    /// # Errors
    /// As [`Mux::connect`].
    pub async fn new<T>(opts: T) -> Result<Handle>
    where
        T: TryInto<Opts>,
        crate::Error: From<T::Error>,
    {
        Mux::global().connect_async(opts).await
    }

    /// As [`crate::Handle::ping`].
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub async fn ping(&mut self) -> Result<()> {
        self.seat.ping().await
    }

    /// As [`crate::Handle::reset`].
    ///
    /// # Errors
    /// No link could be had, it was lost, or an init statement failed.
    pub async fn reset(&mut self) -> Result<()> {
        self.seat.reset().await
    }

    /// As [`crate::Handle::change_user`].
    ///
    /// # Errors
    /// As opening a handle; it then stays who it was, with a session as new.
    pub async fn change_user(&mut self, opts: ChangeUserOpts) -> Result<()> {
        self.seat.change_user(opts).await
    }

    /// As [`crate::Handle::select_db`].
    ///
    /// # Errors
    /// The server doesn't have the schema or doesn't give it to this user.
    pub async fn select_db(&mut self, schema: &str) -> Result<()> {
        self.seat.select_db(schema).await
    }

    /// As [`crate::Handle::statistics`].
    ///
    /// # Errors
    /// No link could be had, or it was lost.
    pub async fn statistics(&mut self) -> Result<String> {
        self.seat.statistics().await
    }

    /// How long a statement may take from here on; `None`: for ever.
    pub fn set_statement_timeout(&mut self, timeout: Option<Duration>) {
        self.seat.set_timeout(timeout);
    }

    /// Runs text; gives all its result sets.
    ///
    /// # Errors
    /// As [`Queryable::query_iter`](crate::prelude::Queryable::query_iter).
    pub async fn query_iter<Q: AsRef<str>>(&mut self, query: Q) -> Result<QueryResult<Text>> {
        QueryResult::new(self.seat.query(query.as_ref().as_bytes(), None).await?)
    }

    async fn query_rows<T, Q: AsRef<str>>(
        &mut self,
        query: Q,
        convert: fn(Row) -> T,
    ) -> Result<Vec<T>> {
        let parts = Parts::default();
        let running = self.seat.query(query.as_ref().as_bytes(), Some(&parts));
        gather_as_task::<Text, _>(&parts, running, convert).await
    }

    async fn exec_rows<T, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
        convert: fn(Row) -> T,
    ) -> Result<Vec<T>> {
        let params = params.into();
        let stmt = self.prepared(&stmt).await?;
        let values = stmt.bind(params)?;
        let parts = Parts::default();
        let running = self.seat.execute(&stmt.prepared, &values, Some(&parts));
        gather_as_task::<Binary, _>(&parts, running, convert).await
    }

    /// All rows of the first result set.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    pub async fn query<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Vec<T>> {
        self.query_rows(query, from_row).await
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    pub async fn query_first<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Option<T>> {
        self.query_iter(query).await?.first(from_row)
    }

    /// All rows, each through `f`.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    pub async fn query_map<T, F, Q, U>(&mut self, query: Q, mut f: F) -> Result<Vec<U>>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(T) -> U,
    {
        if is_bulky::<T>() {
            let rows = self.query_iter(query).await?;
            return rows.gather(|row| f(from_row(row)));
        }
        let rows = self.query_rows(query, from_row).await?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// All rows, folded into one value.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    pub async fn query_fold<T, F, Q, U>(&mut self, query: Q, init: U, mut f: F) -> Result<U>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(U, T) -> U,
    {
        let mut rows = self.query_iter(query).await?;
        rows.try_fold(init, |acc, row| row.map(|row| f(acc, from_row(row))))
    }

    /// Runs text for its effect.
    ///
    /// # Errors
    /// The first error of any of its statements.
    pub async fn query_drop<Q: AsRef<str>>(&mut self, query: Q) -> Result<()> {
        self.query_iter(query).await?.finish()
    }

    /// Prepares a statement.
    ///
    /// # Errors
    /// The server doesn't take it, or no link.
    pub async fn prep<Q: AsRef<str>>(&mut self, query: Q) -> Result<Statement> {
        let (sql, names) = params::parse(query.as_ref())?;
        Ok(Statement {
            prepared: self.seat.prepare(&sql).await?,
            names: names.map(Into::into),
        })
    }

    async fn prepared<S: AsStatement>(&mut self, stmt: &S) -> Result<Statement> {
        match stmt.statement() {
            Ok(statement) => Ok(statement.clone()),
            Err(text) => self.prep(text).await,
        }
    }

    /// Has the server forget a statement.
    ///
    /// # Errors
    /// No link.
    pub async fn close(&mut self, stmt: Statement) -> Result<()> {
        self.seat.close_statement(&stmt.prepared).await
    }

    /// Runs a prepared statement; gives all its result sets.
    ///
    /// # Errors
    /// Parameters that don't fit (nothing is sent then), the server's error, or no link.
    pub async fn exec_iter<S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<QueryResult<Binary>> {
        let params = params.into();
        let stmt = self.prepared(&stmt).await?;
        let values = stmt.bind(params)?;
        QueryResult::new(self.seat.execute(&stmt.prepared, &values, None).await?)
    }

    /// All rows of the first result set.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<Vec<T>> {
        self.exec_rows(stmt, params, from_row).await
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec_first<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<Option<T>> {
        self.exec_iter(stmt, params).await?.first(from_row)
    }

    /// All rows, each through `f`.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec_map<T, S, P, F, U>(&mut self, stmt: S, params: P, mut f: F) -> Result<Vec<U>>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(T) -> U,
    {
        if is_bulky::<T>() {
            let rows = self.exec_iter(stmt, params).await?;
            return rows.gather(|row| f(from_row(row)));
        }
        let rows = self.exec_rows(stmt, params, from_row).await?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// All rows, folded into one value.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec_fold<T, S, P, U, F>(
        &mut self,
        stmt: S,
        params: P,
        init: U,
        mut f: F,
    ) -> Result<U>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(U, T) -> U,
    {
        let mut rows = self.exec_iter(stmt, params).await?;
        rows.try_fold(init, |acc, row| row.map(|row| f(acc, from_row(row))))
    }

    /// Runs a prepared statement for its effect.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec_drop<S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<()> {
        self.exec_iter(stmt, params).await?.finish()
    }

    /// As [`Queryable::exec_batch`](crate::prelude::Queryable::exec_batch).
    ///
    /// # Errors
    /// The first error of any of them.
    pub async fn exec_batch<S, P, I>(&mut self, stmt: S, params: I) -> Result<()>
    where
        S: AsStatement,
        P: Into<Params>,
        I: IntoIterator<Item = P>,
    {
        let stmt = self.prepared(&stmt).await?;
        for asks in pipe::batches(&stmt, params) {
            pipe::first_error(self.seat.run_all(asks?).await?)?;
        }
        Ok(())
    }

    /// As [`crate::Handle::pipeline`].
    ///
    /// # Errors
    /// What `fill` fails with: then nothing is sent. No link could be had.
    pub async fn pipeline(
        &mut self,
        fill: impl FnOnce(&mut Pipe) -> Result<()>,
    ) -> Result<Vec<Result<Piped>>> {
        let mut pipe = Pipe::default();
        fill(&mut pipe)?;
        let (asks, kinds) = pipe.into_parts();
        Ok(pipe::results(self.seat.run_all(asks).await?, &kinds))
    }

    /// As [`crate::Handle::query_stream`]: a [`Stream`](futures_core::Stream) of rows.
    ///
    /// # Errors
    /// The server's error, where it comes before the first row, or no link.
    pub async fn query_stream<T: FromRow, Q: AsRef<str>>(
        &mut self,
        query: Q,
    ) -> Result<RowStream<'_, Text, T>> {
        self.seat.start_query(query.as_ref().as_bytes()).await?;
        RowStream::new(&mut self.seat).await
    }

    /// As [`Self::query_stream`], for a prepared statement.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    pub async fn exec_stream<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<RowStream<'_, Binary, T>> {
        let params = params.into();
        let stmt = self.prepared(&stmt).await?;
        let values = stmt.bind(params)?;
        self.seat.start_execute(&stmt.prepared, &values).await?;
        RowStream::new(&mut self.seat).await
    }

    /// As [`Handle::lease`](crate::Handle::lease).
    ///
    /// # Errors
    /// No link could be had.
    pub async fn lease(&mut self) -> Result<Lease<'_, Handle>> {
        self.seat.lease().await?;
        Ok(Lease::new(self))
    }

    /// Begins a transaction and keeps the link for it. Dropped without a commit it is rolled back, in
    /// the background or before the handle's next statement.
    ///
    /// # Errors
    /// A statement that begins it failed; then nothing is begun.
    pub async fn start_transaction(&mut self, opts: TxOpts) -> Result<Transaction<'_>> {
        let (set, start) = opts.sql();
        self.seat.hold(opts.reads_only()).await?;
        // Dropping it releases the link, whatever happens from here on.
        let transaction = Transaction {
            handle: self,
            over: false,
        };
        if let Some(set) = set {
            transaction.handle.query_drop(set).await?;
        }
        transaction.handle.query_drop(start).await?;
        Ok(transaction)
    }
}

/// An open transaction; it has its link to itself, and everything that the handle can. Dropped
/// without [`Self::commit`] it is rolled back.
#[derive(Debug)]
pub struct Transaction<'a> {
    handle: &'a mut Handle,
    over: bool,
}

impl Transaction<'_> {
    /// Makes what was done last.
    ///
    /// # Errors
    /// The server didn't commit; or the link was lost, and whether it did is not known.
    pub async fn commit(self) -> Result<()> {
        self.end("COMMIT").await
    }

    /// Undoes what was done.
    ///
    /// # Errors
    /// The link was lost; the server undoes it by itself then.
    pub async fn rollback(self) -> Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, sql: &str) -> Result<()> {
        let ended = self.handle.query_drop(sql).await;
        // Given up on the way here, it is rolled back like one that was dropped.
        self.over = true;
        ended
    }
}

impl std::ops::Deref for Transaction<'_> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.handle
    }
}

impl std::ops::DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Handle {
        self.handle
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.handle.seat.owe_rollback();
        }
        self.handle.seat.release();
    }
}
