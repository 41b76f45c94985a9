//! What an OK packet says about the session: the trackers of `CLIENT_SESSION_TRACK`.
//!
//! Knows how they are packed; not what a changed session means for a link or a handle.
//!
//! Layout: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>.
//! Read by hand, without `mysql_common`'s `SessionStateChange`: that allocates for every answer, and
//! fails on a tracker of a type that it doesn't know, and with it on all behind it.

use std::iter::FusedIterator;

use super::ok::Fields;
use crate::error::ProtocolError;

/// One thing that changed. The bytes are the packet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    SystemVariable {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// The default schema; empty: none.
    Schema(&'a [u8]),
    /// `session_track_state_change`: something else than a variable or the schema changed.
    State(bool),
    Gtids(&'a [u8]),
    /// The statements that make the next (or this) transaction what it is; empty: nothing special.
    TransactionCharacteristics(&'a [u8]),
    /// Eight letters: `T` or `I`, `r`, `R`, `w`, `W`, `s`, `S`, `L`; `_` where one does not hold.
    TransactionState(&'a [u8]),
    /// A tracker that is not known here, by its type.
    Unknown(u8),
}

/// The changes in an OK packet's [`OkInfo::changes`](super::result::OkInfo::changes), in order.
/// Ends with the first that can't be read.
pub(crate) fn changes(raw: &[u8]) -> Changes<'_> {
    Changes {
        entries: Fields(raw),
        variables: Fields(&[]),
    }
}

/// Whether there is more in it than what comes with every statement, or every transaction (MySQL's
/// `statement_id`, GTIDs), where all variables are tracked, and than that `but` was set.
#[inline]
pub(crate) fn says_something(raw: &[u8], but: Option<&[u8]>) -> bool {
    if let Some(but) = but {
        return changes(raw).any(|change| match change {
            Ok(Change::SystemVariable { name, .. }) => name != but && !is_routine(name),
            Ok(Change::State(_) | Change::Gtids(_)) => false,
            _ => true,
        });
    }
    let mut rest = raw;
    while let [kind @ (0 | 3), len, tail @ ..] = rest
        && *len < 251
        && let Some((entry, behind)) = tail.split_at_checked(usize::from(*len))
        && (*kind == 3 || only_variable(entry).is_some_and(is_routine))
    {
        rest = behind;
    }
    !rest.is_empty()
}

/// It is the number of a statement and nothing else, which comes with each of MySQL's where all variables are
/// tracked.
#[inline]
pub(super) fn is_statement_id_alone(raw: &[u8]) -> bool {
    match raw {
        [0, len @ 0..251, entry @ ..] if usize::from(*len) == entry.len() => {
            only_variable(entry) == Some(STATEMENT_ID)
        }
        _ => false,
    }
}

/// All that it says, besides what comes as a matter of routine, is that this variable was set.
pub(crate) fn says_only(raw: &[u8], variable: &[u8]) -> bool {
    let mut is_told = false;
    let all = changes(raw).all(|change| match change {
        Ok(Change::SystemVariable { name, .. }) => {
            is_told |= name == variable;
            name == variable || is_routine(name)
        }
        Ok(Change::State(_) | Change::Gtids(_)) => true,
        _ => false,
    });
    all && is_told
}

fn is_routine(name: &[u8]) -> bool {
    matches!(name, STATEMENT_ID | LAST_GTID)
}

/// The name of the variable in an entry that has no other.
fn only_variable(entry: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(entry);
    let name = fields.lenenc_str()?;
    fields.lenenc_str()?;
    fields.is_empty().then_some(name)
}

/// MySQL's variable that is another for each statement.
const STATEMENT_ID: &[u8] = b"statement_id";

/// MariaDB's variable of the last transaction.
const LAST_GTID: &[u8] = b"last_gtid";

/// The GTIDs that are reported of a transaction: MySQL's as a set, MariaDB's as one.
pub(crate) fn gtids(raw: &[u8]) -> Option<&[u8]> {
    changes(raw).find_map(|change| match change {
        Ok(Change::Gtids(gtids)) => Some(gtids),
        Ok(Change::SystemVariable { name, value }) if name == LAST_GTID => Some(value),
        _ => None,
    })
}

/// See [`changes`].
#[derive(Clone)]
pub(crate) struct Changes<'a> {
    entries: Fields<'a>,
    /// What is left of an entry of system variables. MySQL sends one entry for each variable;
    /// MariaDB may pack several pairs of name and value into one.
    variables: Fields<'a>,
}

impl<'a> Changes<'a> {
    /// `None`: can't be read.
    fn read(&mut self) -> Option<Change<'a>> {
        if !self.variables.is_empty() {
            return self.variable();
        }
        let kind = self.entries.byte()?;
        let mut data = Fields(self.entries.lenenc_str()?);
        Some(match kind {
            0 => {
                self.variables = data;
                return self.variable();
            }
            1 => Change::Schema(data.lenenc_str()?),
            // MySQL sends a string of one letter, MariaDB the letter.
            2 => Change::State(data.0.last() == Some(&b'1')),
            // The first byte says how the GTIDs are written; 0 is the only way there is: as text.
            3 => match data.byte()? {
                0 => Change::Gtids(data.lenenc_str()?),
                _ => Change::Unknown(kind),
            },
            4 => Change::TransactionCharacteristics(data.lenenc_str()?),
            5 => Change::TransactionState(data.lenenc_str()?),
            _ => Change::Unknown(kind),
        })
    }

    fn variable(&mut self) -> Option<Change<'a>> {
        Some(Change::SystemVariable {
            name: self.variables.lenenc_str()?,
            value: self.variables.lenenc_str()?,
        })
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<Change<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.variables.is_empty() && self.entries.is_empty() {
            return None;
        }
        let change = self.read();
        if change.is_none() {
            *self = changes(&[]);
        }
        Some(change.ok_or_else(|| ProtocolError::new("malformed session tracker")))
    }
}

impl FusedIterator for Changes<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &[u8]) -> Vec<Change<'_>> {
        changes(raw).collect::<Result<_, _>>().unwrap()
    }

    fn variable<'a>(name: &'a str, value: &'a str) -> Change<'a> {
        Change::SystemVariable {
            name: name.as_bytes(),
            value: value.as_bytes(),
        }
    }

    #[test]
    fn one_variable_in_an_entry_as_mysql_does() {
        assert_eq!(
            read(b"\0\x0f\x0aautocommit\x03OFF\0\x06\x01a\x03b=c\x02\x02\x011"),
            [
                variable("autocommit", "OFF"),
                variable("a", "b=c"),
                Change::State(true)
            ]
        );
    }

    #[test]
    fn several_variables_in_one_entry() {
        assert_eq!(
            read(b"\0\x0c\x01a\x011\x01b\0\x02cc\x012\x01\x05\x04test"),
            [
                variable("a", "1"),
                variable("b", ""),
                variable("cc", "2"),
                Change::Schema(b"test")
            ]
        );
    }

    #[test]
    fn every_other_tracker() {
        assert_eq!(
            read(
                b"\x01\x01\0\x02\x02\x010\x03\x05\0\x03a:1\x04\x01\0\x04\x12\x11START TRANSACTION\
                  \x05\x09\x08T_R__sS_\x63\x02??"
            ),
            [
                Change::Schema(b""),
                Change::State(false),
                Change::Gtids(b"a:1"),
                Change::TransactionCharacteristics(b""),
                Change::TransactionCharacteristics(b"START TRANSACTION"),
                Change::TransactionState(b"T_R__sS_"),
                Change::Unknown(0x63),
            ]
        );
    }

    #[test]
    fn an_unreadable_tracker_is_told_once_and_is_the_last() {
        for raw in [
            &b"\0\x00"[..],                // no variable in it
            b"\0\x02\x01a",                // no value
            b"\x01\xfb",                   // NULL is no length
            b"\x01\x02\x04test",           // longer than its entry
            b"\x01\x05",                   // longer than the packet
            b"\x03\x00",                   // no encoding
            b"\x01",                       // no length
            b"\x01\x01\0\x02\xfe\xff\xff", // ends within a length
        ] {
            let all: Vec<_> = changes(raw).collect();
            assert!(all.last().unwrap().is_err(), "{raw:?}");
            assert_eq!(all.iter().filter(|c| c.is_err()).count(), 1, "{raw:?}");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(read(b"").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_end(raw in prop::collection::vec(any::<u8>(), 0..128)) {
            // Every item takes at least a byte.
            prop_assert!(changes(&raw).count() <= raw.len() + 1);
        }
    }

    #[test]
    fn a_matter_of_routine_says_nothing() {
        let variable = |name: &[u8], value: &[u8]| {
            let len = name.len() + value.len() + 2;
            [
                &[0, len as u8, name.len() as u8],
                name,
                &[value.len() as u8],
                value,
            ]
            .concat()
        };
        let limit = variable(b"max_statement_time", b"0.000000");
        let (gtid, state) = (variable(b"last_gtid", b"0-1-5"), [2, 1, b'1']);
        let number = variable(b"statement_id", b"17");
        let own = [3, 5, 0, 3, b'a', b':', b'1'];
        for routine in [&[][..], &gtid, &number, &[&number[..], &own].concat()] {
            assert!(!says_something(routine, None), "{routine:?}");
            assert!(!says_only(routine, b"max_statement_time"));
        }
        assert!(is_statement_id_alone(&number));
        for more in [
            &[][..],
            &gtid,
            &[&number[..], &own].concat(),
            &[&number[..], &number].concat(),
        ] {
            assert!(!is_statement_id_alone(more), "{more:?}");
        }
        assert_eq!(gtids(&[&number[..], &own].concat()), Some(&b"a:1"[..]));
        assert_eq!(gtids(&gtid), Some(&b"0-1-5"[..]));
        let packed = [&[0, 28][..], &gtid[2..], &number[2..]].concat();
        assert!(says_something(&packed, None), "two in one are looked at");
        assert!(!is_statement_id_alone(&packed));
        // MariaDB tells late that a limit is over.
        let over = [&limit[..], &gtid, &state].concat();
        assert!(says_something(&over, None));
        assert!(says_only(&over, b"max_statement_time"));
        assert!(!says_only(
            &[&over[..], &variable(b"sql_mode", b"")].concat(),
            b"max_statement_time"
        ));
        assert!(!says_only(&state, b"max_statement_time"));
    }
}
