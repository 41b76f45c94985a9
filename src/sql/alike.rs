//! Texts that differ from one that came before in plain literals only: what that one told, they tell too.
//!
//! A plain literal is a whole number, or a string of harmless characters in single quotes. Where one stands
//! another may: no token around it becomes another one, and what is told of a text is the same whatever
//! its literals are. All that is between them has to be the same, byte by byte.
//!
//! What is kept has no literals in it. It knows nothing of what is told.
//!
//! # Memory
//! Nothing before the first text. Then about 4 KiB for the places, and at most 40 KiB for what is kept.

use super::{
    Effect, Statement,
    cache::hash,
    token::{Kind, Token, Tokens},
};

/// Longer texts are not looked for.
const LONGEST: usize = 512;

/// Texts with more plain literals are not kept.
const MOST: usize = 32;

const SETS: usize = 32;

/// Places in a set.
const WAYS: usize = 2;

/// So many texts of one set are looked for in vain before the next one is kept: that costs as much as reading
/// it again, and one that is kept already has to make room.
const PATIENCE: u8 = 16;

/// What texts without their literals told.
#[derive(Debug)]
pub(super) struct Alike {
    /// None, or all.
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    kept: [Option<Pattern>; WAYS],
    /// The place that was used last.
    used: usize,
    /// Texts to be looked for in vain before one is kept.
    wait: u8,
}

/// A text without its plain literals.
#[derive(Debug)]
struct Pattern {
    text: Box<[u8]>,
    holes: Box<[Hole]>,
    statement: Statement,
}

/// Where a plain literal was.
#[derive(Debug, Clone, Copy)]
struct Hole {
    at: u16,
    fill: Fill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Number,
    /// What is between the quotes.
    String,
}

impl Fill {
    fn takes(self, byte: u8) -> bool {
        match self {
            Fill::Number => byte.is_ascii_digit(),
            Fill::String => matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\',
        }
    }
}

impl Alike {
    pub(super) const fn new() -> Self {
        Alike { sets: Vec::new() }
    }

    /// What is told of a text, if one like it was noted.
    pub(super) fn find(&mut self, sql: &[u8]) -> Option<Statement> {
        if sql.len() > LONGEST {
            return None;
        }
        let set = self.sets.get_mut(place(sql))?;
        for way in [set.used, WAYS - 1 - set.used] {
            if let Some(pattern) = &set.kept[way]
                && pattern.fits(sql)
            {
                set.used = way;
                return Some(pattern.statement);
            }
        }
        None
    }

    /// Notes what was told of a text that was not found.
    pub(super) fn note(&mut self, sql: &[u8], statement: Statement) {
        let is_plain = statement.effect != Effect::Other && !sql.contains(&b'\\');
        if sql.len() > LONGEST || !is_plain {
            return;
        }
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, Set::new);
        }
        let set = &mut self.sets[place(sql)];
        match set.wait.checked_sub(1) {
            Some(left) => set.wait = left,
            None => set.keep(Pattern::new(sql, statement)),
        }
    }
}

impl Set {
    fn new() -> Self {
        Set {
            kept: [const { None }; WAYS],
            used: 0,
            // A text that never comes again is not worth it.
            wait: 1,
        }
    }

    fn keep(&mut self, pattern: Option<Pattern>) {
        self.wait = PATIENCE;
        if let Some(pattern) = pattern {
            let empty = self.kept.iter().position(Option::is_none);
            let way = empty.unwrap_or(WAYS - 1 - self.used);
            self.kept[way] = Some(pattern);
            self.used = way;
        }
    }
}

impl Pattern {
    /// `None`: there is no plain literal in it, or too many.
    #[cold]
    fn new(sql: &[u8], statement: Statement) -> Option<Pattern> {
        let mut tokens = Tokens::new(sql, false);
        let (mut text, mut holes) = (Vec::new(), Vec::new());
        let mut behind = 0;
        while let Some(token) = tokens.next() {
            if let Some((fill, start, end)) = plain_literal(&token, sql) {
                text.extend_from_slice(&sql[behind..start]);
                let at = text.len() as u16;
                holes.push(Hole { at, fill });
                behind = end;
            }
        }
        text.extend_from_slice(&sql[behind..]);
        (1..=MOST).contains(&holes.len()).then(|| Pattern {
            text: text.into(),
            holes: holes.into(),
            statement,
        })
    }

    /// A text is this one with other literals.
    fn fits(&self, sql: &[u8]) -> bool {
        let (mut rest, mut behind) = (sql, 0);
        for hole in &self.holes {
            let at = usize::from(hole.at);
            let Some(literal) = rest.strip_prefix(&self.text[behind..at]) else {
                return false;
            };
            let len = literal.iter().take_while(|b| hole.fill.takes(**b)).count();
            if len == 0 && hole.fill == Fill::Number {
                return false;
            }
            (rest, behind) = (&literal[len..], at);
        }
        *rest == self.text[behind..]
    }
}

/// What of a token may be another, if it is a plain literal.
fn plain_literal(token: &Token, sql: &[u8]) -> Option<(Fill, usize, usize)> {
    let text = &sql[token.start..token.end];
    let are_all = |fill: Fill, text: &[u8]| text.iter().all(|byte| fill.takes(*byte));
    match text {
        _ if token.kind != Kind::Literal => None,
        [b'\'', inner @ .., b'\''] if are_all(Fill::String, inner) => {
            Some((Fill::String, token.start + 1, token.end - 1))
        }
        _ if are_all(Fill::Number, text) => Some((Fill::Number, token.start, token.end)),
        _ => None,
    }
}

/// Where a text is looked for: by what is before all of its literals.
fn place(sql: &[u8]) -> usize {
    hash(&sql[..head(sql)]) as usize % SETS
}

/// A length that texts have in common which differ in their plain literals: none of these is before it. Eight
/// bytes at a time it finds the first quote, or digit, or one of `:;<=>?`, which are next to the digits.
fn head(sql: &[u8]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Marks the zero bytes; above the lowest of them there may be false marks.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let (words, rest) = sql.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let digits = (word & (LOW * 0xf0)) ^ (LOW * 0x30);
        let found = zeros(digits) | zeros(word ^ (LOW * u64::from(b'\'')));
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let found = rest.iter().position(|b| b & 0xf0 == 0x30 || *b == b'\'');
    words.len() * 8 + found.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::{super::read, *};
    use proptest::prelude::*;

    /// Found for both, and told as it is.
    fn are_alike(one: &str, other: &str) -> bool {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let mut alike = Alike::new();
        for _ in 0..2 {
            assert_eq!(alike.find(one), None);
            alike.note(one, read(one));
        }
        let found = alike.find(other);
        assert!(found.is_none_or(|statement| statement == read(other)));
        found.is_some()
    }

    #[test]
    fn texts_that_differ_in_plain_literals_are_alike() {
        for (one, other) in [
            (
                "SELECT a FROM t WHERE id = 1",
                "SELECT a FROM t WHERE id = 2345",
            ),
            ("SELECT 'a', 5 FROM t2", "SELECT '', 0 FROM t2"),
            (
                "INSERT INTO t VALUES (1, 'a'), (-2, 'b')",
                "INSERT INTO t VALUES (3, 'd e'), (-4, '@:\"')",
            ),
            (
                "SELECT `1`, a1 FROM t LIMIT 5,6;",
                "SELECT `1`, a1 FROM t LIMIT 50,60;",
            ),
        ] {
            assert!(are_alike(one, other), "{one}");
        }
    }

    #[test]
    fn others_are_not() {
        let one = "SELECT a FROM t1 WHERE id = 1 AND b = 'b'";
        for other in [
            "SELECT a FROM t2 WHERE id = 1 AND b = 'b'",
            "SELECT a FROM t1 WHERE id = -1 AND b = 'b'",
            "SELECT a FROM t1 WHERE id =  AND b = 'b'",
            "SELECT a FROM t1 WHERE id = 1.5 AND b = 'b'",
            "SELECT a FROM t1 WHERE id = 1e5 AND b = 'b'",
            "SELECT a FROM t1 WHERE id = 0x1 AND b = 'b'",
            "SELECT a FROM t1 WHERE id = 1a AND b = 'b'",
            "SELECT a FROM t1 WHERE id = 1 AND b = 'b''c'",
            "SELECT a FROM t1 WHERE id = 1 AND b = 'b\\'c'",
            "SELECT a FROM t1 WHERE id = 1 AND b = '\u{e9}'",
            "SELECT a FROM t1 WHERE id = 1 AND b = 'b' ",
            "SELECT a FROM t1 WHERE id = 1 AND b = 'b",
        ] {
            assert!(!are_alike(one, other), "{other}");
        }
    }

    #[test]
    fn what_is_anything_or_has_no_plain_literal_is_not_kept() {
        for sql in [
            "SET @a = 1",
            "SELECT a FROM t",
            "SELECT '\\a', 1",
            "SELECT 0x1, 1.5",
        ] {
            assert!(!are_alike(sql, sql), "{sql}");
        }
        let many = format!("SELECT {}", vec!["1"; MOST + 1].join(","));
        assert!(!are_alike(&many, &many));
    }

    #[test]
    fn one_that_is_new_gets_a_place_in_time() {
        let mut alike = Alike::new();
        let texts = ["SELECT 1", "SELECT 1 FROM t", "SELECT 1 FROM u"].map(str::as_bytes);
        for _ in 0..2 * PATIENCE {
            for sql in texts {
                if alike.find(sql).is_none() {
                    alike.note(sql, read(sql));
                }
            }
        }
        let new = b"SELECT 1 FROM v";
        for _ in 0..=PATIENCE {
            alike.note(new, read(new));
        }
        assert!(alike.find(b"SELECT 2 FROM v").is_some());
    }

    /// Pieces of which some are literals.
    fn text() -> impl Strategy<Value = String> {
        const FIXED: &[&str] = &[
            "SELECT ",
            "a",
            " FROM t1",
            " WHERE ",
            " = ",
            "(",
            ")",
            ",",
            ".",
            "-",
            "--",
            " ",
            "/*",
            "*/",
            "#",
            "\n",
            "'",
            "`",
            "\"",
            "\\",
            "x",
            "0x",
            "e",
            "@",
            ";",
            "INSERT INTO t VALUES ",
            "N'",
            "_utf8",
            "\u{e9}",
            " FOR UPDATE",
            " INTO ",
            "/*+ MAX_EXECUTION_TIME(",
            "IS NULL",
            ":=",
            "$",
            "count",
        ];
        let piece = prop_oneof![
            3 => proptest::sample::select(FIXED).prop_map(str::to_owned),
            2 => Just("\u{1}".to_owned()),
            2 => Just("'\u{1}'".to_owned()),
        ];
        proptest::collection::vec(piece, 0..14)
            .prop_map(|pieces| format!("SELECT {}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_would_be_read(
            text in text(),
            fills in proptest::collection::vec("[0-9]{0,3}|[a-z ]{0,3}|[ -~\u{e9}]{0,3}", 40),
        ) {
            let mut fills = fills.into_iter();
            let mut filled = || {
                let parts = text.split('\u{1}').map(str::to_owned);
                let all = parts.reduce(|all, part| all + &fills.next().unwrap_or_default() + &part);
                all.unwrap_or_default()
            };
            let mut alike = Alike::new();
            for _ in 0..4 {
                let sql = filled();
                let told = read(sql.as_bytes());
                match alike.find(sql.as_bytes()) {
                    Some(found) => prop_assert_eq!(found, told, "{}", sql),
                    None => {
                        alike.note(sql.as_bytes(), told);
                        alike.note(sql.as_bytes(), told);
                    }
                }
            }
        }
    }
}
