//! A data connection after its handshake: bytes one way, and an end that loses none.

use crate::ftp::stream::Tcp;
use crate::ftp::tls::{Connected, Received};
use std::io;

/// An encrypted data connection.
#[derive(Debug)]
pub struct DataConnection {
    tcp: Tcp,
    connected: Connected,
}

impl DataConnection {
    /// Takes over from the handshake.
    pub fn new(tcp: Tcp, connected: Connected) -> Self {
        Self { tcp, connected }
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
        let received = self.connected.records.read(&mut self.tcp, buffer);
        // Pure-FTPd holds the end of a small file back until our acknowledgement.
        self.tcp.quick_ack();
        received
    }

    /// Ends a download: our `close_notify` (some servers answer 426 without it), then TCP. The server's reply is to be
    /// read afterwards and not before: vsftpd and ProFTPD wait for the end of the data connection.
    pub fn close(mut self) {
        if let Err(error) = self.connected.records.send_close_notify(&mut self.tcp) {
            log::trace!("closing a data connection: {error}");
        }
    }
}
