//! The journal: content that was closed and is not on the server yet, on this machine's disk, so that it outlives the
//! process and the machine's running.
//!
//! Each content is a file `NUMBER.content` with a record `NUMBER.json` that says what it is; higher numbers are later.
//! A content without a record was never promised to anybody and goes when the journal is opened.

use crate::path::{RemotePath, escaped};
use crate::remote::{FileKind, Metadata, Modified};
use crate::sys;
use crate::vfs::draft::{Origin, State};
use crate::vfs::error::Error;
use crate::vfs::spool::Spool;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Records of another form are left alone.
const FORM: u32 = 1;
const LOCK: &str = "lock";
const CONTENT: &str = "content";
const RECORD: &str = "json";
/// A record while it is written.
const UNFINISHED: &str = "new";

/// A directory that belongs to one mount at a time.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    /// Held for as long as the journal is open.
    _lock: File,
    /// The last number given.
    last: AtomicU64,
    /// The last revision given.
    revision: AtomicU64,
}

/// What an earlier mount left to be uploaded.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) spool: Spool,
    pub(crate) record: Record,
}

/// What a content is, and what is known of the file that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    form: u32,
    /// Of two records with one path the one with the higher revision holds, whichever content is older: one may have been
    /// renamed over the other.
    revision: u64,
    /// For people.
    path: String,
    path_bytes: Vec<u8>,
    /// In bytes, as all that follows.
    pub(crate) size: u64,
    /// Which bytes the content holds; below `base` the rest is what the server has.
    held: Vec<(u64, u64)>,
    base: u64,
    pub(crate) modified: SystemTime,
    pub(crate) mode: Option<u16>,
    origin: Before,
    /// What the server had is gone already.
    pub(crate) spoiled: bool,
    /// The content was uploaded under this name and is about to be renamed: if the name is gone, that was done.
    pub(crate) uploaded_as: Option<Vec<u8>>,
}

/// [`Origin`] on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Before {
    Absent { exclusive: bool },
    File { size: Option<u64>, modified: Option<(SystemTime, Duration)>, mode: Option<u16>, unique: Option<Vec<u8>> },
}

impl Journal {
    /// Whether something waits in `directory` to be uploaded.
    pub fn is_waiting(directory: &Path) -> bool {
        numbered(directory, RECORD).is_ok_and(|found| !found.is_empty())
    }

    /// What waits in `directory`: how many files, and how large they are on this disk together (bytes).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn waiting(directory: &Path) -> io::Result<(usize, u64)> {
        let records = numbered(directory, RECORD)?;
        // One that goes at this moment has no size any more.
        let sizes = records.iter().filter_map(|(_, record)| fs::metadata(record.with_extension(CONTENT)).ok());
        Ok((records.len(), sizes.map(|content| content.len()).sum()))
    }

    /// Whether nobody has the journal in `directory` open.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn is_free(directory: &Path) -> io::Result<bool> {
        sys::lock(&File::options().write(true).open(directory.join(LOCK))?)
    }

    /// Opens the journal in `directory`, which nobody but its owner may see.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::WouldBlock`] while another mount has it open.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
        if !sys::lock(&lock)? {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        for (_, unfinished) in numbered(directory, UNFINISHED)? {
            fs::remove_file(unfinished)?;
        }
        let contents = numbered(directory, CONTENT)?;
        for (_, content) in contents.iter().filter(|(_, content)| !content.with_extension(RECORD).exists()) {
            fs::remove_file(content)?;
        }
        let numbers = contents.into_iter().chain(numbered(directory, RECORD)?);
        let last = numbers.map(|(number, _)| number).max().unwrap_or(0);
        let (last, revision) = (AtomicU64::new(last), AtomicU64::new(0));
        let journal = Self { directory: directory.to_owned(), _lock: lock, last, revision };
        let revisions = journal.left()?.into_iter().map(|left| left.record.revision);
        journal.revision.store(revisions.max().unwrap_or(0), Ordering::Relaxed);
        Ok(journal)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What an earlier mount left, in the order in which it was recorded. What cannot be read is logged and stays.
    pub(crate) fn left(&self) -> io::Result<Vec<Left>> {
        let records = numbered(&self.directory, RECORD)?;
        let read = records.into_iter().filter_map(|(_, path)| match read(&path) {
            Ok(left) => Some(left),
            Err(error) => {
                log::error!("{} cannot be read, it stays as it is: {error}", path.display());
                None
            }
        });
        let mut left: Vec<Left> = read.collect();
        left.sort_by_key(|left| left.record.revision);
        Ok(left)
    }

    /// A new content over `base` bytes that lie underneath.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn spool(&self, base: u64) -> Result<Spool, Error> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Spool::named(self.directory.join(format!("{number:016}.{CONTENT}")), base)
    }

    /// Records what `spool` is, if it is anything, one after the other. When this returns `Ok` the record outlives a crash,
    /// and so does the content if it is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`]; the record that was there before then holds.
    pub(crate) fn record(&self, spool: &Spool, what: impl FnOnce() -> Option<Record>) -> Result<(), Error> {
        let Some((content, _recording)) = spool.to_record() else { return Err(Error::InvalidRequest) };
        let Some(mut record) = what() else { return Ok(()) };
        record.revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        self.write(content, &record).map_err(|error| Error::spool(&error))?;
        spool.set_recorded(true);
        Ok(())
    }

    fn write(&self, content: &Path, record: &Record) -> io::Result<()> {
        let unfinished = content.with_extension(UNFINISHED);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_data()?;
        fs::rename(&unfinished, content.with_extension(RECORD))?;
        self.sync()
    }

    /// Nothing of `spool` is to be uploaded any more.
    pub(crate) fn forget(&self, spool: &Spool) {
        let Some((content, _recording)) = spool.to_record() else { return };
        let record = content.with_extension(RECORD);
        match fs::remove_file(&record).and_then(|()| self.sync()) {
            Ok(()) => spool.set_recorded(false),
            Err(error) => log::error!("{} cannot be removed: {error}", record.display()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

impl Record {
    /// The record of what `state` says of the content of `path`, which is all in `spool`.
    pub(crate) fn of(path: &RemotePath, spool: &Spool, state: &State) -> Self {
        let (held, base) = spool.shape();
        Self {
            form: FORM,
            revision: 0,
            path: escaped(path.as_bytes()).to_string(),
            path_bytes: path.as_bytes().to_vec(),
            size: state.size,
            held: held.into_iter().map(|range| (range.start, range.end)).collect(),
            base,
            modified: state.modified,
            mode: state.mode,
            origin: Before::of(&state.origin),
            spoiled: state.spoiled,
            uploaded_as: None,
        }
    }

    /// What it is the content of; `None` where the record is not one of ours.
    pub(crate) fn path(&self) -> Option<RemotePath> {
        RemotePath::parse(&self.path_bytes).ok()
    }

    pub(crate) fn origin(&self) -> Origin {
        match &self.origin {
            Before::Absent { exclusive } => Origin::Absent { exclusive: *exclusive },
            Before::File { size, modified, mode, unique } => Origin::Known(Metadata {
                size: *size,
                modified: modified.map(|(time, precision)| Modified { time, precision }),
                mode: *mode,
                unique: unique.clone().map(Into::into),
                ..Metadata::of_kind(FileKind::File)
            }),
        }
    }
}

impl Before {
    fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Absent { exclusive } => Self::Absent { exclusive: *exclusive },
            Origin::Known(metadata) => Self::File {
                size: metadata.size,
                modified: metadata.modified.map(|modified| (modified.time, modified.precision)),
                mode: metadata.mode,
                unique: metadata.unique.as_ref().map(|unique| unique.to_vec()),
            },
        }
    }
}

fn read(path: &Path) -> io::Result<Left> {
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    let content = path.with_extension(CONTENT);
    if record.form != FORM || record.held.iter().any(|(start, end)| start > end) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has another form than this version writes"));
    }
    let held_up_to = record.held.iter().map(|(_, end)| *end).max().unwrap_or(0);
    if fs::metadata(&content)?.len() < held_up_to.min(record.size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its content is cut off"));
    }
    let held = record.held.iter().map(|(start, end)| *start..*end);
    Ok(Left { spool: Spool::left_behind(content, held, record.base), record })
}

/// The files in `directory` whose names are a number and `extension`.
fn numbered(directory: &Path, extension: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension() == Some(OsStr::new(extension))) {
            found.push((number, path));
        }
    }
    Ok(found)
}
