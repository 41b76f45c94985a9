//! Session trackers: what an OK packet says of the session.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>

use mysql_common::io::ParseBuf;

use crate::error::ProtocolError;

/// One thing that the server tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    SystemVariable {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// The schema that is current now; empty: none.
    Schema(&'a [u8]),
    /// Something of the session's state changed.
    State(bool),
    Gtids(&'a [u8]),
    /// The SQL that would begin the transaction that is open or to come.
    TransactionCharacteristics(&'a [u8]),
    /// Eight letters, `_` where there is nothing.
    TransactionState(&'a [u8]),
    Unknown(u8),
}

/// Walks through the trackers of one OK packet. After an error nothing more comes.
pub(crate) fn changes(raw: &[u8]) -> Changes<'_> {
    Changes {
        raw: ParseBuf(raw),
        variables: ParseBuf(&[]),
    }
}

/// See [`changes`].
pub(crate) struct Changes<'a> {
    raw: ParseBuf<'a>,
    /// The rest of an entry of system variables: MariaDB puts several pairs into one.
    variables: ParseBuf<'a>,
}

impl<'a> Changes<'a> {
    fn step(&mut self) -> Option<Change<'a>> {
        if !self.variables.is_empty() {
            let name = self.variables.checked_eat_lenenc_str()?;
            let value = self.variables.checked_eat_lenenc_str()?;
            return Some(Change::SystemVariable { name, value });
        }
        let kind = self.raw.checked_eat_u8()?;
        let mut data = ParseBuf(self.raw.checked_eat_lenenc_str()?);
        Some(match kind {
            0 => {
                self.variables = data;
                return self.step();
            }
            1 => Change::Schema(data.checked_eat_lenenc_str()?),
            // MariaDB sends the byte bare, MySQL with its length.
            2 => Change::State(data.0.last() != Some(&b'0')),
            3 => Change::Gtids(data.0),
            4 => Change::TransactionCharacteristics(data.checked_eat_lenenc_str()?),
            5 => Change::TransactionState(data.checked_eat_lenenc_str()?),
            other => Change::Unknown(other),
        })
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<Change<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.raw.is_empty() && self.variables.is_empty() {
            return None;
        }
        Some(self.step().ok_or_else(|| {
            (self.raw, self.variables) = (ParseBuf(&[]), ParseBuf(&[]));
            ProtocolError::new("session trackers are cut short")
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_both_servers_send() {
        let raw = b"\x00\x0f\x0aautocommit\x03OFF\x01\x05\x04test\x02\x02\x011\x05\x09\x08T_______\x04\x01\0";
        let seen: Vec<_> = changes(raw).map(Result::unwrap).collect();
        assert_eq!(
            seen,
            [
                Change::SystemVariable {
                    name: b"autocommit",
                    value: b"OFF"
                },
                Change::Schema(b"test"),
                Change::State(true),
                Change::TransactionState(b"T_______"),
                Change::TransactionCharacteristics(b""),
            ]
        );
    }

    #[test]
    fn several_variables_in_one_entry() {
        let seen: Vec<_> = changes(b"\0\x08\x01a\x011\x01b\x012")
            .map(Result::unwrap)
            .collect();
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_cut_is_told_once() {
        let seen: Vec<_> = changes(b"\x01\x09\x04te").collect();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(raw: Vec<u8>) {
            assert!(changes(&raw).count() <= raw.len() + 1);
        }
    }
}
