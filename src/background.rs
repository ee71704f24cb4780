//! The life of the process around a mount: to the background, the report to whoever waits, and the signals that end it.

use crate::failure::{Failure, Status};
use crate::logger;
use crate::sys;
use parking_lot::Mutex;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// After a signal the mount is out of sight at once; whoever still has files open on it gets this long to finish.
const FAREWELL: Duration = Duration::from_secs(10);

/// The two sides after [`split`].
#[derive(Debug)]
pub enum Side {
    /// The one that was called; it waits for the other's report.
    Front(Waiting),
    /// The one that mounts and stays.
    Back(Report),
}

/// The end of the pipe from which the report comes.
#[derive(Debug)]
pub struct Waiting {
    pipe: PipeReader,
    child: i32,
}

/// Tells once how the mount went: through the pipe, or nowhere in the foreground.
#[derive(Debug)]
pub struct Report(Option<PipeWriter>);

/// Makes two processes of one. To be called before there are threads.
///
/// # Errors
///
/// A system [`Failure`].
pub fn split() -> Result<Side, Failure> {
    let cannot = |error: io::Error| Failure::system(format!("cannot go to the background: {error}"));
    let (reader, writer) = io::pipe().map_err(cannot)?;
    Ok(match sys::fork().map_err(cannot)? {
        sys::Fork::Parent(child) => Side::Front(Waiting { pipe: reader, child }),
        sys::Fork::Child => Side::Back(Report(Some(writer))),
    })
}

impl Waiting {
    /// Waits for the report. Every step of the mount has its limit, so this ends.
    ///
    /// # Errors
    ///
    /// What the report says; a system [`Failure`] where the other side ended without one.
    pub fn result(mut self) -> Result<(), Failure> {
        let mut report = Vec::new();
        let read = self.pipe.read_to_end(&mut report);
        match (read, report.split_first()) {
            (Ok(_), Some((0, _))) => Ok(()),
            (Ok(_), Some((&code, message))) => {
                sys::wait_for(self.child);
                Err(Failure::of_code(code, &String::from_utf8_lossy(message)))
            }
            _ => {
                sys::wait_for(self.child);
                Err(Failure::system("the process in the background ended before it had mounted"))
            }
        }
    }
}

impl Report {
    /// For the foreground: nobody waits.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// The mount is there. A process in the background lets go of the terminal, its directory and the caller's streams
    /// first: whoever hears the report finds all of it done.
    ///
    /// Not earlier: systemd's automount lets only its own process group through until then.
    fn mounted(self) {
        let Some(mut pipe) = self.0 else {
            sys::notify_service_manager("READY=1\nSTATUS=The mount answers.");
            return;
        };
        sys::leave_session();
        let _ = std::env::set_current_dir("/");
        logger::move_to_syslog();
        if let Err(error) = sys::silence_standard_streams() {
            log::warn!("cannot let go of the terminal: {error}");
        }
        // Nobody waits any more if this fails; the mount is as good as before.
        let _ = pipe.write_all(&[0]);
    }

    /// There is no mount; gives the failure back where nobody waits for it.
    fn failed(self, failure: Failure) -> Result<(), Failure> {
        let Some(mut pipe) = self.0 else { return Err(failure) };
        let text = [&[failure.status.code()], failure.to_string().as_bytes()].concat();
        pipe.write_all(&text).map_err(|_| failure)
    }
}

/// How far the mount is, for the signals.
#[derive(Debug)]
enum Stage {
    /// A signal ends the process.
    Connecting(Report),
    /// The mount is in the tree, and nobody knows yet whether it answers: a signal unmounts and ends the process.
    Attached(Report),
    /// A signal unmounts.
    Mounted,
    /// A signal unmounted; the next one does not wait for those who still have files open.
    Leaving,
}

/// Watches the signals that ask to end, and knows what each means at this stage.
#[derive(Debug, Clone)]
pub struct Watch {
    stage: Arc<Mutex<Option<Stage>>>,
}

impl Watch {
    /// Begins to watch. `unmount` must take the mount out of the tree without waiting; `give_up` is called when somebody
    /// still uses it after that and nobody wants to wait longer, with `true` where a second signal said so; `reopen_log` when
    /// the log's file has been renamed, and says whether there is one. To be called before other threads start, since they
    /// take over which signals are held back.
    ///
    /// # Errors
    ///
    /// A system [`Failure`] where there is no thread to be had.
    pub fn start(
        report: Report,
        unmount: impl Fn() + Send + 'static,
        give_up: impl Fn(bool) + Send + Clone + 'static,
        reopen_log: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, Failure> {
        sys::block_termination();
        let watch = Self { stage: Arc::new(Mutex::new(Some(Stage::Connecting(report)))) };
        let watcher = watch.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || watcher.run(unmount, give_up, reopen_log))
            .map_err(|error| Failure::system(format!("cannot watch for signals: {error}")))?;
        Ok(watch)
    }

    fn run(&self, unmount: impl Fn(), give_up: impl Fn(bool) + Send + Clone + 'static, reopen_log: impl Fn() -> bool) {
        loop {
            // Who rotates logs says so by SIGHUP; without a file it is the terminal that is gone.
            if sys::wait_for_termination() && reopen_log() {
                continue;
            }
            let mut stage = self.stage.lock();
            match stage.take() {
                Some(Stage::Connecting(report)) => interrupted(report),
                Some(Stage::Attached(report)) => {
                    unmount();
                    interrupted(report);
                }
                Some(Stage::Mounted) => {
                    *stage = Some(Stage::Leaving);
                    sys::notify_service_manager("STOPPING=1");
                    drop(stage);
                    log::info!("a signal asks to end: unmounting");
                    unmount();
                    let give_up = give_up.clone();
                    after(FAREWELL, move || give_up(false));
                }
                Some(Stage::Leaving) => give_up(true),
                None => process::exit(0),
            }
        }
    }

    /// Makes the mount. A signal that comes meanwhile waits until it is clear what there is to undo.
    ///
    /// # Errors
    ///
    /// Those of `mount`.
    pub fn while_mounting<T>(&self, mount: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut stage = self.stage.lock();
        let mounted = mount()?;
        *stage = match stage.take() {
            Some(Stage::Connecting(report)) => Some(Stage::Attached(report)),
            other => other,
        };
        Ok(mounted)
    }

    /// The mount is there and answers: reports it.
    pub fn mounted(&self) {
        if let Some(Stage::Attached(report)) = self.stage.lock().replace(Stage::Mounted) {
            report.mounted();
        }
    }

    /// There is no mount: reports it, or gives the failure back where nobody waits for a report.
    ///
    /// # Errors
    ///
    /// `failure` itself.
    pub fn failed(&self, failure: Failure) -> Result<(), Failure> {
        match self.stage.lock().take() {
            Some(Stage::Connecting(report) | Stage::Attached(report)) => report.failed(failure),
            _ => Err(failure),
        }
    }
}

/// Ends the process before there was a mount.
fn interrupted(report: Report) -> ! {
    if let Err(failure) = report.failed(Failure::interrupted()) {
        eprintln!("ftpsfs: {failure}");
    }
    process::exit(Status::Interrupted.code().into())
}

fn after(patience: Duration, act: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(patience);
        act();
    });
}
