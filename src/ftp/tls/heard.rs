//! What a server tells of itself in the clear part of a handshake. rustls keeps some of it to itself, and all of it when the
//! handshake fails.

#![deny(clippy::indexing_slicing)]

use crate::ftp::certificate::Certificate;
use crate::remote::condition::Encryption;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use std::fmt;
use std::time::Duration;

/// What one handshake told, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The version that the server chose.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite that it chose.
    pub suite: Option<CipherSuite>,
    /// The group of its key exchange; not told by a resumed handshake of TLS 1.2.
    pub group: Option<NamedGroup>,
    /// It asked for another key share first (RFC 8446 section 4.1.4).
    pub retry: bool,
    /// It agreed to the extended master secret (RFC 7627); TLS 1.3 always has the like.
    pub extended_master_secret: bool,
    /// It gave the session a number (TLS 1.2; in TLS 1.3 that means nothing).
    pub session_id: bool,
    /// It sent a ticket of TLS 1.2 (RFC 5077).
    pub ticket: bool,
    /// The lifetime hint of that ticket, where one was told.
    pub lifetime: Option<Duration>,
    /// The certificates that it showed on a control connection, its own first; also those that were not believed.
    pub chain: Vec<Certificate>,
    /// How the handshake ended; `None` where it did not.
    pub kind: Option<HandshakeKind>,
    /// Handshake messages of which only the beginning has come.
    messages: Vec<u8>,
    /// What follows is encrypted.
    is_over: bool,
}

impl Heard {
    /// Whether TLS 1.3 was chosen.
    pub fn is_tls13(&self) -> bool {
        self.version == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether a session of the control connection was resumed.
    pub fn resumed(&self) -> bool {
        self.kind == Some(HandshakeKind::Resumed)
    }

    /// What was agreed on, in words.
    pub fn encryption(&self) -> Option<Encryption> {
        let version = format!("{:?}", self.version?).replace("TLSv1_", "TLS 1.");
        let cipher = self.suite.map(|suite| format!("{suite:?}")).unwrap_or_default();
        Some(Encryption { version, cipher })
    }

    /// Takes a whole record, header included.
    pub(super) fn record(&mut self, record: &[u8]) {
        let Some((&[kind, ..], body)) = record.split_first_chunk::<HEADER_BYTES>() else { return };
        match kind {
            // A HelloRetryRequest may be followed by one that means nothing.
            CHANGE_CIPHER_SPEC if !self.is_tls13() => self.is_over = true,
            HANDSHAKE if !self.is_over && self.messages.len() < MESSAGES_BYTES_MAX => {
                self.messages.extend_from_slice(body);
                while let Some((kind, message)) = take_message(&mut self.messages) {
                    self.message(kind, &message);
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, kind: u8, message: &[u8]) {
        // What is not as it must be is for rustls to complain of.
        let _ = match kind {
            SERVER_HELLO => self.server_hello(message),
            SERVER_KEY_EXCHANGE => self.server_key_exchange(message),
            NEW_SESSION_TICKET => self.new_session_ticket(message),
            _ => None,
        };
    }

    /// RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3.
    fn server_hello(&mut self, mut message: &[u8]) -> Option<()> {
        let input = &mut message;
        self.version = Some(ProtocolVersion::from(number(input)?));
        let random = take(input, 32)?;
        let session_id = short_vector(input)?;
        self.suite = Some(CipherSuite::from(number(input)?));
        take(input, 1)?;
        self.session_id = !session_id.is_empty();
        self.extended_master_secret = false;
        let mut extensions = input.get(2..).unwrap_or_default();
        while !extensions.is_empty() {
            let kind = number(&mut extensions)?;
            let length = number(&mut extensions)?;
            let mut body = take(&mut extensions, length.into())?;
            match kind {
                EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
                SUPPORTED_VERSIONS => self.version = Some(ProtocolVersion::from(number(&mut body)?)),
                KEY_SHARE => self.group = Some(NamedGroup::from(number(&mut body)?)),
                _ => {}
            }
        }
        let is_retry = random == RETRY_RANDOM;
        self.retry |= is_retry;
        self.is_over = self.is_tls13() && !is_retry;
        Some(())
    }

    /// RFC 8422 section 5.4.
    fn server_key_exchange(&mut self, mut message: &[u8]) -> Option<()> {
        if take(&mut message, 1)? == [NAMED_CURVE] {
            self.group = Some(NamedGroup::from(number(&mut message)?));
        }
        Some(())
    }

    /// RFC 5077 section 3.3.
    fn new_session_ticket(&mut self, message: &[u8]) -> Option<()> {
        let seconds = u32::from_be_bytes(*message.first_chunk()?);
        self.ticket = true;
        // Zero: the server leaves it open.
        self.lifetime = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        Some(())
    }
}

/// For the log.
impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(version) = self.version else { return f.write_str("nothing of TLS") };
        write!(f, "{version:?}")?;
        self.suite.map_or(Ok(()), |suite| write!(f, ", {suite:?}"))?;
        self.group.map_or(Ok(()), |group| write!(f, ", {group:?}"))?;
        if !self.is_tls13() {
            f.write_str(if self.extended_master_secret {
                ", extended master secret"
            } else {
                ", no extended master secret"
            })?;
        }
        match self.kind {
            Some(kind) => write!(f, ", handshake {kind:?}"),
            None => f.write_str(", no end of the handshake"),
        }
    }
}

/// Takes the first whole handshake message (RFC 8446 section 4): its type and its body.
pub(super) fn take_message(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let &[kind, a, b, c] = bytes.first_chunk()?;
    let end = 4 + usize::from(a) * 65536 + usize::from(b) * 256 + usize::from(c);
    let message = bytes.get(4..end)?.to_vec();
    bytes.drain(..end);
    Some((kind, message))
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn number(input: &mut &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*take(input, 2)?.first_chunk()?))
}

fn short_vector<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = *take(input, 1)?.first()?;
    take(input, length.into())
}

const HEADER_BYTES: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;
const SERVER_KEY_EXCHANGE: u8 = 12;
const NAMED_CURVE: u8 = 3;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
/// A ServerHello with this in place of a random number is a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// A longer clear part of a handshake is not read on.
const MESSAGES_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3], &u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
    }

    fn hello(random: &[u8; 32], extensions: &[u8]) -> Vec<u8> {
        let extensions_length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        let body = [&[3, 3], &random[..], &[1, 9, 0x13, 0x02, 0], &extensions_length, extensions].concat();
        [&[SERVER_HELLO, 0, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    }

    #[test]
    fn a_retry_and_the_hello_after_it_are_both_heard() {
        let mut heard = Heard::default();
        let asks = hello(&RETRY_RANDOM, &[0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 23]);
        heard.record(&record(HANDSHAKE, &asks));
        heard.record(&record(CHANGE_CIPHER_SPEC, &[1]));
        let answer = hello(&[7; 32], &[0, 43, 0, 2, 3, 4, 0, 51, 0, 4, 0, 23, 0, 0]);
        // In two records.
        heard.record(&record(HANDSHAKE, &answer[..10]));
        heard.record(&record(HANDSHAKE, &answer[10..]));
        assert!(heard.retry && heard.is_tls13());
        assert_eq!(heard.group, Some(NamedGroup::secp256r1));
        assert_eq!(heard.suite, Some(CipherSuite::TLS13_AES_256_GCM_SHA384));
        heard.record(&record(HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 4, 0, 0, 0, 9]));
        assert!(!heard.ticket, "encrypted bytes are not read");
    }

    #[test]
    fn tls_1_2_tells_of_its_master_secret_its_curve_and_its_ticket() {
        let mut heard = Heard::default();
        heard.record(&record(HANDSHAKE, &hello(&[7; 32], &[0, 23, 0, 0])));
        heard.record(&record(HANDSHAKE, &[SERVER_KEY_EXCHANGE, 0, 0, 3, NAMED_CURVE, 0, 29]));
        heard.record(&record(HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 5, 0, 0, 14, 16, 0]));
        heard.record(&record(CHANGE_CIPHER_SPEC, &[1]));
        heard.record(&record(HANDSHAKE, &hello(&[7; 32], &[])));
        assert_eq!(heard.version, Some(ProtocolVersion::TLSv1_2));
        assert!(heard.extended_master_secret && heard.session_id && heard.ticket);
        assert_eq!((heard.group, heard.lifetime), (Some(NamedGroup::X25519), Some(Duration::from_secs(3600))));
    }

    #[test]
    fn what_is_cut_off_is_no_harm() {
        let whole = record(HANDSHAKE, &hello(&[7; 32], &[0, 43, 0, 2, 3, 4, 0, 51, 0, 4, 0, 23, 0, 0]));
        for end in 0..whole.len() {
            let mut heard = Heard::default();
            heard.record(&whole[..end]);
        }
    }
}
