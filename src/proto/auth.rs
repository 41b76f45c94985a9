//! The exchange of authentication plugins, from the first answer to the server's OK or ERR. The same
//! for a login and for `COM_CHANGE_USER`.
//!
//! Knows which secret may be sent over which channel. Knows nothing of greetings, sockets and TLS.
//!
//! The scrambles are `mysql_common`'s. What is decided here, because the plugins there don't:
//! - consent: the clear password, and asking for the server's RSA key;
//! - the order of things, whatever the server sends: any plugin at any point, a bounded number of
//!   packets, up to three factors;
//! - that no key can make `mysql_common` panic (see [`rsa_key`]).
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>

use std::{fmt, sync::Arc};

use mysql_common::{
    auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Error as PluginError},
    constants::CapabilityFlags,
    crypto::der::{PubKeyFileType, pem_to_der},
    packets::AuthPlugin,
};

use super::{
    ok::{Fields, parse_err, parse_ok},
    result::OkInfo,
};
use crate::{
    error::{AuthError, MySqlError, ProtocolError},
    opts::{
        identity::Identity,
        target::{Endpoint, Target},
    },
};

/// Three factors with a switch, two challenges and an answer each, and room.
const MAX_PACKETS: u32 = 16;
/// Bytes of the scramble of the `mysql_native_password` and `sha2` plugins.
const SCRAMBLE: usize = 20;
/// Bytes of the scramble of MariaDB's ed25519 and PARSEC plugins.
const SCRAMBLE_32: usize = 32;
/// `caching_sha2_password`'s word for "not in my cache, send the password".
const FULL_AUTHENTICATION: &[u8] = &[4];

/// Who can read the bytes, and who the server thinks can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Everybody on the way.
    Open,
    /// A Unix socket: nobody, and the server takes it as secure.
    Local,
    /// A named pipe of this machine: nobody, but MySQL doesn't take it as secure and wants RSA where
    /// it would take a password over a socket (`is_secure_transport` in sql/auth and sql-common has
    /// sockets and shared memory, not pipes).
    Pipe,
    /// Nobody but the peer that TLS made sure of.
    Tls,
}

impl Channel {
    pub(crate) fn of(target: &Target) -> Channel {
        match (&target.ssl, &target.endpoint) {
            (Some(_), _) => Channel::Tls,
            (None, Endpoint::Socket { .. }) => Channel::Local,
            (None, Endpoint::Pipe { server, .. }) if server == "." => Channel::Pipe,
            // Another machine's pipe crosses the network.
            (None, Endpoint::Pipe { .. } | Endpoint::Tcp { .. }) => Channel::Open,
        }
    }
}

/// What to do next.
pub(crate) enum AuthStep {
    /// Send a packet with this payload, and go on with the answer.
    Send(Vec<u8>),
    /// Go on with the next packet.
    Wait,
    /// The server believes it.
    Done(OkInfo),
    /// The server doesn't.
    Denied(MySqlError),
}

// By hand: what is sent may be a password.
impl fmt::Debug for AuthStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthStep::Send(payload) => write!(f, "Send(<{} bytes>)", payload.len()),
            AuthStep::Wait => f.write_str("Wait"),
            AuthStep::Done(ok) => f.debug_tuple("Done").field(ok).finish(),
            AuthStep::Denied(e) => f.debug_tuple("Denied").field(e).finish(),
        }
    }
}

/// Why the exchange can't go on. The connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// One login.
#[derive(Debug)]
pub(crate) struct Auth {
    identity: Arc<Identity>,
    channel: Channel,
    capabilities: CapabilityFlags,
    /// 0, 1, 2.
    factor: usize,
    exchange: Exchange,
    packets: u32,
    ended: bool,
}

/// The plugin that is running.
#[derive(Debug)]
enum Exchange {
    /// None yet.
    Idle,
    /// `auth_socket`: the operating system tells the server who we are.
    Silent,
    Plugin(Box<Plugin>),
}

struct Plugin {
    name: AuthPlugin<'static>,
    proc: AuthProc,
    /// What the server sent with the request for this plugin; RSA needs it once more later.
    nonce: Vec<u8>,
    /// The next challenge is the server's RSA key.
    key_asked: bool,
}

// By hand: `mysql_common`'s PARSEC prints a hash that it made of the password.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.name))
    }
}

impl Auth {
    pub(crate) fn new(
        identity: Arc<Identity>,
        channel: Channel,
        capabilities: CapabilityFlags,
    ) -> Auth {
        let exchange = Exchange::Idle;
        Auth {
            identity,
            channel,
            capabilities,
            factor: 0,
            exchange,
            packets: 0,
            ended: false,
        }
    }

    /// The answer that goes with the first packet, for the plugin that the server's greeting names,
    /// and the name of the plugin that it is for.
    ///
    /// The greeting names the server's default, which need not be the account's plugin; the server
    /// asks for another where it isn't. So only what can't do harm is answered at once: a scramble.
    /// For anything else (unknown, the clear password, RSA, longer nonces) it is pretended that
    /// `caching_sha2_password` was named: it is the strongest of those that need 20 bytes only.
    pub(crate) fn first(
        &mut self,
        plugin: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), AuthError> {
        let plugin = match plugin.map(AuthPlugin::from_bytes) {
            None | Some(AuthPlugin::MysqlNativePassword) => AuthPlugin::MysqlNativePassword,
            Some(_) => AuthPlugin::CachingSha2Password,
        };
        // Greetings carry the nonces of plugins that have longer ones.
        let nonce = nonce.get(..SCRAMBLE).unwrap_or(nonce);
        let name = plugin.as_bytes().to_vec();
        let answer = self.begin(plugin, nonce)?;
        Ok((name, answer.unwrap_or_default()))
    }

    /// The payload of a packet that the server sent while logging in.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<AuthStep, AuthFailure> {
        if self.ended {
            return Err(ProtocolError::new("a packet after the end of the login").into());
        }
        self.packets += 1;
        if self.packets > MAX_PACKETS {
            self.ended = true;
            return Err(ProtocolError::new("the login doesn't end").into());
        }
        let step = self.step(payload);
        self.ended = !matches!(step, Ok(AuthStep::Send(_) | AuthStep::Wait));
        step
    }

    fn step(&mut self, payload: &[u8]) -> Result<AuthStep, AuthFailure> {
        let answer = match payload {
            [] => return Err(ProtocolError::new("an empty packet in a login").into()),
            [0x00, ..] => {
                let ok = parse_ok(payload, self.capabilities)?;
                return Ok(AuthStep::Done(ok));
            }
            [0xff, ..] => return Ok(AuthStep::Denied(parse_err(payload, self.capabilities)?)),
            // Of before plugins: Protocol::OldAuthSwitchRequest.
            [0xfe] => return Err(AuthError::OldPassword.into()),
            [0xfe, request @ ..] => self.switch(request)?,
            [0x02, request @ ..]
                if self
                    .capabilities
                    .contains(CapabilityFlags::MULTI_FACTOR_AUTHENTICATION) =>
            {
                if self.factor == 2 {
                    return Err(ProtocolError::new("a fourth authentication factor").into());
                }
                self.factor += 1;
                self.switch(request)?
            }
            [0x01, data @ ..] => self.challenge(data)?,
            // MySQL puts 0x01 before all data of plugins; MariaDB only before data that would be
            // taken for something else. PARSEC's salt comes without (the `mysql` crate has met both).
            data => self.challenge(data)?,
        };
        Ok(match answer {
            Some(answer) => AuthStep::Send(answer),
            None => AuthStep::Wait,
        })
    }

    /// A plugin's name, NUL, and its first challenge.
    fn switch(&mut self, request: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        let mut fields = Fields(request);
        let plugin = AuthPlugin::from_bytes(fields.nul_str()).into_owned();
        self.begin(plugin, fields.0)
    }

    fn begin(
        &mut self,
        plugin: AuthPlugin<'static>,
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, AuthError> {
        let scramble = match &plugin {
            AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Sha256Password => SCRAMBLE,
            AuthPlugin::Ed25519 if cfg!(not(feature = "client_ed25519")) => {
                let feature = "client_ed25519";
                return Err(AuthError::FeatureRequired {
                    plugin: "client_ed25519",
                    feature,
                });
            }
            AuthPlugin::Parsec if cfg!(not(feature = "client_parsec")) => {
                return Err(AuthError::FeatureRequired {
                    plugin: "parsec",
                    feature: "client_parsec",
                });
            }
            AuthPlugin::Ed25519 | AuthPlugin::Parsec => SCRAMBLE_32,
            AuthPlugin::MysqlOldPassword => return Err(AuthError::OldPassword),
            AuthPlugin::MysqlClearPassword => {
                if !self.identity.cleartext_plugin {
                    return Err(AuthError::CleartextNotEnabled);
                }
                if self.channel == Channel::Open {
                    return Err(AuthError::InsecureTransport(name(&plugin)));
                }
                data.len()
            }
            AuthPlugin::Other(other) if matches!(&**other, b"auth_socket" | b"unix_socket") => {
                self.exchange = Exchange::Silent;
                return Ok(Some(Vec::new()));
            }
            AuthPlugin::Other(_) => return Err(AuthError::UnsupportedPlugin(name(&plugin))),
        };
        if self.factor > 0 && self.identity.passwords.len() <= self.factor {
            return Err(AuthError::FactorPasswordMissing(self.factor as u8 + 1));
        }
        // A NUL follows the scramble where the server keeps it as a C string. `mysql_common` takes
        // any last zero for it, and so breaks one scramble in 256 of a server that sends none.
        let nonce = match data {
            [scramble_bytes @ .., 0] if scramble_bytes.len() == scramble => scramble_bytes,
            _ => data,
        };
        if nonce.len() != scramble {
            return Err(exchange(
                &plugin,
                format!("a scramble of {} bytes, not {scramble}", nonce.len()),
            ));
        }
        // Before the plugin runs: `sha256_password` asks for the key, or uses it, in its first answer.
        let key = match plugin {
            AuthPlugin::Sha256Password
                if self.channel != Channel::Tls
                    && !self.identity.password(self.factor).is_empty() =>
            {
                self.rsa_needed()?
            }
            _ => Key::NotNeeded,
        };
        let proc = plugin
            .init()
            .map_err(|_| AuthError::UnsupportedPlugin(name(&plugin)))?;
        let mut running = Plugin {
            name: plugin,
            proc,
            nonce: nonce.to_vec(),
            key_asked: matches!(key, Key::Asked),
        };
        let answer = self.run(&mut running, nonce);
        self.exchange = Exchange::Plugin(Box::new(running));
        answer
    }

    /// More data for the plugin that is running.
    fn challenge(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, AuthFailure> {
        let mut running = match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::Plugin(running) => running,
            Exchange::Idle | Exchange::Silent => {
                return Err(ProtocolError::new(
                    "data for an authentication plugin, and none is running",
                )
                .into());
            }
        };
        if running.key_asked {
            running.key_asked = false;
            rsa_key(data, self.identity.password(self.factor).len())?;
        } else if running.name == AuthPlugin::CachingSha2Password
            && data == FULL_AUTHENTICATION
            && !matches!(self.channel, Channel::Tls | Channel::Local)
        {
            running.key_asked = matches!(self.rsa_needed()?, Key::Asked);
        }
        let answer = self.run(&mut running, data);
        self.exchange = Exchange::Plugin(running);
        Ok(answer?)
    }

    /// Whether the password may be sent encrypted with RSA, and where the key comes from.
    fn rsa_needed(&self) -> Result<Key, AuthError> {
        match &self.identity.server_public_key {
            Some(key) => {
                rsa_key(key, self.identity.password(self.factor).len())?;
                Ok(Key::Known)
            }
            // On an open channel anybody may answer with a key of theirs; elsewhere it is the server.
            None if self.identity.get_server_public_key || self.channel != Channel::Open => {
                Ok(Key::Asked)
            }
            None => Err(AuthError::PublicKeyRequired),
        }
    }

    fn run(&self, running: &mut Plugin, challenge: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        let ctx = Secrets {
            auth: self,
            nonce: &running.nonce,
        };
        match running.proc.run(ctx, challenge) {
            Ok(response) => Ok(response.data().map(<[u8]>::to_vec)),
            Err(e) => Err(exchange(
                &running.name,
                match e {
                    PluginError::Logic => "the server goes on after the last answer".to_owned(),
                    PluginError::Challenge => "the server's challenge can't be read".to_owned(),
                    other => other.to_string(),
                },
            )),
        }
    }
}

enum Key {
    NotNeeded,
    Known,
    Asked,
}

/// What a plugin of `mysql_common` may look at.
struct Secrets<'a> {
    auth: &'a Auth,
    nonce: &'a [u8],
}

impl Context for Secrets<'_> {
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
        self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        self.auth.identity.server_public_key.as_deref()
    }
}

/// A plugin's name for an error: the server's bytes, but not a screenful of them.
fn name(plugin: &AuthPlugin<'_>) -> String {
    let name = String::from_utf8_lossy(plugin.as_bytes());
    name.chars()
        .take(64)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn exchange(plugin: &AuthPlugin<'_>, what: String) -> AuthError {
    AuthError::Exchange {
        plugin: name(plugin),
        what,
    }
}

/// Names go to the server with a NUL behind them: one within would end them early, and what follows
/// be taken for the next field.
pub(super) fn no_nul(what: &str, name: Option<&str>) -> Result<(), AuthError> {
    match name {
        Some(name) if name.contains('\0') => Err(AuthError::Exchange {
            plugin: "login".to_owned(),
            what: format!("{what} contains a NUL byte, which the protocol can't carry"),
        }),
        _ => Ok(()),
    }
}

/// Checks an RSA key in PEM before `mysql_common` uses it for a password of so many bytes: its
/// reader of DER indexes without looking, it divides by the modulus without looking, its padding
/// subtracts without looking (crypto/der.rs and crypto/rsa.rs), and the key may be the server's.
fn rsa_key(pem: &[u8], password: usize) -> Result<(), AuthError> {
    let bad = |what: &str| Err(AuthError::BadPublicKey(what.to_owned()));
    if pem.len() > 16 << 10 {
        return bad("too long");
    }
    let (der, kind) = match pem_to_der(pem) {
        Ok(found) => found,
        Err(e) => return bad(&e.to_string()),
    };
    let Some((modulus, exponent)) = rsa_numbers(&der, kind) else {
        return bad("it is no RSA key in DER");
    };
    let leading = modulus.first().map_or(0, |b| b.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    // The upper bounds keep the arithmetic short. One bit over whole bytes is where `mysql_common`
    // rounds the length down.
    if !(1024..=16384).contains(&bits) || bits % 8 == 1 {
        return bad("the modulus has an unusual size");
    }
    if exponent.is_empty() || exponent.len() > 8 || exponent.last().is_none_or(|b| b & 1 == 0) {
        return bad("the exponent is unusual");
    }
    // OAEP with SHA-1 takes 42 bytes, and the password has a NUL behind it.
    if password + 1 + 42 > bits.div_ceil(8) {
        return bad("it is too short for the password");
    }
    Ok(())
}

/// Modulus and exponent, without leading zeros, the way that `mysql_common` finds them.
fn rsa_numbers(der: &[u8], kind: PubKeyFileType) -> Option<(&[u8], &[u8])> {
    let key = match kind {
        PubKeyFileType::Pkcs1 => der,
        PubKeyFileType::Pkcs8 => {
            let (info, _) = der_field(0x30, der)?;
            let (_algorithm, rest) = der_field(0x30, info)?;
            let (bits, _) = der_field(0x03, rest)?;
            match bits {
                [0, key @ ..] => key,
                _ => return None,
            }
        }
    };
    let (numbers, _) = der_field(0x30, key)?;
    let (modulus, rest) = der_field(0x02, numbers)?;
    let (exponent, _) = der_field(0x02, rest)?;
    let trim = |n: &'_ [u8]| n.iter().position(|&b| b != 0).unwrap_or(n.len());
    Some((&modulus[trim(modulus)..], &exponent[trim(exponent)..]))
}

/// Content of the field at the front, and what is behind it.
fn der_field(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], mut rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let mut len = usize::from(first);
    if first & 0x80 != 0 {
        let size = usize::from(first & 0x7f);
        if !(1..=3).contains(&size) {
            return None;
        }
        let (digits, behind) = rest.split_at_checked(size)?;
        len = digits.iter().fold(0, |n, &b| n << 8 | usize::from(b));
        rest = behind;
    }
    rest.split_at_checked(len)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::opts::secret::Secret;

    /// The key of a MySQL 9.7.4 set up for tests.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtEtdNyFWuku6XkPVwBZV
8Zj70P869/jArmIdDif/pZCbeqD60iJrehEDSWDMCUck64t10zNFeQNYtBG9Fj2A
oxPGdUS80pS1gVpC6Kb6/ruCLNkDiqHyS9m46iXsOUNff9XwXQV4HeFNUozjANBT
6dW7+7YFyPCRd/ZSPDdHwzlyoU9AMrmxlauaM2GgoL+hx61FP8JZoXgqtoYWgdxK
pgXDCpCdq+NmqBO+bNGQewdvytN8ouWBTgPWioXLTC5L/RHihFpkpgwzqjCJIOvH
IDIUTBlE7zS/lq/blCcNbmLAK4DFIpodDSK46yXdymcBHN/XqQteYJRq1oJrKztz
BQIDAQAB
-----END PUBLIC KEY-----
";
    /// Whose logins were recorded.
    pub(in crate::proto) const PASSWORD: &str = "auth-Pass1";
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
    /// As MySQL sends it: without NUL here, its greeting and its switch put one behind.
    const NONCE: &[u8; 20] = b"\x0a\x01uI3`\x05~\x1f\x1d+uY(|/|6*V";
    const CACHED: &[u8] = b"\x01\x03";
    const FULL: &[u8] = b"\x01\x04";

    pub(in crate::proto) fn hex(digits: &str) -> Vec<u8> {
        let nibble = |b: u8| (b as char).to_digit(16).unwrap() as u8;
        digits
            .as_bytes()
            .chunks(2)
            .map(|b| nibble(b[0]) << 4 | nibble(b[1]))
            .collect()
    }

    pub(in crate::proto) fn identity(user: &str, passwords: &[&str]) -> Identity {
        Identity {
            user: Some(user.to_owned()),
            passwords: passwords.iter().map(|&p| Secret::new(p)).collect(),
            cleartext_plugin: false,
            server_public_key: None,
            get_server_public_key: false,
        }
    }

    fn user() -> Identity {
        identity("u", &[PASSWORD])
    }

    fn with_key() -> Identity {
        Identity {
            server_public_key: Some(KEY.into()),
            ..user()
        }
    }

    fn asking() -> Identity {
        Identity {
            get_server_public_key: true,
            ..user()
        }
    }

    fn clear() -> Identity {
        Identity {
            cleartext_plugin: true,
            ..user()
        }
    }

    const ALL: CapabilityFlags = CapabilityFlags::all();

    fn start(identity: Identity, channel: Channel) -> Auth {
        Auth::new(Arc::new(identity), channel, ALL)
    }

    /// An AuthSwitchRequest.
    fn switch(plugin: &str, data: &[u8]) -> Vec<u8> {
        [b"\xfe", plugin.as_bytes(), b"\0", data].concat()
    }

    fn next_factor(plugin: &str, data: &[u8]) -> Vec<u8> {
        [b"\x02", plugin.as_bytes(), b"\0", data].concat()
    }

    fn more(data: &[u8]) -> Vec<u8> {
        [b"\x01", data].concat()
    }

    fn sent(auth: &mut Auth, packet: &[u8]) -> Vec<u8> {
        match auth.on_packet(packet) {
            Ok(AuthStep::Send(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    fn refused(auth: &mut Auth, packet: &[u8]) -> AuthError {
        match auth.on_packet(packet) {
            Err(AuthFailure::Auth(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    fn out_of_order(auth: &mut Auth, packet: &[u8]) {
        assert!(matches!(
            auth.on_packet(packet),
            Err(AuthFailure::Protocol(_))
        ));
    }

    fn done(auth: &mut Auth) {
        assert!(matches!(auth.on_packet(OK), Ok(AuthStep::Done(_))));
        out_of_order(auth, OK);
    }

    fn nonce_of(auth: &Auth) -> &[u8] {
        match &auth.exchange {
            Exchange::Plugin(plugin) => &plugin.nonce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn native_at_once_and_by_switch() {
        // Recorded from MariaDB 10.11.19.
        let nonce = hex("22273b3433402c58572e7b44217343357d39417a");
        let scramble = hex("0f5c6b7a483b962fcb7fb479e6405e1b027a016d");
        let mut auth = start(user(), Channel::Open);
        let (name, answer) = auth.first(Some(b"mysql_native_password"), &nonce).unwrap();
        assert_eq!(
            (&*name, &answer),
            (&b"mysql_native_password"[..], &scramble)
        );
        let nul = [&*nonce, b"\0"].concat();
        assert_eq!(
            sent(&mut auth, &switch("mysql_native_password", &nul)),
            scramble
        );
        // Without the NUL, as other servers do, and where the scramble itself ends with a zero.
        assert_eq!(
            sent(&mut auth, &switch("mysql_native_password", &nonce)),
            scramble
        );
        let mut zero = nonce.clone();
        zero[19] = 0;
        assert_eq!(
            sent(&mut auth, &switch("mysql_native_password", &zero)).len(),
            20
        );
        done(&mut auth);
        // A server without plugins.
        let (name, answer) = start(user(), Channel::Open).first(None, &nonce).unwrap();
        assert_eq!(
            (&*name, &answer),
            (&b"mysql_native_password"[..], &scramble)
        );
    }

    #[test]
    fn an_empty_password_is_an_empty_answer() {
        for plugin in [
            "mysql_native_password",
            "caching_sha2_password",
            "sha256_password",
        ] {
            let mut auth = start(identity("u", &[]), Channel::Open);
            assert_eq!(auth.first(Some(plugin.as_bytes()), NONCE).unwrap().1, b"");
            assert_eq!(sent(&mut auth, &switch(plugin, NONCE)), b"");
            done(&mut auth);
        }
    }

    #[test]
    fn caching_sha2_from_the_cache() {
        // Recorded from MySQL 9.7.4.
        let scramble = hex("753a9f2c047ca0e284c29e4eb285059c71fc8c7b66f606e0f9e36e983b6613ea");
        let mut auth = start(user(), Channel::Open);
        let (name, answer) = auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(
            (&*name, &answer),
            (&b"caching_sha2_password"[..], &scramble)
        );
        assert!(matches!(auth.on_packet(CACHED), Ok(AuthStep::Wait)));
        done(&mut auth);
    }

    #[test]
    fn caching_sha2_in_full_sends_the_password_where_nobody_listens() {
        for channel in [Channel::Tls, Channel::Local] {
            let mut auth = start(user(), channel);
            auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
            assert_eq!(sent(&mut auth, FULL), b"auth-Pass1\0");
            done(&mut auth);
        }
    }

    #[test]
    fn caching_sha2_in_full_with_rsa() {
        let full = |identity, channel| {
            let mut auth = start(identity, channel);
            auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
            auth
        };
        assert_eq!(
            refused(&mut full(user(), Channel::Open), FULL),
            AuthError::PublicKeyRequired
        );
        let mut known = full(with_key(), Channel::Open);
        assert_eq!(sent(&mut known, FULL).len(), 256);
        done(&mut known);
        // A pipe is safe and MySQL doesn't know it.
        for (identity, channel) in [(asking(), Channel::Open), (user(), Channel::Pipe)] {
            let mut asked = full(identity, channel);
            assert_eq!(sent(&mut asked, FULL), [2]);
            assert_eq!(sent(&mut asked, &more(KEY.as_bytes())).len(), 256);
            done(&mut asked);
        }
        let mut forged = full(asking(), Channel::Open);
        assert_eq!(sent(&mut forged, FULL), [2]);
        assert!(matches!(
            refused(&mut forged, FULL),
            AuthError::BadPublicKey(_)
        ));
        let broken = Identity {
            server_public_key: Some(b"key".to_vec()),
            ..user()
        };
        assert!(matches!(
            refused(&mut full(broken, Channel::Open), FULL),
            AuthError::BadPublicKey(_)
        ));
    }

    #[test]
    fn rsa_uses_the_nonce_of_the_latest_switch() {
        let mut auth = start(with_key(), Channel::Open);
        auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        let later = [b'x'; 20];
        let packet = switch("caching_sha2_password", &[&later[..], b"\0"].concat());
        assert_eq!(sent(&mut auth, &packet).len(), 32);
        assert_eq!(nonce_of(&auth), later);
        assert_eq!(sent(&mut auth, FULL).len(), 256);
    }

    #[test]
    fn caching_sha2_out_of_order() {
        let mut auth = start(with_key(), Channel::Open);
        auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(sent(&mut auth, FULL).len(), 256);
        assert!(matches!(
            refused(&mut auth, FULL),
            AuthError::Exchange { .. }
        ));
        let mut auth = start(user(), Channel::Tls);
        auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert!(matches!(
            refused(&mut auth, b"\x01\x09"),
            AuthError::Exchange { .. }
        ));
        out_of_order(&mut start(user(), Channel::Tls), FULL);
    }

    #[test]
    fn sha256_in_tls_and_with_rsa() {
        let request = switch("sha256_password", &[&NONCE[..], b"\0"].concat());
        let mut tls = start(user(), Channel::Tls);
        assert_eq!(sent(&mut tls, &request), b"auth-Pass1\0");
        done(&mut tls);
        assert_eq!(
            refused(&mut start(user(), Channel::Open), &request),
            AuthError::PublicKeyRequired
        );
        assert_eq!(
            sent(&mut start(with_key(), Channel::Open), &request).len(),
            256
        );
        // MySQL takes no password over a socket here, other than with caching_sha2_password.
        for (identity, channel) in [
            (asking(), Channel::Open),
            (user(), Channel::Local),
            (user(), Channel::Pipe),
        ] {
            let mut asked = start(identity, channel);
            assert_eq!(sent(&mut asked, &request), [1]);
            assert_eq!(sent(&mut asked, &more(KEY.as_bytes())).len(), 256);
            done(&mut asked);
        }
    }

    #[test]
    fn a_greeting_gets_a_scramble_and_nothing_else() {
        for plugin in [
            "sha256_password",
            "mysql_clear_password",
            "mysql_old_password",
            "parsec",
            "dialog",
            "?",
        ] {
            let mut auth = start(clear(), Channel::Tls);
            let (name, answer) = auth
                .first(Some(plugin.as_bytes()), &[&NONCE[..], b"more"].concat())
                .unwrap();
            assert_eq!(
                (&*name, answer.len()),
                (&b"caching_sha2_password"[..], 32),
                "{plugin}"
            );
        }
        assert!(
            start(user(), Channel::Open)
                .first(None, &NONCE[..8])
                .is_err()
        );
    }

    #[cfg(feature = "client_ed25519")]
    #[test]
    fn ed25519() {
        // Recorded from MariaDB 10.11.19.
        let nonce = hex("91858bebb033fe81fe33f04944d476c3ea9aa979807876c6b05f3b8cf286c9a4");
        let answer = "df41778e9aad477f2420f28781fe983014206cc442f77016322527d7a7ebb916\
                      ae3492e695d9b6fa903b42d0fd7c56b86cd0dbeeaf417935c89bb86c4e99aa00";
        let mut auth = start(user(), Channel::Open);
        assert_eq!(
            sent(&mut auth, &switch("client_ed25519", &nonce)),
            hex(answer)
        );
        done(&mut auth);
        let short = refused(
            &mut start(user(), Channel::Open),
            &switch("client_ed25519", NONCE),
        );
        assert!(matches!(short, AuthError::Exchange { .. }));
    }

    #[cfg(feature = "client_parsec")]
    #[test]
    fn parsec_with_its_salt_escaped_or_not() {
        let salt = b"P\x00salt-of-18-bytes-.";
        for packet in [salt.to_vec(), more(salt)] {
            let mut auth = start(user(), Channel::Open);
            assert_eq!(sent(&mut auth, &switch("parsec", &[7; 32])), b"");
            // Our nonce and the signature.
            assert_eq!(sent(&mut auth, &packet).len(), 32 + 64);
            done(&mut auth);
        }
        // Rounds that would take for ever; another algorithm; too short.
        for salt in [
            &b"P\xffsalt-of-18-bytes-."[..],
            b"Q\x00salt-of-18-bytes-.",
            b"P\0",
        ] {
            let mut auth = start(user(), Channel::Open);
            sent(&mut auth, &switch("parsec", &[7; 32]));
            assert!(matches!(
                refused(&mut auth, &more(salt)),
                AuthError::Exchange { .. }
            ));
        }
    }

    #[test]
    fn plugins_that_are_not_built_in_name_their_feature() {
        for (plugin, built_in, feature) in [
            (
                "client_ed25519",
                cfg!(feature = "client_ed25519"),
                "client_ed25519",
            ),
            ("parsec", cfg!(feature = "client_parsec"), "client_parsec"),
        ] {
            if !built_in {
                let e = refused(&mut start(user(), Channel::Tls), &switch(plugin, &[7; 32]));
                assert_eq!(e, AuthError::FeatureRequired { plugin, feature });
            }
        }
    }

    #[test]
    fn the_clear_password_needs_consent_and_a_channel() {
        let request = switch("mysql_clear_password", b"");
        for channel in [Channel::Tls, Channel::Local, Channel::Pipe] {
            let mut auth = start(clear(), channel);
            assert_eq!(sent(&mut auth, &request), b"auth-Pass1\0");
            done(&mut auth);
            assert_eq!(
                refused(&mut start(user(), channel), &request),
                AuthError::CleartextNotEnabled
            );
        }
        assert!(matches!(
            refused(&mut start(clear(), Channel::Open), &request),
            AuthError::InsecureTransport(_)
        ));
    }

    #[test]
    fn the_old_scramble_is_refused_in_all_its_forms() {
        for packet in [vec![0xfe], switch("mysql_old_password", b"12345678")] {
            assert_eq!(
                refused(&mut start(clear(), Channel::Tls), &packet),
                AuthError::OldPassword
            );
        }
    }

    #[test]
    fn the_operating_system_vouches() {
        for plugin in ["auth_socket", "unix_socket"] {
            let mut auth = start(user(), Channel::Local);
            assert_eq!(sent(&mut auth, &switch(plugin, b"")), b"");
            done(&mut auth);
        }
        let mut auth = start(user(), Channel::Local);
        sent(&mut auth, &switch("auth_socket", b""));
        out_of_order(&mut auth, &more(b"?"));
    }

    #[test]
    fn other_plugins_are_named_and_short() {
        let unsupported = |plugin: &str| {
            refused(&mut start(user(), Channel::Tls), &switch(plugin, b"x")).to_string()
        };
        assert!(unsupported("dialog").contains("'dialog'"));
        assert!(unsupported("auth_gssapi_client").contains("'auth_gssapi_client'"));
        assert!(unsupported(&"x\x1b".repeat(1 << 16)).len() < 200);
    }

    #[test]
    fn three_factors_and_no_fourth() {
        let mut auth = start(
            Identity {
                cleartext_plugin: true,
                ..identity("u", &["one", "two", "three"])
            },
            Channel::Tls,
        );
        auth.first(Some(b"caching_sha2_password"), NONCE).unwrap();
        assert_eq!(sent(&mut auth, FULL), b"one\0");
        assert_eq!(
            sent(&mut auth, &next_factor("mysql_clear_password", b"")),
            b"two\0"
        );
        assert_eq!(
            sent(&mut auth, &next_factor("sha256_password", NONCE)),
            b"three\0"
        );
        out_of_order(&mut auth, &next_factor("mysql_clear_password", b""));
    }

    #[test]
    fn a_factor_without_a_password_is_an_error() {
        let mut auth = start(clear(), Channel::Tls);
        let e = refused(&mut auth, &next_factor("mysql_clear_password", b""));
        assert_eq!(e, AuthError::FactorPasswordMissing(2));
        // Where it was not agreed on, it is not the start of a factor.
        let mut auth = Auth::new(
            Arc::new(clear()),
            Channel::Tls,
            ALL - CapabilityFlags::MULTI_FACTOR_AUTHENTICATION,
        );
        out_of_order(&mut auth, &next_factor("mysql_clear_password", b""));
    }

    #[test]
    fn the_servers_no() {
        let mut auth = start(user(), Channel::Open);
        match auth.on_packet(b"\xff\x15\x04#28000Access denied") {
            Ok(AuthStep::Denied(e)) => assert_eq!((e.code, &*e.state), (1045, "28000")),
            other => panic!("{other:?}"),
        }
        out_of_order(&mut auth, OK);
    }

    #[test]
    fn a_login_ends_some_time() {
        let mut auth = start(user(), Channel::Open);
        let request = switch("mysql_native_password", NONCE);
        for _ in 0..MAX_PACKETS {
            sent(&mut auth, &request);
        }
        out_of_order(&mut auth, &request);
        out_of_order(&mut auth, OK);
        out_of_order(&mut start(user(), Channel::Open), b"");
    }

    #[test]
    fn what_is_printed_holds_no_password() {
        let mut auth = start(clear(), Channel::Tls);
        let step = auth
            .on_packet(&switch("mysql_clear_password", b""))
            .unwrap();
        let text = format!("{step:?} {auth:?}");
        assert!(
            !text.contains("Pass1") && !text.contains("80, 97, 115, 115"),
            "{text}"
        );
    }

    #[test]
    fn who_can_listen() {
        let pipe = |server: &str| Endpoint::Pipe {
            server: server.into(),
            name: "MySQL".into(),
        };
        let tcp = Endpoint::Tcp {
            host: "localhost".into(),
            port: 3306,
        };
        let socket = Endpoint::Socket { path: "/s".into() };
        let of = |endpoint| Channel::of(&super::super::handshake::tests::target(endpoint, false));
        assert_eq!(of(tcp.clone()), Channel::Open);
        assert_eq!(of(socket), Channel::Local);
        assert_eq!(of(pipe(".")), Channel::Pipe);
        assert_eq!(of(pipe("other")), Channel::Open);
        assert_eq!(
            Channel::of(&super::super::handshake::tests::target(tcp, true)),
            Channel::Tls
        );
    }

    fn pem(der: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut pem = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
        for three in der.chunks(3) {
            let n = (0..3).fold(0, |n, i| {
                n << 8 | three.get(i).map_or(0, |&b| usize::from(b))
            });
            for i in 0..4 {
                pem.push(if i <= three.len() {
                    DIGITS[n >> (18 - 6 * i) & 63]
                } else {
                    b'='
                });
            }
        }
        pem.extend(b"\n-----END PUBLIC KEY-----\n");
        pem
    }

    fn der() -> Vec<u8> {
        pem_to_der(KEY).unwrap().0
    }

    #[test]
    fn keys_that_can_and_cannot_be_used() {
        assert_eq!(rsa_key(&pem(&der()), 8), Ok(()));
        // 2048 bits are 256 bytes, of which padding and NUL take 43.
        assert_eq!(rsa_key(KEY.as_bytes(), 213), Ok(()));
        for long in [214, 215, 300] {
            assert!(rsa_key(KEY.as_bytes(), long).is_err());
        }
        let zero = |range: std::ops::Range<usize>| {
            let mut der = der();
            der[range].fill(0);
            pem(&der)
        };
        let len = der().len();
        assert!(
            rsa_key(&zero(33..33 + 257), 8).is_err(),
            "a modulus of zero"
        );
        assert!(
            rsa_key(&zero(len - 3..len), 8).is_err(),
            "an exponent of zero"
        );
        assert!(
            rsa_key(&zero(33..33 + 1 + 200), 8).is_err(),
            "a short modulus"
        );
        for cut in 0..len {
            assert!(rsa_key(&pem(&der()[..cut]), 8).is_err());
        }
        assert!(rsa_key(&[b'x'; 20_000], 8).is_err());
    }

    fn any_identity() -> impl Strategy<Value = Identity> {
        (0usize..4, any::<[bool; 3]>()).prop_map(|(n, [clear, key, ask])| Identity {
            cleartext_plugin: clear,
            server_public_key: key.then(|| KEY.into()),
            get_server_public_key: ask,
            ..identity("u", &vec![PASSWORD; n])
        })
    }

    fn any_channel() -> impl Strategy<Value = Channel> {
        prop::sample::select(vec![
            Channel::Open,
            Channel::Local,
            Channel::Pipe,
            Channel::Tls,
        ])
    }

    /// Packets of which many get far.
    pub(in crate::proto) fn any_packet() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..48);
        let plugin = prop::sample::select(vec![
            "mysql_native_password",
            "caching_sha2_password",
            "sha256_password",
            "mysql_clear_password",
            "client_ed25519",
            "parsec",
            "auth_socket",
            "dialog",
            "mysql_old_password",
        ]);
        let data = prop_oneof![
            any::<[u8; 20]>().prop_map(Vec::from),
            any::<[u8; 32]>().prop_map(Vec::from),
            bytes()
        ];
        let head = prop::sample::select(vec![2u8, 0xfe]);
        prop_oneof![
            bytes(),
            (head, plugin, data).prop_map(|(head, plugin, data)| {
                [&[head], plugin.as_bytes(), b"\0", &data].concat()
            }),
            bytes().prop_map(|data| more(&data)),
            (0u8..6).prop_map(|b| vec![1, b]),
            Just(more(KEY.as_bytes())),
            any::<[u8; 18]>().prop_map(|salt| [&b"P\0"[..], &salt].concat()),
        ]
    }

    proptest! {
        #[test]
        fn any_packets_no_panic(
            identity in any_identity(),
            channel in any_channel(),
            caps: u32,
            plugin in prop::option::of(prop::collection::vec(any::<u8>(), 0..24)),
            nonce in prop::collection::vec(any::<u8>(), 0..40),
            packets in prop::collection::vec(any_packet(), 0..20),
        ) {
            let caps = CapabilityFlags::from_bits_truncate(caps);
            let mut auth = Auth::new(Arc::new(identity), channel, caps);
            drop(auth.first(plugin.as_deref(), &nonce));
            for packet in packets {
                drop(auth.on_packet(&packet));
            }
        }

        /// Nobody can make us send the password itself over an open channel.
        #[test]
        fn an_open_channel_never_sees_the_password(
            identity in any_identity(),
            packets in prop::collection::vec(any_packet(), 0..16),
        ) {
            let mut auth = start(identity, Channel::Open);
            drop(auth.first(Some(b"caching_sha2_password"), NONCE));
            for packet in packets {
                if let Ok(AuthStep::Send(payload)) = auth.on_packet(&packet) {
                    prop_assert!(!payload.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes()));
                }
            }
        }

        /// What is let through does not make `mysql_common` panic.
        #[test]
        fn any_key_no_panic(
            changes in prop::collection::vec((0usize..300, any::<u8>()), 0..6),
            password in prop::collection::vec(any::<u8>(), 0..260),
        ) {
            let mut der = der();
            for (at, byte) in changes {
                let at = at % der.len();
                der[at] = byte;
            }
            let key = pem(&der);
            if rsa_key(&key, password.len()).is_ok() {
                let password = [&*password, b"\0"].concat();
                drop(mysql_common::crypto::encrypt(&password, &key));
            }
        }
    }
}
