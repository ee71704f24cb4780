//! Certificates as people read them: whose, for which names, by whom, until when, and the pin of the key (RFC 5280,
//! RFC 7469 section 2.4). Nothing here decides whether one is believed.

use crate::path::escaped;
use base64ct::{Base64, Encoding as _};
use core::net::{Ipv4Addr, Ipv6Addr};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

/// What a certificate says of itself. Every text is escaped and bounded: it is the server's word like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The distinguished name, as `CN=files.example, O=Example`.
    pub subject: String,
    /// The common name (CN) of the subject, where it has one.
    pub common_name: Option<String>,
    /// DNS names and IP addresses that it is for (subjectAltName): what verification looks at.
    pub names: Vec<String>,
    /// The distinguished name of whoever signed it.
    pub issuer: String,
    /// It names itself as its issuer.
    pub self_signed: bool,
    /// It may sign others.
    pub is_authority: bool,
    /// Valid from then on.
    pub not_before: SystemTime,
    /// Valid until then.
    pub not_after: SystemTime,
    /// The kind and size of its key, as `EC 256 bits`.
    pub key: String,
    /// The hash of its public key.
    pub pin: Pin,
}

impl Certificate {
    /// Reads the DER form; `None` where it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let validity = parsed.validity();
        Some(Self {
            subject: shown(&parsed.subject().to_string()),
            common_name: parsed.subject().iter_common_name().find_map(|name| Some(shown(name.as_str().ok()?))),
            names: names(&parsed),
            issuer: shown(&parsed.issuer().to_string()),
            self_signed: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            is_authority: parsed.is_ca(),
            not_before: moment(validity.not_before),
            not_after: moment(validity.not_after),
            key: key(&parsed),
            pin: Pin::of_key(parsed.public_key().raw),
        })
    }

    /// What is wrong with its time at `now`.
    pub fn out_of_time(&self, now: SystemTime) -> Option<OutOfTime> {
        if now > self.not_after {
            Some(OutOfTime::Expired)
        } else if now < self.not_before {
            Some(OutOfTime::NotYet)
        } else {
            None
        }
    }
}

/// A chain in lines for a person: what each certificate says, and the pin of the server's own.
pub fn describe(chain: &[Certificate], now: SystemTime) -> Vec<String> {
    let Some(own) = chain.first() else { return Vec::new() };
    let mut lines = vec!["The server showed:".to_owned()];
    for (number, certificate) in chain.iter().enumerate() {
        let names = if certificate.names.is_empty() { "no name" } else { &certificate.names.join(", ") };
        lines.push(format!("  {number}  subject  {}", certificate.subject));
        lines.push(format!("     for      {names}"));
        lines.push(match certificate.self_signed {
            true => "     issuer   itself (self-signed)".to_owned(),
            false => format!("     issuer   {}", certificate.issuer),
        });
        let wrong = match certificate.out_of_time(now) {
            Some(OutOfTime::Expired) => " (it has expired)",
            Some(OutOfTime::NotYet) => " (not yet)",
            None => "",
        };
        lines.push(format!("     valid    {} to {}{wrong}", Day(certificate.not_before), Day(certificate.not_after)));
        lines.push(format!("     key      {}", certificate.key));
    }
    lines.push(
        "If you know by another way that this is the server's key, this option trusts it and no other:".to_owned(),
    );
    lines.push(format!("  pin={}", own.pin));
    lines
}

/// How a certificate's time and the clock disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfTime {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYet,
}

/// `"CN=files.example" (for files.example, issued by "CN=…", valid from … to …)`, in one line.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (Day(self.not_before), Day(self.not_after));
        write!(f, "\"{}\" (", self.subject)?;
        if !self.names.is_empty() {
            write!(f, "for {}, ", self.names.join(", "))?;
        }
        if self.self_signed {
            write!(f, "self-signed, ")?;
        } else {
            write!(f, "issued by \"{}\", ", self.issuer)?;
        }
        write!(f, "valid from {from} to {until})")
    }
}

/// A day and time as `2026-11-24 22:31 UTC`.
#[derive(Debug, Clone, Copy)]
pub struct Day(pub SystemTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = match self.0.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
        };
        let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return f.write_str("?") };
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", time.hour(), time.minute())
    }
}

/// The SHA-256 hash of a public key (SubjectPublicKeyInfo), as `sha256/BASE64`; curl writes `sha256//BASE64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a key in the DER form of SubjectPublicKeyInfo.
    pub fn of_key(info: &[u8]) -> Self {
        Self(Sha256::digest(info).into())
    }

    /// The pin of a certificate's key; `None` where `der` is no certificate.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        public_key(der).map(Self::of_key)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The first character of the hash may be a slash, too.
        let base64 = text.strip_prefix("sha256/");
        let base64 =
            base64.map(|text| text.strip_prefix('/').filter(|short| short.len() == BASE64_CHARS).unwrap_or(text));
        let bytes = base64.and_then(|base64| Base64::decode_vec(base64).ok());
        let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hash.map(Self).ok_or_else(|| "must be sha256/ and the 44 characters of a hash in base64".to_owned())
    }
}

/// The public key of a certificate, in the DER form of SubjectPublicKeyInfo.
pub fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(parsed.tbs_certificate.subject_pki.raw)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let known = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(shown(name)),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    known.take(NAMES_MAX).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string())
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {} bits", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {} bits", point.key_size()),
        _ if key.algorithm.algorithm.to_id_string() == ED25519 => "Ed25519".to_owned(),
        _ => key.algorithm.algorithm.to_id_string(),
    }
}

fn moment(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let moment = if time.timestamp() < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    moment.unwrap_or(UNIX_EPOCH)
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(NAME_CHARS_MAX).collect();
    escaped(short.as_bytes()).to_string()
}

/// 32 bytes in base64.
const BASE64_CHARS: usize = 44;
const ED25519: &str = "1.3.101.112";
/// A certificate may be for thousands of names, and one name long.
const NAMES_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_written_as_it_is_read() {
        let text = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Pin::of_key(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Pin::of_key(b"")));
        assert_eq!(text.replacen('/', "//", 1).parse(), Ok(Pin::of_key(b"")));
        let slash = "sha256//7DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(slash.parse::<Pin>().map(|pin| pin.to_string()).as_deref(), Ok(slash));
        for wrong in ["", "sha256/", "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256/AAAA", &text[7..]] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_is_told_in_universal_time() {
        let at = |seconds| Day(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
        assert_eq!(at(1_795_559_460), "2026-11-24 22:31 UTC");
        assert_eq!(Day(UNIX_EPOCH - Duration::from_secs(60)).to_string(), "1969-12-31 23:59 UTC");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(Certificate::read(b"not a certificate"), None);
        assert_eq!(Certificate::read(&[]), None);
    }
}
