//! TLS by rustls, sans-I/O: bytes go in and out of a state machine; who moves them is not known here.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::{Buf, BufMut, BytesMut};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::WebPkiServerVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    error::ConnectCause,
    opts::{
        ssl::SslOpts,
        target::{Endpoint, Target},
    },
};

/// One side of a TLS connection.
pub(super) struct Tls(ClientConnection);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn bad(what: impl fmt::Display) -> ConnectCause {
    ConnectCause::Tls(what.to_string())
}

impl Tls {
    pub(super) fn new(target: &Target) -> Result<Tls, ConnectCause> {
        let ssl = target.ssl.as_ref().ok_or_else(|| bad("no TLS options"))?;
        let name = match (ssl.server_name(), &target.endpoint) {
            (Some(name), _) => name.to_owned(),
            (None, Endpoint::Tcp { host, .. }) => host.clone(),
            (None, _) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(name)
            .map_err(|_| bad("the host's name can't be in a certificate"))?;
        let config = Arc::new(config(ssl)?);
        ClientConnection::new(config, name).map(Tls).map_err(bad)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Bytes from the transport; what they decrypt to is appended to `plain`.
    pub(super) fn take_in(&mut self, mut bytes: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes)?;
            let state = self
                .0
                .process_new_packets()
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            let had = plain.len();
            let more = state.plaintext_bytes_to_read();
            plain.resize(had + more, 0);
            self.0.reader().read_exact(&mut plain[had..])?;
        }
        Ok(())
    }

    /// Appends bytes for the transport.
    pub(super) fn take_out(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let mut out = out.writer();
        while self.0.wants_write() {
            self.0.write_tls(&mut out)?;
        }
        Ok(())
    }

    /// Encrypts as much of `plain` as fits and takes it off; [`Self::take_out`] has the rest.
    pub(super) fn encrypt(&mut self, plain: &mut BytesMut) -> io::Result<()> {
        let taken = self.0.writer().write(plain)?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        plain.advance(taken);
        Ok(())
    }
}

fn config(ssl: &SslOpts) -> Result<ClientConfig, ConnectCause> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(bad)?;
    let verifier: Arc<dyn ServerCertVerifier> = if ssl.accept_invalid_certs() {
        Arc::new(AnyCertificate(provider))
    } else {
        let mut roots = RootCertStore::empty();
        match ssl.root_cert_pem().map_err(bad)? {
            Some(pem) => {
                for cert in CertificateDer::pem_slice_iter(&pem) {
                    roots
                        .add(cert.map_err(|e| bad(format!("the root certificate: {e}")))?)
                        .map_err(bad)?;
                }
                if roots.is_empty() {
                    return Err(bad("the root certificate file holds no certificate"));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(bad)?;
        match ssl.skip_domain_validation() {
            true => Arc::new(AnyName(webpki)),
            false => webpki,
        }
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match ssl.client_identity() {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let (cert_pem, key_pem) = identity.pems().map_err(bad)?;
            let certs = CertificateDer::pem_slice_iter(&cert_pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| bad(format!("the client certificate: {e}")))?;
            let key = PrivateKeyDer::from_pem_slice(&key_pem)
                .map_err(|e| bad(format!("the client key: {e}")))?;
            builder.with_client_auth_cert(certs, key).map_err(bad)
        }
    }
}

/// The chain must lead to a root; the name may be any.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError as C;
        match self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
        {
            // webpki checks the name last: everything else was found good.
            Err(rustls::Error::InvalidCertificate(
                C::NotValidForName | C::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whatever certificate the server shows; it must still own its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
