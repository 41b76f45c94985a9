//! OK, EOF and ERR packets, as the command phase and a login both end with them.
//!
//! Knows their layout; not which command they answer, nor what session trackers mean, but for the one that
//! MySQL sends with every statement.
//!
//! Written by hand instead of through `mysql_common`'s `OkPacket`, which refuses status flags that it
//! doesn't know, and `SERVER_SESSION_STATE_CHANGED` with nothing behind it; both servers send the
//! latter. Layout:
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_response_packets.html>

use mysql_common::constants::{CapabilityFlags, StatusFlags};

use super::{result::OkInfo, tracker};
use crate::error::{MySqlError, ProtocolError};

/// SQLSTATE where the server sent none.
const NO_STATE: &str = "HY000";

/// Takes fields off the front of a packet. `mysql_common`'s `ParseBuf` does the same, but reads a
/// malformed length (0xfb, 0xff) as zero and panics when the unchecked half of it is used.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&head, tail) = self.0.split_first()?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.uint(2).map(|n| n as u16)
    }

    fn uint(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len)?;
        Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    pub(super) fn lenenc_int(&mut self) -> Option<u64> {
        match self.byte()? {
            n @ 0..=0xfa => Some(n.into()),
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.uint(8),
            // NULL, and the header of an ERR packet: no length.
            0xfb | 0xff => None,
        }
    }

    pub(super) fn lenenc_str(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.lenenc_int()?).ok()?;
        self.take(len)
    }

    /// Up to a NUL, which is taken too; all that is left where there is none.
    pub(super) fn nul_str(&mut self) -> &'a [u8] {
        match self.0.iter().position(|&b| b == 0) {
            Some(at) => {
                let head = &self.0[..at];
                self.0 = &self.0[at + 1..];
                head
            }
            None => std::mem::take(&mut self.0),
        }
    }
}

/// An OK packet (header 0x00).
pub(crate) fn parse_ok(
    payload: &[u8],
    capabilities: CapabilityFlags,
) -> Result<OkInfo, ProtocolError> {
    ok(payload, 0x00, capabilities).ok_or_else(|| ProtocolError::new("malformed OK packet"))
}

/// The OK packet that ends a result set where `CLIENT_DEPRECATE_EOF` is in force (header 0xfe).
#[inline]
pub(crate) fn parse_ok_terminator(
    payload: &[u8],
    capabilities: CapabilityFlags,
) -> Result<OkInfo, ProtocolError> {
    ok(payload, 0xfe, capabilities)
        .ok_or_else(|| ProtocolError::new("malformed end of a result set"))
}

#[inline]
fn ok(payload: &[u8], header: u8, capabilities: CapabilityFlags) -> Option<OkInfo> {
    let mut fields = Fields(payload);
    if fields.byte()? != header {
        return None;
    }
    let mut ok = OkInfo {
        affected_rows: fields.lenenc_int()?,
        last_insert_id: fields.lenenc_int()?,
        ..OkInfo::default()
    };
    // Bits that mean nothing to us are no reason to drop a connection.
    ok.status = StatusFlags::from_bits_truncate(fields.u16()?);
    ok.warnings = fields.u16()?;
    if fields.is_empty() {
        return Some(ok);
    }
    if capabilities.contains(CapabilityFlags::CLIENT_SESSION_TRACK) {
        ok.info = fields.lenenc_str()?.into();
        // The flag stays set on MySQL's later answers and is set by MariaDB without data: see
        // vitessio/vitess#11796.
        if ok
            .status
            .contains(StatusFlags::SERVER_SESSION_STATE_CHANGED)
            && !fields.is_empty()
        {
            let changes = fields.lenenc_str()?;
            // It would be kept for each statement, and says no more than that nothing else changed.
            ok.nothing_else = tracker::is_statement_id_alone(changes);
            if !ok.nothing_else {
                ok.changes = changes.into();
            }
        }
    } else {
        // Documented as the rest of the packet; sent with a length (`net_send_ok` in MySQL's
        // sql/protocol_classic.cc). Taken as it comes.
        let mut sized = fields;
        let info = sized.lenenc_str().filter(|_| sized.is_empty());
        ok.info = info.unwrap_or(fields.0).into();
    }
    Some(ok)
}

/// The EOF packet where `CLIENT_DEPRECATE_EOF` is not in force.
pub(crate) fn parse_eof(
    payload: &[u8],
    capabilities: CapabilityFlags,
) -> Result<OkInfo, ProtocolError> {
    eof(payload, capabilities).ok_or_else(|| ProtocolError::new("malformed EOF packet"))
}

fn eof(payload: &[u8], capabilities: CapabilityFlags) -> Option<OkInfo> {
    let mut fields = Fields(payload);
    if fields.byte()? != 0xfe {
        return None;
    }
    let mut eof = OkInfo::default();
    if capabilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41) {
        // The other way round than in an OK packet.
        eof.warnings = fields.u16()?;
        eof.status = StatusFlags::from_bits_truncate(fields.u16()?);
    }
    Some(eof)
}

/// An ERR packet. Before the capabilities are agreed on (`empty()`), the SQLSTATE may or may not be
/// there: the servers send it with 1040 and leave it out with 1130.
pub(crate) fn parse_err(
    payload: &[u8],
    capabilities: CapabilityFlags,
) -> Result<MySqlError, ProtocolError> {
    let mut fields = Fields(payload);
    let code = match (fields.byte(), fields.u16()) {
        (Some(0xff), Some(code)) => code,
        _ => return Err(ProtocolError::new("malformed ERR packet")),
    };
    let agreed = capabilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41);
    let (state, message) = match fields.0 {
        // Without an agreement a message may begin with '#' by itself.
        [b'#', rest @ ..]
            if rest.len() >= 5 && (agreed || rest[..5].iter().all(u8::is_ascii_alphanumeric)) =>
        {
            rest.split_at(5)
        }
        message => (NO_STATE.as_bytes(), message),
    };
    Ok(MySqlError {
        state: String::from_utf8_lossy(state).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
        code,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACK: CapabilityFlags =
        CapabilityFlags::CLIENT_PROTOCOL_41.union(CapabilityFlags::CLIENT_SESSION_TRACK);
    const PLAIN: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41;

    #[test]
    fn an_ok_packet_with_rows_id_info_and_trackers() {
        let raw = b"\0\x02\xfc\xe9\x03\x02\x40\x01\0\x02hi\x07\x01\x05\x04test";
        let ok = parse_ok(raw, TRACK).unwrap();
        assert_eq!(
            (ok.affected_rows, ok.last_insert_id, ok.warnings),
            (2, 1001, 1)
        );
        assert_eq!(
            ok.status,
            StatusFlags::SERVER_STATUS_AUTOCOMMIT | StatusFlags::SERVER_SESSION_STATE_CHANGED
        );
        assert_eq!(&ok.info[..], b"hi");
        assert_eq!(&ok.changes[..], b"\x01\x05\x04test");
    }

    #[test]
    fn state_changed_without_data_is_no_error() {
        for raw in [
            &b"\0\0\0\x02\x40\0\0"[..],
            b"\0\0\0\x02\x40\0\0\0",
            b"\0\0\0\x02\x40\0\0\0\0",
        ] {
            let ok = parse_ok(raw, TRACK).unwrap();
            assert!(
                ok.status
                    .contains(StatusFlags::SERVER_SESSION_STATE_CHANGED)
            );
            assert!(ok.changes.is_empty() && ok.info.is_empty());
        }
    }

    #[test]
    fn status_bits_of_the_future_are_no_error() {
        assert!(parse_ok(b"\0\0\0\xff\xff\0\0", PLAIN).is_ok());
    }

    #[test]
    fn info_without_session_tracking_with_or_without_a_length() {
        assert_eq!(
            parse_ok(b"\0\0\0\x02\0\0\0\x03abc", PLAIN).unwrap().info[..],
            *b"abc"
        );
        assert_eq!(
            parse_ok(b"\0\0\0\x02\0\0\0abc", PLAIN).unwrap().info[..],
            *b"abc"
        );
    }

    #[test]
    fn the_end_of_a_result_set_keeps_its_counts() {
        let ok = parse_ok_terminator(b"\xfe\x03\x04\x22\0\x05\0", TRACK).unwrap();
        assert_eq!(
            (ok.affected_rows, ok.last_insert_id, ok.warnings),
            (3, 4, 5)
        );
        assert!(parse_ok_terminator(b"\0\0\0\x02\0\0\0", TRACK).is_err());
        assert!(parse_ok(b"\xfe\0\0\x02\0\0\0", TRACK).is_err());
    }

    #[test]
    fn an_eof_packet() {
        let eof = parse_eof(b"\xfe\x01\0\x02\0", PLAIN).unwrap();
        assert_eq!(
            (eof.warnings, eof.status),
            (1, StatusFlags::SERVER_STATUS_AUTOCOMMIT)
        );
        assert!(parse_eof(b"\xfe\x01\0\x02", PLAIN).is_err());
        assert!(parse_eof(b"\xfe", CapabilityFlags::empty()).is_ok());
    }

    #[test]
    fn err_packets_with_and_without_sqlstate() {
        let state = |raw: &[u8], caps| {
            let e = parse_err(raw, caps).unwrap();
            (e.code, e.state, e.message)
        };
        let expect =
            |code, state: &str, message: &str| (code, state.to_owned(), message.to_owned());
        let none = CapabilityFlags::empty();
        // As MariaDB 10.11 sends it in place of its greeting.
        assert_eq!(
            state(b"\xff\x10\x04#08004Too many connections", none),
            expect(1040, "08004", "Too many connections")
        );
        assert_eq!(
            state(b"\xff\x6a\x04Host 'x' is not allowed to connect", none),
            expect(1130, "HY000", "Host 'x' is not allowed to connect")
        );
        assert_eq!(
            state(b"\xff\x28\x04#42000near '\xff'", PLAIN),
            expect(1064, "42000", "near '\u{fffd}'")
        );
        assert_eq!(
            state(b"\xff\x01\x00#1 of 2", none),
            expect(1, "HY000", "#1 of 2")
        );
        assert_eq!(state(b"\xff\x01\x00#12", PLAIN), expect(1, "HY000", "#12"));
        assert_eq!(state(b"\xff\x01\x00", PLAIN), expect(1, "HY000", ""));
        assert!(parse_err(b"\xff\x01", PLAIN).is_err());
        assert!(parse_err(b"", PLAIN).is_err());
    }

    #[test]
    fn cut_anywhere_is_no_panic() {
        let whole = b"\0\xfd\x01\x02\x03\xfe\x01\x02\x03\x04\x05\x06\x07\x08\x02\x40\x01\0\x02hi\x07\x01\x05\x04test";
        for len in 0..whole.len() {
            drop(parse_ok(&whole[..len], TRACK));
            drop(parse_ok(&whole[..len], PLAIN));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_no_panic(raw in prop::collection::vec(any::<u8>(), 0..64), header: u8, caps: u32) {
            let mut raw = raw;
            let caps = CapabilityFlags::from_bits_truncate(caps);
            for header in [0x00, 0xfe, 0xff, header] {
                if let Some(first) = raw.first_mut() {
                    *first = header;
                }
                drop(parse_ok(&raw, caps));
                drop(parse_ok_terminator(&raw, caps));
                drop(parse_eof(&raw, caps));
                drop(parse_err(&raw, caps));
            }
        }
    }
}
