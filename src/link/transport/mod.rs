//! Bytes to and from a server: TCP, Unix socket or named pipe, with or without TLS.
//!
//! Knows deadlines and sockets, nothing of packets.

#[cfg(windows)]
mod pipe;
mod socket;
#[cfg(feature = "rustls-tls")]
mod tls;

use std::{
    io,
    mem::MaybeUninit,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};

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
}

impl Stream {
    /// Wakes a read or write in another thread with an error; nothing works afterwards.
    pub(crate) fn shutdown(&self) {
        match self {
            Stream::Socket(s) => drop(s.shutdown(std::net::Shutdown::Both)),
            #[cfg(windows)]
            Stream::Pipe(p) => p.shutdown(),
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
    fn next(&self) -> io::Result<Option<Duration>> {
        let left = match self.until {
            None => return Ok(self.per_op),
            Some(until) => until.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A timeout of zero means none to the operating system.
        let left = left.max(Duration::from_millis(1));
        Ok(Some(self.per_op.map_or(left, |each| each.min(left))))
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

/// A stream and what lies between it and the packets.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Arc<Stream>,
    #[cfg(feature = "rustls-tls")]
    tls: Option<Box<tls::Tls>>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl Wire {
    /// Opens the transport of `target`, trying all of a host's addresses.
    pub(crate) fn open(
        target: &Target,
        deadline: Instant,
    ) -> Result<Wire, (ConnectPhase, ConnectCause)> {
        let stream = match &target.endpoint {
            Endpoint::Tcp { host, port } => {
                socket::tcp(host, *port, &target.socket, deadline).map(Stream::Socket)?
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
        Ok(Wire {
            stream: Arc::new(stream),
            #[cfg(feature = "rustls-tls")]
            tls: None,
            read_timeout: None,
            write_timeout: None,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Does the TLS handshake that the server has agreed to.
    #[cfg(feature = "rustls-tls")]
    pub(crate) fn start_tls(&mut self, target: &Target, limit: Limit) -> Result<(), ConnectCause> {
        let mut tls = tls::Tls::new(target)?;
        let io_cause = |e: io::Error| ConnectCause::Io(Arc::new(e));
        let mut chunk = BytesMut::with_capacity(16 << 10);
        while tls.is_handshaking() {
            let out = tls.take_out().map_err(io_cause)?;
            if !out.is_empty() {
                self.send(&out, limit).map_err(io_cause)?;
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
                if let Ok(alert) = tls.take_out() {
                    drop(self.send(&alert, limit));
                }
                return Err(ConnectCause::Tls(e.to_string()));
            }
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    #[cfg(not(feature = "rustls-tls"))]
    pub(crate) fn start_tls(&mut self, _: &Target, _: Limit) -> Result<(), ConnectCause> {
        Err(ConnectCause::Unsupported(
            "TLS needs the cargo feature 'rustls-tls'".into(),
        ))
    }

    /// Sends all of `bytes` and empties it.
    pub(crate) fn write_all(&mut self, bytes: &mut BytesMut, limit: Limit) -> io::Result<()> {
        #[cfg(feature = "rustls-tls")]
        if let Some(mut tls) = self.tls.take() {
            let sent = self.write_tls(&mut tls, bytes, limit);
            self.tls = Some(tls);
            return sent;
        }
        self.send(bytes, limit)?;
        bytes.clear();
        Ok(())
    }

    #[cfg(feature = "rustls-tls")]
    fn write_tls(
        &mut self,
        tls: &mut tls::Tls,
        bytes: &mut BytesMut,
        limit: Limit,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            tls.encrypt(bytes)?;
            let out = tls.take_out()?;
            self.send(&out, limit)?;
        }
        Ok(())
    }

    /// Reads what is there, at least a byte; 0: the server closed.
    pub(crate) fn read(&mut self, buf: &mut BytesMut, limit: Limit) -> io::Result<usize> {
        #[cfg(feature = "rustls-tls")]
        if let Some(mut tls) = self.tls.take() {
            let read = self.read_tls(&mut tls, buf, limit);
            self.tls = Some(tls);
            return read;
        }
        self.recv(buf, limit)
    }

    #[cfg(feature = "rustls-tls")]
    fn read_tls(
        &mut self,
        tls: &mut tls::Tls,
        buf: &mut BytesMut,
        limit: Limit,
    ) -> io::Result<usize> {
        let mut chunk = BytesMut::with_capacity(32 << 10);
        loop {
            chunk.clear();
            if self.recv(&mut chunk, limit)? == 0 {
                return Ok(0);
            }
            let had = buf.len();
            tls.take_in(&chunk, buf)?;
            // Key updates must be answered.
            let out = tls.take_out()?;
            if !out.is_empty() {
                self.send(&out, limit)?;
            }
            if buf.len() > had {
                return Ok(buf.len() - had);
            }
        }
    }

    /// Looks, without waiting, whether the server said or did something while nothing was asked.
    pub(crate) fn check_idle(&mut self, buf: &mut BytesMut) -> Idle {
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
    fn read_available(&mut self, buf: &mut BytesMut) -> io::Result<bool> {
        let mut chunk = BytesMut::with_capacity(16 << 10);
        if self.recv(&mut chunk, Limit::each(Some(Duration::from_millis(100))))? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        #[cfg(feature = "rustls-tls")]
        if let Some(tls) = &mut self.tls {
            let had = buf.len();
            tls.take_in(&chunk, buf)?;
            return Ok(buf.len() > had);
        }
        buf.extend_from_slice(&chunk);
        Ok(true)
    }

    /// `None`: nothing there; `Some(0)`: closed.
    fn readable(&self) -> io::Result<Option<usize>> {
        match &*self.stream {
            Stream::Socket(s) => socket::readable(s),
            #[cfg(windows)]
            Stream::Pipe(p) => p.readable().map(|n| (n > 0).then_some(n)),
        }
    }

    fn send(&mut self, mut bytes: &[u8], limit: Limit) -> io::Result<()> {
        while !bytes.is_empty() {
            let timeout = limit.next()?;
            let sent = match &*self.stream {
                Stream::Socket(s) => {
                    if self.write_timeout != timeout {
                        s.set_write_timeout(timeout)?;
                        self.write_timeout = timeout;
                    }
                    socket::send(s, bytes)
                }
                #[cfg(windows)]
                Stream::Pipe(p) => p.write(bytes, timeout),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.bytes_out += n as u64;
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
        Ok(())
    }

    /// Reads into the spare capacity of `buf`, growing it to have some.
    fn recv(&mut self, buf: &mut BytesMut, limit: Limit) -> io::Result<usize> {
        loop {
            let timeout = limit.next()?;
            if buf.capacity() - buf.len() < 4 << 10 {
                buf.reserve(16 << 10);
            }
            let spare: &mut [MaybeUninit<u8>] = buf.spare_capacity_mut();
            let got = match &*self.stream {
                Stream::Socket(s) => {
                    if self.read_timeout != timeout {
                        s.set_read_timeout(timeout)?;
                        self.read_timeout = timeout;
                    }
                    s.recv(spare)
                }
                #[cfg(windows)]
                Stream::Pipe(p) => {
                    for byte in spare.iter_mut() {
                        byte.write(0);
                    }
                    // SAFETY: every byte of `spare` was written just now.
                    let spare = unsafe { &mut *(std::ptr::from_mut(spare) as *mut [u8]) };
                    p.read(spare, timeout)
                }
            };
            match got {
                Ok(n) => {
                    // SAFETY: the transport wrote `n` bytes at the start of the spare capacity.
                    unsafe { buf.advance_mut(n) };
                    self.bytes_in += n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(timed_out(e)),
            }
        }
    }
}

/// Unix reports a socket's timeout as `WouldBlock`, Windows as `TimedOut`.
fn timed_out(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => e,
    }
}
