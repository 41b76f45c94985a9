//! Transactions that only read: which statement begins one, and which may run in it on a server that
//! has the same data as the primary, but is not the primary.

use super::{
    facts::{Act, facts},
    token::{Kind, Token, Tokens},
};

/// Its tokens, and whether there is something that only the server can read.
fn tokens(sql: &[u8]) -> (Vec<Token>, bool) {
    let mut tokens = Tokens::new(sql, false);
    let all = std::iter::from_fn(|| tokens.next()).collect();
    (all, tokens.dangerous)
}

fn word(sql: &[u8], token: &Token) -> Vec<u8> {
    let word = sql.get(token.start..token.end).unwrap_or_default();
    word.to_ascii_uppercase()
}

/// The words of a statement of words, commas and semicolons at its end.
fn words(sql: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (tokens, is_dangerous) = tokens(sql);
    let mut words = Vec::new();
    let mut over = false;
    for token in &tokens {
        match token.kind {
            Kind::Semicolon => over = true,
            Kind::Word if !over => words.push(word(sql, token)),
            Kind::Comma if !over => {}
            _ => return None,
        }
    }
    (!is_dangerous).then_some(words)
}

/// It begins a transaction that only reads, and does nothing else.
pub(crate) fn begins_read_only(sql: &[u8]) -> bool {
    // Most statements are none.
    let verb = sql.trim_ascii_start().first_chunk::<5>();
    if !verb.is_some_and(|verb| verb.eq_ignore_ascii_case(b"START")) {
        return false;
    }
    let words = words(sql).unwrap_or_default();
    let words: Vec<_> = words.iter().map(Vec::as_slice).collect();
    let &[b"START", b"TRANSACTION", ref modes @ ..] = &words[..] else {
        return false;
    };
    let mut modes = modes;
    let mut reads_only = false;
    loop {
        modes = match modes {
            [b"READ", b"ONLY", rest @ ..] => {
                reads_only = true;
                rest
            }
            [b"WITH", b"CONSISTENT", b"SNAPSHOT", rest @ ..] => rest,
            [] => return reads_only,
            _ => return false,
        };
    }
}

/// In a transaction that only reads, it does the same on a replica as it would on the primary: it reads, it
/// sets something of the session, it ends the transaction, or the server refuses it.
pub(crate) fn may_run_on_replica(sql: &[u8]) -> bool {
    let (tokens, _) = tokens(sql);
    let Some((verb, rest)) = tokens.split_first() else {
        return false;
    };
    let end = tokens
        .iter()
        .position(|token| token.kind == Kind::Semicolon);
    let is_one = end.is_none_or(|end| end + 1 == tokens.len());
    let facts = facts(sql);
    if facts.unknown || facts.sets_global || !is_one {
        return false;
    }
    match &word(sql, verb)[..] {
        b"COMMIT" | b"ROLLBACK" | b"SAVEPOINT" | b"RELEASE" | b"USE" => true,
        b"SET" => {
            // `SET STATEMENT … FOR`, functions and queries may lock.
            let is_plain =
                |token: &Token| token.kind != Kind::Open && word(sql, token) != b"STATEMENT";
            let sets = |act: &Act| *act == Act::SetVariables;
            rest.iter().all(is_plain) && facts.acts.iter().all(sets) && !facts.commits
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
