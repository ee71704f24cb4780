//! What the wing is told: caches, times, ownership, and how it writes.

use std::path::PathBuf;
use std::time::Duration;

/// The file system's settings. Validated by whoever builds it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many bytes of file content are kept in memory at most, read-ahead included.
    pub cache_bytes_max: usize,
    /// What is asked of the server before anybody wants to know.
    pub prefetch: Prefetch,
    /// How long what is known of a file is believed.
    pub attr_timeout: Duration,
    /// How long a listing is believed, also about names that it does not hold.
    pub dir_timeout: Duration,
    /// Who owns what `idmap` gives to nobody else.
    pub uid: u32,
    /// The group of what `idmap` gives to no other.
    pub gid: u32,
    /// Whether files belong to whom they belong to on the server.
    pub idmap: IdMap,
    /// The permission bits of a file of which the server tells none, `umask` or not.
    pub file_mode: Option<u16>,
    /// The same of a directory.
    pub dir_mode: Option<u16>,
    /// Permission bits that are taken away from what the server says or, where it says nothing, from 0666 and 0777.
    pub umask: u16,
    /// Nothing is changed on the server.
    pub read_only: bool,
    /// How a new content gets to its name.
    pub upload: UploadWay,
    /// What is closed goes into the journal, where there is one, and is uploaded in its turn.
    pub writeback: bool,
    /// What happens to a file that changed on the server since it was opened.
    pub conflict: Conflict,
    /// Where content that does not come in order is kept until it is uploaded.
    pub spool_dir: PathBuf,
    /// Where content is kept that could not be uploaded.
    pub recovery_dir: PathBuf,
    /// `chmod` and `chown` that the server cannot do succeed without doing anything.
    pub ignore_perms: bool,
    /// How long a request waits for a server that does not go on; `None` is for ever.
    pub patience: Option<Duration>,
    /// What is known is shown past its time while the server is away.
    pub stale_ok: bool,
    /// This host's short name, for temporary names and those of conflicting versions.
    pub host: String,
}

/// What is asked of the server before anybody wants to know, for programs that go through a tree in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Prefetch {
    /// Nothing.
    Off,
    /// Listings of the directories that come next.
    Metadata,
    /// The beginnings of the files that come next as well.
    #[default]
    Files,
}

/// How owners on the server become owners here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdMap {
    /// Not: everything belongs to one user and one group.
    #[default]
    None,
    /// By their numbers.
    Numeric,
    /// By their names, as far as there are such here.
    Name,
}

/// How a new content gets to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UploadWay {
    /// Under a temporary name beside it, then renamed: the old content is there until the new one is whole.
    #[default]
    Temporary,
    /// In place: for servers that do not rename over a file, or where new names are not permitted.
    Direct,
}

/// What happens to a file that changed on the server since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// It stays; our version is stored beside it, and the writer gets `ESTALE`.
    #[default]
    Refuse,
    /// It is overwritten: the last writer wins.
    Overwrite,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes_max: 32 << 20,
            prefetch: Prefetch::default(),
            attr_timeout: Duration::from_secs(30),
            dir_timeout: Duration::from_secs(30),
            uid: 0,
            gid: 0,
            idmap: IdMap::default(),
            file_mode: None,
            dir_mode: None,
            umask: 0o022,
            read_only: false,
            upload: UploadWay::default(),
            writeback: false,
            conflict: Conflict::default(),
            spool_dir: std::env::temp_dir(),
            recovery_dir: std::env::temp_dir().join("ftpsfs-recovery"),
            ignore_perms: false,
            patience: Some(Duration::from_secs(30)),
            stale_ok: true,
            host: "localhost".into(),
        }
    }
}
