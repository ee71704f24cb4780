//! A data connection after its handshake: bytes one way, and an end that loses none.

use crate::ftp::stream::{Tcp, remaining};
use crate::ftp::tls::{Connected, Received};
use crate::remote::Reach;
use std::io;
use std::time::{Duration, Instant};

/// An encrypted data connection.
#[derive(Debug)]
pub struct DataConnection {
    tcp: Tcp,
    connected: Connected,
    /// We said that no more will come.
    is_ended: bool,
    /// How many bytes of content have come.
    received: usize,
    reach: Reach,
    is_held_back: bool,
}

/// Whose look is so short has it before the kernel takes more than in the beginning.
const GLANCE_BYTES: usize = 64 * 1024;
/// How much comes at most of what he does not read (the kernel doubles it, for what it spends besides). A new connection brings no
/// more in one round trip while somebody has a look.
const HELD_BACK_BYTES: usize = 128 * 1024;
/// Who has read more has no look, whatever was expected: the vfs fetches whole blocks, and for a look as many as the kernel asks for.
const LOOK_BYTES: usize = 640 * 1024;

impl DataConnection {
    /// Takes over from the handshake.
    pub fn new(mut tcp: Tcp, connected: Connected) -> Self {
        tcp.begin_content();
        Self { tcp, connected, is_ended: false, received: 0, reach: Reach::End, is_held_back: false }
    }

    /// Says how far will be read. The kernel takes more and more for who reads fast, and what it has of one place is in the way of
    /// the next where somebody only looks here and there, as a player does when one skips through a film.
    pub fn expect(&mut self, reach: Reach) {
        self.reach = reach;
    }

    fn hold_back(&mut self) {
        let holds = self.reach == Reach::Look && (GLANCE_BYTES + 1..LOOK_BYTES).contains(&self.received);
        match (std::mem::replace(&mut self.is_held_back, holds), holds) {
            (false, true) => self.tcp.hold_back(HELD_BACK_BYTES),
            (true, false) => self.tcp.hold_no_more(),
            _ => {}
        }
    }

    /// Whether the handshake resumed the control connection's session.
    pub fn resumed(&self) -> bool {
        self.connected.resumed
    }

    /// Waits for bytes and fills as much of `buffer` as has come.
    ///
    /// # Errors
    ///
    /// The network's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        self.hold_back();
        let received = self.connected.records.read(&mut self.tcp, buffer);
        if let Ok(Received::Bytes(count)) = received {
            self.received += count;
        }
        // Pure-FTPd holds the end of a small file back until our acknowledgement.
        self.tcp.quick_ack();
        received
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// The network's. The server's reason stands on the control connection.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connected.records.write(&mut self.tcp, bytes)
    }

    /// Says at the beginning of a download that we send nothing (`close_notify`), where that is allowed: in TLS 1.3 each
    /// direction ends by itself (RFC 8446 section 6.1), in TLS 1.2 it would end both.
    pub fn close_sending(&mut self) {
        if self.connected.records.closes_by_halves() {
            self.send_close_notify();
        }
    }

    /// Says that the upload is whole: the first part of [`DataConnection::finish_upload`].
    ///
    /// # Errors
    ///
    /// The network's.
    pub fn end_upload(&mut self) -> io::Result<()> {
        if !self.is_ended {
            self.connected.records.send_close_notify(&mut self.tcp)?;
            self.tcp.shutdown_write()?;
            self.is_ended = true;
        }
        Ok(())
    }

    /// Ends an upload: `close_notify`, a FIN (Microsoft's server waits for it), and then everything the server still has
    /// to say, its tickets above all, until it closes. An unread ticket would turn our close into a reset, and the server
    /// would lose bytes that it has not read yet, some with a `226`. Tells how it closed.
    ///
    /// # Errors
    ///
    /// The network's, or `TimedOut` when the server has not closed after `limit`.
    pub fn finish_upload(mut self, limit: Duration) -> io::Result<Received> {
        self.end_upload()?;
        let deadline = Instant::now() + limit;
        let mut buffer = [0; 1024];
        loop {
            self.tcp.set_limit(remaining(deadline))?;
            match self.connected.records.read(&mut self.tcp, &mut buffer)? {
                Received::Bytes(_) => {}
                end @ (Received::Closed | Received::Cut) => return Ok(end),
            }
        }
    }

    /// Ends a download: our `close_notify` (some servers answer 426 without it), then TCP. The server's reply is to be
    /// read afterwards and not before: vsftpd and ProFTPD wait for the end of the data connection.
    pub fn close(mut self) {
        self.send_close_notify();
    }

    fn send_close_notify(&mut self) {
        if let Err(error) = self.connected.records.send_close_notify(&mut self.tcp) {
            log::trace!("closing a data connection: {error}");
        }
    }
}
