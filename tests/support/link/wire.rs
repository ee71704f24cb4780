//! One direction of a link: packets taken from one device and given to another, later.

use super::Quality;
use super::reset::{Known, Segment};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the directions of a link have in common.
#[derive(Debug, Default)]
pub(super) struct Control {
    is_cut: AtomicBool,
    has_ended: AtomicBool,
    /// What is let through; `None` is everything.
    known: Mutex<Option<Known>>,
    carried: AtomicU64,
    lost: AtomicU64,
    /// When a full packet arrived last.
    full_at: Mutex<Option<Instant>>,
}

impl Control {
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    pub(super) fn forget(&self) {
        *self.known.lock().expect("nobody panics with it") = Some(Known::default());
    }

    fn lets_pass(&self, segment: &Segment) -> bool {
        let mut known = self.known.lock().expect("nobody panics with it");
        known.as_mut().is_none_or(|known| known.lets_pass(segment))
    }

    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    pub(super) fn packets(&self) -> (u64, u64) {
        (self.carried.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    pub(super) fn full_at(&self) -> Option<Instant> {
        *self.full_at.lock().expect("nobody panics with it")
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }
}

/// A thread that carries.
#[derive(Debug)]
pub(super) struct Wire(JoinHandle<()>);

impl Wire {
    pub(super) fn start(from: File, to: File, quality: Quality, bytes: Arc<AtomicU64>, control: &Arc<Control>) -> Self {
        let carrier = Carrier {
            delay: quality.rtt / 2,
            rate: quality.rate,
            loss: quality.loss,
            random: quality.seed | 1,
            free: Instant::now(),
            queue: VecDeque::new(),
            spare: Vec::new(),
            prefix: if quality.has_segments() { SEGMENTS_HEADER_BYTES } else { 0 },
            bytes,
            control: Arc::clone(control),
        };
        Self(thread::spawn(move || carrier.run(from, to)))
    }

    pub(super) fn join(self) {
        let _ = self.0.join();
    }
}

struct Carrier {
    delay: Duration,
    rate: Option<u64>,
    loss: f64,
    random: u64,
    /// When the last packet will have left the sender.
    free: Instant,
    queue: VecDeque<Packet>,
    spare: Vec<Vec<u8>>,
    /// How many bytes come before each packet.
    prefix: usize,
    /// What was delivered.
    bytes: Arc<AtomicU64>,
    control: Arc<Control>,
}

struct Packet {
    due: Instant,
    bytes: Vec<u8>,
}

impl Carrier {
    fn run(mut self, mut from: File, mut to: File) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.control.has_ended.load(Ordering::SeqCst) {
            wait(&from, self.queue.front().map(|packet| packet.due));
            // A burst longer than this must not keep what is due waiting.
            for _ in 0..BURST {
                match from.read(&mut buffer) {
                    Ok(length) if length > 0 => match self.reset(&buffer[..length]) {
                        Some(segment) => self.answer(&segment, &mut from, &mut to),
                        None => self.take(&buffer[..length], Instant::now()),
                    },
                    _ => break,
                }
            }
            self.deliver(&mut to, Instant::now());
        }
    }

    /// What belongs to a connection that was forgotten.
    fn reset(&self, packet: &[u8]) -> Option<Segment> {
        let segment = Segment::read(packet.get(self.prefix..)?)?;
        (!self.control.is_cut() && !self.control.lets_pass(&segment)).then_some(segment)
    }

    fn answer(&self, segment: &Segment, from: &mut File, to: &mut File) {
        for (device, packet) in [(from, segment.reset_sender()), (to, segment.reset_receiver())] {
            let _ = device.write(&[vec![0; self.prefix], packet].concat());
        }
        self.control.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&mut self, packet: &[u8], now: Instant) {
        let bits = 8 * u64::try_from(packet.len()).expect("a packet is short");
        let waits = self.free.saturating_duration_since(now);
        if self.control.is_cut() || self.is_lost() || waits > QUEUE_MAX {
            self.control.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let sending = self.rate.map_or(Duration::ZERO, |rate| Duration::from_nanos(bits * 1_000_000_000 / rate));
        self.free = self.free.max(now) + sending;
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.queue.push_back(Packet { due: self.free + self.delay, bytes });
    }

    fn deliver(&mut self, to: &mut File, now: Instant) {
        while self.queue.front().is_some_and(|packet| packet.due <= now) {
            let Some(packet) = self.queue.pop_front() else { return };
            // A device whose queue is full refuses; so would a switch.
            let arrived = !self.control.is_cut() && to.write(&packet.bytes).is_ok();
            let count = if arrived { &self.control.carried } else { &self.control.lost };
            count.fetch_add(1, Ordering::Relaxed);
            if arrived {
                self.bytes.fetch_add(packet.bytes.len() as u64, Ordering::Relaxed);
                if packet.bytes.len() >= FULL_BYTES_MIN {
                    *self.control.full_at.lock().expect("nobody panics with it") = Some(now);
                }
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(packet.bytes);
            }
        }
    }

    /// xorshift64*: the same for the same seed.
    fn is_lost(&mut self) -> bool {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = u32::try_from(self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).expect("32 bits are left");
        f64::from(number) < self.loss * f64::from(u32::MAX)
    }
}

/// Until there is a packet or one is due.
fn wait(from: &File, due: Option<Instant>) {
    let patience = due.map_or(LOOK_UP, |due| due.saturating_duration_since(Instant::now()).min(LOOK_UP));
    let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
    match ppoll(&mut polled, Some(TimeSpec::from_duration(patience)), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => panic!("the device cannot be waited for: {error}"),
    }
}

/// `struct virtio_net_hdr`; zeros say that a packet is one packet and its checksum right.
const SEGMENTS_HEADER_BYTES: usize = 10;

/// So long are the packets of whoever sends much.
const FULL_BYTES_MIN: usize = 1400;

/// How many packets are taken before the next look at those on their way.
const BURST: usize = 64;

/// How long a packet waits to be sent before the next ones are dropped: what routers at homes have.
const QUEUE_MAX: Duration = Duration::from_millis(100);

/// How often the thread looks whether the link is still wanted.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The longest packet with its header of segments, and room.
const PACKET_BYTES_MAX: usize = 68 * 1024;

/// How many buffers are kept for the next packets.
const SPARE_MAX: usize = 256;
