//! Commands: their bytes, and what kind of response each has.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use mysql_common::{
    constants::MAX_PAYLOAD_LEN, packets::ComStmtExecuteRequestBuilder, proto::MySerialize,
    value::Value,
};

/// A command to a link.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command<'a> {
    Quit,
    InitDb(&'a str),
    Query(&'a [u8]),
    Ping,
    Statistics,
    ResetConnection,
    Prepare(&'a [u8]),
    /// The payload made by [`execute`], with its first byte.
    Execute(&'a [u8]),
    /// One parameter's bytes, in one packet of many; has no response.
    LongData(&'a [u8]),
    CloseStmt(u32),
}

/// What the server answers a command with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Nothing,
    /// OK or ERR.
    Ok,
    /// Results of a `COM_QUERY`.
    Text,
    /// Results of a `COM_STMT_EXECUTE`.
    Binary,
    Prepare,
    /// A bare string.
    Line,
}

impl Command<'_> {
    pub(crate) fn expect(&self) -> Expect {
        match self {
            Command::Quit | Command::LongData(_) | Command::CloseStmt(_) => Expect::Nothing,
            Command::InitDb(_) | Command::Ping | Command::ResetConnection => Expect::Ok,
            Command::Query(_) => Expect::Text,
            Command::Execute(_) => Expect::Binary,
            Command::Prepare(_) => Expect::Prepare,
            Command::Statistics => Expect::Line,
        }
    }

    /// The payload: command byte and the rest.
    pub(crate) fn with_payload<R>(&self, f: impl FnOnce(&[&[u8]]) -> R) -> R {
        match self {
            Command::Quit => f(&[&[0x01]]),
            Command::InitDb(schema) => f(&[&[0x02], schema.as_bytes()]),
            Command::Query(sql) => f(&[&[0x03], sql]),
            Command::Statistics => f(&[&[0x09]]),
            Command::Ping => f(&[&[0x0e]]),
            Command::Prepare(sql) => f(&[&[0x16], sql]),
            Command::Execute(payload) | Command::LongData(payload) => f(&[payload]),
            Command::CloseStmt(id) => f(&[&[0x19], &id.to_le_bytes()]),
            Command::ResetConnection => f(&[&[0x1f]]),
        }
    }
}

/// The payloads of a `COM_STMT_EXECUTE`: any `COM_STMT_SEND_LONG_DATA` that must go before it, and
/// itself. Parameters go ahead one by one only where together they don't fit `max_packet` bytes.
pub(crate) fn execute(id: u32, params: &[Value], max_packet: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (request, as_long_data) = ComStmtExecuteRequestBuilder::new(id).build(params);
    let mut long_data = Vec::new();
    if as_long_data {
        let chunk = max_packet.min(MAX_PAYLOAD_LEN) - 16;
        for (index, value) in params.iter().enumerate() {
            if let Value::Bytes(bytes) = value {
                // An empty value needs a packet too, or the server takes it from the execute.
                let mut chunks = bytes.chunks(chunk);
                let first = chunks.next().unwrap_or_default();
                for part in std::iter::once(first).chain(chunks) {
                    let mut payload = Vec::with_capacity(part.len() + 7);
                    payload.push(0x18);
                    payload.extend_from_slice(&id.to_le_bytes());
                    payload.extend_from_slice(&(index as u16).to_le_bytes());
                    payload.extend_from_slice(part);
                    long_data.push(payload);
                }
            }
        }
    }
    let mut payload = Vec::new();
    request.serialize(&mut payload);
    (long_data, payload)
}
