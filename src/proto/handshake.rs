//! The connection phase: greeting, TLS switch, handshake response, authentication.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>

use std::sync::Arc;

use bytes::Bytes;
use mysql_common::{
    constants::CapabilityFlags,
    io::ParseBuf,
    packets::{HandshakePacket, SslRequest},
    proto::MySerialize,
};

use super::{
    auth::{Auth, AuthFailure, AuthStep, Channel},
    capabilities::negotiate,
    ok,
    result::OkInfo,
};
use crate::{
    error::{ConnectCause, ConnectPhase, ProtocolError},
    opts::{
        identity::Identity,
        target::{Fixed, Target},
    },
};

/// `utf8mb4_general_ci`: known to every server; the connection's own collation is set afterwards.
pub(super) const COLLATION: u8 = 45;

/// What we say that we can take, bytes; the protocol's maximum.
const MAX_PACKET: u32 = 1 << 30;

/// Connect attributes that a server takes at most, bytes (`MAX_CONNECTION_ATTR_STORAGE_LENGTH` in
/// MySQL's `sql-common/client.cc`).
const MAX_ATTRS: usize = 65_536;

type Fault = (ConnectPhase, ConnectCause);

/// A login as a value.
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
    /// The server agreed to TLS by what it offered; the handshake is under way.
    Tls {
        server: ServerInfo,
        capabilities: CapabilityFlags,
    },
    Login {
        server: ServerInfo,
        capabilities: CapabilityFlags,
        auth: Auth,
    },
    Over,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    Wait,
    /// Send this payload.
    Send(Vec<u8>),
    /// Send this payload, do the TLS handshake, call [`Handshake::tls_started`].
    StartTls(Vec<u8>),
    Done(Box<Established>),
}

/// A login that succeeded.
#[derive(Debug)]
pub(crate) struct Established {
    pub server: ServerInfo,
    pub capabilities: CapabilityFlags,
    pub ok: OkInfo,
    /// zlib level, where the connection is compressed from here on.
    pub compress: Option<u32>,
}

/// What the greeting says.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    /// MariaDB's is its own, without the `5.5.5-` that it puts before it for old replicas' sake.
    pub parsed: (u16, u16, u16),
    pub mariadb: bool,
    pub connection_id: u32,
    pub nonce: Vec<u8>,
    pub default_plugin: Vec<u8>,
    pub capabilities: CapabilityFlags,
}

impl Handshake {
    pub(crate) fn new(
        target: Arc<Target>,
        identity: Arc<Identity>,
        db_name: Option<String>,
        local_files: bool,
    ) -> Self {
        Handshake {
            target,
            identity,
            db_name,
            local_files,
            state: State::Greeting,
        }
    }

    /// The payload of a packet from the server.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting => self.on_greeting(payload),
            State::Login {
                server,
                capabilities,
                mut auth,
            } => {
                let step = auth.on_packet(payload).map_err(auth_fault)?;
                match step {
                    AuthStep::Done(ok) => {
                        let compress = self.target.fixed.compress;
                        return Ok(Step::Done(Box::new(Established {
                            server,
                            capabilities,
                            ok,
                            compress,
                        })));
                    }
                    AuthStep::Denied(e) => {
                        return Err((ConnectPhase::Authenticate, ConnectCause::Server(e)));
                    }
                    AuthStep::Send(answer) => {
                        self.state = State::Login {
                            server,
                            capabilities,
                            auth,
                        };
                        Ok(Step::Send(answer))
                    }
                    AuthStep::Wait => {
                        self.state = State::Login {
                            server,
                            capabilities,
                            auth,
                        };
                        Ok(Step::Wait)
                    }
                }
            }
            State::Tls { .. } | State::Over => Err((
                ConnectPhase::Tls,
                ConnectCause::Protocol(ProtocolError::new("a packet out of turn")),
            )),
        }
    }

    fn on_greeting(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        let fault = |cause| (ConnectPhase::Greeting, cause);
        if payload.first() == Some(&0xff) {
            let none = CapabilityFlags::empty();
            let e = ok::parse_err(&Bytes::copy_from_slice(payload), none)
                .map_err(|e| fault(ConnectCause::Protocol(e)))?;
            return Err(fault(ConnectCause::Server(e)));
        }
        let server = greeting(payload).map_err(|e| fault(ConnectCause::Protocol(e)))?;
        let capabilities = negotiate(
            server.capabilities,
            &self.target.fixed,
            self.target.ssl.is_some(),
            self.db_name.is_some(),
            self.local_files,
        )
        .map_err(fault)?;
        if self.target.ssl.is_some() {
            let mut request = Vec::new();
            SslRequest::new(capabilities, MAX_PACKET, COLLATION).serialize(&mut request);
            self.state = State::Tls {
                server,
                capabilities,
            };
            return Ok(Step::StartTls(request));
        }
        self.log_in(server, capabilities)
    }

    /// TLS stands: what follows is protected.
    pub(crate) fn tls_started(&mut self) -> Result<Step, Fault> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Tls {
                server,
                capabilities,
            } => self.log_in(server, capabilities),
            _ => Err((
                ConnectPhase::Tls,
                ConnectCause::Protocol(ProtocolError::new("TLS out of turn")),
            )),
        }
    }

    fn log_in(&mut self, server: ServerInfo, capabilities: CapabilityFlags) -> Result<Step, Fault> {
        let channel = match (&self.target.ssl, self.target.endpoint.is_local()) {
            (Some(_), _) => Channel::Tls,
            (None, true) => Channel::Local,
            (None, false) => Channel::Open,
        };
        let mut auth = Auth::new(self.identity.clone(), channel, capabilities);
        let plugin = Some(&server.default_plugin[..]).filter(|p| !p.is_empty());
        let (plugin, data) = auth
            .first(plugin, &server.nonce)
            .map_err(|e| auth_fault(e.into()))?;
        let response = self.response(capabilities, &plugin, &data);
        self.state = State::Login {
            server,
            capabilities,
            auth,
        };
        Ok(Step::Send(response))
    }

    /// `HandshakeResponse41`. (`mysql_common`'s always asks for the same collation and sends the
    /// attributes in a random order.)
    fn response(&self, capabilities: CapabilityFlags, plugin: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&capabilities.bits().to_le_bytes());
        out.extend_from_slice(&MAX_PACKET.to_le_bytes());
        out.push(COLLATION);
        out.extend_from_slice(&[0; 23]);
        put_null_str(
            &mut out,
            self.identity.user.as_deref().unwrap_or("").as_bytes(),
        );
        if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            put_lenenc_str(&mut out, data);
        } else {
            out.push(data.len() as u8);
            out.extend_from_slice(data);
        }
        if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) {
            put_null_str(&mut out, self.db_name.as_deref().unwrap_or("").as_bytes());
        }
        if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            put_null_str(&mut out, plugin);
        }
        if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
            put_attrs(&mut out, &self.target.fixed);
        }
        out
    }
}

fn auth_fault(failure: AuthFailure) -> Fault {
    let cause = match failure {
        AuthFailure::Auth(e) => ConnectCause::Auth(e),
        AuthFailure::Protocol(e) => ConnectCause::Protocol(e),
    };
    (ConnectPhase::Authenticate, cause)
}

/// A string up to a zero; a zero within can't be sent and ends it.
pub(super) fn put_null_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().take_while(|&&b| b != 0));
    out.push(0);
}

fn put_lenenc_str(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        n @ 0..=250 => out.push(n as u8),
        n @ 251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        n => {
            out.push(0xfd);
            out.extend_from_slice(&(n as u32).to_le_bytes()[..3]);
        }
    }
    out.extend_from_slice(text);
}

/// Connect attributes, as many as a server takes.
pub(super) fn put_attrs(out: &mut Vec<u8>, fixed: &Fixed) {
    let mut attrs = Vec::new();
    for (name, value) in fixed.connect_attrs.iter().flatten() {
        let mut attr = Vec::new();
        put_lenenc_str(&mut attr, name.as_bytes());
        put_lenenc_str(&mut attr, value.as_bytes());
        if attrs.len() + attr.len() <= MAX_ATTRS {
            attrs.extend_from_slice(&attr);
        }
    }
    put_lenenc_str(out, &attrs);
}

/// Reads `HandshakeV10`.
fn greeting(payload: &[u8]) -> Result<ServerInfo, ProtocolError> {
    let not_mysql =
        |what: &str| ProtocolError::new(format!("{what}; is this a MySQL server's port?"));
    if payload.first() != Some(&10) {
        return Err(not_mysql("the greeting is not protocol version 10"));
    }
    // `mysql_common` computes with this length as a signed byte, where 0x80-0x87 overflow. No
    // server's nonce is that long.
    let after_version = payload.iter().position(|&b| b == 0).map(|at| at + 1);
    let nonce_len = after_version.and_then(|at| payload.get(at + 20));
    if nonce_len.is_none_or(|&len| len >= 0x80) {
        return Err(not_mysql("the greeting is cut short or broken"));
    }
    let packet: HandshakePacket<'_> = ParseBuf(payload)
        .parse(())
        .map_err(|e| not_mysql(&format!("the greeting can't be read: {e}")))?;
    let version = packet.server_version_str().into_owned();
    let mariadb = version.contains("MariaDB") || packet.maria_db_server_version_parsed().is_some();
    let version = match version.strip_prefix("5.5.5-") {
        Some(own) if mariadb => own.to_owned(),
        _ => version,
    };
    let mut numbers = version
        .split(['.', '-', '+', '~'])
        .map(|n| n.parse().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    Ok(ServerInfo {
        parsed: (number(), number(), number()),
        mariadb,
        connection_id: packet.connection_id(),
        nonce: packet.nonce(),
        default_plugin: packet.auth_plugin_name_ref().unwrap_or_default().to_vec(),
        capabilities: packet.capabilities(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opts::Opts;
    use proptest::prelude::*;

    /// MySQL 9's greeting.
    fn mysql_greeting() -> Vec<u8> {
        [
            b"\x0a9.7.4\0\x2a\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15".as_slice(),
            &[0; 10],
            b"ijklmnopqrst\0caching_sha2_password\0",
        ]
        .concat()
    }

    fn handshake(url: &str) -> Handshake {
        let opts = Opts::from_url(url).unwrap();
        let db_name = opts.session().db_name.clone();
        Handshake::new(
            opts.target().clone(),
            opts.identity().clone(),
            db_name,
            true,
        )
    }

    #[test]
    fn a_login_from_greeting_to_ok() {
        let mut h = handshake("mysql://me:secret@db.example/shop");
        let Ok(Step::Send(response)) = h.on_packet(&mysql_greeting()) else {
            panic!()
        };
        let text = String::from_utf8_lossy(&response);
        assert!(
            text.contains("me\0") && text.contains("shop\0caching_sha2_password\0"),
            "{text}"
        );
        assert!(text.contains("_client_name"), "{text}");
        assert!(!text.contains("secret"));
        assert!(matches!(h.on_packet(b"\x01\x03"), Ok(Step::Wait)));
        let Ok(Step::Done(done)) = h.on_packet(b"\0\0\0\x02\0\0\0") else {
            panic!()
        };
        assert_eq!(
            (done.server.parsed, done.server.connection_id),
            ((9, 7, 4), 42)
        );
        assert!(!done.server.mariadb);
    }

    #[cfg(feature = "rustls-tls")]
    #[test]
    fn tls_comes_before_anything_that_names_the_user() {
        let mut h = handshake("mysql://me:secret@db.example/?require_ssl=true");
        let Ok(Step::StartTls(request)) = h.on_packet(&mysql_greeting()) else {
            panic!()
        };
        assert_eq!(request.len(), 32);
        assert!(matches!(h.tls_started(), Ok(Step::Send(_))));
    }

    #[cfg(feature = "rustls-tls")]
    #[test]
    fn tls_that_is_not_offered_is_an_error_and_no_downgrade() {
        let mut greeting = mysql_greeting();
        greeting[7 + 13 + 1] &= !0x08;
        match handshake("mysql://me:secret@db.example/?require_ssl=true").on_packet(&greeting) {
            Err((ConnectPhase::Greeting, ConnectCause::Unsupported(what))) => {
                assert!(what.contains("TLS"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mariadbs_version_is_its_own() {
        let greeting = [
            b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0\x01\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15".as_slice(),
            &[0; 6],
            b"\x1d\0\0\0ijklmnopqrst\0mysql_native_password\0",
        ]
        .concat();
        let server = super::greeting(&greeting).unwrap();
        assert_eq!((server.parsed, server.mariadb), ((10, 11, 19), true));
        assert_eq!(server.nonce, b"abcdefghijklmnopqrst");
    }

    #[test]
    fn a_server_that_is_full_says_so_before_its_greeting() {
        match handshake("mysql://u@h/").on_packet(b"\xff\x10\x04Too many connections") {
            Err((ConnectPhase::Greeting, ConnectCause::Server(e))) => assert_eq!(e.code, 1040),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_greeting_cut_anywhere_is_an_error() {
        let whole = mysql_greeting();
        // Without its last byte it is what MySQL before 5.5.10 sent; shorter names another plugin.
        let nonce_end = whole.len() - b"caching_sha2_password\0".len();
        for len in 0..nonce_end {
            assert!(
                handshake("mysql://u@h/").on_packet(&whole[..len]).is_err(),
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_greeting_never_panics(mut bytes: Vec<u8>, at in 0usize..90, with: u8) {
            drop(handshake("mysql://u:p@h/").on_packet(&bytes));
            bytes.insert(0, 10);
            drop(handshake("mysql://u:p@h/").on_packet(&bytes));
            let mut bent = mysql_greeting();
            if let Some(byte) = bent.get_mut(at) {
                *byte = with;
            }
            drop(handshake("mysql://u:p@h/").on_packet(&bent));
        }
    }
}
