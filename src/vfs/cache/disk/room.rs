//! How much of the disk is used, by all mounts that share the directory together, and what goes when that is too much.

use crate::sys;
use crate::vfs::cache::disk::identity::FileId;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// Its file holds the count and its complement. Whoever has it locked may make room, make a segment, or change what all
/// share.
const NAME: &str = "room";
/// Whoever makes room takes this part of the whole away, so that it is not to be done for each block.
const SLACK: u64 = 10;
const LOCK_PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(10)];

/// The right to make room, for as long as it lives.
pub(super) struct Room<'a> {
    base: &'a Path,
    file: File,
}

/// A file that takes room.
struct Held {
    /// Used last.
    used: SystemTime,
    bytes: u64,
    id: FileId,
    number: u64,
}

impl<'a> Room<'a> {
    /// Waits for the right, while somebody else makes room, but no longer than `limit`: [`io::ErrorKind::WouldBlock`].
    pub(super) fn lock(base: &'a Path, limit: Duration) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = sys::open_itself(&mut options, &base.join(NAME))?;
        let [mut pause, longest] = LOCK_PAUSES;
        let mut waited = Duration::ZERO;
        while !sys::lock(&file)? {
            if waited > limit {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(longest);
        }
        Ok(Self { base, file })
    }

    /// Takes `bytes` more of at most `bytes_max`, at the cost of what was not used for longest; `false` where it is too much.
    pub(super) fn take(&self, bytes: u64, bytes_max: u64) -> io::Result<bool> {
        let mut used = match self.used()? {
            Some(used) => used,
            None => self.shrink(u64::MAX)?,
        };
        if used.saturating_add(bytes) > bytes_max {
            used = self.shrink((bytes_max - bytes_max / SLACK).saturating_sub(bytes))?;
        }
        let fits = used.saturating_add(bytes) <= bytes_max;
        self.note(if fits { used + bytes } else { used })?;
        Ok(fits)
    }

    /// Takes a part of all that is there away: the disk is full.
    pub(super) fn make_some(&self) -> io::Result<()> {
        let used = self.shrink(u64::MAX)?;
        let used = self.shrink(used - used / SLACK)?;
        self.note(used)
    }

    /// What is used as far as it is noted; never less than it is.
    fn used(&self) -> io::Result<Option<u64>> {
        noted(&self.file)
    }

    fn note(&self, used: u64) -> io::Result<()> {
        self.file.write_all_at([used, !used].map(u64::to_le_bytes).as_flattened(), 0)
    }

    /// Removes what was not used for longest until at most `target` bytes are used; gives how many are.
    fn shrink(&self, target: u64) -> io::Result<u64> {
        let mut held = self.scan()?;
        let mut used: u64 = held.iter().map(|held| held.bytes).sum();
        if used <= target {
            return Ok(used);
        }
        held.sort_unstable_by_key(|held| held.used);
        for Held { bytes, id, number, .. } in held {
            if used <= target {
                break;
            }
            remove(&segment_path(self.base, id, number))?;
            used -= bytes;
        }
        Ok(used)
    }

    fn scan(&self) -> io::Result<Vec<Held>> {
        let mut all = Vec::new();
        for directory in fs::read_dir(self.base)? {
            let directory = directory?;
            let name = directory.file_name();
            let Some(name) = name.to_str().filter(|name| name.len() == 2) else { continue };
            for entry in fs::read_dir(directory.path())? {
                let entry = entry?;
                let parsed = entry.file_name().to_str().and_then(|file| FileId::parse(name, file));
                // One that somebody removes at this moment takes no room.
                if let (Some((id, number)), Ok(metadata)) = (parsed, entry.metadata()) {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    all.push(Held { used, bytes: metadata.blocks() * 512, id, number });
                }
            }
        }
        Ok(all)
    }
}

/// What is used of `base` as far as it is noted; `None` while that is being changed.
pub(super) fn used(base: &Path) -> io::Result<Option<u64>> {
    noted(&sys::open_itself(File::options().read(true), &base.join(NAME))?)
}

fn noted(file: &File) -> io::Result<Option<u64>> {
    let mut number = [[0; 8]; 2];
    match file.read_exact_at(number.as_flattened_mut(), 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [used, complement] = number.map(u64::from_le_bytes);
    Ok((used == !complement).then_some(used))
}

/// Where the segment `number` of `id` is.
pub(super) fn segment_path(base: &Path, id: FileId, number: u64) -> PathBuf {
    let (directory, name) = id.names();
    base.join(directory).join(format!("{name}{number}"))
}

/// Removes a file, unless somebody else did.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
