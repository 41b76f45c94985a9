//! Column definitions. The same ones come with each result of the same statement: those that came
//! lately are known by their bytes, and shared.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>

use std::sync::Arc;

use mysql_common::{io::ParseBuf, packets::Column};

use crate::error::ProtocolError;

/// Definitions that are kept at a time.
const PLACES: usize = 16;

/// The number of the first definition's packet, behind a command of one packet.
const FIRST: u8 = 2;

/// Definitions of more bytes are not kept.
const MOST: usize = 4 << 10;

/// The definitions that came lately.
#[derive(Debug, Default)]
pub(super) struct Known {
    places: [Option<Box<Set>>; PLACES],
    /// The place of those that came last.
    last: usize,
}

#[derive(Debug)]
struct Set {
    /// The packets one behind the other, as they come behind one that says how many they are.
    bytes: Vec<u8>,
    columns: Arc<[Column]>,
}

/// All definitions of a set, at once.
pub(super) struct Whole {
    pub columns: Arc<[Column]>,
    /// Bytes of the packets.
    pub len: usize,
    /// Of these the definitions.
    pub payload: usize,
    /// The number of the packet behind them.
    pub next: u8,
}

impl Known {
    /// The usual case, definitions that are known and all there, without a step for each: so many of them,
    /// which `packets` begin with behind a response's first one. `None`: they have to be read.
    #[inline(always)]
    pub(super) fn whole(&mut self, count: u8, packets: &[u8]) -> Option<Whole> {
        let count = usize::from(count);
        if !self.is_in(self.last, count, packets) {
            let (len, rest) = split(packets)?;
            let place = place_of(count, rest.get(..len)?);
            if !self.is_in(place, count, packets) {
                return None;
            }
            self.last = place;
        }
        let set = self.places[self.last].as_deref()?;
        Some(Whole {
            columns: set.columns.clone(),
            len: set.bytes.len(),
            payload: set.bytes.len() - 4 * count,
            next: FIRST.wrapping_add(count as u8),
        })
    }

    /// So many definitions are kept there, and packets begin with all of them.
    fn is_in(&self, place: usize, count: usize, packets: &[u8]) -> bool {
        let set = self.places[place].as_deref();
        set.is_some_and(|set| set.columns.len() == count && packets.starts_with(&set.bytes))
    }
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
        let kept = known.places[self.place].as_deref();
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
                    let seq = FIRST.wrapping_add(self.columns.len() as u8 - 1);
                    let head = payload.len() as u32 | u32::from(seq) << 24;
                    self.bytes.extend_from_slice(&head.to_le_bytes());
                    self.bytes.extend_from_slice(payload);
                }
            }
        }
        Ok((self.left == 0).then(|| self.finish(known)))
    }

    fn finish(&mut self, known: &mut Known) -> Arc<[Column]> {
        let kept = &mut known.places[self.place];
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
    split(kept).is_some_and(|(len, rest)| len == payload.len() && rest.starts_with(payload))
}

/// A packet's length, and what is behind its header.
fn split(packets: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = packets.split_first_chunk::<4>()?;
    Some(((u32::from_le_bytes(*head) & 0xff_ffff) as usize, rest))
}

/// Where definitions lie that begin like this. Two of one place displace each other.
#[inline]
fn place_of(count: usize, first: &[u8]) -> usize {
    let mut hash = count as u64;
    let mut add = |eight: &[u8; 8]| {
        let eight = u64::from_le_bytes(*eight);
        hash = (hash.rotate_left(5) ^ eight).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    };
    // The last one may overlap; what is shorter is no definition.
    first.as_chunks().0.iter().for_each(&mut add);
    first.last_chunk().into_iter().for_each(&mut add);
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

    fn packets(names: &[String], first: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, seq) in names.iter().zip(first..) {
            let definition = definition(name);
            bytes.extend_from_slice(&(definition.len() as u32).to_le_bytes()[..3]);
            bytes.push(seq);
            bytes.extend_from_slice(&definition);
        }
        bytes
    }

    #[test]
    fn what_is_known_is_read_at_once_where_it_is_there_whole_and_in_order() {
        let mut known = Known::default();
        let (a, ab) = (["a".to_owned()], ["a".to_owned(), "b".to_owned()]);
        assert!(known.whole(2, &packets(&ab, 2)).is_none());
        let columns = read(&mut known, &ab);
        let mut bytes = packets(&ab, 2);
        let len = bytes.len();
        bytes.extend_from_slice(b"more");
        let whole = known.whole(2, &bytes).unwrap();
        assert!(Arc::ptr_eq(&whole.columns, &columns));
        assert_eq!((whole.len, whole.next), (len, 4));
        assert_eq!(whole.payload, definition("a").len() + definition("b").len());
        for cut in 0..len {
            assert!(known.whole(2, &bytes[..cut]).is_none());
        }
        assert!(
            known.whole(2, &packets(&ab, 3)).is_none(),
            "numbers of others"
        );
        assert!(known.whole(1, &packets(&a, 2)).is_none(), "fewer");
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
