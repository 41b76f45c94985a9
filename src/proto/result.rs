//! What a command's response is made of, once it has been read.
//!
//! Rows stay the bytes that came over the wire, shared with the read buffer, and are decoded when
//! somebody looks at them: no allocation for a row that nobody reads.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use mysql_common::{constants::StatusFlags, packets::Column};

use super::{few::Few, frame::Run, tracker};
use crate::error::{Error, MySqlError};

/// An OK packet, or the end of a result set.
#[derive(Debug, Clone, Default)]
pub(crate) struct OkInfo {
    pub affected_rows: u64,
    /// 0: none.
    pub last_insert_id: u64,
    pub status: StatusFlags,
    pub warnings: u16,
    /// Human-readable, in the connection's character set; empty where the server sent none.
    pub info: Note,
    /// The session trackers as they came; see [`super::tracker`].
    pub changes: Note,
    /// They were MySQL's `statement_id` alone, which is not kept.
    pub nothing_else: bool,
}

/// Bytes that mostly are none. Who keeps them keeps nothing of what was read with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Note(Option<Arc<[u8]>>);

impl From<&[u8]> for Note {
    fn from(bytes: &[u8]) -> Self {
        Note((!bytes.is_empty()).then(|| bytes.into()))
    }
}

impl Deref for Note {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// One part of a response.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A statement without a result set.
    Ok(OkInfo),
    /// A result set, whole.
    Set(Box<ResultSet>),
    /// The statement failed. Nothing follows: the server stops at the first error.
    Err(Failure),
}

impl Outcome {
    /// What the server said at its end; nothing, where it failed.
    pub(crate) fn ok(&self) -> Option<&OkInfo> {
        match self {
            Outcome::Ok(ok) => Some(ok),
            Outcome::Set(set) => Some(&set.ok),
            Outcome::Err(_) => None,
        }
    }
}

/// Why a statement has no result although its link goes on.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// An ERR packet.
    Server(MySqlError),
    /// Ours: result over the limit, local file refused.
    Local(Error),
}

impl Failure {
    /// The server's error number; 0: the error is ours.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Failure::Server(e) => e.code,
            Failure::Local(_) => 0,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Server(e) => Error::MySqlError(e),
            Failure::Local(e) => e,
        }
    }
}

/// All parts of one command's response, in order; never empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub outcomes: Few<Outcome>,
}

impl Response {
    /// The GTIDs that the server reports of the last transaction in it.
    pub(crate) fn gtids(&self) -> Option<&[u8]> {
        let mut last_first = self.outcomes.iter().rev();
        last_first.find_map(|outcome| tracker::gtids(&outcome.ok()?.changes))
    }
}

impl From<Outcome> for Response {
    fn from(outcome: Outcome) -> Self {
        Response {
            outcomes: Few::of(outcome),
        }
    }
}

/// A result set.
#[derive(Debug, Clone)]
pub(crate) struct ResultSet {
    pub columns: Arc<[Column]>,
    pub rows: Rows,
    pub ok: OkInfo,
}

impl ResultSet {
    /// Of which no row is there yet.
    pub(crate) fn new(columns: Arc<[Column]>) -> Self {
        ResultSet {
            columns,
            rows: Rows::default(),
            ok: OkInfo::default(),
        }
    }
}

/// Row packets as they came. What was read of them is let go, segment by segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    segments: Few<Segment>,
    /// Bytes of the first segment that were read.
    read: usize,
    /// Rows that were not read.
    left: usize,
}

#[derive(Debug, Clone)]
enum Segment {
    /// Packets one after the other, each with its four-byte header and less than 16 MiB.
    Framed(Bytes),
    /// The payload of one row that came in several packets.
    Whole(Bytes),
}

impl Rows {
    /// Adds whole packets with their headers, each under 16 MiB - 1.
    #[inline]
    pub(crate) fn push_framed(&mut self, packets: Run) {
        if packets.count > 0 {
            self.left += packets.count;
            self.segments.push_back(Segment::Framed(packets.bytes));
        }
    }

    /// Adds one row's payload.
    pub(crate) fn push_whole(&mut self, payload: Bytes) {
        self.left += 1;
        self.segments.push_back(Segment::Whole(payload));
    }

    /// There is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Rows that are left.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// Bytes that are left.
    pub(crate) fn size(&self) -> usize {
        let bytes = self.segments.iter().map(|segment| match segment {
            Segment::Framed(bytes) | Segment::Whole(bytes) => bytes.len(),
        });
        bytes.sum::<usize>() - self.read
    }

    /// What `decode` makes of the next row's payload.
    #[inline]
    pub(crate) fn next_with<T>(&mut self, decode: impl FnOnce(&[u8]) -> T) -> Option<T> {
        const HEADER: usize = 4;
        let (row, is_last) = match self.segments.front()? {
            Segment::Framed(packets) => {
                let rest = &packets[self.read..];
                let len =
                    usize::from(rest[0]) | usize::from(rest[1]) << 8 | usize::from(rest[2]) << 16;
                let end = HEADER + len;
                self.read += end;
                (decode(&rest[HEADER..end]), rest.len() == end)
            }
            Segment::Whole(payload) => (decode(payload), true),
        };
        self.left -= 1;
        if is_last {
            self.read = 0;
            self.segments.pop_front();
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: &'static [u8], count: usize) -> Run {
        Run {
            bytes: Bytes::from_static(bytes),
            count,
        }
    }

    #[test]
    fn rows_come_back_in_order_from_framed_and_whole_segments() {
        let mut rows = Rows::default();
        rows.push_framed(run(b"\x01\0\0\x03a\x00\0\0\x04\x02\0\0\x05bc", 3));
        rows.push_whole(Bytes::from_static(b"big"));
        rows.push_framed(run(b"", 0));
        rows.push_framed(run(b"\x01\0\0\x06d", 1));
        assert_eq!((rows.len(), rows.size()), (5, 23));
        let mut seen = Vec::new();
        while let Some(row) = rows.next_with(<[u8]>::to_vec) {
            seen.push(row);
            assert_eq!(rows.len(), 5 - seen.len());
        }
        assert_eq!(seen, ["a", "", "bc", "big", "d"].map(|s| s.as_bytes()));
        assert!(rows.is_empty() && rows.size() == 0);
    }

    #[test]
    fn what_was_read_is_let_go() {
        let mut rows = Rows::default();
        let bytes = Bytes::from(b"\x01\0\0\x03a\x01\0\0\x04b".to_vec());
        rows.push_framed(Run {
            bytes: bytes.clone(),
            count: 2,
        });
        rows.push_framed(run(b"\x01\0\0\x05c", 1));
        rows.next_with(|_| ());
        assert!(!bytes.is_unique());
        rows.next_with(|_| ());
        assert!(bytes.is_unique());
        assert_eq!(rows.size(), 5);
    }
}
