//! Transactions that only read: which statement begins one, and which may run in it on a server that
//! has the same data as the primary, but is not the primary.

use super::{
    facts::{Act, facts},
    token::{Kind, Tokens},
};

/// The words of a statement of words, commas and semicolons at its end.
fn words(sql: &[u8]) -> Option<Vec<String>> {
    let mut tokens = Tokens::new(sql, false);
    let mut words = Vec::new();
    let mut over = false;
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Semicolon => over = true,
            Kind::Word if !over => {
                let word = sql.get(token.start..token.end).unwrap_or_default();
                words.push(String::from_utf8_lossy(word).to_ascii_uppercase());
            }
            Kind::Comma if !over => {}
            _ => return None,
        }
    }
    (!tokens.dangerous).then_some(words)
}

/// There is more than one statement.
fn has_more(sql: &[u8]) -> bool {
    let mut tokens = Tokens::new(sql, false);
    let mut over = false;
    while let Some(token) = tokens.next() {
        if over {
            return true;
        }
        over = token.kind == Kind::Semicolon;
    }
    false
}

/// It begins a transaction that only reads, and does nothing else.
pub(crate) fn begins_read_only(sql: &[u8]) -> bool {
    // Most statements are none.
    let verb = sql.trim_ascii_start().first_chunk::<5>();
    if !verb.is_some_and(|verb| verb.eq_ignore_ascii_case(b"START")) {
        return false;
    }
    let words = words(sql).unwrap_or_default();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let &["START", "TRANSACTION", ref modes @ ..] = &words[..] else {
        return false;
    };
    let mut modes = modes;
    let mut reads_only = false;
    loop {
        modes = match modes {
            ["READ", "ONLY", rest @ ..] => {
                reads_only = true;
                rest
            }
            ["WITH", "CONSISTENT", "SNAPSHOT", rest @ ..] => rest,
            [] => return reads_only,
            _ => return false,
        };
    }
}

/// In a transaction that only reads, it does the same on a replica as it would on the primary: it reads, it
/// sets something of the session, it ends the transaction, or the server refuses it.
pub(crate) fn may_run_on_replica(sql: &[u8]) -> bool {
    let mut tokens = Tokens::new(sql, false);
    let mut next = || {
        let token = tokens.next()?;
        let word = sql.get(token.start..token.end).unwrap_or_default();
        Some((word.to_ascii_uppercase(), token.kind))
    };
    let (verb, _) = next().unwrap_or((Vec::new(), Kind::Semicolon));
    let facts = facts(sql);
    if facts.unknown || facts.sets_global || has_more(sql) {
        return false;
    }
    match &verb[..] {
        b"COMMIT" | b"ROLLBACK" | b"SAVEPOINT" | b"RELEASE" | b"USE" => true,
        b"SET" => {
            // `SET STATEMENT … FOR`, functions and queries may lock.
            let mut rest = std::iter::from_fn(next);
            let plain = rest.all(|(word, kind)| kind != Kind::Open && word != b"STATEMENT");
            let sets = |act: &Act| *act == Act::SetVariables;
            plain && facts.acts.iter().all(sets) && !facts.commits
        }
        _ => facts.reads_only && facts.acts.is_empty() && !facts.commits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_begins_with_these_words_and_no_others() {
        for sql in [
            "START TRANSACTION READ ONLY",
            "start transaction with consistent snapshot, read only;",
            " START /* soon */ TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT",
        ] {
            assert!(begins_read_only(sql.as_bytes()), "{sql}");
        }
        for sql in [
            "START TRANSACTION",
            "START TRANSACTION READ WRITE",
            "START TRANSACTION READ ONLY, READ WRITE",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "START TRANSACTION READ ONLY; INSERT INTO t VALUES (1)",
            "START TRANSACTION /*! READ ONLY */",
            "START SLAVE",
            "BEGIN",
            "SELECT 'START TRANSACTION READ ONLY'",
            "",
        ] {
            assert!(!begins_read_only(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn what_is_meant_for_the_primary_may_not_run_elsewhere() {
        for sql in [
            "SELECT a FROM t",
            "SELECT @a, LAST_INSERT_ID()",
            "COMMIT",
            "ROLLBACK TO SAVEPOINT s",
            "SAVEPOINT s",
            "SET @a = 1",
            "SET SESSION sort_buffer_size = 100000",
            "USE other",
        ] {
            assert!(may_run_on_replica(sql.as_bytes()), "{sql}");
        }
        for sql in [
            "SELECT a FROM t FOR UPDATE",
            "SELECT GET_LOCK('a', 1)",
            "SELECT mine(1)",
            "SET @a = GET_LOCK('a', 1)",
            "SET @a = (SELECT b FROM t FOR UPDATE)",
            "SET STATEMENT max_statement_time = 1 FOR SELECT b FROM t FOR UPDATE",
            "CALL p()",
            "DO RELEASE_LOCK('a')",
            "BEGIN",
            "CREATE TABLE t (a INT)",
            "LOCK TABLES t READ",
            "SET GLOBAL sort_buffer_size = 100000",
            "SET autocommit = 1",
            "SELECT 1; SELECT GET_LOCK('a', 1)",
            "COMMIT; DELETE FROM t",
            "USE x; SELECT a FROM t FOR UPDATE",
            "SET @a = 1; SELECT a FROM t FOR UPDATE",
            "PREPARE p FROM 'SELECT 1'",
        ] {
            assert!(!may_run_on_replica(sql.as_bytes()), "{sql}");
        }
    }
}
