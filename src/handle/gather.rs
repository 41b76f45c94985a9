//! All rows of a result, converted while the rest of it is read: the server works on meanwhile, and
//! of its rows no more lie about than were read at once.
//!
//! Only conversions are run meanwhile. A caller's closure comes when the result is whole: what it
//! does must not depend on a statement that is still running.

use std::{any::type_name, future::Future, marker::PhantomData};

use mysql_common::row::Row;

use super::result::{Protocol, QueryResult};
use crate::{
    error::{Error, Result},
    link::{News, Parts},
    proto::result::Response,
};

/// The rows so far.
struct Gathered<P, T> {
    rows: Vec<T>,
    malformed: Option<Error>,
    convert: fn(Row) -> T,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol, T> Gathered<P, T> {
    fn new(convert: fn(Row) -> T) -> Self {
        Gathered {
            rows: Vec::new(),
            malformed: None,
            convert,
            protocol: PhantomData,
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Again => {
                self.rows.clear();
                self.malformed = None;
            }
            News::Rows(..) if self.malformed.is_some() => {}
            News::Rows(columns, mut rows) => {
                while let Some(row) = rows.next_with(|payload| P::decode(payload, &columns)) {
                    match row {
                        Ok(row) => self.rows.push((self.convert)(row)),
                        Err(e) => {
                            self.malformed = Some(e);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn finish(self, response: Result<Response>) -> Result<Vec<T>> {
        let rest = QueryResult::<P>::new(response?)?;
        match self.malformed {
            Some(e) => Err(e),
            None => rest.gather_behind(self.rows, self.convert),
        }
    }
}

/// Runs something for a blocking caller, and converts all rows of its first result set. What runs
/// puts rows into `parts`, if it likes.
pub(super) fn gather<P: Protocol, T>(
    parts: &Parts,
    running: impl Future<Output = Result<Response>>,
    convert: fn(Row) -> T,
) -> Result<Vec<T>> {
    let mut gathered = Gathered::<P, T>::new(convert);
    let response = parts.take_from(running, |news| gathered.take(news));
    gathered.finish(response)
}

/// The same for a task.
pub(super) async fn gather_as_task<P: Protocol, T>(
    parts: &Parts,
    running: impl Future<Output = Result<Response>>,
    convert: fn(Row) -> T,
) -> Result<Vec<T>> {
    let mut gathered = Gathered::<P, T>::new(convert);
    let response = parts
        .take_as_task(running, |news| gathered.take(news))
        .await;
    gathered.finish(response)
}

/// Rows as such take more memory than their bytes: better they come one by one.
pub(super) fn is_bulky<T>() -> bool {
    type_name::<T>() == type_name::<Row>()
}
