//! Commands: their bytes, and what kind of response each has.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use mysql_common::{constants::MAX_PAYLOAD_LEN, proto::MySerialize, value::Value};

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
    /// Results of a `COM_STMT_EXECUTE`, of the statement with this number.
    Binary(u32),
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
            Command::Execute(payload) => {
                let number = payload.get(1..).and_then(|rest| rest.first_chunk());
                Expect::Binary(number.map_or(0, |number| u32::from_le_bytes(*number)))
            }
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
/// itself. Parameters go ahead of it one by one only where together they don't fit into one packet of the
/// wire or into `max_packet` bytes.
///
/// Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>
pub(crate) fn execute(id: u32, params: &[Value], max_packet: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    /// Command, statement, flags, iterations; whether types follow.
    const HEAD: usize = 10 + 1;
    let max = max_packet.min(MAX_PAYLOAD_LEN);
    let size: usize = params.iter().map(|value| value.bin_len() as usize).sum();
    let fixed = HEAD + params.len() * 2 + params.len().div_ceil(8);
    let is_long = size + fixed > max;
    let ahead = match is_long {
        true => long_data(id, params, max.saturating_sub(16).max(1)),
        false => Vec::new(),
    };
    let mut payload = Vec::with_capacity(fixed + if is_long { 0 } else { size });
    lay_out(id, params, is_long, &mut payload);
    (ahead, payload)
}

/// Appends the payload of a `COM_STMT_EXECUTE`. `is_long`: the bytes of its parameters went ahead.
#[inline]
pub(super) fn lay_out(id: u32, params: &[Value], is_long: bool, payload: &mut Vec<u8>) {
    let [a, b, c, d] = id.to_le_bytes();
    // No cursor, and one iteration.
    payload.extend_from_slice(&[0x17, a, b, c, d, 0, 1, 0, 0, 0]);
    if params.is_empty() {
        return;
    }
    for eight in params.chunks(8) {
        let nulls = eight.iter().enumerate().map(|(i, value)| {
            let is_null = matches!(value, Value::NULL);
            u8::from(is_null) << i
        });
        payload.push(nulls.fold(0, std::ops::BitOr::bitor));
    }
    // The types follow.
    payload.push(1);
    for value in params {
        payload.extend_from_slice(&type_of(value));
    }
    for value in params {
        if !(is_long && matches!(value, Value::Bytes(_))) {
            value.serialize(payload);
        }
    }
}

/// How a value goes over the wire: its type, and 0x80 where it has no sign.
fn type_of(value: &Value) -> [u8; 2] {
    use mysql_common::constants::ColumnType as T;
    let (kind, unsigned) = match value {
        Value::NULL => (T::MYSQL_TYPE_NULL, 0),
        Value::Bytes(_) => (T::MYSQL_TYPE_VAR_STRING, 0),
        Value::Int(_) => (T::MYSQL_TYPE_LONGLONG, 0),
        Value::UInt(_) => (T::MYSQL_TYPE_LONGLONG, 0x80),
        Value::Float(_) => (T::MYSQL_TYPE_FLOAT, 0),
        Value::Double(_) => (T::MYSQL_TYPE_DOUBLE, 0),
        Value::Date(..) => (T::MYSQL_TYPE_DATETIME, 0),
        Value::Time(..) => (T::MYSQL_TYPE_TIME, 0),
    };
    [kind as u8, unsigned]
}

fn long_data(id: u32, params: &[Value], chunk: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
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
                packets.push(payload);
            }
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::packets::ComStmtExecuteRequestBuilder;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::NULL),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::UInt),
            any::<f32>().prop_map(Value::Float),
            any::<f64>().prop_map(Value::Double),
            (
                any::<u16>(),
                0u8..13,
                0u8..32,
                0u8..24,
                0u8..60,
                0u8..60,
                0u32..1_000_000
            )
                .prop_map(|(y, m, d, h, i, s, u)| Value::Date(y, m, d, h, i, s, u)),
            (
                any::<bool>(),
                0u32..35,
                0u8..24,
                0u8..60,
                0u8..60,
                0u32..1_000_000
            )
                .prop_map(|(neg, d, h, m, s, u)| Value::Time(neg, d, h, m, s, u)),
        ]
    }

    proptest! {
        #[test]
        fn an_execute_is_what_mysql_common_makes_of_it(
            id: u32,
            params in proptest::collection::vec(value(), 0..20),
        ) {
            let (ahead, payload) = execute(id, &params, usize::MAX);
            let mut theirs = Vec::new();
            ComStmtExecuteRequestBuilder::new(id).build(&params).0.serialize(&mut theirs);
            prop_assert!(ahead.is_empty());
            prop_assert_eq!(payload, theirs);
        }
    }

    #[test]
    fn parameters_that_do_not_fit_together_go_ahead_of_the_statement() {
        let params = [
            Value::Bytes(vec![b'a'; 600]),
            Value::Int(7),
            Value::Bytes(Vec::new()),
            Value::Bytes(vec![b'b'; 1500]),
        ];
        let (ahead, payload) = execute(5, &params, 1024);
        let of = |index: u8| -> usize {
            let parts = ahead.iter().filter(|p| p[5] == index);
            parts.map(|p| p.len() - 7).sum()
        };
        assert_eq!((of(0), of(1), of(2), of(3)), (600, 0, 0, 1500));
        assert!(
            ahead
                .iter()
                .all(|p| p[..5] == [0x18, 5, 0, 0, 0] && p.len() <= 1024)
        );
        assert!(payload.len() < 100, "the values are not sent twice");
        assert!(execute(5, &params, 1 << 20).0.is_empty());
    }
}
