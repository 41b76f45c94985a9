//! TLS options.

use std::path::{Path, PathBuf};
#[cfg(feature = "rustls-tls")]
use std::{fs, io};

/// Where PEM comes from.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Pem {
    File(PathBuf),
    Bytes(Vec<u8>),
}

#[cfg(feature = "rustls-tls")]
impl Pem {
    fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Pem::File(path) => fs::read(path)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
            Pem::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pem::File(path) => path.fmt(f),
            Pem::Bytes(_) => f.write_str("<pem>"),
        }
    }
}

/// How a link is protected by TLS. Its presence requires TLS: a server that doesn't offer it is an
/// error, never a connection in the clear.
///
/// By default the server's certificate must lead to a root that browsers trust and bear the host's
/// name.
///
/// ```
/// use mysql_mux::{OptsBuilder, SslOpts};
///
/// let ssl = SslOpts::default().with_root_cert_path(Some("/etc/mysql/ca.pem"));
/// let opts = OptsBuilder::new().ip_or_hostname(Some("db.example")).ssl_opts(ssl);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SslOpts {
    root_cert: Option<Pem>,
    client_identity: Option<ClientIdentity>,
    server_name: Option<String>,
    skip_domain_validation: bool,
    accept_invalid_certs: bool,
}

impl SslOpts {
    /// A file with the PEM of the roots to trust, in place of the built-in ones.
    pub fn with_root_cert_path<T: Into<PathBuf>>(mut self, path: Option<T>) -> Self {
        self.root_cert = path.map(|path| Pem::File(path.into()));
        self
    }

    /// The PEM of the roots to trust, in place of the built-in ones.
    pub fn with_root_cert_pem(mut self, pem: Option<Vec<u8>>) -> Self {
        self.root_cert = pem.map(Pem::Bytes);
        self
    }

    /// The certificate that proves the client.
    pub fn with_client_identity(mut self, identity: Option<ClientIdentity>) -> Self {
        self.client_identity = identity;
        self
    }

    /// The name that the server's certificate must bear. Default: the host's name or address;
    /// `localhost` on a socket or pipe.
    pub fn with_server_name<T: Into<String>>(mut self, name: Option<T>) -> Self {
        self.server_name = name.map(Into::into);
        self
    }

    /// Any name in the certificate will do. Default: `false`.
    pub fn with_danger_skip_domain_validation(mut self, skip: bool) -> Self {
        self.skip_domain_validation = skip;
        self
    }

    /// Any certificate will do: protects from listeners, not from impostors. Default: `false`.
    pub fn with_danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.accept_invalid_certs = accept;
        self
    }

    /// The file of the roots, where one was given.
    pub fn root_cert_path(&self) -> Option<&Path> {
        match &self.root_cert {
            Some(Pem::File(path)) => Some(path),
            _ => None,
        }
    }

    /// The certificate that proves the client.
    pub fn client_identity(&self) -> Option<&ClientIdentity> {
        self.client_identity.as_ref()
    }

    /// The name that the server's certificate must bear, where one was given.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// See [`Self::with_danger_skip_domain_validation`].
    pub fn skip_domain_validation(&self) -> bool {
        self.skip_domain_validation
    }

    /// See [`Self::with_danger_accept_invalid_certs`].
    pub fn accept_invalid_certs(&self) -> bool {
        self.accept_invalid_certs
    }

    #[cfg(feature = "rustls-tls")]
    pub(crate) fn root_cert_pem(&self) -> io::Result<Option<Vec<u8>>> {
        self.root_cert.as_ref().map(Pem::read).transpose()
    }
}

/// A client's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    cert: Pem,
    key: Pem,
}

impl ClientIdentity {
    /// From files with the PEM of the certificate's chain and of its key.
    pub fn new<C: Into<PathBuf>, K: Into<PathBuf>>(cert: C, key: K) -> Self {
        ClientIdentity {
            cert: Pem::File(cert.into()),
            key: Pem::File(key.into()),
        }
    }

    /// From the PEM of the certificate's chain and of its key.
    pub fn from_pem(cert: Vec<u8>, key: Vec<u8>) -> Self {
        ClientIdentity {
            cert: Pem::Bytes(cert),
            key: Pem::Bytes(key),
        }
    }

    pub(super) fn with_cert(self, cert: PathBuf) -> Self {
        ClientIdentity {
            cert: Pem::File(cert),
            ..self
        }
    }

    pub(super) fn with_key(self, key: PathBuf) -> Self {
        ClientIdentity {
            key: Pem::File(key),
            ..self
        }
    }

    #[cfg(feature = "rustls-tls")]
    pub(crate) fn pems(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.cert.read()?, self.key.read()?))
    }
}
