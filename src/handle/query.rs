//! The other way round: text that is run on a handle, `"SELECT 1".first(&mut handle)`.

use mysql_common::{
    params::Params,
    row::{
        Row,
        convert::{FromRow, FromRowError, from_row, from_row_opt},
    },
};

use super::{
    AsStatement, Queryable,
    gather::is_bulky,
    result::{Binary, QueryResult, Text},
};
use crate::error::Result;

type Opt<T> = std::result::Result<T, FromRowError>;

macro_rules! results {
    ($protocol:ty) => {
        /// Runs it; gives all its result sets.
        ///
        /// # Errors
        /// As [`Queryable::query_iter`] and [`Queryable::exec_iter`].
        fn run<C: Queryable>(self, conn: C) -> Result<QueryResult<$protocol>>;

        /// All rows, through a function that does nothing but convert them.
        #[doc(hidden)]
        fn rows<T, C: Queryable>(self, conn: C, convert: fn(Row) -> T) -> Result<Vec<T>> {
            self.run(conn)?.gather(convert)
        }

        /// The first row.
        ///
        /// # Errors
        /// As `run`.
        fn first<T: FromRow, C: Queryable>(self, conn: C) -> Result<Option<T>> {
            self.run(conn)?.first(from_row)
        }

        /// As `first`, with a row that can't be converted as an error.
        ///
        /// # Errors
        /// As `run`.
        fn first_opt<T: FromRow, C: Queryable>(self, conn: C) -> Result<Option<Opt<T>>> {
            self.run(conn)?.first(from_row_opt)
        }

        /// All rows.
        ///
        /// # Errors
        /// As `run`.
        fn fetch<T: FromRow, C: Queryable>(self, conn: C) -> Result<Vec<T>> {
            self.rows(conn, from_row)
        }

        /// As `fetch`, with a row that can't be converted as an error.
        ///
        /// # Errors
        /// As `run`.
        fn fetch_opt<T: FromRow, C: Queryable>(self, conn: C) -> Result<Vec<Opt<T>>> {
            self.rows(conn, from_row_opt)
        }

        /// All rows, folded into one value.
        ///
        /// # Errors
        /// As `run`.
        fn fold<T, U, F, C>(self, conn: C, init: U, mut next: F) -> Result<U>
        where
            T: FromRow,
            F: FnMut(U, T) -> U,
            C: Queryable,
        {
            self.run(conn)?
                .try_fold(init, |acc, row| row.map(|row| next(acc, from_row(row))))
        }

        /// All rows, each through `map`.
        ///
        /// # Errors
        /// As `run`.
        fn map<T, U, F, C>(self, conn: C, mut map: F) -> Result<Vec<U>>
        where
            T: FromRow,
            F: FnMut(T) -> U,
            C: Queryable,
        {
            if is_bulky::<T>() {
                return self.run(conn)?.gather(|row| map(from_row(row)));
            }
            Ok(self.rows(conn, from_row)?.into_iter().map(map).collect())
        }
    };
}

/// Text as a query.
///
/// ```no_run
/// use mysql_mux::prelude::*;
///
/// let mut handle = mysql_mux::connect("mysql://localhost/")?;
/// let one: Option<u8> = "SELECT 1".first(&mut handle)?;
/// # Ok::<(), mysql_mux::Error>(())
/// ```
pub trait TextQuery: Sized {
    results!(Text);
}

impl<Q: AsRef<str>> TextQuery for Q {
    fn run<C: Queryable>(self, mut conn: C) -> Result<QueryResult<Text>> {
        conn.query_iter(self)
    }

    fn rows<T, C: Queryable>(self, mut conn: C, convert: fn(Row) -> T) -> Result<Vec<T>> {
        conn.query_rows(self, convert)
    }
}

/// A statement with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryWithParams<Q, P> {
    /// The statement.
    pub query: Q,
    /// Its parameters.
    pub params: P,
}

/// Adds parameters to a statement.
pub trait WithParams: Sized {
    /// The statement with these parameters.
    fn with<P>(self, params: P) -> QueryWithParams<Self, P>;
}

impl<T: AsStatement> WithParams for T {
    fn with<P>(self, params: P) -> QueryWithParams<Self, P> {
        QueryWithParams {
            query: self,
            params,
        }
    }
}

/// A statement with parameters as a query.
pub trait BinQuery: Sized {
    results!(Binary);
}

impl<Q: AsStatement, P: Into<Params>> BinQuery for QueryWithParams<Q, P> {
    fn run<C: Queryable>(self, mut conn: C) -> Result<QueryResult<Binary>> {
        conn.exec_iter(self.query, self.params)
    }

    fn rows<T, C: Queryable>(self, mut conn: C, convert: fn(Row) -> T) -> Result<Vec<T>> {
        conn.exec_rows(self.query, self.params, convert)
    }
}

/// A statement to be run once for each of many parameters.
pub trait BatchQuery {
    /// Runs it.
    ///
    /// # Errors
    /// As [`Queryable::exec_batch`].
    fn batch<C: Queryable>(self, conn: C) -> Result<()>;
}

impl<Q, I, P> BatchQuery for QueryWithParams<Q, I>
where
    Q: AsStatement,
    I: IntoIterator<Item = P>,
    P: Into<Params>,
{
    fn batch<C: Queryable>(self, mut conn: C) -> Result<()> {
        conn.exec_batch(self.query, self.params)
    }
}
