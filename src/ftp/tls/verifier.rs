//! Whether a server is believed, and what is wrong with the others, in words.

use crate::ftp::certificate::{Certificate, Pin, public_key};
use crate::ftp::error::Flaw;
use crate::ftp::tls::known::Known;
use crate::path::escaped;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use std::fmt;
use std::sync::Arc;

/// Asks for a key, for a chain to a root, or for both. That the server has the key of its certificate is asked for in any
/// case.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) keys: Keys,
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// The roots of `chain`, in words.
    pub(super) expected: String,
}

/// Which keys a server may have.
#[derive(Debug)]
pub(super) enum Keys {
    Any,
    Given(Vec<Pin>),
    Known(Arc<Known>),
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
        let explained = |(flaw, words): (Flaw, String)| {
            let chain = std::iter::once(end_entity).chain(intermediates).take(CHAIN_MAX);
            let chain = chain.filter_map(|der| Certificate::read(der)).collect();
            CertificateError::Other(OtherError(Arc::new(Explained { words, flaw, chain })))
        };
        self.keys.check(end_entity).map_err(|words| explained((Flaw::OtherKey, words)))?;
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(|error| {
            let rustls::Error::InvalidCertificate(why) = error else { return error };
            let shown =
                Certificate::read(end_entity).map_or_else(|| "(unreadable)".to_owned(), |read| read.to_string());
            explained(self.explained(&why, &shown)).into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    /// With the key alone: old certificates (version 1) have nothing else that would be of use, and none of it was asked for
    /// where they get here.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = public_key(certificate).ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    fn explained(&self, why: &CertificateError, shown: &str) -> (Flaw, String) {
        let (flaw, words) = match why {
            CertificateError::UnknownIssuer => (Flaw::UnknownIssuer, format!(" does not lead to {}", self.expected)),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (Flaw::Expired, " has expired".to_owned())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                (Flaw::NotYet, " is not valid yet".to_owned())
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented = presented.join(", ");
                let words = format!(" is for {}, not for {}", escaped(presented.as_bytes()), expected.to_str());
                (Flaw::OtherName, words)
            }
            other => (Flaw::Other, format!(": {other}")),
        };
        (flaw, format!("the server's certificate {shown}{words}"))
    }
}

impl Keys {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let pin = || Pin::of_certificate(certificate).ok_or("the server's certificate cannot be read");
        match self {
            Self::Any => Ok(()),
            Self::Given(pins) => match pin()? {
                pin if pins.contains(&pin) => Ok(()),
                pin => {
                    let wanted: Vec<String> = pins.iter().map(Pin::to_string).collect();
                    Err(format!("the server's key {pin} is not the one of pin= ({})", wanted.join(" or ")))
                }
            },
            Self::Known(known) => known.check(pin()?),
        }
    }
}

/// The words for a refused certificate, what they come to, and the chain that it was part of.
pub(super) fn explain(error: &CertificateError) -> (String, Flaw, Vec<Certificate>) {
    let explained = match error {
        CertificateError::Other(OtherError(error)) => error.downcast_ref::<Explained>(),
        _ => None,
    };
    explained.map_or_else(
        || (format!("the server's certificate: {error}"), Flaw::Other, Vec::new()),
        |explained| (explained.words.clone(), explained.flaw, explained.chain.clone()),
    )
}

/// Travels through rustls to [`explain`].
#[derive(Debug)]
struct Explained {
    words: String,
    flaw: Flaw,
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
