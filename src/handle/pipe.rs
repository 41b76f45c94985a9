//! Many statements at once: what [`Handle::pipeline`](super::Handle::pipeline) is given, and gives.

use std::iter;

use mysql_common::{
    params::Params,
    row::convert::{FromRow, from_row},
};

use super::{Binary, QueryResult, Statement, Text};
use crate::{error::Result, link::Ask, proto::result::Response};

/// Statements of a batch that are gathered before they are sent.
const BATCH: usize = 512;

/// Statements to be sent together.
#[derive(Debug, Default)]
pub struct Pipe {
    asks: Vec<Ask>,
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Binary,
}

impl Pipe {
    /// Adds a query. Gives its place among the results.
    pub fn query<Q: AsRef<str>>(&mut self, query: Q) -> usize {
        self.kinds.push(Kind::Text);
        self.asks.push(Ask::Query(query.as_ref().into()));
        self.asks.len() - 1
    }

    /// Adds a prepared statement. Gives its place among the results.
    ///
    /// # Errors
    /// Parameters that don't fit it.
    pub fn exec<P: Into<Params>>(&mut self, stmt: &Statement, params: P) -> Result<usize> {
        let values = stmt.bind(params.into())?;
        self.kinds.push(Kind::Binary);
        self.asks.push(Ask::Execute(stmt.prepared.clone(), values));
        Ok(self.asks.len() - 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.asks.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    pub(super) fn into_parts(self) -> (Vec<Ask>, Vec<Kind>) {
        (self.asks, self.kinds)
    }
}

/// The result of one of many statements.
#[derive(Debug)]
pub enum Piped {
    /// Of a query.
    Text(QueryResult<Text>),
    /// Of a prepared statement.
    Binary(QueryResult<Binary>),
}

impl Piped {
    /// All rows of the first result set.
    ///
    /// # Errors
    /// A row that can't be read.
    ///
    /// # Panics
    /// A row can't be converted, as [`Queryable::query`](super::Queryable::query).
    pub fn rows<T: FromRow>(self) -> Result<Vec<T>> {
        match self {
            Piped::Text(result) => result.gather(from_row),
            Piped::Binary(result) => result.gather(from_row),
        }
    }

    /// Rows that the statement affected.
    pub fn affected_rows(&self) -> u64 {
        match self {
            Piped::Text(result) => result.affected_rows(),
            Piped::Binary(result) => result.affected_rows(),
        }
    }

    /// The statement's insert id.
    pub fn last_insert_id(&self) -> Option<u64> {
        match self {
            Piped::Text(result) => result.last_insert_id(),
            Piped::Binary(result) => result.last_insert_id(),
        }
    }
}

pub(super) fn results(responses: Vec<Result<Response>>, kinds: &[Kind]) -> Vec<Result<Piped>> {
    responses
        .into_iter()
        .zip(kinds)
        .map(|(response, kind)| match kind {
            Kind::Text => response.and_then(QueryResult::new).map(Piped::Text),
            Kind::Binary => response.and_then(QueryResult::new).map(Piped::Binary),
        })
        .collect()
}

/// A statement once for each parameters, as many at a time as are sent together.
pub(super) fn batches<P: Into<Params>>(
    stmt: &Statement,
    params: impl IntoIterator<Item = P>,
) -> impl Iterator<Item = Result<Vec<Ask>>> {
    let ask = |params: P| {
        let values = stmt.bind(params.into())?;
        Ok(Ask::Execute(stmt.prepared.clone(), values))
    };
    let mut asks = params.into_iter().map(ask).peekable();
    iter::from_fn(move || {
        asks.peek()?;
        Some(asks.by_ref().take(BATCH).collect())
    })
}

/// The first error of many, and of each of their results.
pub(super) fn first_error(responses: Vec<Result<Response>>) -> Result<()> {
    responses
        .into_iter()
        .try_for_each(|response| QueryResult::<Binary>::new(response?)?.finish())
}
