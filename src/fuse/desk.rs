//! Where requests wait for their answers: what is known is answered at once, for anything else a worker asks the server,
//! and whatever becomes of that, the kernel hears in time.

use crate::deadline::Deadline;
use crate::fuse::replies::errno;
use crate::fuse::watchdog::{Request, Watchdog};
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Patience, Vfs};
use crate::workers::Workers;
use parking_lot::Mutex;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much longer than the time in which nothing may move a request may take in all, unless it stores something.
const MOST: u32 = 10;
/// Between two tries of a request that does not give up: at first, and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_LAST: Duration = Duration::from_secs(15);

/// Who works for the requests of one kind: those of another never wait behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Names and attributes.
    Names,
    /// What is read of files.
    Reads,
    /// What is written to files, and getting it to the server: many writers may wait for one slow upload.
    Writes,
}

/// How the kernel hears of a result.
type Respond<R, T> = fn(R, Result<T, fuser::Errno>);

/// The desk of one mount.
#[derive(Debug)]
pub(super) struct Desk {
    vfs: Arc<Vfs>,
    crew: Crew,
    watchdog: Watchdog,
}

/// Those who ask the server, lane by lane.
#[derive(Debug, Clone)]
pub struct Crew {
    names: Workers,
    reads: Workers,
    writes: Workers,
}

impl Crew {
    fn new() -> Self {
        let [names, reads, writes] = ["lane-names", "lane-reads", "lane-writes"].map(Workers::named);
        Self { names, reads, writes }
    }

    /// Waits until all work is done, but no longer than `limit`; whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        [&self.names, &self.reads, &self.writes].into_iter().all(|lane| lane.wait(left()))
    }

    fn of(&self, lane: Lane) -> &Workers {
        match lane {
            Lane::Names => &self.names,
            Lane::Reads => &self.reads,
            Lane::Writes => &self.writes,
        }
    }
}

impl Desk {
    /// A desk for the requests to `vfs`.
    ///
    /// # Errors
    ///
    /// The system's, where there is no thread to be had.
    pub(super) fn open(vfs: Arc<Vfs>) -> io::Result<Self> {
        Ok(Self { vfs, crew: Crew::new(), watchdog: Watchdog::start()? })
    }

    pub(super) fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    pub(super) fn share(&self) -> Arc<Vfs> {
        Arc::clone(&self.vfs)
    }

    pub(super) fn crew(&self) -> Crew {
        self.crew.clone()
    }

    /// Asks for what is known, else lets a worker ask the server; then replies. What comes too late is given to `undo`.
    pub(super) fn answer<T: Send + 'static, R: Send + 'static>(
        &self,
        lane: Lane,
        reply: R,
        ask: impl Fn(&Vfs, Instant, Patience) -> Result<T, Error> + Send + 'static,
        respond: Respond<R, T>,
        undo: impl FnOnce(&Vfs, T) + Send + 'static,
    ) {
        let asked = Instant::now();
        match attempt(|| ask(&self.vfs, asked, Patience::CacheOnly)) {
            Err(Error::WouldBlock) => {
                let ask = move |vfs: &Vfs| ask(vfs, Instant::now(), Patience::Network);
                self.delegate(lane, reply, ask, respond, undo);
            }
            result => respond(reply, result.map_err(|error| errno(&error))),
        }
    }

    /// Lets a worker ask the server, which then replies, unless it comes too late for that.
    pub(super) fn delegate<T: Send + 'static, R: Send + 'static>(
        &self,
        lane: Lane,
        reply: R,
        mut ask: impl FnMut(&Vfs) -> Result<T, Error> + Send + 'static,
        respond: Respond<R, T>,
        undo: impl FnOnce(&Vfs, T) + Send + 'static,
    ) {
        let pending = self.pend(lane, reply, respond);
        let ticket = self.watchdog.watch(Arc::clone(&pending) as Arc<dyn Request>);
        let (vfs, watcher) = (Arc::clone(&self.vfs), self.watchdog.watcher());
        self.crew.of(lane).spawn(move || {
            if !pending.is_awaited() {
                return;
            }
            let result = pending.work(|| ask(&vfs));
            if let Some(result) = pending.respond(result) {
                let _entered = Deadline::background(vfs.ending()).enter();
                if let Ok(late) = result {
                    undo(&vfs, late);
                }
            }
            watcher.done(ticket);
        });
    }

    /// As [`Desk::delegate`], of what has to be done in any case, however late.
    pub(super) fn see_to<R: Send + 'static>(
        &self,
        reply: R,
        mut ask: impl FnMut(&Vfs) -> Result<(), Error> + Send + 'static,
        respond: Respond<R, ()>,
    ) {
        let pending = self.pend(Lane::Writes, reply, respond);
        let ticket = self.watchdog.watch(Arc::clone(&pending) as Arc<dyn Request>);
        let (vfs, watcher) = (Arc::clone(&self.vfs), self.watchdog.watcher());
        self.crew.of(Lane::Writes).spawn(move || {
            // It may have waited for a thread for long, and has its own time.
            let deadline = deadline(&vfs, Lane::Writes);
            let _entered = deadline.enter();
            pending.respond(attempt(|| ask(&vfs)));
            watcher.done(ticket);
        });
    }

    fn pend<R, T>(&self, lane: Lane, reply: R, respond: Respond<R, T>) -> Arc<Pending<R, T>> {
        Arc::new(Pending {
            reply: Mutex::new(Some(reply)),
            deadline: deadline(&self.vfs, lane),
            respond,
            result: PhantomData,
        })
    }
}

/// A large file may take long to be stored, and is not failed for it as long as its bytes move.
fn deadline(vfs: &Vfs, lane: Lane) -> Arc<Deadline> {
    let patience = vfs.patience();
    let most = patience.map(|patience| patience.saturating_mul(MOST)).filter(|_| lane != Lane::Writes);
    Deadline::new(patience, most, vfs.ending())
}

/// A request that is not answered yet: whoever takes the reply answers it.
struct Pending<R, T> {
    reply: Mutex<Option<R>>,
    deadline: Arc<Deadline>,
    respond: Respond<R, T>,
    result: PhantomData<fn(T)>,
}

impl<R, T> Pending<R, T> {
    fn is_awaited(&self) -> bool {
        self.reply.lock().is_some()
    }

    /// Asks until there is an answer: only who has no end tries again.
    fn work(&self, mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let _entered = self.deadline.enter();
        let mut pause = AGAIN_FIRST;
        loop {
            let result = attempt(&mut ask);
            let is_final = !matches!(&result, Err(error) if error.is_of_the_network());
            if is_final || self.deadline.end().is_some() || !crate::deadline::sleep(pause) {
                return result;
            }
            pause = (pause * 2).min(AGAIN_LAST);
        }
    }

    /// Replies; gives the result back if somebody else has.
    fn respond(&self, result: Result<T, Error>) -> Option<Result<T, Error>> {
        let reply = self.reply.lock().take();
        match reply {
            Some(reply) => {
                (self.respond)(reply, result.map_err(|error| errno(&error)));
                None
            }
            None => Some(result),
        }
    }
}

impl<R: Send, T> Request for Pending<R, T> {
    fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    fn give_up(&self) {
        if self.respond(Err(Error::timed_out())).is_none() {
            let (age, still) = self.deadline.ages();
            log::warn!(
                target: TROUBLE,
                "a request was given up after {:.1} s, in the last {:.1} s of which nothing moved: what it waited for did not end",
                age.as_secs_f64(),
                still.as_secs_f64()
            );
        }
    }
}

/// A panic is one failed request; the mount lives.
pub(super) fn attempt<T>(ask: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        log::error!("a request panicked: this is a bug");
        Err(Error::Panicked)
    })
}

/// Told once a minute.
const TROUBLE: &str = "ftpsfs::trouble::deadline";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RemotePath;
    use crate::remote::{self, Download, Entry, Metadata, Remote, Start, Upload};
    use crate::vfs::Settings;
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::time::SystemTime;

    /// Is never asked for anything.
    #[derive(Debug)]
    struct Nobody;

    impl Remote for Nobody {
        fn list(&self, _: &RemotePath) -> Result<Vec<Entry>, remote::Error> {
            unimplemented!()
        }
        fn stat(&self, _: &RemotePath) -> Result<Metadata, remote::Error> {
            unimplemented!()
        }
        fn read_from(&self, _: &RemotePath, _: u64, _: Option<u64>) -> Result<Box<dyn Download>, remote::Error> {
            unimplemented!()
        }
        fn write_to(&self, _: &RemotePath, _: Start) -> Result<Box<dyn Upload>, remote::Error> {
            unimplemented!()
        }
        fn create_directory(&self, _: &RemotePath) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn remove_directory(&self, _: &RemotePath) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn remove_file(&self, _: &RemotePath) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn rename(&self, _: &RemotePath, _: &RemotePath) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn set_modified(&self, _: &RemotePath, _: SystemTime) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn set_mode(&self, _: &RemotePath, _: u16) -> Result<(), remote::Error> {
            unimplemented!()
        }
        fn create_symlink(&self, _: &RemotePath, _: &[u8]) -> Result<(), remote::Error> {
            unimplemented!()
        }
    }

    type Heard<T> = Result<T, fuser::Errno>;

    const LONG: Duration = Duration::from_secs(10);

    fn desk(patience: Option<Duration>) -> Desk {
        Desk::open(Arc::new(Vfs::new(Arc::new(Nobody), Settings { patience, ..Settings::default() }))).unwrap()
    }

    fn kernel<T>() -> (Sender<Heard<T>>, Receiver<Heard<T>>) {
        mpsc::channel()
    }

    fn hear<T>(kernel: Sender<Heard<T>>, result: Heard<T>) {
        kernel.send(result).unwrap();
    }

    /// As many writers as there were threads for everything kept every question waiting.
    #[test]
    fn those_who_wait_in_one_lane_hold_up_nobody_in_another() {
        let desk = desk(Some(LONG));
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for lane in [Lane::Reads, Lane::Writes] {
            for _ in 0..100 {
                let released = Arc::clone(&released);
                let wait = move |_: &Vfs| {
                    let _ = released.lock().recv();
                    Ok(())
                };
                desk.delegate(lane, (), wait, |(), _| {}, |_, ()| {});
            }
        }
        let (kernel, heard) = kernel();
        desk.delegate(Lane::Names, kernel, |_| Ok(7), hear, |_, _| {});
        assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap(), 7);
        drop(release);
    }

    #[test]
    fn what_takes_too_long_is_answered_and_undone_when_it_ends() {
        let desk = desk(Some(Duration::from_millis(100)));
        let (release, released) = mpsc::channel::<()>();
        let (undone, undoing) = mpsc::channel();
        let (kernel, heard) = kernel();
        let begun = Instant::now();
        let ask = move |_: &Vfs| {
            let _ = released.recv();
            Ok(7)
        };
        desk.delegate(Lane::Names, kernel, ask, hear, move |_, late| undone.send(late).unwrap());
        let error = heard.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!(i32::from(error), crate::errno::Errno::ETIMEDOUT.raw());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(undoing.try_recv().is_err());
        release.send(()).unwrap();
        assert_eq!(undoing.recv_timeout(LONG).unwrap(), 7);
    }

    #[test]
    fn what_moves_is_waited_for() {
        let desk = desk(Some(Duration::from_millis(300)));
        let (kernel, heard) = kernel();
        let ask = |_: &Vfs| {
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(150));
                crate::deadline::moved();
            }
            Ok(7)
        };
        desk.delegate(Lane::Writes, kernel, ask, hear, |_, _| {});
        assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap(), 7);
    }

    #[test]
    fn who_never_gives_up_asks_again_while_it_is_the_network() {
        let desk = desk(None);
        let (kernel, heard) = kernel();
        let mut tries = 0;
        let ask = move |_: &Vfs| {
            tries += 1;
            match tries {
                1 => Err(Error::timed_out()),
                _ => Err::<(), _>(Error::Exists),
            }
        };
        desk.delegate(Lane::Names, kernel, ask, hear, |_, ()| {});
        let error = heard.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!(i32::from(error), crate::errno::Errno::EEXIST.raw());
    }
}
