//! The record layer after the handshake (RFC 8446 section 5, RFC 5246 section 6.2), on secrets that rustls hands out.
//!
//! It is ours for two reasons. rustls gives each TLS 1.3 ticket once, and some servers give fewer than data connections
//! need (ProFTPD none on uploads): here the NewSessionTicket message is kept, and handed to rustls again when the tickets
//! run out. And records are decrypted where they lie, without a copy for each.

use crate::ftp::stream::Tcp;
use crate::ftp::tls::heard::take_message;
use crate::path::escaped;
use rustls::client::ClientConnectionData;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::cipher::{AeadKey, Iv, MessageDecrypter, MessageEncrypter};
use rustls::crypto::cipher::{InboundOpaqueMessage, OutboundChunks, OutboundPlainMessage};
use rustls::kernel::KernelConnection;
use rustls::{AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite};
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// That many bytes, at least one.
    Bytes(usize),
    /// The peer's `close_notify`: nothing was cut off.
    Closed,
    /// The end of the TCP connection without `close_notify`: something may be missing.
    Cut,
}

/// An encrypted connection in both directions.
pub struct Records {
    kernel: KernelConnection<ClientConnectionData>,
    suite: SupportedCipherSuite,
    decrypter: Box<dyn MessageDecrypter>,
    received: u64,
    encrypter: Box<dyn MessageEncrypter>,
    sent: u64,
    /// After so many records another key is due.
    sent_max: u64,
    incoming: Incoming,
    /// The end of a record that did not fit the reader's buffer.
    rest: Vec<u8>,
    rest_start: usize,
    /// A post-handshake message of which only the beginning has come.
    handshake: Vec<u8>,
    ticket: Option<Ticket>,
    tickets_received: usize,
    ended: Option<Received>,
    close_sent: bool,
}

struct Ticket {
    /// The body of the NewSessionTicket message (RFC 8446 section 4.6.1).
    message: Vec<u8>,
    since: Instant,
}

impl Records {
    /// Takes over from a finished handshake; `unread` is what came after it.
    pub(super) fn new(connection: UnbufferedClientConnection, unread: &[u8]) -> Result<Self, rustls::Error> {
        let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
        let suite = kernel.negotiated_cipher_suite();
        let ((received, receive), (sent, send)) = (secrets.rx, secrets.tx);
        Ok(Self {
            decrypter: decrypter(suite, receive)?,
            encrypter: encrypter(suite, send)?,
            kernel,
            suite,
            received,
            sent,
            sent_max: sent_max(suite),
            incoming: Incoming::holding(unread),
            rest: Vec::new(),
            rest_start: 0,
            handshake: Vec::new(),
            ticket: None,
            tickets_received: 0,
            ended: None,
            close_sent: false,
        })
    }

    /// The version of TLS.
    pub fn version(&self) -> ProtocolVersion {
        self.kernel.protocol_version()
    }

    /// Whether `close_notify` ends only the direction of who sends it: not before TLS 1.3.
    pub fn closes_by_halves(&self) -> bool {
        self.version() == ProtocolVersion::TLSv1_3
    }

    /// Waits for at least one byte and fills as much of `buffer` as has already come.
    ///
    /// # Errors
    ///
    /// The network's, or `InvalidData` where the records are not what the peer encrypted, or only ones without content come:
    /// anybody on the way can make ChangeCipherSpec, and nobody may make us wait for ever.
    pub fn read(&mut self, tcp: &mut Tcp, buffer: &mut [u8]) -> io::Result<Received> {
        let mut filled = self.take_rest(buffer);
        let (mut empty, mut waits_since) = (0, None);
        while filled < buffer.len() && self.ended.is_none() {
            if let Some(record) = self.incoming.record()? {
                let count = self.open_record(tcp, record, buffer.get_mut(filled..).unwrap_or_default())?;
                filled += count;
                empty = if count == 0 { empty + 1 } else { 0 };
                if empty > EMPTY_RECORDS_MAX {
                    return Err(invalid("TLS records without content, one after the other"));
                }
            } else if filled > 0 {
                break;
            } else {
                // What is there is heard, however late; but nobody waits for the rest of it for ever.
                if waits_since.is_some_and(|since| tcp.is_late(since)) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                waits_since = waits_since.or_else(|| Some(Instant::now()));
                if self.incoming.fill(tcp)? == 0 {
                    self.ended = Some(Received::Cut);
                }
            }
        }
        match self.ended {
            Some(end) if filled == 0 => Ok(end),
            _ => Ok(Received::Bytes(filled)),
        }
    }

    /// Encrypts and sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// The network's.
    pub fn write(&mut self, tcp: &mut Tcp, bytes: &[u8]) -> io::Result<()> {
        for flight in bytes.chunks(FLIGHT_BYTES_MAX) {
            if self.sent >= self.sent_max {
                self.renew_sending_key(tcp)?;
            }
            let fragments = flight.chunks(FRAGMENT_BYTES_MAX);
            let records: Vec<Vec<u8>> = fragments
                .map(|fragment| self.seal(ContentType::ApplicationData, fragment))
                .collect::<io::Result<_>>()?;
            tcp.write_all_of(&records)?;
        }
        Ok(())
    }

    /// Says that nothing more follows (`close_notify`, RFC 8446 section 6.1); a second time says nothing.
    ///
    /// # Errors
    ///
    /// The network's.
    pub fn send_close_notify(&mut self, tcp: &mut Tcp) -> io::Result<()> {
        if std::mem::replace(&mut self.close_sent, true) {
            return Ok(());
        }
        let record = self.seal(ContentType::Alert, &[ALERT_LEVEL_WARNING, u8::from(AlertDescription::CloseNotify)])?;
        tcp.write_all(&record)
    }

    /// Gives rustls the last ticket once more, so that one more data connection can resume; `false` where the server
    /// never gave one, or it is too old.
    pub fn remint_ticket(&mut self) -> bool {
        let Some(ticket) = &self.ticket else { return false };
        let fresh = ticket_lifetime(&ticket.message).is_some_and(|lifetime| ticket.since.elapsed() < lifetime);
        fresh && self.kernel.handle_new_session_ticket(&ticket.message).is_ok()
    }

    /// How many tickets of TLS 1.3 have come.
    pub fn tickets_received(&self) -> usize {
        self.tickets_received
    }

    /// How long the server keeps the session of the last ticket (RFC 8446 section 4.6.1).
    pub fn ticket_lifetime(&self) -> Option<Duration> {
        ticket_lifetime(&self.ticket.as_ref()?.message)
    }

    fn take_rest(&mut self, buffer: &mut [u8]) -> usize {
        let left = self.rest.get(self.rest_start..).unwrap_or_default();
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.rest_start += count;
        count
    }

    /// Decrypts the record at `range` of what came; application data goes to `buffer` and, where it is too small, to
    /// `rest`. Returns the bytes put into `buffer`.
    fn open_record(&mut self, tcp: &mut Tcp, range: Range<usize>, buffer: &mut [u8]) -> io::Result<usize> {
        let record = &mut self.incoming.bytes[range];
        let kind = ContentType::from(record[0]);
        // TLS 1.3 allows this one, unencrypted and without meaning (RFC 8446 section 5).
        if kind == ContentType::ChangeCipherSpec && self.kernel.protocol_version() == ProtocolVersion::TLSv1_3 {
            return Ok(0);
        }
        let opaque = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, &mut record[HEADER_BYTES..]);
        let plain = self.decrypter.decrypt(opaque, self.received).map_err(invalid)?;
        self.received += 1;
        match plain.typ {
            ContentType::ApplicationData => {
                let count = plain.payload.len().min(buffer.len());
                let (now, later) = plain.payload.split_at(count);
                buffer[..count].copy_from_slice(now);
                self.rest.clear();
                self.rest.extend_from_slice(later);
                self.rest_start = 0;
                Ok(count)
            }
            ContentType::Alert => {
                self.ended = Some(alert(plain.payload)?);
                Ok(0)
            }
            ContentType::Handshake => {
                self.handshake.extend_from_slice(plain.payload);
                self.handshake_messages(tcp)?;
                Ok(0)
            }
            other => Err(invalid(format!("an unexpected record of type {other:?}"))),
        }
    }

    fn handshake_messages(&mut self, tcp: &mut Tcp) -> io::Result<()> {
        while let Some((kind, body)) = take_message(&mut self.handshake) {
            match kind {
                NEW_SESSION_TICKET if self.version() == ProtocolVersion::TLSv1_3 => self.new_session_ticket(body)?,
                KEY_UPDATE if self.version() == ProtocolVersion::TLSv1_3 => {
                    self.key_update(tcp, body == [UPDATE_REQUESTED])?;
                }
                // A HelloRequest of TLS 1.2 may be ignored (RFC 5246 section 7.4.1.1): nobody renegotiates.
                HELLO_REQUEST => {}
                other => return Err(invalid(format!("an unexpected handshake message of type {other}"))),
            }
        }
        if self.handshake.len() > HANDSHAKE_BYTES_MAX {
            return Err(invalid("an endless handshake message"));
        }
        Ok(())
    }

    fn new_session_ticket(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.kernel.handle_new_session_ticket(&message).map_err(invalid)?;
        self.tickets_received += 1;
        log::trace!("a TLS session ticket came, for {:?}", ticket_lifetime(&message));
        self.ticket = Some(Ticket { message, since: Instant::now() });
        Ok(())
    }

    /// The peer changed its sending key and may want that we change ours (RFC 8446 section 4.6.3).
    fn key_update(&mut self, tcp: &mut Tcp, requested: bool) -> io::Result<()> {
        let (sequence, secrets) = self.kernel.update_rx_secret().map_err(invalid)?;
        self.decrypter = decrypter(self.suite, secrets).map_err(invalid)?;
        self.received = sequence;
        // After our `close_notify` no key is used any more.
        if requested && !self.close_sent { self.renew_sending_key(tcp) } else { Ok(()) }
    }

    /// Sends with another key from now on (RFC 8446 section 4.6.3). TLS 1.2 has no such thing.
    fn renew_sending_key(&mut self, tcp: &mut Tcp) -> io::Result<()> {
        if self.version() != ProtocolVersion::TLSv1_3 {
            let why = "the connection has sent as much as one key of TLS 1.2 may encrypt";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
        }
        let ours = self.seal(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED])?;
        tcp.write_all(&ours)?;
        let (sequence, secrets) = self.kernel.update_tx_secret().map_err(invalid)?;
        self.encrypter = encrypter(self.suite, secrets).map_err(invalid)?;
        self.sent = sequence;
        Ok(())
    }

    fn seal(&mut self, typ: ContentType, fragment: &[u8]) -> io::Result<Vec<u8>> {
        let payload = OutboundChunks::Single(fragment);
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.encrypter.encrypt(plain, self.sent).map_err(invalid)?;
        self.sent += 1;
        Ok(sealed.encode())
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("version", &self.version()).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Bytes from the network that no record has been made of yet.
struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    fn holding(unread: &[u8]) -> Self {
        let mut bytes = vec![0; BUFFER_BYTES_MIN.max(unread.len())];
        bytes[..unread.len()].copy_from_slice(unread);
        Self { bytes, start: 0, end: unread.len() }
    }

    /// Takes the next whole record, header included.
    fn record(&mut self) -> io::Result<Option<Range<usize>>> {
        let [kind, _, _, high, low, ..] = self.bytes[self.start..self.end] else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=24).contains(&kind) || length > RECORD_BYTES_MAX {
            // vsftpd says its last words in clear: `500 OOPS: …`.
            let sample = &self.bytes[self.start..self.end.min(self.start + SAMPLE_BYTES)];
            return Err(invalid(format!("what came is no TLS record but \"{}\"", escaped(sample.trim_ascii_end()))));
        }
        let end = self.start + HEADER_BYTES + length;
        if end > self.end {
            return Ok(None);
        }
        let range = self.start..end;
        self.start = end;
        Ok(Some(range))
    }

    fn fill(&mut self, tcp: &mut Tcp) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Control connections stay small; a data connection that fills its buffer gets a larger one.
        if self.end == self.bytes.len() || (self.bytes.len() < BUFFER_BYTES_MAX && self.end > self.bytes.len() / 2) {
            self.bytes.resize((self.bytes.len() * 2).min(BUFFER_BYTES_MAX.max(self.end + 1)), 0);
        }
        let count = tcp.read(&mut self.bytes[self.end..])?;
        if count == self.bytes.len() - self.end && self.bytes.len() < BUFFER_BYTES_MAX {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        self.end += count;
        Ok(count)
    }
}

fn alert(payload: &[u8]) -> io::Result<Received> {
    match payload {
        [_, code] if *code == u8::from(AlertDescription::CloseNotify) => Ok(Received::Closed),
        [_, code] => Err(io::Error::new(io::ErrorKind::ConnectionAborted, alert_words(AlertDescription::from(*code)))),
        _ => Err(invalid("a malformed TLS alert")),
    }
}

/// In TLS 1.3 what a server thinks of the client's certificate comes after the handshake.
pub(super) fn alert_words(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => " (it wants a client certificate: cert= and key=)",
        // All that is heard in TLS 1.2.
        AlertDescription::HandshakeFailure => " (perhaps it wants a client certificate: cert= and key=)",
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::DecryptError
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::AccessDenied => " (perhaps it does not accept the client certificate of cert=)",
        _ => "",
    };
    format!("the server sent the TLS alert {alert:?}{meaning}")
}

fn ticket_lifetime(message: &[u8]) -> Option<Duration> {
    let seconds = message.first_chunk::<4>()?;
    Some(Duration::from_secs(u32::from_be_bytes(*seconds).into()))
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// How many records one key may encrypt (RFC 8446 section 5.5), with room for those that are not counted one by one.
fn sent_max(suite: SupportedCipherSuite) -> u64 {
    let limit = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
    };
    limit - limit / 16
}

fn decrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, rustls::Error> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed])
        }
    })
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageEncrypter>, rustls::Error> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    })
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), rustls::Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(rustls::Error::General("a cipher of which the record layer knows nothing".to_owned())),
    }
}

const HEADER_BYTES: usize = 5;
/// How much of what is no TLS is quoted.
const SAMPLE_BYTES: usize = 80;
/// RFC 8446 section 5.1.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024;
/// What is encrypted before it is sent: little enough that the processor's cache still has it, enough for few system calls.
const FLIGHT_BYTES_MAX: usize = 8 * FRAGMENT_BYTES_MAX;
/// The longest ciphertext of either version (RFC 5246 section 6.2.3).
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048;
/// So many records in a row may be tickets, key updates and the like, or empty.
const EMPTY_RECORDS_MAX: u32 = 64;
const BUFFER_BYTES_MIN: usize = RECORD_BYTES_MAX + HEADER_BYTES;
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// No ticket is larger, and a hostile server must not choose our memory use.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
const ALERT_LEVEL_WARNING: u8 = 1;
const HELLO_REQUEST: u8 = 0;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::stream::Dialled;
    use crate::ftp::tls::handshake::Hands;
    use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
    use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::{self, JoinHandle};

    const TIME: Duration = Duration::from_secs(10);
    const LEN: usize = 1 << 20;

    /// Gives back what comes, a megabyte in pieces, each with another key where the version has such a thing.
    fn echo(listener: &TcpListener, config: Arc<ServerConfig>) {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(config).unwrap();
        let (mut left, mut bytes) = (LEN, vec![0; 100_000]);
        while left > 0 {
            let piece = bytes.len().min(left);
            let read = rustls::Stream::new(&mut tls, &mut socket).read_exact(&mut bytes[..piece]);
            if read.is_err() {
                return;
            }
            if tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                tls.refresh_traffic_keys().unwrap();
            }
            rustls::Stream::new(&mut tls, &mut socket).write_all(&bytes[..piece]).unwrap();
            left -= piece;
        }
        // The client's last word.
        let _ = rustls::Stream::new(&mut tls, &mut socket).read(&mut bytes);
    }

    /// A connection to [`echo`] whose keys serve for `sent_max` records.
    fn connected(version: &'static SupportedProtocolVersion, sent_max: u64) -> (Tcp, Records, JoinHandle<()>) {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = identity.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
        let server = ServerConfig::builder_with_protocol_versions(&[version]).with_no_client_auth();
        let server = Arc::new(server.with_single_cert(vec![certificate.clone()], key.into()).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = thread::spawn(move || echo(&listener, server));

        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
        let mut config = client.with_no_client_auth();
        config.enable_secret_extraction = true;
        let mut tcp = Tcp::connect("127.0.0.1", port, TIME, &mut Dialled::default()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(hands) = Hands::begin(&mut tcp, Arc::new(config), name) else { panic!("no hello") };
        let Ok(finished) = hands.finish(&mut tcp, Instant::now() + TIME, &mut Default::default()) else {
            panic!("no handshake")
        };
        tcp.set_limit(TIME).unwrap();
        (tcp, Records { sent_max, ..finished.records }, echo)
    }

    fn exchange(tcp: &mut Tcp, records: &mut Records) -> io::Result<()> {
        let sent: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        let mut received = vec![0; LEN];
        let mut got = 0;
        for piece in sent.chunks(100_000) {
            records.write(tcp, piece)?;
            let end = got + piece.len();
            while got < end {
                match records.read(tcp, &mut received[got..end])? {
                    Received::Bytes(count) => got += count,
                    end => panic!("{end:?} after {got} bytes"),
                }
            }
        }
        assert!(received == sent);
        records.send_close_notify(tcp)
    }

    #[test]
    fn keys_are_renewed_in_time_by_both_sides() {
        let (mut tcp, mut records, echo) = connected(&version::TLS13, 3);
        exchange(&mut tcp, &mut records).unwrap();
        // A flight of several records is sent with one key.
        assert!(records.sent < 3 + 2 * 8, "{} records with one key", records.sent);
        assert!(records.received < 100_000 / 16_384 + 3, "{} records with one key", records.received);
        echo.join().unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_renewed_is_not_used_any_longer() {
        let (mut tcp, mut records, echo) = connected(&version::TLS12, 30);
        let error = exchange(&mut tcp, &mut records).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error}");
        drop(tcp);
        echo.join().unwrap();
        let (mut tcp, mut records, echo) = connected(&version::TLS12, 1_000);
        exchange(&mut tcp, &mut records).unwrap();
        echo.join().unwrap();
    }
}
