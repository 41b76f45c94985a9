//! Any number of user handles in one process over a few physical MySQL or MariaDB connections.
//!
//! A [`Handle`] is used like a connection of the `mysql` crate, and costs next to nothing: no
//! connect, no login, no thread at the server. Behind it a [`Mux`] keeps *links*, physical
//! connections. Statements that neither need nor change a session share a link at the same time,
//! sent without waiting for each other's replies; the others have one to themselves.
//!
//! ```no_run
//! use mysql_mux::{prelude::*, params};
//!
//! // The first handle connects; a wrong password fails here.
//! let mut handle = mysql_mux::connect("mysql://user:password@localhost:3306/shop")?;
//! handle.query_drop("CREATE TABLE IF NOT EXISTS item (id INT PRIMARY KEY, name TEXT)")?;
//! handle.exec_drop("INSERT INTO item VALUES (:id, :name)", params! { "id" => 1, "name" => "tea" })?;
//!
//! // The next ones do no I/O at all, and their credentials are still checked.
//! let mut another = mysql_mux::connect("mysql://user:password@localhost:3306/shop")?;
//! let names: Vec<String> = another.query("SELECT name FROM item")?;
//! # Ok::<(), mysql_mux::Error>(())
//! ```
//!
//! # Who shares what
//! Handles share links where the key (transport, address, TLS, and all that the handshake fixes)
//! and the identity (user and secrets) are equal. What they see of each other is their
//! [`Isolation`]: nothing of each other's session (`Session`, the default, and `Reset`), or
//! everything (`Shared`). In a [`Transaction`], and for as long as a session has what only the server
//! holds, a handle has its link to itself; [`Handle::pin`] says why.
//!
//! # Threads and tasks
//! [`aio::Handle`] has the same methods, `async`, for any executor and over the same links
//! ([`Mux::connect_async`]). A future may be dropped at any time.
//!
//! # Much at once
//! [`Handle::pipeline`] and `exec_batch` send many statements without waiting in between;
//! [`Handle::query_stream`] gives a result of any size row by row.
//!
//! # Time
//! [`OptsBuilder::statement_timeout`] and [`Handle::within`] limit what a statement may take. The
//! handle stays usable, and no other statement is hurt.
//!
//! # Errors
//! An [`Error`] says what was attempted, on which server, whether the statement may have run, and
//! what can be done. A statement that writes is never run twice.
//!
//! # Features
//! `rustls-tls` (default): TLS. `compress`: zlib. `derive` (default): `#[derive(FromRow,
//! FromValue)]`, in a crate without `mysql_common` with `#[mysql(crate_name = "mysql_mux")]`.
//! `client_ed25519`, `client_parsec` (default): MariaDB's authentication plugins. `chrono`, `time`,
//! `rust_decimal`, `bigdecimal`: values of these crates. `tracing`: events of links, without SQL text.

// Of the model nothing but its tests use anything.
#![cfg_attr(all(mysql_mux_model, not(test)), allow(dead_code))]

pub mod error;
mod events;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod link;
#[doc(hidden)]
pub mod measuring;
mod mux;
mod opts;
mod proto;
mod session;
mod sql;

pub use mysql_common::{
    constants as consts,
    packets::{Column, SessionStateInfo, session_state_change},
    params,
    params::Params,
    proto::codec::Compression,
    row::{
        Row,
        convert::{from_row, from_row_opt},
    },
    value::{
        Value,
        convert::{from_value, from_value_opt},
        json::{Deserialized, Serialized},
    },
};

pub use error::{
    AcquireTimeout, AuthError, ConnectCause, ConnectError, ConnectPhase, ConnectionLost,
    DriverError, Error, FromRowError, FromValueError, LostCause, MySqlError, NoBackend,
    ProtocolError, Ran, Result, StatementTimeout,
};
pub use handle::{
    AccessMode, Binary, Handle, IsolationLevel, Lease, Pipe, Piped, QueryResult, QueryStream,
    QueryWithParams, ResultSet, SetColumns, Statement, Text, Transaction, TxOpts, Within, aio,
};
pub use mux::{BackendSet, BackendStats, Counts, Mux, MuxBuilder, Stats, connect};
pub use opts::{
    Backend, Balance, ChangeUserOpts, ClientIdentity, Consistency, Isolation, LocalInfile,
    LocalInfileHandler, Opts, OptsBuilder, Pipelining, Prefer, SslOpts, UrlError,
};
pub use session::{Pin, PinPolicy, PinReason};

/// The traits, to be imported together.
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use mysql_mux::prelude::*;
///
/// #[derive(FromRow, Debug, PartialEq)]
/// #[mysql(crate_name = "mysql_mux")]
/// struct Item {
///     id: u32,
///     name: String,
/// }
/// # }
/// ```
pub mod prelude {
    pub use mysql_common::prelude::{ColumnIndex, FromRow, FromValue, ToValue};

    pub use crate::handle::{
        AsStatement, BatchQuery, BinQuery, Protocol, Queryable, TextQuery, WithParams,
    };
}
