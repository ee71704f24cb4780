//! TLS 1.3 records by hand, for what rustls does not do: a server that sends its NewSessionTicket when it likes.
//!
//! FileZilla Server sends none after the handshake and one before every reply to EPSV. Here rustls makes its tickets at the
//! end of the handshake as always; they are held back, opened with the server's own key, and sent later, one at a time.

use super::socket::Socket;
use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter};
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage, Tls13AeadAlgorithm};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ConnectionTrafficSecrets, ContentType, HandshakeKind, ProtocolVersion, ServerConfig};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A control connection after its handshake.
pub struct Records {
    socket: Socket,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    sent: u64,
    received: u64,
    inbound: Vec<u8>,
    plain: VecDeque<u8>,
    tickets: VecDeque<Vec<u8>>,
    kind: HandshakeKind,
    kernel: KernelConnection<ServerConnectionData>,
    closed: bool,
}

impl Records {
    /// Shakes hands; `config` must ask for tickets and allow secrets to be extracted.
    pub fn accept(mut socket: Socket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let (mut inbound, mut outbound, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let (mut flight_sent, mut plain) = (false, VecDeque::new());
        loop {
            let UnbufferedStatus { mut discard, state, .. } = connection.process_tls_records(&mut inbound);
            let (mut blocked, mut done) = (false, false);
            match state.map_err(io::Error::other)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                        return Err(io::Error::other("nothing to encode"));
                    };
                    let mut record = vec![0; size.required_size];
                    data.encode(&mut record).map_err(io::Error::other)?;
                    if flight_sent { &mut held } else { &mut outbound }.extend(record);
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    socket.write_all(&outbound)?;
                    // Application data (23) outside, handshake inside: the server's flight up to Finished.
                    flight_sent |= outer_types(&outbound).contains(&23);
                    outbound.clear();
                    transmit.done();
                }
                // The client's first commands may come together with its Finished.
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        plain.extend(record.payload);
                    }
                }
                ConnectionState::BlockedHandshake => blocked = true,
                ConnectionState::WriteTraffic(_) => done = true,
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
            inbound.drain(..discard);
            if done {
                break;
            }
            if blocked {
                fill(&mut socket, &mut inbound)?;
            }
        }
        let kind = connection.handshake_kind().unwrap_or(HandshakeKind::Full);
        let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(io::Error::other)?;
        let suite = kernel.negotiated_cipher_suite();
        let aead = suite.tls13().ok_or_else(|| io::Error::other("tickets on demand need TLS 1.3"))?.aead_alg;
        let (key, iv) = key_and_iv(secrets.tx.1);
        let mut opener = aead.decrypter(copy(&key), iv_copy(&iv));
        let tickets = open(&mut *opener, &mut held)?;
        let (receive_key, receive_iv) = key_and_iv(secrets.rx.1);
        Ok(Self {
            socket,
            encrypter: aead.encrypter(key, iv),
            decrypter: aead.decrypter(receive_key, receive_iv),
            // The client never saw the held records: their numbers are free again.
            sent: 0,
            received: secrets.rx.0,
            inbound,
            plain,
            tickets,
            kind,
            kernel,
            closed: false,
        })
    }

    pub fn kind(&self) -> HandshakeKind {
        self.kind
    }

    /// Sends a NewSessionTicket; when all were sent, the first again. `lifetime` (seconds) replaces the hint;
    /// `split` parts the message over two records and lets an empty one follow.
    pub fn send_ticket(&mut self, lifetime: Option<u32>, split: bool) -> io::Result<()> {
        let mut ticket = self.tickets.pop_front().ok_or_else(|| io::Error::other("no ticket was held back"))?;
        self.tickets.push_back(ticket.clone());
        if let Some(seconds) = lifetime {
            ticket[4..8].copy_from_slice(&seconds.to_be_bytes());
        }
        if !split {
            return self.send(ContentType::Handshake, &ticket);
        }
        let (head, tail) = ticket.split_at(3);
        self.send(ContentType::Handshake, head)?;
        self.send(ContentType::Handshake, tail)?;
        self.send_record(ContentType::ApplicationData, &[])
    }

    /// Changes the server's key and asks the client to change its own (RFC 8446 section 4.6.3).
    pub fn update_keys(&mut self) -> io::Result<()> {
        self.send(ContentType::Handshake, &[24, 0, 0, 1, 1])?;
        let (sequence, secrets) = self.kernel.update_tx_secret().map_err(io::Error::other)?;
        let (key, iv) = key_and_iv(secrets);
        (self.encrypter, self.sent) = (self.aead().encrypter(key, iv), sequence);
        Ok(())
    }

    fn aead(&self) -> &'static dyn Tls13AeadAlgorithm {
        self.kernel.negotiated_cipher_suite().tls13().unwrap().aead_alg
    }

    /// Sends close_notify.
    pub fn close(&mut self) -> io::Result<()> {
        self.send(ContentType::Alert, &[1, 0])
    }

    fn send(&mut self, typ: ContentType, payload: &[u8]) -> io::Result<()> {
        payload.chunks(16 * 1024).try_for_each(|chunk| self.send_record(typ, chunk))
    }

    fn send_record(&mut self, typ: ContentType, payload: &[u8]) -> io::Result<()> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(payload) };
        let record = self.encrypter.encrypt(message, self.sent).map_err(io::Error::other)?;
        self.sent += 1;
        self.socket.write_all(&record.encode())
    }

    fn receive(&mut self) -> io::Result<()> {
        let Some(mut record) = next_record(&mut self.inbound) else {
            return fill(&mut self.socket, &mut self.inbound);
        };
        let typ = ContentType::from(record[0]);
        let message = InboundOpaqueMessage::new(typ, ProtocolVersion::TLSv1_2, &mut record[5..]);
        let message = self.decrypter.decrypt(message, self.received).map_err(io::Error::other)?;
        self.received += 1;
        match message.typ {
            ContentType::ApplicationData => self.plain.extend(message.payload),
            ContentType::Alert => self.closed = true,
            ContentType::Handshake if message.payload == [24, 0, 0, 1, 0] => {
                let (sequence, secrets) = self.kernel.update_rx_secret().map_err(io::Error::other)?;
                let (key, iv) = key_and_iv(secrets);
                (self.decrypter, self.received) = (self.aead().decrypter(key, iv), sequence);
            }
            other => return Err(io::Error::other(format!("unexpected {other:?}"))),
        }
        Ok(())
    }
}

impl Read for Records {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() {
            if self.closed {
                return Ok(0);
            }
            self.receive()?;
        }
        self.plain.read(buffer)
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(ContentType::ApplicationData, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts the held records and parts them into messages, header included.
fn open(opener: &mut dyn MessageDecrypter, held: &mut Vec<u8>) -> io::Result<VecDeque<Vec<u8>>> {
    let (mut messages, mut number) = (Vec::new(), 0);
    while let Some(mut record) = next_record(held) {
        let typ = ContentType::from(record[0]);
        let message = InboundOpaqueMessage::new(typ, ProtocolVersion::TLSv1_2, &mut record[5..]);
        messages.extend_from_slice(opener.decrypt(message, number).map_err(io::Error::other)?.payload);
        number += 1;
    }
    let mut tickets = VecDeque::new();
    while messages.len() >= 4 {
        let length = 4 + u32::from_be_bytes([0, messages[1], messages[2], messages[3]]) as usize;
        tickets.push_back(messages.drain(..length).collect());
    }
    Ok(tickets)
}

fn next_record(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let header = bytes.first_chunk::<5>()?;
    let length = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (bytes.len() >= length).then(|| bytes.drain(..length).collect())
}

fn outer_types(mut records: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some(header) = records.first_chunk::<5>() {
        types.push(header[0]);
        records = &records[5 + usize::from(u16::from_be_bytes([header[3], header[4]]))..];
    }
    types
}

fn fill(socket: &mut Socket, inbound: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let count = socket.read(&mut chunk)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    inbound.extend_from_slice(&chunk[..count]);
    Ok(())
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (key, iv)
        }
        _ => unreachable!("tls.rs offers suites with 32 byte keys only"),
    }
}

fn copy(key: &AeadKey) -> AeadKey {
    let bytes: [u8; 32] = key.as_ref().try_into().unwrap();
    bytes.into()
}

fn iv_copy(iv: &Iv) -> Iv {
    let bytes: [u8; 12] = iv.as_ref().try_into().unwrap();
    bytes.into()
}
