//! Whom TLS trusts.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};
use tokio_rustls::TlsConnector;

/// TLS that trusts the certificates of a file, or Mozilla's roots, which are in the binary: an image from scratch has
/// none.
pub(super) fn tls(file: Option<&Path>) -> Result<TlsConnector, io::Error> {
    let roots = match file {
        Some(file) => of_file(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn of_file(file: &Path) -> Result<RootCertStore, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err("it has no certificates".into()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        assert!(tls(None).is_ok());
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, says) in [("", "it has no certificates"), ("-----BEGIN CERTIFICATE-----\n", "")] {
            std::fs::write(file.path(), content).unwrap();
            let error = tls(Some(file.path())).map(drop).unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()) && error.contains(says), "{error}");
        }
        assert!(tls(Some(Path::new("/none/such"))).is_err());
    }
}
