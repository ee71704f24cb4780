//! A mount whose server is in this process and heeds no deadline, or panics: whatever the code below does, a request ends,
//! and the mount lives.

use crate::memory::Memory;
use crate::support::mountpoint::is_mounted;
use crate::support::run::{PATIENCE, finish, within};
use crate::support::server::run_directory;
use crate::writer::errno;
use ftpsfs::fuse::Adapter;
use ftpsfs::meter::Metered;
use ftpsfs::status::{Identity, Status};
use ftpsfs::vfs::settings::Prefetch;
use ftpsfs::vfs::{Settings, Vfs};
use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::errno::Errno;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(1);
const IDENTITY: Identity = Identity { source: String::new(), mountpoint: String::new(), read_only: false, owner: 0 };
const MARGIN: Duration = Duration::from_secs(1);

/// What was logged as an error.
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Ears;

impl log::Log for Ears {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        HEARD.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn heard() -> Vec<String> {
    HEARD.lock().unwrap().clone()
}

struct Mounted {
    memory: Memory,
    point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// `believed` is how long what is known is.
    fn new(memory: Memory, believed: Duration) -> Self {
        let point = run_directory().join("mnt");
        fs::create_dir(&point).unwrap();
        let settings = Settings {
            patience: Some(DEADLINE),
            attr_timeout: believed,
            dir_timeout: believed,
            // Who looks ahead would be the one to panic.
            prefetch: Prefetch::Off,
            ..Settings::default()
        };
        let vfs = Arc::new(Vfs::new(Arc::new(memory.clone()), settings));
        let mut options = Config::default();
        options.mount_options =
            vec![MountOption::FSName("memory".into()), MountOption::CUSTOM("subtype=ftpsfs".into())];
        let (remote, identity) = (Metered::new(Arc::new(memory.clone())), IDENTITY);
        let meter = remote.meter();
        let status = Status::new(Arc::clone(&vfs), Arc::new(remote), meter, identity, Instant::now());
        let adapter = Adapter::new(vfs, status).unwrap();
        let session = Session::new(adapter, &point, &options).unwrap().spawn().unwrap();
        Self { memory, point, session: Some(session) }
    }

    /// Runs `call` in a thread of its own, which must end in time.
    fn timed(&self, what: &str, call: impl FnOnce(PathBuf) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let (at, begun) = (self.point.join(what), Instant::now());
        let result = thread::spawn(move || call(at)).join().unwrap();
        assert!(begun.elapsed() < DEADLINE + MARGIN, "{what} took {:?}", begun.elapsed());
        result
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.memory.open_gate();
        if is_mounted(&self.point) {
            finish(within(PATIENCE, "umount").arg("-l").arg(&self.point));
        }
        drop(self.session.take());
    }
}

#[test]
fn a_request_ends_whatever_the_code_below_does_and_what_comes_too_late_changes_nothing() {
    let memory = Memory::new();
    memory.file("/f", "content").file("/g", "other").directory("/d");
    let mounted = Mounted::new(memory.clone(), Duration::from_secs(60));
    assert_eq!(fs::metadata(mounted.point.join("f")).unwrap().len(), 7);
    memory.close_gate();
    let number = |result| errno::<()>(result);
    assert_eq!(number(mounted.timed("d/none", |at| fs::metadata(at).map(drop))), Errno::ETIMEDOUT);
    assert_eq!(number(mounted.timed("d/new", |at| File::create(at).map(drop))), Errno::ETIMEDOUT);
    assert_eq!(number(mounted.timed("f", |at| File::create(at).map(drop))), Errno::ETIMEDOUT);
    assert_eq!(number(mounted.timed("g", |at| fs::read(at).map(drop))), Errno::ETIMEDOUT);
    // What is known is still answered.
    assert_eq!(fs::metadata(mounted.point.join("f")).unwrap().len(), 7);
    memory.open_gate();
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read(mounted.point.join("g")).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::read(mounted.point.join("g")).unwrap(), b"other");
    memory.await_counts("closed", |counts| counts.open_downloads == 0);
    assert_eq!((memory.content("/f").unwrap(), memory.content("/d/new")), (b"content".to_vec(), None));
    fs::write(mounted.point.join("d/new"), b"works").unwrap();
    assert_eq!(memory.content("/d/new").unwrap(), b"works");
}

#[test]
fn a_panic_is_one_failed_call() {
    let memory = Memory::new();
    memory.file("/f", "content").file("/g", "other").file("/h", "more");
    let mounted = Mounted::new(memory.clone(), Duration::ZERO);
    log::set_logger(&Ears).expect("no other test of this program listens");
    log::set_max_level(log::LevelFilter::Error);
    // Names that the kernel does not know yet: of those that it does it asks a second time by itself.
    memory.panic_next();
    assert_eq!(errno(fs::metadata(mounted.point.join("f"))), Errno::EIO);
    assert!(fs::metadata(mounted.point.join("f")).is_ok());
    memory.panic_next();
    assert_eq!(errno(fs::remove_file(mounted.point.join("h"))), Errno::EIO);
    fs::remove_file(mounted.point.join("h")).unwrap();
    // The one who fetches, of whom the kernel asks again before it tells the one who waits: that may have been in time.
    let mut file = File::open(mounted.point.join("g")).unwrap();
    memory.panic_next();
    let mut content = Vec::new();
    match file.read_to_end(&mut content) {
        Ok(_) => assert_eq!(content, b"other"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32)),
    }
    assert!(memory.has_panicked(), "nobody fetched");
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read(mounted.point.join("g")).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fs::read(mounted.point.join("g")).unwrap(), b"other");
    let told = heard();
    assert_eq!(told.iter().filter(|line| line.contains("panicked")).count(), 3, "{told:?}");
    fs::remove_file(mounted.point.join("f")).unwrap();
}
