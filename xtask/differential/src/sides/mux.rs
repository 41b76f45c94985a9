//! The side under test: handles of a mux.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result};
use mysql_mux::{
    DriverError, Error, Handle, Isolation, Mux, OptsBuilder, PinReason, Statement,
    prelude::Queryable as _,
};

use super::{
    Session, Side,
    read::{OF_THE_TYPE, act, cell, columns, replies},
};
use crate::{
    outcome::{Cell, Column, Outcome, Reply},
    program::{Action, Param},
    server::{Names, Server},
};

/// Longer than a lock is waited for, and short enough that a program comes to its end.
const ACQUIRE: Duration = Duration::from_secs(2);

/// Whether an error is the library's word that it can't do what a connection of one's own would do,
/// and which one. The only place that says what is allowed.
pub fn is_honest(error: &Error) -> Option<&'static str> {
    match error {
        Error::SessionLost { .. } => Some("SessionLost"),
        Error::AcquireTimeout(_) => Some("AcquireTimeout"),
        Error::ConnectionLost(_) => Some("ConnectionLost"),
        Error::NotKept { .. } => Some("NotKept"),
        _ => None,
    }
}

/// The side.
pub struct Muxed {
    server: Server,
    names: Names,
    mux: Mux,
    isolation: Isolation,
}

impl Muxed {
    pub fn new(server: &Server, names: &Names, isolation: Isolation, max_links: usize) -> Muxed {
        Muxed {
            server: server.clone(),
            names: names.clone(),
            mux: Mux::builder()
                .max_links(max_links)
                .acquire_timeout(ACQUIRE)
                .build(),
            isolation,
        }
    }
}

impl Side for Muxed {
    fn connect(&mut self, keeps: bool) -> Result<Box<dyn Session>> {
        let opts = OptsBuilder::new()
            .socket(Some(&self.server.socket))
            .user(Some(&self.server.user))
            .pass(Some(&self.server.password))
            .db_name(Some(&self.names.db))
            .init(self.server.init())
            .keep_insert_id(true)
            .keep_diagnostics(keeps)
            .isolation(self.isolation);
        let conn = self.mux.connect(opts).context("a handle of the mux")?;
        Ok(Box::new(One {
            conn,
            names: self.names.clone(),
            slots: HashMap::new(),
        }))
    }

    fn is_killed(&self) -> bool {
        true
    }

    fn summary(&self) -> Vec<(&'static str, u64)> {
        let total = self.mux.stats().total;
        let pins = PinReason::ALL
            .iter()
            .map(|reason| (reason.text(), total.pins(*reason)));
        let pins: Vec<_> = pins.filter(|(_, count)| *count > 0).collect();
        let mut lines = vec![
            ("links opened", total.connect_success),
            ("links lost", total.lost_connections),
            ("sessions reset", total.resets),
            ("waits for a link", total.waits),
            ("waits in vain", total.acquire_timeouts),
            ("statements sent", total.statements),
            ("statements prepared", total.prepares),
        ];
        lines.extend(pins);
        lines
    }
}

impl Drop for Muxed {
    fn drop(&mut self) {
        self.mux.shutdown(Duration::from_secs(1));
    }
}

struct One {
    conn: Handle,
    names: Names,
    slots: HashMap<u8, Statement>,
}

impl One {
    fn reset(&mut self) -> Result<(), Error> {
        self.conn.reset()
    }
}

impl Session for One {
    fn run(&mut self, action: &Action) -> Outcome {
        let names = self.names.clone();
        let error = move |e: Error| -> Result<Reply, Outcome> {
            if let Some(kind) = is_honest(&e) {
                return Err(Outcome::Honest {
                    kind,
                    text: names.strip(&e.to_string()),
                });
            }
            Ok(match e {
                Error::MySqlError(e) => Reply::Error {
                    code: e.code,
                    state: e.state,
                    message: names.strip(&e.message),
                },
                Error::DriverError(DriverError::MismatchedStmtParams { .. }) => Reply::Unfit,
                e => Reply::Client(names.strip(&e.to_string())),
            })
        };
        act!(mysql_mux, self, action, error)
    }

    fn connection_id(&self) -> u32 {
        self.conn.connection_id()
    }

    fn is_pinned(&self) -> bool {
        self.conn.pin().is_some()
    }

    fn end(mut self: Box<Self>) {
        // A link's session is made new at the latest when another handle takes it.
        let _ = self.conn.reset();
    }
}
