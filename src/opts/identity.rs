//! Who a link is authenticated as: user, credentials, and what the user allows while proving them.
//! Two handles share a link only if their identities are equal, secrets included.

use std::hash::{Hash, Hasher};

use super::secret::Secret;

/// The user, the secrets, and the conditions under which they may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `None` is the anonymous user, or the one that the transport proves.
    pub user: Option<String>,
    /// One password for each authentication factor; at most three.
    pub passwords: Vec<Secret>,
    /// The user consents to `mysql_clear_password`. Still refused where the transport is not secure.
    pub cleartext_plugin: bool,
    /// PEM of the server's RSA key, for `sha256_password` and `caching_sha2_password` without TLS.
    pub server_public_key: Option<Vec<u8>>,
    /// The RSA key may be asked of the server itself, over a transport that anybody can forge.
    pub get_server_public_key: bool,
}

impl Identity {
    /// The password of a factor (0, 1, 2); empty where none was given.
    pub(crate) fn password(&self, factor: usize) -> &[u8] {
        self.passwords.get(factor).map_or(&[], Secret::expose)
    }
}

// The secrets stay out of the hash: it is used to find candidates, `Eq` decides.
impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
    }
}
