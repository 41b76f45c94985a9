//! Opening a link: transport, greeting, TLS, authentication, and the session's beginning.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mysql_common::{constants::MariadbCapabilities, packets::Column, value::Value};

use super::{
    Common, Face, Link,
    begin::setup_sql,
    now,
    prepared::Cache,
    questions::role_of,
    session::Session,
    transport::{Limit, Wire},
};
use crate::{
    error::{AuthError, ConnectCause, ConnectError, ConnectPhase, Error, LostCause, ProtocolError},
    mux::stats::Counters,
    opts::{Opts, Pipelining, identity::Identity, target::Target},
    proto::{
        command::Command,
        frame::{FrameReader, FrameWriter},
        handshake::{Established, Handshake, Step},
        pipeline::Pipeline,
        result::{Outcome, Response},
        row,
    },
    session::variables::ASK_ROLE,
};

/// A login's packets are small; a peer that announces more is no server.
const LOGIN_PACKET: usize = 1 << 20;

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

type Fault = (ConnectPhase, ConnectCause);

pub(super) fn auth_error(target: &Target, user: Option<&str>, e: AuthError) -> ConnectError {
    error(
        target,
        user,
        (ConnectPhase::Authenticate, ConnectCause::Auth(e)),
    )
}

fn error(target: &Target, user: Option<&str>, (phase, cause): Fault) -> ConnectError {
    ConnectError {
        server: target.endpoint.to_string(),
        user: user.map(str::to_owned),
        phase,
        cause,
    }
}

/// How long the first answers to several commands at once may take, beyond the time of the login. A
/// proxy that can't take them says nothing at all.
const PROBE: Duration = Duration::from_secs(2);

/// Opens a link for the target and identity of `opts`, within its connect timeout and `deadline`.
///
/// `one_at_a_time`: what stands between was found to take one command at a time; set where this
/// connect finds it.
pub(crate) fn open(
    opts: &Opts,
    schema: Option<&str>,
    deadline: Instant,
    counters: &Arc<Counters>,
    one_at_a_time: &AtomicBool,
) -> Result<Link, ConnectError> {
    open_at(opts, None, schema, deadline, counters, one_at_a_time)
}

/// The same; `only` at this address, where the host has several.
pub(super) fn open_at(
    opts: &Opts,
    only: Option<SocketAddr>,
    schema: Option<&str>,
    deadline: Instant,
    counters: &Arc<Counters>,
    one_at_a_time: &AtomicBool,
) -> Result<Link, ConnectError> {
    let pipelining = opts.get_pipelining();
    let one = pipelining == Pipelining::Off || one_at_a_time.load(Ordering::Relaxed);
    one_at_a_time.store(one, Ordering::Relaxed);
    let opened = open_as(opts, only, schema, deadline, counters, !one);
    match &opened {
        Err(e) if e.phase == ConnectPhase::Setup && !one && pipelining == Pipelining::Auto => {}
        _ => return opened,
    }
    // The login went well and the first commands did not: they went out together.
    let opened = open_as(opts, only, schema, deadline, counters, false);
    if opened.is_ok() {
        one_at_a_time.store(true, Ordering::Relaxed);
    }
    opened
}

fn open_as(
    opts: &Opts,
    only: Option<SocketAddr>,
    schema: Option<&str>,
    deadline: Instant,
    counters: &Arc<Counters>,
    pipelining: bool,
) -> Result<Link, ConnectError> {
    let target = opts.target();
    let identity = opts.identity();
    let began = Instant::now();
    // What is left of the caller's time may be less.
    let left = deadline.saturating_duration_since(began);
    let timeout = left.min(target.socket.connect_timeout);
    let limit = Limit::until(began + timeout);
    let opened = login(target, only, identity, schema, limit)
        .and_then(|(wire, pipeline, established)| {
            let mut link = Link::new(
                target.clone(),
                wire,
                pipeline,
                established,
                schema,
                counters.clone(),
            );
            link.set_limits(opts.get_stmt_cache_size(), opts.get_max_result_size());
            link.pipelining = pipelining;
            let mut limit = limit;
            if pipelining && opts.get_pipelining() == Pipelining::Auto {
                let probe = Instant::now() + PROBE + began.elapsed();
                limit.until = limit.until.map(|until| until.min(probe));
            }
            link.set_up(limit)?;
            Ok(link)
        })
        .map_err(|(phase, cause)| {
            let cause = match cause {
                ConnectCause::Io(e) if e.kind() == io::ErrorKind::TimedOut => {
                    ConnectCause::Timeout(timeout)
                }
                other => other,
            };
            error(target, identity.user.as_deref(), (phase, cause))
        });
    let counter = if opened.is_ok() {
        &counters.connect_success
    } else {
        &counters.connect_failure
    };
    counter.fetch_add(1, Ordering::Relaxed);
    opened
}

/// Everything up to the server's OK.
fn login(
    target: &Arc<Target>,
    only: Option<SocketAddr>,
    identity: &Arc<Identity>,
    schema: Option<&str>,
    limit: Limit,
) -> Result<(Wire, Pipeline, Established), Fault> {
    let Some(until) = limit.until else {
        unreachable!("a login has a deadline")
    };
    let mut wire = Wire::open(target, only, until)?;
    let mut reader = FrameReader::new(LOGIN_PACKET);
    let mut writer = FrameWriter::default();
    let mut handshake = Handshake::new(
        target.clone(),
        identity.clone(),
        schema.map(str::to_owned),
        true,
    );
    let mut phase = ConnectPhase::Greeting;
    let mut out = BytesMut::new();
    // The sequence number of the server's next packet.
    let mut due = 0;
    loop {
        let io_fault = |e: io::Error| (phase, ConnectCause::Io(Arc::new(e)));
        let packet = match reader
            .next_packet()
            .map_err(|e| (phase, ConnectCause::Protocol(e)))?
        {
            Some(packet) => packet,
            None => {
                if wire.read(reader.buffer(), limit).map_err(io_fault)? == 0 {
                    let closed = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    );
                    return Err(io_fault(closed));
                }
                continue;
            }
        };
        // An error may come out of turn, from a server that closes.
        if packet.seq != due && packet.payload.first() != Some(&0xff) {
            let e = format!("packet number {} where {due} was due", packet.seq);
            return Err((phase, ConnectCause::Protocol(ProtocolError::new(e))));
        }
        let mut seq = packet.seq.wrapping_add(1);
        let mut step = handshake.on_packet(&packet.payload)?;
        if let Step::StartTls(request) = &step {
            writer.put(seq, &[request], &mut out);
            wire.write_all(&mut out, limit).map_err(io_fault)?;
            // Bytes that came before the handshake were not protected by it.
            if !reader.is_empty() {
                let early = ProtocolError::new("bytes before the TLS handshake");
                return Err((ConnectPhase::Tls, ConnectCause::Protocol(early)));
            }
            wire.start_tls(target, limit)
                .map_err(|cause| (ConnectPhase::Tls, cause))?;
            seq = seq.wrapping_add(1);
            step = handshake.tls_started()?;
        }
        phase = ConnectPhase::Authenticate;
        match step {
            Step::Wait => due = seq,
            Step::Send(payload) => {
                due = seq.wrapping_add(1);
                writer.put(seq, &[&payload], &mut out);
                wire.write_all(&mut out, limit)
                    .map_err(|e| (phase, ConnectCause::Io(Arc::new(e))))?;
            }
            Step::Done(established) => {
                if let Some(level) = established.compress {
                    reader.start_compression();
                    writer.start_compression(level);
                }
                let cached = MariadbCapabilities::MARIADB_CLIENT_CACHE_METADATA;
                let pipeline = Pipeline::new(established.capabilities, reader, writer)
                    .with_cached_metadata(established.extended.contains(cached));
                return Ok((wire, pipeline, *established));
            }
            Step::StartTls(_) => {
                let again = ProtocolError::new("TLS asked for twice");
                return Err((ConnectPhase::Tls, ConnectCause::Protocol(again)));
            }
        }
    }
}

impl Link {
    pub(super) fn new(
        target: Arc<Target>,
        wire: Wire,
        pipeline: Pipeline,
        established: Established,
        schema: Option<&str>,
        counters: Arc<Counters>,
    ) -> Link {
        let now = Instant::now();
        let common = Common {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: target.endpoint.to_string().into(),
            session: Session::new(schema.map(Into::into), established.ok.status),
            server: Arc::new(established.server),
            opened: now,
            used: now,
            pipelining: false,
            target,
            wire: Arc::new(wire),
            statements: Cache::new(0),
            counters,
            counted: (0, 0),
            broken: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
        };
        Link::join(Box::new(common), pipeline)
    }

    /// A link at rest, of its halves.
    pub(super) fn join(common: Box<Common>, pipeline: Pipeline) -> Link {
        Link {
            common,
            pipeline,
            face: Face::Blocking,
            unsent: BytesMut::new(),
            login: None,
            deadline: None,
        }
    }

    /// Begins the session and asks what the server allows, in one round trip.
    fn set_up(&mut self, limit: Limit) -> Result<(), Fault> {
        // The login's deadline holds here too.
        self.login = Some(limit);
        let done = now(pin!(self.begin_session()));
        self.login = None;
        done.map_err(|e| (ConnectPhase::Setup, cause_of(e)))
    }

    async fn begin_session(&mut self) -> Result<(), Error> {
        let role = if self.server.mariadb && self.server.parsed >= (10, 0, 5) {
            ASK_ROLE
        } else {
            "SELECT NULL"
        };
        let setup = setup_sql(&self.target.fixed, self.server.mariadb, true);
        let mut responses = self
            .train(
                &[
                    Command::Query(b"SELECT @@max_allowed_packet"),
                    Command::Query(role.as_bytes()),
                    Command::Query(setup.as_bytes()),
                ],
                "preparing the session",
            )
            .await?
            .into_iter();
        let server_max = responses
            .next()
            .and_then(single_text)
            .and_then(|text| text.parse::<usize>().ok());
        let ours = self.target.fixed.max_allowed_packet.unwrap_or(usize::MAX);
        // Where the server doesn't say, its documented default (4 MiB before MySQL 8) holds.
        self.pipeline
            .tx
            .set_max_packet(server_max.unwrap_or(4 << 20).min(ours));
        let role = responses.next().and_then(|role| role_of(role, true));
        self.session.role = role.map(Into::into);
        self.session.trackers = true;
        let mut setup_response = responses.next().unwrap_or_default();
        self.session.setup = setup.into();
        if let Some(Outcome::Err(_)) = setup_response.outcomes.front() {
            // A server that does not know the trackers: the session begins without.
            let plain = setup_sql(&self.target.fixed, self.server.mariadb, false);
            setup_response = self
                .train(&[Command::Query(plain.as_bytes())], "preparing the session")
                .await?
                .pop()
                .unwrap_or_default();
            self.session.trackers = false;
            self.session.setup = plain.into();
        }
        super::first_ok(setup_response)?;
        Ok(())
    }
}

fn cause_of(e: Error) -> ConnectCause {
    match e {
        Error::MySqlError(e) => ConnectCause::Server(e),
        Error::ConnectionLost(lost) => match &lost.cause {
            LostCause::Io(e) => ConnectCause::Io(e.clone()),
            LostCause::Timeout(t) => ConnectCause::Timeout(*t),
            LostCause::Server(e) => ConnectCause::Server(e.clone()),
            LostCause::Protocol(e) => ConnectCause::Protocol(e.clone()),
            LostCause::Closed | LostCause::Shutdown | LostCause::SessionChanged => {
                ConnectCause::Io(Arc::new(io::ErrorKind::UnexpectedEof.into()))
            }
        },
        other => ConnectCause::Unsupported(other.to_string()),
    }
}

/// The one value of a text result; `None` for NULL or anything else.
fn single_text(response: Response) -> Option<String> {
    texts(response).into_iter().next()?
}

/// The values of the first row of a text result; nothing where there is none.
pub(super) fn texts(response: Response) -> Vec<Option<String>> {
    first_row(response, row::text)
}

/// The same, of a result that `decode` knows.
pub(super) fn first_row<E>(
    mut response: Response,
    decode: impl FnOnce(&[u8], &[Column]) -> Result<row::Values, E>,
) -> Vec<Option<String>> {
    let Some(Outcome::Set(mut set)) = response.outcomes.pop_front() else {
        return Vec::new();
    };
    let row = set.rows.next_with(|row| decode(row, &set.columns));
    let values = row.and_then(Result::ok).into_iter().flatten();
    let text = |value| match value {
        Some(Value::Bytes(text)) => String::from_utf8(text).ok(),
        _ => None,
    };
    values.map(text).collect()
}
