//! The columns of prepared statements' results, as they came last: where that is agreed on
//! (`MARIADB_CLIENT_CACHE_METADATA`), the server sends them only when they are others.
//!
//! Knows statements by their numbers; not who asked for them.
//!
//! Source: <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/result-set-packets>;
//! `should_send_column_info` in MariaDB's `sql/protocol.cc`.

use std::sync::Arc;

use mysql_common::packets::Column;

use super::command::Expect;

/// Columns by statement.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// By number; the server gives higher and higher ones.
    statements: Vec<(u32, Arc<[Column]>)>,
}

/// What a command ends for those that come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgets {
    Nothing,
    /// This statement was closed.
    One(u32),
    /// There are no statements any more.
    All,
}

impl Metadata {
    /// They came for this statement.
    pub(super) fn keep(&mut self, statement: u32, columns: &Arc<[Column]>) {
        match self.find(statement) {
            Ok(at) => self.statements[at].1.clone_from(columns),
            Err(at) => self.statements.insert(at, (statement, columns.clone())),
        }
    }

    /// Those that came last for the statement that is executed, if there are so many.
    #[inline]
    pub(super) fn of(&self, expect: Expect, count: usize) -> Option<&Arc<[Column]>> {
        let Expect::Binary(statement) = expect else {
            return None;
        };
        let (_, columns) = &self.statements[self.find(statement).ok()?];
        (columns.len() == count).then_some(columns)
    }

    #[inline]
    pub(super) fn forget(&mut self, what: Forgets) {
        match what {
            Forgets::Nothing => {}
            Forgets::All => self.statements.clear(),
            Forgets::One(statement) => {
                if let Ok(at) = self.find(statement) {
                    self.statements.remove(at);
                }
            }
        }
    }

    fn find(&self, statement: u32) -> Result<usize, usize> {
        self.statements.binary_search_by_key(&statement, |s| s.0)
    }
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::ColumnType;

    use super::*;

    fn columns(count: usize) -> Arc<[Column]> {
        vec![Column::new(ColumnType::MYSQL_TYPE_LONG); count].into()
    }

    #[test]
    fn the_last_ones_of_a_statement_are_kept_until_it_is_closed() {
        let mut metadata = Metadata::default();
        let (one, two) = (columns(1), columns(2));
        for statement in [7, 3, 9] {
            metadata.keep(statement, &one);
        }
        metadata.keep(3, &two);
        let of = Expect::Binary;
        assert!(Arc::ptr_eq(metadata.of(of(7), 1).unwrap(), &one));
        assert!(Arc::ptr_eq(metadata.of(of(3), 2).unwrap(), &two));
        assert!(metadata.of(of(3), 1).is_none(), "not so many");
        assert!(metadata.of(of(4), 1).is_none());
        assert!(metadata.of(Expect::Text, 1).is_none());
        metadata.forget(Forgets::One(3));
        metadata.forget(Forgets::One(4));
        metadata.forget(Forgets::Nothing);
        assert!(metadata.of(of(3), 2).is_none());
        assert!(metadata.of(of(9), 1).is_some());
        metadata.forget(Forgets::All);
        assert!(metadata.of(of(9), 1).is_none());
    }
}
