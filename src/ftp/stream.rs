//! TCP: connecting within a time limit, reading and writing with one, and the socket options that FTP needs.

use crate::deadline;
use crate::ftp::counters::Heard;
use crate::ftp::error::{DATA_PORT, Error};
use crate::sys;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A TCP connection whose every call ends within the limit last set, and not after the deadline of whoever calls.
#[derive(Debug)]
pub struct Tcp {
    socket: TcpStream,
    peer: SocketAddr,
    /// How long a call may wait.
    limit: Duration,
    /// After what time the socket itself gives up: who waits looks at the deadline then.
    slice: Option<Duration>,
    /// What comes from the server is noted here.
    heard: Option<Arc<Heard>>,
    /// What goes over it are bytes of files and listings. Not so the handshake before: what we send there is taken by the kernel of
    /// a server that stands still.
    carries_content: bool,
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
    /// Connects to the address of `host` that answers first: they are tried one after the other, without waiting for the
    /// end of a try that takes long (RFC 8305). Name resolution and all attempts share `timeout`. What becomes of each is
    /// kept in `dialled`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the last address's failure, or [`Error::Deadline`].
    pub fn connect(host: &str, port: u16, timeout: Duration, dialled: &mut Dialled) -> Result<Self, Error> {
        let began = Instant::now();
        let addresses = by_turns(&resolve(host, port, deadline::at_most(timeout))?);
        dialled.looked_up = host.parse::<IpAddr>().is_err().then(|| began.elapsed());
        dialled.attempts = addresses.iter().map(|to| Attempt { address: to.ip(), outcome: None }).collect();
        let step = || format!("connecting to {host} port {port}");
        let tcp = race(&addresses, began + timeout, timeout, &mut dialled.attempts)
            .map_err(|source| Error::io(step(), source))?;
        // What is sent to a control connection is short: a peer that acknowledges none of it is gone, and half of the time
        // is left to do without it.
        tcp.acknowledge_within((timeout / 2).max(ACKNOWLEDGED_MIN)).map_err(|source| Error::io(step(), source))?;
        Ok(tcp)
    }

    /// Connects to another port of the same peer: a data connection goes nowhere else, whatever a `227` says.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Deadline`].
    pub fn connect_data(&self, port: u16, timeout: Duration) -> Result<Self, Error> {
        let mut address = self.peer;
        address.set_port(port);
        let data = connect(address, timeout, timeout)
            .map_err(|source| Error::io(format!("{DATA_PORT} to port {port}"), source))?;
        Ok(Self { heard: self.heard.clone(), ..data })
    }

    /// From now on, what goes over it are bytes of files and listings.
    pub fn begin_content(&mut self) {
        self.carries_content = true;
    }

    /// Notes from now on when something came.
    pub fn note(&mut self, heard: &Arc<Heard>) {
        self.heard = Some(Arc::clone(heard));
        heard.now();
    }

    /// The server's address.
    pub fn peer(&self) -> IpAddr {
        self.peer.ip()
    }

    /// Whether the address that we had when we connected is ours no more: nothing that is sent arrives, and nobody says so.
    pub fn has_lost_address(&self) -> bool {
        let Ok(mut ours) = self.socket.local_addr() else { return true };
        ours.set_port(0);
        UdpSocket::bind(ours).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    }

    /// How long sent bytes may stay without any acknowledgement before the connection counts as lost.
    fn acknowledge_within(&self, limit: Duration) -> io::Result<()> {
        SockRef::from(&self.socket).set_tcp_user_timeout(Some(limit))
    }

    /// The server's address as a `227` would write it, where it is one of IPv4.
    pub fn peer_octets(&self) -> Option<[u8; 4]> {
        match self.peer.ip() {
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
        self.limit = limit;
        let slice = Some(limit.min(deadline::SLICE));
        if self.slice != slice {
            self.socket.set_read_timeout(slice)?;
            self.socket.set_write_timeout(slice)?;
            self.slice = slice;
        }
        Ok(())
    }

    /// Makes `call` until it does something, fails, or its time is over.
    fn patiently(&self, mut call: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        let (mut waited, mut unsent) = (Duration::ZERO, None);
        loop {
            match retry(|| call(&self.socket)) {
                Err(error) if is_time_over(&error) => {
                    waited += self.slice.unwrap_or(self.limit);
                    if self.carries_content && self.drains(&mut unsent) {
                        deadline::moved();
                        // It takes what we send.
                        self.heard.iter().for_each(|heard| heard.now());
                        waited = Duration::ZERO;
                    }
                    if waited >= self.limit || deadline::is_over() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Ok(count) => {
                    if self.carries_content && count > 0 {
                        deadline::moved();
                    }
                    return Ok(count);
                }
                failed => return failed,
            }
        }
    }

    /// Whether less waits to be sent or acknowledged than `before`: of a slow link the kernel holds much, and tells nothing
    /// while it goes.
    fn drains(&self, before: &mut Option<usize>) -> bool {
        let unsent = sys::unsent(self.socket.as_fd());
        let before = std::mem::replace(before, unsent);
        matches!((before, unsent), (Some(before), Some(now)) if now < before)
    }

    /// Sends acknowledgements at once. A server under Nagle's algorithm holds its second small write until the first is
    /// acknowledged: 40 ms with Pure-FTPd and libunftp. The kernel forgets the wish, so it is said around each read.
    pub fn quick_ack(&self) {
        if let Err(error) = SockRef::from(&self.socket).set_tcp_quickack(true) {
            log::trace!("TCP_QUICKACK: {error}");
        }
    }

    /// Has the kernel take no more than `bytes` of what nobody has read yet, and not several MiB as it does for who reads fast. As it
    /// was where that could not be undone by [`Tcp::hold_no_more`].
    pub fn hold_back(&self, bytes: usize) {
        let held = sys::fit_receive_buffer(self.socket.as_fd())
            .and_then(|()| SockRef::from(&self.socket).set_recv_buffer_size(bytes));
        if let Err(error) = held {
            log::trace!("SO_RCVBUF: {error}");
        }
    }

    /// Has the kernel take as much as it thinks right.
    pub fn hold_no_more(&self) {
        if let Err(error) = sys::fit_receive_buffer(self.socket.as_fd()) {
            log::trace!("SO_BUF_LOCK: {error}");
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
            match self.patiently(|mut socket| socket.write_vectored(left)).map_err(lost)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut left, count),
            }
        }
        Ok(())
    }

    /// Whether bytes have come (or the connection ended, or broke) that nobody has read.
    pub fn has_unread(&self) -> bool {
        self.socket.set_nonblocking(true).is_ok() && {
            let seen = self.socket.peek(&mut [0]);
            self.socket.set_nonblocking(false).is_err() || !seen.is_err_and(|error| is_time_over(&error))
        }
    }

    /// Whether a read that began at `began` and was given some bytes has to end all the same. A reply has to be there within its
    /// limit; of data that come slowly more is waited for as long as somebody wants them.
    pub fn is_late(&self, began: Instant) -> bool {
        began.elapsed() >= self.limit && (!self.carries_content || deadline::is_over())
    }

    /// Whether the other side ended the connection, and nothing it sent before is left to read.
    pub fn has_ended(&self) -> bool {
        self.has_unread() && matches!(self.socket.peek(&mut [0]), Ok(0))
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.patiently(|mut socket| socket.read(buffer)).map_err(lost)?;
        if let (Some(heard), 1..) = (&self.heard, count) {
            heard.now();
        }
        Ok(count)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|mut socket| socket.write(bytes)).map_err(lost)
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

fn is_time_over(error: &io::Error) -> bool {
    // `TimedOut` is the connection's own end.
    error.kind() == io::ErrorKind::WouldBlock
}

/// The kernel's own "timed out" is the end of the connection: no acknowledgement came. That a limit of ours is over is told
/// by other errors.
fn lost(error: io::Error) -> io::Error {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::TimedOut, Some(_)) => {
            io::Error::new(io::ErrorKind::ConnectionAborted, "nothing was acknowledged any more")
        }
        _ => error,
    }
}

/// Alternates the families of `addresses`, beginning with the first one's (RFC 8305 section 4).
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first.is_ipv6());
    let turns = same.len().max(other.len());
    let mut ordered: Vec<_> =
        (0..turns).flat_map(|turn| [same.get(turn), other.get(turn)]).flatten().copied().collect();
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

/// Connects to whichever of `addresses` answers first (RFC 8305 section 5). What is still under way then ends by itself.
fn race(addresses: &[SocketAddr], deadline: Instant, limit: Duration, attempts: &mut [Attempt]) -> io::Result<Tcp> {
    if let [address] = addresses {
        let began = Instant::now();
        let connected = connect(*address, remaining(deadline), limit);
        return note(&mut attempts[0], began.elapsed(), connected);
    }
    let (sender, results) = mpsc::channel();
    let (mut started, mut ended, mut begun) = (0, 0, Vec::new());
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    while ended < addresses.len() {
        if let Some(&address) = addresses.get(started) {
            let (sender, index) = (sender.clone(), started);
            started += 1;
            begun.push(Instant::now());
            thread::Builder::new().name("connect".to_owned()).spawn(move || {
                let began = Instant::now();
                let connected = connect(address, remaining(deadline), limit);
                // Nobody may be waiting any more.
                let _ = sender.send((index, began.elapsed(), connected));
            })?;
        }
        let left = (ATTEMPT_DELAY + remaining(deadline)).min(deadline::SLICE);
        let pause = if started < addresses.len() { ATTEMPT_DELAY } else { left };
        match results.recv_timeout(pause) {
            Ok((index, took, connected)) => match note(&mut attempts[index], took, connected) {
                Ok(tcp) => {
                    overtaken(&begun, attempts);
                    return Ok(tcp);
                }
                Err(error) => (ended, last) = (ended + 1, error),
            },
            Err(_) if remaining(deadline).is_zero() || deadline::is_over() => break,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Another one answered: what was begun long before may be dead, and what was begun just now may not.
fn overtaken(begun: &[Instant], attempts: &mut [Attempt]) {
    let pending = begun.iter().zip(attempts).filter(|(_, attempt)| attempt.outcome.is_none());
    for (_, attempt) in pending.filter(|(began, _)| began.elapsed() >= ATTEMPT_DELAY) {
        attempt.outcome = Some(Err("no answer yet when another one answered".to_owned()));
    }
}

fn note(attempt: &mut Attempt, took: Duration, connected: io::Result<Tcp>) -> io::Result<Tcp> {
    attempt.outcome = Some(connected.as_ref().map(|_| took).map_err(ToString::to_string));
    connected
}

fn connect(address: SocketAddr, time: Duration, limit: Duration) -> io::Result<Tcp> {
    let time = deadline::at_most(time);
    if time.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    log::trace!("connecting to {address}");
    let socket = TcpStream::connect_timeout(&address, time)?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL))?;
    let mut tcp = Tcp { socket, peer: address, limit, slice: None, heard: None, carries_content: false };
    tcp.acknowledge_within(limit)?;
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

/// A name with more addresses than this is not tried on: each costs a thread.
const ADDRESSES_MAX: usize = 8;
/// After this time without an answer the next address is tried as well (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// So long a lossy link may take to get something through.
const ACKNOWLEDGED_MIN: Duration = Duration::from_secs(5);
/// Less than most routers remember a silent connection for.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn fresh(addresses: &[SocketAddr]) -> Vec<Attempt> {
        addresses.iter().map(|to| Attempt { address: to.ip(), outcome: None }).collect()
    }

    #[test]
    fn the_kernel_notices_a_peer_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let timeout = Duration::from_secs(60);
        let control = Tcp::connect("127.0.0.1", port, timeout, &mut Dialled::default()).unwrap();
        let data = control.connect_data(port, timeout).unwrap();
        for (tcp, unacknowledged) in [(control, timeout / 2), (data, timeout)] {
            let options = SockRef::from(&tcp.socket);
            assert_eq!(options.tcp_user_timeout().unwrap(), Some(unacknowledged));
            assert!(options.keepalive().unwrap());
            assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            assert_eq!(options.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        }
    }

    #[test]
    fn families_are_tried_by_turns() {
        let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let [x, y] = ["10.0.0.1:1", "10.0.0.2:1"].map(address);
        assert_eq!(by_turns(&[a, b, c, x, y]), [a, x, b, y, c]);
        assert_eq!(by_turns(&[x, a]), [x, a]);
        assert_eq!(by_turns(&[]), []);
    }

    #[test]
    fn an_address_that_does_not_answer_costs_a_moment_and_one_that_refuses_nothing() {
        // Its queue is full, so that the kernel answers to no more: as an address behind a firewall.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&address("127.0.0.1:0").into()).unwrap();
        silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
        let _full: Vec<_> = (0..2)
            .filter_map(|_| TcpStream::connect_timeout(&silent_address, Duration::from_millis(100)).ok())
            .collect();
        let refusing = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let answering = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = answering.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        for (addresses, least, most) in [
            (vec![silent_address, good], 250, 2000),
            (vec![refusing, good], 0, 240),
            (vec![silent_address, refusing, good], 250, 2000),
        ] {
            let began = Instant::now();
            let mut attempts = fresh(&addresses);
            let tcp = race(&addresses, began + limit, limit, &mut attempts).unwrap();
            let took = began.elapsed().as_millis();
            assert_eq!(tcp.peer, good, "{addresses:?}");
            assert!((least..most).contains(&took), "{addresses:?} took {took} ms");
            assert!(matches!(attempts.last().unwrap().outcome, Some(Ok(_))), "{attempts:?}");
            // Who was given up on was shown as not tried.
            let gave_up = matches!(&attempts[0].outcome, Some(Err(why)) if why.starts_with("no answer yet"));
            assert_eq!(gave_up, addresses[0] == silent_address, "{attempts:?}");
        }
        let limit = Duration::from_millis(600);
        let began = Instant::now();
        let addresses = [silent_address, refusing];
        let error = race(&addresses, began + limit, limit, &mut fresh(&addresses)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(!race(&[good], began + limit * 9, limit, &mut fresh(&[good])).unwrap().has_lost_address());
    }
}
