//! The TLS certificates of a test server: a CA with a server's and a client's certificate, and a CA that signed
//! nothing, for tests that must fail.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Writes `ca.pem`, `other-ca.pem`, and `server` and `client` each as `-cert.pem` and `-key.pem`.
pub fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let issuer = authority("mysql_mux test CA", &folder.join("ca.pem"))?;
    authority("mysql_mux other CA", &folder.join("other-ca.pem"))?;

    let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    leaf(
        &issuer,
        folder,
        "server",
        names,
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    leaf(
        &issuer,
        folder,
        "client",
        Vec::new(),
        ExtendedKeyUsagePurpose::ClientAuth,
    )
}

fn authority(name: &str, file: &Path) -> Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    fs::write(file, params.self_signed(&key)?.pem())?;
    Ok(Issuer::new(params, key))
}

fn leaf(
    issuer: &Issuer<'static, KeyPair>,
    folder: &Path,
    name: &str,
    alternative_names: Vec<String>,
    usage: ExtendedKeyUsagePurpose,
) -> Result<()> {
    let mut params = CertificateParams::new(alternative_names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("mysql_mux {name}"));
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    fs::write(
        folder.join(format!("{name}-cert.pem")),
        params.signed_by(&key, issuer)?.pem(),
    )?;
    fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem())?;
    Ok(())
}
