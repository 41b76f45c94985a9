//! What a link goes to and what the handshake fixes for its life. Equal targets may share links;
//! whatever differs here keeps handles apart. The user is not part of it: see [`super::identity`].

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::ssl::SslOpts;

/// The key of a group of links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub endpoint: Endpoint,
    /// `None`: no TLS. There is no mode that tries TLS and goes on without it.
    pub ssl: Option<SslOpts>,
    pub fixed: Fixed,
    pub socket: SocketOpts,
    pub limits: LinkLimits,
}

/// How many links there may be, where that is not what the mux says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LinkLimits {
    pub max_links: Option<usize>,
    pub min_idle_links: Option<usize>,
    pub max_idle_links: Option<usize>,
}

impl LinkLimits {
    /// The others' where these say nothing.
    pub(super) fn or(self, others: LinkLimits) -> LinkLimits {
        LinkLimits {
            max_links: self.max_links.or(others.max_links),
            min_idle_links: self.min_idle_links.or(others.min_idle_links),
            max_idle_links: self.max_idle_links.or(others.max_idle_links),
        }
    }

    /// What these say that the others don't.
    pub(super) fn beside(self, others: LinkLimits) -> LinkLimits {
        let own = |own: Option<usize>, other| own.filter(|_| own != other);
        LinkLimits {
            max_links: own(self.max_links, others.max_links),
            min_idle_links: own(self.min_idle_links, others.min_idle_links),
            max_idle_links: own(self.max_idle_links, others.max_idle_links),
        }
    }
}

/// Transport and address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    Socket {
        path: PathBuf,
    },
    /// A Windows named pipe, by its name without `\\.\pipe\`; `server` is `.` for this machine.
    Pipe {
        server: String,
        name: String,
    },
}

/// What the handshake fixes and a user can observe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fixed {
    /// `CLIENT_FOUND_ROWS`: affected rows count matched rows.
    pub found_rows: bool,
    /// `CLIENT_IGNORE_SPACE`.
    pub ignore_space: bool,
    /// `CLIENT_INTERACTIVE`: the server uses `interactive_timeout` for `wait_timeout`.
    pub interactive: bool,
    /// `CLIENT_MULTI_STATEMENTS`.
    pub multi_statements: bool,
    /// `CLIENT_NO_SCHEMA`.
    pub no_schema: bool,
    /// zlib level 0-9; `None`: no compression.
    pub compress: Option<u32>,
    /// Connect attributes; `None` sends none.
    pub connect_attrs: Option<BTreeMap<String, String>>,
    /// The largest packet to send or accept, bytes; `None`: the server's `max_allowed_packet`.
    pub max_allowed_packet: Option<usize>,
    /// The connection's character set, for `SET NAMES` (`utf8mb4`), and its collation if given.
    pub charset: String,
    pub collation: Option<String>,
    /// The server is asked to tell the GTIDs of what is written.
    pub track_gtids: bool,
    pub pipelining: Pipelining,
}

/// Whether a server is sent commands before it has answered the ones before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pipelining {
    /// It is, unless the first connect finds that what stands between can't take it. Default.
    #[default]
    Auto,
    /// It is.
    On,
    /// It is not: for proxies that answer out of order or not at all.
    Off,
}

/// What is asked of the operating system's socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketOpts {
    pub nodelay: bool,
    /// Idle time before the first keepalive probe.
    pub keepalive: Option<Duration>,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_retries: Option<u32>,
    /// Linux `TCP_USER_TIMEOUT`.
    pub user_timeout: Option<Duration>,
    pub bind_address: Option<SocketAddr>,
    pub send_buffer: Option<usize>,
    pub recv_buffer: Option<usize>,
    /// From the first packet to the end of authentication, TLS and all addresses included.
    pub connect_timeout: Duration,
    pub read_timeout: Option<Duration>,
    pub write_timeout: Option<Duration>,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Socket { path } => write!(f, "socket {}", path.display()),
            Endpoint::Pipe { server, name } => write!(f, r"pipe \\{server}\pipe\{name}"),
        }
    }
}
