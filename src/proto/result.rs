//! What a command's response is made of, once it has been read.
//!
//! Rows stay the bytes that came over the wire, shared with the read buffer, and are decoded when
//! somebody looks at them: no allocation for a row that nobody reads.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Buf, Bytes};
use mysql_common::{constants::StatusFlags, packets::Column};

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
    pub info: Bytes,
    /// The session trackers as they came; see [`super::tracker`].
    pub changes: Bytes,
}

/// One part of a response.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A statement without a result set.
    Ok(OkInfo),
    /// A result set, whole.
    Set(ResultSet),
    /// The statement failed. Nothing follows: the server stops at the first error.
    Err(Failure),
}

/// Why a statement has no result although its link goes on.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// An ERR packet.
    Server(MySqlError),
    /// Ours: result over the limit, local file refused.
    Local(Error),
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
    pub outcomes: VecDeque<Outcome>,
}

/// A result set.
#[derive(Debug, Clone)]
pub(crate) struct ResultSet {
    pub columns: Arc<[Column]>,
    pub rows: Rows,
    pub ok: OkInfo,
}

/// Row packets as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    segments: VecDeque<Segment>,
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
    pub(crate) fn push_framed(&mut self, packets: Bytes) {
        if !packets.is_empty() {
            self.segments.push_back(Segment::Framed(packets));
        }
    }

    /// Adds one row's payload.
    pub(crate) fn push_whole(&mut self, payload: Bytes) {
        self.segments.push_back(Segment::Whole(payload));
    }

    /// There is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that are left.
    pub(crate) fn size(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Framed(bytes) | Segment::Whole(bytes) => bytes.len(),
            })
            .sum()
    }

    /// The next row's payload.
    pub(crate) fn next_payload(&mut self) -> Option<Bytes> {
        loop {
            match self.segments.front_mut()? {
                Segment::Framed(packets) if packets.len() < 4 => {
                    self.segments.pop_front();
                }
                Segment::Framed(packets) => {
                    let len = packets.get_uint_le(3) as usize;
                    packets.advance(1);
                    return Some(packets.split_to(len));
                }
                Segment::Whole(_) => match self.segments.pop_front()? {
                    Segment::Whole(payload) => return Some(payload),
                    Segment::Framed(_) => unreachable!("the front was matched above"),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_from_framed_and_whole_segments() {
        let mut rows = Rows::default();
        rows.push_framed(Bytes::from_static(
            b"\x01\0\0\x03a\x00\0\0\x04\x02\0\0\x05bc",
        ));
        rows.push_whole(Bytes::from_static(b"big"));
        rows.push_framed(Bytes::from_static(b"\x01\0\0\x06d"));
        let mut seen = Vec::new();
        while let Some(row) = rows.next_payload() {
            seen.push(row);
        }
        assert_eq!(
            seen,
            ["a", "", "bc", "big", "d"].map(|s| Bytes::copy_from_slice(s.as_bytes()))
        );
    }
}
