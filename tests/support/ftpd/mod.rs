//! An FTPS server on loopback that plays what real ones do and what none does.
//!
//! [`Server::start`] takes a [`Behaviour`] and a [`Tree`]; it counts what clients do and ends its threads when dropped.
//! One thread serves a control connection and its transfers; TLS is rustls, whose sessions are kept per control
//! connection, so that a data connection can only resume a session of its own.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary and the demo use a part")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that panics has failed")]
#![allow(missing_docs, missing_debug_implementations, reason = "names tell; this is test code")]

#[path = "../certs.rs"]
pub mod certs;
pub mod faults;
pub mod tls;
pub mod tree;

pub mod records;
pub mod socket;

mod data;
mod session;

pub use data::Style;
pub use faults::{Act, Fault, Faults, Step};
pub use tls::{Memory, Store};
pub use tree::{Content, Tree};

use certs::Identity;
use rustls::{HandshakeKind, ServerConfig};
use session::Session;
use socket::{Registry, Socket};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// The password of every account.
pub const PASSWORD: &str = "open sesame";

/// How a server behaves. The default is a friendly one: TLS 1.2 and 1.3, two tickets, MLSD, no reuse required.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub implicit: bool,
    pub versions: Versions,
    pub groups: Groups,
    /// In whose words data connections without a resumed session are refused; `None` takes them.
    pub reuse: Option<Dialect>,
    pub tickets: Tickets,
    pub memory: Memory,
    /// The certificate; [`tls::identity`] where there is none.
    pub identity: Option<Identity>,
    /// The authority (PEM) whose certificates clients must have.
    pub clients: Option<String>,
    /// The certificate of data connections, where it is another.
    pub data_identity: Option<Identity>,
    /// The lines of FEAT; none at all refuses FEAT.
    pub features: Vec<&'static str>,
    /// Whether MLSD and MLST are understood.
    pub facts: bool,
    /// Whether STAT lists directories; else it is not understood.
    pub status: bool,
    /// The ways to list that leave out names that begin with a dot.
    pub hiding: Vec<Style>,
    /// What the `-a` of `LIST -a` is taken for.
    pub dash_a: DashA,
    /// How far the clock by which it lists is ahead of UTC, in seconds.
    pub ahead: i64,
    /// Whether MDTM goes by that clock as well.
    pub mdtm_is_local: bool,
    /// The host that 227 tells.
    pub passive_host: Ipv4Addr,
    /// Whether the 226 comes only when the client has closed the data connection (vsftpd, ProFTPD).
    pub waits_for_close: bool,
    /// A download begins when the client has said that it sends nothing.
    pub hears_end_first: bool,
    /// Whether TLS 1.3 is used in unusual ways: a KeyUpdate with every EPSV, tickets in two records, an empty record. Only
    /// with [`Tickets::with_passive`].
    pub odd_records: bool,
    /// Whether 0xFF is read as telnet's: twice it is one, before a WILL, WONT, DO or DONT it takes that and the next byte away.
    pub telnet: bool,
    /// Whether a control character is taken for `_`, as Pure-FTPd does.
    pub replaces: bool,
    /// A longer line is answered with 500.
    pub line_bytes_max: usize,
    /// So many control connections at once, and how the next one hears of it.
    pub connections_max: Option<(usize, TooMany)>,
    pub faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    Tls12,
    Tls13,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    All,
    /// A key share of X25519 costs a HelloRetryRequest.
    P256Only,
}

/// How many TLS 1.3 tickets come when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tickets {
    /// After the handshake of the control connection.
    pub control: usize,
    /// After the handshake of a data connection that brings bytes to the client.
    pub download: usize,
    /// After the handshake of a data connection that brings bytes to the server.
    pub upload: usize,
    /// One before each reply to EPSV and PASV instead of those after the handshake; TLS 1.3 only.
    pub with_passive: bool,
    /// The lifetime (seconds) that those tell; rustls' day where there is none.
    pub lifetime_hint: Option<u32>,
}

impl Tickets {
    /// `control` tickets after the handshake and `data` with each data connection.
    pub const fn counted(control: usize, data: usize) -> Self {
        Self { control, download: data, upload: data, with_passive: false, lifetime_hint: None }
    }

    /// FileZilla Server's rhythm.
    pub const fn with_passive() -> Self {
        Self { with_passive: true, ..Self::counted(0, 0) }
    }
}

/// Whose words refuse a data connection without session reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// close_notify, 522, and the control connection ends.
    Vsftpd,
    /// close_notify, 425.
    ProFtpd,
    /// TCP's end alone, 425.
    FileZilla,
    /// close_notify, 450.
    FileZilla09,
}

/// What a server takes the `-a` of `LIST -a` for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DashA {
    /// The option of ls(1).
    Option,
    /// A name that is not there: 550 (pyftpdlib, FileZilla Server).
    MissingName,
    /// A pattern that nothing fits: 226, and no line.
    EmptyPattern,
}

/// When a client hears that there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// 421 in place of the greeting.
    AtConnect,
    /// 530 in place of the greeting (ProFTPD's MaxConnectionsPerHost).
    AtConnectRefused,
    /// 530 in reply to PASS.
    AfterPass,
    /// 421 in reply to PASS, and the end of the connection (FileZilla Server).
    AfterPassGoodbye,
    /// The end of the connection, and no word.
    Silently,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            implicit: false,
            versions: Versions::Both,
            groups: Groups::All,
            reuse: None,
            tickets: Tickets::counted(2, 1),
            memory: Memory::default(),
            identity: None,
            clients: None,
            data_identity: None,
            features: vec![
                "AUTH TLS",
                "EPSV",
                "MDTM",
                "MLST type*;size*;modify*;",
                "PBSZ",
                "PROT",
                "REST STREAM",
                "SIZE",
                "TVFS",
                "UTF8",
            ],
            facts: true,
            status: false,
            hiding: vec![Style::Plain],
            dash_a: DashA::Option,
            ahead: 0,
            mdtm_is_local: false,
            passive_host: Ipv4Addr::LOCALHOST,
            waits_for_close: true,
            hears_end_first: false,
            odd_records: false,
            telnet: false,
            replaces: false,
            line_bytes_max: usize::MAX,
            connections_max: None,
            faults: Vec::new(),
        }
    }
}

impl Behaviour {
    /// TLS 1.3, and data connections must resume, refused in the words of `dialect`.
    pub fn requiring_reuse(dialect: Dialect, tickets: Tickets) -> Self {
        Self { versions: Versions::Tls13, reuse: Some(dialect), tickets, ..Self::default() }
    }

    /// Without MLSD and MLST, as vsftpd.
    #[must_use]
    pub fn without_facts(mut self) -> Self {
        self.facts = false;
        self.features.retain(|line| !line.starts_with("MLST"));
        self
    }

    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// Handshakes by their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handshakes {
    pub full: usize,
    /// Full, after a HelloRetryRequest.
    pub full_with_retry: usize,
    pub resumed: usize,
}

/// A running server. Dropping it ends every connection and thread.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(behaviour: Behaviour, tree: Tree) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::new(behaviour, tree));
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { shared, address, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate authority, as PEM text.
    pub fn ca_pem(&self) -> String {
        tls::ca().pem()
    }

    /// How often each command came.
    pub fn commands(&self) -> BTreeMap<String, usize> {
        let mut commands = BTreeMap::new();
        for (_, line) in self.shared.lines.lock().unwrap().iter() {
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            *commands.entry(verb).or_default() += 1;
        }
        commands
    }

    pub fn count(&self, verb: &str) -> usize {
        self.commands().get(verb).copied().unwrap_or(0)
    }

    /// Every command line, with the number of its control connection (from 0).
    pub fn lines(&self) -> Vec<(usize, String)> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// The command lines that came without encryption.
    pub fn clear_lines(&self) -> Vec<String> {
        self.shared.clear_lines.lock().unwrap().clone()
    }

    /// How many control connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// How many control connections there are.
    pub fn connections_open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    pub fn control_handshakes(&self) -> Handshakes {
        *self.shared.control.lock().unwrap()
    }

    pub fn data_handshakes(&self) -> Handshakes {
        *self.shared.data.lock().unwrap()
    }

    /// How many data connections were refused because they did not resume.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(SeqCst)
    }

    /// Adds a fault to a running server.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    pub fn no_more_faults(&self) {
        self.shared.faults.clear();
    }

    /// How often a fault struck.
    pub fn struck(&self) -> usize {
        self.shared.faults.struck()
    }

    /// From now on no session is resumed, on whichever control connection.
    pub fn resume_no_more(&self) {
        self.shared.resumes_no_more.store(true, SeqCst);
        self.expire_sessions();
    }

    /// The sessions of all control connections so far are forgotten.
    pub fn expire_sessions(&self) {
        self.shared.stores.lock().unwrap().iter().for_each(|store| store.expire());
    }

    /// Shows `identity` on every control connection from now on.
    pub fn show(&self, identity: &Identity) {
        let mut base = tls::base(&self.shared.behaviour, identity);
        base.enable_secret_extraction = self.shared.behaviour.tickets.with_passive;
        *self.shared.shown_later.lock().unwrap() = Some(base);
    }

    /// Ends all connections by TCP alone, without a word.
    pub fn hang_up(&self) {
        self.shared.registry.shut_all();
    }

    /// The next control connection ends after its server has sent `bytes` bytes of text.
    pub fn cut_next_after(&self, bytes: usize) {
        *self.shared.cut.lock().unwrap() = Some(bytes);
    }

    pub fn tree(&self) -> std::sync::MutexGuard<'_, Tree> {
        self.shared.tree.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop();
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// What the threads of one server share.
pub struct Shared {
    behaviour: Behaviour,
    base: ServerConfig,
    shown_later: Mutex<Option<ServerConfig>>,
    data_base: ServerConfig,
    faults: Faults,
    tree: Mutex<Tree>,
    registry: Registry,
    stores: Mutex<Vec<Arc<Store>>>,
    lines: Mutex<Vec<(usize, String)>>,
    clear_lines: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    logged_in: AtomicUsize,
    control: Mutex<Handshakes>,
    data: Mutex<Handshakes>,
    refused: AtomicUsize,
    cut: Mutex<Option<usize>>,
    resumes_no_more: AtomicBool,
    stopping: AtomicBool,
    stopped: (Mutex<()>, Condvar),
}

impl Shared {
    fn new(behaviour: Behaviour, tree: Tree) -> Self {
        let mut base = tls::base(&behaviour, behaviour.identity.as_ref().unwrap_or_else(|| tls::identity()));
        base.enable_secret_extraction = behaviour.tickets.with_passive;
        let data_base = behaviour.data_identity.as_ref().map(|identity| tls::base(&behaviour, identity));
        Self {
            data_base: data_base.unwrap_or_else(|| base.clone()),
            base,
            shown_later: Mutex::default(),
            faults: Faults::new(behaviour.faults.clone()),
            behaviour,
            tree: Mutex::new(tree),
            registry: Registry::default(),
            stores: Mutex::default(),
            lines: Mutex::default(),
            clear_lines: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            logged_in: AtomicUsize::new(0),
            control: Mutex::default(),
            data: Mutex::default(),
            refused: AtomicUsize::new(0),
            cut: Mutex::default(),
            resumes_no_more: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: Default::default(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    fn stop(&self) {
        let guard = self.stopped.0.lock().unwrap();
        self.stopping.store(true, SeqCst);
        self.stopped.1.notify_all();
        drop(guard);
        self.registry.shut_all();
    }

    /// Waits until the server is dropped.
    fn stall(&self) {
        let mut guard = self.stopped.0.lock().unwrap();
        while !self.is_stopping() {
            guard = self.stopped.1.wait(guard).unwrap();
        }
    }

    fn take(&self, stream: TcpStream) -> std::io::Result<Socket> {
        let socket = self.registry.take(stream)?;
        // A connection that came while the others were ended.
        if self.is_stopping() {
            socket.shut();
        }
        Ok(socket)
    }
}

fn count(handshakes: &Mutex<Handshakes>, kind: HandshakeKind) {
    let mut counts = handshakes.lock().unwrap();
    match kind {
        HandshakeKind::Full => counts.full += 1,
        HandshakeKind::FullWithHelloRetryRequest => counts.full_with_retry += 1,
        HandshakeKind::Resumed => counts.resumed += 1,
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        if shared.is_stopping() {
            break;
        }
        let Ok(socket) = stream.and_then(|stream| shared.take(stream)) else { continue };
        let number = shared.connections.fetch_add(1, SeqCst);
        let shared = Arc::clone(shared);
        sessions.retain(|session| !session.is_finished());
        sessions.push(std::thread::spawn(move || {
            let beside = shared.open.fetch_add(1, SeqCst);
            // An error is the end of the connection, which the client sees for itself.
            let mut session = Session::new(&shared, socket, number, beside);
            let _ = session.serve();
            shared.logged_in.fetch_sub(usize::from(session.is_logged_in()), SeqCst);
            shared.open.fetch_sub(1, SeqCst);
        }));
    }
    for session in sessions {
        let _ = session.join();
    }
}
