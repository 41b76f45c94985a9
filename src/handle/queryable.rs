//! Running statements: the trait that handles and transactions share, and how a handle does it.

use std::{borrow::Cow, pin::pin};

use mysql_common::{
    params::Params,
    row::{
        Row,
        convert::{FromRow, FromRowError, from_row, from_row_opt},
    },
};

use super::{
    Handle, Statement, Transaction, Within,
    gather::{gather, is_bulky},
    params, pipe,
    result::{Binary, QueryResult, Text},
};
use crate::{
    error::Result,
    link::{Parts, now},
};

type Opt<T> = std::result::Result<T, FromRowError>;

/// What can be run as a prepared statement: a [`Statement`], or text that is prepared first.
pub trait AsStatement {
    /// The statement.
    ///
    /// # Errors
    /// The server doesn't take the text.
    fn as_statement<Q: Queryable>(&self, queryable: &mut Q) -> Result<Cow<'_, Statement>>;
}

impl AsStatement for Statement {
    fn as_statement<Q: Queryable>(&self, _: &mut Q) -> Result<Cow<'_, Statement>> {
        Ok(Cow::Borrowed(self))
    }
}

impl AsStatement for &Statement {
    fn as_statement<Q: Queryable>(&self, _: &mut Q) -> Result<Cow<'_, Statement>> {
        Ok(Cow::Borrowed(self))
    }
}

macro_rules! text_is_a_statement {
    ($($text:ty),*) => {
        $(impl AsStatement for $text {
            fn as_statement<Q: Queryable>(&self, queryable: &mut Q) -> Result<Cow<'_, Statement>> {
                queryable.prep(self).map(Cow::Owned)
            }
        })*
    };
}

text_is_a_statement!(
    &str,
    String,
    &String,
    Box<str>,
    Cow<'_, str>,
    std::sync::Arc<str>
);

/// Whatever runs statements. The `_opt` methods give a row that can't be converted as an error; the
/// others panic on it, as the `mysql` crate's do.
pub trait Queryable {
    /// Runs text; gives all its result sets.
    ///
    /// # Errors
    /// The server's error on the first statement, or no link. Errors of later statements come when
    /// their result is reached.
    fn query_iter<Q: AsRef<str>>(&mut self, query: Q) -> Result<QueryResult<Text>>;

    /// Prepares a statement.
    ///
    /// # Errors
    /// The server doesn't take it, or no link.
    fn prep<Q: AsRef<str>>(&mut self, query: Q) -> Result<Statement>;

    /// Has the server forget a statement.
    ///
    /// # Errors
    /// No link.
    fn close(&mut self, stmt: Statement) -> Result<()>;

    /// Runs a prepared statement; gives all its result sets.
    ///
    /// # Errors
    /// Parameters that don't fit (nothing is sent then), the server's error, or no link.
    fn exec_iter<S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<QueryResult<Binary>>;

    /// Runs a prepared statement once for each parameters, without waiting for one before the next is
    /// sent. What was on its way behind one that failed has run too; in a transaction a rollback
    /// undoes all of it.
    ///
    /// # Errors
    /// The first error of any of them.
    fn exec_batch<S, P, I>(&mut self, stmt: S, params: I) -> Result<()>
    where
        Self: Sized,
        S: AsStatement,
        P: Into<Params>,
        I: IntoIterator<Item = P>;

    /// All rows of the first result set, through a function that does nothing but convert them.
    #[doc(hidden)]
    fn query_rows<T, Q: AsRef<str>>(&mut self, query: Q, convert: fn(Row) -> T) -> Result<Vec<T>> {
        self.query_iter(query)?.gather(convert)
    }

    /// As [`Self::query_rows`].
    #[doc(hidden)]
    fn exec_rows<T, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
        convert: fn(Row) -> T,
    ) -> Result<Vec<T>> {
        self.exec_iter(stmt, params)?.gather(convert)
    }

    /// All rows of the first result set.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Vec<T>> {
        self.query_rows(query, from_row)
    }

    /// As [`Self::query`].
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_opt<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Vec<Opt<T>>> {
        self.query_rows(query, from_row_opt)
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_first<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Option<T>> {
        self.query_iter(query)?.first(from_row)
    }

    /// As [`Self::query_first`].
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_first_opt<T: FromRow, Q: AsRef<str>>(&mut self, query: Q) -> Result<Option<Opt<T>>> {
        self.query_iter(query)?.first(from_row_opt)
    }

    /// All rows, each through `f`.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_map<T, F, Q, U>(&mut self, query: Q, mut f: F) -> Result<Vec<U>>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(T) -> U,
    {
        if is_bulky::<T>() {
            return self.query_iter(query)?.gather(|row| f(from_row(row)));
        }
        let rows = self.query_rows(query, from_row)?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// As [`Self::query_map`].
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_map_opt<T, F, Q, U>(&mut self, query: Q, mut f: F) -> Result<Vec<U>>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(Opt<T>) -> U,
    {
        if is_bulky::<T>() {
            return self.query_iter(query)?.gather(|row| f(from_row_opt(row)));
        }
        let rows = self.query_rows(query, from_row_opt)?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// All rows, folded into one value.
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_fold<T, F, Q, U>(&mut self, query: Q, init: U, mut f: F) -> Result<U>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(U, T) -> U,
    {
        self.query_iter(query)?
            .try_fold(init, |acc, row| row.map(|row| f(acc, from_row(row))))
    }

    /// As [`Self::query_fold`].
    ///
    /// # Errors
    /// As [`Self::query_iter`].
    fn query_fold_opt<T, F, Q, U>(&mut self, query: Q, init: U, mut f: F) -> Result<U>
    where
        Q: AsRef<str>,
        T: FromRow,
        F: FnMut(U, Opt<T>) -> U,
    {
        self.query_iter(query)?
            .try_fold(init, |acc, row| row.map(|row| f(acc, from_row_opt(row))))
    }

    /// Runs text for its effect.
    ///
    /// # Errors
    /// The first error of any of its statements.
    fn query_drop<Q: AsRef<str>>(&mut self, query: Q) -> Result<()> {
        self.query_iter(query)?.finish()
    }

    /// All rows of the first result set.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<Vec<T>> {
        self.exec_rows(stmt, params, from_row)
    }

    /// As [`Self::exec`].
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_opt<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<Vec<Opt<T>>> {
        self.exec_rows(stmt, params, from_row_opt)
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_first<T: FromRow, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<Option<T>> {
        self.exec_iter(stmt, params)?.first(from_row)
    }

    /// As [`Self::exec_first`].
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_first_opt<T, S, P>(&mut self, stmt: S, params: P) -> Result<Option<Opt<T>>>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
    {
        self.exec_iter(stmt, params)?.first(from_row_opt)
    }

    /// All rows, each through `f`.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_map<T, S, P, F, U>(&mut self, stmt: S, params: P, mut f: F) -> Result<Vec<U>>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(T) -> U,
    {
        if is_bulky::<T>() {
            return self.exec_iter(stmt, params)?.gather(|row| f(from_row(row)));
        }
        let rows = self.exec_rows(stmt, params, from_row)?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// As [`Self::exec_map`].
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_map_opt<T, S, P, F, U>(&mut self, stmt: S, params: P, mut f: F) -> Result<Vec<U>>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(Opt<T>) -> U,
    {
        if is_bulky::<T>() {
            return self
                .exec_iter(stmt, params)?
                .gather(|row| f(from_row_opt(row)));
        }
        let rows = self.exec_rows(stmt, params, from_row_opt)?;
        Ok(rows.into_iter().map(f).collect())
    }

    /// All rows, folded into one value.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_fold<T, S, P, U, F>(&mut self, stmt: S, params: P, init: U, mut f: F) -> Result<U>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(U, T) -> U,
    {
        self.exec_iter(stmt, params)?
            .try_fold(init, |acc, row| row.map(|row| f(acc, from_row(row))))
    }

    /// As [`Self::exec_fold`].
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_fold_opt<T, S, P, U, F>(&mut self, stmt: S, params: P, init: U, mut f: F) -> Result<U>
    where
        S: AsStatement,
        P: Into<Params>,
        T: FromRow,
        F: FnMut(U, Opt<T>) -> U,
    {
        self.exec_iter(stmt, params)?
            .try_fold(init, |acc, row| row.map(|row| f(acc, from_row_opt(row))))
    }

    /// Runs a prepared statement for its effect.
    ///
    /// # Errors
    /// As [`Self::exec_iter`].
    fn exec_drop<S: AsStatement, P: Into<Params>>(&mut self, stmt: S, params: P) -> Result<()> {
        self.exec_iter(stmt, params)?.finish()
    }
}

impl Queryable for Handle {
    fn query_iter<Q: AsRef<str>>(&mut self, query: Q) -> Result<QueryResult<Text>> {
        QueryResult::new(self.run(query.as_ref())?)
    }

    fn prep<Q: AsRef<str>>(&mut self, query: Q) -> Result<Statement> {
        let (sql, names) = params::parse(query.as_ref())?;
        Ok(Statement {
            prepared: now(pin!(self.seat.prepare(&sql)))?,
            names: names.map(Into::into),
        })
    }

    fn close(&mut self, stmt: Statement) -> Result<()> {
        now(pin!(self.seat.close_statement(&stmt.prepared)))
    }

    fn exec_iter<S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<QueryResult<Binary>> {
        let stmt = stmt.as_statement(self)?;
        let values = stmt.bind(params.into())?;
        QueryResult::new(now(pin!(self.seat.execute(&stmt.prepared, &values, None)))?)
    }

    fn query_rows<T, Q: AsRef<str>>(&mut self, query: Q, convert: fn(Row) -> T) -> Result<Vec<T>> {
        let parts = Parts::default();
        let running = self.seat.query(query.as_ref().as_bytes(), Some(&parts));
        gather::<Text, _>(&parts, running, convert)
    }

    fn exec_rows<T, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
        convert: fn(Row) -> T,
    ) -> Result<Vec<T>> {
        let stmt = stmt.as_statement(self)?;
        let values = stmt.bind(params.into())?;
        let parts = Parts::default();
        let running = self.seat.execute(&stmt.prepared, &values, Some(&parts));
        gather::<Binary, _>(&parts, running, convert)
    }

    fn exec_batch<S, P, I>(&mut self, stmt: S, params: I) -> Result<()>
    where
        S: AsStatement,
        P: Into<Params>,
        I: IntoIterator<Item = P>,
    {
        let stmt = stmt.as_statement(self)?.into_owned();
        for asks in pipe::batches(&stmt, params) {
            pipe::first_error(now(pin!(self.seat.run_all(asks?)))?)?;
        }
        Ok(())
    }
}

/// Passes everything on to another that runs statements.
macro_rules! forward {
    ($self:ident => $to:expr; $($head:tt)*) => {
        $($head)* {
            fn query_iter<Q: AsRef<str>>(&mut $self, query: Q) -> Result<QueryResult<Text>> {
                $to.query_iter(query)
            }

            fn prep<Q: AsRef<str>>(&mut $self, query: Q) -> Result<Statement> {
                $to.prep(query)
            }

            fn close(&mut $self, stmt: Statement) -> Result<()> {
                $to.close(stmt)
            }

            fn exec_iter<S: AsStatement, P: Into<Params>>(
                &mut $self,
                stmt: S,
                params: P,
            ) -> Result<QueryResult<Binary>> {
                $to.exec_iter(stmt, params)
            }

            fn query_rows<U, Q: AsRef<str>>(
                &mut $self,
                query: Q,
                convert: fn(Row) -> U,
            ) -> Result<Vec<U>> {
                $to.query_rows(query, convert)
            }

            fn exec_rows<U, S: AsStatement, P: Into<Params>>(
                &mut $self,
                stmt: S,
                params: P,
                convert: fn(Row) -> U,
            ) -> Result<Vec<U>> {
                $to.exec_rows(stmt, params, convert)
            }

            fn exec_batch<S, P, I>(&mut $self, stmt: S, params: I) -> Result<()>
            where
                S: AsStatement,
                P: Into<Params>,
                I: IntoIterator<Item = P>,
            {
                $to.exec_batch(stmt, params)
            }
        }
    };
}

forward!(self => **self; impl<T: Queryable> Queryable for &mut T);
forward!(self => self.handle; impl Queryable for Within<'_>);
forward!(self => self.handle; impl Queryable for Transaction<'_>);
