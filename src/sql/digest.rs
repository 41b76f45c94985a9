//! A number for statements that differ in their literals only: literals, lists of them and rows
//! of lists are all the same, blanks and comments are nothing, names are in lower case.
//!
//! It is no more than a hint: two statements may have one digest. It knows nothing of what a
//! statement does, and is the same in one process only.

use super::token::{Kind, Token, hash};

/// Tokens that begin behind this are not looked at.
pub(super) const LIMIT: usize = 4096;

const LITERAL: u64 = 1;
const LIST: u64 = 2;
const NULL: u64 = hash(b"null");

/// A parenthesis in which there are only literals yet.
#[derive(Clone, Copy)]
struct List {
    /// The digest before it.
    before: u64,
    /// The digest behind the rows before it, if it is another row.
    rows: Option<u64>,
    is_empty: bool,
}

#[derive(Clone, Copy)]
enum Rows {
    None,
    /// The digest behind a list.
    Ended(u64),
    /// The same, and a comma was behind it.
    Continued(u64),
}

/// A digest, as far as it is made.
pub(super) struct Digest {
    hash: u64,
    list: Option<List>,
    rows: Rows,
    semicolon: bool,
    /// There was more than is looked at.
    cut: bool,
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95)
}

impl List {
    fn end(self) -> u64 {
        self.rows.unwrap_or(mix(self.before, LIST))
    }
}

impl Digest {
    pub(super) fn new() -> Self {
        Digest {
            hash: 0,
            list: None,
            rows: Rows::None,
            semicolon: false,
            cut: false,
        }
    }

    pub(super) fn token(&mut self, token: &Token) {
        self.cut |= token.start >= LIMIT;
        if self.cut {
            return;
        }
        // The last one is nothing.
        let semicolon = token.kind == Kind::Semicolon;
        if std::mem::replace(&mut self.semicolon, semicolon) {
            self.hash = mix(self.hash, b';' as u64);
        }
        if semicolon {
            return;
        }
        let rows = std::mem::replace(&mut self.rows, Rows::None);
        match token.kind {
            Kind::Open => self.open(rows),
            Kind::Close => self.close(token),
            _ => {
                self.rows = match (token.kind, rows) {
                    (Kind::Comma, Rows::Ended(hash)) => Rows::Continued(hash),
                    _ => Rows::None,
                };
                self.element(token);
            }
        }
    }

    pub(super) fn finish(&self) -> u64 {
        let hash = match (self.list, self.rows) {
            (Some(list), _) if self.cut => list.end(),
            (_, Rows::Continued(hash)) if self.cut => hash,
            _ => self.hash,
        };
        // All bits depend on all tokens.
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ (hash >> 33)
    }

    fn open(&mut self, rows: Rows) {
        self.list = Some(List {
            before: self.hash,
            rows: match rows {
                Rows::Continued(hash) => Some(hash),
                _ => None,
            },
            is_empty: true,
        });
        self.hash = mix(self.hash, b'(' as u64);
    }

    fn close(&mut self, token: &Token) {
        match self.list.take() {
            Some(list) if !list.is_empty => {
                self.hash = list.end();
                self.rows = Rows::Ended(self.hash);
            }
            _ => self.hash = mix(self.hash, token.hash),
        }
    }

    fn element(&mut self, token: &Token) {
        let is_literal = matches!(token.kind, Kind::Literal | Kind::Text);
        let is_null = token.kind == Kind::Word && token.hash == NULL;
        let is_sign = matches!(token.hash as u8, b'-' | b'+') && token.kind == Kind::Operator;
        match &mut self.list {
            Some(list) if is_literal || is_null => list.is_empty = false,
            Some(_) if is_sign || token.kind == Kind::Comma => {}
            _ => self.list = None,
        }
        let value = if is_literal { LITERAL } else { token.hash };
        self.hash = mix(self.hash, value);
    }
}
