//! A handle for statements that must be done within a time of their own.

use std::time::Duration;

use mysql_common::{params::Params, row::Row};

use super::{
    AsStatement, Handle, Queryable, Statement,
    result::{Binary, QueryResult, Text},
};
use crate::error::Result;

/// A handle whose statements have this time; dropped, the handle's own time holds again.
#[derive(Debug)]
pub struct Within<'a> {
    handle: &'a mut Handle,
    before: Option<Duration>,
}

impl<'a> Within<'a> {
    pub(super) fn new(handle: &'a mut Handle, time: Duration) -> Self {
        let before = handle.seat.timeout();
        handle.seat.set_timeout(Some(time));
        Within { handle, before }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.handle.seat.set_timeout(self.before);
    }
}

impl Queryable for Within<'_> {
    fn query_iter<Q: AsRef<str>>(&mut self, query: Q) -> Result<QueryResult<Text>> {
        self.handle.query_iter(query)
    }

    fn prep<Q: AsRef<str>>(&mut self, query: Q) -> Result<Statement> {
        self.handle.prep(query)
    }

    fn close(&mut self, stmt: Statement) -> Result<()> {
        self.handle.close(stmt)
    }

    fn exec_iter<S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
    ) -> Result<QueryResult<Binary>> {
        self.handle.exec_iter(stmt, params)
    }

    fn query_rows<T, Q: AsRef<str>>(&mut self, query: Q, convert: fn(Row) -> T) -> Result<Vec<T>> {
        self.handle.query_rows(query, convert)
    }

    fn exec_rows<T, S: AsStatement, P: Into<Params>>(
        &mut self,
        stmt: S,
        params: P,
        convert: fn(Row) -> T,
    ) -> Result<Vec<T>> {
        self.handle.exec_rows(stmt, params, convert)
    }

    fn exec_batch<S, P, I>(&mut self, stmt: S, params: I) -> Result<()>
    where
        S: AsStatement,
        P: Into<Params>,
        I: IntoIterator<Item = P>,
    {
        self.handle.exec_batch(stmt, params)
    }
}
