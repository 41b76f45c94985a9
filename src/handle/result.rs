//! Results: sets of rows that were read whole and are decoded as they are looked at.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use mysql_common::{
    packets::Column,
    row::{Row, new_row_raw},
};

use crate::{
    error::{Error, Result},
    proto::{
        few::Few,
        result::{OkInfo, Outcome, Response, ResultSet as RawSet},
        row::{self, Malformed, Values},
    },
};

/// How values come over the wire.
pub trait Protocol: sealed::Decode + 'static {}

/// Values as text: results of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text;

/// Values as bytes: results of prepared statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary;

impl Protocol for Text {}
impl Protocol for Binary {}

mod sealed {
    use super::*;

    pub trait Decode {
        fn decode(payload: &[u8], columns: &Arc<[Column]>) -> Result<Row>;
    }

    impl Decode for Text {
        #[inline]
        fn decode(payload: &[u8], columns: &Arc<[Column]>) -> Result<Row> {
            made(row::text(payload, columns), columns)
        }
    }

    impl Decode for Binary {
        #[inline]
        fn decode(payload: &[u8], columns: &Arc<[Column]>) -> Result<Row> {
            made(row::binary(payload, columns), columns)
        }
    }

    #[inline]
    fn made(
        values: std::result::Result<Values, Malformed>,
        columns: &Arc<[Column]>,
    ) -> Result<Row> {
        match values {
            Ok(values) => Ok(new_row_raw(values, columns.clone())),
            Err(e) => Err(Error::MalformedRow(e.to_string())),
        }
    }
}

/// The result sets of one statement or several. Iterates over the rows of the current set.
#[derive(Debug)]
pub struct QueryResult<T: Protocol> {
    outcomes: Few<Outcome>,
    set: Set,
    protocol: PhantomData<T>,
}

#[derive(Debug)]
enum Set {
    /// [`QueryResult::iter`] or the iterator has not come to it.
    Ahead,
    Rows(Box<RawSet>),
    Empty(OkInfo),
    /// It failed, and its error was or is to be told.
    Failed(Option<Error>),
    /// There is none left.
    None,
}

impl Set {
    #[inline]
    fn of(outcome: Option<Outcome>) -> Set {
        match outcome {
            Some(Outcome::Set(set)) => Set::Rows(set),
            Some(Outcome::Ok(ok)) => Set::Empty(ok),
            Some(Outcome::Err(failure)) => Set::Failed(Some(failure.into())),
            None => Set::None,
        }
    }
}

impl<T: Protocol> QueryResult<T> {
    /// Fails where the first statement did.
    #[inline]
    pub(super) fn new(response: Response) -> Result<Self> {
        let mut outcomes = response.outcomes;
        match Set::of(outcomes.pop_front()) {
            Set::Failed(Some(e)) => Err(e),
            set => Ok(QueryResult {
                outcomes,
                set,
                protocol: PhantomData,
            }),
        }
    }

    fn step(&mut self) {
        self.set = Set::of(self.outcomes.pop_front());
    }

    /// The current set is over.
    fn end_set(&mut self) {
        self.set = match self.outcomes.is_empty() {
            true => Set::None,
            false => Set::Ahead,
        };
    }

    /// Looks through what is left for an error.
    pub(super) fn finish(mut self) -> Result<()> {
        loop {
            match self.set {
                Set::Failed(Some(e)) => return Err(e),
                Set::None => return Ok(()),
                _ => self.step(),
            }
        }
    }

    fn ok(&self) -> Option<&OkInfo> {
        match &self.set {
            Set::Rows(set) => Some(&set.ok),
            Set::Empty(ok) => Some(ok),
            _ => None,
        }
    }

    /// Rows of the current set that are left.
    fn left(&self) -> usize {
        match &self.set {
            Set::Rows(set) => set.rows.len(),
            _ => 0,
        }
    }

    /// The current set's first row of those that are left.
    #[inline]
    pub(super) fn first<U>(mut self, convert: impl FnOnce(Row) -> U) -> Result<Option<U>> {
        self.next_row().map(|row| row.map(convert)).transpose()
    }

    /// All rows of the current set, each through `map`, in memory that is taken once.
    pub(super) fn gather<U>(self, map: impl FnMut(Row) -> U) -> Result<Vec<U>> {
        self.gather_behind(Vec::new(), map)
    }

    /// The same, behind those that are there.
    pub(super) fn gather_behind<U>(
        self,
        mut all: Vec<U>,
        mut map: impl FnMut(Row) -> U,
    ) -> Result<Vec<U>> {
        all.reserve_exact(self.left());
        for row in self {
            all.push(map(row?));
        }
        Ok(all)
    }

    fn next_row(&mut self) -> Option<Result<Row>> {
        match &mut self.set {
            Set::Rows(set) => {
                let RawSet { columns, rows, .. } = &mut **set;
                rows.next_with(|payload| T::decode(payload, columns))
            }
            Set::Failed(e) => e.take().map(Err),
            Set::Ahead | Set::Empty(_) | Set::None => None,
        }
    }

    /// The current set; afterwards the next one is current. `None`: there is none left.
    pub fn iter(&mut self) -> Option<ResultSet<'_, T>> {
        if let Set::Ahead = self.set {
            self.step();
        }
        match self.set {
            Set::None => None,
            _ => Some(ResultSet(self)),
        }
    }

    /// The same as [`Self::iter`], under the name that the `mysql` crate deprecates.
    pub fn next_set(&mut self) -> Option<ResultSet<'_, T>> {
        self.iter()
    }

    /// Rows that the current statement affected.
    pub fn affected_rows(&self) -> u64 {
        self.ok().map_or(0, |ok| ok.affected_rows)
    }

    /// The current statement's insert id.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.ok().map(|ok| ok.last_insert_id).filter(|&id| id != 0)
    }

    /// Warnings of the current statement.
    pub fn warnings(&self) -> u16 {
        self.ok().map_or(0, |ok| ok.warnings)
    }

    /// What the server says about the current statement for people; empty: nothing.
    pub fn info_ref(&self) -> &[u8] {
        self.ok().map_or(&[], |ok| &ok.info)
    }

    /// [`Self::info_ref`] as text; bytes that are no UTF-8 are replaced.
    pub fn info_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.info_ref())
    }

    /// Columns of the current set.
    pub fn columns(&self) -> SetColumns {
        SetColumns(match &self.set {
            Set::Rows(set) => set.columns.clone(),
            _ => Arc::new([]),
        })
    }
}

impl<T: Protocol> Iterator for QueryResult<T> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if let Set::Ahead = self.set {
            self.step();
        }
        let row = self.next_row();
        if row.is_none() {
            self.end_set();
        }
        row
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.set {
            Set::Rows(set) => (set.rows.len(), Some(set.rows.len())),
            _ => (0, None),
        }
    }
}

/// One set of a result. What is left of it when it is dropped is passed over.
#[derive(Debug)]
pub struct ResultSet<'a, T: Protocol>(&'a mut QueryResult<T>);

impl<T: Protocol> std::ops::Deref for ResultSet<'_, T> {
    type Target = QueryResult<T>;

    fn deref(&self) -> &QueryResult<T> {
        self.0
    }
}

impl<T: Protocol> Iterator for ResultSet<'_, T> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.0.next_row()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left(), None)
    }
}

impl<T: Protocol> Drop for ResultSet<'_, T> {
    fn drop(&mut self) {
        self.0.end_set();
    }
}

/// Columns of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetColumns(Arc<[Column]>);

impl SetColumns {
    /// Where the column of this name is.
    pub fn column_index<U: AsRef<str>>(&self, name: U) -> Option<usize> {
        let name = name.as_ref().as_bytes();
        self.0.iter().position(|column| column.name_ref() == name)
    }
}

impl AsRef<[Column]> for SetColumns {
    fn as_ref(&self) -> &[Column] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::MySqlError,
        proto::result::{Failure, Rows},
    };
    use bytes::Bytes;
    use mysql_common::constants::ColumnType;

    fn set(rows: &[&'static [u8]]) -> Outcome {
        let mut raw = Rows::default();
        rows.iter()
            .for_each(|row| raw.push_whole(Bytes::from_static(row)));
        let columns = Arc::new([Column::new(ColumnType::MYSQL_TYPE_VAR_STRING).with_name(b"a")]);
        Outcome::Set(Box::new(RawSet {
            columns,
            rows: raw,
            ok: OkInfo {
                warnings: 3,
                ..OkInfo::default()
            },
        }))
    }

    fn err() -> Outcome {
        let e = MySqlError {
            state: "42000".into(),
            message: "no".into(),
            code: 1064,
        };
        Outcome::Err(Failure::Server(e))
    }

    fn result(outcomes: impl IntoIterator<Item = Outcome>) -> Result<QueryResult<Text>> {
        QueryResult::new(Response {
            outcomes: outcomes.into_iter().collect(),
        })
    }

    #[test]
    fn iterating_gives_one_set_at_a_time() {
        let ok = Outcome::Ok(OkInfo {
            affected_rows: 7,
            ..OkInfo::default()
        });
        let mut result = result([set(&[b"\x011", b"\xfb"]), ok, set(&[b"\x012"])]).unwrap();
        assert_eq!(result.columns().column_index("a"), Some(0));
        assert_eq!(result.warnings(), 3);
        assert_eq!(result.size_hint(), (2, Some(2)));
        let first: Vec<_> = result.by_ref().map(|row| row.unwrap().unwrap()).collect();
        assert_eq!(first, [vec!["1".into()], vec![mysql_common::Value::NULL]]);
        assert_eq!(result.iter().unwrap().affected_rows(), 7);
        assert_eq!(result.iter().unwrap().count(), 1);
        assert!(result.iter().is_none());
    }

    #[test]
    fn the_first_error_is_told_at_once_and_a_later_one_when_it_is_reached() {
        assert_eq!(result([err()]).unwrap_err().code(), Some(1064));
        let mut later = result([set(&[]), err()]).unwrap();
        assert!(later.next().is_none());
        assert_eq!(later.next().unwrap().unwrap_err().code(), Some(1064));
        assert!(later.next().is_none());
        assert_eq!(
            result([set(&[]), err()])
                .unwrap()
                .finish()
                .unwrap_err()
                .code(),
            Some(1064)
        );
    }

    #[test]
    fn a_row_that_does_not_fit_its_columns_is_an_error() {
        let mut rows = result([set(&[b"\x09short"])]).unwrap();
        assert!(matches!(rows.next(), Some(Err(Error::MalformedRow(_)))));
    }
}
