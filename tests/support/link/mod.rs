//! A link between two machines: two network namespaces, joined by a wire with a delay, a rate and a loss.
//!
//! The wire is a thread for each direction that carries packets from one TUN device to the other. Nobody names the
//! namespaces: they end with the last process in them and with this value, also where this process is killed.

mod reset;
mod tun;

mod wire;

use nix::sched::{CloneFlags, setns, unshare};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::{Control, Wire};

/// Where servers are, seen from the client's side.
pub const SERVER_ADDRESS: &str = "10.77.0.2";

/// The client's address.
pub const CLIENT_ADDRESS: &str = "10.77.0.1";

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// The time for a packet there and one back, half of it each way.
    pub rtt: Duration,
    /// Bits a second, each way; `None` is as fast as this machine carries them.
    pub rate: Option<u64>,
    /// The part of the packets that gets lost, each way.
    pub loss: f64,
    /// Which packets those are.
    pub seed: u64,
}

impl Quality {
    /// Nothing but the delay.
    pub const fn delayed(rtt: Duration) -> Self {
        Self { rtt, rate: None, loss: 0.0, seed: 1 }
    }

    /// Whether many segments of TCP are carried as one. What is lost or counted one by one must be sent one by one.
    fn has_segments(&self) -> bool {
        self.rate.is_none() && self.loss == 0.0
    }
}

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where mounts and other clients run.
    Client,
    /// Where servers run.
    Server,
}

/// A link; dropping it takes the wire away.
#[derive(Debug)]
pub struct Link {
    /// What it is like.
    pub quality: Quality,
    client: Namespace,
    server: Namespace,
    control: Arc<Control>,
    fetched: Arc<AtomicU64>,
    wires: Vec<Wire>,
}

impl Link {
    /// Lays a link.
    ///
    /// # Panics
    ///
    /// If it cannot: only root may, and the kernel must know TUN devices.
    pub fn new(quality: Quality) -> Self {
        let control = Arc::new(Control::default());
        let segments = quality.has_segments();
        let (client, near) = Namespace::with_device(CLIENT_ADDRESS, SERVER_ADDRESS, segments);
        let (server, far) = Namespace::with_device(SERVER_ADDRESS, CLIENT_ADDRESS, segments);
        let clone = |file: &File| file.try_clone().expect("a descriptor can be cloned");
        let (sent, fetched) = (Arc::default(), Arc::<AtomicU64>::default());
        let up = Wire::start(clone(&near), clone(&far), quality, sent, &control);
        let other = Quality { seed: !quality.seed, ..quality };
        let down = Wire::start(far, near, other, Arc::clone(&fetched), &control);
        Self { quality, client, server, control, fetched, wires: vec![up, down] }
    }

    /// From here on no packet arrives, neither one on its way nor a new one; nobody is told.
    pub fn cut(&self) {
        self.control.cut();
    }

    /// Ends [`Link::cut`].
    pub fn mend(&self) {
        self.control.mend();
    }

    /// All connections there are now are forgotten in the middle: whoever sends something of one hears RST, and so does the
    /// other end. New ones work.
    pub fn forget(&self) {
        self.control.forget();
    }

    /// How many packets were carried and how many lost, both ways. Those of [`Link::cut`] count as lost.
    pub fn packets(&self) -> (u64, u64) {
        self.control.packets()
    }

    /// How many bytes arrived at the client's end, with every header.
    pub fn bytes_to_client(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// When a packet arrived last, at either end, that is as long as those are of whoever sends much.
    pub fn last_full_packet(&self) -> Option<Instant> {
        self.control.full_at()
    }

    /// The words before a command that make it run at `end`. File systems that it mounts are seen everywhere.
    pub fn prefix(&self, end: End) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net={}", self.namespace(end).path())]
    }

    /// `program`, to be run at `end`.
    pub fn command(&self, end: End, program: impl AsRef<OsStr>) -> Command {
        let prefix = self.prefix(end);
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }

    /// Does `work` on a thread at `end`.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn at<T: Send>(&self, end: End, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace(end);
        let inside = || {
            setns(&namespace.0, CloneFlags::CLONE_NEWNET).expect("the namespace is ours");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn namespace(&self, end: End) -> &Namespace {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.control.end();
        self.wires.drain(..).for_each(Wire::join);
    }
}

/// A network namespace, which lives while this is open or something runs in it.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    /// A fresh one with the loopback device and one end of the wire.
    fn with_device(own: &'static str, other: &'static str, segments: bool) -> (Self, File) {
        let make = move || -> io::Result<(Self, File)> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let device = tun::open(DEVICE, segments)?;
            for arguments in [
                "link set lo up".to_owned(),
                format!("address add {own} peer {other} dev {DEVICE}"),
                format!("link set {DEVICE} mtu {MTU} txqueuelen {QUEUE_PACKETS} up"),
                // The default of this machine would make the figures its own, and a sysctl may not choose what most have.
                format!("route replace {other} dev {DEVICE} src {own} congctl cubic"),
            ] {
                // What a thread starts begins in the thread's namespace.
                let status = Command::new("ip").args(arguments.split(' ')).status()?;
                if !status.success() {
                    return Err(io::Error::other(format!("ip {arguments}: {status}")));
                }
            }
            Ok((Self(File::open("/proc/thread-self/ns/net")?), device))
        };
        let made = thread::spawn(make).join().expect("the thread does not panic");
        made.unwrap_or_else(|error| panic!("no link can be laid (only root may, with iproute2 and TUN): {error}"))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Reads `20ms`, `100M` (bits a second) and `0.1%`, as they are typed.
pub fn parse(name: &str, value: &str, quality: &mut Quality) -> Option<()> {
    match name {
        "rtt" => quality.rtt = Duration::from_secs_f64(number(value.trim_end_matches("ms"))? / 1e3),
        "rate" => quality.rate = Some(rate(value)?),
        "loss" => quality.loss = number(value.strip_suffix('%')?).filter(|percent| *percent <= 100.0)? / 100.0,
        "seed" => quality.seed = value.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn rate(value: &str) -> Option<u64> {
    let (digits, scale) = match value.strip_suffix(['k', 'M', 'G']) {
        Some(digits) => (
            digits,
            if value.ends_with('k') {
                1_000
            } else if value.ends_with('M') {
                1_000_000
            } else {
                1_000_000_000
            },
        ),
        None => (value, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(scale).filter(|rate| *rate > 0)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// The name of the device, in each namespace.
const DEVICE: &str = "wire";

/// The longest packet, as on Ethernet.
const MTU: u32 = 1500;

/// How many packets wait in front of the device before it loses one.
const QUEUE_PACKETS: u32 = 10_000;
