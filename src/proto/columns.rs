//! Column definitions. The same ones come with each result of the same statement: those that came
//! lately are known by their bytes, and shared.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>

use std::sync::Arc;

use mysql_common::{io::ParseBuf, packets::Column};

use crate::error::ProtocolError;

/// Definitions that are kept at a time.
const PLACES: usize = 16;

/// Definitions of more bytes are not kept.
const MOST: usize = 4 << 10;

/// The definitions that came lately.
#[derive(Debug, Default)]
pub(super) struct Known([Option<Box<Set>>; PLACES]);

#[derive(Debug)]
struct Set {
    /// The packets' payloads one behind the other, each behind its length.
    bytes: Vec<u8>,
    columns: Arc<[Column]>,
}

/// Definitions that are being read.
#[derive(Debug)]
pub(super) struct Reading {
    left: usize,
    place: usize,
    /// So many bytes and definitions are as those that are kept in that place.
    same: Option<(usize, usize)>,
    bytes: Vec<u8>,
    columns: Vec<Column>,
}

impl Reading {
    /// So many are to come; at least one.
    pub(super) fn new(count: usize) -> Self {
        Reading {
            left: count,
            place: PLACES,
            same: None,
            bytes: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// Reads the next one. All of them, behind the last.
    pub(super) fn take(
        &mut self,
        known: &mut Known,
        payload: &[u8],
    ) -> Result<Option<Arc<[Column]>>, ProtocolError> {
        if self.place == PLACES {
            self.place = place_of(self.left, payload);
            self.same = Some((0, 0));
        }
        self.left = self.left.saturating_sub(1);
        let kept = known.0[self.place].as_deref();
        match (self.same, kept) {
            (Some((at, count)), Some(set)) if is_next(&set.bytes[at..], payload) => {
                self.same = Some((at + 4 + payload.len(), count + 1));
            }
            (same, kept) => {
                if let (Some((at, count)), Some(set)) = (same, kept) {
                    self.bytes.extend_from_slice(&set.bytes[..at]);
                    self.columns.extend_from_slice(&set.columns[..count]);
                }
                self.same = None;
                self.columns.push(parse(payload)?);
                if self.bytes.len() <= MOST {
                    let len = (payload.len() as u32).to_le_bytes();
                    self.bytes.extend_from_slice(&len);
                    self.bytes.extend_from_slice(payload);
                }
            }
        }
        Ok((self.left == 0).then(|| self.finish(known)))
    }

    fn finish(&mut self, known: &mut Known) -> Arc<[Column]> {
        let kept = &mut known.0[self.place];
        if let (Some((at, count)), Some(set)) = (self.same, &*kept) {
            return match at == set.bytes.len() {
                true => set.columns.clone(),
                // The others have more of them.
                false => set.columns[..count].into(),
            };
        }
        let columns: Arc<[Column]> = std::mem::take(&mut self.columns).into();
        if self.bytes.len() <= MOST {
            *kept = Some(Box::new(Set {
                bytes: std::mem::take(&mut self.bytes),
                columns: columns.clone(),
            }));
        }
        columns
    }
}

fn is_next(kept: &[u8], payload: &[u8]) -> bool {
    kept.split_first_chunk::<4>().is_some_and(|(len, rest)| {
        u32::from_le_bytes(*len) as usize == payload.len() && rest.starts_with(payload)
    })
}

/// Where definitions lie that begin like this. Two of one place displace each other.
fn place_of(count: usize, first: &[u8]) -> usize {
    let mut hash = count as u64;
    for chunk in first.chunks(8) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        hash =
            (hash.rotate_left(5) ^ u64::from_le_bytes(eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (hash >> 32) as usize % PLACES
}

/// One definition.
pub(super) fn parse(payload: &[u8]) -> Result<Column, ProtocolError> {
    ParseBuf(payload)
        .parse::<Column>(())
        .map_err(|e| ProtocolError::new(format!("a column definition: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mysql_common::{constants::ColumnType, proto::MySerialize};
    use proptest::prelude::*;

    fn definition(name: &str) -> Bytes {
        let column = Column::new(ColumnType::MYSQL_TYPE_LONG).with_name(name.as_bytes());
        let mut payload = Vec::new();
        column.serialize(&mut payload);
        payload.into()
    }

    fn read(known: &mut Known, names: &[String]) -> Arc<[Column]> {
        let mut reading = Reading::new(names.len());
        let mut all = None;
        for name in names {
            assert!(all.is_none(), "complete before the last");
            all = reading.take(known, &definition(name)).unwrap();
        }
        all.unwrap()
    }

    #[test]
    fn the_same_definitions_are_shared() {
        let mut known = Known::default();
        let (a, ab) = (["a".to_owned()], ["a".to_owned(), "b".to_owned()]);
        let first = read(&mut known, &a);
        assert!(Arc::ptr_eq(&first, &read(&mut known, &a)));
        assert_eq!(read(&mut known, &ab).len(), 2);
        assert!(Arc::ptr_eq(&read(&mut known, &ab), &read(&mut known, &ab)));
    }

    proptest! {
        #[test]
        fn what_was_known_before_never_shows(
            sets in proptest::collection::vec(
                proptest::collection::vec("[ab]{1,2}", 1..4), 1..40),
        ) {
            let mut known = Known::default();
            for names in sets {
                let columns = read(&mut known, &names);
                let seen: Vec<_> = columns.iter().map(|c| c.name_str().into_owned()).collect();
                prop_assert_eq!(seen, names);
            }
        }

        #[test]
        fn any_bytes_are_definitions_or_an_error(
            payloads in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..60), 1..6),
        ) {
            let mut known = Known::default();
            for _ in 0..2 {
                let mut reading = Reading::new(payloads.len());
                for payload in &payloads {
                    if reading.take(&mut known, payload).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
