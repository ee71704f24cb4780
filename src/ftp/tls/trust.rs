//! What is believed, and who we are, as rustls wants to have it.

use crate::ftp::certificate::Certificate;
use crate::ftp::settings::{Identity, Settings, Trust, Versions};
use crate::ftp::tls::known::Known;
use crate::ftp::tls::verifier::{Keys, Verifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The configuration that every connection to a server is a clone of.
pub(super) fn client_config(settings: &Settings, known: Option<Arc<Known>>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(offered(settings.versions))
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(&settings.trust, known, &provider)?));
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certificates, key) = identity_parts(identity)?;
            let wrong = |error| format!("the client certificate and its key do not go together: {error}");
            builder.with_client_auth_cert(certificates, key).map_err(wrong)?
        }
    };
    // The record layer is ours: see `records`.
    config.enable_secret_extraction = true;
    Ok(config)
}

fn offered(versions: Versions) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    let (tls13, tls12) = BOTH.split_at(1);
    match versions {
        Versions::Both => &BOTH,
        Versions::Tls12 => tls12,
        Versions::Tls13 => tls13,
    }
}

fn verifier(trust: &Trust, known: Option<Arc<Known>>, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
    let (keys, roots) = match (trust, known) {
        (Trust::Anything, _) => (Keys::Any, None),
        (Trust::FirstUse(_), Some(known)) => (Keys::Known(known), None),
        (Trust::FirstUse(_), None) => return Err("the file of known servers was not read".to_owned()),
        (Trust::Pinned { pins, roots }, _) => (Keys::Given(pins.clone()), roots.as_deref()),
        (roots, _) => (Keys::Any, Some(roots)),
    };
    let (chain, expected) = match roots {
        None => (None, String::new()),
        Some(trust) => {
            let (roots, expected) = self::roots(trust)?;
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            (Some(chain.map_err(|error| error.to_string())?), expected)
        }
    };
    Ok(Verifier { keys, chain, algorithms: provider.signature_verification_algorithms, expected })
}

fn roots(trust: &Trust) -> Result<(RootCertStore, String), String> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::WebPki => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok((roots, "one of Mozilla's roots (cafile= names another)".to_owned()))
        }
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            match (roots.is_empty(), found.errors.first()) {
                (false, _) => Ok((roots, "one of the system's roots (cafile= names another)".to_owned())),
                (true, Some(error)) => Err(format!("the system's roots: {error}")),
                (true, None) => Err("the system has no roots (on Debian: package ca-certificates)".to_owned()),
            }
        }
        Trust::Pem(pem) => {
            let mut subjects = Vec::new();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("the CA file: {error}"))?;
                subjects.push(Certificate::read(&certificate).map_or_else(|| "?".to_owned(), |read| read.subject));
                if let Err(error) = roots.add(certificate) {
                    log::warn!("an authority's certificate is left out: {error}");
                }
            }
            match roots.is_empty() {
                true => Err("the CA file holds no certificate that can be used".to_owned()),
                false => Ok((roots, format!("the CA file's {}", named(&subjects)))),
            }
        }
        Trust::Pinned { .. } | Trust::FirstUse(_) | Trust::Anything => Err("a pin needs other roots".to_owned()),
    }
}

/// All of a few, and a few of many.
fn named(subjects: &[String]) -> String {
    match subjects.len().saturating_sub(SUBJECTS_MAX) {
        0 => subjects.join(" or "),
        others => format!("{} or {others} others", subjects[..SUBJECTS_MAX].join(", ")),
    }
}

type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity_parts(identity: &Identity) -> Result<Parts, String> {
    let certificates = CertificateDer::pem_slice_iter(&identity.certificates).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| format!("the client certificate: {error}"))?;
    if certificates.is_empty() {
        return Err("there is no client certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose());
    Ok((certificates, key.map_err(|error| format!("the client certificate's key: {error}"))?))
}

const SUBJECTS_MAX: usize = 3;
