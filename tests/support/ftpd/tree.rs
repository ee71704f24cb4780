//! What the server serves: files in memory, on disk or made up, and how a listing shows them.

use ftpsfs::ftp::time::{time_val, to_time_val};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Absolute paths and what is there. Paths are bytes, as in the protocol.
#[derive(Debug, Clone)]
pub struct Tree(BTreeMap<Vec<u8>, Node>);

/// One file or directory.
#[derive(Debug, Clone)]
pub struct Node {
    pub content: Content,
    /// `YYYYMMDDhhmmss`.
    pub modified: String,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Content {
    Directory,
    /// A directory of so many made-up files, which cannot be opened.
    Crowd(u64),
    Bytes(Arc<[u8]>),
    /// So many bytes of [`pattern`].
    Pattern(u64),
    /// A file of the disk and its length.
    Disk(PathBuf, u64),
    /// A symbolic link, shown by listings only.
    Symlink(Vec<u8>),
}

/// The byte at `position` of a made-up file: no two blocks of a power of two are alike.
pub fn pattern(position: u64) -> u8 {
    (position % 251) as u8 ^ (position >> 16) as u8
}

const MODIFIED: &str = "20240229123456";

impl Tree {
    pub fn new() -> Self {
        Self(BTreeMap::new()).directory("/")
    }

    /// Everything below a directory of the disk. File contents are read when they are asked for.
    pub fn from_disk(root: &Path) -> io::Result<Self> {
        let mut tree = Self::new();
        tree.add_disk(root, b"")?;
        Ok(tree)
    }

    #[must_use]
    pub fn directory(self, path: impl AsRef<[u8]>) -> Self {
        self.with(path, Content::Directory)
    }

    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Self {
        self.with(path, Content::Bytes(bytes.as_ref().into()))
    }

    /// A file of `size` bytes of [`pattern`], which take no memory.
    #[must_use]
    pub fn made_up(self, path: impl AsRef<[u8]>, size: u64) -> Self {
        self.with(path, Content::Pattern(size))
    }

    /// A directory of `count` files.
    #[must_use]
    pub fn crowd(self, path: impl AsRef<[u8]>, count: u64) -> Self {
        self.with(path, Content::Crowd(count))
    }

    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl Into<Vec<u8>>) -> Self {
        self.with(path, Content::Symlink(target.into()))
    }

    #[must_use]
    pub fn with(mut self, path: impl AsRef<[u8]>, content: Content) -> Self {
        self.insert(path, content);
        self
    }

    pub fn insert(&mut self, path: impl AsRef<[u8]>, content: Content) {
        self.0.insert(path.as_ref().to_vec(), Node { content, modified: MODIFIED.to_owned() });
    }

    /// The same, made just now.
    pub fn insert_new(&mut self, path: impl AsRef<[u8]>, content: Content) {
        let modified = to_time_val(SystemTime::now()).unwrap();
        self.0.insert(path.as_ref().to_vec(), Node { content, modified: modified[..14].to_owned() });
    }

    pub fn remove(&mut self, path: &[u8]) -> bool {
        path != b"/" && self.0.remove(path).is_some()
    }

    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.0.get(path)
    }

    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        self.0.get_mut(path)
    }

    /// Moves `old` and what lies below it.
    pub fn rename(&mut self, old: &[u8], new: &[u8]) {
        let below = [old, b"/"].concat();
        let moved: Vec<_> = self.0.keys().filter(|path| *path == old || path.starts_with(&below)).cloned().collect();
        for path in moved {
            if let Some(node) = self.0.remove(&path) {
                self.0.insert([new, &path[old.len()..]].concat(), node);
            }
        }
    }

    pub fn children(&self, directory: &[u8]) -> impl Iterator<Item = (&[u8], &Node)> {
        let prefix = if directory == b"/" { b"/".to_vec() } else { [directory, b"/"].concat() };
        let below = self.0.range(prefix.clone()..);
        below
            .map_while(move |(path, node)| Some((path.strip_prefix(&*prefix)?, node)))
            .filter_map(|(name, node)| (!name.is_empty() && !name.contains(&b'/')).then_some((name, node)))
    }

    fn add_disk(&mut self, directory: &Path, prefix: &[u8]) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt as _;
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = [prefix, b"/", entry.file_name().as_bytes()].concat();
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.insert(&path, Content::Directory);
                self.add_disk(&entry.path(), &path)?;
            } else if metadata.is_file() {
                self.insert(&path, Content::Disk(entry.path(), metadata.len()));
            }
        }
        Ok(())
    }
}

impl Node {
    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory | Content::Crowd(_))
    }

    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Directory | Content::Crowd(_) => 4096,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Pattern(size) | Content::Disk(_, size) => *size,
            Content::Symlink(target) => target.len() as u64,
        }
    }

    /// The bytes from `offset` on, and how many they are; `None` for what cannot be read.
    pub fn open(&self, offset: u64) -> Option<(Box<dyn Read + Send>, u64)> {
        let length = self.size().saturating_sub(offset);
        let source: Box<dyn Read + Send> = match &self.content {
            Content::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap().min(bytes.len());
                Box::new(Cursor::new(Arc::from(&bytes[start..])))
            }
            Content::Pattern(_) => Box::new(Pattern(offset).take(length)),
            Content::Disk(path, _) => {
                let mut file = File::open(path).ok()?;
                file.seek(SeekFrom::Start(offset)).ok()?;
                Box::new(file.take(length))
            }
            Content::Directory | Content::Crowd(_) | Content::Symlink(_) => return None,
        };
        Some((source, length))
    }

    /// One line of MLSD, or of MLST without its first space (RFC 3659 section 7).
    pub fn facts(&self, name: &[u8]) -> Vec<u8> {
        let kind = match &self.content {
            Content::Directory | Content::Crowd(_) => b"dir".to_vec(),
            Content::Symlink(target) => [b"OS.unix=slink:", &target[..]].concat(),
            _ => format!("file;size={}", self.size()).into_bytes(),
        };
        [b"type=", &kind[..], b";modify=", self.modified.as_bytes(), b"; ", name].concat()
    }

    /// One line of LIST, as `ls -l` writes it by a clock that is `ahead` seconds ahead of UTC: with the time of day of what
    /// changed in the last half year, with the year else.
    pub fn ls(&self, name: &[u8], ahead: i64) -> Vec<u8> {
        let (mode, arrow) = match &self.content {
            Content::Directory | Content::Crowd(_) => ("drwxr-xr-x", Vec::new()),
            Content::Symlink(target) => ("lrwxrwxrwx", [b" -> ", &target[..]].concat()),
            _ => ("-rw-r--r--", Vec::new()),
        };
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let shown = self.shown(ahead);
        let (month, day) = (months[shown[4..6].parse::<usize>().unwrap() - 1], &shown[6..8]);
        let age = SystemTime::now().duration_since(self.time()).unwrap_or_default();
        let end = match age < Duration::from_secs(180 * 86_400) {
            true => format!("{}:{}", &shown[8..10], &shown[10..12]),
            false => format!(" {}", &shown[..4]),
        };
        let line = format!("{mode}    1 1001     1001     {:>10} {month} {day} {end} ", self.size());
        [line.as_bytes(), name, &arrow].concat()
    }

    /// `modified` by a clock that is `ahead` seconds ahead of UTC.
    pub fn shown(&self, ahead: i64) -> String {
        let distance = Duration::from_secs(ahead.unsigned_abs());
        let shown = if ahead < 0 { self.time() - distance } else { self.time() + distance };
        to_time_val(shown).unwrap()
    }

    fn time(&self) -> SystemTime {
        time_val(self.modified.as_bytes()).unwrap().time
    }
}

struct Pattern(u64);

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            *byte = pattern(self.0);
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

/// The listing of a crowd, made as it is read.
pub struct CrowdLines {
    next: u64,
    count: u64,
    facts: bool,
    line: Cursor<Vec<u8>>,
}

impl CrowdLines {
    pub fn new(count: u64, facts: bool) -> Self {
        Self { next: 0, count, facts, line: Cursor::default() }
    }
}

impl Read for CrowdLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.line.read(buffer)?;
            if count > 0 || self.next == self.count {
                return Ok(count);
            }
            let mut lines = Vec::with_capacity(64 * 1024);
            while self.next < self.count && lines.len() < 60 * 1024 {
                // In one piece: a million of these are made in a test.
                let (name, size) = (self.next, self.next);
                let _ = match self.facts {
                    true => write!(lines, "type=file;size={size};modify={MODIFIED}; entry-{name:07}\r\n"),
                    false => {
                        write!(lines, "-rw-r--r--    1 1001     1001     {size:>10} Feb 29  2024 entry-{name:07}\r\n")
                    }
                };
                self.next += 1;
            }
            self.line = Cursor::new(lines);
        }
    }
}
