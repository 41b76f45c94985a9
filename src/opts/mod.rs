//! Options: where to, as whom, and what a session begins with.
//!
//! [`Opts`] are cheap to clone and keep apart what decides which links fit: the target (the key of
//! a group), the identity, and the session's beginning.

mod backends;
mod builder;
mod change_user;
pub(crate) mod identity;
mod local_infile;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod ssl;
pub(crate) mod target;
mod url;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    str::FromStr,
    sync::{Arc, Weak},
    time::Duration,
};

use mysql_common::proto::codec::Compression;

pub use backends::{Backend, Balance, Consistency, Prefer};
pub use builder::OptsBuilder;
pub use change_user::ChangeUserOpts;
pub use local_infile::{LocalInfile, LocalInfileHandler};
pub use ssl::{ClientIdentity, SslOpts};
pub use target::Pipelining;
pub use url::UrlError;

use crate::session::{PinPolicy, PinReason, Policies};

use identity::Identity;
use session::SessionOpts;
use target::{Endpoint, Target};

/// How handles of one identity share links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// One link, and one session on it, for all handles of the same key, identity, schema and init
    /// statements: what one handle sets, the others see. This is what PECL/mysqlnd_mux did.
    Shared,
    /// A link is reset whenever another handle takes it, and stays with its handle while its session
    /// has what only the server holds: an open transaction, table locks, variables that were set,
    /// temporary tables. (Not noticed are user variables assigned within a `SELECT`, `GET_LOCK`,
    /// `HANDLER` and `LAST_INSERT_ID()`: use them inside a transaction.)
    Reset,
    /// A session of its own for every handle, over shared links. What can be set again (the schema,
    /// system variables, character sets, the last insert id) goes with the handle to whatever link;
    /// what only the server holds keeps a link with the handle, for a reason that
    /// [`Handle::pin`](crate::Handle::pin) tells.
    #[default]
    Session,
}

/// Options of a handle.
///
/// ```
/// use mysql_mux::{Opts, OptsBuilder};
///
/// let opts = Opts::from_url("mysql://user:p%40ss@db.example:3307/shop?tcp_connect_timeout_ms=2000")?;
/// assert_eq!(opts.get_tcp_port(), 3307);
/// let builder = OptsBuilder::from_opts(opts).db_name(Some("archive"));
/// # Ok::<(), mysql_mux::UrlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Opts(Arc<Parts>);

/// Knows options again, and keeps nothing of what they hold.
#[derive(Debug)]
pub(crate) struct OptsMark(Weak<Parts>);

impl OptsMark {
    /// The same options, and not only equal ones: no others get their address while this is there.
    #[inline]
    pub(crate) fn is_of(&self, opts: &Opts) -> bool {
        std::ptr::eq(self.0.as_ptr(), &*opts.0)
    }
}

/// One count for all of them: options are cloned for each handle.
#[derive(Debug)]
struct Parts {
    target: Arc<Target>,
    target_hash: u64,
    identity: Arc<Identity>,
    session: Arc<SessionOpts>,
    other: Other,
    /// Where there are several servers: the options of each, with its weight. Else there are none.
    backends: Arc<[(Opts, u32)]>,
}

/// What does not decide which links fit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Other {
    isolation: Isolation,
    max_result_size: usize,
    stmt_cache_size: usize,
    statement_timeout: Option<Duration>,
    keep_diagnostics: bool,
    keep_insert_id: bool,
    pin_policies: Policies,
    local_infile_handler: Option<LocalInfileHandler>,
    prefer_socket: bool,
    prefer: Prefer,
    consistency: Consistency,
    balance: Balance,
    max_lag: Option<Duration>,
    /// Why these options can't be used, found while they were built.
    fault: Option<UrlError>,
}

impl PartialEq for Opts {
    fn eq(&self, other: &Self) -> bool {
        self.0.target == other.0.target
            && self.0.identity == other.0.identity
            && self.0.session == other.0.session
            && self.0.other == other.0.other
            && self.0.backends == other.0.backends
    }
}

impl Eq for Opts {}

impl Opts {
    /// Reads `mysql://user:password@host:port/schema?parameter=value&…`.
    ///
    /// # Errors
    /// A URL that can't be read, a parameter that is not known (the nearest one is named), a value
    /// that is not allowed.
    pub fn from_url(url: &str) -> Result<Opts, UrlError> {
        let opts = Opts::from(url::parse(url)?);
        opts.check()?;
        Ok(opts)
    }

    /// `weight`: the first server's, where there are others.
    fn new(
        target: Target,
        identity: Identity,
        session: SessionOpts,
        other: Other,
        weight: u32,
        others: &[Backend],
    ) -> Opts {
        let first = Opts::of_one(target, Arc::new(identity), Arc::new(session), other);
        if others.is_empty() {
            return first;
        }
        let more = others.iter().map(|backend| first.of_backend(backend));
        let all = std::iter::once((first.clone(), weight)).chain(more);
        first.with(|parts| parts.backends = all.collect())
    }

    /// The same for another server, and its weight.
    pub(crate) fn of_backend(&self, backend: &Backend) -> (Opts, u32) {
        let Parts {
            target,
            identity,
            session,
            other,
            ..
        } = &*self.0;
        let target = Target {
            endpoint: backend.endpoint(),
            limits: backend.limits.or(target.limits),
            ..(**target).clone()
        };
        let opts = Opts::of_one(target, identity.clone(), session.clone(), other.clone());
        (opts, backend.weight)
    }

    fn of_one(
        target: Target,
        identity: Arc<Identity>,
        session: Arc<SessionOpts>,
        other: Other,
    ) -> Opts {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        Opts(Arc::new(Parts {
            target_hash: hasher.finish(),
            target: Arc::new(target),
            identity,
            session,
            other,
            backends: Arc::default(),
        }))
    }

    /// The same, but for what is changed.
    fn with(&self, change: impl FnOnce(&mut Parts)) -> Opts {
        let parts = &*self.0;
        let mut parts = Parts {
            target: parts.target.clone(),
            target_hash: parts.target_hash,
            identity: parts.identity.clone(),
            session: parts.session.clone(),
            other: parts.other.clone(),
            backends: parts.backends.clone(),
        };
        change(&mut parts);
        Opts(Arc::new(parts))
    }

    pub(crate) fn mark(&self) -> OptsMark {
        OptsMark(Arc::downgrade(&self.0))
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.0.target
    }

    pub(crate) fn target_hash(&self) -> u64 {
        self.0.target_hash
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.0.identity
    }

    pub(crate) fn session(&self) -> &Arc<SessionOpts> {
        &self.0.session
    }

    /// The options can be used.
    pub(crate) fn check(&self) -> Result<(), UrlError> {
        self.0.other.fault.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn with_local_infile_handler(&self, handler: Option<LocalInfileHandler>) -> Opts {
        self.with(|parts| parts.other.local_infile_handler = handler)
    }

    /// Each of several servers, with its weight; nothing, where there is one.
    pub(crate) fn backends(&self) -> &[(Opts, u32)] {
        &self.0.backends
    }

    /// Which of several servers reads prefer. Default: [`Prefer::Replica`].
    pub fn get_prefer(&self) -> Prefer {
        self.0.other.prefer
    }

    /// What reads from replicas know of the handle's writes. Default: [`Consistency::Session`].
    pub fn get_consistency(&self) -> Consistency {
        self.0.other.consistency
    }

    /// Which of several replicas is read from. Default: [`Balance::PowerOfTwo`].
    pub fn get_balance(&self) -> Balance {
        self.0.other.balance
    }

    /// How far behind a replica may be that is read from. Default: whatever it is.
    pub fn get_max_lag(&self) -> Option<Duration> {
        self.0.other.max_lag
    }

    /// The most links to the server. Default: `None`, as many as the mux says.
    pub fn get_max_links(&self) -> Option<usize> {
        self.0.target.limits.max_links
    }

    /// Idle links to the server that are kept open. Default: `None`, as many as the mux says.
    pub fn get_min_idle_links(&self) -> Option<usize> {
        self.0.target.limits.min_idle_links
    }

    /// The most idle links to the server that are kept. Default: `None`, as many as the mux says.
    pub fn get_max_idle_links(&self) -> Option<usize> {
        self.0.target.limits.max_idle_links
    }

    /// Host name or address; of a socket or pipe `localhost`.
    pub fn get_ip_or_hostname(&self) -> &str {
        match &self.0.target.endpoint {
            Endpoint::Tcp { host, .. } => host,
            _ => "localhost",
        }
    }

    /// TCP port; of a socket or pipe 0. Default: 3306.
    pub fn get_tcp_port(&self) -> u16 {
        match &self.0.target.endpoint {
            Endpoint::Tcp { port, .. } => *port,
            _ => 0,
        }
    }

    /// The Unix socket's path, where one is used.
    pub fn get_socket(&self) -> Option<&Path> {
        match &self.0.target.endpoint {
            Endpoint::Socket { path } => Some(path),
            _ => None,
        }
    }

    /// The Windows named pipe's name, where one is used.
    pub fn get_pipe_name(&self) -> Option<&str> {
        match &self.0.target.endpoint {
            Endpoint::Pipe { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The user.
    pub fn get_user(&self) -> Option<&str> {
        self.0.identity.user.as_deref()
    }

    /// The password.
    pub fn get_pass(&self) -> Option<&str> {
        self.0
            .identity
            .passwords
            .first()
            .and_then(|p| std::str::from_utf8(p.expose()).ok())
    }

    /// The schema that a session begins in.
    pub fn get_db_name(&self) -> Option<&str> {
        self.0.session.db_name.as_deref()
    }

    /// Statements that run before a session's first one.
    pub fn get_init(&self) -> Vec<String> {
        self.0.session.init.clone()
    }

    /// TLS options.
    pub fn get_ssl_opts(&self) -> Option<&SslOpts> {
        self.0.target.ssl.as_ref()
    }

    /// What each statement leaves for the next is kept. Default: no, until the handle asks for it.
    pub fn get_keep_diagnostics(&self) -> bool {
        self.0.other.keep_diagnostics
    }

    /// `LAST_INSERT_ID()` is asked for after each statement that may change it. Default: no, until it
    /// is asked for after that statement.
    pub fn get_keep_insert_id(&self) -> bool {
        self.0.other.keep_insert_id
    }

    /// What is done about a reason to pin. Default: `None`, what the mux says.
    pub fn get_pin_policy(&self, reason: PinReason) -> Option<PinPolicy> {
        self.0.other.pin_policies.get(reason)
    }

    /// The isolation mode. Default: [`Isolation::Session`].
    pub fn get_isolation(&self) -> Isolation {
        self.0.other.isolation
    }

    /// Bytes that one statement's results may take. Default: 1 GiB.
    pub fn get_max_result_size(&self) -> usize {
        self.0.other.max_result_size
    }

    /// Statements that a link keeps prepared. Default: 32.
    pub fn get_stmt_cache_size(&self) -> usize {
        self.0.other.stmt_cache_size
    }

    /// How long a statement may take. Default: for ever.
    pub fn get_statement_timeout(&self) -> Option<Duration> {
        self.0.other.statement_timeout
    }

    /// Whether a server is sent commands before it has answered the ones before.
    pub fn get_pipelining(&self) -> Pipelining {
        self.0.target.fixed.pipelining
    }

    /// The handler of local files.
    pub fn get_local_infile_handler(&self) -> Option<&LocalInfileHandler> {
        self.0.other.local_infile_handler.as_ref()
    }

    /// Whether a socket is preferred to TCP on the loopback. Default: `true`.
    pub fn get_prefer_socket(&self) -> bool {
        self.0.other.prefer_socket
    }

    /// The largest packet to send, bytes; `None`: as large as the server takes.
    pub fn get_max_allowed_packet(&self) -> Option<usize> {
        self.0.target.fixed.max_allowed_packet
    }

    /// Compression, where it is asked for.
    pub fn get_compress(&self) -> Option<Compression> {
        self.0.target.fixed.compress.map(Compression::new)
    }

    /// Connect attributes.
    pub fn get_connect_attrs(&self) -> Option<&BTreeMap<String, String>> {
        self.0.target.fixed.connect_attrs.as_ref()
    }

    /// Whether `mysql_clear_password` is allowed. Default: `false`.
    pub fn get_enable_cleartext_plugin(&self) -> bool {
        self.0.identity.cleartext_plugin
    }

    /// `TCP_NODELAY`. Default: `true`.
    pub fn get_tcp_nodelay(&self) -> bool {
        self.0.target.socket.nodelay
    }

    /// Milliseconds of silence before TCP probes the peer. Default: never.
    pub fn get_tcp_keepalive_time_ms(&self) -> Option<u32> {
        self.0.target.socket.keepalive.map(|d| d.as_millis() as u32)
    }

    /// How long a connect may take, TLS and authentication included. Default: 10 s.
    pub fn get_tcp_connect_timeout(&self) -> Duration {
        self.0.target.socket.connect_timeout
    }

    /// How long the server may be silent within an answer. Default: for ever.
    pub fn get_read_timeout(&self) -> Option<Duration> {
        self.0.target.socket.read_timeout
    }

    /// How long a write may take. Default: for ever.
    pub fn get_write_timeout(&self) -> Option<Duration> {
        self.0.target.socket.write_timeout
    }
}

impl FromStr for Opts {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Opts, UrlError> {
        Opts::from_url(url)
    }
}

impl TryFrom<&str> for Opts {
    type Error = UrlError;

    fn try_from(url: &str) -> Result<Opts, UrlError> {
        Opts::from_url(url)
    }
}

impl TryFrom<&String> for Opts {
    type Error = UrlError;

    fn try_from(url: &String) -> Result<Opts, UrlError> {
        Opts::from_url(url)
    }
}

impl TryFrom<String> for Opts {
    type Error = UrlError;

    fn try_from(url: String) -> Result<Opts, UrlError> {
        Opts::from_url(&url)
    }
}

impl From<&Opts> for Opts {
    fn from(opts: &Opts) -> Opts {
        opts.clone()
    }
}
