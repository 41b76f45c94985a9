//! One physical connection: opened, used by whoever holds it, closed.
//!
//! Whoever holds a [`Link`] has it alone; who that is, `mux` decides. A link knows what the server
//! said of the session on it, and nothing of handles or limits.

mod connect;
mod prepared;
mod session;
mod transport;

use std::{
    cell::Cell,
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

pub(crate) use connect::open;
pub(crate) use prepared::Prepared;
pub(crate) use session::{Session, Start};
pub(crate) use transport::Stream;
use transport::{Idle, Limit, Wire};

use crate::{
    error::{ConnectionLost, DriverError, Error, LostCause, ProtocolError, Ran},
    mux::stats::Counters,
    opts::{LocalInfileHandler, target::Target},
    proto::{
        auth::{AuthStep, Channel},
        change_user::ChangeUser,
        command::Command,
        handshake::ServerInfo,
        pipeline::{Event, Fatal, Pipeline, Reply},
        result::{OkInfo, Outcome, Response},
    },
};
use prepared::Cache;

/// A buffer that has grown beyond this for one large packet is given back after it.
const KEEP_BUFFER: usize = 1 << 20;

/// One physical connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub id: u64,
    pub server: Arc<ServerInfo>,
    /// The server and transport, for errors.
    pub name: Arc<str>,
    pub session: Session,
    pub opened: Instant,
    pub used: Instant,
    target: Arc<Target>,
    wire: Wire,
    pipeline: Pipeline,
    statements: Cache,
    counters: Arc<Counters>,
    /// Bytes that were added to the counters.
    counted: (u64, u64),
    /// The login's deadline, while it lasts.
    login: Option<Limit>,
    /// Something ended the link, or left its session in a state that nobody should meet.
    broken: Cell<bool>,
}

impl Link {
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.wire.stream()
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::of(&self.target)
    }

    /// Statements that are kept prepared, and bytes that one response may take.
    pub(crate) fn set_limits(&mut self, statements: usize, result: usize) {
        self.statements.set_capacity(statements);
        self.pipeline.set_max_result(result);
    }

    /// Looks whether the link died while nobody used it. Costs one system call.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.pipeline.is_quiet() && self.wire.check_idle(self.pipeline.buffer()) == Idle::Quiet
    }

    fn limits(&self) -> (Limit, Limit) {
        let socket = &self.target.socket;
        match self.login {
            Some(limit) => (limit, limit),
            None => (
                Limit::each(socket.read_timeout),
                Limit::each(socket.write_timeout),
            ),
        }
    }

    /// After an error: nothing is in flight, and the session is what it is said to be.
    pub(crate) fn is_usable(&self) -> bool {
        !self.broken.get() && self.pipeline.is_quiet()
    }

    pub(crate) fn lost(&self, attempted: &'static str, ran: Ran, cause: LostCause) -> Error {
        self.broken.set(true);
        ConnectionLost {
            server: self.name.clone(),
            connection_id: self.server.connection_id,
            attempted,
            ran,
            cause,
        }
        .into()
    }

    fn lost_io(&self, attempted: &'static str, ran: Ran, e: io::Error) -> Error {
        let socket = &self.target.socket;
        let limit = if ran == Ran::No {
            socket.write_timeout
        } else {
            socket.read_timeout
        };
        let cause = match (e.kind(), limit) {
            (io::ErrorKind::TimedOut, Some(limit)) => LostCause::Timeout(limit),
            (io::ErrorKind::UnexpectedEof, _) => LostCause::Closed,
            _ => LostCause::Io(Arc::new(e)),
        };
        self.lost(attempted, ran, cause)
    }

    fn flush(&mut self, attempted: &'static str) -> Result<(), Error> {
        let (_, limit) = self.limits();
        let sent = self.wire.write_all(self.pipeline.out(), limit);
        if self.pipeline.out().capacity() > KEEP_BUFFER {
            *self.pipeline.out() = Default::default();
        }
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        sent.map_err(|e| self.lost_io(attempted, Ran::No, e))
    }

    /// Sends what was pushed and reads the replies of the next `count` commands.
    ///
    /// An error here is the link's end.
    fn round_trip(
        &mut self,
        count: usize,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Vec<Reply>, Error> {
        self.flush(attempted)?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.pipeline.next_event() {
                Ok(Some(Event::Reply(reply))) => replies.push(reply),
                Ok(Some(Event::Infile(name))) => self.send_file(&name, infile, attempted)?,
                Ok(None) => self.read(attempted)?,
                Err(fatal) => return Err(self.fatal(attempted, fatal)),
            }
        }
        self.used = Instant::now();
        self.count_bytes();
        Ok(replies)
    }

    fn read(&mut self, attempted: &'static str) -> Result<(), Error> {
        let (limit, _) = self.limits();
        // A packet that is begun is read in large pieces, but memory is taken only as bytes come.
        let wanted = self.pipeline.wanted().min(1 << 20);
        let buffer = self.pipeline.buffer();
        buffer.reserve(wanted);
        match self.wire.read(buffer, limit) {
            Ok(0) => Err(self.lost(attempted, Ran::Maybe, LostCause::Closed)),
            Ok(_) => Ok(()),
            Err(e) => Err(self.lost_io(attempted, Ran::Maybe, e)),
        }
    }

    fn fatal(&self, attempted: &'static str, fatal: Fatal) -> Error {
        match fatal {
            Fatal::Protocol(e) => self.lost(attempted, Ran::Maybe, LostCause::Protocol(e)),
            Fatal::Server(e) => self.lost(attempted, Ran::Maybe, LostCause::Server(e)),
            Fatal::ResultTooLarge => {
                self.broken.set(true);
                Error::ResultTooLarge {
                    max: self.pipeline.max_result(),
                }
            }
        }
    }

    fn count_bytes(&mut self) {
        let Wire {
            bytes_in,
            bytes_out,
            ..
        } = self.wire;
        self.counters
            .bytes_received
            .fetch_add(bytes_in - self.counted.0, Ordering::Relaxed);
        self.counters
            .bytes_sent
            .fetch_add(bytes_out - self.counted.1, Ordering::Relaxed);
        self.counted = (bytes_in, bytes_out);
    }

    /// Gives the server what the handler writes, or nothing.
    fn send_file(
        &mut self,
        name: &[u8],
        handler: Option<&LocalInfileHandler>,
        attempted: &'static str,
    ) -> Result<(), Error> {
        let file = String::from_utf8_lossy(name).into_owned();
        let failure = match handler {
            None => Some(DriverError::LocalInfileRefused(file)),
            Some(handler) => {
                let mut writer = FileWriter {
                    link: self,
                    lost: None,
                    attempted,
                };
                let ran = handler.run(name, &mut writer);
                if let Some(lost) = writer.lost {
                    return Err(lost);
                }
                ran.err().map(|e| DriverError::LocalInfileFailed {
                    file,
                    what: e.to_string(),
                })
            }
        };
        self.pipeline.infile_end(failure);
        self.flush(attempted)
    }

    /// One command, one reply.
    fn command(
        &mut self,
        command: Command<'_>,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Response, Error> {
        self.pipeline.push(command)?;
        let mut replies = self.round_trip(1, attempted, infile)?;
        match replies.pop() {
            Some(Reply::Response(response)) => {
                self.session.observe(&response);
                Ok(response)
            }
            _ => Err(self.fatal(
                attempted,
                Fatal::Protocol(ProtocolError::new("another kind of reply")),
            )),
        }
    }

    /// `COM_QUERY`.
    pub(crate) fn query(
        &mut self,
        sql: &[u8],
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Response, Error> {
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        self.command(Command::Query(sql), "a query", infile)
    }

    /// `COM_PING`. Its OK carries the status flags.
    pub(crate) fn ping(&mut self) -> Result<OkInfo, Error> {
        let response = self.command(Command::Ping, "a ping", None)?;
        first_ok(response)
    }

    /// `COM_STATISTICS`: a line for people.
    pub(crate) fn statistics(&mut self) -> Result<String, Error> {
        self.pipeline.push(Command::Statistics)?;
        match self.round_trip(1, "COM_STATISTICS", None)?.pop() {
            Some(Reply::Line(line)) => Ok(String::from_utf8_lossy(&line).into_owned()),
            Some(Reply::Response(response)) => first_ok(response).map(|_| String::new()),
            _ => Ok(String::new()),
        }
    }

    /// `COM_INIT_DB`.
    pub(crate) fn init_db(&mut self, schema: &str) -> Result<OkInfo, Error> {
        let response = self.command(Command::InitDb(schema), "selecting a schema", None)?;
        let ok = first_ok(response)?;
        self.session.schema = Some(schema.into());
        Ok(ok)
    }

    /// Several `COM_QUERY`, `COM_RESET_CONNECTION` and `COM_INIT_DB` in one write; one round trip.
    fn train(
        &mut self,
        commands: &[Command<'_>],
        attempted: &'static str,
    ) -> Result<Vec<Response>, Error> {
        for command in commands {
            if let Err(e) = self.pipeline.push(*command) {
                // What was pushed before it is still in the out-buffer: the link can't go on.
                self.stream().shutdown();
                return Err(e);
            }
        }
        let replies = self.round_trip(commands.len(), attempted, None)?;
        Ok(replies
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::Response(response) => Some(response),
                _ => None,
            })
            .collect())
    }

    /// `COM_CHANGE_USER` with its whole exchange. An error is the link's end: MySQL closes it, and
    /// MariaDB goes on as the old user with an empty session, which nobody should meet.
    fn exchange_user(&mut self, mut exchange: ChangeUser, payload: &[u8]) -> Result<OkInfo, Error> {
        const WHAT: &str = "COM_CHANGE_USER";
        let protocol = |link: &Link, e| link.lost(WHAT, Ran::Maybe, LostCause::Protocol(e));
        self.pipeline.push_raw(0, payload);
        self.flush(WHAT)?;
        loop {
            let packet = match self.pipeline.next_raw().map_err(|e| protocol(self, e))? {
                Some(packet) => packet,
                None => {
                    self.read(WHAT)?;
                    continue;
                }
            };
            let step = exchange.on_packet(&packet.payload).map_err(|e| match e {
                crate::proto::auth::AuthFailure::Protocol(e) => protocol(self, e),
                crate::proto::auth::AuthFailure::Auth(e) => {
                    connect::auth_error(&self.target, None, e).into()
                }
            })?;
            match step {
                AuthStep::Wait => {}
                AuthStep::Send(answer) => {
                    self.pipeline.push_raw(packet.seq.wrapping_add(1), &answer);
                    self.flush(WHAT)?;
                }
                AuthStep::Done(ok) => {
                    self.used = Instant::now();
                    self.count_bytes();
                    return Ok(ok);
                }
                AuthStep::Denied(e) => return Err(Error::MySqlError(e)),
            }
        }
    }

    /// Says goodbye and closes.
    pub(crate) fn close(mut self) {
        let at_once = Limit::each(Some(Duration::from_millis(100)));
        if self.pipeline.is_quiet() && self.pipeline.push(Command::Quit).is_ok() {
            // The server closes in any case; there is nobody to tell that it didn't hear.
            drop(self.wire.write_all(self.pipeline.out(), at_once));
        }
        self.count_bytes();
        self.stream().shutdown();
    }
}

/// The OK of a response that can only be OK or ERR.
fn first_ok(mut response: Response) -> Result<OkInfo, Error> {
    match response.outcomes.pop_front() {
        Some(Outcome::Ok(ok)) => Ok(ok),
        Some(Outcome::Set(set)) => Ok(set.ok),
        Some(Outcome::Err(failure)) => Err(failure.into()),
        None => Ok(OkInfo::default()),
    }
}

/// Where a handler of local files writes to: packets, sent as they fill.
struct FileWriter<'a> {
    link: &'a mut Link,
    lost: Option<Error>,
    attempted: &'static str,
}

impl io::Write for FileWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.lost.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if data.is_empty() {
            return Ok(0);
        }
        self.link.pipeline.infile_data(data);
        let sent = match self.link.pipeline.out().len() {
            0..=0xffff => Ok(()),
            _ => self.link.flush(self.attempted),
        };
        match sent {
            Ok(()) => Ok(data.len()),
            Err(e) => {
                self.lost = Some(e);
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
