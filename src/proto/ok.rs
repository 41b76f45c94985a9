//! OK, EOF and ERR packets.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_response_packets.html>

use bytes::Bytes;
use mysql_common::{
    constants::{CapabilityFlags, StatusFlags},
    io::ParseBuf,
};

use super::result::OkInfo;
use crate::error::{MySqlError, ProtocolError};

fn cut(what: &str) -> ProtocolError {
    ProtocolError::new(format!("{what} is cut short"))
}

/// An OK packet, header 0x00, or the one that ends rows under `CLIENT_DEPRECATE_EOF`, header 0xFE:
/// they are of one shape. `mysql_common` has a parser for it, which copies nothing either but drops
/// the counts of the second.
pub(crate) fn parse_ok(
    payload: &Bytes,
    capabilities: CapabilityFlags,
) -> Result<OkInfo, ProtocolError> {
    let short = || cut("an OK packet");
    let mut buf = ParseBuf(payload);
    buf.checked_eat_u8().ok_or_else(short)?;
    let affected_rows = buf.checked_eat_lenenc_int().ok_or_else(short)?;
    let last_insert_id = buf.checked_eat_lenenc_int().ok_or_else(short)?;
    let status = StatusFlags::from_bits_truncate(buf.checked_eat_u16_le().ok_or_else(short)?);
    let warnings = buf.checked_eat_u16_le().ok_or_else(short)?;
    let mut ok = OkInfo {
        affected_rows,
        last_insert_id,
        status,
        warnings,
        ..OkInfo::default()
    };
    if !capabilities.contains(CapabilityFlags::CLIENT_SESSION_TRACK) {
        ok.info = payload.slice_ref(buf.0);
        return Ok(ok);
    }
    if buf.is_empty() {
        return Ok(ok);
    }
    ok.info = payload.slice_ref(buf.checked_eat_lenenc_str().ok_or_else(short)?);
    // Both servers may set the flag and send nothing.
    if status.contains(StatusFlags::SERVER_SESSION_STATE_CHANGED) && !buf.is_empty() {
        ok.changes = payload.slice_ref(buf.checked_eat_lenenc_str().ok_or_else(short)?);
    }
    Ok(ok)
}

/// The OK packet that ends rows; its counts mean nothing to a client (`read_ok_ex` in the server's
/// `sql-common/client.cc` skips them).
pub(crate) fn parse_ok_terminator(
    payload: &Bytes,
    capabilities: CapabilityFlags,
) -> Result<OkInfo, ProtocolError> {
    let ok = parse_ok(payload, capabilities)?;
    Ok(OkInfo {
        affected_rows: 0,
        last_insert_id: 0,
        ..ok
    })
}

/// An EOF packet.
pub(crate) fn parse_eof(payload: &Bytes, _: CapabilityFlags) -> Result<OkInfo, ProtocolError> {
    match payload[..] {
        [0xfe, w0, w1, s0, s1, ..] => Ok(OkInfo {
            warnings: u16::from_le_bytes([w0, w1]),
            status: StatusFlags::from_bits_truncate(u16::from_le_bytes([s0, s1])),
            ..OkInfo::default()
        }),
        _ => Err(cut("an EOF packet")),
    }
}

/// An ERR packet, with an SQLSTATE or, as before the client's capabilities are known, without.
pub(crate) fn parse_err(payload: &Bytes, _: CapabilityFlags) -> Result<MySqlError, ProtocolError> {
    let [0xff, c0, c1, ref rest @ ..] = payload[..] else {
        return Err(cut("an ERR packet"));
    };
    let (state, message) = match rest {
        [b'#', state @ ..] if state.len() >= 5 => state.split_at(5),
        message => (&b"HY000"[..], message),
    };
    Ok(MySqlError {
        code: u16::from_le_bytes([c0, c1]),
        state: String::from_utf8_lossy(state).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn track() -> CapabilityFlags {
        CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SESSION_TRACK
    }

    #[test]
    fn an_ok_with_trackers() {
        let payload = Bytes::from_static(b"\0\x02\x07\x02\x40\x01\0\x03abc\x07\x01\x05\x04test");
        let ok = parse_ok(&payload, track()).unwrap();
        assert_eq!(
            (ok.affected_rows, ok.last_insert_id, ok.warnings),
            (2, 7, 1)
        );
        assert_eq!(ok.info, "abc");
        assert_eq!(&ok.changes[..], b"\x01\x05\x04test");
    }

    #[test]
    fn a_flag_without_data_is_fine() {
        let ok = parse_ok(&Bytes::from_static(b"\0\0\0\x02\x40\0\0"), track()).unwrap();
        assert!(ok.changes.is_empty());
        let ok = parse_ok(&Bytes::from_static(b"\0\0\0\x02\x40\0\0\0"), track()).unwrap();
        assert!(ok.changes.is_empty());
    }

    #[test]
    fn an_error_with_and_without_state_and_with_broken_utf8() {
        let with = parse_err(
            &Bytes::from_static(b"\xff\x15\x04#28000denied \xff"),
            track(),
        )
        .unwrap();
        assert_eq!(
            (with.code, &*with.state, &*with.message),
            (1045, "28000", "denied \u{fffd}")
        );
        let without = parse_err(&Bytes::from_static(b"\xff\x10\x04Too many"), track()).unwrap();
        assert_eq!(
            (without.code, &*without.state, &*without.message),
            (1040, "HY000", "Too many")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            for caps in [CapabilityFlags::empty(), track()] {
                drop(parse_ok(&bytes, caps));
                drop(parse_eof(&bytes, caps));
                drop(parse_err(&bytes, caps));
            }
        }
    }
}
