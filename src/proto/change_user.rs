//! `COM_CHANGE_USER`: another identity on the same connection, with an authentication of its own.
//!
//! Both servers answer it with a switch of plugins, MySQL with a new nonce: two round trips always.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html>

use std::sync::Arc;

use mysql_common::constants::CapabilityFlags;

use super::{
    auth::{Auth, AuthFailure, AuthStep, Channel},
    handshake::{COLLATION, ServerInfo, put_attrs, put_null_str},
};
use crate::{
    error::AuthError,
    opts::{identity::Identity, target::Fixed},
};

/// The exchange.
#[derive(Debug)]
pub(crate) struct ChangeUser {
    auth: Auth,
}

impl ChangeUser {
    /// The exchange and the command's payload. No schema leaves the connection without one.
    pub(crate) fn new(
        identity: Arc<Identity>,
        db_name: Option<&str>,
        fixed: &Fixed,
        server: &ServerInfo,
        capabilities: CapabilityFlags,
        channel: Channel,
    ) -> Result<(Self, Vec<u8>), AuthError> {
        let mut auth = Auth::new(identity.clone(), channel, capabilities);
        let plugin = Some(&server.default_plugin[..]).filter(|p| !p.is_empty());
        let (plugin, data) = auth.first(plugin, &server.nonce)?;
        let mut payload = vec![0x11];
        put_null_str(
            &mut payload,
            identity.user.as_deref().unwrap_or("").as_bytes(),
        );
        payload.push(data.len() as u8);
        payload.extend_from_slice(&data);
        put_null_str(&mut payload, db_name.unwrap_or("").as_bytes());
        payload.extend_from_slice(&u16::from(COLLATION).to_le_bytes());
        if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            put_null_str(&mut payload, &plugin);
        }
        if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
            put_attrs(&mut payload, fixed);
        }
        Ok((ChangeUser { auth }, payload))
    }

    /// The payload of a packet that came in answer.
    pub(crate) fn on_packet(&mut self, payload: &[u8]) -> Result<AuthStep, AuthFailure> {
        self.auth.on_packet(payload)
    }
}
