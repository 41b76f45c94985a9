//! What a seat can have run on a link that it has alone, and what comes of it.

use std::sync::Arc;

use mysql_common::value::Value;

use crate::{
    link::{Parts, Prepared},
    proto::result::{OkInfo, Response},
};

/// What a link alone can run.
#[derive(Debug)]
pub(super) enum Op<'a> {
    Query(&'a [u8], Option<&'a Parts>),
    /// One that may run even where its session fails to begin.
    Read(&'a [u8], Option<&'a Parts>),
    Prepare(&'a [u8]),
    Execute(&'a Arc<Prepared>, &'a [Value], Option<&'a Parts>),
    Close(&'a Arc<Prepared>),
    InitDb(&'a str),
    Ping,
    Statistics,
    Hold,
    StartQuery(&'a [u8]),
    StartExecute(&'a Arc<Prepared>, &'a [Value]),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Nothing,
    Response(Response),
    Prepared {
        statement: Arc<Prepared>,
        /// It was sent.
        is_new: bool,
    },
    Ok(OkInfo),
    Line(String),
}

impl Done {
    pub(super) fn response(self) -> Response {
        match self {
            Done::Response(response) => response,
            _ => Response::default(),
        }
    }
}

impl<'a> Op<'a> {
    pub(super) fn why(&self) -> &'static str {
        match self {
            Op::Query(..) | Op::Read(..) => "a query",
            Op::Prepare(_) => "preparing a statement",
            Op::Execute(..) => "a prepared statement",
            Op::Close(_) => "closing a statement",
            Op::InitDb(_) => "selecting a schema",
            Op::Ping => "a ping",
            Op::Statistics => "COM_STATISTICS",
            Op::Hold => "a transaction",
            Op::StartQuery(_) | Op::StartExecute(..) => "a result that is read piece by piece",
        }
    }

    pub(super) fn parts(&self) -> Option<&'a Parts> {
        match *self {
            Op::Query(_, parts) | Op::Read(_, parts) | Op::Execute(_, _, parts) => parts,
            _ => None,
        }
    }

    /// The same once more.
    pub(super) fn again(&self) -> Self {
        match *self {
            Op::Query(sql, parts) => Op::Query(sql, parts),
            Op::Read(sql, parts) => Op::Read(sql, parts),
            Op::Prepare(sql) => Op::Prepare(sql),
            Op::Execute(statement, params, parts) => Op::Execute(statement, params, parts),
            Op::Close(statement) => Op::Close(statement),
            Op::InitDb(schema) => Op::InitDb(schema),
            Op::Ping => Op::Ping,
            Op::Statistics => Op::Statistics,
            Op::Hold => Op::Hold,
            Op::StartQuery(sql) => Op::StartQuery(sql),
            Op::StartExecute(statement, params) => Op::StartExecute(statement, params),
        }
    }
}
