//! TCP and Unix sockets through `socket2`.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::Want;
use crate::{
    error::{ConnectCause, ConnectPhase},
    opts::target::SocketOpts,
};

type Fault = (ConnectPhase, ConnectCause);

fn open_fault(e: io::Error) -> Fault {
    (ConnectPhase::Open, ConnectCause::Io(Arc::new(e)))
}

/// Connects to the first address that answers, or to this one `only`. The error is the last one's.
pub(super) fn tcp(
    host: &str,
    port: u16,
    only: Option<SocketAddr>,
    opts: &SocketOpts,
    deadline: Instant,
) -> Result<Socket, Fault> {
    let addresses = match only {
        Some(address) => vec![address],
        None => resolve(host, port, deadline)?,
    };
    let mut last = None;
    for (i, address) in addresses.iter().enumerate() {
        // An address that swallows packets leaves time for the ones behind it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / (addresses.len() - i) as u32;
        match tcp_address(*address, opts, share.max(Duration::from_millis(1))) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = Some(e),
        }
    }
    Err(open_fault(
        last.unwrap_or_else(|| io::ErrorKind::NotFound.into()),
    ))
}

fn tcp_address(address: SocketAddr, opts: &SocketOpts, timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(bind) = opts.bind_address {
        socket.bind(&bind.into())?;
    }
    buffers(&socket, opts)?;
    socket.connect_timeout(&address.into(), timeout)?;
    socket.set_tcp_nodelay(opts.nodelay)?;
    if let Some(idle) = opts.keepalive {
        let mut keepalive = TcpKeepalive::new().with_time(idle);
        if let Some(interval) = opts.keepalive_interval {
            keepalive = keepalive.with_interval(interval);
        }
        #[cfg(not(windows))]
        if let Some(retries) = opts.keepalive_retries {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(opts.user_timeout)?;
    Ok(socket)
}

fn buffers(socket: &Socket, opts: &SocketOpts) -> io::Result<()> {
    if let Some(bytes) = opts.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = opts.recv_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

/// All addresses of a host. The system's resolver has no deadline, so it runs in a thread of its
/// own, which is left behind when it takes too long.
fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let fault = |e: io::Error| (ConnectPhase::Resolve, ConnectCause::Io(Arc::new(e)));
    let (answer, answered) = mpsc::sync_channel(1);
    let name = host.to_owned();
    std::thread::Builder::new()
        .name("mysql_mux-resolve".into())
        .spawn(move || {
            let found = (name.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>);
            drop(answer.send(found));
        })
        .map_err(fault)?;
    match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(fault(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        ))),
        Ok(found) => found.map_err(fault),
        Err(_) => Err(fault(io::Error::new(
            io::ErrorKind::TimedOut,
            "the resolver did not answer in time",
        ))),
    }
}

#[cfg(unix)]
pub(super) fn unix(path: &Path, opts: &SocketOpts, deadline: Instant) -> Result<Socket, Fault> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        buffers(&socket, opts)?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        socket.connect_timeout(
            &socket2::SockAddr::unix(path)?,
            timeout.max(Duration::from_millis(1)),
        )?;
        Ok(socket)
    };
    connect().map_err(open_fault)
}

#[cfg(not(unix))]
pub(super) fn unix(_: &Path, _: &SocketOpts, _: Instant) -> Result<Socket, Fault> {
    let why = crate::error::DriverError::TransportUnavailable("a Unix socket");
    Err((
        ConnectPhase::Open,
        ConnectCause::Unsupported(why.to_string()),
    ))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod flags {
    pub const NOSIGNAL: i32 = 0x4000;
    pub const DONTWAIT: i32 = 0x40;
    pub const PEEK: i32 = 0x02;
}
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod flags {
    // The BSDs suppress the signal per socket, which `socket2` does.
    pub const NOSIGNAL: i32 = 0;
    pub const DONTWAIT: i32 = 0x80;
    pub const PEEK: i32 = 0x02;
}

/// Sends what fits; a peer that has gone is an error and no signal.
pub(super) fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(unix)]
    return socket.send_with_flags(bytes, flags::NOSIGNAL);
    #[cfg(windows)]
    socket.send(bytes)
}

/// Sends what the system takes without blocking.
pub(super) fn try_send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(unix)]
    return socket.send_with_flags(bytes, flags::NOSIGNAL | flags::DONTWAIT);
    #[cfg(windows)]
    {
        // Winsock has no flag for one call. A socket that is writable takes a small piece at once.
        const PIECE: usize = 4 << 10;
        let want = Want {
            read: false,
            write: true,
        };
        poll(socket, want, Some(Duration::ZERO)).map_err(|_| io::ErrorKind::WouldBlock)?;
        socket.send(&bytes[..bytes.len().min(PIECE)])
    }
}

/// Receives what is there.
pub(super) fn try_recv(socket: &Socket, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    #[cfg(unix)]
    return socket.recv_with_flags(buf, flags::DONTWAIT);
    #[cfg(windows)]
    {
        // Only one reads at a time, so what is there stays there.
        let want = Want {
            read: true,
            write: false,
        };
        poll(socket, want, Some(Duration::ZERO)).map_err(|_| io::ErrorKind::WouldBlock)?;
        socket.recv(buf)
    }
}

/// Waits until the socket is as wanted, or has failed; `TimedOut` otherwise.
pub(super) fn poll(socket: &Socket, want: Want, timeout: Option<Duration>) -> io::Result<()> {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match poll_once(socket, want, left) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(io::ErrorKind::TimedOut.into()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(unix)]
fn poll_once(socket: &Socket, want: Want, left: Option<Duration>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, want.read);
    events.set(PollFlags::OUT, want.write);
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    let ready = poll(&mut [PollFd::new(socket, events)], left.as_ref())?;
    Ok(ready > 0)
}

#[cfg(windows)]
fn poll_once(socket: &Socket, want: Want, left: Option<Duration>) -> io::Result<bool> {
    use std::os::windows::io::AsRawSocket;
    use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, WSAPOLLFD, WSAPoll};
    let mut fd = WSAPOLLFD {
        fd: socket.as_raw_socket() as usize,
        events: (if want.read { POLLRDNORM } else { 0 })
            | (if want.write { POLLWRNORM } else { 0 }),
        revents: 0,
    };
    // Rounded up, so that a wait is never over before its time.
    let left = left.map_or(-1, |left| {
        i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: one descriptor, which lives through the call, of a socket that is open.
    match unsafe { WSAPoll(&mut fd, 1, left) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

/// Whether bytes are there, without taking them: `None` no, `Some(0)` closed.
pub(super) fn readable(socket: &Socket) -> io::Result<Option<usize>> {
    let mut byte = [MaybeUninit::uninit()];
    #[cfg(unix)]
    let peeked = socket.recv_with_flags(&mut byte, flags::PEEK | flags::DONTWAIT);
    #[cfg(windows)]
    let peeked = {
        let want = Want {
            read: true,
            write: false,
        };
        match poll(socket, want, Some(Duration::ZERO)) {
            Ok(()) => socket.peek(&mut byte),
            Err(_) => return Ok(None),
        }
    };
    match peeked {
        Ok(n) => Ok(Some(n)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}
