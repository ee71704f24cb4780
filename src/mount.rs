//! Joins the wings and mounts: the only place that knows both.

mod attach;
mod farewell;
mod keeper;
mod point;

use crate::background::{self, Report, Side, Watch};
use crate::config::{self, Config, DiskCacheSettings, MountSettings};
use crate::deadline::{Deadline, Ending};
use crate::failure::Failure;
use crate::ftp::certificate;
use crate::ftp::client::Client;
use crate::ftp::error::Error;
use crate::ftp::settings::Settings;
use crate::fuse::{Adapter, Crew};
use crate::logger;
use crate::meter::Metered;
use crate::path::escaped;
use crate::registry;
use crate::sandbox::{self, Rights};
use crate::status::{Identity, Status};
use crate::sys;
use crate::vfs::filesystem::Patience;
use crate::vfs::inodes::Ino;
use crate::vfs::journal::Journal;
use crate::vfs::writeback::Backlog;
use crate::vfs::{DiskCache, Vfs};
use farewell::Farewell;
use keeper::Keeper;

pub(crate) use attach::unmount_as_user;
use log::Level;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long the end of a mount waits for what was closed a moment ago.
const FINISH_MAX: Duration = Duration::from_secs(60);
/// How long a mount waits for an earlier one of the same directory that still uploads.
const JOURNAL_WAIT_MAX: Duration = Duration::from_secs(20);
const JOURNAL_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries within `mount_timeout`: at first, and at most.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(8);
/// How often the end of a mount says what still waits, at most.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// Mounts and serves: in the foreground until the end of the mount, else until it answers.
///
/// # Errors
///
/// A [`Failure`] where there is no mount.
pub fn run(config: Config) -> Result<(), Failure> {
    if let Some(namespace) = &config.mount.namespace {
        let entered = File::open(namespace).and_then(|namespace| sys::enter_mount_namespace(&namespace));
        entered.map_err(|error| Failure::system(format!("mount namespace {}: {error}", namespace.display())))?;
    }
    let mountpoint = point::find(&config.mount.mountpoint, !config.mount.fake)?;
    if let Some(log) = &config.mount.log {
        // A file system must not wait for itself.
        if log.starts_with(&mountpoint) {
            return Err(Failure::usage(format!("log {}: it lies below the mount point", log.display())));
        }
    }
    if config.mount.fake {
        return Ok(());
    }
    // `mount -a` does not know a line with a password again, as the kernel shows none.
    if registry::is_mounted(&config.mount.source, &mountpoint) {
        return Err(Failure::mount(format!("{} is mounted on {} already", config.mount.source, mountpoint.display())));
    }
    if let Some(log) = &config.mount.log {
        logger::open(log).map_err(|error| Failure::system(format!("log {}: {error}", log.display())))?;
    }
    if config.mount.foreground {
        return serve(config, mountpoint, Report::nowhere());
    }
    match background::split()? {
        Side::Front(waiting) => waiting.result(),
        Side::Back(report) => serve(config, mountpoint, report),
    }
}

fn serve(config: Config, mountpoint: PathBuf, report: Report) -> Result<(), Failure> {
    let keeper = match keeper::split()? {
        keeper::Side::Client(keeper) => Arc::new(keeper),
        keeper::Side::Keeper(line) => {
            let Config { ftp, vfs: _, mount } = config;
            // The password is not its business, and who waits for the report must not wait for it.
            drop((ftp, report));
            keeper::keep(&line, &mount, &mountpoint)
        }
    };
    if let Err(error) = sys::allow_many_descriptors() {
        log::debug!("no more files may be open than usual: {error}");
    }
    let extent = sandbox::enter(&rights(&config));
    let level = if extent.landlock.is_ok() { Level::Debug } else { Level::Warn };
    log::log!(level, "sandbox: {extent}");
    let (ended, end) = mpsc::channel();
    let unmount = {
        let (keeper, ended) = (Arc::clone(&keeper), ended.clone());
        move || {
            keeper.detach();
            // Fails when the end has come anyway.
            let _ = ended.send(End::Leaving);
        }
    };
    let give_up = {
        let ended = ended.clone();
        // Fails when the end has come anyway.
        move |impatient| drop(ended.send(End::GivenUp { impatient }))
    };
    let reopen_log = {
        let keeper = Arc::clone(&keeper);
        move || logger::reopen(|| keeper.open_log())
    };
    let in_background = !config.mount.foreground;
    let watch = Watch::start(report, unmount, give_up, reopen_log)?;
    match start(config, &mountpoint, &watch, &keeper) {
        Ok(running) => {
            if in_background {
                keeper.leave();
            }
            watch.mounted();
            running.serve(&keeper, ended, &end)
        }
        Err(failure) => {
            keeper.end();
            watch.failed(failure)
        }
    }
}

/// What the mount needs of this machine's files. A directory that is to be written gets made here: there is no right to what
/// is not there.
fn rights(config: &Config) -> Rights {
    let Config { ftp, vfs, mount } = config;
    let mut rights = config::rights_of(&ftp.trust);
    let mut writable = |directory: &Path, is_wanted: bool| {
        if is_wanted {
            // Where it fails, whoever needs it says so.
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        }
        rights.writable.push(directory.to_owned());
    };
    if vfs.read_only {
        rights.readable.push(mount.journal_dir.clone());
    } else {
        writable(&mount.journal_dir, vfs.writeback);
        writable(&vfs.recovery_dir, true);
        // Which is often everybody's.
        let _ = fs::create_dir_all(&vfs.spool_dir);
        writable(&vfs.spool_dir, false);
    }
    if let Some(cache) = &mount.disk_cache {
        writable(&cache.directory, true);
    }
    rights
}

/// A mount that answers.
#[derive(Debug)]
struct Running {
    client: Arc<Client>,
    vfs: Arc<Vfs>,
    crew: Crew,
    session: fuser::BackgroundSession,
    source: String,
    journal_dir: PathBuf,
    /// Standard error is a person's or journald's, not the caller's who waits for the mount.
    foreground: bool,
}

fn start(config: Config, mountpoint: &Path, watch: &Watch, keeper: &Keeper) -> Result<Running, Failure> {
    let Config { ftp, vfs, mount } = config;
    let patience = ftp.timeout.saturating_mul(2);
    let journal = journal(&mount.journal_dir, vfs.writeback, vfs.read_only)?;
    let disk = mount.disk_cache.as_ref().map(disk_cache).transpose()?;
    let client = match mount.delay_connect {
        true => Client::delayed(ftp),
        false => connect(&ftp, mount.mount_timeout, patience),
    };
    let client = Arc::new(client.map_err(|error| not_connected(&error))?);
    let metered = Arc::new(Metered::new(client.clone()));
    let identity = Identity {
        source: mount.source.clone(),
        mountpoint: escaped(mountpoint.as_os_str().as_encoded_bytes()).to_string(),
        read_only: vfs.read_only,
        owner: sys::user_and_group().0,
    };
    let vfs = Arc::new(Vfs::with_disk(metered.clone(), vfs, journal, disk));
    if mount.delay_connect {
        vfs.resume_later(Instant::now());
    } else {
        first_listing(&vfs, patience).inspect_err(|_| client.close())?;
        // So that the first who asks for the free space hears what the server tells.
        vfs.statfs(Instant::now());
        vfs.resume(Instant::now());
    }
    let meter = metered.meter();
    let status = Status::new(Arc::clone(&vfs), metered, meter, identity, Instant::now());
    let adapter = Adapter::new(Arc::clone(&vfs), status)
        .map_err(|error| Failure::system(format!("cannot watch over requests: {error}")))?;
    let crew = adapter.crew();
    let attached = watch.while_mounting(|| {
        let device = keeper.attach()?;
        let session = attach::serve(adapter, device, &mount)
            .map_err(|error| keeper.undone(format!("the kernel and ftpsfs do not agree on FUSE: {error}")))?;
        Adapter::connect(&vfs, session.notifier());
        session.spawn().map_err(|error| keeper.undone(format!("cannot serve the mount: {error}")))
    });
    // The server hears a goodbye, whatever came between us and the kernel.
    let session = attached.inspect_err(|_| client.close())?;
    let device = match mount.delay_connect {
        // Asking for the root would connect; that the kernel and we understand each other is known.
        true => registry::device_of(mountpoint),
        false => answer(mountpoint, patience).map(|root| root.dev()),
    };
    let device = device.map_err(|error| keeper.undone(format!("the mount does not answer: {error}")))?;
    keeper.settle(device, vfs.has_journal());
    let MountSettings { source, journal_dir, foreground, .. } = mount;
    Ok(Running { client, vfs, crew, session, source, journal_dir, foreground })
}

/// Connects; where the network, the name or the server is not there yet, again until `patience` is over. Each try may take so
/// long.
fn connect(ftp: &Settings, patience: Duration, try_max: Duration) -> Result<Client, Error> {
    let deadline = Instant::now() + patience;
    let (mut pause, mut told) = (RETRY_PAUSE_MIN, String::new());
    loop {
        let entered = Deadline::new(Some(try_max), None, &Ending::default()).enter();
        let connected = Client::connect(ftp.clone());
        drop(entered);
        match connected {
            Err(error) if error.may_pass() && Instant::now() < deadline => {
                let trouble = error.to_string();
                if trouble != told {
                    log::info!("{trouble}: trying again for {} s", patience.as_secs());
                    told = trouble;
                }
                // The last try is at the end.
                thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
            result => return result,
        }
    }
}

/// A server that is not believed is shown as it showed itself, so that its keeper can see what is wrong.
fn not_connected(error: &Error) -> Failure {
    let details = match error {
        Error::Untrusted { chain, .. } => certificate::describe(chain, SystemTime::now()),
        _ => Vec::new(),
    };
    let failure = match error {
        Error::LoginRefused { .. } => Failure::login(error),
        _ => Failure::mount(error),
    };
    failure.with_details(details)
}

fn disk_cache(settings: &DiskCacheSettings) -> Result<DiskCache, Failure> {
    let DiskCacheSettings { directory, bytes_max, scope } = settings;
    DiskCache::open(directory, *bytes_max, scope).map_err(|error| {
        let message = format!("the disk cache {}: {error}", directory.display());
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::NotADirectory => Failure::usage(message),
            _ => Failure::system(message),
        }
    })
}

/// The journal, where one is wanted or something is in it; a mount that ended just now may still be uploading from it.
fn journal(directory: &Path, wanted: bool, read_only: bool) -> Result<Option<Journal>, Failure> {
    let is_waiting = Journal::is_waiting(directory);
    if read_only {
        if is_waiting {
            log::warn!("files in {} wait to be uploaded, which a read-only mount does not do", directory.display());
        }
        return Ok(None);
    }
    if !wanted && !is_waiting {
        return Ok(None);
    }
    let deadline = Instant::now() + JOURNAL_WAIT_MAX;
    loop {
        match Journal::open(directory) {
            Ok(journal) => return Ok(Some(journal)),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(JOURNAL_PAUSE)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Failure::mount(format!(
                    "another mount of the same directory has the journal {}, or still uploads from it",
                    directory.display()
                )));
            }
            Err(error) => return Err(Failure::system(format!("the journal {}: {error}", directory.display()))),
        }
    }
}

/// Lists the root before there is a mount: a server whose data connections do not work is told of here, in words, and not
/// by errors of whoever looks at the mount first. The listing stays in the cache.
fn first_listing(vfs: &Vfs, patience: Duration) -> Result<(), Failure> {
    // Also with `hard`: whoever mounts hears how that ends.
    let _entered = Deadline::new(Some(patience), None, vfs.ending()).enter();
    match vfs.opendir(Ino::ROOT, Instant::now(), Patience::Network) {
        Ok(opened) => vfs.releasedir(opened.fh).map_err(Failure::mount),
        // What lies below may be readable all the same.
        Err(error) if error.is_refusal() => {
            log::warn!("the root directory cannot be listed: {error}");
            Ok(())
        }
        Err(error) => Err(Failure::mount(format!("listing the directory: {error}"))),
    }
}

/// How a mount ends.
#[derive(Debug)]
enum End {
    /// A signal has taken it out of the tree; programs may still have files open.
    Leaving,
    /// The kernel has let go of it, or its service failed.
    Session(io::Result<()>),
    /// It is out of the tree, and some program does not close its files, or somebody is `impatient`.
    GivenUp { impatient: bool },
}

impl Running {
    fn serve(self, keeper: &Keeper, ended: Sender<End>, end: &Receiver<End>) -> Result<(), Failure> {
        let Self { client, vfs, crew, session, source, journal_dir, foreground } = self;
        log::info!("{source} is mounted");
        let session_ended = ended.clone();
        thread::Builder::new()
            .name("session".into())
            .spawn(move || session_ended.send(End::Session(session.join())).is_ok())
            .map_err(|error| Failure::system(format!("cannot wait for the end of the mount: {error}")))?;
        let mut farewell = None;
        let ends = loop {
            match end.recv() {
                Ok(End::Leaving) => drop(farewell.get_or_insert_with(|| Farewell::begin(&client, &vfs, &ended))),
                ends => break ends,
            }
        };
        match ends {
            Ok(End::Session(Ok(()))) => {}
            Ok(End::Session(Err(error))) => {
                log::error!("the mount ended with an error: {error}");
                // It may still be in the tree, and nobody answers there.
                keeper.detach();
            }
            Ok(End::GivenUp { .. } | End::Leaving) | Err(_) => {
                log::warn!("files on the mount are still open: ending anyway")
            }
        }
        // The kernel does not wait until it hears that a closed file is released.
        let farewell = farewell.unwrap_or_else(|| Farewell::begin(&client, &vfs, &ended));
        vfs.ending().wait_until(Instant::now() + FINISH_MAX, |slice| crew.wait(slice));
        vfs.end(Instant::now(), FINISH_MAX);
        drain(&vfs, &journal_dir, foreground, end);
        drop(farewell);
        log::info!("{source} is unmounted; {}", client.summary());
        log::debug!("{}", vfs.summary());
        // Its streams give their connections back, so that they hear a goodbye as well.
        drop(vfs);
        keeper.end();
        client.close();
        Ok(())
    }
}

/// Uploads what still waits in the journal, and says how far it is.
fn drain(vfs: &Vfs, journal_dir: &Path, foreground: bool, end: &Receiver<End>) {
    let mut told = Instant::now();
    let mut tell = |backlog: &Backlog| {
        if told.elapsed() > PROGRESS_PAUSE {
            told = Instant::now();
            // In the foreground the log may be turned off, but who waits for the end wants to know.
            if foreground {
                eprintln!("ftpsfs: uploading: {backlog} to go")
            } else {
                log::info!("uploading: {backlog} to go")
            }
        }
        matches!(end.try_recv(), Ok(End::GivenUp { impatient: true }))
    };
    let left = vfs.drain(&mut tell);
    if left.files > 0 {
        log::error!("{left} could not be uploaded: kept in {}, the next mount uploads them", journal_dir.display());
    }
}

/// Asks the mount for its root, as any program would; in a thread of its own, since a file system that hangs does not let
/// go of those who ask.
fn answer(mountpoint: &Path, patience: Duration) -> io::Result<fs::Metadata> {
    let (sender, receiver) = mpsc::channel();
    let mountpoint = mountpoint.to_owned();
    thread::Builder::new().name("answer".into()).spawn(move || sender.send(fs::metadata(mountpoint)).is_ok())?;
    receiver.recv_timeout(patience).map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}
