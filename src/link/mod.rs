//! One physical connection: opened, used by one or shared by many, closed.
//!
//! Whoever holds a [`Link`] has it alone, with its session. A [`Lane`] is a link that many use at
//! once, for statements that neither need nor change the session. Who gets which, `mux` decides: a
//! link knows what the server said of the session on it, and nothing of handles or limits.

mod batch;
mod begin;
mod connect;
mod definitions;
mod face;
mod kill;
mod lane;
mod load;
#[cfg(mysql_mux_model)]
mod model;
mod parts;
mod prepared;
mod questions;
#[cfg_attr(mysql_mux_model, path = "model/reactor.rs")]
pub(crate) mod reactor;
mod session;
mod slot;
mod stream;
mod sync;
mod transport;

use std::{
    io,
    ops::{Deref, DerefMut},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};

pub(crate) use batch::{Ask, Behind};
pub(crate) use begin::{Shape, not_run};
pub(crate) use connect::open;
pub(crate) use definitions::{Definition, Kind, Part, is_refusal};
pub(crate) use face::{Face, note_waker, now, offload};
pub(crate) use kill::{Kill, Victim};
pub(crate) use lane::{
    Answer, Asked, How, Lane, Owner, Place, has_warnings, last_behind, leaves_insert_id,
};
pub(crate) use parts::{News, Parts};
pub(crate) use prepared::Prepared;
pub(crate) use questions::Vitals;
pub(crate) use session::{Session, Start};
pub(crate) use stream::Streamed;
pub(crate) use transport::Stream;
use transport::{Idle, Limit, Want, Wire};

use crate::{
    error::{ConnectionLost, DriverError, Error, LostCause, ProtocolError, Ran, StatementTimeout},
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

/// An owner that no handle is: what is there is as a session begins.
pub(crate) const NOBODY: u64 = 0;

/// The owner of what several handles left on a link.
pub(crate) const MANY: u64 = u64::MAX - 1;

/// One physical connection, had alone.
#[derive(Debug)]
pub(crate) struct Link {
    common: Box<Common>,
    pipeline: Pipeline,
    /// How whoever holds it waits.
    pub face: Face,
    /// Bytes as the transport wants them, of which it took a part.
    unsent: BytesMut,
    /// The login's deadline, while it lasts.
    login: Option<Limit>,
    /// When the statement that runs is given up, and after which time that is.
    pub deadline: Option<(Instant, Duration)>,
}

/// What a link is, whoever uses it.
#[derive(Debug)]
pub(crate) struct Common {
    pub id: u32,
    pub server: Arc<ServerInfo>,
    /// The server and transport, for errors.
    pub name: Arc<str>,
    pub session: Session,
    pub opened: Instant,
    pub used: Instant,
    /// The server was seen to take commands before it has answered the ones before.
    pub pipelining: bool,
    target: Arc<Target>,
    wire: Arc<Wire>,
    statements: Cache,
    counters: Arc<Counters>,
    /// Bytes that were added to the counters.
    counted: (u64, u64),
    /// Something ended the link, or left its session in a state that nobody should meet.
    broken: AtomicBool,
    /// Somebody is about to end what runs there, and may come too late for that.
    doomed: AtomicBool,
}

impl Deref for Link {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Common {
        &mut self.common
    }
}

impl Common {
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.wire.stream()
    }

    pub(crate) fn lost(&self, attempted: &'static str, ran: Ran, cause: LostCause) -> Error {
        self.broken.store(true, Ordering::Relaxed);
        ConnectionLost {
            server: self.name.clone(),
            connection_id: self.server.connection_id,
            attempted,
            ran,
            cause,
        }
        .into()
    }

    /// What an I/O error means.
    fn cause_of(&self, e: io::Error, limit: Option<Duration>) -> LostCause {
        match (e.kind(), limit) {
            (io::ErrorKind::TimedOut, Some(limit)) => LostCause::Timeout(limit),
            (io::ErrorKind::UnexpectedEof, _) => LostCause::Closed,
            _ => LostCause::Io(Arc::new(e)),
        }
    }

    fn count_bytes(&mut self) {
        let bytes_in = self.wire.bytes_in.load(Ordering::Relaxed);
        let bytes_out = self.wire.bytes_out.load(Ordering::Relaxed);
        self.counters
            .bytes_received
            .fetch_add(bytes_in - self.counted.0, Ordering::Relaxed);
        self.counters
            .bytes_sent
            .fetch_add(bytes_out - self.counted.1, Ordering::Relaxed);
        self.counted = (bytes_in, bytes_out);
    }
}

impl Link {
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
        self.is_quiet()
            && !self.doomed.load(Ordering::Relaxed)
            && self.common.wire.check_idle(self.pipeline.buffer()) == Idle::Quiet
    }

    /// Nothing is on its way in either direction.
    pub(crate) fn is_quiet(&self) -> bool {
        self.unsent.is_empty() && self.pipeline.is_quiet()
    }

    /// While somebody is about to end what runs there, the link is nobody else's; and if that is not known to
    /// have come to an end, nobody's ever.
    pub(crate) fn set_doomed(&self, doomed: bool) {
        self.doomed.store(doomed, Ordering::Relaxed);
    }

    /// The server may still run something here: it has not answered, nor ended the connection. One that has ended
    /// has ended what ran there, and its number may be another's by now.
    pub(crate) fn may_run(&mut self) -> bool {
        self.in_flight() > 0 && self.common.wire.check_idle(self.pipeline.buffer()) != Idle::Closed
    }

    /// Replies that are to come.
    pub(crate) fn in_flight(&self) -> usize {
        self.pipeline.in_flight()
    }

    /// Many can use it at once.
    pub(crate) fn can_share(&self) -> bool {
        self.wire.can_share()
    }

    /// After an error: nothing is in flight, and the session is what it is said to be.
    pub(crate) fn is_usable(&self) -> bool {
        let flags = [&self.broken, &self.doomed];
        flags.iter().all(|flag| !flag.load(Ordering::Relaxed)) && self.is_quiet()
    }

    fn limits(&self) -> (Limit, Limit) {
        let socket = &self.target.socket;
        if let Some(limit) = self.login {
            return (limit, limit);
        }
        let until = self.deadline.map(|(at, _)| at);
        let limit = |per_op| Limit { per_op, until };
        (limit(socket.read_timeout), limit(socket.write_timeout))
    }

    fn lost_io(&self, attempted: &'static str, ran: Ran, e: io::Error) -> Error {
        let socket = &self.target.socket;
        let limit = match ran {
            Ran::No => socket.write_timeout,
            _ => socket.read_timeout,
        };
        self.lost(attempted, ran, self.cause_of(e, limit))
    }

    /// Sends what was pushed. What the server says meanwhile is read: it may be unable to take more
    /// before we have taken what it has to say.
    async fn flush(&mut self, attempted: &'static str) -> Result<(), Error> {
        if self.unsent.is_empty() && self.pipeline.out().is_empty() {
            return Ok(());
        }
        let sent = self.send().await;
        for buffer in [self.pipeline.out(), &mut self.unsent] {
            if buffer.capacity() > KEEP_BUFFER && buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        sent.map_err(|e| self.lost_io(attempted, Ran::No, e))
    }

    async fn send(&mut self) -> io::Result<()> {
        let (_, limit) = self.limits();
        let wire = self.common.wire.clone();
        loop {
            if self.unsent.is_empty() {
                if self.pipeline.out().is_empty() {
                    return Ok(());
                }
                wire.seal(self.pipeline.out(), &mut self.unsent)?;
            }
            match wire.try_send(&self.unsent, limit) {
                Ok(sent) => self.unsent.advance(sent),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let want = Want {
                        read: true,
                        write: true,
                    };
                    wire.ready(self.face, want, limit).await?;
                    match wire.try_read(self.pipeline.buffer()) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                        Err(e) => return Err(e),
                    }
                }
                Err(e) => return Err(e),
            }
            if self.unsent.is_empty() && self.pipeline.out().capacity() == 0 {
                // The buffer went over to be sent, and comes back to be filled.
                self.unsent.clear();
                std::mem::swap(self.pipeline.out(), &mut self.unsent);
            }
        }
    }

    /// Sends what was pushed and reads the replies of the next `count` commands.
    ///
    /// An error here is the link's end.
    async fn round_trip(
        &mut self,
        count: usize,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Vec<Reply>, Error> {
        self.flush(attempted).await?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            replies.push(self.reply(attempted, infile).await?);
        }
        self.used = Instant::now();
        self.count_bytes();
        Ok(replies)
    }

    /// The next reply, read if it is not there.
    async fn reply(
        &mut self,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Reply, Error> {
        self.reply_in(attempted, infile, None).await
    }

    /// The next reply; the caller takes parts of it while it comes.
    async fn reply_in(
        &mut self,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
        parts: Option<&Parts>,
    ) -> Result<Reply, Error> {
        loop {
            match self.pipeline.next_event() {
                Ok(Some(Event::Reply(reply))) => return Ok(reply),
                Ok(Some(Event::Infile(name))) => self.send_file(&name, infile, attempted).await?,
                Ok(None) => {
                    if let Some(parts) = parts
                        && let Some((columns, rows)) = self.pipeline.rx.take_many()
                    {
                        parts.put(columns, rows).await;
                    }
                    self.read(attempted).await?;
                }
                Err(fatal) => return Err(self.fatal(attempted, fatal)),
            }
        }
    }

    async fn read(&mut self, attempted: &'static str) -> Result<(), Error> {
        let (limit, _) = self.limits();
        let wire = self.common.wire.clone();
        let buffer = self.pipeline.rx.room();
        let read = match self.face {
            Face::Blocking => wire.read(buffer, limit),
            Face::Async => loop {
                match wire.try_read(buffer) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        let want = Want {
                            read: true,
                            write: false,
                        };
                        if let Err(e) = wire.ready(Face::Async, want, limit).await {
                            break Err(e);
                        }
                    }
                    read => break read,
                }
            },
        };
        match read {
            Ok(0) => Err(self.lost(attempted, Ran::Maybe, LostCause::Closed)),
            Ok(_) => Ok(()),
            Err(e) => Err(match self.deadline {
                Some((at, time)) if e.kind() == io::ErrorKind::TimedOut && Instant::now() >= at => {
                    StatementTimeout::new(&self.name, time, Ran::Maybe).into()
                }
                _ => self.lost_io(attempted, Ran::Maybe, e),
            }),
        }
    }

    fn fatal(&self, attempted: &'static str, fatal: Fatal) -> Error {
        let max = match fatal {
            Fatal::Protocol(e) => return self.lost(attempted, Ran::Maybe, LostCause::Protocol(e)),
            Fatal::Server(e) => return self.lost(attempted, Ran::Maybe, LostCause::Server(e)),
            Fatal::ResultTooLarge { max } => max,
        };
        self.broken.store(true, Ordering::Relaxed);
        Error::ResultTooLarge { max }
    }

    /// Ends what a caller left behind that went away in the middle: sends the rest, reads the
    /// responses and takes what they say of the session.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        const WHAT: &str = "finishing a statement that was given up";
        if self.pipeline.wants_file() {
            self.pipeline
                .infile_end(Some(DriverError::LocalInfileRefused("given up".into())));
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(self.lost(WHAT, Ran::Maybe, LostCause::Closed));
        }
        if let Some(id) = self.statements.take_spoilt() {
            self.pipeline.push(Command::CloseStmt(id))?;
        }
        self.flush(WHAT).await?;
        while self.pipeline.in_flight() > 0 {
            match self.reply(WHAT, None).await? {
                Reply::Response(_) if std::mem::take(&mut self.session.guarding) => {
                    self.session.forget_insert_id();
                }
                Reply::Response(response) => self.session.observe(&response),
                // Nobody knows its id.
                Reply::Prepared(Ok(made)) => drop(self.pipeline.push(Command::CloseStmt(made.id))?),
                Reply::Prepared(Err(_)) | Reply::Line(_) => {}
            }
        }
        Ok(())
    }

    /// Gives the server what the handler writes, or nothing.
    async fn send_file(
        &mut self,
        name: &[u8],
        handler: Option<&LocalInfileHandler>,
        attempted: &'static str,
    ) -> Result<(), Error> {
        let file = String::from_utf8_lossy(name).into_owned();
        let failure = match handler {
            None => Some(DriverError::LocalInfileRefused(file)),
            Some(handler) => {
                // The handler is a function that blocks: so do its writes.
                let face = std::mem::replace(&mut self.face, Face::Blocking);
                let mut writer = FileWriter {
                    link: self,
                    lost: None,
                    attempted,
                };
                let ran = handler.run(name, &mut writer);
                let lost = writer.lost;
                self.face = face;
                if let Some(lost) = lost {
                    return Err(lost);
                }
                ran.err().map(|e| DriverError::LocalInfileFailed {
                    file,
                    what: e.to_string(),
                })
            }
        };
        self.pipeline.infile_end(failure);
        self.flush(attempted).await
    }

    /// One command, one reply.
    async fn command(
        &mut self,
        command: Command<'_>,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Response, Error> {
        self.command_in(command, attempted, infile, None).await
    }

    async fn command_in(
        &mut self,
        command: Command<'_>,
        attempted: &'static str,
        infile: Option<&LocalInfileHandler>,
        parts: Option<&Parts>,
    ) -> Result<Response, Error> {
        if let Command::Query(sql) = command {
            self.pipeline.tx.check(sql.len() + 1)?;
        }
        let guards = self.guard_insert_id().await?;
        self.pipeline.push(command)?;
        self.flush(attempted).await?;
        self.guarded(guards, attempted).await?;
        let reply = self.reply_in(attempted, infile, parts).await?;
        self.used = Instant::now();
        self.count_bytes();
        match reply {
            Reply::Response(response) => {
                self.session.observe(&response);
                Ok(response)
            }
            _ => Err(self.another_reply(attempted)),
        }
    }

    fn another_reply(&self, attempted: &'static str) -> Error {
        let e = ProtocolError::new("another kind of reply");
        self.fatal(attempted, Fatal::Protocol(e))
    }

    /// `COM_QUERY`.
    pub(crate) async fn query(
        &mut self,
        sql: &[u8],
        infile: Option<&LocalInfileHandler>,
        parts: Option<&Parts>,
    ) -> Result<Response, Error> {
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        self.command_in(Command::Query(sql), "a query", infile, parts)
            .await
    }

    /// `COM_PING`. Its OK carries the status flags.
    pub(crate) async fn ping(&mut self) -> Result<OkInfo, Error> {
        let response = self.command(Command::Ping, "a ping", None).await?;
        first_ok(response)
    }

    /// `COM_STATISTICS`: a line for people.
    pub(crate) async fn statistics(&mut self) -> Result<String, Error> {
        self.pipeline.push(Command::Statistics)?;
        match self.round_trip(1, "COM_STATISTICS", None).await?.pop() {
            Some(Reply::Line(line)) => Ok(String::from_utf8_lossy(&line).into_owned()),
            Some(Reply::Response(response)) => first_ok(response).map(|_| String::new()),
            _ => Ok(String::new()),
        }
    }

    /// `COM_INIT_DB`.
    pub(crate) async fn init_db(&mut self, schema: &str) -> Result<OkInfo, Error> {
        let response = self
            .command(Command::InitDb(schema), "selecting a schema", None)
            .await?;
        let ok = first_ok(response)?;
        self.session.schema = Some(schema.into());
        Ok(ok)
    }

    /// Several `COM_QUERY`, `COM_RESET_CONNECTION` and `COM_INIT_DB` in one write; one round trip.
    async fn train(
        &mut self,
        commands: &[Command<'_>],
        attempted: &'static str,
    ) -> Result<Vec<Response>, Error> {
        if !self.pipelining && commands.len() > 1 {
            let mut responses = Vec::new();
            for command in commands {
                // Boxed, because it is this function again.
                let one = Box::pin(self.train(std::slice::from_ref(command), attempted));
                responses.extend(one.await?);
            }
            return Ok(responses);
        }
        for command in commands {
            if let Err(e) = self.pipeline.push(*command) {
                // What was pushed before it is still in the out-buffer: the link can't go on.
                self.stream().shutdown();
                self.broken.store(true, Ordering::Relaxed);
                return Err(e);
            }
        }
        let replies = self.round_trip(commands.len(), attempted, None).await?;
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
    async fn exchange_user(
        &mut self,
        mut exchange: ChangeUser,
        payload: &[u8],
    ) -> Result<OkInfo, Error> {
        const WHAT: &str = "COM_CHANGE_USER";
        let protocol = |link: &Link, e| link.lost(WHAT, Ran::Maybe, LostCause::Protocol(e));
        // Whoever is given up in the middle leaves nothing that could be finished.
        self.broken.store(true, Ordering::Relaxed);
        self.pipeline.tx.push_raw(0, payload);
        self.flush(WHAT).await?;
        loop {
            let packet = match self.pipeline.rx.next_raw().map_err(|e| protocol(self, e))? {
                Some(packet) => packet,
                None => {
                    self.read(WHAT).await?;
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
                    self.pipeline
                        .tx
                        .push_raw(packet.seq.wrapping_add(1), &answer);
                    self.flush(WHAT).await?;
                }
                AuthStep::Done(ok) => {
                    self.used = Instant::now();
                    self.count_bytes();
                    self.broken.store(false, Ordering::Relaxed);
                    return Ok(ok);
                }
                AuthStep::Denied(e) => return Err(Error::MySqlError(e)),
            }
        }
    }

    /// Says goodbye and closes.
    pub(crate) fn close(mut self) {
        if self.is_quiet() && self.pipeline.push(Command::Quit).is_ok() {
            let wire = self.common.wire.clone();
            let at_once = Limit::each(Some(Duration::from_millis(100)));
            // The server closes in any case; there is nobody to tell that it didn't hear.
            if wire.seal(self.pipeline.out(), &mut self.unsent).is_ok() {
                drop(wire.try_send(&self.unsent, at_once));
            }
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
            _ => now(pin!(self.link.flush(self.attempted))),
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
