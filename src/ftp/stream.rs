//! TCP: connecting within a time limit, reading and writing with one, and the socket options that FTP needs.

use crate::ftp::error::{DATA_PORT, Error};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A TCP connection whose every call ends within the limit last set.
#[derive(Debug)]
pub struct Tcp {
    socket: TcpStream,
    peer: IpAddr,
    limit: Option<Duration>,
}

/// How a host was looked up and its addresses were tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialled {
    /// How long the name took; `None` where there was none to look up, or it was not found.
    pub looked_up: Option<Duration>,
    /// Every address in the order of trying.
    pub attempts: Vec<Attempt>,
}

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The address.
    pub address: IpAddr,
    /// How long it took to answer, or what happened instead; `None` where an earlier one had answered.
    pub outcome: Option<Result<Duration, String>>,
}

impl Tcp {
    /// Connects to the first address of `host` that answers; name resolution and all attempts share `timeout`. What becomes
    /// of each is kept in `dialled`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the last address's failure, or [`Error::Deadline`].
    pub fn connect(host: &str, port: u16, timeout: Duration, dialled: &mut Dialled) -> Result<Self, Error> {
        let began = Instant::now();
        let deadline = began + timeout;
        let addresses = resolve(host, port, timeout)?;
        dialled.looked_up = host.parse::<IpAddr>().is_err().then(|| began.elapsed());
        dialled.attempts = addresses.iter().map(|to| Attempt { address: to.ip(), outcome: None }).collect();
        let step = || format!("connecting to {host} port {port}");
        let mut last = Error::Deadline { step: step() };
        for (index, (address, attempt)) in addresses.iter().zip(&mut dialled.attempts).enumerate() {
            // The first addresses must not eat the time of the last.
            let share = remaining(deadline) / u32::try_from(addresses.len() - index).unwrap_or(1);
            let began = Instant::now();
            match connect(*address, share, timeout) {
                Ok(tcp) => {
                    attempt.outcome = Some(Ok(began.elapsed()));
                    return Ok(tcp);
                }
                Err(source) => {
                    attempt.outcome = Some(Err(source.to_string()));
                    last = Error::io(step(), source);
                }
            }
        }
        Err(last)
    }

    /// Connects to another port of the same peer: a data connection goes nowhere else, whatever a `227` says.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Deadline`].
    pub fn connect_data(&self, port: u16, timeout: Duration) -> Result<Self, Error> {
        connect(SocketAddr::new(self.peer, port), timeout, timeout)
            .map_err(|source| Error::io(format!("{DATA_PORT} to port {port}"), source))
    }

    /// The server's address.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The server's address as a `227` would write it, where it is one of IPv4.
    pub fn peer_octets(&self) -> Option<[u8; 4]> {
        match self.peer {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        }
    }

    /// Sets how long each following read or write may wait.
    ///
    /// # Errors
    ///
    /// `TimedOut` for a limit of zero: the time is over.
    pub fn set_limit(&mut self, limit: Duration) -> io::Result<()> {
        if limit.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.limit != Some(limit) {
            self.socket.set_read_timeout(Some(limit))?;
            self.socket.set_write_timeout(Some(limit))?;
            self.limit = Some(limit);
        }
        Ok(())
    }

    /// Sends acknowledgements at once. A server under Nagle's algorithm holds its second small write until the first is
    /// acknowledged: 40 ms with Pure-FTPd and libunftp. The kernel forgets the wish, so it is said around each read.
    pub fn quick_ack(&self) {
        if let Err(error) = SockRef::from(&self.socket).set_tcp_quickack(true) {
            log::trace!("TCP_QUICKACK: {error}");
        }
    }

    /// Ends our direction with a FIN.
    ///
    /// # Errors
    ///
    /// Whatever shutdown(2) says.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Sends all of `pieces`, one after the other.
    ///
    /// # Errors
    ///
    /// Whatever writev(2) says; `WriteZero` where it takes nothing.
    pub fn write_all_of(&mut self, pieces: &[Vec<u8>]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match retry(|| self.socket.write_vectored(left))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut left, count),
            }
        }
        Ok(())
    }

    /// Whether bytes have come (or the connection ended) that nobody has read.
    pub fn has_unread(&self) -> bool {
        self.socket.set_nonblocking(true).is_ok() && {
            let seen = self.socket.peek(&mut [0]).is_ok();
            self.socket.set_nonblocking(false).is_err() || seen
        }
    }

    /// Whether the other side ended the connection, and nothing it sent before is left to read.
    pub fn has_ended(&self) -> bool {
        self.has_unread() && matches!(self.socket.peek(&mut [0]), Ok(0))
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| self.socket.read(buffer))
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| self.socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is left until `deadline`; zero afterwards.
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn connect(address: SocketAddr, time: Duration, limit: Duration) -> io::Result<Tcp> {
    if time.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    log::trace!("connecting to {address}");
    let socket = TcpStream::connect_timeout(&address, time)?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL))?;
    let mut tcp = Tcp { socket, peer: address.ip(), limit: None };
    tcp.set_limit(limit)?;
    Ok(tcp)
}

/// getaddrinfo(3) knows no time limit: it runs in a thread of its own, which is left behind where it takes too long.
fn resolve(host: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let step = || format!("looking up the name {host}");
    let (sender, receiver) = mpsc::channel();
    let owned = host.to_owned();
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send((owned.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        })
        .map_err(|source| Error::io(step(), source))?;
    match receiver.recv_timeout(timeout) {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(Error::io(step(), io::Error::new(io::ErrorKind::NotFound, "it has no address")))
        }
        Ok(answer) => answer.map_err(|source| Error::io(step(), source)),
        Err(_) => Err(Error::Deadline { step: step() }),
    }
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
