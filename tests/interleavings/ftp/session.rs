//! Stands for `src/ftp/session.rs`: sessions of a server that has room for so many, and loses one now and then.

use crate::locks::Mutex;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::server::Server;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread::yield_now;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

/// The far end.
#[derive(Debug)]
pub(crate) struct Far {
    /// How many sessions it has room for.
    room: usize,
    /// One connect of so many fails, and one idle session of so many is found dead.
    trouble: Option<u32>,
    open: Mutex<Open>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    pub(crate) now: usize,
    pub(crate) most: usize,
}

thread_local! {
    /// Of the scenario that runs: all its threads are one of the machine.
    static FAR: RefCell<Option<Arc<Far>>> = const { RefCell::new(None) };
}

impl Far {
    pub fn begin(room: usize, trouble: Option<u32>) -> Arc<Self> {
        let far = Arc::new(Self { room, trouble, open: Mutex::default() });
        FAR.set(Some(Arc::clone(&far)));
        far
    }

    pub(crate) fn open(&self) -> Open {
        *self.open.lock()
    }

    fn is_in_trouble(&self) -> bool {
        self.trouble.is_some_and(|one_of| thread_rng().gen_ratio(1, one_of))
    }
}

#[derive(Debug)]
pub struct Session {
    far: Arc<Far>,
    is_settled: bool,
    is_warm: bool,
    has_transferred: bool,
}

/// As the real one.
#[derive(Debug, Clone, Copy)]
pub enum Care {
    Usual,
    Change,
}

impl Session {
    pub(crate) fn open(_server: &Arc<Server>) -> Result<Self, Error> {
        let far = FAR.with_borrow(|far| far.clone().unwrap());
        yield_now();
        if far.is_in_trouble() {
            return Err(lost());
        }
        let mut open = far.open.lock();
        if open.now >= far.room {
            return Err(Error::Busy { why: "421 Too many users, sorry.".to_owned() });
        }
        open.now += 1;
        open.most = open.most.max(open.now);
        drop(open);
        Ok(Self { far, is_settled: true, is_warm: false, has_transferred: false })
    }

    /// What a request does with it.
    pub(crate) fn work(&mut self) -> Result<(), Error> {
        yield_now();
        self.has_transferred = true;
        self.is_warm = false;
        if self.far.is_in_trouble() { Err(lost()) } else { Ok(()) }
    }

    /// Breaks a transfer off: its last reply has still to be read.
    pub(crate) fn break_off(&mut self) {
        self.is_settled = false;
    }

    pub(crate) fn is_stale(&self, _now: Instant) -> bool {
        self.far.is_in_trouble()
    }

    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        yield_now();
        self.is_settled = true;
        if self.far.is_in_trouble() { Err(lost()) } else { Ok(()) }
    }

    pub(crate) fn see_alive(&mut self, _care: Care) -> Result<(), Error> {
        self.settle()
    }

    pub(crate) fn warm(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.is_warm = true;
        Ok(())
    }

    pub(crate) fn expect_transfer(&mut self) {
        self.has_transferred = true;
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    pub(crate) fn is_warm(&self) -> bool {
        self.is_warm
    }

    pub(crate) fn is_cold(&self) -> bool {
        !self.is_settled || (self.has_transferred && !self.is_warm)
    }

    pub(crate) fn is_out_of_step(&self) -> bool {
        false
    }

    pub(crate) fn drop_old_spare(&mut self, _now: Instant) {}

    /// The server has room again once it has read the goodbye.
    pub(crate) fn quit(self) {
        yield_now();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.far.open.lock().now -= 1;
    }
}

fn lost() -> Error {
    Error::Closed { step: "a step".to_owned() }
}
