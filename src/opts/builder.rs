//! Building [`Opts`] by methods.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use mysql_common::{constants::CapabilityFlags, proto::codec::Compression};

use super::{
    Backend, Balance, Consistency, Isolation, LocalInfileHandler, Opts, Other, Prefer, SslOpts,
    UrlError,
    identity::Identity,
    secret::Secret,
    session::SessionOpts,
    target::{Endpoint, Fixed, LinkLimits, Pipelining, SocketOpts, Target},
    url,
};
use crate::session::{PinPolicy, PinReason, Policies};

/// Builds [`Opts`].
///
/// ```
/// use mysql_mux::{Opts, OptsBuilder};
///
/// let opts = Opts::from(OptsBuilder::new().user(Some("me")).pass(Some("hush")).db_name(Some("shop")));
/// assert!(!format!("{opts:?}").contains("hush"));
/// ```
#[derive(Debug, Clone)]
pub struct OptsBuilder {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) ssl: Option<SslOpts>,
    pub(super) fixed: Fixed,
    pub(super) net: SocketOpts,
    user: Option<String>,
    passwords: [Option<Secret>; 3],
    pub(super) cleartext_plugin: bool,
    server_public_key: Option<Vec<u8>>,
    server_key_path: Option<PathBuf>,
    pub(super) get_server_public_key: bool,
    pub(super) session: SessionOpts,
    other: Other,
    limits: LinkLimits,
    weight: u32,
    backends: Vec<Backend>,
}

/// Which transport is asked for; the socket's path is not forgotten while TCP is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Socket(PathBuf),
    Pipe(String),
}

impl Default for OptsBuilder {
    fn default() -> Self {
        OptsBuilder {
            host: "localhost".into(),
            port: 3306,
            transport: Transport::Tcp,
            ssl: None,
            fixed: Fixed {
                found_rows: false,
                ignore_space: false,
                interactive: false,
                multi_statements: true,
                no_schema: false,
                compress: None,
                connect_attrs: Some(default_attrs()),
                max_allowed_packet: None,
                charset: "utf8mb4".into(),
                collation: None,
                track_gtids: false,
                pipelining: Pipelining::Auto,
            },
            net: SocketOpts {
                nodelay: true,
                keepalive: None,
                keepalive_interval: None,
                keepalive_retries: None,
                user_timeout: None,
                bind_address: None,
                send_buffer: None,
                recv_buffer: None,
                connect_timeout: Duration::from_secs(10),
                read_timeout: None,
                write_timeout: None,
            },
            user: None,
            passwords: [None, None, None],
            cleartext_plugin: false,
            server_public_key: None,
            server_key_path: None,
            get_server_public_key: true,
            session: SessionOpts::default(),
            other: Other {
                isolation: Isolation::default(),
                max_result_size: 1 << 30,
                stmt_cache_size: 32,
                statement_timeout: None,
                keep_diagnostics: false,
                keep_insert_id: false,
                pin_policies: Policies::default(),
                local_infile_handler: None,
                prefer_socket: true,
                prefer: Prefer::default(),
                consistency: Consistency::default(),
                balance: Balance::default(),
                max_lag: None,
                fault: None,
            },
            limits: LinkLimits::default(),
            weight: 1,
            backends: Vec::new(),
        }
    }
}

fn default_attrs() -> BTreeMap<String, String> {
    let text = |s: &str| s.to_owned();
    BTreeMap::from([
        (text("_client_name"), text("mysql_mux")),
        (text("_client_version"), text(env!("CARGO_PKG_VERSION"))),
        (text("_os"), text(std::env::consts::OS)),
        (text("_platform"), text(std::env::consts::ARCH)),
        (text("_pid"), std::process::id().to_string()),
    ])
}

impl OptsBuilder {
    /// The defaults: TCP to localhost:3306, no user.
    pub fn new() -> Self {
        OptsBuilder::default()
    }

    /// Begins with options that are there.
    pub fn from_opts<T: Into<Opts>>(opts: T) -> Self {
        let opts: Opts = opts.into();
        let mut passwords = [None, None, None];
        for (place, secret) in passwords.iter_mut().zip(&opts.0.identity.passwords) {
            *place = Some(secret.clone());
        }
        let (host, port, transport) = match &opts.0.target.endpoint {
            Endpoint::Tcp { host, port } => (host.clone(), *port, Transport::Tcp),
            Endpoint::Socket { path } => {
                ("localhost".into(), 3306, Transport::Socket(path.clone()))
            }
            Endpoint::Pipe { server, name } => {
                (server.clone(), 3306, Transport::Pipe(name.clone()))
            }
        };
        OptsBuilder {
            host,
            port,
            transport,
            ssl: opts.0.target.ssl.clone(),
            fixed: opts.0.target.fixed.clone(),
            net: opts.0.target.socket.clone(),
            user: opts.0.identity.user.clone(),
            passwords,
            cleartext_plugin: opts.0.identity.cleartext_plugin,
            server_public_key: opts.0.identity.server_public_key.clone(),
            server_key_path: None,
            get_server_public_key: opts.0.identity.get_server_public_key,
            session: (*opts.0.session).clone(),
            other: opts.0.other.clone(),
            limits: opts.0.target.limits,
            weight: opts.backends().first().map_or(1, |(_, weight)| *weight),
            backends: further(&opts),
        }
    }

    /// Sets URL parameters by name; see [`Opts::from_url`].
    ///
    /// # Errors
    /// An unknown parameter, or a value that is not allowed.
    pub fn from_hash_map(mut self, parameters: &HashMap<String, String>) -> Result<Self, UrlError> {
        for (name, value) in parameters {
            self = url::set(self, name, value)?;
        }
        Ok(self)
    }

    fn fault(&mut self, fault: UrlError) {
        self.other.fault.get_or_insert(fault);
    }

    /// Host name, IPv4 or IPv6 address. Default: `localhost`.
    pub fn ip_or_hostname<T: Into<String>>(mut self, host: Option<T>) -> Self {
        self.host = host.map_or_else(|| "localhost".into(), Into::into);
        self
    }

    /// TCP port. Default: 3306.
    pub fn tcp_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// One more server, of the same data: reads go to those that are replicas, everything else to the one
    /// that takes writes, whichever that is at the time. All are logged in to as the same user, with the
    /// same TLS; the first one is that of [`Self::ip_or_hostname`]. In a URL: `mysql://user@one:3306,two/`.
    ///
    /// [`Isolation::Shared`] has one session, and therefore one server.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backends.push(backend);
        self
    }

    /// How much of what is read the first of several servers takes beside others. Default: 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }

    /// The most links to each server, at least 1, in place of what the mux says
    /// ([`MuxBuilder::max_links`](crate::MuxBuilder::max_links)). Handles with other limits have links of their own.
    pub fn max_links(mut self, links: usize) -> Self {
        self.limits.max_links = Some(links.max(1));
        self
    }

    /// Idle links to each server that are kept open, in place of what the mux says
    /// ([`MuxBuilder::min_idle_links`](crate::MuxBuilder::min_idle_links)).
    pub fn min_idle_links(mut self, links: usize) -> Self {
        self.limits.min_idle_links = Some(links);
        self
    }

    /// The most idle links to each server that are kept, at least 1, in place of what the mux says
    /// ([`MuxBuilder::max_idle_links`](crate::MuxBuilder::max_idle_links)).
    pub fn max_idle_links(mut self, links: usize) -> Self {
        self.limits.max_idle_links = Some(links.max(1));
        self
    }

    /// Which of several servers reads go to. Default: [`Prefer::Replica`].
    pub fn prefer(mut self, prefer: Prefer) -> Self {
        self.other.prefer = prefer;
        self
    }

    /// What reads from replicas know of the handle's writes. Default: [`Consistency::Session`].
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.other.consistency = consistency;
        self
    }

    /// Which of several replicas is read from. Default: [`Balance::PowerOfTwo`].
    pub fn balance(mut self, balance: Balance) -> Self {
        self.other.balance = balance;
        self
    }

    /// How far behind a replica may be that is read from, to half a second: how far it is known by the GTIDs
    /// of the primary and its own. Where there are none, none is read from. Default: `None`, however
    /// far.
    pub fn max_lag(mut self, lag: Option<Duration>) -> Self {
        self.other.max_lag = lag;
        self
    }

    /// Path of a Unix socket, used in place of TCP.
    pub fn socket<T: Into<PathBuf>>(mut self, path: Option<T>) -> Self {
        self.transport = path.map_or(Transport::Tcp, |path| Transport::Socket(path.into()));
        self
    }

    /// Name of a Windows named pipe (`MySQL`), used in place of TCP.
    pub fn pipe_name<T: Into<String>>(mut self, name: Option<T>) -> Self {
        self.transport = name.map_or(Transport::Tcp, |name| Transport::Pipe(name.into()));
        self
    }

    /// `false`: TCP even where a socket is given. Default: `true`.
    pub fn prefer_socket(mut self, prefer: bool) -> Self {
        self.other.prefer_socket = prefer;
        self
    }

    /// The user. Default: none (anonymous).
    pub fn user<T: Into<String>>(mut self, user: Option<T>) -> Self {
        self.user = user.map(Into::into);
        self
    }

    /// The password.
    pub fn pass<T: Into<String>>(mut self, pass: Option<T>) -> Self {
        self.passwords[0] = pass.map(|p| Secret::new(p.into()));
        self
    }

    /// The second authentication factor's password.
    pub fn pass2<T: Into<String>>(mut self, pass: Option<T>) -> Self {
        self.passwords[1] = pass.map(|p| Secret::new(p.into()));
        self
    }

    /// The third authentication factor's password.
    pub fn pass3<T: Into<String>>(mut self, pass: Option<T>) -> Self {
        self.passwords[2] = pass.map(|p| Secret::new(p.into()));
        self
    }

    /// The schema that a session begins in.
    pub fn db_name<T: Into<String>>(mut self, db_name: Option<T>) -> Self {
        self.session.db_name = db_name.map(Into::into);
        self
    }

    /// Statements that run before a session's first one, whichever link it gets.
    pub fn init<T: Into<String>>(mut self, init: Vec<T>) -> Self {
        self.session.init = init.into_iter().map(Into::into).collect();
        self
    }

    /// Requires TLS. Default: none.
    pub fn ssl_opts<T: Into<Option<SslOpts>>>(mut self, ssl: T) -> Self {
        self.ssl = ssl.into();
        if self.ssl.is_some() && !cfg!(feature = "rustls-tls") {
            self.fault(UrlError::FeatureRequired {
                parameter: "require_ssl",
                feature: "rustls-tls",
            });
        }
        self
    }

    /// Keeps what each statement leaves (warnings, `ROW_COUNT()`, `FOUND_ROWS()`) until the handle's
    /// next one, on a link that the handle therefore keeps to itself. Without it, what a statement left
    /// is there as long as nobody else used the link, and an error
    /// ([`Error::NotKept`](crate::Error::NotKept)) says so otherwise; a handle that asks for it once is
    /// remembered. Default: `false`. URL: `keep_diagnostics`.
    pub fn keep_diagnostics(mut self, keep: bool) -> Self {
        self.other.keep_diagnostics = keep;
        self
    }

    /// Asks the server for `LAST_INSERT_ID()` after each statement that may change it, so that a
    /// statement that uses it is right on whatever link it runs. Without it, that is done for
    /// statements after which it was asked for once. What
    /// [`Handle::last_insert_id`](crate::Handle::last_insert_id) tells needs neither. Default: `false`.
    /// URL: `keep_insert_id`.
    pub fn keep_insert_id(mut self, keep: bool) -> Self {
        self.other.keep_insert_id = keep;
        self
    }

    /// What is done about a reason to pin a link to the handle. Default: what the mux says
    /// ([`MuxBuilder::pin_policy`](crate::MuxBuilder::pin_policy)).
    ///
    /// ```
    /// use mysql_mux::{OptsBuilder, PinPolicy, PinReason};
    ///
    /// // Whoever needs a temporary table here should lease a link.
    /// let opts = OptsBuilder::default().pin_policy(PinReason::TemporaryTable, PinPolicy::Deny);
    /// ```
    pub fn pin_policy(mut self, reason: PinReason, policy: PinPolicy) -> Self {
        self.other.pin_policies.set(reason, policy);
        self
    }

    /// Isolation mode. Default: [`Isolation::Session`].
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.other.isolation = isolation;
        self
    }

    /// Bytes that one statement's results may take. Default: 1 GiB.
    pub fn max_result_size(mut self, bytes: usize) -> Self {
        self.other.max_result_size = bytes;
        self
    }

    /// Statements that a link keeps prepared. Default: 32.
    pub fn stmt_cache_size<T: Into<Option<usize>>>(mut self, statements: T) -> Self {
        self.other.stmt_cache_size = statements.into().unwrap_or(32);
        self
    }

    /// What answers a server that asks for a local file. Default: nothing does.
    pub fn local_infile_handler(mut self, handler: Option<LocalInfileHandler>) -> Self {
        self.other.local_infile_handler = handler;
        self
    }

    /// The largest packet to send, bytes. Default: as large as the server takes.
    pub fn max_allowed_packet(mut self, bytes: Option<usize>) -> Self {
        self.fixed.max_allowed_packet = bytes;
        self
    }

    /// Compresses what goes over the wire. Needs the cargo feature `compress`. Default: none.
    pub fn compress(mut self, compress: Option<Compression>) -> Self {
        if compress.is_some() && !cfg!(feature = "compress") {
            self.fault(UrlError::FeatureRequired {
                parameter: "compress",
                feature: "compress",
            });
        }
        self.fixed.compress = compress.map(|level| level.level());
        self
    }

    /// More of what the handshake fixes: `CLIENT_FOUND_ROWS`, `CLIENT_IGNORE_SPACE`,
    /// `CLIENT_INTERACTIVE`, `CLIENT_NO_SCHEMA`, `CLIENT_MULTI_STATEMENTS`; others are an error when
    /// a handle opens.
    pub fn additional_capabilities(mut self, flags: CapabilityFlags) -> Self {
        use CapabilityFlags as C;
        self.fixed.found_rows |= flags.contains(C::CLIENT_FOUND_ROWS);
        self.fixed.ignore_space |= flags.contains(C::CLIENT_IGNORE_SPACE);
        self.fixed.interactive |= flags.contains(C::CLIENT_INTERACTIVE);
        self.fixed.no_schema |= flags.contains(C::CLIENT_NO_SCHEMA);
        self.fixed.multi_statements |= flags.contains(C::CLIENT_MULTI_STATEMENTS);
        let known = C::CLIENT_FOUND_ROWS
            | C::CLIENT_IGNORE_SPACE
            | C::CLIENT_INTERACTIVE
            | C::CLIENT_NO_SCHEMA
            | C::CLIENT_MULTI_STATEMENTS;
        let other = flags - known;
        if !other.is_empty() {
            self.fault(UrlError::InvalidValue {
                parameter: "additional_capabilities",
                value: format!("{other:?}"),
                allowed: "flags that the library doesn't manage itself",
            });
        }
        self
    }

    /// The connection's character set, for `SET NAMES`. Default: `utf8mb4`.
    pub fn charset<T: Into<String>>(mut self, charset: T) -> Self {
        self.fixed.charset = charset.into();
        self
    }

    /// The connection's collation. Default: the server's for the character set.
    pub fn collation<T: Into<String>>(mut self, collation: Option<T>) -> Self {
        self.fixed.collation = collation.map(Into::into);
        self
    }

    /// Affected rows count the rows that matched, changed or not. Default: `false`.
    pub fn found_rows(mut self, found_rows: bool) -> Self {
        self.fixed.found_rows = found_rows;
        self
    }

    /// Several statements in one query. Default: `true`.
    pub fn multi_statements(mut self, allow: bool) -> Self {
        self.fixed.multi_statements = allow;
        self
    }

    /// Connect attributes beside the library's own; `None` sends none at all.
    pub fn connect_attrs<K, V>(mut self, attrs: Option<HashMap<K, V>>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.fixed.connect_attrs = attrs.map(|attrs| {
            let mut all = default_attrs();
            all.extend(attrs.into_iter().map(|(k, v)| (k.into(), v.into())));
            all
        });
        self
    }

    /// Allows `mysql_clear_password`, over TLS or a local socket. Default: `false`.
    pub fn enable_cleartext_plugin(mut self, enable: bool) -> Self {
        self.cleartext_plugin = enable;
        self
    }

    /// PEM of the server's RSA key, for SHA-256 authentication without TLS.
    pub fn server_public_key(mut self, pem: Option<Vec<u8>>) -> Self {
        self.server_public_key = pem;
        self
    }

    /// A file with the PEM of the server's RSA key; read when the options are built.
    pub fn server_key_path<T: Into<PathBuf>>(mut self, path: Option<T>) -> Self {
        self.server_key_path = path.map(Into::into);
        self
    }

    /// The server may be asked for its RSA key; somebody in between could then give another and learn
    /// the password. Default: `true`, as in the `mysql` crate.
    pub fn get_server_public_key(mut self, allow: bool) -> Self {
        self.get_server_public_key = allow;
        self
    }

    /// `TCP_NODELAY`. Default: `true`.
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.net.nodelay = nodelay;
        self
    }

    /// Milliseconds of silence before TCP probes the peer. Default: never.
    pub fn tcp_keepalive_time_ms(mut self, ms: Option<u32>) -> Self {
        self.net.keepalive = ms.map(millis);
        self
    }

    /// Seconds between TCP's probes. Default: the system's.
    pub fn tcp_keepalive_probe_interval_secs(mut self, seconds: Option<u32>) -> Self {
        self.net.keepalive_interval = seconds.map(|s| Duration::from_secs(s.into()));
        self
    }

    /// TCP's probes before a connection is dead. Default: the system's.
    pub fn tcp_keepalive_probe_count(mut self, count: Option<u32>) -> Self {
        self.net.keepalive_retries = count;
        self
    }

    /// Milliseconds that sent bytes may go unacknowledged (Linux). Default: the system's.
    pub fn tcp_user_timeout_ms(mut self, ms: Option<u32>) -> Self {
        self.net.user_timeout = ms.map(millis);
        self
    }

    /// How long a connect may take, TLS and authentication included. Default: 10 s.
    pub fn tcp_connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.net.connect_timeout = timeout.unwrap_or(Duration::from_secs(10));
        self
    }

    /// How long a statement may take, from the call on; then it is ended and the caller gets
    /// [`Error::StatementTimeout`](crate::Error::StatementTimeout). Of a stream it is the time to its
    /// first rows. Default: for ever.
    pub fn statement_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.other.statement_timeout = timeout;
        self
    }

    /// Whether the server is sent commands before it has answered the ones before. Default:
    /// [`Pipelining::Auto`].
    pub fn pipelining(mut self, pipelining: Pipelining) -> Self {
        self.fixed.pipelining = pipelining;
        self
    }

    /// How long the server may be silent within an answer; then the link is closed. Default: for ever.
    pub fn read_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.net.read_timeout = timeout;
        self
    }

    /// How long a write may take; then the link is closed. Default: for ever.
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.net.write_timeout = timeout;
        self
    }

    /// The local address to connect from. Default: the system chooses.
    pub fn bind_address<T: Into<SocketAddr>>(mut self, address: Option<T>) -> Self {
        self.net.bind_address = address.map(Into::into);
        self
    }
}

/// What further servers were given as. Others than by TCP there are none.
fn further(opts: &Opts) -> Vec<Backend> {
    let further = opts.backends().iter().skip(1).map(|(one, weight)| {
        let mut backend =
            Backend::new(one.get_ip_or_hostname(), one.get_tcp_port()).weight(*weight);
        // Limits that hold for all go on to do so when they are changed.
        backend.limits = one.target().limits.beside(opts.target().limits);
        backend
    });
    further.collect()
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

impl From<OptsBuilder> for Opts {
    fn from(mut builder: OptsBuilder) -> Opts {
        if let Some(path) = builder.server_key_path.take() {
            match fs::read(&path) {
                Ok(pem) => builder.server_public_key = Some(pem),
                Err(e) => builder.fault(UrlError::File {
                    path,
                    what: e.to_string(),
                }),
            }
        }
        for name in [
            Some(builder.fixed.charset.clone()),
            builder.fixed.collation.clone(),
        ]
        .into_iter()
        .flatten()
        {
            // It becomes part of a statement.
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                builder.fault(UrlError::InvalidValue {
                    parameter: "charset",
                    value: name,
                    allowed: "letters, digits and underscores",
                });
                break;
            }
        }
        let socket_unused =
            !builder.other.prefer_socket && matches!(builder.transport, Transport::Socket(_));
        let endpoint = match builder.transport {
            Transport::Socket(path) if !socket_unused => Endpoint::Socket { path },
            Transport::Pipe(name) => {
                let server = if builder.host == "localhost" {
                    ".".into()
                } else {
                    builder.host
                };
                Endpoint::Pipe { server, name }
            }
            _ => Endpoint::Tcp {
                host: builder.host,
                port: builder.port,
            },
        };
        if !builder.backends.is_empty() && builder.other.isolation == Isolation::Shared {
            builder.other.fault.get_or_insert(UrlError::InvalidValue {
                parameter: "isolation",
                value: "shared".to_owned(),
                allowed: "reset or session, where there are several servers",
            });
        }
        builder.fixed.track_gtids = !builder.backends.is_empty();
        let target = Target {
            endpoint,
            ssl: builder.ssl,
            fixed: builder.fixed,
            socket: builder.net,
            limits: builder.limits,
        };
        let last = builder
            .passwords
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |at| at + 1);
        let identity = Identity {
            user: builder.user,
            passwords: builder
                .passwords
                .into_iter()
                .take(last)
                .map(|p| p.unwrap_or_else(|| Secret::new(Vec::new())))
                .collect(),
            cleartext_plugin: builder.cleartext_plugin,
            server_public_key: builder.server_public_key,
            get_server_public_key: builder.get_server_public_key,
        };
        let (weight, others) = (builder.weight, &builder.backends);
        Opts::new(
            target,
            identity,
            builder.session,
            builder.other,
            weight,
            others,
        )
    }
}
