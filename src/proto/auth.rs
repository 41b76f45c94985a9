//! Proving who one is: the exchange of authentication plugins of one login or `COM_CHANGE_USER`.
//!
//! The scrambles are `mysql_common`'s; here is which of them may run, over which transport, and
//! what the server may ask for in between.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods.html>,
//! MariaDB's plugins: <https://mariadb.com/kb/en/connection/#authentication-plugins>

use std::sync::Arc;

use bytes::Bytes;
use mysql_common::{
    auth::plugins::{self, AuthProc, ChallengeResponsePlugin},
    constants::CapabilityFlags,
    packets::AuthPlugin,
};

use super::{ok, result::OkInfo};
use crate::{
    error::{AuthError, MySqlError, ProtocolError},
    opts::identity::Identity,
};

/// Packets that one login may take; a server that goes on is not logging anybody in.
const MAX_PACKETS: u32 = 32;

/// Who else can read the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Anybody in between.
    Open,
    /// Nobody but this machine: Unix socket, named pipe.
    Local,
    Tls,
}

/// What a packet of the server's comes to.
#[derive(Debug)]
pub(crate) enum AuthStep {
    Send(Vec<u8>),
    Wait,
    Done(OkInfo),
    Denied(MySqlError),
}

/// Why a login can't go on.
#[derive(Debug)]
pub(crate) enum AuthFailure {
    Auth(AuthError),
    Protocol(ProtocolError),
}

impl From<AuthError> for AuthFailure {
    fn from(e: AuthError) -> Self {
        AuthFailure::Auth(e)
    }
}

impl From<ProtocolError> for AuthFailure {
    fn from(e: ProtocolError) -> Self {
        AuthFailure::Protocol(e)
    }
}

/// One login's exchange.
#[derive(Debug)]
pub(crate) struct Auth {
    identity: Arc<Identity>,
    channel: Channel,
    capabilities: CapabilityFlags,
    /// 0, 1, 2.
    factor: usize,
    plugin: Plugin,
    /// The nonce that the plugin at hand was started with.
    nonce: Vec<u8>,
    packets: u32,
}

#[derive(Debug)]
enum Plugin {
    None,
    /// The transport proves the user; whatever is asked gets an empty answer.
    Transport,
    Proc {
        name: &'static str,
        proc: AuthProc,
    },
}

/// What a plugin may know.
struct Context<'a> {
    auth: &'a Auth,
}

impl plugins::Context for &Context<'_> {
    fn pass(&self) -> &[u8] {
        self.auth.identity.password(self.auth.factor)
    }

    fn is_ipc_transport(&self) -> bool {
        self.auth.channel == Channel::Local
    }

    fn is_tls_transport(&self) -> bool {
        self.auth.channel == Channel::Tls
    }

    fn scramble(&self) -> &[u8] {
        &self.auth.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        self.auth.identity.server_public_key.as_deref()
    }
}

impl Auth {
    pub(crate) fn new(
        identity: Arc<Identity>,
        channel: Channel,
        capabilities: CapabilityFlags,
    ) -> Auth {
        Auth {
            identity,
            channel,
            capabilities,
            factor: 0,
            plugin: Plugin::None,
            nonce: Vec::new(),
            packets: 0,
        }
    }

    /// Plugin name and data of the first answer. Where the server's plugin may not answer yet, or
    /// is not known here, another is announced and the server switches if it must.
    pub(crate) fn first(
        &mut self,
        plugin: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), AuthError> {
        let named = plugin
            .filter(|p| !p.is_empty())
            .unwrap_or(b"mysql_native_password");
        let may_begin = matches!(
            AuthPlugin::from_bytes(named),
            AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password
        );
        let named = if may_begin {
            named
        } else {
            b"mysql_native_password"
        };
        match self.start(named, nonce)? {
            Some(data) => Ok((named.to_vec(), data)),
            None => Ok((named.to_vec(), Vec::new())),
        }
    }

    /// The payload of a packet that came while logging in.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<AuthStep, AuthFailure> {
        self.packets += 1;
        if self.packets > MAX_PACKETS {
            return Err(ProtocolError::new("the login does not come to an end").into());
        }
        let Some((&first, rest)) = payload.split_first() else {
            return Err(ProtocolError::new("an empty packet while logging in").into());
        };
        let whole = || Bytes::copy_from_slice(payload);
        match first {
            0x00 => Ok(AuthStep::Done(ok::parse_ok(&whole(), self.capabilities)?)),
            0xff => Ok(AuthStep::Denied(ok::parse_err(
                &whole(),
                self.capabilities,
            )?)),
            0xfe if rest.is_empty() => Err(AuthError::OldPassword.into()),
            0xfe => self.switch(rest),
            0x02 if self
                .capabilities
                .contains(CapabilityFlags::MULTI_FACTOR_AUTHENTICATION) =>
            {
                self.factor += 1;
                if self.identity.passwords.len() <= self.factor
                    && !transport_plugin(name_of(rest).0)
                {
                    return Err(AuthError::FactorPasswordMissing(self.factor as u8 + 1).into());
                }
                self.switch(rest)
            }
            0x01 => self.challenge(rest),
            // MariaDB's first servers with parsec sent the salt without the leading byte.
            b'P' if matches!(self.plugin, Plugin::Proc { name: "parsec", .. }) => {
                self.challenge(payload)
            }
            other => {
                Err(ProtocolError::new(format!("packet {other:#04x} while logging in")).into())
            }
        }
    }

    /// AuthSwitchRequest and AuthNextFactor: a plugin's name and its first data.
    fn switch(&mut self, rest: &[u8]) -> Result<AuthStep, AuthFailure> {
        let (name, data) = name_of(rest);
        Ok(match self.start(name, data)? {
            Some(answer) => AuthStep::Send(answer),
            None => AuthStep::Wait,
        })
    }

    fn start(&mut self, name: &[u8], data: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        if transport_plugin(name) {
            self.plugin = Plugin::Transport;
            return Ok(Some(Vec::new()));
        }
        let plugin = AuthPlugin::from_bytes(name);
        let unsupported =
            || AuthError::UnsupportedPlugin(String::from_utf8_lossy(name).into_owned());
        let known = match &plugin {
            AuthPlugin::MysqlOldPassword => return Err(AuthError::OldPassword),
            AuthPlugin::MysqlClearPassword => {
                if !self.identity.cleartext_plugin {
                    return Err(AuthError::CleartextNotEnabled);
                }
                if self.channel == Channel::Open {
                    return Err(AuthError::InsecureTransport("mysql_clear_password".into()));
                }
                "mysql_clear_password"
            }
            AuthPlugin::MysqlNativePassword => "mysql_native_password",
            AuthPlugin::CachingSha2Password => "caching_sha2_password",
            AuthPlugin::Sha256Password => "sha256_password",
            AuthPlugin::Ed25519 => "client_ed25519",
            AuthPlugin::Parsec => "parsec",
            AuthPlugin::Other(_) => return Err(unsupported()),
        };
        let proc = AuthProc::init(&plugin).map_err(|_| unsupported())?;
        self.plugin = Plugin::Proc { name: known, proc };
        // The servers end 20 bytes of nonce with a zero, which is not part of it.
        self.nonce = match data {
            [nonce @ .., 0] if nonce.len() == 20 => nonce.to_vec(),
            other => other.to_vec(),
        };
        let challenge = self.nonce.clone();
        match self.run(&challenge)? {
            AuthStep::Send(answer) => Ok(Some(answer)),
            _ => Ok(None),
        }
    }

    fn challenge(&mut self, data: &[u8]) -> Result<AuthStep, AuthFailure> {
        match self.plugin {
            Plugin::Transport => Ok(AuthStep::Send(Vec::new())),
            Plugin::None => Err(ProtocolError::new("a challenge before any plugin").into()),
            Plugin::Proc { .. } => Ok(self.run(data)?),
        }
    }

    fn run(&mut self, challenge: &[u8]) -> Result<AuthStep, AuthError> {
        let Plugin::Proc { name, mut proc } = std::mem::replace(&mut self.plugin, Plugin::None)
        else {
            return Ok(AuthStep::Wait);
        };
        // Without TLS the password is encrypted with the server's RSA key; a key that comes over an
        // open network may be anybody's.
        let wants_key = match name {
            "caching_sha2_password" => self.channel == Channel::Open && challenge == [4],
            "sha256_password" => {
                self.channel != Channel::Tls && !self.identity.password(self.factor).is_empty()
            }
            _ => false,
        };
        if wants_key
            && self.identity.server_public_key.is_none()
            && !self.identity.get_server_public_key
        {
            return Err(AuthError::PublicKeyRequired);
        }
        let ran = proc.run(&Context { auth: self }, challenge);
        self.plugin = Plugin::Proc { name, proc };
        match ran {
            Ok(plugins::Response::Next { packet } | plugins::Response::Last { packet }) => {
                Ok(packet.map_or(AuthStep::Wait, AuthStep::Send))
            }
            Err(plugins::Error::FeatureRequired(_)) => Err(match name {
                "parsec" => AuthError::FeatureRequired {
                    plugin: "parsec",
                    feature: "client_parsec",
                },
                _ => AuthError::FeatureRequired {
                    plugin: "client_ed25519",
                    feature: "client_ed25519",
                },
            }),
            Err(plugins::Error::Challenge) if wants_key || challenge.starts_with(b"-----BEGIN") => {
                Err(AuthError::BadPublicKey(
                    "it is no RSA public key in PEM".into(),
                ))
            }
            Err(e) => Err(AuthError::Exchange {
                plugin: name.into(),
                what: e.to_string(),
            }),
        }
    }
}

/// The operating system proves the user; nothing is sent.
fn transport_plugin(name: &[u8]) -> bool {
    matches!(name, b"auth_socket" | b"unix_socket")
}

/// A name that ends with a zero, and what follows.
fn name_of(rest: &[u8]) -> (&[u8], &[u8]) {
    match rest.iter().position(|&b| b == 0) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opts::secret::Secret;
    use proptest::prelude::*;

    const NONCE: &[u8] = b"abcdefghijklmnopqrst";

    fn auth_of(passwords: &[&str], channel: Channel, change: impl FnOnce(&mut Identity)) -> Auth {
        let mut identity = Identity {
            user: Some("u".into()),
            passwords: passwords
                .iter()
                .map(|p| Secret::new(p.as_bytes()))
                .collect(),
            cleartext_plugin: false,
            server_public_key: None,
            get_server_public_key: true,
        };
        change(&mut identity);
        let caps =
            CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::MULTI_FACTOR_AUTHENTICATION;
        Auth::new(Arc::new(identity), channel, caps)
    }

    fn auth(channel: Channel) -> Auth {
        auth_of(&["secret"], channel, |_| {})
    }

    fn switch(name: &str, data: &[u8]) -> Vec<u8> {
        [b"\xfe", name.as_bytes(), b"\0", data].concat()
    }

    fn sent(step: Result<AuthStep, AuthFailure>) -> Vec<u8> {
        match step {
            Ok(AuthStep::Send(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn refused(step: Result<AuthStep, AuthFailure>) -> AuthError {
        match step {
            Err(AuthFailure::Auth(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn native_password_answers_with_a_scramble_and_ends_with_ok() {
        let mut auth = auth(Channel::Open);
        let (plugin, data) = auth.first(Some(b"mysql_native_password"), NONCE).unwrap();
        assert_eq!(plugin, b"mysql_native_password");
        assert_eq!(data.len(), 20);
        assert!(matches!(
            auth.on_packet(b"\0\0\0\x02\0\0\0"),
            Ok(AuthStep::Done(_))
        ));
    }

    #[test]
    fn a_denial_has_the_servers_words() {
        let mut auth = auth(Channel::Open);
        auth.first(None, NONCE).unwrap();
        match auth.on_packet(b"\xff\x15\x04#28000Access denied") {
            Ok(AuthStep::Denied(e)) => assert_eq!((e.code, &*e.message), (1045, "Access denied")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn caching_sha2_fast_full_and_by_key() {
        let mut auth = auth(Channel::Open);
        let (_, data) = auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(data.len(), 32);
        assert!(matches!(auth.on_packet(b"\x01\x03"), Ok(AuthStep::Wait)));

        let mut full = super::tests::auth(Channel::Tls);
        full.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(sent(full.on_packet(b"\x01\x04")), b"secret\0");

        let mut open = super::tests::auth(Channel::Open);
        open.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(sent(open.on_packet(b"\x01\x04")), b"\x02");
        assert!(matches!(
            refused(open.on_packet(b"\x01-----BEGIN nonsense")),
            AuthError::BadPublicKey(_)
        ));

        let mut refuses = auth_of(&["secret"], Channel::Open, |i| {
            i.get_server_public_key = false
        });
        refuses
            .first(Some(b"caching_sha2_password"), NONCE)
            .unwrap();
        assert_eq!(
            refused(refuses.on_packet(b"\x01\x04")),
            AuthError::PublicKeyRequired
        );
    }

    #[test]
    fn sha256_sends_the_password_over_tls_only() {
        let data = [NONCE, b"\0"].concat();
        assert_eq!(
            sent(auth(Channel::Tls).on_packet(&switch("sha256_password", &data))),
            b"secret\0"
        );
        assert_eq!(
            sent(auth(Channel::Local).on_packet(&switch("sha256_password", &data))),
            b"\x01"
        );
    }

    #[test]
    fn clear_password_needs_consent_and_a_safe_transport() {
        let ask = switch("mysql_clear_password", b"");
        assert_eq!(
            refused(auth(Channel::Tls).on_packet(&ask)),
            AuthError::CleartextNotEnabled
        );
        let mut open = auth_of(&["secret"], Channel::Open, |i| i.cleartext_plugin = true);
        assert!(matches!(
            refused(open.on_packet(&ask)),
            AuthError::InsecureTransport(_)
        ));
        let mut safe = auth_of(&["secret"], Channel::Tls, |i| i.cleartext_plugin = true);
        assert_eq!(sent(safe.on_packet(&ask)), b"secret\0");
    }

    #[test]
    fn the_old_scramble_is_refused() {
        assert_eq!(
            refused(auth(Channel::Tls).on_packet(b"\xfe")),
            AuthError::OldPassword
        );
        let named = switch("mysql_old_password", b"12345678\0");
        assert_eq!(
            refused(auth(Channel::Tls).on_packet(&named)),
            AuthError::OldPassword
        );
    }

    #[test]
    fn what_is_not_known_is_named() {
        let step = auth(Channel::Tls).on_packet(&switch("auth_gssapi_client", b""));
        assert_eq!(
            refused(step),
            AuthError::UnsupportedPlugin("auth_gssapi_client".into())
        );
    }

    #[test]
    fn sockets_prove_themselves() {
        for name in ["auth_socket", "unix_socket"] {
            assert_eq!(
                sent(auth(Channel::Local).on_packet(&switch(name, b""))),
                b""
            );
        }
    }

    #[cfg(feature = "client_ed25519")]
    #[test]
    fn ed25519_signs() {
        assert_eq!(
            sent(auth(Channel::Open).on_packet(&switch("client_ed25519", &[7; 32]))).len(),
            64
        );
    }

    #[cfg(feature = "client_parsec")]
    #[test]
    fn parsec_asks_for_the_salt_and_signs_with_and_without_the_escape() {
        for escape in [&b"\x01"[..], b""] {
            let mut auth = auth(Channel::Open);
            assert_eq!(sent(auth.on_packet(&switch("parsec", &[7; 32]))), b"");
            let salt = [escape, b"P\0", &[9; 18]].concat();
            assert_eq!(sent(auth.on_packet(&salt)).len(), 96);
        }
    }

    #[test]
    fn every_factor_has_its_password() {
        let mut one = auth(Channel::Tls);
        one.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        let next = [b"\x02sha256_password\0", NONCE, b"\0"].concat();
        assert_eq!(
            refused(one.on_packet(&next)),
            AuthError::FactorPasswordMissing(2)
        );
        let mut two = auth_of(&["one", "two"], Channel::Tls, |_| {});
        two.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(sent(two.on_packet(&next)), b"two\0");
    }

    #[test]
    fn a_login_that_does_not_end_is_ended() {
        let mut auth = auth(Channel::Local);
        let ask = switch("auth_socket", b"");
        let ended = (0..100).find_map(|_| auth.on_packet(&ask).err());
        assert!(matches!(ended, Some(AuthFailure::Protocol(_))));
    }

    proptest! {
        #[test]
        fn any_packets_never_panic(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
            plugin in 0usize..7,
            nonce in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let names = ["mysql_native_password", "caching_sha2_password", "sha256_password",
                "client_ed25519", "parsec", "mysql_clear_password", "x"];
            let mut auth = auth(Channel::Open);
            drop(auth.first(Some(names[plugin].as_bytes()), &nonce));
            drop(auth.on_packet(&switch(names[plugin], &nonce)));
            for packet in packets {
                if auth.on_packet(&packet).is_err() {
                    break;
                }
            }
        }
    }
}
