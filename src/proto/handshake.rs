//! The connection phase: the server's greeting, TLS, the answer, and the login behind it, as a value.
//!
//! Knows what is said and in which order; not how bytes get to the server, nor how TLS is done.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets.html>

use std::{collections::BTreeMap, fmt, sync::Arc};

use mysql_common::{
    constants::{CapabilityFlags, MariadbCapabilities},
    io::{BufMutExt, ParseBuf},
    packets::{HandshakePacket, SslRequest},
    proto::MySerialize,
};

use super::{
    auth::{Auth, AuthFailure, AuthStep, Channel, no_nul},
    capabilities::{extend, negotiate},
    ok::parse_err,
    result::OkInfo,
};
use crate::{
    error::{ConnectCause, ConnectPhase, ProtocolError},
    opts::{
        identity::Identity,
        target::{Fixed, Target},
    },
};

/// `utf8mb4_general_ci`, which every server since 5.5.3 has. The collation that was asked for has no
/// number that fits (one byte, and other numbers on other servers); `SET NAMES` follows.
pub(super) const COLLATION: u8 = 45;
/// What is said about our packets where the options say nothing: the protocol's limit.
const MAX_PACKET: u32 = 0x4000_0000;
/// Both servers cut connect attributes off at 64 KiB, in the middle if need be; `libmysqlclient`
/// refuses to send more.
const MAX_ATTRS: usize = 64 << 10;

/// What to do next.
pub(crate) enum Step {
    /// Go on with the next packet.
    Wait,
    /// Send a packet with this payload, and go on with the answer.
    Send(Vec<u8>),
    /// Send a packet with this payload, do the TLS handshake, and go on with
    /// [`Handshake::tls_started`]. Bytes that came before TLS are nobody's word: there must be none.
    StartTls(Vec<u8>),
    /// Logged in.
    Done(Box<Established>),
}

// By hand: what is sent may be a password.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Wait => f.write_str("Wait"),
            Step::Send(payload) => write!(f, "Send(<{} bytes>)", payload.len()),
            Step::StartTls(payload) => write!(f, "StartTls(<{} bytes>)", payload.len()),
            Step::Done(established) => f.debug_tuple("Done").field(established).finish(),
        }
    }
}

/// A connection on which commands can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Established {
    pub server: ServerInfo,
    /// What was agreed on.
    pub capabilities: CapabilityFlags,
    /// MariaDB's part of that.
    pub extended: MariadbCapabilities,
    pub ok: OkInfo,
    /// zlib level; from now on everything is compressed.
    pub compress: Option<u32>,
}

/// What the greeting tells.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    /// Without the `5.5.5-` that MariaDB puts in front for old replicas.
    pub version: String,
    /// Zeros where the version doesn't begin with numbers.
    pub parsed: (u16, u16, u16),
    pub mariadb: bool,
    pub connection_id: u32,
    /// For the plugin that the greeting names; `COM_CHANGE_USER` begins with it once more.
    pub nonce: Vec<u8>,
    /// The plugin that the greeting names; empty: none.
    pub default_plugin: Vec<u8>,
    /// The server's, not what was agreed on.
    pub capabilities: CapabilityFlags,
    pub extended: MariadbCapabilities,
}

impl ServerInfo {
    /// The plugin that the greeting names.
    pub(super) fn plugin(&self) -> Option<&[u8]> {
        (!self.default_plugin.is_empty()).then_some(&*self.default_plugin)
    }
}

/// One connection phase.
#[derive(Debug)]
pub(crate) struct Handshake {
    target: Arc<Target>,
    identity: Arc<Identity>,
    db_name: Option<String>,
    local_files: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Greeting,
    Tls(ServerInfo, Agreed),
    Login(ServerInfo, Agreed, Auth),
    Ended,
}

/// The flags, and MariaDB's extended ones.
type Agreed = (CapabilityFlags, MariadbCapabilities);

type Fault = (ConnectPhase, ConnectCause);

impl Handshake {
    /// `local_files`: `LOAD DATA LOCAL` may be asked for by the server.
    pub(crate) fn new(
        target: Arc<Target>,
        identity: Arc<Identity>,
        db_name: Option<String>,
        local_files: bool,
    ) -> Self {
        let db_name = db_name.filter(|name| !name.is_empty());
        Handshake {
            target,
            identity,
            db_name,
            local_files,
            state: State::Greeting,
        }
    }

    /// The payload of a packet from the server. After an error there is nothing more to do.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Greeting => self.on_greeting(payload),
            State::Login(server, agreed, mut auth) => {
                let fault = |cause| (ConnectPhase::Authenticate, cause);
                let step = match auth.on_packet(payload) {
                    Ok(AuthStep::Send(answer)) => Step::Send(answer),
                    Ok(AuthStep::Wait) => Step::Wait,
                    Ok(AuthStep::Done(ok)) => {
                        let (capabilities, extended) = agreed;
                        let compress =
                            self.target.fixed.compress.filter(|_| {
                                capabilities.contains(CapabilityFlags::CLIENT_COMPRESS)
                            });
                        let established = Established {
                            server,
                            capabilities,
                            extended,
                            ok,
                            compress,
                        };
                        return Ok(Step::Done(Box::new(established)));
                    }
                    Ok(AuthStep::Denied(e)) => return Err(fault(ConnectCause::Server(e))),
                    Err(AuthFailure::Auth(e)) => return Err(fault(ConnectCause::Auth(e))),
                    Err(AuthFailure::Protocol(e)) => return Err(fault(ConnectCause::Protocol(e))),
                };
                self.state = State::Login(server, agreed, auth);
                Ok(step)
            }
            State::Tls(..) => Err((
                ConnectPhase::Tls,
                protocol("a packet before the TLS handshake"),
            )),
            State::Ended => Err((
                ConnectPhase::Authenticate,
                protocol("a packet after the end of the login"),
            )),
        }
    }

    /// TLS protects the bytes from here on.
    pub(crate) fn tls_started(&mut self) -> Result<Step, Fault> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Tls(server, agreed) => self.respond(server, agreed),
            State::Greeting | State::Login(..) | State::Ended => {
                Err((ConnectPhase::Tls, protocol("TLS where none was begun")))
            }
        }
    }

    fn on_greeting(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        let fault = |cause| (ConnectPhase::Greeting, cause);
        if payload.first() == Some(&0xff) {
            // Nothing is agreed on yet.
            let e = parse_err(payload, CapabilityFlags::empty());
            return Err(fault(
                e.map_or_else(ConnectCause::Protocol, ConnectCause::Server),
            ));
        }
        let server = read_greeting(payload).map_err(|e| fault(ConnectCause::Protocol(e)))?;
        let fixed = &self.target.fixed;
        let tls = self.target.ssl.is_some();
        let with_db = self.db_name.is_some();
        let capabilities = negotiate(server.capabilities, fixed, tls, with_db, self.local_files)
            .map_err(|cause| {
                let offered = server.capabilities.contains(CapabilityFlags::CLIENT_SSL);
                let phase = if tls && !offered {
                    ConnectPhase::Tls
                } else {
                    ConnectPhase::Greeting
                };
                (phase, cause)
            })?;
        let agreed = extend(server.capabilities, server.extended, capabilities);
        if tls {
            let mut request = Vec::new();
            SslRequest::new(agreed.0, max_packet(fixed), COLLATION)
                .with_mariadb_capabilities(agreed.1)
                .serialize(&mut request);
            self.state = State::Tls(server, agreed);
            return Ok(Step::StartTls(request));
        }
        self.respond(server, agreed)
    }

    /// The handshake response. By hand: `mysql_common`'s keeps the attributes in a `HashMap`, and
    /// takes the collation from the server's version.
    fn respond(&mut self, server: ServerInfo, agreed: Agreed) -> Result<Step, Fault> {
        let (capabilities, extended) = agreed;
        let fault = |e| (ConnectPhase::Authenticate, ConnectCause::Auth(e));
        no_nul("the user's name", self.identity.user.as_deref()).map_err(fault)?;
        no_nul("the schema's name", self.db_name.as_deref()).map_err(fault)?;
        let channel = Channel::of(&self.target);
        let mut auth = Auth::new(self.identity.clone(), channel, capabilities);
        let (plugin, answer) = auth.first(server.plugin(), &server.nonce).map_err(fault)?;

        let fixed = &self.target.fixed;
        let mut packet = Vec::with_capacity(256);
        packet.extend(capabilities.bits().to_le_bytes());
        packet.extend(max_packet(fixed).to_le_bytes());
        packet.push(COLLATION);
        packet.extend([0; 19]);
        packet.extend(extended.bits().to_le_bytes());
        put_nul_str(&mut packet, self.identity.user.as_deref());
        if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            packet.put_lenenc_str(&answer);
        } else {
            // A scramble of 20 or 32 bytes: it fits.
            packet.put_u8_str(&answer);
        }
        if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) {
            put_nul_str(&mut packet, self.db_name.as_deref());
        }
        put_plugin_and_attrs(&mut packet, capabilities, &plugin, fixed);
        self.state = State::Login(server, agreed, auth);
        Ok(Step::Send(packet))
    }
}

fn max_packet(fixed: &Fixed) -> u32 {
    fixed
        .max_allowed_packet
        .map_or(MAX_PACKET, |max| u32::try_from(max).unwrap_or(u32::MAX))
}

pub(super) fn put_nul_str(packet: &mut Vec<u8>, text: Option<&str>) {
    packet.extend(text.unwrap_or_default().as_bytes());
    packet.push(0);
}

/// The end of a handshake response and of a `COM_CHANGE_USER`.
pub(super) fn put_plugin_and_attrs(
    packet: &mut Vec<u8>,
    capabilities: CapabilityFlags,
    plugin: &[u8],
    fixed: &Fixed,
) {
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
        packet.extend(plugin);
        packet.push(0);
    }
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
        packet.put_lenenc_str(&attrs(fixed.connect_attrs.as_ref()));
    }
}

/// Names and values; those that don't fit any more are left out, whole.
fn attrs(attrs: Option<&BTreeMap<String, String>>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut one = Vec::new();
    for (name, value) in attrs.into_iter().flatten() {
        one.clear();
        one.put_lenenc_str(name.as_bytes());
        one.put_lenenc_str(value.as_bytes());
        if all.len() + one.len() <= MAX_ATTRS {
            all.extend(&one);
        }
    }
    all
}

fn protocol(what: &str) -> ConnectCause {
    ConnectCause::Protocol(ProtocolError::new(what))
}

fn read_greeting(payload: &[u8]) -> Result<ServerInfo, ProtocolError> {
    match payload.first() {
        Some(10) => {}
        Some(9) => {
            return Err(ProtocolError::new(
                "the server speaks version 9, of MySQL 3.21",
            ));
        }
        // A notice frame is the first thing that MySQL's X plugin says (port 33060).
        Some(11) => {
            return Err(ProtocolError::new(
                "this looks like MySQL's X protocol, which listens on a port of its own; give the \
                 port of the classic protocol (3306)",
            ));
        }
        _ => {
            return Err(ProtocolError::new(
                "this is not a MySQL server's greeting: is it the right port?",
            ));
        }
    }
    let cut = || ProtocolError::new("the server's greeting can't be read");
    // `mysql_common` computes `length as i8 - 8`, which overflows from 128 to 135: version, NUL,
    // id (4), scramble (8), filler (1), flags (2), collation (1), status (2), flags (2), length.
    let version_end = payload.iter().position(|&b| b == 0).ok_or_else(cut)?;
    if *payload.get(version_end + 21).ok_or_else(cut)? > 0x7f {
        return Err(cut());
    }
    let greeting: HandshakePacket<'_> = ParseBuf(payload).parse(()).map_err(|_| cut())?;
    let capabilities = greeting.capabilities();
    let version = greeting.server_version_str();
    let mariadb = version.to_ascii_lowercase().contains("mariadb")
        // MariaDB's CLIENT_MYSQL, which it leaves out.
        || !capabilities.contains(CapabilityFlags::CLIENT_LONG_PASSWORD);
    let version = match version.strip_prefix("5.5.5-") {
        Some(rest) if mariadb => rest.to_owned(),
        _ => version.into_owned(),
    };
    // In two parts; a NUL ends the second where the plugin keeps its nonce as a C string. Not
    // `HandshakePacket::nonce`, which takes any last zero for that NUL.
    let mut nonce = greeting.scramble_1_ref().to_vec();
    nonce.extend(greeting.scramble_2_ref().unwrap_or_default());
    if let [.., 0] = nonce[..]
        && nonce.len() == 21
    {
        nonce.pop();
    }
    Ok(ServerInfo {
        parsed: version_numbers(&version),
        version,
        mariadb,
        connection_id: greeting.connection_id(),
        nonce,
        default_plugin: greeting.auth_plugin_name_ref().unwrap_or_default().to_vec(),
        capabilities,
        extended: greeting.mariadb_ext_capabilities(),
    })
}

/// `10.11.19-MariaDB`: 10, 11, 19.
fn version_numbers(version: &str) -> (u16, u16, u16) {
    let mut rest = version;
    let mut next = || {
        let end = rest
            .bytes()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(rest.len());
        let number = rest[..end].parse().unwrap_or(0);
        rest = rest[end..].strip_prefix('.').unwrap_or_default();
        number
    };
    (next(), next(), next())
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use mysql_common::{constants::StatusFlags, packets::HandshakeResponse};
    use proptest::prelude::*;

    use super::{
        super::{
            auth::tests::{PASSWORD, any_packet, hex, identity},
            capabilities::tests::{MYSQL, fixed},
        },
        *,
    };
    use crate::{
        error::{AuthError, MySqlError},
        opts::target::{Endpoint, SocketOpts},
    };

    // Recorded. MariaDB 10.11.19 without TLS, and MySQL 9.7.4.
    const MARIADB: &str = "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275310\
        00f000000387e34296d6d595800feff080200ff81150000000000001d0000002c727c38417b6b28226e277300\
        6d7973716c5f6e61746976655f70617373776f726400";
    pub(in crate::proto) const MYSQL_GREETING: &str = "0a392e372e342d3200100000002510345d5a5f533600ffffff0200ffdf1500000000000000000000\
         152e5c6e0b156c18060725690063616368696e675f736861325f70617373776f726400";

    pub(in crate::proto) fn target(endpoint: Endpoint, tls: bool) -> Target {
        Target {
            endpoint,
            ssl: tls.then(Default::default),
            fixed: fixed(),
            limits: Default::default(),
            socket: SocketOpts {
                nodelay: true,
                keepalive: None,
                keepalive_interval: None,
                keepalive_retries: None,
                user_timeout: None,
                bind_address: None,
                send_buffer: None,
                recv_buffer: None,
                connect_timeout: Duration::from_secs(1),
                read_timeout: None,
                write_timeout: None,
            },
        }
    }

    fn tcp(tls: bool) -> Target {
        target(
            Endpoint::Tcp {
                host: "h".into(),
                port: 3306,
            },
            tls,
        )
    }

    pub(in crate::proto) fn one_attr() -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]))
    }

    fn handshake(target: Target, user: &str, db: Option<&str>) -> Handshake {
        let identity = Arc::new(identity(user, &[PASSWORD]));
        Handshake::new(Arc::new(target), identity, db.map(str::to_owned), false)
    }

    fn sent(step: Result<Step, Fault>) -> Vec<u8> {
        match step {
            Ok(Step::Send(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    fn established(step: Result<Step, Fault>) -> Established {
        match step {
            Ok(Step::Done(established)) => *established,
            other => panic!("{other:?}"),
        }
    }

    /// A greeting with these flags.
    fn greeting(version: &str, capabilities: CapabilityFlags, plugin: &str) -> Vec<u8> {
        let mut packet = Vec::new();
        HandshakePacket::new(
            10,
            version.as_bytes(),
            7,
            *b"12345678",
            Some(&b"123456789012\0"[..]),
            capabilities,
            COLLATION,
            StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            Some(format!("{plugin}\0").into_bytes()),
        )
        .serialize(&mut packet);
        packet
    }

    #[test]
    fn a_login_to_mariadb_byte_for_byte() {
        let mut target = tcp(false);
        target.fixed.connect_attrs = one_attr();
        let mut login = handshake(target, "wta_n", Some("mux"));
        // What the server took.
        let expected = "0ca2be01000000402d00000000000000000000000000000000000000100000007774615f6e00\
            14c1f594dcb948bd719e892c739121fcd7f557bf1c6d7578006d7973716c5f6e61746976655f706173\
            73776f7264000401610162";
        assert_eq!(sent(login.on_packet(&hex(MARIADB))), hex(expected));
        let done = established(login.on_packet(&hex("0000000240000000060104036d7578")));
        assert_eq!(done.server.version, "10.11.19-MariaDB-0+deb12u1");
        assert_eq!(done.server.parsed, (10, 11, 19));
        assert!(done.server.mariadb);
        assert_eq!(done.server.connection_id, 15);
        assert_eq!(done.server.default_plugin, b"mysql_native_password");
        assert_eq!(done.server.nonce.len(), 20);
        assert_eq!(done.capabilities.bits(), 0x01be_a20c);
        let cached = MariadbCapabilities::MARIADB_CLIENT_CACHE_METADATA;
        assert_eq!(done.extended, cached);
        assert_eq!(done.ok.changes[..], b"\x01\x04\x03mux"[..]);
        assert_eq!(done.compress, None);
        assert!(login.on_packet(b"\0").is_err());
    }

    #[test]
    fn a_login_to_mysql() {
        let mut login = handshake(tcp(false), "wta_c2", None);
        let response = sent(login.on_packet(&hex(MYSQL_GREETING)));
        let parsed: HandshakeResponse<'_> = ParseBuf(&response).parse(()).unwrap();
        assert_eq!(parsed.user(), b"wta_c2");
        assert_eq!(
            parsed.scramble_buf(),
            hex("8d6fa8d04de7fc55025782f52752a8260fcddba4248803dfdcba20bb3b7209c1")
        );
        assert_eq!(parsed.db_name(), None);
        assert_eq!(parsed.connect_attributes(), None);
        assert_eq!(
            parsed.auth_plugin().unwrap().as_bytes(),
            b"caching_sha2_password"
        );
        assert!(matches!(login.on_packet(b"\x01\x03"), Ok(Step::Wait)));
        let done = established(login.on_packet(b"\0\0\0\x02\0\0\0"));
        assert_eq!(
            (done.server.version.as_str(), done.server.parsed),
            ("9.7.4-2", (9, 7, 4))
        );
        assert!(!done.server.mariadb);
    }

    #[test]
    fn full_authentication_on_an_open_channel() {
        let mut login = handshake(tcp(false), "u", None);
        sent(login.on_packet(&hex(MYSQL_GREETING)));
        assert!(matches!(
            login.on_packet(b"\x01\x04"),
            Err((
                ConnectPhase::Authenticate,
                ConnectCause::Auth(AuthError::PublicKeyRequired)
            ))
        ));
    }

    #[test]
    fn tls_comes_before_the_users_name() {
        let mut login = handshake(tcp(true), "secret-user", None);
        let request = match login.on_packet(&hex(MYSQL_GREETING)) {
            Ok(Step::StartTls(request)) => request,
            other => panic!("{other:?}"),
        };
        let parsed: SslRequest = ParseBuf(&request).parse(()).unwrap();
        assert!(parsed.capabilities().contains(CapabilityFlags::CLIENT_SSL));
        assert_eq!(
            (
                request.len(),
                parsed.character_set(),
                parsed.max_packet_size()
            ),
            (32, 45, MAX_PACKET)
        );
        let response = sent(login.tls_started());
        assert_eq!(response[..32], request[..], "the same promises");
        assert_eq!(sent(login.on_packet(b"\x01\x04")), b"auth-Pass1\0");
        established(login.on_packet(b"\0\0\0\x02\0\0\0"));
    }

    #[test]
    fn tls_out_of_order() {
        assert!(handshake(tcp(true), "u", None).tls_started().is_err());
        let mut login = handshake(tcp(true), "u", None);
        login.on_packet(&hex(MYSQL_GREETING)).unwrap();
        assert!(matches!(
            login.on_packet(b"\0\0\0\x02\0\0\0"),
            Err((ConnectPhase::Tls, _))
        ));
        assert!(login.tls_started().is_err());
    }

    #[test]
    fn tls_that_is_not_offered_is_an_error() {
        let none = greeting(
            "8.0.1",
            MYSQL - CapabilityFlags::CLIENT_SSL,
            "caching_sha2_password",
        );
        let mut login = handshake(tcp(true), "u", None);
        assert!(matches!(
            login.on_packet(&none),
            Err((_, ConnectCause::Unsupported(_)))
        ));
    }

    #[test]
    fn compression_begins_after_the_login() {
        let mut target = tcp(false);
        target.fixed.compress = Some(3);
        let mut login = handshake(target, "u", None);
        sent(login.on_packet(&hex(MYSQL_GREETING)));
        assert_eq!(
            established(login.on_packet(b"\0\0\0\x02\0\0\0")).compress,
            Some(3)
        );
    }

    #[test]
    fn an_error_in_place_of_a_greeting() {
        for (packet, code) in [
            (&b"\xff\x10\x04#08004Too many connections"[..], 1040),
            (b"\xff\x6a\x04Host 'x' is not allowed", 1130),
            (b"\xff\x69\x04Host 'x' is blocked", 1129),
        ] {
            match handshake(tcp(false), "u", None).on_packet(packet) {
                Err((ConnectPhase::Greeting, ConnectCause::Server(MySqlError { code: c, .. }))) => {
                    assert_eq!(c, code);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_a_mysql_server() {
        for (packet, says) in [
            (&b"SSH-2.0-OpenSSH_9.2"[..], "not a MySQL server"),
            (b"HTTP/1.1 400 Bad Request", "not a MySQL server"),
            (b"", "not a MySQL server"),
            (b"\x093.21.0\0", "version 9"),
            (b"\x0b\x08\x05\x1a\0", "X protocol"),
            (b"\x0a8.0", "can't be read"),
        ] {
            match handshake(tcp(false), "u", None).on_packet(packet) {
                Err((ConnectPhase::Greeting, ConnectCause::Protocol(e))) => {
                    assert!(e.what.contains(says), "{e}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_greeting_cut_anywhere_is_no_panic() {
        for whole in [hex(MARIADB), hex(MYSQL_GREETING)] {
            for len in 0..whole.len() {
                drop(handshake(tcp(false), "u", None).on_packet(&whole[..len]));
            }
            // Every value of every byte, the length of the nonce among them.
            for at in 0..whole.len() {
                for byte in 0..=255 {
                    let mut packet = whole.clone();
                    packet[at] = byte;
                    drop(handshake(tcp(false), "u", None).on_packet(&packet));
                }
            }
        }
    }

    #[test]
    fn versions() {
        let read = |version: &str, caps| read_greeting(&greeting(version, caps, "x")).unwrap();
        let mysql = read("5.5.5-log", MYSQL);
        assert_eq!(
            (mysql.version.as_str(), mysql.mariadb, mysql.parsed),
            ("5.5.5-log", false, (5, 5, 5))
        );
        let hidden = read(
            "5.5.5-10.6.1",
            MYSQL - CapabilityFlags::CLIENT_LONG_PASSWORD,
        );
        assert_eq!(
            (hidden.version.as_str(), hidden.mariadb, hidden.parsed),
            ("10.6.1", true, (10, 6, 1))
        );
        assert!(read("10.4.2-mariadb-log", MYSQL).mariadb);
        assert_eq!(version_numbers("8.0"), (8, 0, 0));
        assert_eq!(version_numbers("8.0.36-28.1"), (8, 0, 36));
        assert_eq!(version_numbers("99999999.1.x"), (0, 1, 0));
        assert_eq!(version_numbers("TiDB"), (0, 0, 0));
        assert_eq!(version_numbers(""), (0, 0, 0));
    }

    #[test]
    fn longer_nonces_of_a_greeting() {
        let mut packet = greeting("11.8.1-MariaDB", MYSQL, "");
        // 32 bytes, none of which is a NUL.
        let at = packet.len() - 13 - 1;
        packet[8 + 15 + 13] = 0;
        packet.truncate(at);
        let length = packet.iter().position(|&b| b == 0).unwrap() + 21;
        packet[length] = 32;
        packet.extend([b'n'; 24]);
        packet.extend(b"parsec\0");
        let server = read_greeting(&packet).unwrap();
        assert_eq!(
            (server.nonce.len(), &*server.default_plugin),
            (32, &b"parsec"[..])
        );
    }

    #[test]
    fn names_with_a_nul_are_refused() {
        for (user, db) in [("u\0mysql_clear_password", None), ("u", Some("d\0"))] {
            let step = handshake(tcp(false), user, db).on_packet(&hex(MYSQL_GREETING));
            assert!(matches!(
                step,
                Err((_, ConnectCause::Auth(AuthError::Exchange { .. })))
            ));
        }
    }

    #[test]
    fn attributes_are_sorted_and_bounded() {
        let mut target = tcp(false);
        let long = "v".repeat(40_000);
        target.fixed.connect_attrs = Some(
            [("z", "1"), ("a", "2"), ("m", &*long), ("n", &*long)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        );
        let response = sent(handshake(target, "u", None).on_packet(&hex(MYSQL_GREETING)));
        let parsed: HandshakeResponse<'_> = ParseBuf(&response).parse(()).unwrap();
        let attrs = parsed.connect_attributes().unwrap();
        assert_eq!(attrs.len(), 3);
        assert!(!attrs.contains_key("n"));
        assert!(response.ends_with(b"\x01z\x011"));
    }

    #[test]
    fn a_server_without_plugins_or_lengths() {
        let old = MYSQL
            - CapabilityFlags::CLIENT_PLUGIN_AUTH
            - CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
        let mut packet = greeting("5.5.3", old, "");
        packet.truncate(packet.len() - 1);
        let response = sent(handshake(tcp(false), "u", Some("")).on_packet(&packet));
        let parsed: HandshakeResponse<'_> = ParseBuf(&response).parse(()).unwrap();
        assert_eq!(parsed.scramble_buf().len(), 20);
        assert_eq!((parsed.auth_plugin(), parsed.db_name()), (None, None));
    }

    proptest! {
        #[test]
        fn any_packets_no_panic(
            tls: bool,
            real: bool,
            greeting in prop::collection::vec(any::<u8>(), 0..128),
            packets in prop::collection::vec(any_packet(), 0..6),
        ) {
            let mut login = handshake(tcp(tls), "u", Some("d"));
            let greeting = if real { hex(MYSQL_GREETING) } else { [&b"\x0a8\0"[..], &greeting].concat() };
            if let Ok(Step::StartTls(_)) = login.on_packet(&greeting) {
                drop(login.tls_started());
            }
            for packet in packets {
                drop(login.on_packet(&packet));
            }
        }
    }
}
