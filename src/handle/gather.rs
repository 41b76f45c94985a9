//! All rows of a result, converted while the rest of it is read: the server works on meanwhile, and
//! of its rows no more lie about than were read at once.
//!
//! Only conversions are run meanwhile. A caller's closure comes when the result is whole: what it
//! does must not depend on a statement that is still running.

use std::{any::type_name, future::Future};

use mysql_common::row::Row;

use super::result::{Protocol, QueryResult};
use crate::{
    error::Result,
    link::{News, Parts},
    proto::result::Response,
};

/// Runs something for a blocking caller, and converts all rows of its first result set. What
/// runs puts rows into `parts`, if it likes.
pub(super) fn gather<P: Protocol, T, F>(
    parts: &Parts,
    running: F,
    convert: fn(Row) -> T,
) -> Result<Vec<T>>
where
    F: Future<Output = Result<Response>>,
{
    let mut all = Vec::new();
    let mut malformed = None;
    let response = parts.take_from(running, |news| match news {
        News::Again => {
            all.clear();
            malformed = None;
        }
        News::Rows(_, _) if malformed.is_some() => {}
        News::Rows(columns, mut rows) => {
            while let Some(row) = rows.next_with(|payload| P::decode(payload, &columns)) {
                match row {
                    Ok(row) => all.push(convert(row)),
                    Err(e) => {
                        malformed = Some(e);
                        return;
                    }
                }
            }
        }
    })?;
    let rest = QueryResult::<P>::new(response)?;
    match malformed {
        Some(e) => Err(e),
        None => rest.gather_behind(all, convert),
    }
}

/// Rows as such take more memory than their bytes: better they come one by one.
pub(super) fn is_bulky<T>() -> bool {
    type_name::<T>() == type_name::<Row>()
}
