//! Whose certificates are believed, and what is wrong with the others, in words.

use crate::ftp::certificate::Certificate;
use crate::ftp::settings::Trust;
use crate::ftp::tls::Versions;
use crate::path::escaped;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;

/// The configuration that every connection to a server is a clone of.
pub(super) fn client_config(trust: &Trust, versions: Versions) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (roots, expected) = roots(trust)?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions.offered())
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { inner, expected }))
        .with_no_client_auth();
    // The record layer is ours: see `records`.
    config.enable_secret_extraction = true;
    Ok(config)
}

fn roots(trust: &Trust) -> Result<(RootCertStore, String), String> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::WebPki => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok((roots, "one of Mozilla's roots (cafile= names another)".to_owned()))
        }
        Trust::Pem(pem) => {
            let mut subjects = Vec::new();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("the CA file: {error}"))?;
                subjects.push(Certificate::read(&certificate).map_or_else(|| "?".to_owned(), |read| read.subject));
                roots.add(certificate).map_err(|error| format!("a certificate of the CA file: {error}"))?;
            }
            if subjects.is_empty() {
                return Err("the CA file holds no certificate".to_owned());
            }
            Ok((roots, format!("the CA file's {}", subjects.join(" or "))))
        }
    }
}

/// rustls' own verification; only its refusals are put into words, while the certificate is at hand.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    expected: String,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(|error| {
            let rustls::Error::InvalidCertificate(why) = error else { return error };
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).take(CHAIN_MAX).collect();
            let chain: Vec<_> = chain.into_iter().filter_map(|der| Certificate::read(der)).collect();
            let shown =
                Certificate::read(end_entity).map_or_else(|| "(unreadable)".to_owned(), |read| read.to_string());
            let words = self.words(&why, &shown);
            CertificateError::Other(OtherError(Arc::new(Explained { words, chain }))).into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Verifier {
    fn words(&self, why: &CertificateError, shown: &str) -> String {
        match why {
            CertificateError::UnknownIssuer => {
                format!("the server's certificate {shown} does not lead to {}", self.expected)
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the server's certificate {shown} has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the server's certificate {shown} is not valid yet")
            }
            CertificateError::NotValidForNameContext { expected, presented } => format!(
                "the server's certificate {shown} is for {}, not for {}",
                escaped(presented.join(", ").as_bytes()),
                expected.to_str()
            ),
            other => format!("the server's certificate {shown}: {other}"),
        }
    }
}

/// The words for a refused certificate, and the chain that it was part of.
pub(super) fn explain_certificate(error: &CertificateError) -> (String, Vec<Certificate>) {
    let explained = match error {
        CertificateError::Other(OtherError(error)) => error.downcast_ref::<Explained>(),
        _ => None,
    };
    explained.map_or_else(
        || (format!("the server's certificate: {error}"), Vec::new()),
        |explained| (explained.words.clone(), explained.chain.clone()),
    )
}

/// Travels through rustls to [`explain_certificate`].
#[derive(Debug)]
struct Explained {
    words: String,
    chain: Vec<Certificate>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Explained {}

/// A chain that is believed has three or four; a server may show as many as it likes.
const CHAIN_MAX: usize = 8;
