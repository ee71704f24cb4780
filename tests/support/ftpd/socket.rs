//! TCP sockets that the server can end from outside, and the three kinds of control connection over them.

use super::records::Records;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// A TCP connection; the registry that it came from can end it.
#[derive(Clone)]
pub struct Socket(Arc<TcpStream>);

impl Socket {
    /// Ends both directions in order: the peer reads the end.
    pub fn shut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends our direction.
    pub fn shut_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Closes with a RST; unsent bytes are thrown away, so it first gives the peer's kernel time to take them.
    pub fn reset(&self) {
        std::thread::sleep(Duration::from_millis(30));
        let _ = socket2::SockRef::from(&*self.0).set_linger(Some(Duration::ZERO));
    }

    /// Goes on until the peer has enough, or the server ends.
    pub fn write_empty_records(&mut self, stopping: &AtomicBool) {
        while !stopping.load(SeqCst) && self.write_all(b"\x14\x03\x03\x00\x01\x01").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the peer has closed, `limit` at most; what it still sends is thrown away.
    pub fn drain(&self, limit: Duration) {
        let _ = self.0.set_read_timeout(Some(limit));
        let mut buffer = [0; 4096];
        while matches!((&*self.0).read(&mut buffer), Ok(count) if count > 0) {}
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every open socket of one server.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Vec<Weak<TcpStream>>>);

impl Registry {
    pub fn take(&self, stream: TcpStream) -> io::Result<Socket> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        let mut open = self.0.lock().unwrap();
        if open.len() > 64 {
            open.retain(|weak| weak.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        Ok(Socket(stream))
    }

    /// Ends every connection; reads and writes that wait return at once.
    pub fn shut_all(&self) {
        for stream in self.0.lock().unwrap().drain(..).filter_map(|weak| weak.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A control connection, in clear or not.
pub enum Wire {
    Clear(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
    /// TLS 1.3 with tickets on demand.
    Records(Box<Records>),
}

impl Wire {
    /// Shakes hands as the server; `by_hand` for tickets on demand.
    pub fn encrypt(socket: Socket, config: Arc<ServerConfig>, by_hand: bool) -> io::Result<(Self, HandshakeKind)> {
        if by_hand {
            let records = Records::accept(socket, config)?;
            let kind = records.kind();
            return Ok((Self::Records(Box::new(records)), kind));
        }
        let stream = handshake(socket, config)?;
        let kind = stream.conn.handshake_kind().unwrap_or(HandshakeKind::Full);
        Ok((Self::Tls(Box::new(stream)), kind))
    }

    pub fn is_clear(&self) -> bool {
        matches!(self, Self::Clear(_))
    }

    /// Sends close_notify where there is TLS.
    pub fn close(&mut self) {
        match self {
            Self::Clear(_) => {}
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            Self::Records(records) => {
                let _ = records.close();
            }
        }
    }
}

/// Shakes hands as the server and sends its tickets.
pub fn handshake(mut socket: Socket, config: Arc<ServerConfig>) -> io::Result<StreamOwned<ServerConnection, Socket>> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    while connection.wants_write() {
        connection.write_tls(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Records(records) => records.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Records(records) => records.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(_) | Self::Records(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
