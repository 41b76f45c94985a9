//! `COM_CHANGE_USER`: another identity on an open connection, with a login of its own.
//!
//! Knows the command and its exchange; not what becomes of the session, nor when it is worth it.
//!
//! Both servers always answer with an AuthSwitchRequest, also for the right plugin: two round trips.
//! A failed one ends the connection on MySQL and leaves the old user on MariaDB.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html>

use std::sync::Arc;

use mysql_common::{
    constants::{CapabilityFlags, Command},
    io::BufMutExt,
};

use super::{
    auth::{Auth, AuthFailure, AuthStep, Channel, no_nul},
    handshake::{COLLATION, ServerInfo, put_nul_str, put_plugin_and_attrs},
};
use crate::{
    error::AuthError,
    opts::{identity::Identity, target::Fixed},
};

/// One change of identity.
#[derive(Debug)]
pub(crate) struct ChangeUser {
    auth: Auth,
}

impl ChangeUser {
    /// The exchange, and the command's payload. `capabilities` are those that were agreed on.
    pub(crate) fn new(
        identity: Arc<Identity>,
        db_name: Option<&str>,
        fixed: &Fixed,
        server: &ServerInfo,
        capabilities: CapabilityFlags,
        channel: Channel,
    ) -> Result<(Self, Vec<u8>), AuthError> {
        no_nul("the user's name", identity.user.as_deref())?;
        no_nul("the schema's name", db_name)?;
        let mut auth = Auth::new(identity.clone(), channel, capabilities);
        let (plugin, answer) = auth.first(server.plugin(), &server.nonce)?;
        let mut packet = Vec::with_capacity(128);
        packet.push(Command::COM_CHANGE_USER as u8);
        put_nul_str(&mut packet, identity.user.as_deref());
        // One byte of length here, whatever was agreed on for the handshake response.
        packet.put_u8_str(&answer);
        put_nul_str(&mut packet, db_name);
        packet.extend(u16::from(COLLATION).to_le_bytes());
        put_plugin_and_attrs(&mut packet, capabilities, &plugin, fixed);
        Ok((ChangeUser { auth }, packet))
    }

    /// The payload of a packet that the server answers with.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<AuthStep, AuthFailure> {
        self.auth.on_packet(payload)
    }
}

#[cfg(test)]
mod tests {
    use mysql_common::{io::ParseBuf, packets::ComChangeUser};
    use proptest::prelude::*;

    use super::{
        super::{
            auth::tests::{PASSWORD, any_packet, hex, identity},
            capabilities::tests::{MYSQL, fixed},
            handshake::tests::one_attr,
        },
        *,
    };

    const CAPABILITIES: CapabilityFlags = CapabilityFlags::from_bits_truncate(0x11be_a20d);

    fn server(plugin: &str, nonce: &str) -> ServerInfo {
        ServerInfo {
            version: "9.7.4".into(),
            parsed: (9, 7, 4),
            mariadb: false,
            connection_id: 16,
            nonce: hex(nonce),
            default_plugin: plugin.into(),
            capabilities: MYSQL,
            extended: mysql_common::constants::MariadbCapabilities::empty(),
        }
    }

    fn change(
        user: &str,
        db: Option<&str>,
        server: &ServerInfo,
        capabilities: CapabilityFlags,
    ) -> Result<(ChangeUser, Vec<u8>), AuthError> {
        let fixed = Fixed {
            connect_attrs: one_attr(),
            ..fixed()
        };
        let identity = Arc::new(identity(user, &[PASSWORD]));
        ChangeUser::new(identity, db, &fixed, server, capabilities, Channel::Open)
    }

    fn sent(step: Result<AuthStep, AuthFailure>) -> Vec<u8> {
        match step {
            Ok(AuthStep::Send(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mysql_byte_for_byte() {
        // Recorded from MySQL 9.7.4.
        let server = server(
            "caching_sha2_password",
            "2510345d5a5f5336152e5c6e0b156c1806072569",
        );
        let (mut change, command) = change("wta_c1", Some("mux"), &server, CAPABILITIES).unwrap();
        let expected = "117774615f633100208d6fa8d04de7fc55025782f52752a8260fcddba4248803dfdcba20bb3b7209c1\
            6d7578002d0063616368696e675f736861325f70617373776f7264000401610162";
        assert_eq!(command, hex(expected));
        let switch = "fe63616368696e675f736861325f70617373776f726400\
            382c1913473d1b7d71342a3741307b1b3e3e6a5900";
        let answer = "a192decbf3f62247fd968a9760f6e7538bc019d330558ff6582200be28ab6ee4";
        assert_eq!(sent(change.on_packet(&hex(switch))), hex(answer));
        assert!(matches!(change.on_packet(b"\x01\x03"), Ok(AuthStep::Wait)));
        assert!(matches!(
            change.on_packet(&hex("0000000240000000060104036d7578")),
            Ok(AuthStep::Done(ok)) if ok.changes[..] == b"\x01\x04\x03mux"[..]
        ));
    }

    #[test]
    fn mariadb_byte_for_byte() {
        // Recorded from MariaDB 10.11.19, which switches to the plugin and nonce that were answered.
        let server = server(
            "mysql_native_password",
            "22273b3433402c58572e7b44217343357d39417a",
        );
        let (mut change, command) = change("wta_n", None, &server, CAPABILITIES).unwrap();
        let expected = "117774615f6e00140f5c6b7a483b962fcb7fb479e6405e1b027a016d002d00\
            6d7973716c5f6e61746976655f70617373776f7264000401610162";
        assert_eq!(command, hex(expected));
        let switch = "fe6d7973716c5f6e61746976655f70617373776f726400\
            22273b3433402c58572e7b44217343357d39417a00";
        let answer = hex("0f5c6b7a483b962fcb7fb479e6405e1b027a016d");
        assert_eq!(sent(change.on_packet(&hex(switch))), answer);
        assert!(matches!(
            change.on_packet(&hex("00000002000000")),
            Ok(AuthStep::Done(_))
        ));
    }

    #[test]
    fn the_layout_is_mysql_commons() {
        let server = server("caching_sha2_password", &"61".repeat(20));
        let (_, command) = change("u", None, &server, CAPABILITIES).unwrap();
        let parsed: ComChangeUser<'_> = ParseBuf(&command).parse(CAPABILITIES).unwrap();
        let mut back = Vec::new();
        mysql_common::proto::MySerialize::serialize(&parsed, &mut back);
        assert_eq!(back, command);
    }

    #[test]
    fn what_was_not_agreed_on_is_not_sent() {
        let server = server("", &"61".repeat(20));
        let bare = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
        let (_, command) = change("u", Some("d"), &server, bare).unwrap();
        assert!(command.ends_with(b"d\0\x2d\0"));
    }

    #[test]
    fn names_with_a_nul_are_refused() {
        let server = server("", &"61".repeat(20));
        assert!(change("u\0", None, &server, CAPABILITIES).is_err());
        assert!(change("u", Some("\0"), &server, CAPABILITIES).is_err());
    }

    #[test]
    fn a_no_is_told() {
        let server = server("", &"61".repeat(20));
        let (mut change, _) = change("u", None, &server, CAPABILITIES).unwrap();
        assert!(matches!(
            change.on_packet(b"\xff\x15\x04#28000Access denied"),
            Ok(AuthStep::Denied(e)) if e.code == 1045
        ));
    }

    proptest! {
        #[test]
        fn any_packets_no_panic(packets in prop::collection::vec(any_packet(), 0..6)) {
            let server = server("caching_sha2_password", &"61".repeat(20));
            let (mut change, _) = change("u", None, &server, CAPABILITIES).unwrap();
            for packet in packets {
                drop(change.on_packet(&packet));
            }
        }
    }
}
