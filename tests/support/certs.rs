//! A certificate authority for the tests, which also issues what a client must refuse.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

/// An authority of its own: a client that was given [`Ca::pem`] believes what it issued, and nobody else does.
#[derive(Debug)]
pub struct Ca {
    issuer: rcgen::CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Since yesterday, for a month.
    Valid,
    /// Until yesterday.
    Expired,
    /// From tomorrow on.
    NotYet,
}

/// What a server shows: its certificate and key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate alone.
    pub cert_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
    /// The certificate, then the authority's.
    pub chain_pem: String,
}

impl Ca {
    /// A fresh authority; `name` becomes its common name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, Validity::Valid);
        let key = KeyPair::generate().expect("ECDSA keys can be made");
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).expect("the parameters above are sound");
        Self { issuer }
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client's certificate.
    pub fn issue_client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, Validity::Valid);
        let key = KeyPair::generate().expect("ECDSA keys can be made");
        let cert_pem = params.signed_by(&key, &self.issuer).expect("the parameters above are sound").pem();
        Identity { chain_pem: cert_pem.clone(), key_pem: key.serialize_pem(), cert_pem }
    }

    /// A server's certificate for DNS names and IP addresses.
    pub fn issue(&self, names: &[&str], validity: Validity) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names of a test are ASCII");
        params.distinguished_name.push(DnType::CommonName, "ftpsfs test server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let key = KeyPair::generate().expect("ECDSA keys can be made");
        let cert_pem = params.signed_by(&key, &self.issuer).expect("the parameters above are sound").pem();
        Identity { chain_pem: format!("{cert_pem}{}", self.pem()), key_pem: key.serialize_pem(), cert_pem }
    }
}

/// A server's certificate that nobody vouches for.
pub fn self_signed(names: &[&str], validity: Validity) -> Identity {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names of a test are ASCII");
    params.distinguished_name.push(DnType::CommonName, "ftpsfs test server");
    set_validity(&mut params, validity);
    let key = KeyPair::generate().expect("ECDSA keys can be made");
    let cert_pem = params.self_signed(&key).expect("the parameters above are sound").pem();
    Identity { chain_pem: cert_pem.clone(), key_pem: key.serialize_pem(), cert_pem }
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let now = OffsetDateTime::now_utc();
    let (from, until) = match validity {
        Validity::Valid => (-1, 30),
        Validity::Expired => (-30, -1),
        Validity::NotYet => (1, 30),
    };
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(until);
}
