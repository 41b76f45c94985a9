//! Which names a statement mentions: of tables and views, but also of whatever else has a name.
//!
//! Rather too many than too few: whoever asks has a few names that matter, and looks each one up.
//! It knows no grammar.

use super::{
    Effect,
    token::{Kind, Token, Tokens},
};

/// What statements have a word of that reach a table or a view.
const REACHING: &[&[u8]] = &[
    b"from", b"insert", b"update", b"delete", b"replace", b"table", b"load", b"handler",
];

/// What statements have a word of that begin a transaction, or lock tables.
const BEGINNING: &[&[u8]] = &[
    b"begin",
    b"start",
    b"transaction",
    b"autocommit",
    b"xa",
    b"tables",
];

/// What statements have a word of that change what is defined, and of what it is.
const CHANGING: &[&[u8]] = &[b"create", b"alter", b"drop", b"rename"];
#[rustfmt::skip]
const DEFINED: &[&[u8]] = &[
    b"view", b"trigger", b"function", b"procedure", b"package", b"database", b"schema", b"rename",
    b"nextval", b"next", b"connection_id", b"like",
];

/// `connection_id`
const LONGEST: usize = 13;

/// What a text is about, by its words alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct About {
    /// It may reach tables or views.
    pub reaches: bool,
    /// It may begin a transaction, or lock tables: what is to be looked up has to be looked up before.
    pub begins: bool,
    /// It may change definitions of views, triggers or routines.
    pub defines: bool,
    /// It may only prepare what does so.
    pub prepares: bool,
    /// It may execute what was prepared.
    pub executes: bool,
}

impl About {
    /// Of a statement that is known to read: strings may be long, and are nothing.
    pub(crate) fn reads(sql: &[u8]) -> About {
        let mut about = About::default();
        mentions(sql, Effect::Read, |name, _| {
            about.reaches |= REACHING.contains(&name);
        });
        about
    }

    /// Of a statement that is known to write.
    pub(crate) fn writes() -> About {
        About {
            reaches: true,
            ..About::default()
        }
    }
}

/// Reads the words of a text.
pub(crate) fn about(sql: &[u8]) -> About {
    let mut about = About::default();
    let (mut changes, mut defined, mut temporary) = (false, false, false);
    words(sql, |word, _| {
        // None of those that matter.
        if word.len() > LONGEST || !word[0].is_ascii_alphabetic() {
            return;
        }
        let is = |all: &[&[u8]]| all.iter().any(|one| word.eq_ignore_ascii_case(one));
        about.reaches |= is(REACHING);
        about.begins |= is(BEGINNING);
        about.prepares |= word.eq_ignore_ascii_case(b"prepare");
        about.executes |= word.eq_ignore_ascii_case(b"execute");
        changes |= is(CHANGING);
        temporary |= changes && word.eq_ignore_ascii_case(b"temporary");
        // A default names a variable.
        defined |= is(DEFINED);
    });
    about.defines = changes && (defined || !temporary && about.reaches && sql.contains(&b'@'));
    about
}

/// Has each name of a statement seen, in lower case and without its quotes, and whether it has a point
/// behind it. Of a statement that isn't neutral every word is a name, in strings and comments as well.
pub(crate) fn mentions(sql: &[u8], effect: Effect, mut see: impl FnMut(&[u8], bool)) {
    if effect == Effect::Other {
        let mut name = Vec::new();
        return words(sql, |word, has_dot| {
            name.clear();
            match word.is_ascii() {
                true => name.extend(word.iter().map(u8::to_ascii_lowercase)),
                false => name = lower(word),
            }
            see(&name, has_dot);
        });
    }
    named(sql, false, &mut see);
    if sql.contains(&b'\\') {
        named(sql, true, &mut see);
    }
}

/// The digest of a statement stands for all names in it.
pub(crate) fn is_told_by_digest(sql: &[u8]) -> bool {
    sql.len() <= super::digest::LIMIT && !sql.contains(&b'"')
}

fn named(sql: &[u8], no_backslash_escapes: bool, see: &mut impl FnMut(&[u8], bool)) {
    let mut tokens = Tokens::new(sql, no_backslash_escapes);
    let mut last: Option<Token> = None;
    loop {
        let token = tokens.next();
        if let Some(name) = last.take() {
            let has_dot = token.is_some_and(|token| token.kind == Kind::Dot);
            see(&name_of(&sql[name.start..name.end]), has_dot);
        }
        match token {
            Some(token) if matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Text) => {
                last = Some(token);
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// A name without its quotes, as names are compared.
pub(super) fn name_of(text: &[u8]) -> Vec<u8> {
    lower(&super::pieces::unquoted(text))
}

/// Each run of bytes that may be a name, in pieces where it would need quotes.
fn words(sql: &[u8], mut see: impl FnMut(&[u8], bool)) {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    let mut at = 0;
    while at < sql.len() {
        if !is_word(sql[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < sql.len() && is_word(sql[at]) {
            at += 1;
        }
        let rest = sql[at..].iter().take(8);
        let behind = rest.copied().find(|b| !matches!(b, b'`' | b'"' | b' '));
        see(&sql[start..at], behind == Some(b'.'));
    }
}

/// What stands for a name where texts are read word by word: its longest part that needs no quotes.
pub(crate) fn part_of(name: &[u8]) -> Vec<u8> {
    let mut longest: &[u8] = b"";
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    for part in name.split(|byte| !is_word(byte)) {
        if part.len() > longest.len() {
            longest = part;
        }
    }
    longest.to_vec()
}

/// As names are compared: other letters than of ASCII by the rules of Unicode.
pub(crate) fn lower(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_ascii() => name.to_lowercase().into_bytes(),
        _ => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sql: &str, effect: Effect) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        mentions(sql.as_bytes(), effect, |name, has_dot| {
            all.push((String::from_utf8_lossy(name).into_owned(), has_dot));
        });
        all
    }

    #[test]
    fn names_of_neutral_statements_are_not_in_strings() {
        let sql = "SELECT A.`b c` FROM s . \"T\" WHERE x = 'view' -- other";
        let names = [
            ("select", false),
            ("a", true),
            ("b c", false),
            ("from", false),
            ("s", true),
            ("t", false),
            ("where", false),
            ("x", false),
        ];
        let names = names.map(|(name, has_dot)| (name.to_owned(), has_dot));
        assert_eq!(seen(sql, Effect::Read), names);
        let all = seen(sql, Effect::Other);
        assert!(all.contains(&("view".to_owned(), false)));
        assert!(all.contains(&("other".to_owned(), false)));
    }

    #[test]
    fn where_backslashes_may_be_plain_both_readings_count() {
        let sql = r"SELECT 'a\' FROM v -- '";
        assert!(seen(sql, Effect::Read).contains(&("v".to_owned(), false)));
    }

    #[test]
    fn what_a_text_is_about() {
        let about = |sql: &str| super::about(sql.as_bytes());
        assert_eq!(about("SELECT 1"), About::default());
        assert!(about("SELECT * FROM t").reaches);
        assert!(about("/*!50003 CREATE*/ TRIGGER a BEFORE INSERT ON t FOR EACH ROW DO 1").defines);
        assert!(about("CREATE OR REPLACE VIEW v AS SELECT 1").defines);
        assert!(about("RENAME TABLE a TO b").defines);
        assert!(about("PREPARE p FROM 'DROP FUNCTION f'").defines);
        assert!(about("CREATE TABLE a (b INT DEFAULT NEXTVAL(s))").defines);
        assert!(about("CREATE TABLE a (b INT DEFAULT @x)").defines);
        assert!(!about("CREATE TABLE a (b INT DEFAULT 1)").defines);
        assert!(!about("CREATE TEMPORARY TABLE a (b INT)").defines);
        assert!(about("BEGIN").begins && about("SET @@autocommit=0").begins);
        assert!(!about("COMMIT").begins);
    }

    #[test]
    fn a_name_with_odd_letters_is_known_by_a_part_of_it() {
        assert_eq!(part_of(b"my-long view"), b"long");
        assert_eq!(part_of(b"plain"), b"plain");
        assert_eq!(lower("\u{c9}T".as_bytes()), "\u{e9}t".as_bytes());
    }
}
