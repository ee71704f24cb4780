//! Whose certificates are believed, and what is wrong with the others, in words.

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
                subjects.push(Shown::of(&certificate).subject);
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
            let words = self.words(&why, &Shown::of(end_entity));
            CertificateError::Other(OtherError(Arc::new(Explained(words)))).into()
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
    fn words(&self, why: &CertificateError, shown: &Shown) -> String {
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

/// The words for a refused certificate.
pub(super) fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(OtherError(words)) => words.to_string(),
        other => format!("the server's certificate: {other}"),
    }
}

#[derive(Debug)]
struct Explained(String);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Explained {}

/// What is worth showing of a certificate.
struct Shown {
    subject: String,
    issuer: String,
    validity: String,
}

impl Shown {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, parsed)) => Self {
                subject: shorten(&parsed.subject().to_string()),
                issuer: shorten(&parsed.issuer().to_string()),
                validity: format!("from {} to {}", parsed.validity().not_before, parsed.validity().not_after),
            },
            Err(_) => Self { subject: "?".to_owned(), issuer: "?".to_owned(), validity: "?".to_owned() },
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" (issued by \"{}\", valid {})", self.subject, self.issuer, self.validity)
    }
}

/// A name in a certificate is the server's word like any other: escaped and bounded.
fn shorten(name: &str) -> String {
    let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    escaped(shown.as_bytes()).to_string()
}

const NAME_CHARS_MAX: usize = 200;
