//! Drives a TLS handshake over a TCP connection, within one time limit.

use crate::ftp::stream::{Tcp, remaining};
use crate::ftp::tls::heard::Heard;
use crate::ftp::tls::records::Records;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// A finished handshake.
pub(super) struct Finished {
    pub(super) records: Records,
    pub(super) kind: HandshakeKind,
    /// What the server showed, its own certificate first: now, or when the session began that was resumed.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Why a handshake failed.
pub(super) enum Failure {
    /// The network, or the end of the connection.
    Io(io::Error),
    /// TLS itself.
    Tls(rustls::Error),
    /// The peer does not speak TLS: its first bytes.
    NotTls(Vec<u8>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// A handshake under way.
pub(super) struct Hands {
    connection: UnbufferedClientConnection,
    incoming: Vec<u8>,
    /// How much of `incoming` rustls has seen. It keeps there what belongs to a message that goes on in the next record.
    fed: usize,
    outgoing: Vec<u8>,
    heard: Heard,
}

enum Step {
    NeedsRecord,
    Done,
}

impl Hands {
    /// Sends the ClientHello. The session to resume is taken from the store here and not earlier.
    pub(super) fn begin(tcp: &mut Tcp, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Failure> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let mut hands = Self { connection, incoming, fed: 0, outgoing, heard: Heard::default() };
        match hands.step(tcp)? {
            Step::NeedsRecord => Ok(hands),
            Step::Done => Err(rustls::Error::HandshakeNotComplete.into()),
        }
    }

    /// Shakes hands to the end, and keeps what is `heard` in spite of a failure.
    pub(super) fn finish(mut self, tcp: &mut Tcp, deadline: Instant, heard: &mut Heard) -> Result<Finished, Failure> {
        let shaken = self.shake(tcp, deadline);
        let kind = self.connection.handshake_kind().unwrap_or(HandshakeKind::Full);
        *heard = self.heard;
        shaken?;
        heard.kind = Some(kind);
        let shown = self.connection.peer_certificates().unwrap_or_default();
        let certificates = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Ok(Finished { records: Records::new(self.connection, &self.incoming)?, kind, certificates })
    }

    fn shake(&mut self, tcp: &mut Tcp, deadline: Instant) -> Result<(), Failure> {
        loop {
            self.read_record(tcp, deadline)?;
            if let Step::Done = self.step(tcp)? {
                return Ok(());
            }
        }
    }

    /// Goes on with the records at hand until another is needed or the handshake is finished.
    fn step(&mut self, tcp: &mut Tcp) -> Result<Step, Failure> {
        loop {
            let fed = &mut self.incoming[..self.fed];
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(fed);
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut encode)) => {
                    encode_into(&mut self.outgoing, |room| encode.encode(room))?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    tcp.write_all(&self.outgoing)?;
                    self.outgoing.clear();
                    transmit.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Step::NeedsRecord),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Step::Done),
                Ok(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(error) => {
                    self.say_goodbye(tcp);
                    return Err(error.into());
                }
            };
            self.incoming.drain(..discard);
            self.fed -= discard;
            match step {
                Some(Step::NeedsRecord) if self.feed_record() => {}
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    /// Tells the server why, as far as it still listens.
    fn say_goodbye(&mut self, tcp: &mut Tcp) {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.incoming[..self.fed]);
        if let Ok(ConnectionState::EncodeTlsData(mut encode)) = state
            && encode_into(&mut self.outgoing, |room| encode.encode(room)).is_ok()
        {
            // The handshake's own error is the one worth telling.
            let _ = tcp.write_all(&self.outgoing);
        }
    }

    /// Shows rustls one more record, where a whole one has come. One at a time: what follows the handshake is for the
    /// record layer, tickets above all.
    fn feed_record(&mut self) -> bool {
        let Some(record) = first_record(&self.incoming[self.fed..]) else { return false };
        self.heard.record(&self.incoming[self.fed..self.fed + record]);
        self.fed += record;
        true
    }

    fn read_record(&mut self, tcp: &mut Tcp, deadline: Instant) -> Result<(), Failure> {
        while first_record(&self.incoming[self.fed..]).is_none() {
            tcp.set_limit(remaining(deadline))?;
            let mut buffer = [0; 8192];
            let count = tcp.read(&mut buffer)?;
            tcp.quick_ack();
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.incoming.extend_from_slice(&buffer[..count]);
            self.check_is_tls()?;
        }
        self.feed_record();
        Ok(())
    }

    fn check_is_tls(&self) -> Result<(), Failure> {
        match self.incoming[self.fed..] {
            [20..=24, 3, ..] | [20..=24] | [] => Ok(()),
            _ => Err(Failure::NotTls(self.incoming.iter().take(SAMPLE_BYTES).copied().collect())),
        }
    }
}

fn encode_into(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let start = outgoing.len();
    let wanted = match encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error) => return Err(rustls::Error::General(error.to_string())),
    };
    outgoing.resize(start + wanted, 0);
    let written = encode(&mut outgoing[start..]).map_err(|error| rustls::Error::General(error.to_string()))?;
    outgoing.truncate(start + written);
    Ok(())
}

/// The end of the first whole record.
fn first_record(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = *bytes else { return None };
    let end = 5 + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= end).then_some(end)
}

/// How much of an answer that is no TLS is quoted.
const SAMPLE_BYTES: usize = 80;
