//! What happened on a mount, counted: shown at unmount and asserted by tests.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts since the mount began. Each is exact; together they are not one moment's.
#[derive(Debug, Default)]
pub struct Counters {
    /// Data connections that resumed their control connection's TLS session.
    pub data_resumed: Counter,
    /// Data connections with a full TLS handshake.
    pub data_full: Counter,
    /// Data connections with a full TLS handshake and a HelloRetryRequest (RFC 8446 section 4.1.4).
    pub data_full_with_retry: Counter,
    /// Control connections that were logged in.
    pub logins: Counter,
    /// Control connections whose handshake met a HelloRetryRequest.
    pub control_with_retry: Counter,
    /// Control connections that broke, or were found dead or too old.
    pub replaced: Counter,
    /// Commands sent.
    pub commands: Counter,
    /// Listings asked for.
    pub listings: Counter,
    /// TLS 1.3 tickets used a second time because the server gave too few.
    pub tickets_reminted: Counter,
    /// Times that the server refused a data connection for its TLS session.
    pub reuse_refused: Counter,
    /// Requests tried again on another control connection.
    pub retried: Counter,
    /// Lines of listings that no parser knew.
    pub lines_not_understood: Counter,
    /// When something came from the server last.
    pub heard: Arc<Heard>,
}

/// When something came last on a connection that was logged in.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<Instant>>);

impl Heard {
    /// Something came.
    pub fn now(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether something came after `moment`.
    pub fn is_since(&self, moment: Instant) -> bool {
        self.0.lock().is_some_and(|heard| heard > moment)
    }
}

/// One count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The line shown at unmount.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "data connections: {} resumed, {} full, {} full with retry; {} logins, {} commands, {} listings, {} tickets \
             reminted, {} session refusals, {} retries, {} listing lines not understood",
            self.data_resumed.value(),
            self.data_full.value(),
            self.data_full_with_retry.value(),
            self.logins.value(),
            self.commands.value(),
            self.listings.value(),
            self.tickets_reminted.value(),
            self.reuse_refused.value(),
            self.retried.value(),
            self.lines_not_understood.value(),
        )
    }
}
