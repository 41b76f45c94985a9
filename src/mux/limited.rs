//! Statements that carry the time they may take, so that the server itself ends them and nothing
//! else.
//!
//! Source: <https://mariadb.com/kb/en/aborting-statements/>,
//! <https://dev.mysql.com/doc/refman/9.0/en/optimizer-hints.html#optimizer-hints-execution-time>

use std::{sync::Arc, time::Duration};

use crate::{
    error::{Error, Ran, Result, StatementTimeout},
    proto::{
        handshake::ServerInfo,
        result::{Failure, Outcome, Response},
    },
    sql::{Effect, Statement},
};

/// MariaDB's `ER_STATEMENT_TIMEOUT`, MySQL's `ER_QUERY_TIMEOUT`.
const TIMEOUTS: [u16; 2] = [1969, 3024];

/// The statement with its limit. `None`: this server has none for it.
pub(super) fn query(
    sql: &[u8],
    statement: &Statement,
    time: Duration,
    server: &ServerInfo,
) -> Option<Vec<u8>> {
    // Cut short by a limit, these give a row and no error: nobody could tell.
    let quiet = [&b"sleep"[..], b"benchmark"];
    if quiet.iter().any(|name| contains(sql, name)) {
        return None;
    }
    // Zero means none to both servers.
    let millis = time.as_millis().max(1);
    if server.mariadb && server.parsed >= (10, 1, 2) {
        let (seconds, rest) = (millis / 1000, millis % 1000);
        let limit = format!("SET STATEMENT max_statement_time={seconds}.{rest:03} FOR ");
        return Some([limit.as_bytes(), sql].concat());
    }
    // MySQL limits what only reads.
    if !server.mariadb && server.parsed >= (5, 7, 8) && statement.effect == Effect::Read {
        let at = statement.hint_at?;
        let hint = format!(" /*+ MAX_EXECUTION_TIME({millis}) */");
        return Some([sql.get(..at)?, hint.as_bytes(), sql.get(at..)?].concat());
    }
    None
}

fn contains(sql: &[u8], name: &[u8]) -> bool {
    sql.windows(name.len())
        .any(|word| word.eq_ignore_ascii_case(name))
}

/// Tells a statement that the server ended at its limit from one that failed.
pub(super) fn outcome(response: Response, time: Duration, server: &Arc<str>) -> Result<Response> {
    match response.outcomes.back() {
        Some(Outcome::Err(Failure::Server(e))) if TIMEOUTS.contains(&e.code) => {
            Err(Error::from(StatementTimeout::new(server, time, Ran::Maybe)))
        }
        _ => Ok(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(mariadb: bool, parsed: (u16, u16, u16)) -> ServerInfo {
        ServerInfo {
            mariadb,
            parsed,
            version: String::new(),
            connection_id: 0,
            nonce: Vec::new(),
            default_plugin: Vec::new(),
            capabilities: Default::default(),
            extended: mysql_common::constants::MariadbCapabilities::empty(),
        }
    }

    fn limited(sql: &str, time: u64, server: &ServerInfo) -> Option<String> {
        let statement = crate::sql::read(sql.as_bytes());
        query(
            sql.as_bytes(),
            &statement,
            Duration::from_millis(time),
            server,
        )
        .map(|sql| String::from_utf8_lossy(&sql).into_owned())
    }

    #[test]
    fn mariadb_limits_whatever_it_is() {
        let server = server(true, (10, 11, 19));
        assert_eq!(
            limited("DELETE FROM t", 1500, &server).as_deref(),
            Some("SET STATEMENT max_statement_time=1.500 FOR DELETE FROM t")
        );
        assert_eq!(
            limited("SELECT 1", 0, &server).as_deref(),
            Some("SET STATEMENT max_statement_time=0.001 FOR SELECT 1")
        );
    }

    #[test]
    fn mysql_limits_what_reads() {
        let server = server(false, (9, 7, 4));
        assert_eq!(
            limited("SELECT a FROM t", 20, &server).as_deref(),
            Some("SELECT /*+ MAX_EXECUTION_TIME(20) */ a FROM t")
        );
        assert_eq!(limited("DELETE FROM t", 20, &server), None);
    }

    #[test]
    fn servers_that_know_no_limit_get_none() {
        assert_eq!(limited("SELECT 1", 20, &server(false, (5, 6, 0))), None);
        assert_eq!(limited("SELECT 1", 20, &server(true, (10, 0, 0))), None);
    }
}
