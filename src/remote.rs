//! The seam between the file system and the protocol: what a server can be asked, in words that know neither.

use crate::accounts::Account;
use crate::path::{Name, RemotePath};
use condition::Condition;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

pub mod condition;

/// A server's tree. Every call is bounded in time by the implementation and may be made from any thread.
pub trait Remote: Send + Sync + fmt::Debug {
    /// All entries of a directory, without `.` and `..`, in the server's order, each name once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], [`ErrorKind::NotADirectory`] and [`ErrorKind::PermissionDenied`] where the server tells
    /// them apart, [`ErrorKind::Unavailable`] where it does not.
    fn list(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error>;

    /// What the server knows of `path` now; symbolic links may be followed by the server.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`].
    fn stat(&self, path: &RemotePath) -> Result<Metadata, Error>;

    /// Whether [`Remote::stat`] of anything but a file lists the directory that holds it: then listing it costs no more,
    /// and answers for its other names too. Never waits.
    fn stat_lists(&self) -> bool {
        false
    }

    /// Whether the server may find a file by another spelling than the listed one: then a name is there only if a listing shows
    /// it. Never waits.
    fn ignores_case(&self) -> bool {
        false
    }

    /// Whether the server is known to be away. Never waits.
    fn is_away(&self) -> bool {
        false
    }

    /// How many requests could be made now without opening a connection or keeping anybody waiting. Never waits.
    fn spare(&self) -> usize {
        0
    }

    /// More requests than [`Remote::spare`] could be made: sees to it, if that is allowed, that there will be more. Never waits.
    fn prepare(&self) {}

    /// Has `told` called each time that [`Remote::spare`] has grown, with the time. It must not wait. Only the first call counts.
    fn on_spare(&self, told: Box<dyn Fn(Instant) + Send + Sync>) {
        drop(told);
    }

    /// How it and the server do. Never waits.
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Starts a transfer of the file's bytes from `offset` (bytes) to its end.
    ///
    /// `size` is the file's size (bytes) as last seen. It decides one thing: a transfer that ends without TLS's
    /// `close_notify` is whole only if exactly `size` was reached.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::IsADirectory`] where the server says so.
    fn read_from(&self, path: &RemotePath, offset: u64, size: Option<u64>) -> Result<Box<dyn Download>, Error>;

    /// Starts an upload. What it replaces is gone from the start: whoever wants to keep the old content until the new one is
    /// whole uploads under another name and renames.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::NoSpace`] and [`ErrorKind::Quota`] where the server says so;
    /// [`ErrorKind::Unsupported`] for [`Start::End`] where the server cannot append.
    fn write_to(&self, path: &RemotePath, start: Start) -> Result<Box<dyn Upload>, Error>;

    /// Creates a directory; [`ErrorKind::Exists`] where the name is taken.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`].
    fn create_directory(&self, path: &RemotePath) -> Result<(), Error>;

    /// Removes an empty directory; [`ErrorKind::NotEmpty`] where the server says that it is not.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`].
    fn remove_directory(&self, path: &RemotePath) -> Result<(), Error>;

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`].
    fn remove_file(&self, path: &RemotePath) -> Result<(), Error>;

    /// Renames. A file at `to` is replaced, on every server that can.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::Exists`] where the server does not replace.
    fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error>;

    /// As [`Remote::remove_file`], of what was `seen`: where the connection breaks before the reply, that tells whether it was
    /// done. [`ErrorKind::Lost`] where it cannot be told: nothing is removed twice.
    ///
    /// # Errors
    ///
    /// As [`Remote::remove_file`].
    fn remove_seen_file(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let _ = seen;
        self.remove_file(path)
    }

    /// As [`Remote::remove_directory`], of what was `seen`.
    ///
    /// # Errors
    ///
    /// As [`Remote::remove_directory`].
    fn remove_seen_directory(&self, path: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let _ = seen;
        self.remove_directory(path)
    }

    /// As [`Remote::rename`], of what was `seen` at `from`.
    ///
    /// # Errors
    ///
    /// As [`Remote::rename`].
    fn rename_seen(&self, from: &RemotePath, to: &RemotePath, seen: Seen<'_>) -> Result<(), Error> {
        let _ = seen;
        self.rename(from, to)
    }

    /// Sets the time of last change of the content, to the server's precision.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::Unsupported`] where the server cannot.
    fn set_modified(&self, path: &RemotePath, time: SystemTime) -> Result<(), Error>;

    /// Sets the permission bits, `0o7777` at most.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::Unsupported`] where the server cannot.
    fn set_mode(&self, path: &RemotePath, mode: u16) -> Result<(), Error>;

    /// Does one of the last two to a file, and gives what the server tells of it then, if that costs no more.
    ///
    /// # Errors
    ///
    /// As [`Remote::set_modified`] and [`Remote::set_mode`].
    fn alter(&self, path: &RemotePath, alteration: Alteration) -> Result<Option<Metadata>, Error> {
        match alteration {
            Alteration::Modified(time) => self.set_modified(path, time),
            Alteration::Mode(mode) => self.set_mode(path, mode),
        }
        .map(|()| None)
    }

    /// Creates a symbolic link.
    ///
    /// # Errors
    ///
    /// As [`Remote::list`]; [`ErrorKind::Unsupported`] where the server cannot.
    fn create_symlink(&self, path: &RemotePath, target: &[u8]) -> Result<(), Error>;

    /// How many bytes the server has room for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where the server does not tell, now or ever.
    fn free_space(&self) -> Result<u64, Error> {
        Err(Error::new(ErrorKind::Unsupported, "the server does not tell its free space"))
    }
}

/// What is known of something that is to be removed or renamed.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// Nothing.
    Nothing,
    /// What it was when it was last looked at.
    As(&'a Metadata),
    /// Nobody else uses the name: what has it is what we put there.
    Ours,
}

/// A change of a file's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alteration {
    /// The time of last change.
    Modified(SystemTime),
    /// The permission bits.
    Mode(u16),
}

/// Where an upload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of a file that is new, or whose content goes.
    Beginning,
    /// At the end of a file that has this many bytes.
    End(u64),
}

/// A running upload. Dropping it before [`Upload::finish`] breaks it off: the file on the server then holds some beginning
/// of what was written, or nothing.
pub trait Upload: Send + fmt::Debug {
    /// Sends all of `bytes`; returns when they are on their way, not when they are stored. Waits while the network is
    /// slower than the caller.
    ///
    /// # Errors
    ///
    /// After an error the upload is over; [`ErrorKind::NoSpace`] and [`ErrorKind::Quota`] where the server said so.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Whenever the upload goes on by another request, it does at `whereabouts`, and no more at the path where it began.
    fn follow(&mut self, whereabouts: Box<dyn Whereabouts>) {
        let _ = whereabouts;
    }

    /// Ends the upload. `Ok` means that the server confirmed it and that the file there has the size that it must have.
    ///
    /// # Errors
    ///
    /// Whatever the server said; [`ErrorKind::Lost`] where it said nothing and the size is wrong or unknown.
    fn finish(self: Box<Self>) -> Result<(), Error>;

    /// As [`Upload::finish`], and makes ready to give the file another name, in as few round trips as the server lets it take.
    /// `None` where only the upload is finished, and the rest is to be done by itself.
    ///
    /// # Errors
    ///
    /// As [`Upload::finish`].
    fn finish_for(self: Box<Self>, naming: &Naming) -> Result<Option<Named>, Error> {
        let _ = naming;
        self.finish().map(|()| None)
    }
}

/// Where a file is that is being uploaded, whatever the directories on the way are called by now.
pub trait Whereabouts: Send + Sync + fmt::Debug {
    /// Calls `with` where it is, and lets nothing move there until that returns; does not call it where that is not known.
    /// Waits for what moves there, if `waits`: nobody may who has a connection, since what moves may need it.
    fn hold(&self, waits: bool, with: &mut dyn FnMut(&RemotePath));
}

/// The name that an upload is to get, and what else the file is to have then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Where it goes.
    pub path: RemotePath,
    /// Nothing was there when the upload began, as a listing or the server itself showed.
    pub is_new: bool,
    /// Permission bits; `None` leaves them as they are.
    pub mode: Option<u16>,
    /// Time of last change; `None` leaves it as it is.
    pub modified: Option<SystemTime>,
}

/// An upload that is whole, on the server under its first name and about to get another. While it lives it holds what the
/// renaming needs, so that nothing else should be asked of the server.
#[derive(Debug)]
pub struct Named {
    /// The file that has the new name until now, if there is one.
    pub found: Option<Metadata>,
    /// Why the permission bits were not set.
    pub mode_refused: Option<ErrorKind>,
    /// Whether the time of last change was set.
    pub has_time: bool,
    /// The rest.
    pub renaming: Box<dyn Renaming>,
}

/// The last step of an upload. Dropping it leaves the file under its first name.
pub trait Renaming: Send + fmt::Debug {
    /// Renames, and gives what the server tells of the file then, if it does.
    ///
    /// # Errors
    ///
    /// As [`Remote::rename`].
    fn rename(self: Box<Self>) -> Result<Option<Metadata>, Error>;
}

/// A running download. Dropping it before its end ends the transfer; it does not wait for the server.
pub trait Download: Send + fmt::Debug {
    /// Waits for the next bytes of the file and puts at least one into `buffer`, which must not be empty; `Ok(0)` only
    /// at the end of the file, when the server has confirmed that the transfer is complete.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Preempted`] when the connection was needed by somebody else: open again at the position reached.
    /// [`ErrorKind::Lost`] when the connection broke: bytes given before the error are right, and the transfer may be
    /// opened again at the position reached. After an error the download is over.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Says how far will be read, as far as is known by now; before anybody says so, [`Reach::End`]. A hint, of how much may come
    /// that nobody asked for.
    fn expect(&mut self, reach: Reach);
}

/// How far whoever reads a download means to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Perhaps no further than where he is: a look.
    Look,
    /// To the end of the file, or a good way towards it.
    End,
}

/// A name in a directory and what the listing said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in its directory.
    pub name: Name,
    /// What the listing said.
    pub metadata: Metadata,
}

/// What a server tells of a file. `None` where it did not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// File, directory or symbolic link.
    pub kind: FileKind,
    /// Length in bytes. Always present for a [`FileKind::File`] that came from [`Remote::stat`].
    pub size: Option<u64>,
    /// Time of last change of the content.
    pub modified: Option<Modified>,
    /// Permission bits, `0o7777` at most.
    pub mode: Option<u16>,
    /// The owner's number on the server.
    pub uid: Option<u32>,
    /// The group's number on the server.
    pub gid: Option<u32>,
    /// The owner's name on the server.
    pub owner: Option<Account>,
    /// The group's name on the server.
    pub group: Option<Account>,
    /// The server's own identifier of the file (`unique`, RFC 3659 section 7.5.2).
    pub unique: Option<Box<[u8]>>,
}

/// The kind of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target as the server tells it; `None` where it tells that there is a link, not whereto.
    Symlink(Option<Box<[u8]>>),
}

/// A time with how exactly it was told: `LIST` gives minutes or days, `MDTM` and `MLSD` seconds or better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modified {
    /// The time, rounded down to `precision`.
    pub time: SystemTime,
    /// One day, one minute, one second or one millisecond.
    pub precision: Duration,
}

impl Modified {
    /// Whether both may tell of the same moment: what the earlier one leaves open reaches up to the later one.
    pub fn agrees(&self, other: &Self) -> bool {
        let (early, late) = if self.time <= other.time { (self, other) } else { (other, self) };
        let apart = late.time.duration_since(early.time).unwrap_or_default();
        apart.is_zero() || apart < early.precision
    }
}

impl Metadata {
    /// A file of which only the kind is known.
    pub fn of_kind(kind: FileKind) -> Self {
        Self {
            kind,
            size: None,
            modified: None,
            mode: None,
            uid: None,
            gid: None,
            owner: None,
            group: None,
            unique: None,
        }
    }

    /// Whether `other` may tell of the same content: nothing that both tell differs among kind, size, time and `unique`.
    pub fn same_version(&self, other: &Self) -> bool {
        fn agree<T>(one: Option<&T>, other: Option<&T>, same: impl Fn(&T, &T) -> bool) -> bool {
            one.zip(other).is_none_or(|(one, other)| same(one, other))
        }
        self.kind == other.kind
            && agree(self.size.as_ref(), other.size.as_ref(), |one, other| one == other)
            && agree(self.modified.as_ref(), other.modified.as_ref(), Modified::agrees)
            && agree(self.unique.as_ref(), other.unique.as_ref(), |one, other| one == other)
    }
}

/// Why a [`Remote`] could not answer.
#[derive(Debug)]
pub struct Error {
    /// For the code that decides.
    pub kind: ErrorKind,
    /// For the log: the protocol's own error, with the server's words in it.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the file system must tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The server says that there is no such file or directory.
    NotFound,
    /// The server says that the account may not do this.
    PermissionDenied,
    /// Refused for a reason the server does not tell (a `550` with a fixed text): missing, or not permitted.
    Unavailable,
    /// It is not a directory.
    NotADirectory,
    /// It is a directory.
    IsADirectory,
    /// The name cannot be sent to this server: it has bytes that a command cannot carry.
    InvalidName,
    /// The path is longer than a command can carry.
    NameTooLong,
    /// The name is taken.
    Exists,
    /// The directory has entries.
    NotEmpty,
    /// The server tells of a part of the directory only: single names can still be asked for.
    Incomplete,
    /// The server's disk is full.
    NoSpace,
    /// The account's quota is used up.
    Quota,
    /// The server does not offer what is needed.
    Unsupported,
    /// The server has no connection to spare for us, or the pool had none in time.
    Busy,
    /// The download gave its connection up to somebody who waited.
    Preempted,
    /// The server did not answer in time.
    TimedOut,
    /// The server is known to be away: it was not asked.
    Away,
    /// The connection broke.
    Lost,
    /// The server cannot be trusted or encryption failed.
    Insecure,
    /// The server does not let us in.
    LoginRefused,
    /// The server broke the protocol.
    Misbehaved,
    /// Refused, and none of the above.
    Refused,
}

impl Error {
    /// An error of `kind` with its cause.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modified(seconds: u64, precision: u64) -> Modified {
        Modified {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            precision: Duration::from_secs(precision),
        }
    }

    #[test]
    fn times_agree_where_one_moment_can_be_told_as_both() {
        assert!(modified(120, 60).agrees(&modified(179, 1)));
        assert!(!modified(120, 60).agrees(&modified(180, 1)));
        assert!(!modified(120, 1).agrees(&modified(121, 1)));
        assert!(modified(179, 1).agrees(&modified(120, 60)));
        // A file of the 14th at 2:40 was taken for one that a listing showed with the 15th, and an old content for the new one.
        assert!(!modified(86_400 + 9600, 1).agrees(&modified(2 * 86_400, 86_400)));
        assert!(!modified(119, 1).agrees(&modified(120, 60)));
    }

    #[test]
    fn a_version_is_the_same_unless_something_both_tell_differs() {
        let file = Metadata { size: Some(5), ..Metadata::of_kind(FileKind::File) };
        assert!(file.same_version(&Metadata::of_kind(FileKind::File)));
        assert!(!file.same_version(&Metadata { size: Some(6), ..file.clone() }));
        assert!(!file.same_version(&Metadata::of_kind(FileKind::Directory)));
    }
}
