//! The wire, sans-I/O: bytes in, events out. No socket, no lock, no clock, no thread.
//!
//! Built on `mysql_common`, which has the packets, the authentication scrambles, values and rows.
//! Each file is named after what the protocol's documentation calls it:
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>

pub(crate) mod auth;
pub(crate) mod capabilities;
pub(crate) mod change_user;
mod columns;
pub(crate) mod command;
pub(crate) mod few;
pub(crate) mod frame;
pub(crate) mod handshake;
mod metadata;
pub(crate) mod ok;
pub(crate) mod pipeline;
pub(crate) mod result;
pub(crate) mod row;
pub(crate) mod tracker;
