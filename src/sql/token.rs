//! The words of a statement, by the lexical rules that MySQL and MariaDB have in common.
//!
//! It knows no keyword, and neither the character set nor the SQL mode, besides
//! `NO_BACKSLASH_ESCAPES`: what would be read differently by another of them is `dangerous`, as is
//! whatever can't be part of a statement without effect on its session.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/language-structure.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/comments.html>,
//! <https://mariadb.com/kb/en/comment-syntax/>, <https://mariadb.com/kb/en/identifier-names/>,
//! and `sql/sql_lex.cc` of both servers.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, or a name without quotes.
    Word,
    /// A name in backticks.
    Quoted,
    /// `"…"`: a string, or a name under `ANSI_QUOTES`.
    Text,
    /// A string, a number, a parameter.
    Literal,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    Operator,
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// Of a name without its quotes, in lower case; of an operator its byte.
    pub hash: u64,
}

/// Reads a statement token by token.
pub(super) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    /// Whether backslashes escape in what comes next.
    pub escapes: bool,
    /// `"…"` may be a string or a name: what would end elsewhere as the other is `dangerous`.
    pub either_quotes: bool,
    /// The kind of the last token, and where it ended.
    last: (Kind, usize),
    /// There was something that only the server can read.
    pub dangerous: bool,
    /// There was an optimizer hint right before the last token, or before the end.
    pub hinted: bool,
    /// A quote wasn't closed: the last token is all the rest.
    pub unclosed: bool,
}

const BLANK: u8 = 1;
/// May be in a name.
const NAME: u8 = 2;
const DIGIT: u8 = 4;
/// Is a token, and touches nothing.
const OPERATOR: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut class = [0; 256];
    let mut at = 0;
    while at < 256 {
        class[at] = match at as u8 {
            b'\t'..=b'\r' | b' ' => BLANK,
            b'0'..=b'9' => NAME | DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => NAME,
            b'=' | b'<' | b'>' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^'
            | b'~' => OPERATOR,
            _ => 0,
        };
        at += 1;
    }
    class
}

fn is(byte: Option<u8>, class: u8) -> bool {
    byte.is_some_and(|byte| CLASS[byte as usize] & class != 0)
}

/// FNV-1a, of lower case.
pub(super) const fn hash(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < name.len() {
        hash = hash_byte(hash, name[at]);
        at += 1;
    }
    hash
}

const fn hash_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The first of two bytes, eight at a time: a statement may hold a string of many megabytes.
fn find_either(bytes: &[u8], from: usize, one: u8, other: u8) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Marks the zero bytes; above the lowest of them there may be false marks.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let (ones, others) = (LOW * one as u64, LOW * other as u64);
    let (words, _) = bytes[from..].as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ ones) | zeros(word ^ others);
        if found != 0 {
            return Some(from + at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let rest = from + words.len() * 8;
    let found = bytes[rest..].iter().position(|b| *b == one || *b == other);
    found.map(|at| rest + at)
}

impl<'a> Tokens<'a> {
    pub(super) fn new(sql: &'a [u8], no_backslash_escapes: bool) -> Self {
        Tokens {
            sql,
            at: 0,
            escapes: !no_backslash_escapes,
            either_quotes: true,
            last: (Kind::Semicolon, 0),
            dangerous: false,
            hinted: false,
            unclosed: false,
        }
    }

    /// Where the next token, or what is before it, begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on there.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.sql.len());
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.hinted = false;
        self.blanks();
        let start = self.at;
        let byte = self.peek(0)?;
        let (kind, hash) = self.token(byte);
        let end = self.at;
        self.last = (kind, end);
        Some(Token {
            kind,
            start,
            end,
            hash,
        })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    fn token(&mut self, byte: u8) -> (Kind, u64) {
        if is(Some(byte), DIGIT) && !self.is_behind_dot() {
            return self.number();
        }
        if is(Some(byte), NAME) {
            return self.word();
        }
        if byte == b'.' && is(self.peek(1), DIGIT) && !self.is_behind_name() {
            return self.fraction();
        }
        self.at += 1;
        let kind = match byte {
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b',' => Kind::Comma,
            b'.' => Kind::Dot,
            b';' => Kind::Semicolon,
            b'?' => Kind::Literal,
            b'\'' => {
                self.quoted(byte, self.escapes);
                Kind::Literal
            }
            b'"' => {
                self.quoted(byte, self.escapes);
                Kind::Text
            }
            b'`' => return self.backticks(),
            _ => {
                // `@`, `:=`, `\N`, `{d …}`, NUL and all that is no SQL.
                self.dangerous |= !is(Some(byte), OPERATOR);
                // The end of a comment that began elsewhere.
                let is_end = self.peek(0) == Some(b'/') && self.peek(1) != Some(b'*');
                self.dangerous |= byte == b'*' && is_end;
                Kind::Operator
            }
        };
        (kind, byte as u64)
    }

    /// Behind a dot even digits are a name.
    fn is_behind_dot(&self) -> bool {
        self.last == (Kind::Dot, self.at)
    }

    fn is_behind_name(&self) -> bool {
        let (kind, end) = self.last;
        end == self.at && matches!(kind, Kind::Word | Kind::Quoted | Kind::Text)
    }

    fn word(&mut self) -> (Kind, u64) {
        let start = self.at;
        let (mut all, mut hash) = (0, hash(b""));
        let rest = &self.sql[start..];
        let length = rest.iter().take_while(|b| CLASS[**b as usize] & NAME != 0);
        let length = length
            .map(|byte| {
                all |= byte;
                hash = hash_byte(hash, *byte);
            })
            .count();
        self.at += length;
        if all >= 0x80 {
            self.check_charset(start);
        }
        // MySQL 9 quotes by `$$` and `$name$`.
        self.dangerous |= rest[0] == b'$';
        if length == 1
            && matches!(rest[0], b'x' | b'X' | b'b' | b'B' | b'n' | b'N')
            && self.peek(0) == Some(b'\'')
        {
            self.at += 1;
            self.quoted(b'\'', self.escapes);
            return (Kind::Literal, 0);
        }
        (Kind::Word, hash)
    }

    /// A name of other than ASCII bytes is the same in any character set if it is UTF-8, which
    /// no blank of an 8-bit set can split in a way that makes sense, and if its last character
    /// can't take in what follows: the second byte of gbk, sjis and big5 may be any of `@` to `~`.
    fn check_charset(&mut self, start: usize) {
        let name = &self.sql[start..self.at];
        let takes_next = name.last() >= Some(&0x80) && matches!(self.peek(0), Some(b'@'..=b'~'));
        self.dangerous |= takes_next || std::str::from_utf8(name).is_err();
    }

    /// A number, or a name that begins with a digit.
    fn number(&mut self) -> (Kind, u64) {
        if self.peek(0) == Some(b'0') && self.radix() {
            return (Kind::Literal, 0);
        }
        let start = self.at;
        self.digits();
        if self.peek(0) == Some(b'.') {
            return self.fraction();
        }
        if !is(self.peek(0), NAME) {
            return (Kind::Literal, 0);
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) && self.exponent() {
            return self.behind_number();
        }
        self.at = start;
        self.word()
    }

    /// `0x1f`, `0b01`.
    fn radix(&mut self) -> bool {
        let digit: fn(&u8) -> bool = match self.peek(1) {
            Some(b'x') => u8::is_ascii_hexdigit,
            Some(b'b') => |byte| matches!(byte, b'0' | b'1'),
            _ => return false,
        };
        let digits = self.sql[self.at + 2..].iter();
        let length = 2 + digits.take_while(|byte| digit(byte)).count();
        let whole = length > 2 && !is(self.peek(length), NAME);
        self.at += if whole { length } else { 0 };
        whole
    }

    fn digits(&mut self) {
        while is(self.peek(0), DIGIT) {
            self.at += 1;
        }
    }

    /// From the point on.
    fn fraction(&mut self) -> (Kind, u64) {
        self.at += 1;
        self.digits();
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.exponent();
        }
        self.behind_number()
    }

    fn exponent(&mut self) -> bool {
        let sign = matches!(self.peek(1), Some(b'+' | b'-')) as usize;
        let whole = is(self.peek(1 + sign), DIGIT);
        if whole {
            self.at += 1 + sign;
            self.digits();
        }
        whole
    }

    /// `1.5from` is two tokens for the server; nobody has to rely on it.
    fn behind_number(&mut self) -> (Kind, u64) {
        self.dangerous |= is(self.peek(0), NAME);
        (Kind::Literal, 0)
    }

    fn backticks(&mut self) -> (Kind, u64) {
        let start = self.at;
        self.quoted(b'`', false);
        let name = &self.sql[start..(self.at - 1).max(start)];
        (Kind::Quoted, hash(name))
    }

    /// From behind the opening quote to behind the closing one.
    fn quoted(&mut self, quote: u8, escapes: bool) {
        while let Some(at) = find_either(self.sql, self.at, quote, b'\\') {
            let found = self.sql[at];
            // The second byte of a character of gbk, sjis or big5, or not.
            self.dangerous |= self.sql[at - 1] >= 0x80 && matches!(found, b'\\' | b'`');
            self.at = at + 1;
            if found == quote {
                if self.peek(0) != Some(quote) {
                    return;
                }
                self.at += 1;
            } else if escapes {
                // In a name a backslash is a backslash.
                let is_either = quote == b'"' && self.either_quotes;
                self.dangerous |= is_either && self.peek(0) == Some(b'"');
                self.at = (self.at + 1).min(self.sql.len());
            }
        }
        self.unclosed = true;
        self.unterminated();
    }

    fn unterminated(&mut self) {
        self.dangerous = true;
        self.at = self.sql.len();
    }

    fn blanks(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                _ if is(Some(byte), BLANK) => self.at += 1,
                b'#' => self.line_comment(),
                b'-' if self.is_dash_comment() => self.line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.comment(),
                _ => return,
            }
        }
    }

    /// Skips blanks, and comments to the end of a line; whether there were any.
    ///
    /// [`blanks`](Tokens::blanks) doesn't use it: that is called for each token of each statement.
    pub(super) fn plain_blanks(&mut self) -> bool {
        let start = self.at;
        while let Some(byte) = self.peek(0) {
            match byte {
                _ if is(Some(byte), BLANK) => self.at += 1,
                b'#' => self.line_comment(),
                b'-' if self.is_dash_comment() => self.line_comment(),
                _ => break,
            }
        }
        self.at > start
    }

    /// `--` begins a comment before a blank, a control character and the end.
    fn is_dash_comment(&mut self) -> bool {
        if self.peek(1) != Some(b'-') {
            return false;
        }
        // Might be a blank in an 8-bit character set.
        self.dangerous |= self.peek(2) >= Some(0x80);
        self.peek(2)
            .is_none_or(|byte| byte.is_ascii_control() || byte == b' ')
    }

    /// Ends behind the line, or at a NUL, which is the end of the statement or not.
    fn line_comment(&mut self) {
        let Some(at) = find_either(self.sql, self.at, b'\n', 0) else {
            self.at = self.sql.len();
            return;
        };
        self.dangerous |= self.sql[at] == 0;
        self.at = at + 1;
    }

    /// `/* … */`; what the server runs of it (`/*! … */`, MariaDB's `/*M! … */`) isn't read.
    pub(super) fn comment(&mut self) {
        let start = self.at + 2;
        let rest = &self.sql[start..];
        let Some(length) = rest.windows(2).position(|end| end == b"*/") else {
            return self.unterminated();
        };
        let text = &rest[..length];
        self.at = start + length + 2;
        self.dangerous |= text.contains(&0);
        match text {
            [b'!', ..] | [b'M' | b'm', b'!', ..] => self.dangerous = true,
            [b'+', ..] => self.hint(text),
            _ => {}
        }
    }

    /// An optimizer hint. In quotes it may hold `*/`, which ends a comment.
    ///
    /// Source: <https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html>
    fn hint(&mut self, text: &[u8]) {
        let has = |name: &[u8]| {
            text.windows(name.len())
                .any(|window| window.eq_ignore_ascii_case(name))
        };
        self.hinted = true;
        self.dangerous |= text.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`'));
        self.dangerous |= has(b"SET_VAR") || has(b"RESOURCE_GROUP");
    }
}
