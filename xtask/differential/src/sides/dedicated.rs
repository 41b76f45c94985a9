//! The side that tells what is right: a connection of the `mysql` crate for each handle.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use mysql::{Conn, OptsBuilder, Statement, prelude::Queryable as _};

use super::{
    Session, Side,
    read::{OF_THE_TYPE, act, cell, columns, outcome, replies, values},
};
use crate::{
    outcome::{Cell, Column, Last, Outcome, Reply},
    program::{Action, Param, Program},
    server::{Kind, Names, Server},
};

/// The side.
pub struct Dedicated {
    server: Server,
    names: Names,
}

impl Dedicated {
    pub fn new(server: &Server, names: &Names) -> Dedicated {
        Dedicated {
            server: server.clone(),
            names: names.clone(),
        }
    }
}

impl Side for Dedicated {
    fn connect(&mut self, _: &Program, _: usize) -> Result<Box<dyn Session>> {
        let opts = OptsBuilder::new()
            .socket(Some(&self.server.socket))
            .prefer_socket(false)
            .user(Some(&self.server.user))
            .pass(Some(&self.server.password))
            .db_name(Some(&self.names.db))
            .init(self.server.init())
            // A statement that two slots hold is two statements.
            .stmt_cache_size(0);
        let mut conn = Conn::new(opts).context("a dedicated connection")?;
        // What the crate asked while it connected is no statement of the program's.
        leave_nothing(&mut conn)?;
        Ok(Box::new(One {
            conn,
            kind: self.server.kind,
            names: self.names.clone(),
            slots: HashMap::new(),
        }))
    }

    fn is_killed(&self) -> bool {
        false
    }
}

/// No rows, no warnings and no count for the next statement.
fn leave_nothing(conn: &mut Conn) -> Result<(), mysql::Error> {
    conn.query_drop("SHOW DATABASES LIKE ' '")?;
    // Not DO, which counts as a row that was found.
    conn.query_drop("SET SESSION lock_wait_timeout = 1")
}

struct One {
    conn: Conn,
    kind: Kind,
    names: Names,
    slots: HashMap<u8, Statement>,
}

impl One {
    /// A session as new: the server keeps the schema, and one of them the role.
    fn reset(&mut self) -> Result<(), mysql::Error> {
        self.conn.reset()?;
        self.conn.query_drop(match self.kind {
            Kind::MariaDb => "SET ROLE NONE",
            Kind::MySql => "SET ROLE DEFAULT",
        })?;
        self.conn.select_db(&self.names.db)?;
        // The server keeps what FOUND_ROWS() tells.
        leave_nothing(&mut self.conn)
    }
}

impl Session for One {
    fn run(&mut self, action: &Action) -> Outcome {
        let names = self.names.clone();
        let error = move |e: mysql::Error| -> Result<Reply, Outcome> {
            Ok(match e {
                mysql::Error::MySqlError(e) => Reply::Error {
                    code: e.code,
                    state: e.state,
                    message: names.strip_message(&e.message),
                },
                mysql::Error::DriverError(mysql::DriverError::MismatchedStmtParams(..)) => {
                    Reply::Unfit
                }
                e => Reply::Client(names.strip(&e.to_string())),
            })
        };
        act!(mysql, self, action, error)
    }

    fn connection_id(&self) -> u32 {
        self.conn.connection_id()
    }

    fn end(mut self: Box<Self>) {
        // The server lets go of a connection's locks some time after it was closed, of a session's
        // at once.
        let _ = self.conn.reset();
    }
}
