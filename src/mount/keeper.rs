//! A process of our own that keeps the rights which the one that talks to the server gives up (`sandbox`). It mounts,
//! unmounts, opens the log again and tells umount(8) of the journal: for this mount and no other, since what it does it knows
//! from before there was a server.

use crate::config::MountSettings;
use crate::failure::Failure;
use crate::logger;
use crate::mount::attach::{attach, detach};
use crate::registry::Registered;
use crate::sandbox;
use crate::sys::{self, Line};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process;
use std::time::Duration;

/// How long anything that is asked may take: fusermount3 goes along the path of the mount point, which may be slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far the kernel reads ahead, in KiB; its own default is 128.
const READ_AHEAD_KIB: usize = 1024;

/// What it can be asked, a byte each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Wish {
    /// Mount; the answer has the kernel's end.
    Attach = b'a',
    /// The mount answers; its device number follows.
    Settle = b's',
    /// The same, and a journal is in use.
    SettleWithJournal = b'j',
    /// Leave the terminal and the process group.
    Leave = b'l',
    /// Out of the tree with it, at once.
    Detach = b'd',
    /// Open the log; the answer has the file.
    OpenLog = b'o',
    /// All that was to be uploaded is: go.
    End = b'e',
}

const WISHES: [Wish; 7] =
    [Wish::Attach, Wish::Settle, Wish::SettleWithJournal, Wish::Leave, Wish::Detach, Wish::OpenLog, Wish::End];

/// The way to it.
#[derive(Debug)]
pub(super) struct Keeper {
    /// None once it does not answer any more.
    line: Mutex<Option<Line>>,
    pid: i32,
}

/// The two sides after [`split`].
#[derive(Debug)]
pub(super) enum Side {
    /// The one that goes on.
    Client(Keeper),
    /// The one that is to [`keep`].
    Keeper(Line),
}

/// Makes two processes of one. To be called before there are threads.
///
/// # Errors
///
/// A system [`Failure`].
pub(super) fn split() -> Result<Side, Failure> {
    let cannot = |error: io::Error| Failure::system(format!("cannot start the process that unmounts: {error}"));
    let (ours, theirs) = Line::pair().map_err(cannot)?;
    match sys::fork().map_err(cannot)? {
        sys::Fork::Child => Ok(Side::Keeper(theirs)),
        sys::Fork::Parent(pid) => {
            ours.set_patience(PATIENCE).map_err(cannot)?;
            Ok(Side::Client(Keeper { line: Mutex::new(Some(ours)), pid }))
        }
    }
}

impl Keeper {
    /// Mounts. What comes back is the kernel's end of the mount.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where there is no mount.
    pub(super) fn attach(&self) -> Result<OwnedFd, Failure> {
        self.ask(Wish::Attach, "")?.ok_or_else(|| Failure::system("the kernel's end of the mount got lost"))
    }

    /// The mount answers, its device number is `device`.
    pub(super) fn settle(&self, device: u64, has_journal: bool) {
        let wish = if has_journal { Wish::SettleWithJournal } else { Wish::Settle };
        let _ = self.ask(wish, &device.to_string()).inspect_err(|failure| log::debug!("{failure}"));
    }

    /// Leaves the terminal and the process group, as we do.
    pub(super) fn leave(&self) {
        let _ = self.ask(Wish::Leave, "").inspect_err(|failure| log::debug!("{failure}"));
    }

    /// Takes the mount out of the tree at once; it ends when its last user leaves.
    pub(super) fn detach(&self) {
        if let Err(failure) = self.ask(Wish::Detach, "") {
            log::warn!("{failure}");
        }
    }

    /// A failure after which nothing may stay mounted.
    pub(super) fn undone(&self, message: String) -> Failure {
        self.detach();
        Failure::mount(message)
    }

    /// Opens the log's file, which may have been renamed.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn open_log(&self) -> io::Result<File> {
        let opened = self.ask(Wish::OpenLog, "").map_err(|failure| io::Error::other(failure.message))?;
        opened.map(File::from).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Ends it, and waits for that: who sees our end sees that of both.
    pub(super) fn end(&self) {
        if self.ask(Wish::End, "").is_ok() {
            sys::wait_for(self.pid);
        }
    }

    fn ask(&self, wish: Wish, detail: &str) -> Result<Option<OwnedFd>, Failure> {
        let mut line = self.line.lock();
        let lost = |why: &dyn std::fmt::Display| Failure::system(format!("the process that unmounts is lost: {why}"));
        let open = line.as_ref().ok_or_else(|| lost(&"it did not answer before"))?;
        let message = [&[wish as u8], detail.as_bytes()].concat();
        let answer = open.send(&message, None).and_then(|()| open.receive()).map_err(|error| lost(&error));
        match answer {
            Ok((answer, descriptor)) if answer.first() == Some(&0) => Ok(descriptor),
            Ok((answer, _)) if !answer.is_empty() => {
                Err(Failure::of_code(answer[0], &String::from_utf8_lossy(&answer[1..])))
            }
            broken => {
                // A late answer must not be taken for that to another question.
                *line = None;
                Err(broken.err().unwrap_or_else(|| lost(&"it has ended")))
            }
        }
    }
}

/// Does what the other side of `line` asks, until it ends.
pub(super) fn keep(line: &Line, settings: &MountSettings, mountpoint: &Path) -> ! {
    sys::block_termination();
    sys::name_process(c"ftpsfs-keeper");
    // Whoever waits for the caller's streams must not wait for us, and his directory is his.
    let _ = sys::silence_standard_streams();
    let _ = std::env::set_current_dir("/");
    sandbox::keep_mounting();
    let mut registered = None;
    while let Ok((message, _)) = line.receive() {
        let Some(wish) = WISHES.into_iter().find(|wish| message.first() == Some(&(*wish as u8))) else { break };
        let done = act(wish, &message[1..], settings, mountpoint, &mut registered);
        let told = match &done {
            Ok(descriptor) => line.send(&[0], descriptor.as_ref().map(|descriptor| descriptor.as_fd())),
            Err(failure) => line.send(&[&[failure.status.code()], failure.to_string().as_bytes()].concat(), None),
        };
        if told.is_err() || wish == Wish::End {
            break;
        }
    }
    // After a sudden end umount(8) is to know of the journal all the same: what is registered stays.
    process::exit(0)
}

fn act(
    wish: Wish,
    detail: &[u8],
    settings: &MountSettings,
    mountpoint: &Path,
    registered: &mut Option<Registered>,
) -> Result<Option<OwnedFd>, Failure> {
    match wish {
        Wish::Attach => return attach(mountpoint, settings).map(Some),
        Wish::Settle | Wish::SettleWithJournal => {
            let device = std::str::from_utf8(detail).ok().and_then(|device| device.parse().ok());
            let device = device.ok_or_else(|| Failure::system("that is no device number"))?;
            raise_read_ahead(device);
            if wish == Wish::SettleWithJournal {
                *registered = Registered::new(&settings.source, mountpoint, device, &settings.journal_dir);
            }
        }
        Wish::Leave => sys::leave_session(),
        Wish::Detach => detach(mountpoint)
            .map_err(|error| Failure::mount(format!("cannot unmount {}: {error}", mountpoint.display())))?,
        Wish::OpenLog => {
            let opened = settings.log.as_deref().map(logger::open_file).transpose().map_err(Failure::system)?;
            return Ok(opened.map(OwnedFd::from));
        }
        Wish::End => drop(registered.take()),
    }
    Ok(None)
}

/// Lets the kernel ask for more at once (`read_ahead_kb` of the mount's device); only root may, and nothing depends on it.
fn raise_read_ahead(device: u64) {
    let (major, minor) = sys::major_and_minor(device);
    if let Err(error) = fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), READ_AHEAD_KIB.to_string()) {
        log::debug!("the kernel's read-ahead stays as it is: {error}");
    }
}
