//! The command phase of one link as a value: commands go in and become bytes to send, bytes that
//! were received go in and become replies, in the order of the commands.
//!
//! No socket, no lock, no clock. Whatever the bytes, it answers with replies or an error and keeps
//! to its limits of memory.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

mod answers;

use std::{collections::VecDeque, mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use mysql_common::{constants::CapabilityFlags, packets::Column, value::Value};

use self::answers::{Answers, State};
use super::{
    columns,
    command::{Command, Expect, lay_out},
    few::Few,
    frame::{FrameReader, FrameWriter, Packet, SeqCheck},
    metadata::{Forgets, Metadata},
    result::{Outcome, Response, Rows},
};
use crate::error::{DriverError, Error, MySqlError, ProtocolError};

/// What one command came to.
#[derive(Debug)]
pub(crate) enum Reply {
    Response(Response),
    Prepared(Result<PrepareOk, MySqlError>),
    Line(Bytes),
}

/// A prepared statement as the server made it.
#[derive(Debug)]
pub(crate) struct PrepareOk {
    pub id: u32,
    pub params: Arc<[Column]>,
    pub columns: Arc<[Column]>,
}

/// A piece of a response that is not complete.
#[derive(Debug)]
pub(crate) struct Part {
    pub outcomes: Few<Outcome>,
    pub set: Option<(Arc<[Column]>, Rows)>,
}

/// What the bytes so far came to.
#[derive(Debug)]
pub(crate) enum Event {
    /// The oldest command in flight is complete.
    Reply(Reply),
    /// The server asks for a local file of this name: answer with [`Pipeline::infile_data`] and
    /// [`Pipeline::infile_end`].
    Infile(Bytes),
}

/// The link can't go on.
#[derive(Debug, Clone)]
pub(crate) enum Fatal {
    Protocol(ProtocolError),
    /// An ERR packet that answers nothing: the server says why it ends the connection.
    Server(MySqlError),
    ResultTooLarge {
        max: usize,
    },
}

impl From<ProtocolError> for Fatal {
    fn from(e: ProtocolError) -> Self {
        Fatal::Protocol(e)
    }
}

/// Commands in flight on one link: both halves together, for whoever has the link alone.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub tx: Box<Sender>,
    pub rx: Box<Receiver>,
    /// Bytes that the response of a command pushed from here on may take.
    max_result: usize,
}

/// The sending half: commands become bytes.
#[derive(Debug)]
pub(crate) struct Sender {
    writer: FrameWriter,
    out: BytesMut,
    /// A buffer for small payloads.
    payload: Vec<u8>,
    /// Bytes of the largest payload that the server takes.
    max_packet: usize,
    /// Statements that were closed, of which the receiving half doesn't know.
    closed: Vec<u32>,
}

/// What the receiving half must know of a command that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    expect: Expect,
    /// The number of the response's first packet: that of the command's last one and one.
    first: u8,
    /// Bytes that the response may take.
    max_result: usize,
    forgets: Forgets,
}

/// The receiving half: bytes become replies, in the order in which they are due.
#[derive(Debug)]
pub(crate) struct Receiver {
    reader: FrameReader,
    answers: Answers,
}

impl Pipeline {
    /// Takes over from the connection phase, with what it had read beyond its end.
    pub(crate) fn new(
        capabilities: CapabilityFlags,
        reader: FrameReader,
        writer: FrameWriter,
    ) -> Self {
        let lenient = capabilities.contains(CapabilityFlags::CLIENT_COMPRESS);
        Pipeline {
            tx: Box::new(Sender {
                writer,
                out: BytesMut::new(),
                payload: Vec::new(),
                max_packet: usize::MAX,
                closed: Vec::new(),
            }),
            rx: Box::new(Receiver {
                reader,
                answers: Answers {
                    capabilities,
                    in_flight: VecDeque::new(),
                    seq: SeqCheck::from(1, lenient),
                    state: State::Start,
                    response: Response::default(),
                    size: 0,
                    failure: None,
                    in_parts: false,
                    known: columns::Known::default(),
                    metadata: None,
                    left: None,
                },
            }),
            max_result: usize::MAX,
        }
    }

    /// Where it is agreed on, columns of prepared statements come only when they are others than before.
    pub(crate) fn with_cached_metadata(mut self, agreed: bool) -> Self {
        self.rx.answers.metadata = agreed.then(Metadata::default);
        self
    }

    /// The session has no statements any more.
    pub(crate) fn forget_statements(&mut self) {
        self.tx.closed.clear();
        if let Some(metadata) = &mut self.rx.answers.metadata {
            metadata.forget(Forgets::All);
        }
    }

    /// Puts the halves together again.
    pub(crate) fn join(tx: Box<Sender>, rx: Box<Receiver>) -> Self {
        Pipeline {
            tx,
            rx,
            max_result: usize::MAX,
        }
    }

    pub(crate) fn capabilities(&self) -> CapabilityFlags {
        self.rx.answers.capabilities
    }

    /// Bytes that the response of a command pushed from here on may take.
    pub(crate) fn set_max_result(&mut self, max: usize) {
        self.max_result = max;
    }

    /// [`Sender::push`], and the response is due.
    pub(crate) fn push(&mut self, command: Command<'_>) -> Result<(), Error> {
        if let Some(due) = self.tx.push(command, self.max_result)? {
            self.rx.expect(due);
        }
        Ok(())
    }

    /// Commands whose responses are not complete.
    pub(crate) fn in_flight(&self) -> usize {
        self.rx.answers.in_flight.len()
    }

    /// Nothing is in flight and nothing was received. Commands without a reply may wait to be sent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rx.is_quiet()
    }

    /// Bytes to send.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.tx.out
    }

    /// Where received bytes go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.rx.buffer()
    }

    /// See [`Receiver::next_event`].
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Fatal> {
        self.rx.next_event()
    }

    /// The server waits for a file.
    pub(crate) fn wants_file(&self) -> bool {
        matches!(self.rx.answers.state, State::Infile)
    }

    /// A part of the file that the server asked for.
    pub(crate) fn infile_data(&mut self, data: &[u8]) {
        // An empty packet would be the end.
        for chunk in data.chunks(1 << 20) {
            let seq = self.rx.answers.seq.ours();
            self.tx.push_raw(seq, chunk);
        }
    }

    /// The end of the file; `failure` becomes the statement's result in place of the server's.
    pub(crate) fn infile_end(&mut self, failure: Option<DriverError>) {
        let seq = self.rx.answers.seq.ours();
        self.tx.push_raw(seq, &[]);
        self.rx.answers.failure = failure.map(Error::DriverError);
        self.rx.answers.state = State::Start;
    }
}

impl Sender {
    pub(crate) fn max_packet(&self) -> usize {
        self.max_packet
    }

    pub(crate) fn set_max_packet(&mut self, max: usize) {
        self.max_packet = max;
    }

    /// The server takes a packet of so many bytes.
    pub(crate) fn check(&self, size: usize) -> Result<(), Error> {
        match size > self.max_packet {
            true => Err(Error::PacketTooLarge {
                size,
                max: self.max_packet,
            }),
            false => Ok(()),
        }
    }

    /// Appends a command to the out-buffer; gives the response that is due for it. Fails, without a
    /// trace, where the server would refuse the packet and close the connection.
    pub(crate) fn push(
        &mut self,
        command: Command<'_>,
        max_result: usize,
    ) -> Result<Option<Due>, Error> {
        let first = command.with_payload(|parts| {
            let size: usize = parts.iter().map(|p| p.len()).sum();
            self.check(size)
                .map(|()| self.writer.put(0, parts, &mut self.out))
        })?;
        let expect = command.expect();
        let forgets = match expect {
            Expect::Nothing => {
                if let Command::CloseStmt(id) = command {
                    self.closed.push(id);
                }
                return Ok(None);
            }
            Expect::Ok if matches!(command, Command::ResetConnection) => {
                self.closed.clear();
                Forgets::All
            }
            _ => self.closed.pop().map_or(Forgets::Nothing, Forgets::One),
        };
        Ok(Some(Due {
            expect,
            first,
            max_result,
            forgets,
        }))
    }

    /// The same of a `COM_STMT_EXECUTE` whose parameters are few and small.
    pub(crate) fn push_execute(
        &mut self,
        id: u32,
        params: &[Value],
        max_result: usize,
    ) -> Result<Option<Due>, Error> {
        let mut payload = mem::take(&mut self.payload);
        payload.clear();
        lay_out(id, params, false, &mut payload);
        let pushed = self.push(Command::Execute(&payload), max_result);
        self.payload = payload;
        pushed
    }

    /// Sends bytes that belong to an exchange of their own (`COM_CHANGE_USER`).
    pub(crate) fn push_raw(&mut self, seq: u8, payload: &[u8]) {
        self.writer.put(seq, &[payload], &mut self.out);
    }

    /// Bytes to send.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// There is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

impl Receiver {
    /// A command was sent, or will be before its response is looked for.
    pub(crate) fn expect(&mut self, due: Due) {
        self.answers.in_flight.push_back(due);
        if self.answers.in_flight.len() == 1 {
            self.begin();
        }
    }

    /// A response is the next one.
    fn begin(&mut self) {
        if let Some(most) = self.answers.begin() {
            self.reader.set_max_payload(most);
        }
    }

    /// The next packet of an exchange that is not a command's response.
    pub(crate) fn next_raw(&mut self) -> Result<Option<Packet>, ProtocolError> {
        self.reader.next_packet()
    }

    /// Where received bytes go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.reader.buffer()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.answers.in_flight.is_empty() && self.reader.is_empty()
    }

    /// What of the response at hand is there already: outcomes that are complete, then the columns
    /// and the rows of the set that is not. The response goes on without them, and they no longer
    /// count against its limit.
    pub(crate) fn take_part(&mut self) -> Part {
        let answers = &mut self.answers;
        answers.size = 0;
        answers.in_parts = !answers.in_flight.is_empty();
        Part {
            outcomes: mem::take(&mut answers.response.outcomes),
            set: match &mut answers.state {
                State::Rows(set) => Some((set.columns.clone(), mem::take(&mut set.rows))),
                _ => None,
            },
        }
    }

    /// The rows that came with the error that ended a response of which parts were taken.
    pub(crate) fn take_left(&mut self) -> Option<(Arc<[Column]>, Rows)> {
        self.answers.left.take()
    }

    /// The rows so far of the response's first set, where they are many. They count against its limit
    /// as if they were there.
    pub(crate) fn take_many(&mut self) -> Option<(Arc<[Column]>, Rows)> {
        /// What is worth a turn: no more than fits the processor's cache.
        const MANY: usize = if cfg!(mysql_mux_model) { 1 } else { 32 << 10 };
        let answers = &mut self.answers;
        match &mut answers.state {
            State::Rows(set) if answers.response.outcomes.is_empty() && set.rows.size() >= MANY => {
                Some((set.columns.clone(), mem::take(&mut set.rows)))
            }
            _ => None,
        }
    }

    /// Room for the next read: little where little is known to come, more within a large response.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        const SMALL: usize = 8 << 10;
        const LARGE: usize = 64 << 10;
        let (least, new) = match self.answers.size > LARGE {
            true => (LARGE / 8, LARGE),
            false => (SMALL, 4 * SMALL),
        };
        // A packet that is begun is read in large pieces, but memory is taken only as bytes come.
        let wanted = self.reader.wanted().min(1 << 20);
        let buffer = self.reader.buffer();
        if buffer.capacity() - buffer.len() < wanted.max(least) {
            buffer.reserve(wanted.max(new));
        }
        buffer
    }

    /// What the bytes come to; `None`: more are needed.
    #[inline]
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Fatal> {
        match self.reader.has_something() {
            true => self.next_of_some(),
            false => Ok(None),
        }
    }

    fn next_of_some(&mut self) -> Result<Option<Event>, Fatal> {
        let Receiver { reader, answers } = self;
        answers.take_head(reader)?;
        loop {
            match answers.state {
                State::Infile => return Ok(None),
                State::Rows(_) => answers.take_rows(reader)?,
                _ => {}
            }
            let Some((payload, seq)) = reader.look()? else {
                return Ok(None);
            };
            let event = answers.on_packet(payload, seq);
            reader.pass();
            if let Some(event) = event? {
                self.begin_next(&event);
                return Ok(Some(event));
            }
        }
    }

    /// Behind a reply another response is the next one.
    fn begin_next(&mut self, event: &Event) {
        if let Event::Reply(_) = event {
            self.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::result::Failure;
    use proptest::prelude::*;

    fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32 | u32::from(seq) << 24)
            .to_le_bytes()
            .to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn packets(payloads: &[&[u8]]) -> Vec<u8> {
        (1..)
            .zip(payloads)
            .flat_map(|(seq, p)| packet(seq, p))
            .collect()
    }

    fn caps(deprecate_eof: bool) -> CapabilityFlags {
        let mut caps = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SESSION_TRACK;
        caps.set(CapabilityFlags::CLIENT_DEPRECATE_EOF, deprecate_eof);
        caps
    }

    fn pipeline(deprecate_eof: bool) -> Pipeline {
        Pipeline::new(
            caps(deprecate_eof),
            FrameReader::new(1 << 24),
            FrameWriter::default(),
        )
    }

    /// `def`, empty names, `len` 11, LONGLONG.
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x0b\0\0\0\x08\x01\0\0\0\0";
    const OK: &[u8] = b"\0\x01\x02\x02\0\0\0";
    const OK_MORE: &[u8] = b"\0\x01\0\x0a\0\0\0";
    const END: &[u8] = b"\xfe\0\0\x02\0\0\0";
    const EOF: &[u8] = b"\xfe\0\0\x02\0";
    const ERR: &[u8] = b"\xff\x28\x04#42000You have an error";

    /// Feeds `bytes` in pieces of `step` and describes what comes out.
    fn run(pipeline: &mut Pipeline, bytes: &[u8], step: usize) -> Result<Vec<String>, Fatal> {
        let mut seen = Vec::new();
        for chunk in bytes.chunks(step) {
            pipeline.buffer().extend_from_slice(chunk);
            while let Some(event) = pipeline.next_event()? {
                seen.push(match event {
                    Event::Infile(name) => format!("infile {}", String::from_utf8_lossy(&name)),
                    Event::Reply(Reply::Line(line)) => format!("line {line:?}"),
                    Event::Reply(Reply::Prepared(Err(e))) => format!("prepare {}", e.code),
                    Event::Reply(Reply::Prepared(Ok(p))) => {
                        format!("prepared {} {} {}", p.id, p.params.len(), p.columns.len())
                    }
                    Event::Reply(Reply::Response(response)) => response
                        .outcomes
                        .into_iter()
                        .map(describe)
                        .collect::<Vec<_>>()
                        .join(", "),
                });
            }
        }
        Ok(seen)
    }

    fn describe(outcome: Outcome) -> String {
        match outcome {
            Outcome::Ok(ok) => format!("ok {} {}", ok.affected_rows, ok.last_insert_id),
            Outcome::Err(Failure::Server(e)) => format!("err {} {}", e.code, e.state),
            Outcome::Err(Failure::Local(e)) => format!("ours {e}"),
            Outcome::Set(mut set) => {
                let mut text = format!("set of {} columns:", set.columns.len());
                while let Some(row) = set.rows.next_with(Bytes::copy_from_slice) {
                    text.push_str(&format!(" {row:?}"));
                }
                text
            }
        }
    }

    /// Commands and the bytes that answer them, with what they come to.
    fn exchanges(deprecate_eof: bool) -> Vec<(Vec<Command<'static>>, Vec<u8>, Vec<&'static str>)> {
        let (mid, end): (&[&[u8]], &[u8]) = if deprecate_eof {
            (&[], END)
        } else {
            (&[EOF], EOF)
        };
        let set = |rows: &[&'static [u8]]| [&[b"\x01", COLUMN], mid, rows, &[end]].concat();
        let prepared = [
            &[b"\0\x07\0\0\0\x01\0\x01\0\0\0\0" as &[u8], COLUMN],
            mid,
            &[COLUMN],
            mid,
        ]
        .concat();
        vec![
            (vec![Command::Ping], packets(&[OK]), vec!["ok 1 2"]),
            (
                vec![Command::Query(b"x")],
                packets(&[ERR]),
                vec!["err 1064 42000"],
            ),
            (
                vec![Command::Query(b"x")],
                packets(&set(&[b"\x011", b"\xfb", b"\x012"])),
                vec![r#"set of 1 columns: b"\x011" b"\xfb" b"\x012""#],
            ),
            (
                vec![Command::Query(b"x")],
                packets(&[&[OK_MORE], &set(&[b"\x011"])[..]].concat()),
                vec![r#"ok 1 0, set of 1 columns: b"\x011""#],
            ),
            (
                vec![Command::Query(b"x"), Command::Query(b"y")],
                [packets(&set(&[])), packets(&[OK])].concat(),
                vec!["set of 1 columns:", "ok 1 2"],
            ),
            (
                vec![Command::Query(b"x")],
                packets(&[&set(&[b"\x011"])[..set(&[b"\x011"]).len() - 1], &[ERR]].concat()),
                vec!["err 1064 42000"],
            ),
            (
                vec![Command::Prepare(b"x")],
                packets(&prepared),
                vec!["prepared 7 1 1"],
            ),
            (
                vec![Command::Prepare(b"x")],
                packets(&[b"\0\x07\0\0\0\0\0\0\0\0\0\0"]),
                vec!["prepared 7 0 0"],
            ),
            (
                vec![Command::Prepare(b"x")],
                packets(&[ERR]),
                vec!["prepare 1064"],
            ),
            (
                vec![Command::Statistics],
                packets(&[b"Uptime: 3"]),
                vec![r#"line b"Uptime: 3""#],
            ),
            (
                vec![
                    Command::ResetConnection,
                    Command::Query(b"SET x"),
                    Command::InitDb("d"),
                ],
                [packets(&[OK]), packets(&[ERR]), packets(&[OK])].concat(),
                vec!["ok 1 2", "err 1064 42000", "ok 1 2"],
            ),
        ]
    }

    #[test]
    fn every_split_of_every_exchange_comes_to_the_same() {
        for deprecate_eof in [true, false] {
            for (commands, bytes, wanted) in exchanges(deprecate_eof) {
                // Miri is slow.
                let by = if cfg!(miri) { 29 } else { 1 };
                for step in (1..=bytes.len()).step_by(by) {
                    let mut pipeline = pipeline(deprecate_eof);
                    commands.iter().for_each(|c| pipeline.push(*c).unwrap());
                    let seen = run(&mut pipeline, &bytes, step).unwrap();
                    assert_eq!(
                        seen, wanted,
                        "{commands:?} deprecate_eof={deprecate_eof} step={step}"
                    );
                    assert!(pipeline.rx.is_quiet());
                }
            }
        }
    }

    /// A statement executed and answered with columns or without, in pieces of any length.
    #[test]
    fn columns_that_are_not_sent_again_are_those_that_came_last_for_the_statement() {
        let prepare_ok = |id: u8| vec![0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let execute = |id: u8| [vec![0x17, id], vec![0; 8]].concat();
        let row: &[u8] = &[0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        let (sent, not_sent): (&[u8], &[u8]) = (&[1, 1], &[1, 0]);
        let columns_of = |pipeline: &mut Pipeline, bytes: &[u8], step: usize| {
            let mut names = Vec::new();
            for chunk in bytes.chunks(step) {
                pipeline.buffer().extend_from_slice(chunk);
                while let Some(event) = pipeline.next_event()? {
                    if let Event::Reply(Reply::Response(mut response)) = event
                        && let Some(Outcome::Set(mut set)) = response.outcomes.pop_front()
                    {
                        assert_eq!(set.rows.next_with(|row| row.len()), Some(row.len()));
                        names.push(set.columns[0].name_str().into_owned());
                    }
                }
            }
            Ok::<_, Fatal>(names)
        };
        let other = [&COLUMN[..8], b"b", &COLUMN[9..]].concat();
        let with = |column: &[u8]| packets(&[sent, column, row, END]);
        let without = || packets(&[not_sent, row, END]);
        for step in [1, 3, 1000] {
            let mut pipeline = pipeline(true).with_cached_metadata(true);
            for id in [1, 2] {
                pipeline.push(Command::Prepare(b"SELECT 7")).unwrap();
                let prepared = packets(&[&prepare_ok(id), COLUMN]);
                assert!(columns_of(&mut pipeline, &prepared, step).is_ok());
            }
            let ask = |pipeline: &mut Pipeline, id: u8| {
                pipeline.push(Command::Execute(&execute(id))).unwrap();
            };
            // Those of the preparing, others, those again; a text's are its own.
            for id in [1, 1, 1, 2] {
                ask(&mut pipeline, id);
            }
            pipeline.push(Command::Query(b"SELECT 7")).unwrap();
            ask(&mut pipeline, 1);
            let replies = [
                without(),
                with(&other),
                without(),
                without(),
                with(COLUMN),
                without(),
            ];
            let names = columns_of(&mut pipeline, &replies.concat(), step).unwrap();
            assert_eq!(names, ["a", "b", "b", "a", "a", "b"], "step {step}");

            // What is known too is told by its number, and is kept all the same.
            ask(&mut pipeline, 1);
            ask(&mut pipeline, 1);
            let replies = [with(COLUMN), without()];
            let names = columns_of(&mut pipeline, &replies.concat(), step).unwrap();
            assert_eq!(names, ["a", "a"]);

            // A statement that was closed is known until what was sent before has its reply.
            ask(&mut pipeline, 1);
            pipeline.push(Command::CloseStmt(1)).unwrap();
            ask(&mut pipeline, 2);
            let replies = [without(), without()];
            let names = columns_of(&mut pipeline, &replies.concat(), step).unwrap();
            assert_eq!(names, ["a", "a"]);
            let unknown = |pipeline: &mut Pipeline, id: u8| {
                ask(pipeline, id);
                matches!(
                    columns_of(pipeline, &without(), step),
                    Err(Fatal::Protocol(_))
                )
            };
            assert!(unknown(&mut pipeline, 1));
        }
        for (end, reply) in [
            (Command::ResetConnection, packets(&[OK])),
            // Of a text they always come.
            (Command::Query(b"SELECT 7"), without()),
        ] {
            let mut pipeline = pipeline(true).with_cached_metadata(true);
            pipeline.push(Command::Prepare(b"SELECT 7")).unwrap();
            pipeline.push(end).unwrap();
            pipeline.push(Command::Execute(&execute(1))).unwrap();
            let bytes = [packets(&[&prepare_ok(1), COLUMN]), reply, without()];
            let seen = columns_of(&mut pipeline, &bytes.concat(), 1000);
            assert!(matches!(seen, Err(Fatal::Protocol(_))), "{end:?}");
        }
    }

    #[test]
    fn an_oversize_packet_leaves_no_trace() {
        let mut pipeline = pipeline(true);
        pipeline.tx.set_max_packet(10);
        assert!(matches!(
            pipeline.push(Command::Query(b"0123456789")),
            Err(Error::PacketTooLarge { size: 11, max: 10 })
        ));
        assert!(pipeline.out().is_empty() && pipeline.is_quiet());
        pipeline.push(Command::Query(b"012345678")).unwrap();
    }

    #[test]
    fn a_result_over_the_limit_is_an_error_and_the_link_goes_on() {
        let mut pipeline = pipeline(true);
        pipeline.set_max_result(100);
        pipeline.push(Command::Query(b"x")).unwrap();
        pipeline.push(Command::Ping).unwrap();
        let row: &[u8] = &[b'\x3b'; 60];
        let bytes = [
            packets(&[b"\x01", COLUMN, row, row, row, END]),
            packets(&[OK]),
        ]
        .concat();
        let seen = run(&mut pipeline, &bytes, 7).unwrap();
        assert!(
            seen[0].starts_with("ours the result is over max_result_size = 100"),
            "{seen:?}"
        );
        assert_eq!(seen[1], "ok 1 2");
    }

    #[test]
    fn an_endless_result_ends_the_link() {
        let mut pipeline = pipeline(true);
        pipeline.set_max_result(1000);
        pipeline.push(Command::Query(b"x")).unwrap();
        let mut bytes = packets(&[b"\x01", COLUMN]);
        for seq in 3..=u8::MAX {
            bytes.extend(packet(seq, &[7; 9000]));
        }
        assert!(matches!(
            run(&mut pipeline, &bytes, 5000),
            Err(Fatal::ResultTooLarge { .. })
        ));
    }

    #[test]
    fn a_file_that_is_refused_is_the_statements_error() {
        let mut pipeline = pipeline(true);
        pipeline.push(Command::Query(b"x")).unwrap();
        pipeline.out().clear();
        assert_eq!(
            run(&mut pipeline, &packets(&[b"\xfb/etc/passwd"]), 3).unwrap(),
            ["infile /etc/passwd"]
        );
        pipeline.infile_end(Some(DriverError::LocalInfileRefused("f".into())));
        assert_eq!(&pipeline.out()[..], b"\0\0\0\x02");
        let seen = run(&mut pipeline, &packet(3, OK), 1).unwrap();
        assert!(
            seen[0].starts_with("ours the server asked for local file 'f'"),
            "{seen:?}"
        );
    }

    #[test]
    fn what_nobody_asked_for_ends_the_link() {
        let mut quiet = pipeline(true);
        assert!(matches!(
            run(&mut quiet, &packets(&[OK]), 9),
            Err(Fatal::Protocol(_))
        ));
        let mut told = pipeline(true);
        match run(&mut told, &packet(0, b"\xff\x91\x0f#HY000inactive"), 9) {
            Err(Fatal::Server(e)) => assert_eq!(e.code, 3985),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>, which in 0usize..5, deprecate_eof: bool) {
            let command = [
                Command::Query(b"x"),
                Command::Execute(b"x"),
                Command::Prepare(b"x"),
                Command::Ping,
                Command::Statistics,
            ][which];
            let mut pipeline = pipeline(deprecate_eof);
            pipeline.push(command).unwrap();
            drop(run(&mut pipeline, &bytes, 3));
        }

        #[test]
        fn any_payloads_never_panic(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..12),
            which in 0usize..3,
        ) {
            let command = [Command::Query(b"x"), Command::Prepare(b"x"), Command::Ping][which];
            let mut pipeline = pipeline(true);
            pipeline.push(command).unwrap();
            let payloads: Vec<&[u8]> = payloads.iter().map(|p| &p[..]).collect();
            drop(run(&mut pipeline, &packets(&payloads), 5));
        }
    }
}
