//! Bytes to and from a server: TCP, Unix socket or named pipe, with or without TLS.
//!
//! Knows deadlines and sockets, nothing of packets. A [`Wire`] is used by one reader and one writer
//! at a time, which may be two threads.

#[cfg(windows)]
mod pipe;
mod socket;
#[cfg(feature = "rustls-tls")]
mod tls;

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, BytesMut};
use once_cell::sync::OnceCell;

use super::{
    face::Face,
    reactor::{Reactor, Registration},
    sync::now,
};
use crate::{
    error::{ConnectCause, ConnectPhase},
    opts::target::{Endpoint, Target},
};

/// The operating system's side of a link. Shared, so that a shutdown can wake whoever uses it.
#[derive(Debug)]
pub(crate) enum Stream {
    Socket(socket2::Socket),
    #[cfg(windows)]
    Pipe(pipe::Pipe),
    #[cfg(mysql_mux_model)]
    Model(super::model::Pipe),
}

impl Stream {
    /// Wakes a read or write in another thread with an error; nothing works afterwards.
    pub(crate) fn shutdown(&self) {
        match self {
            Stream::Socket(s) => drop(s.shutdown(std::net::Shutdown::Both)),
            #[cfg(windows)]
            Stream::Pipe(p) => p.shutdown(),
            #[cfg(mysql_mux_model)]
            Stream::Model(p) => p.shutdown(),
        }
    }

    #[cfg(mysql_mux_model)]
    pub(super) fn model(&self) -> &super::model::Pipe {
        match self {
            Stream::Model(p) => p,
            _ => unreachable!("the model has no other"),
        }
    }

    /// The address at its other end, where it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Stream::Socket(s) => s.peer_addr().ok()?.as_socket(),
            #[cfg(windows)]
            Stream::Pipe(_) => None,
            #[cfg(mysql_mux_model)]
            Stream::Model(_) => None,
        }
    }

    /// The socket, where the reactor can watch one.
    pub(crate) fn socket(&self) -> io::Result<&socket2::Socket> {
        match self {
            Stream::Socket(s) => Ok(s),
            #[cfg(windows)]
            Stream::Pipe(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a Windows named pipe is for blocking handles; use TCP for async ones",
            )),
            #[cfg(mysql_mux_model)]
            Stream::Model(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// How long one call may take: each operation by itself, and all of them together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limit {
    pub per_op: Option<Duration>,
    pub until: Option<Instant>,
}

impl Limit {
    pub(crate) fn until(deadline: Instant) -> Self {
        Limit {
            per_op: None,
            until: Some(deadline),
        }
    }

    pub(crate) fn each(per_op: Option<Duration>) -> Self {
        Limit {
            per_op,
            until: None,
        }
    }

    /// The time that the next operation has; an error when it is over.
    pub(crate) fn next(&self) -> io::Result<Option<Duration>> {
        let left = match self.until {
            None => return Ok(self.per_op),
            Some(until) => until.saturating_duration_since(now()),
        };
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A timeout of zero means none to the operating system.
        let left = left.max(Duration::from_millis(1));
        Ok(Some(self.per_op.map_or(left, |each| each.min(left))))
    }

    /// Whether an operation that had this time ended before `until`. A socket's time is kept in ticks
    /// of the system, which jump where a virtual machine's processor stood still: 25 of 30 ms were
    /// seen to be missing.
    fn is_early(&self, timeout: Option<Duration>, e: &io::Error) -> bool {
        matches!(
            e.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) && timeout != self.per_op
            && self.until.is_some_and(|until| now() < until)
    }
}

/// What an idle link has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    Quiet,
    /// Bytes came that nobody asked for; they are in the buffer.
    Talked,
    Closed,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub read: bool,
    pub write: bool,
}

/// A stream and what lies between it and the packets.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Arc<Stream>,
    #[cfg(feature = "rustls-tls")]
    tls: Option<parking_lot::Mutex<tls::Tls>>,
    /// The timeouts that the socket has, in nanoseconds; 0: none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    /// With the reactor, from the first wait of an async caller on.
    registration: OnceCell<Arc<Registration>>,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Wire {
    /// Opens the transport of `target`, trying all of a host's addresses, or the one `only`.
    pub(crate) fn open(
        target: &Target,
        only: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Wire, (ConnectPhase, ConnectCause)> {
        let stream = match &target.endpoint {
            Endpoint::Tcp { host, port } => {
                socket::tcp(host, *port, only, &target.socket, deadline).map(Stream::Socket)?
            }
            Endpoint::Socket { path } => {
                socket::unix(path, &target.socket, deadline).map(Stream::Socket)?
            }
            #[cfg(windows)]
            Endpoint::Pipe { server, name } => pipe::Pipe::connect(server, name, deadline)
                .map(Stream::Pipe)
                .map_err(|e| (ConnectPhase::Open, ConnectCause::Io(Arc::new(e))))?,
            #[cfg(not(windows))]
            Endpoint::Pipe { .. } => {
                let why = crate::error::DriverError::TransportUnavailable("a Windows named pipe");
                return Err((
                    ConnectPhase::Open,
                    ConnectCause::Unsupported(why.to_string()),
                ));
            }
        };
        Ok(Wire::new(stream))
    }

    pub(super) fn new(stream: Stream) -> Wire {
        Wire {
            stream: Arc::new(stream),
            #[cfg(feature = "rustls-tls")]
            tls: None,
            read_timeout: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
            registration: OnceCell::new(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Several callers can share it: it sends without blocking and can be watched.
    pub(crate) fn can_share(&self) -> bool {
        self.stream.socket().is_ok()
    }

    /// The reactor's word on this stream.
    pub(crate) fn registration(&self) -> io::Result<&Arc<Registration>> {
        self.registration
            .get_or_try_init(|| Reactor::get()?.register(self.stream.clone()))
    }

    /// Does the TLS handshake that the server has agreed to.
    #[cfg(feature = "rustls-tls")]
    pub(crate) fn start_tls(&mut self, target: &Target, limit: Limit) -> Result<(), ConnectCause> {
        let mut tls = tls::Tls::new(target)?;
        let io_cause = |e: io::Error| ConnectCause::Io(Arc::new(e));
        let mut chunk = BytesMut::with_capacity(16 << 10);
        while tls.is_handshaking() {
            let mut out = BytesMut::new();
            tls.take_out(&mut out).map_err(io_cause)?;
            if !out.is_empty() {
                self.send_all(&mut out, limit).map_err(io_cause)?;
                continue;
            }
            chunk.clear();
            if self.recv(&mut chunk, limit).map_err(io_cause)? == 0 {
                return Err(ConnectCause::Tls(
                    "the server closed the connection during the handshake".into(),
                ));
            }
            if let Err(e) = tls.take_in(&chunk, &mut BytesMut::new()) {
                // The server is told why, as the protocol has it; that may fail too.
                if tls.take_out(&mut out).is_ok() {
                    drop(self.send_all(&mut out, limit));
                }
                return Err(ConnectCause::Tls(e.to_string()));
            }
        }
        self.tls = Some(parking_lot::Mutex::new(tls));
        Ok(())
    }

    #[cfg(not(feature = "rustls-tls"))]
    pub(crate) fn start_tls(&mut self, _: &Target, _: Limit) -> Result<(), ConnectCause> {
        Err(ConnectCause::Unsupported(
            "TLS needs the cargo feature 'rustls-tls'".into(),
        ))
    }

    /// Moves what is to be sent to `raw`, as the stream wants it. `raw` must be sent before what
    /// comes after it is sealed.
    #[inline]
    pub(crate) fn seal(&self, plain: &mut BytesMut, raw: &mut BytesMut) -> io::Result<()> {
        #[cfg(feature = "rustls-tls")]
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock();
            while !plain.is_empty() {
                tls.encrypt(plain)?;
                tls.take_out(raw)?;
            }
            return Ok(());
        }
        if raw.is_empty() {
            std::mem::swap(plain, raw);
        } else {
            raw.extend_from_slice(plain);
            plain.clear();
        }
        Ok(())
    }

    /// Makes plain bytes of what the stream gave; nothing may come of it.
    fn unseal(&self, chunk: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        #[cfg(feature = "rustls-tls")]
        if let Some(tls) = &self.tls {
            // What the protocol has to say on its own goes out with the next write.
            return tls.lock().take_in(chunk, plain);
        }
        plain.extend_from_slice(chunk);
        Ok(())
    }

    /// Bytes are sent as they are given.
    pub(crate) fn is_plain(&self) -> bool {
        #[cfg(feature = "rustls-tls")]
        return self.tls.is_none();
        #[cfg(not(feature = "rustls-tls"))]
        true
    }

    /// Reads what is there, at least a byte; 0: the server closed.
    #[inline]
    pub(crate) fn read(&self, buf: &mut BytesMut, limit: Limit) -> io::Result<usize> {
        self.read_with(buf, |wire, buf| wire.recv(buf, limit))
    }

    /// Reads what is there, if anything is; `WouldBlock`: nothing is.
    pub(crate) fn try_read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        self.read_with(buf, Wire::try_recv)
    }

    #[inline]
    fn read_with(
        &self,
        buf: &mut BytesMut,
        recv: impl Fn(&Wire, &mut BytesMut) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_plain() {
            return recv(self, buf);
        }
        let mut chunk = BytesMut::with_capacity(32 << 10);
        let had = buf.len();
        while buf.len() == had {
            chunk.clear();
            if recv(self, &mut chunk)? == 0 {
                return Ok(0);
            }
            self.unseal(&chunk, buf)?;
        }
        Ok(buf.len() - had)
    }

    /// Looks, without waiting, whether the server said or did something while nothing was asked.
    pub(crate) fn check_idle(&self, buf: &mut BytesMut) -> Idle {
        match self.readable() {
            Ok(None) => Idle::Quiet,
            Ok(Some(0)) | Err(_) => Idle::Closed,
            // TLS sends tickets on its own; plain MySQL says nothing unless it closes.
            Ok(Some(_)) => match self.read_available(buf) {
                Ok(true) => Idle::Talked,
                Ok(false) => Idle::Quiet,
                Err(_) => Idle::Closed,
            },
        }
    }

    /// Reads once what is known to be there; whether any of it was plain text.
    fn read_available(&self, buf: &mut BytesMut) -> io::Result<bool> {
        let mut chunk = BytesMut::with_capacity(16 << 10);
        if self.recv(&mut chunk, Limit::each(Some(Duration::from_millis(100))))? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let had = buf.len();
        self.unseal(&chunk, buf)?;
        Ok(buf.len() > had)
    }

    /// `None`: nothing there; `Some(0)`: closed.
    fn readable(&self) -> io::Result<Option<usize>> {
        match &*self.stream {
            Stream::Socket(s) => socket::readable(s),
            #[cfg(windows)]
            Stream::Pipe(p) => p.readable().map(|n| (n > 0).then_some(n)),
            #[cfg(mysql_mux_model)]
            Stream::Model(p) => Ok(p.readable()),
        }
    }

    /// Sends what the system takes now; `WouldBlock`: nothing. A pipe takes all, and may block.
    #[cfg_attr(not(windows), allow(unused_variables))]
    #[inline]
    pub(crate) fn try_send(&self, bytes: &[u8], limit: Limit) -> io::Result<usize> {
        loop {
            let sent = match &*self.stream {
                Stream::Socket(s) => socket::try_send(s, bytes),
                #[cfg(windows)]
                Stream::Pipe(p) => p.write(bytes, limit.next()?),
                #[cfg(mysql_mux_model)]
                Stream::Model(p) => p.try_send(bytes),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.bytes_out.fetch_add(n as u64, Ordering::Relaxed);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends all of `raw`, taking off what is sent, and waits for it.
    fn send_all(&self, raw: &mut BytesMut, limit: Limit) -> io::Result<()> {
        while !raw.is_empty() {
            let timeout = limit.next()?;
            let sent = match &*self.stream {
                Stream::Socket(s) => {
                    if changes(&self.write_timeout, timeout) {
                        s.set_write_timeout(timeout)?;
                    }
                    socket::send(s, raw)
                }
                #[cfg(windows)]
                Stream::Pipe(p) => p.write(raw, timeout),
                #[cfg(mysql_mux_model)]
                Stream::Model(p) => p.try_send(raw),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.bytes_out.fetch_add(n as u64, Ordering::Relaxed);
                    raw.advance(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if limit.is_early(timeout, &e) => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
        raw.clear();
        Ok(())
    }

    /// Sends all of `plain` and waits for it. For exchanges in which the server says nothing before
    /// it has read all.
    pub(crate) fn write_all(&self, plain: &mut BytesMut, limit: Limit) -> io::Result<()> {
        let mut raw = BytesMut::new();
        self.seal(plain, &mut raw)?;
        self.send_all(&mut raw, limit)?;
        // The buffer is used again.
        if plain.capacity() == 0 {
            std::mem::swap(plain, &mut raw);
        }
        Ok(())
    }

    #[inline]
    fn recv(&self, buf: &mut BytesMut, limit: Limit) -> io::Result<usize> {
        loop {
            let timeout = limit.next()?;
            let got = match &*self.stream {
                Stream::Socket(s) => {
                    if changes(&self.read_timeout, timeout) {
                        s.set_read_timeout(timeout)?;
                    }
                    s.recv(spare(buf))
                }
                #[cfg(windows)]
                Stream::Pipe(p) => {
                    let spare = spare(buf);
                    for byte in spare.iter_mut() {
                        byte.write(0);
                    }
                    // SAFETY: every byte of `spare` was written just now.
                    let spare = unsafe { &mut *(std::ptr::from_mut(spare) as *mut [u8]) };
                    p.read(spare, timeout)
                }
                #[cfg(mysql_mux_model)]
                Stream::Model(p) => p.recv(spare(buf), limit.until),
            };
            match got {
                Ok(n) => return Ok(self.filled(buf, n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if limit.is_early(timeout, &e) => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
    }

    fn try_recv(&self, buf: &mut BytesMut) -> io::Result<usize> {
        let socket = match &*self.stream {
            #[cfg(mysql_mux_model)]
            Stream::Model(p) => {
                return p.try_recv(spare(buf)).map(|n| self.filled(buf, n));
            }
            stream => stream.socket()?,
        };
        loop {
            match socket::try_recv(socket, spare(buf)) {
                Ok(n) => return Ok(self.filled(buf, n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    #[inline]
    fn filled(&self, buf: &mut BytesMut, n: usize) -> usize {
        // SAFETY: the transport wrote `n` bytes at the start of the spare capacity.
        unsafe { buf.advance_mut(n) };
        self.bytes_in.fetch_add(n as u64, Ordering::Relaxed);
        n
    }

    /// Waits until the stream can be read or written, as wanted.
    pub(crate) async fn ready(&self, face: Face, want: Want, limit: Limit) -> io::Result<()> {
        let timeout = limit.next()?;
        match face {
            Face::Blocking => socket::poll(self.stream.socket()?, want, timeout),
            Face::Async => {
                let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                self.registration()?.ready(want, until).await
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.get() {
            registration.end();
        }
    }
}

/// Room for the next read. Memory is taken only as bytes come.
fn spare(buf: &mut BytesMut) -> &mut [MaybeUninit<u8>] {
    const LEAST: usize = 4 << 10;
    if buf.capacity() - buf.len() < LEAST {
        buf.reserve(16 << 10);
    }
    buf.spare_capacity_mut()
}

/// Whether the socket must be told of this timeout.
fn changes(known: &AtomicU64, timeout: Option<Duration>) -> bool {
    let nanos = timeout.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
    known.load(Ordering::Relaxed) != nanos && known.swap(nanos, Ordering::Relaxed) != nanos
}

/// Unix reports a socket's timeout as `WouldBlock`, Windows as `TimedOut`.
fn timed_out(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => e,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_over_before_it_is() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let wire = Wire::new(Stream::Socket(ours.into()));
        let mut buf = BytesMut::new();
        for micros in (1_000..16_000).step_by(700) {
            let until = Instant::now() + Duration::from_micros(micros);
            let late = wire.recv(&mut buf, Limit::until(until)).unwrap_err();
            assert!(Instant::now() >= until);
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        }
        let until = Instant::now() + Duration::from_millis(7);
        let late = wire.send_all(&mut BytesMut::zeroed(1 << 20), Limit::until(until));
        assert!(Instant::now() >= until);
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[test]
    fn early_is_what_ends_before_the_time_of_all_and_not_after_its_own() {
        let second = Duration::from_secs(1);
        let hour = Instant::now() + Duration::from_secs(3600);
        let past = Instant::now();
        let limit = |per_op, until| Limit { per_op, until };
        let early = |limit: Limit, timeout| {
            limit.is_early(Some(timeout), &io::ErrorKind::WouldBlock.into())
        };
        assert!(early(limit(None, Some(hour)), second));
        assert!(early(limit(Some(2 * second), Some(hour)), second));
        assert!(!early(limit(Some(second), Some(hour)), second));
        assert!(!early(limit(Some(second), None), second));
        assert!(!early(limit(None, Some(past)), second));
        let reset = io::ErrorKind::ConnectionReset.into();
        assert!(!limit(None, Some(hour)).is_early(Some(second), &reset));
    }

    #[test]
    fn the_time_of_each_operation_is_a_time_of_its_own() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let wire = Wire::new(Stream::Socket(ours.into()));
        let limit = Limit {
            per_op: Some(Duration::from_millis(5)),
            until: Some(Instant::now() + Duration::from_secs(3600)),
        };
        let late = wire.recv(&mut BytesMut::new(), limit).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
