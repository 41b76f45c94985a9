//! All words of a text, also those that touch the session: variables, and comments that the server
//! runs. It knows no keyword. Where a text is read differently by another character set, or server,
//! it is `doubtful`.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/user-variables.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/comments.html>,
//! <https://mariadb.com/kb/en/comment-syntax/>, and `sql/sql_lex.cc` of both servers.

use super::token::{Kind, Token, Tokens};

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A keyword, or a name without quotes.
    Word,
    /// A name in quotes.
    Name,
    /// A string in plain quotes.
    Text,
    /// Another string, a number, a parameter.
    Literal,
    /// `@name`, also the host of an account.
    UserVariable,
    /// `@@`
    AtAt,
    /// `:=`
    Assign,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    Operator,
    /// No SQL, or not in a place that is known.
    Odd,
}

/// A word of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub what: What,
    pub start: usize,
    pub end: usize,
}

/// Which SQL modes a text is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    pub no_backslash_escapes: bool,
    pub ansi_quotes: bool,
}

/// All ways in which a text may be read.
pub(super) fn modes(sql: &[u8]) -> impl Iterator<Item = Modes> {
    let backslashes = [false, true];
    let backslashes = &backslashes[..1 + sql.contains(&b'\\') as usize];
    let quotes = &[false, true][..1 + sql.contains(&b'"') as usize];
    let mut all = Vec::with_capacity(4);
    for &no_backslash_escapes in backslashes {
        for &ansi_quotes in quotes {
            all.push(Modes {
                no_backslash_escapes,
                ansi_quotes,
            });
        }
    }
    all.into_iter()
}

/// A text, read by some modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    pub all: Vec<Piece>,
    /// Only the server can tell what it means.
    pub doubtful: bool,
    /// The server refuses it, without having run anything.
    pub refused: bool,
}

pub(super) fn pieces(sql: &[u8], modes: Modes) -> Pieces {
    let mut tokens = Tokens::new(sql, modes.no_backslash_escapes);
    tokens.either_quotes = false;
    let mut lexer = Lexer {
        sql,
        tokens,
        modes,
        runs: false,
        doubtful: false,
        refused: false,
        several: false,
    };
    let mut all = Vec::new();
    while let Some(piece) = lexer.next() {
        all.push(piece);
        if lexer.refused {
            break;
        }
    }
    Pieces {
        all,
        doubtful: lexer.doubtful || lexer.runs,
        refused: lexer.refused,
    }
}

struct Lexer<'a> {
    sql: &'a [u8],
    tokens: Tokens<'a>,
    modes: Modes,
    /// In a comment whose text is run.
    runs: bool,
    doubtful: bool,
    refused: bool,
    /// There was a semicolon: what is before it may have run.
    several: bool,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Piece> {
        self.blanks();
        let start = self.tokens.at();
        let token = self.token()?;
        let what = self.what(&token);
        let end = self.tokens.at();
        self.several |= what == What::Semicolon;
        Some(Piece { what, start, end })
    }

    /// In a name a backslash is a backslash.
    fn token(&mut self) -> Option<Token> {
        let is_name = self.modes.ansi_quotes && self.rest().first() == Some(&b'"');
        self.tokens.escapes = !self.modes.no_backslash_escapes && !is_name;
        self.tokens.next()
    }

    fn rest(&self) -> &'a [u8] {
        &self.sql[self.tokens.at()..]
    }

    fn blanks(&mut self) {
        loop {
            match self.rest() {
                [b'*', b'/', ..] if self.runs => {
                    self.runs = false;
                    self.tokens.go_to(self.tokens.at() + 2);
                }
                // Within one that is run they mean different things to different servers.
                [b'/', b'*', ..] if self.runs => {
                    self.doubtful = true;
                    self.tokens.comment();
                }
                [b'/', b'*', b'!', ..] => self.run(),
                [b'/', b'*', b'+', ..] => self.hint(),
                [b'/', b'*', ..] => self.tokens.comment(),
                _ if self.tokens.plain_blanks() => {}
                _ => break,
            }
            self.take_danger();
        }
        self.take_danger();
    }

    fn take_danger(&mut self) {
        self.doubtful |= std::mem::take(&mut self.tokens.dangerous);
    }

    /// `/*! … */` is run by all servers, and with a version by those that aren't older; but MariaDB
    /// leaves out those of 50700 to 99999.
    fn run(&mut self) {
        let text = &self.rest()[3..];
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_old = digits == 5 && text[..5] < b"50700"[..];
        if digits != 0 && !is_old {
            self.doubtful = true;
            self.tokens.comment();
            return;
        }
        self.runs = true;
        self.tokens.go_to(self.tokens.at() + 3 + digits);
    }

    /// An optimizer hint sets what it sets for its statement only. In quotes it might hold the end
    /// of a comment.
    fn hint(&mut self) {
        let rest = self.rest();
        let length = rest.windows(2).skip(2).position(|end| end == b"*/");
        let text = &rest[..length.map_or(rest.len(), |length| length + 2)];
        let is_plain = length.is_some() && is_balanced(text) && !text.contains(&0);
        self.tokens.comment();
        // What the other reader of comments says of hints is too strict here.
        self.tokens.dangerous = false;
        self.doubtful |= !is_plain;
    }

    fn what(&mut self, token: &Token) -> What {
        let first = self.sql[token.start];
        let is_touching =
            token.kind == Kind::Operator && matches!(first, b'@' | b':' | b'{' | b'}');
        if is_touching {
            self.tokens.dangerous = false;
        }
        let before = self.doubtful;
        self.take_danger();
        match token.kind {
            Kind::Word => What::Word,
            Kind::Quoted => self.quoted(What::Name, before),
            Kind::Text if self.modes.ansi_quotes => self.quoted(What::Name, before),
            Kind::Text => self.quoted(What::Text, before),
            Kind::Literal if first == b'\'' => self.quoted(What::Text, before),
            Kind::Literal => self.quoted(What::Literal, before),
            Kind::Open => What::Open,
            Kind::Close => What::Close,
            Kind::Comma => What::Comma,
            Kind::Dot => What::Dot,
            Kind::Semicolon => What::Semicolon,
            Kind::Operator => self.operator(first, before),
        }
    }

    /// A quote that isn't closed is refused, if it is certain that it isn't.
    fn quoted(&mut self, what: What, doubtful: bool) -> What {
        if self.tokens.unclosed {
            self.refuse(doubtful);
        }
        what
    }

    fn refuse(&mut self, doubtful: bool) {
        if !doubtful && !self.several && self.sql.is_ascii() {
            self.refused = true;
            self.doubtful = false;
        }
    }

    fn operator(&mut self, byte: u8, doubtful: bool) -> What {
        let next = self.rest().first().copied();
        match (byte, next) {
            (b'@', Some(b'@')) => {
                self.tokens.go_to(self.tokens.at() + 1);
                What::AtAt
            }
            (b'@', _) => {
                self.variable();
                What::UserVariable
            }
            (b':', Some(b'=')) => {
                self.tokens.go_to(self.tokens.at() + 1);
                What::Assign
            }
            (b'\\', next) => {
                if next != Some(b'N') {
                    self.refuse(doubtful);
                }
                What::Odd
            }
            (b'=' | b'<' | b'>' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%', _) => What::Operator,
            (b'&' | b'|' | b'^' | b'~' | b'{' | b'}', _) => What::Operator,
            _ => What::Odd,
        }
    }

    /// From behind the `@`: what follows is in quotes, or may have points in it.
    fn variable(&mut self) {
        if matches!(self.rest(), [b'\'' | b'"' | b'`', ..]) {
            self.token();
            self.take_danger();
            return;
        }
        let is_name = |byte: &&u8| {
            byte.is_ascii_alphanumeric() || matches!(**byte, b'.' | b'_' | b'$' | 0x80..)
        };
        let name = self.rest();
        let length = name.iter().take_while(is_name).count();
        let is_ascii = name[..length].is_ascii();
        self.doubtful |= !is_ascii;
        self.tokens.go_to(self.tokens.at() + length);
    }
}

/// Whether each quote is closed.
fn is_balanced(text: &[u8]) -> bool {
    let mut open = None;
    for byte in text {
        match (open, byte) {
            (Some(quote), byte) if quote == byte => open = None,
            (None, b'\'' | b'"' | b'`') => open = Some(byte),
            _ => {}
        }
    }
    open.is_none()
}

/// A name without its quotes.
pub(super) fn unquoted(text: &[u8]) -> Vec<u8> {
    let Some(&quote @ (b'`' | b'"' | b'\'')) = text.first() else {
        return text.to_vec();
    };
    let inner = text.get(1..text.len() - 1).unwrap_or_default();
    let mut name = Vec::with_capacity(inner.len());
    let mut doubled = false;
    for &byte in inner {
        doubled = byte == quote && !doubled;
        if !doubled {
            name.push(byte);
        }
    }
    name
}

/// A string without its quotes, and what its backslashes escape.
///
/// Source: <https://dev.mysql.com/doc/refman/8.4/en/string-literals.html>
pub(super) fn unescaped(text: &[u8], modes: Modes) -> Vec<u8> {
    if modes.no_backslash_escapes || !text.contains(&b'\\') {
        return unquoted(text);
    }
    let inner = text.get(1..text.len() - 1).unwrap_or_default();
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == text[0] {
            bytes.next();
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.push(0),
            Some(b'b') => out.push(8),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'Z') => out.push(26),
            Some(wildcard @ (b'%' | b'_')) => out.extend([b'\\', wildcard]),
            Some(byte) => out.push(byte),
            None => out.push(b'\\'),
        }
    }
    out
}
