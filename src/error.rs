//! Errors: what was attempted, on which server, whether the statement may have run, what to do.
//!
//! Knows nothing of how anything is done; every other module uses it. No secret gets in here.

use std::{fmt, io, sync::Arc, time::Duration};

pub use mysql_common::{FromRowError, FromValueError};

pub use crate::opts::UrlError;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Cheap to clone: one failed connect may be many handles' error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered a statement with an error. The link and the handle stay usable.
    #[error(transparent)]
    MySqlError(#[from] MySqlError),
    /// No link could be opened.
    #[error(transparent)]
    ConnectError(Arc<ConnectError>),
    /// A link ended under a statement.
    #[error(transparent)]
    ConnectionLost(Arc<ConnectionLost>),
    /// State that only the server held went with a link. Told once; the handle goes on with a
    /// session as new.
    #[error("session state is gone with the link to {server}: {lost}; run what set it again")]
    SessionLost {
        /// The server.
        server: Arc<str>,
        /// What is gone.
        lost: String,
    },
    /// A session could not be put on another link as it was. The statement was not run; the handle
    /// goes on as it was, and fails again until [`Handle::reset`](crate::Handle::reset) or until the
    /// variables that are named are set to something else.
    #[error(
        "the session can't be restored on a link to {server}: {what}; the statement was not run"
    )]
    SessionNotRestored {
        /// The server.
        server: Arc<str>,
        /// What could not be restored.
        what: String,
    },
    /// What the handle's last statement left was asked for, and another's statement has run on its
    /// link since. The statement was not run. The handle is served right from here on.
    #[error(
        "what the last statement left ({what}) is gone, because another handle used the link to \
         {server} since; the statement was not run. Have it kept with {option}"
    )]
    NotKept {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        what: &'static str,
        /// The option that keeps it from the start.
        option: &'static str,
    },
    /// The statement would pin a link to its handle, which the options don't allow. It was not sent.
    #[error("{reason} is not allowed here (pin_policy); the statement was not sent: {statement}")]
    PinDenied {
        /// Why it would pin.
        reason: crate::PinReason,
        /// The statement, without its literals.
        statement: String,
    },
    /// No link came free within `acquire_timeout`.
    #[error(transparent)]
    AcquireTimeout(Arc<AcquireTimeout>),
    /// None of several servers could be used for the statement within `acquire_timeout`. It was not sent.
    #[error(transparent)]
    NoBackend(Arc<NoBackend>),
    /// A statement took longer than it may.
    #[error(transparent)]
    StatementTimeout(Arc<StatementTimeout>),
    /// The packet is larger than the server accepts; it was not sent and the link lives.
    #[error(
        "a packet of {size} bytes is over max_allowed_packet = {max}; it was not sent. \
         Send less, or raise max_allowed_packet on the server"
    )]
    PacketTooLarge {
        /// Bytes of the packet.
        size: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// A result is larger than `max_result_size`. The statement has run.
    #[error("the result is over max_result_size = {max} bytes; select less or raise the limit")]
    ResultTooLarge {
        /// Bytes that are allowed.
        max: usize,
    },
    /// Options that don't go together or a URL that can't be read.
    #[error(transparent)]
    UrlError(#[from] UrlError),
    /// Something was asked for that can't be done; nothing was sent.
    #[error(transparent)]
    DriverError(#[from] DriverError),
    /// A row that the server sent doesn't fit its columns.
    #[error("a row can't be read: {0}")]
    MalformedRow(String),
    /// A value has another type than it is wanted as.
    #[error(transparent)]
    FromValueError(#[from] FromValueError),
    /// A row has other columns than it is wanted as.
    #[error(transparent)]
    FromRowError(#[from] FromRowError),
}

/// An error that the server reported (ERR packet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySqlError {
    /// SQLSTATE, five characters (`HY000` where the server sent none).
    pub state: String,
    /// The server's message. Bytes that are no UTF-8 are replaced.
    pub message: String,
    /// The server's error number.
    pub code: u16,
}

impl fmt::Display for MySqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {} ({}): {}", self.code, self.state, self.message)
    }
}

impl std::error::Error for MySqlError {}

/// Why no link could be opened, and to what.
#[derive(Debug, Clone)]
pub struct ConnectError {
    /// The server, as the options name it.
    pub server: String,
    /// The user, without credentials.
    pub user: Option<String>,
    /// How far it came.
    pub phase: ConnectPhase,
    /// What went wrong.
    pub cause: ConnectCause,
}

/// The step of a connect that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectPhase {
    /// Looking up the host's addresses.
    Resolve,
    /// Opening the socket or pipe.
    Open,
    /// Reading the server's greeting.
    Greeting,
    /// The TLS handshake.
    Tls,
    /// Proving who the user is.
    Authenticate,
    /// Preparing the session.
    Setup,
}

impl fmt::Display for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectPhase::Resolve => "looking up the host",
            ConnectPhase::Open => "opening the connection",
            ConnectPhase::Greeting => "reading the server's greeting",
            ConnectPhase::Tls => "the TLS handshake",
            ConnectPhase::Authenticate => "authenticating",
            ConnectPhase::Setup => "preparing the session",
        })
    }
}

/// What stopped a connect.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectCause {
    /// The operating system's word.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// Over the connect timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server's word.
    #[error("{0}")]
    Server(MySqlError),
    /// The server's bytes are not what the protocol allows.
    #[error("{0}")]
    Protocol(ProtocolError),
    /// The server can't do what the options ask for.
    #[error("{0}")]
    Unsupported(String),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(String),
    /// Authentication can't go on, for the reason told.
    #[error("{0}")]
    Auth(AuthError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't connect to {}", self.server)?;
        if let Some(user) = &self.user {
            write!(f, " as '{user}'")?;
        }
        write!(f, ": {}: {}", self.phase, self.cause)?;
        if let Some(hint) = self.hint() {
            write!(f, ". {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl ConnectError {
    /// The server's error number, where the server said no.
    pub fn code(&self) -> Option<u16> {
        match &self.cause {
            ConnectCause::Server(e) => Some(e.code),
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.cause {
            ConnectCause::Server(e) => match e.code {
                1040 => Some("The server is at max_connections: close some, or raise it"),
                1044 | 1045 | 1698 => {
                    Some("Check user, password, and from which host this user may come")
                }
                1049 => Some("Create the schema, or connect without one"),
                1129 => {
                    Some("The server blocks this host after too many errors: FLUSH HOSTS on it")
                }
                1130 => Some("The server has no user that may come from this host"),
                1203 | 1226 => Some("The user is at its limit of connections"),
                1820 | 1862 => Some("The password has expired: change it with ALTER USER"),
                3118 | 4151 => Some("The account is locked: ALTER USER … ACCOUNT UNLOCK"),
                3159 => Some("The server takes this user over TLS only: set require_ssl=true"),
                _ => None,
            },
            ConnectCause::Io(e) => match e.kind() {
                io::ErrorKind::ConnectionRefused => {
                    Some("Nobody listens there: is the server up, and is the port right?")
                }
                io::ErrorKind::NotFound => Some("Is the server up, and is the path right?"),
                _ => None,
            },
            _ => None,
        }
    }

    /// Trying again may help: the server restarts, or is full. Wrong credentials are not transient.
    pub fn is_transient(&self) -> bool {
        match &self.cause {
            ConnectCause::Server(e) => {
                matches!(
                    e.code,
                    1040 | 1053 | 1152 | 1158..=1161 | 1203 | 1226 | 3168
                )
            }
            ConnectCause::Io(e) => {
                use io::ErrorKind as K;
                self.phase != ConnectPhase::Resolve
                    && matches!(
                        e.kind(),
                        K::ConnectionRefused
                            | K::ConnectionReset
                            | K::ConnectionAborted
                            | K::BrokenPipe
                            | K::UnexpectedEof
                            | K::NotFound
                            | K::WouldBlock
                    )
            }
            _ => false,
        }
    }
}

/// Authentication can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server wants a plugin that is not built in.
    #[error("the server asks for authentication plugin '{0}', which is not supported")]
    UnsupportedPlugin(String),
    /// The plugin needs a cargo feature.
    #[error("authentication plugin '{plugin}' needs the cargo feature '{feature}'")]
    FeatureRequired {
        /// The plugin.
        plugin: &'static str,
        /// The feature of this crate.
        feature: &'static str,
    },
    /// The scramble of MySQL 3.23, which can be broken by listening.
    #[error(
        "the server asks for the pre-4.1 password scramble, which is not secure; give the account a new password hash"
    )]
    OldPassword,
    /// `mysql_clear_password` without the user's consent.
    #[error(
        "the server asks for the password in the clear; set enable_cleartext_plugin=true to allow it over TLS or a local socket"
    )]
    CleartextNotEnabled,
    /// The password would cross an open network.
    #[error(
        "plugin '{0}' would send the password unprotected; use TLS (require_ssl=true) or a local socket"
    )]
    InsecureTransport(String),
    /// The RSA key is needed, unknown, and may not be asked for.
    #[error(
        "the server's RSA key is needed: give server_public_key, set get_server_public_key=true, or use TLS"
    )]
    PublicKeyRequired,
    /// The server's RSA key can't be used.
    #[error("the server's RSA key can't be used: {0}")]
    BadPublicKey(String),
    /// The server asks for more factors than there are passwords.
    #[error(
        "the server asks for authentication factor {0}, for which no password was given (password{0})"
    )]
    FactorPasswordMissing(u8),
    /// The plugin's exchange is broken.
    #[error("plugin '{plugin}': {what}")]
    Exchange {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        what: String,
    },
}

/// The peer sent bytes that the protocol does not allow here. The link is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the MySQL protocol: {what}")]
pub struct ProtocolError {
    /// What is wrong.
    pub what: String,
}

impl ProtocolError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        ProtocolError { what: what.into() }
    }
}

/// Whether a statement whose link ended has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ran {
    /// It was not sent whole: it has not run.
    No,
    /// It was sent and no answer came: it may or may not have run.
    Maybe,
}

/// A statement took longer than its `statement_timeout`. The handle stays usable.
#[derive(Debug, Clone)]
pub struct StatementTimeout {
    /// The server.
    pub server: Arc<str>,
    /// The time that it had.
    pub timeout: Duration,
    /// Whether it may have run.
    pub ran: Ran,
}

impl StatementTimeout {
    pub(crate) fn new(server: &Arc<str>, timeout: Duration, ran: Ran) -> Self {
        StatementTimeout {
            server: server.clone(),
            timeout,
            ran,
        }
    }
}

impl fmt::Display for StatementTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a statement on {} was not done within {:?}; ",
            self.server, self.timeout
        )?;
        f.write_str(match self.ran {
            Ran::No => "it has not run, and can be run again",
            Ran::Maybe => "it was told to stop, and may have run",
        })
    }
}

impl std::error::Error for StatementTimeout {}

impl From<StatementTimeout> for Error {
    fn from(e: StatementTimeout) -> Self {
        Error::StatementTimeout(Arc::new(e))
    }
}

/// A link ended under a statement.
#[derive(Debug, Clone)]
pub struct ConnectionLost {
    /// The server.
    pub server: Arc<str>,
    /// The server's id of the connection that was lost.
    pub connection_id: u32,
    /// What was being done.
    pub attempted: &'static str,
    /// Whether it has run.
    pub ran: Ran,
    /// Why the link ended.
    pub cause: LostCause,
}

/// Why a link ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LostCause {
    /// The operating system's word.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// The server closed it and said why.
    #[error("the server closed the connection: {0}")]
    Server(MySqlError),
    /// The server's bytes are not what the protocol allows.
    #[error("{0}")]
    Protocol(ProtocolError),
    /// Over the read or write timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// `Mux::shutdown`.
    #[error("the mux was shut down")]
    Shutdown,
    /// A trigger or a function of another handle's statement changed the session that the two
    /// shared, as the server told with its reply: what was on its way behind it counts as lost.
    #[error("another handle's statement changed the session by a trigger or a function")]
    SessionChanged,
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran = match self.ran {
            Ran::No => "it was not sent whole and has not run",
            Ran::Maybe => "it may or may not have run: look before doing it again",
        };
        write!(
            f,
            "lost connection {} to {} during {}: {}; {ran}",
            self.connection_id, self.server, self.attempted, self.cause
        )
    }
}

impl std::error::Error for ConnectionLost {}

/// No link came free in time.
#[derive(Debug, Clone)]
pub struct AcquireTimeout {
    /// The server.
    pub server: String,
    /// How long was waited.
    pub waited: Duration,
    /// The limit of links.
    pub max_links: usize,
    /// Who holds the links, one line each.
    pub holders: Vec<String>,
    /// The last failed connect while waiting, if there was one.
    pub last_connect: Option<Arc<ConnectError>>,
}

impl fmt::Display for AcquireTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no link to {} came free within {:?} (max_links = {})",
            self.server, self.waited, self.max_links
        )?;
        for (i, holder) in self.holders.iter().enumerate() {
            write!(f, "{}{holder}", if i == 0 { ": " } else { "; " })?;
        }
        if let Some(e) = &self.last_connect {
            write!(f, "; last failed connect: {e}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AcquireTimeout {}

/// None of several servers could be used in time.
#[derive(Debug, Clone)]
pub struct NoBackend {
    /// What was looked for.
    pub wanted: &'static str,
    /// How long was waited.
    pub waited: Duration,
    /// Each of them, with what is known of it.
    pub backends: Vec<String>,
}

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wanted, waited) = (self.wanted, self.waited);
        write!(
            f,
            "there was not {wanted} within {waited:?}; the statement was not sent"
        )?;
        for (i, backend) in self.backends.iter().enumerate() {
            write!(f, "{}{backend}", if i == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for NoBackend {}

impl From<NoBackend> for Error {
    fn from(e: NoBackend) -> Error {
        Error::NoBackend(Arc::new(e))
    }
}

/// Something was asked for that can't be done; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The number of parameters is not the statement's.
    #[error("the statement takes {required} parameters but {supplied} were supplied")]
    MismatchedStmtParams {
        /// The statement's.
        required: u16,
        /// The caller's.
        supplied: usize,
    },
    /// A named parameter has no value.
    #[error("missing named parameter '{0}'")]
    MissingNamedParameter(String),
    /// Named and positional parameters in one statement.
    #[error("named and positional parameters are mixed in one statement")]
    MixedParams,
    /// Named parameters for a statement that has none.
    #[error("named parameters supplied for a statement with positional parameters")]
    NamedParamsForPositionalQuery,
    /// Positional parameters for a statement that wants names.
    #[error("positional parameters supplied for a statement with named parameters")]
    PositionalParamsForNamedQuery,
    /// A result of the prepared statement doesn't fit what the transaction allows.
    #[error("read-only and consistent-snapshot transactions need a server that knows them")]
    ReadOnlyTransNotSupported,
    /// The server asked for a local file and no handler is installed.
    #[error("the server asked for local file '{0}', and no handler is installed; it got nothing")]
    LocalInfileRefused(String),
    /// The handler of local files failed.
    #[error("the handler for local file '{file}' failed: {what}")]
    LocalInfileFailed {
        /// The file's name as the server gave it.
        file: String,
        /// The handler's error.
        what: String,
    },
    /// The global mux was already there.
    #[error("the global mux is already in use")]
    GlobalMuxInUse,
    /// There is no such server among those of the options.
    #[error("there is no server {host}:{port} among those of these options")]
    NoSuchBackend {
        /// Its host as it was named.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The last server was to be removed.
    #[error("the last server can't be removed; drain it, or add another one before")]
    LastBackend,
    /// Servers were to be changed where the options name only one.
    #[error(
        "the options name one server only; name another with OptsBuilder::backend, or in the URL"
    )]
    OneBackend,
    /// The handle has a link to a replica to itself, and the statement is for the primary.
    #[error(
        "the statement is for the primary, and was not sent: the handle is bound to the replica {server} by \
         {reason}. End that first, or begin it with Prefer::Primary"
    )]
    OnReplica {
        /// The replica.
        server: String,
        /// What binds it.
        reason: &'static str,
    },
    /// The mux has been shut down.
    #[error("the mux was shut down; no statement is taken any more")]
    MuxShutDown,
    /// The thread that serves async handles could not be started.
    #[error(
        "async handles need a thread and a descriptor of their own, and the system gives none: {0}"
    )]
    NoReactor(String),
    /// A transport that this system does not have.
    #[error("{0} is not available on this system")]
    TransportUnavailable(&'static str),
    /// The crate was built without a feature that the options need.
    #[error("{what} needs the cargo feature '{feature}'")]
    FeatureRequired {
        /// What was asked for.
        what: &'static str,
        /// The feature.
        feature: &'static str,
    },
}

impl Error {
    /// The server's error number, where the server reported one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::MySqlError(e) => Some(e.code),
            Error::ConnectError(e) => e.code(),
            _ => None,
        }
    }

    /// The SQLSTATE, where the server reported one.
    pub fn sql_state(&self) -> Option<&str> {
        match self {
            Error::MySqlError(e) => Some(&e.state),
            Error::ConnectError(e) => match &e.cause {
                ConnectCause::Server(e) => Some(&e.state),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the statement may have changed something although it has no result: `true` only
    /// for a link lost or a time that was over after the statement was sent, and for a result that was too large.
    pub fn may_have_run(&self) -> bool {
        match self {
            Error::ConnectionLost(e) => e.ran == Ran::Maybe,
            Error::StatementTimeout(e) => e.ran == Ran::Maybe,
            Error::ResultTooLarge { .. } => true,
            _ => false,
        }
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<ConnectError> for Error {
    fn from(e: ConnectError) -> Self {
        Error::ConnectError(Arc::new(e))
    }
}

impl From<ConnectionLost> for Error {
    fn from(e: ConnectionLost) -> Self {
        Error::ConnectionLost(Arc::new(e))
    }
}
