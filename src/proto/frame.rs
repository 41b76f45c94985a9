//! Packets in a stream of bytes: header, sequence number, payloads over 16 MiB.
//!
//! `mysql_common`'s codec copies every payload out of the buffer and keeps one sequence number for
//! both directions; here payloads are shared slices of the read buffer, and each command in flight
//! has a sequence of its own. Knows nothing of what the packets mean.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>

use std::{io::Write as _, ops::Deref};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::write::ZlibEncoder;
use mysql_common::{
    constants::MAX_PAYLOAD_LEN,
    proto::codec::{CompDecoder, Compression, packet_to_chunks},
};

use crate::error::ProtocolError;

const HEADER: usize = 4;

/// A packet's payload and its sequence number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub payload: Bytes,
    pub seq: u8,
}

/// A packet's payload, as long as nothing else is made of the bytes that came.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// Where it lies in the read buffer.
    There(&'a [u8]),
    /// Of several packets, put together.
    Joined(Bytes),
}

impl Payload<'_> {
    /// To keep it.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Payload::There(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Joined(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Payload::There(bytes) => bytes,
            Payload::Joined(bytes) => bytes,
        }
    }
}

/// Whole packets one after the other, each with its header and less than 16 MiB - 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub bytes: Bytes,
    pub count: usize,
}

/// The receiving side: bytes in any split go in, packets come out.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// Bytes as the transport gave them, where the link is compressed; else unused.
    raw: BytesMut,
    plain: BytesMut,
    inflate: Option<CompDecoder>,
    /// Payload of the packets so far, of a payload that takes several.
    partial: BytesMut,
    max_payload: usize,
    /// Bytes of the packet that is looked at.
    looked: usize,
}

impl FrameReader {
    /// Payloads over `max_payload` bytes are an error, found before they are buffered.
    pub(crate) fn new(max_payload: usize) -> Self {
        FrameReader {
            raw: BytesMut::new(),
            plain: BytesMut::new(),
            inflate: None,
            partial: BytesMut::new(),
            max_payload,
            looked: 0,
        }
    }

    pub(crate) fn set_max_payload(&mut self, max: usize) {
        self.max_payload = max;
    }

    /// From here on the peer sends compressed packets.
    pub(crate) fn start_compression(&mut self) {
        self.inflate = Some(CompDecoder::Idle);
        // What is buffered already was sent after the last plain packet.
        std::mem::swap(&mut self.raw, &mut self.plain);
    }

    /// Where the transport puts what it read.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        if self.inflate.is_some() {
            &mut self.raw
        } else {
            &mut self.plain
        }
    }

    /// How many more bytes complete the packet that is begun; a hint for the size of the next read.
    pub(crate) fn wanted(&self) -> usize {
        match self.head() {
            Some((len, _)) => (HEADER + len).saturating_sub(self.plain.len()),
            None => 0,
        }
    }

    /// Nothing is buffered: the peer said nothing beyond what was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.plain.is_empty() && self.partial.is_empty()
    }

    fn head(&self) -> Option<(usize, u8)> {
        let head = self.plain.get(..HEADER)?;
        Some((
            usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16,
            head[3],
        ))
    }

    #[inline]
    fn inflate(&mut self) -> Result<(), ProtocolError> {
        match self.inflate {
            Some(_) => self.inflate_all(),
            None => Ok(()),
        }
    }

    fn inflate_all(&mut self) -> Result<(), ProtocolError> {
        if let Some(decoder) = &mut self.inflate {
            while decoder
                .decode(&mut self.raw, &mut self.plain, MAX_PAYLOAD_LEN)
                .map_err(|e| ProtocolError::new(format!("compressed packet: {e}")))?
                .is_some()
            {}
        }
        Ok(())
    }

    /// The next whole packet, if it is there.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet>, ProtocolError> {
        let Some((len, seq)) = self.whole()? else {
            return Ok(None);
        };
        let payload = self.take(len);
        Ok(Some(Packet { payload, seq }))
    }

    /// There may be a packet. Else there is none.
    #[inline]
    pub(crate) fn has_something(&self) -> bool {
        self.plain.len() >= HEADER || self.inflate.is_some()
    }

    /// The next whole packet and its number, to be looked at where it lies; [`Self::pass`] goes behind it.
    #[inline]
    pub(crate) fn look(&mut self) -> Result<Option<(Payload<'_>, u8)>, ProtocolError> {
        let Some((len, seq)) = self.whole()? else {
            return Ok(None);
        };
        if !self.partial.is_empty() {
            return Ok(Some((Payload::Joined(self.take(len)), seq)));
        }
        self.looked = HEADER + len;
        Ok(Some((
            Payload::There(&self.plain[HEADER..self.looked]),
            seq,
        )))
    }

    /// The bytes that are there, from the beginning of a payload on; none, where it began before.
    #[inline]
    pub(crate) fn ahead(&mut self) -> Result<&[u8], ProtocolError> {
        self.inflate()?;
        Ok(match self.partial.is_empty() {
            true => &self.plain,
            false => &[],
        })
    }

    /// Goes behind so many bytes of them, which are whole packets.
    #[inline]
    pub(crate) fn skip(&mut self, len: usize) {
        match len == self.plain.len() {
            true => self.plain.clear(),
            false => self.plain.advance(len),
        }
    }

    /// Goes behind the packet that was looked at.
    #[inline]
    pub(crate) fn pass(&mut self) {
        let looked = std::mem::take(&mut self.looked);
        self.skip(looked);
    }

    /// The length and the number of the next packet that ends a payload, once it is there whole. What is
    /// before it of the same payload is put together.
    #[inline]
    fn whole(&mut self) -> Result<Option<(usize, u8)>, ProtocolError> {
        self.inflate()?;
        match self.head() {
            None => Ok(None),
            Some((len, _)) if self.partial.len() + len > self.max_payload => {
                Err(self.too_large(len))
            }
            Some((len, _)) if self.plain.len() < HEADER + len => Ok(None),
            Some((len, _)) if len == MAX_PAYLOAD_LEN => self.join(),
            head => Ok(head),
        }
    }

    /// The same where the next packet is one that ends nothing.
    fn join(&mut self) -> Result<Option<(usize, u8)>, ProtocolError> {
        self.plain.advance(HEADER);
        let part = self.plain.split_to(MAX_PAYLOAD_LEN);
        self.partial.extend_from_slice(&part);
        self.whole()
    }

    #[cold]
    fn too_large(&self, len: usize) -> ProtocolError {
        ProtocolError::new(format!(
            "a packet of {} bytes, {} are allowed",
            self.partial.len() + len,
            self.max_payload
        ))
    }

    /// The payload that the next packet, of so many bytes, ends.
    fn take(&mut self, len: usize) -> Bytes {
        self.plain.advance(HEADER);
        let payload = self.plain.split_to(len);
        if self.partial.is_empty() {
            return payload.freeze();
        }
        self.partial.extend_from_slice(&payload);
        self.partial.split().freeze()
    }

    /// Takes as many whole packets as there are, headers included, while `wanted` says so of their
    /// first byte, and checks their sequence. Stops before a packet of 16 MiB - 1 and before an
    /// empty one.
    #[inline]
    pub(crate) fn take_run(
        &mut self,
        seq: &mut SeqCheck,
        wanted: impl Fn(usize, u8) -> bool,
    ) -> Result<Run, ProtocolError> {
        self.inflate()?;
        if !self.partial.is_empty() {
            return Ok(Run::default());
        }
        let (mut end, mut count) = (0, 0);
        while let Some(rest) = self.plain.get(end..).filter(|rest| rest.len() > HEADER) {
            let len = usize::from(rest[0]) | usize::from(rest[1]) << 8 | usize::from(rest[2]) << 16;
            if len == 0 || len == MAX_PAYLOAD_LEN || rest.len() < HEADER + len {
                break;
            }
            if !wanted(len, rest[HEADER]) {
                break;
            }
            seq.check(rest[3])?;
            end += HEADER + len;
            count += 1;
        }
        if count == 0 {
            return Ok(Run::default());
        }
        Ok(Run {
            bytes: self.plain.split_to(end).freeze(),
            count,
        })
    }
}

/// The sequence number that the next packet of one response must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeqCheck {
    next: u8,
    /// Servers number the packets within compressed ones in ways of their own.
    pub lenient: bool,
}

impl SeqCheck {
    /// The next packet has this number: 1 after a command of one packet.
    pub(crate) fn from(next: u8, lenient: bool) -> Self {
        SeqCheck { next, lenient }
    }

    /// This is the number that is due.
    pub(crate) fn is_at(&self, seq: u8) -> bool {
        self.next == seq
    }

    pub(crate) fn check(&mut self, seq: u8) -> Result<(), ProtocolError> {
        if seq != self.next && !self.lenient {
            return Err(ProtocolError::new(format!(
                "packet number {seq} where {} was due",
                self.next
            )));
        }
        self.next = seq.wrapping_add(1);
        Ok(())
    }

    /// The number of the packet that we send within the exchange.
    pub(crate) fn ours(&mut self) -> u8 {
        let seq = self.next;
        self.next = seq.wrapping_add(1);
        seq
    }

    /// After a payload over 16 MiB several numbers are used up.
    pub(crate) fn jump(&mut self, last: u8) {
        self.next = last.wrapping_add(1);
    }
}

/// The sending side: appends packets to an out-buffer.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    level: Option<Compression>,
    scratch: BytesMut,
}

impl FrameWriter {
    pub(crate) fn start_compression(&mut self, level: u32) {
        self.level = Some(Compression::new(level));
    }

    /// Appends one payload, made of `parts`, beginning with sequence number `seq`; returns the
    /// number after the last packet's.
    #[inline]
    pub(crate) fn put(&mut self, seq: u8, parts: &[&[u8]], out: &mut BytesMut) -> u8 {
        let Some(level) = self.level else {
            return put_plain(seq, parts, out);
        };
        self.scratch.clear();
        let next = put_plain(seq, parts, &mut self.scratch);
        let after = put_compressed(seq, level, &self.scratch, out);
        next.max(after)
    }
}

/// Packs bytes into compressed packets. (`mysql_common`'s function cuts what zlib can't make
/// smaller.)
///
/// Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>
fn put_compressed(mut seq: u8, level: Compression, plain: &[u8], out: &mut BytesMut) -> u8 {
    /// Below this the server doesn't compress either (`MIN_COMPRESS_LENGTH` in `my_compress.cc`).
    const WORTH_IT: usize = 50;
    for chunk in plain.chunks(MAX_PAYLOAD_LEN) {
        let mut packed = Vec::new();
        if chunk.len() >= WORTH_IT && level != Compression::none() {
            let mut encoder = ZlibEncoder::new(&mut packed, level);
            // Writing into memory doesn't fail; if it did, the chunk goes as it is.
            if encoder
                .write_all(chunk)
                .and_then(|()| encoder.finish().map(drop))
                .is_err()
            {
                packed.clear();
            }
        }
        let (body, plain_len) = match packed.len() {
            n if n > 0 && n < chunk.len() => (&packed[..], chunk.len()),
            _ => (chunk, 0),
        };
        out.reserve(7 + body.len());
        out.put_uint_le(body.len() as u64, 3);
        out.put_u8(seq);
        out.put_uint_le(plain_len as u64, 3);
        out.put_slice(body);
        seq = seq.wrapping_add(1);
    }
    seq
}

fn put_plain(seq: u8, parts: &[&[u8]], out: &mut BytesMut) -> u8 {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    if len < MAX_PAYLOAD_LEN {
        out.reserve(HEADER + len);
        out.put_u32_le(len as u32 | u32::from(seq) << 24);
        for part in parts {
            out.put_slice(part);
        }
        return seq.wrapping_add(1);
    }
    // Rare and large: one copy more doesn't matter.
    let mut whole = Bytes::from(parts.concat());
    packet_to_chunks(seq, &mut whole, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(payloads: &[Vec<u8>], compressed: bool) -> BytesMut {
        let mut writer = FrameWriter::default();
        if compressed {
            writer.start_compression(1);
        }
        let mut out = BytesMut::new();
        let mut seq = 1;
        for p in payloads {
            seq = writer.put(seq, &[p], &mut out);
        }
        out
    }

    fn read(bytes: &[u8], step: usize, compressed: bool) -> Vec<Bytes> {
        let mut reader = FrameReader::new(1 << 30);
        if compressed {
            reader.start_compression();
        }
        let mut seen = Vec::new();
        for chunk in bytes.chunks(step.max(1)) {
            reader.buffer().extend_from_slice(chunk);
            while let Some(p) = reader.next_packet().unwrap() {
                seen.push(p.payload);
            }
        }
        assert!(reader.is_empty());
        seen
    }

    #[test]
    #[cfg_attr(miri, ignore = "too much for it")]
    fn payloads_of_16_mib_and_around_survive() {
        for len in [
            MAX_PAYLOAD_LEN - 1,
            MAX_PAYLOAD_LEN,
            MAX_PAYLOAD_LEN + 1,
            2 * MAX_PAYLOAD_LEN,
        ] {
            let payload = vec![7u8; len];
            for compressed in [false, true] {
                let bytes = write(std::slice::from_ref(&payload), compressed);
                let seen = read(&bytes, 1 << 20, compressed);
                assert_eq!(seen.len(), 1);
                assert!(seen[0] == payload, "{len} compressed={compressed}");
            }
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_from_the_header_alone() {
        let mut reader = FrameReader::new(100);
        reader.buffer().extend_from_slice(&[101, 0, 0, 1]);
        assert!(reader.next_packet().is_err());
    }

    #[test]
    fn a_run_stops_at_the_packet_that_is_not_wanted() {
        let mut reader = FrameReader::new(1 << 20);
        reader
            .buffer()
            .extend_from_slice(b"\x01\0\0\x01a\x01\0\0\x02b\x01\0\0\x03\xfe\x02\0\0\x04x");
        let mut seq = SeqCheck::from(1, false);
        let run = reader.take_run(&mut seq, |_, first| first != 0xfe).unwrap();
        assert_eq!(&run.bytes[..], b"\x01\0\0\x01a\x01\0\0\x02b");
        assert_eq!(run.count, 2);
        assert_eq!(
            reader.next_packet().unwrap().unwrap().payload,
            Bytes::from_static(b"\xfe")
        );
        assert_eq!(reader.next_packet().unwrap(), None);
        assert_eq!(reader.wanted(), 1);
    }

    #[test]
    fn a_packet_out_of_sequence_is_refused() {
        let mut reader = FrameReader::new(1 << 20);
        reader.buffer().extend_from_slice(b"\x01\0\0\x02a");
        let mut seq = SeqCheck::from(1, false);
        assert!(reader.take_run(&mut seq, |_, _| true).is_err());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_packets(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            step in 1usize..50,
            compressed: bool,
        ) {
            let bytes = write(&payloads, compressed);
            let seen = read(&bytes, step, compressed);
            prop_assert_eq!(seen.len(), payloads.len());
            prop_assert!(seen.iter().zip(&payloads).all(|(a, b)| a == b));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, compressed: bool) {
            let mut reader = FrameReader::new(1 << 16);
            if compressed {
                reader.start_compression();
            }
            reader.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = reader.next_packet() {}
        }
    }
}
