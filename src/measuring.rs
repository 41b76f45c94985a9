//! Entry points for `benches/`: what a statement's text tells, without a server. Not part of the API.

use std::hint::black_box;

use crate::{
    session::{Doing, seen},
    sql,
};

/// Reads a statement.
pub fn read(sql: &[u8]) {
    black_box(sql::read(sql));
}

/// Reads a statement, or knows it.
pub fn seen(sql: &[u8]) {
    black_box(seen::read(sql));
}

/// Reads a statement that is not neutral, and what it does.
pub fn read_all(sql: &[u8]) {
    read(sql);
    black_box(Doing::new(sql::facts(sql), sql));
}

/// The same, or knows it.
pub fn seen_all(sql: &[u8]) {
    seen(sql);
    black_box(seen::doing(sql));
}
