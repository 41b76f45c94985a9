//! What texts of statements tell, read once for those that come again: each thread keeps some of them.
//! It is the same as [`sql::read`] and [`Doing::new`] tell, and knows nothing of handles and links.
//!
//! A thread keeps at most 130 KiB, for as long as it lives; texts with their literals among it. Handles
//! on it share that, whoever's they are: what a text says by itself is the same for all.

use std::{cell::RefCell, sync::Arc};

use super::{Doing, follow::Act};
use crate::sql::{self, Cache, Name, Statement};

thread_local! {
    static SEEN: RefCell<Cache<Doing>> = const { RefCell::new(Cache::new()) };
}

/// What the text of a statement tells.
pub(crate) fn read(sql: &[u8]) -> Statement {
    let read = SEEN.try_with(|seen| seen.borrow_mut().read(sql));
    // At a thread's end handles may outlive what it keeps.
    read.unwrap_or_else(|_| sql::read(sql))
}

/// What a statement does that is not neutral.
pub(crate) fn doing(sql: &[u8]) -> Arc<Doing> {
    known(sql).unwrap_or_else(|| Arc::new(new(sql)))
}

/// The same for one that runs right behind others: it has an outline where that is known.
pub(crate) fn doing_next(sql: &[u8]) -> Arc<Doing> {
    known(sql).unwrap_or_else(|| {
        let mut doing = Doing::nothing().clone();
        doing.facts = sql::facts(sql);
        Arc::new(doing)
    })
}

fn new(sql: &[u8]) -> Doing {
    Doing::new(sql::facts(sql), sql)
}

/// `None`: its text didn't come twice.
fn known(sql: &[u8]) -> Option<Arc<Doing>> {
    let make = || {
        let doing = new(sql);
        let size = size(&doing, sql);
        (doing, size)
    };
    let made = SEEN.try_with(|seen| seen.borrow_mut().made(sql, make));
    made.ok().flatten()
}

/// The bytes that it takes, at most.
fn size(doing: &Doing, sql: &[u8]) -> usize {
    /// What an allocation costs besides what is in it.
    const EACH: usize = 32;
    let acts = &doing.facts.acts;
    let names = acts.iter().map(|act| match act {
        Act::DropTables { names, .. } | Act::DropSequences(names) => names.capacity(),
        _ => 0,
    });
    // All names together are no longer than the text.
    size_of::<Doing>()
        + doing.outline.len()
        + sql.len()
        + acts.capacity() * (size_of::<Act>() + 2 * EACH)
        + names.sum::<usize>() * (size_of::<Name>() + 2 * EACH)
        + doing.facts.user_variables.capacity() * (size_of::<Arc<str>>() + 2 * EACH)
        + doing.unscoped.capacity() * (size_of::<String>() + EACH)
        + 8 * EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_and_third_time_tell_the_same() {
        let texts: [&[u8]; 7] = [
            b"BEGIN",
            b"SELECT a FROM t WHERE id = 1",
            b"SELECT GET_LOCK('a', 1)",
            b"SET @@sql_mode = '', SESSION time_zone = '+00:00'",
            b"DROP TABLE a, b.c",
            b"SELECT * FROM t; CREATE TEMPORARY TABLE u (a INT)",
            b"EXECUTE IMMEDIATE 'SET @a = 1'",
        ];
        for _ in 0..4 {
            for sql in texts {
                for _ in 0..2 {
                    assert_eq!(read(sql), sql::read(sql));
                    let new = new(sql);
                    assert_eq!(format!("{:?}", doing(sql)), format!("{new:?}"));
                    assert_eq!(doing_next(sql).facts, new.facts);
                }
            }
        }
        let again = doing(texts[0]);
        assert!(Arc::ptr_eq(&again, &doing(texts[0])));
    }

    #[test]
    fn what_is_large_is_known_to_be() {
        let names = vec!["a"; 500].join(",");
        let sql = format!("DROP TABLE {names}");
        assert!(size(&new(sql.as_bytes()), sql.as_bytes()) > 40_000);
    }

    #[test]
    fn a_thread_that_ends_reads_all_the_same() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                assert_eq!(read(b"BEGIN"), sql::read(b"BEGIN"));
                assert!(doing(b"BEGIN").facts.acts.is_empty());
            }
        }
        thread_local!(static LATE: Late = const { Late });
        let thread = std::thread::spawn(|| {
            // The one that is used last goes first.
            LATE.with(|_| read(b"BEGIN"));
        });
        assert!(thread.join().is_ok());
    }
}
