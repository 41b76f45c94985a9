//! What packets come to, one after the other: the states of a response, from its first packet to its last.

use std::{collections::VecDeque, mem, sync::Arc};

use mysql_common::{
    constants::{CapabilityFlags, StatusFlags},
    io::ParseBuf,
    packets::Column,
};

use super::{Due, Event, Fatal, PrepareOk, Reply};
use crate::{
    error::{Error, ProtocolError},
    proto::{
        columns,
        command::Expect,
        frame::{FrameReader, Payload, SeqCheck},
        metadata::{Forgets, Metadata},
        ok,
        result::{Failure, OkInfo, Outcome, Response, ResultSet, Rows},
    },
};

/// A server can't have more columns in a table or a result: `MAX_FIELDS` is 4096 in both servers'
/// `sql/unireg.h`; the protocol's own fields count parameters in 16 bits.
const MAX_COLUMNS: u64 = u16::MAX as u64;

/// What packets come to, one after the other.
#[derive(Debug)]
pub(super) struct Answers {
    pub capabilities: CapabilityFlags,
    pub in_flight: VecDeque<Due>,
    pub seq: SeqCheck,
    pub state: State,
    pub response: Response,
    /// Bytes of the response so far.
    pub size: usize,
    /// Our own reason why the response at hand is a failure.
    pub failure: Option<Error>,
    pub known: columns::Known,
    /// Columns that are not sent again, where that is agreed on.
    pub metadata: Option<Metadata>,
    /// The response at hand is taken in parts.
    pub in_parts: bool,
    /// Rows before an error, where the response was taken in parts.
    pub left: Option<(Arc<[Column]>, Rows)>,
}

#[derive(Debug)]
pub(super) enum State {
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

impl Answers {
    /// A response is the next one, if one is due; gives the largest payload that it may have.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<usize> {
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

    #[inline]
    pub(super) fn on_packet(
        &mut self,
        payload: Payload<'_>,
        seq: u8,
    ) -> Result<Option<Event>, Fatal> {
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
    #[inline]
    pub(super) fn take_head(&mut self, reader: &mut FrameReader) -> Result<(), Fatal> {
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
    #[inline]
    pub(super) fn take_rows(&mut self, reader: &mut FrameReader) -> Result<(), Fatal> {
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

    #[inline]
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
