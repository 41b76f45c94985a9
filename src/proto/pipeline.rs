//! The command phase of one link as a value: commands go in and become bytes to send, bytes that
//! were received go in and become replies, in the order of the commands.
//!
//! No socket, no lock, no clock. Whatever the bytes, it answers with replies or an error and keeps
//! to its limits of memory.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use std::{collections::VecDeque, mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use mysql_common::{
    constants::{CapabilityFlags, StatusFlags},
    io::ParseBuf,
    packets::Column,
    value::Value,
};

use super::{
    columns,
    command::{Command, Expect, lay_out},
    few::Few,
    frame::{FrameReader, FrameWriter, Packet, Payload, SeqCheck},
    metadata::{Forgets, Metadata},
    ok,
    result::{Failure, OkInfo, Outcome, Response, ResultSet, Rows},
};
use crate::error::{DriverError, Error, MySqlError, ProtocolError};

/// A server can't have more columns in a table or a result: `MAX_FIELDS` is 4096 in both servers'
/// `sql/unireg.h`; the protocol's own fields count parameters in 16 bits.
const MAX_COLUMNS: u64 = u16::MAX as u64;

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

/// What packets come to, one after the other.
#[derive(Debug)]
struct Answers {
    capabilities: CapabilityFlags,
    in_flight: VecDeque<Due>,
    seq: SeqCheck,
    state: State,
    response: Response,
    /// Bytes of the response so far.
    size: usize,
    /// Our own reason why the response at hand is a failure.
    failure: Option<Error>,
    known: columns::Known,
    /// Columns that are not sent again, where that is agreed on.
    metadata: Option<Metadata>,
    /// The response at hand is taken in parts.
    in_parts: bool,
    /// Rows before an error, where the response was taken in parts.
    left: Option<(Arc<[Column]>, Rows)>,
}

#[derive(Debug)]
enum State {
    Start,
    /// The server waits for a file.
    Infile,
    Columns(columns::Reading),
    /// The EOF between columns and rows, without `CLIENT_DEPRECATE_EOF`.
    ColumnsEof {
        columns: Arc<[Column]>,
    },
    /// Its rows come, and then its end.
    Rows(Box<ResultSet>),
    PrepareParams {
        id: u32,
        left: usize,
        params: Vec<Column>,
        columns: usize,
    },
    PrepareColumns {
        id: u32,
        params: Arc<[Column]>,
        left: usize,
        columns: Vec<Column>,
    },
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

impl Answers {
    /// A response is the next one, if one is due; gives the largest payload that it may have.
    fn begin(&mut self) -> Option<usize> {
        let due = self.in_flight.front();
        if let (Some(due), Some(metadata)) = (due, &mut self.metadata)
            && due.forgets != Forgets::Nothing
        {
            metadata.forget(due.forgets);
        }
        self.seq = SeqCheck::from(due.map_or(1, |due| due.first), self.seq.lenient);
        // A row over the limit is read and dropped like others, up to the size of one packet.
        due.map(|due| due.max_result.saturating_mul(2).max(1 << 24))
    }

    fn max_result(&self) -> usize {
        self.in_flight
            .front()
            .map_or(usize::MAX, |due| due.max_result)
    }

    fn on_packet(&mut self, payload: Payload<'_>, seq: u8) -> Result<Option<Event>, Fatal> {
        let is_err = payload.first() == Some(&0xff);
        if self.in_flight.is_empty() {
            return Err(match is_err {
                true => Fatal::Server(ok::parse_err(&payload, self.capabilities)?),
                false => {
                    ProtocolError::new("the server sent a packet that nobody asked for").into()
                }
            });
        }
        // A payload over 16 MiB used up the numbers of its packets.
        if payload.len() >= mysql_common::constants::MAX_PAYLOAD_LEN {
            self.seq.jump(seq);
        } else if let Err(e) = self.seq.check(seq) {
            // A server that shuts down or times out says so out of turn.
            return Err(match is_err {
                true => Fatal::Server(ok::parse_err(&payload, self.capabilities)?),
                false => e.into(),
            });
        }
        self.on_payload(payload)
    }

    fn deprecate_eof(&self) -> bool {
        self.capabilities
            .contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    /// The common case, a set whose columns are known.
    fn take_head(&mut self, reader: &mut FrameReader) -> Result<(), Fatal> {
        let is_first = matches!(self.state, State::Start) && self.seq.is_at(1);
        let Some(&Due {
            expect: expect @ (Expect::Text | Expect::Binary(_)),
            ..
        }) = self.in_flight.front().filter(|_| is_first)
        else {
            return Ok(());
        };
        let (head, count, packets) = match (&self.metadata, reader.ahead()?) {
            (None, [1, 0, 0, 1, count @ 1..=0xfa, packets @ ..]) => (5, *count, packets),
            (Some(_), [2, 0, 0, 1, count @ 1..=0xfa, 1, packets @ ..]) => (6, *count, packets),
            (Some(metadata), &[2, 0, 0, 1, count @ 1..=0xfa, 0, ..]) => {
                if let Some(columns) = metadata.of(expect, usize::from(count)) {
                    self.state = self.behind_columns(columns.clone());
                    self.seq = SeqCheck::from(2, self.seq.lenient);
                    reader.skip(6);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(whole) = self.known.whole(count, packets) else {
            return Ok(());
        };
        reader.skip(head + whole.len);
        self.seq = SeqCheck::from(whole.next, self.seq.lenient);
        self.keep_metadata(&whole.columns);
        self.state = self.behind_columns(whole.columns);
        self.grow(whole.payload)
    }

    /// The common case, many rows in the buffer, without a step for each.
    fn take_rows(&mut self, reader: &mut FrameReader) -> Result<(), Fatal> {
        let run = reader.take_run(&mut self.seq, |_, first| first != 0xfe && first != 0xff)?;
        if run.count == 0 {
            return Ok(());
        }
        self.grow(run.bytes.len())?;
        if let (State::Rows(set), None) = (&mut self.state, &self.failure) {
            set.rows.push_framed(run);
        }
        Ok(())
    }

    /// Counts what came; over the limit the rest is read and dropped, over twice the limit the link
    /// is given up.
    #[inline]
    fn grow(&mut self, bytes: usize) -> Result<(), Fatal> {
        self.size = self.size.saturating_add(bytes);
        let max = self.max_result();
        if self.size > max {
            if self.size > max.saturating_mul(2).max(1 << 20) {
                return Err(Fatal::ResultTooLarge { max });
            }
            if self.failure.is_none() {
                self.failure = Some(Error::ResultTooLarge { max });
                self.response.outcomes.clear();
                if let State::Rows(set) = &mut self.state {
                    set.rows = Rows::default();
                }
            }
        }
        Ok(())
    }

    fn on_payload(&mut self, payload: Payload<'_>) -> Result<Option<Event>, Fatal> {
        let Some(&Due { expect, .. }) = self.in_flight.front() else {
            return Ok(None);
        };
        match self.state {
            State::Start => return self.on_first(expect, payload),
            State::Columns(_) => return self.on_column(&payload),
            _ => {}
        }
        let first = payload.first().copied();
        match mem::replace(&mut self.state, State::Start) {
            State::Start | State::Columns(_) | State::Infile => Ok(None),
            State::ColumnsEof { columns } => {
                if first == Some(0xff) {
                    return self.on_err(&payload);
                }
                if first != Some(0xfe) || payload.len() >= 9 {
                    return Err(ProtocolError::new("no EOF after the columns").into());
                }
                self.state = State::Rows(Box::new(ResultSet::new(columns)));
                Ok(None)
            }
            State::Rows(mut set) => match first {
                Some(0xff) => {
                    self.left = self.in_parts.then_some((set.columns, set.rows));
                    self.on_err(&payload)
                }
                Some(0xfe) if payload.len() < self.terminator_limit() => {
                    set.ok = match self.deprecate_eof() {
                        true => ok::parse_ok_terminator(&payload, self.capabilities)?,
                        false => ok::parse_eof(&payload, self.capabilities)?,
                    };
                    let status = set.ok.status;
                    Ok(self.on_part(Outcome::Set(set), status))
                }
                // An empty row packet can't be: every row has a column.
                None => Err(ProtocolError::new("an empty packet among rows").into()),
                Some(_) => {
                    self.grow(payload.len())?;
                    if self.failure.is_none() {
                        set.rows.push_whole(payload.into_bytes());
                    }
                    self.state = State::Rows(set);
                    Ok(None)
                }
            },
            State::PrepareParams {
                id,
                left,
                mut params,
                columns,
            } => {
                if left > 0 {
                    self.grow(payload.len())?;
                    params.push(columns::parse(&payload)?);
                    self.state = State::PrepareParams {
                        id,
                        left: left - 1,
                        params,
                        columns,
                    };
                } else if first == Some(0xfe) && payload.len() < 9 {
                    // The EOF of servers without CLIENT_DEPRECATE_EOF.
                    return Ok(self.prepare_columns(id, params, columns));
                } else {
                    return Err(ProtocolError::new("no EOF after the parameters").into());
                }
                Ok(self.prepare_params_done())
            }
            State::PrepareColumns {
                id,
                params,
                left,
                mut columns,
            } => {
                if left > 0 {
                    self.grow(payload.len())?;
                    columns.push(columns::parse(&payload)?);
                } else if first != Some(0xfe) || payload.len() >= 9 {
                    return Err(ProtocolError::new("no EOF after the columns").into());
                }
                let left_now = left.saturating_sub(1);
                if left == 0 || (left_now == 0 && self.deprecate_eof()) {
                    let columns = columns.into();
                    if let Some(metadata) = &mut self.metadata {
                        metadata.keep(id, &columns);
                    }
                    return Ok(Some(self.complete(Reply::Prepared(Ok(PrepareOk {
                        id,
                        params,
                        columns,
                    })))));
                }
                self.state = State::PrepareColumns {
                    id,
                    params,
                    left: left_now,
                    columns,
                };
                Ok(None)
            }
        }
    }

    fn on_column(&mut self, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        self.grow(payload.len())?;
        let State::Columns(reading) = &mut self.state else {
            return Ok(None);
        };
        if let Some(columns) = reading.take(&mut self.known, payload)? {
            self.keep_metadata(&columns);
            self.state = self.behind_columns(columns);
        }
        Ok(None)
    }

    /// The columns of the response came.
    #[inline]
    fn keep_metadata(&mut self, columns: &Arc<[Column]>) {
        if let (Some(metadata), Some(due)) = (&mut self.metadata, self.in_flight.front())
            && let Expect::Binary(statement) = due.expect
        {
            metadata.keep(statement, columns);
        }
    }

    #[inline]
    fn behind_columns(&self, columns: Arc<[Column]>) -> State {
        match self.deprecate_eof() {
            true => State::Rows(Box::new(ResultSet::new(columns))),
            false => State::ColumnsEof { columns },
        }
    }

    /// An OK that ends rows may carry trackers and be as long as a packet; an EOF is short.
    fn terminator_limit(&self) -> usize {
        match self.deprecate_eof() {
            true => mysql_common::constants::MAX_PAYLOAD_LEN,
            false => 9,
        }
    }

    fn on_first(&mut self, expect: Expect, payload: Payload<'_>) -> Result<Option<Event>, Fatal> {
        let Some(&first) = payload.first() else {
            return Err(ProtocolError::new("an empty packet as response").into());
        };
        match (expect, first) {
            (Expect::Line, _) if first != 0xff => {
                Ok(Some(self.complete(Reply::Line(payload.into_bytes()))))
            }
            (_, 0xff) => self.on_err(&payload),
            (Expect::Prepare, 0x00) => self.on_prepare_ok(&payload),
            (Expect::Ok | Expect::Text | Expect::Binary(_), 0x00) => {
                let ok = ok::parse_ok(&payload, self.capabilities)?;
                let status = ok.status;
                Ok(self.on_part(Outcome::Ok(ok), status))
            }
            // COM_SET_OPTION and COM_DEBUG answer with EOF.
            (Expect::Ok, 0xfe) if payload.len() < 9 => {
                let ok = OkInfo::default();
                Ok(self.on_part(Outcome::Ok(ok), StatusFlags::empty()))
            }
            (Expect::Text, 0xfb) => {
                self.state = State::Infile;
                Ok(Some(Event::Infile(payload.into_bytes().slice(1..))))
            }
            (Expect::Text | Expect::Binary(_), _) => {
                let mut head = ParseBuf(&payload);
                let count = head.checked_eat_lenenc_int().unwrap_or(0);
                if count == 0 || count > MAX_COLUMNS {
                    return Err(ProtocolError::new(format!("a result of {count} columns")).into());
                }
                let count = count as usize;
                self.state = match &self.metadata {
                    Some(metadata) if head.checked_eat_u8() != Some(1) => {
                        let columns = metadata.of(expect, count).ok_or_else(|| {
                            ProtocolError::new("a result without its columns, which never came")
                        })?;
                        self.behind_columns(columns.clone())
                    }
                    _ => State::Columns(columns::Reading::new(count)),
                };
                Ok(None)
            }
            (_, other) => {
                Err(ProtocolError::new(format!("a response that begins with {other:#04x}")).into())
            }
        }
    }

    fn on_err(&mut self, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        let e = ok::parse_err(payload, self.capabilities)?;
        if matches!(self.in_flight.front(), Some(due) if due.expect == Expect::Prepare) {
            return Ok(Some(self.complete(Reply::Prepared(Err(e)))));
        }
        Ok(self.on_part(Outcome::Err(Failure::Server(e)), StatusFlags::empty()))
    }

    fn on_part(&mut self, outcome: Outcome, status: StatusFlags) -> Option<Event> {
        let is_last = !status.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS);
        if is_last && self.failure.is_none() && self.response.outcomes.is_empty() {
            // The usual case: there is no other.
            return Some(self.complete(Reply::Response(outcome.into())));
        }
        if self.failure.is_none() {
            self.response.outcomes.push_back(outcome);
        }
        if !is_last {
            return None;
        }
        let mut response = mem::take(&mut self.response);
        if let Some(failure) = self.failure.take() {
            response
                .outcomes
                .push_back(Outcome::Err(Failure::Local(failure)));
        }
        Some(self.complete(Reply::Response(response)))
    }

    fn on_prepare_ok(&mut self, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        // status 1, id 4, columns 2, params 2, filler 1, warnings 2
        let Some(head) = payload.get(..9) else {
            return Err(ProtocolError::new("a cut answer to COM_STMT_PREPARE").into());
        };
        let id = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let columns = usize::from(u16::from_le_bytes([head[5], head[6]]));
        let params = usize::from(u16::from_le_bytes([head[7], head[8]]));
        self.state = State::PrepareParams {
            id,
            left: params,
            params: Vec::new(),
            columns,
        };
        if params == 0 {
            return Ok(self.prepare_columns(id, Vec::new(), columns));
        }
        Ok(None)
    }

    fn prepare_params_done(&mut self) -> Option<Event> {
        if !self.deprecate_eof() {
            return None;
        }
        match mem::replace(&mut self.state, State::Start) {
            State::PrepareParams {
                id,
                left: 0,
                params,
                columns,
            } => self.prepare_columns(id, params, columns),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn prepare_columns(&mut self, id: u32, params: Vec<Column>, columns: usize) -> Option<Event> {
        let params: Arc<[Column]> = params.into();
        if columns == 0 {
            let ok = PrepareOk {
                id,
                params,
                columns: Arc::new([]),
            };
            return Some(self.complete(Reply::Prepared(Ok(ok))));
        }
        self.state = State::PrepareColumns {
            id,
            params,
            left: columns,
            columns: Vec::new(),
        };
        None
    }

    fn complete(&mut self, reply: Reply) -> Event {
        self.in_parts = false;
        self.in_flight.pop_front();
        // Mostly it is there already, and there is nothing to drop.
        if !matches!(self.state, State::Start) {
            self.state = State::Start;
        }
        self.size = 0;
        Event::Reply(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
