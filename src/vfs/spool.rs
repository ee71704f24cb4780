//! Content that does not come in order: a local file, and which of its bytes count.

use crate::vfs::error::Error;
use crate::vfs::ranges::{Piece, Ranges};
use parking_lot::{Mutex, MutexGuard};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A local file. What was written into it or fetched is held; below [`Shape::base`] the rest shows what lies underneath,
/// and above it zeros.
#[derive(Debug)]
pub(crate) struct Spool {
    place: Place,
    /// Never held while the file is read or written.
    shape: Mutex<Shape>,
}

#[derive(Debug)]
enum Place {
    /// It goes with its last user, however that ends.
    Unnamed(File),
    Named(Named),
}

/// A file of the journal: it goes with the spool unless the journal has a record of it.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    recorded: AtomicBool,
    /// Held by whoever changes the record.
    recording: Mutex<()>,
    /// `None` while nobody needs it: thousands of files may wait for their upload.
    open: Mutex<Option<Arc<File>>>,
}

#[derive(Debug, Clone)]
struct Shape {
    held: Ranges,
    /// Up to here (bytes) what is not held shows what lies underneath.
    base: u64,
}

/// What is copied at a time (bytes).
const COPY_BYTES: usize = 256 * 1024;

/// Where a piece of the content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Spool,
    Base,
    Zeros,
}

impl Spool {
    /// A spool in `directory` over `base` bytes that lie underneath.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn new(directory: &Path, base: u64) -> Result<Self, Error> {
        let file = unnamed(directory).map_err(|error| Error::spool(&error))?;
        Ok(Self::of(Place::Unnamed(file), Ranges::default(), base))
    }

    /// A spool in the new file `path` over `base` bytes that lie underneath.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn named(path: PathBuf, base: u64) -> Result<Self, Error> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let open = Mutex::new(Some(Arc::new(file.map_err(|error| Error::spool(&error))?)));
        Ok(Self::of(
            Place::Named(Named { path, recorded: AtomicBool::new(false), recording: Mutex::default(), open }),
            Ranges::default(),
            base,
        ))
    }

    /// The spool that an earlier process left as the file `path`, with a record of what it holds.
    pub(crate) fn left_behind(path: PathBuf, held: impl Iterator<Item = Range<u64>>, base: u64) -> Self {
        let mut ranges = Ranges::default();
        held.for_each(|range| ranges.insert(range));
        Self::of(
            Place::Named(Named {
                path,
                recorded: AtomicBool::new(true),
                recording: Mutex::default(),
                open: Mutex::new(None),
            }),
            ranges,
            base,
        )
    }

    fn of(place: Place, held: Ranges, base: u64) -> Self {
        Self { place, shape: Mutex::new(Shape { held, base }) }
    }

    /// Where it is, if it has a name.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Unnamed(_) => None,
            Place::Named(named) => Some(&named.path),
        }
    }

    /// As [`Spool::path`], with the right to change what the journal has recorded of it.
    pub(crate) fn to_record(&self) -> Option<(&Path, MutexGuard<'_, ()>)> {
        match &self.place {
            Place::Unnamed(_) => None,
            Place::Named(named) => Some((&named.path, named.recording.lock())),
        }
    }

    /// Whether the journal has a record of it: then it is not to be changed.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(&self.place, Place::Named(named) if named.recorded.load(Ordering::Relaxed))
    }

    /// The journal has a record of it, or has none any more.
    pub(crate) fn set_recorded(&self, recorded: bool) {
        if let Place::Named(named) = &self.place {
            named.recorded.store(recorded, Ordering::Relaxed);
        }
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file().and_then(|file| file.get().sync_data()).map_err(|error| Error::spool(&error))
    }

    /// Lets go of the descriptor until it is needed again.
    pub(crate) fn rest(&self) {
        if let Place::Named(named) = &self.place {
            *named.open.lock() = None;
        }
    }

    /// What it holds, and up to where (bytes) the rest shows what lies underneath.
    pub(crate) fn shape(&self) -> (Vec<Range<u64>>, u64) {
        let shape = self.shape.lock();
        let held = shape.held.pieces(0..u64::MAX).into_iter().filter(|piece| piece.held).map(|piece| piece.range);
        (held.collect(), shape.base)
    }

    /// Whether nothing of the first `size` bytes shows what lies underneath.
    pub(crate) fn is_whole(&self, size: u64) -> bool {
        self.pieces(0..size).iter().all(|(_, from)| *from != From::Base)
    }

    /// Copies all that it holds into `other`, which is new and lies over the same.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn copy_to(&self, other: &Self) -> Result<(), Error> {
        let shape = self.shape.lock().clone();
        let mut buffer = vec![0; COPY_BYTES];
        for Piece { range, .. } in shape.held.pieces(0..u64::MAX).into_iter().filter(|piece| piece.held) {
            for start in range.clone().step_by(COPY_BYTES) {
                let len = usize::try_from(range.end - start).unwrap_or(COPY_BYTES).min(COPY_BYTES);
                self.read(start, &mut buffer[..len])?;
                other.write(start, &buffer[..len])?;
            }
        }
        Ok(())
    }

    fn file(&self) -> io::Result<Handle<'_>> {
        let named = match &self.place {
            Place::Unnamed(file) => return Ok(Handle::Borrowed(file)),
            Place::Named(named) => named,
        };
        let mut open = named.open.lock();
        if let Some(file) = &*open {
            return Ok(Handle::Shared(Arc::clone(file)));
        }
        let file = Arc::new(File::options().read(true).write(true).open(&named.path)?);
        *open = Some(Arc::clone(&file));
        Ok(Handle::Shared(file))
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`]; then nothing of `bytes` counts.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file().and_then(|file| file.get().write_all_at(bytes, offset)).map_err(|error| Error::spool(&error))?;
        self.shape.lock().held.insert(offset..offset + bytes.len() as u64);
        Ok(())
    }

    /// Keeps `bytes` of what lies underneath, unless something else was written there meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn fetched(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        // Whoever fetches has the draft's turn: nobody writes.
        self.write(offset, bytes)
    }

    /// Makes the content `size` bytes long.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn resize(&self, size: u64) -> Result<(), Error> {
        let mut shape = self.shape.lock();
        shape.held.cut(size);
        shape.base = shape.base.min(size);
        drop(shape);
        self.file().and_then(|file| file.get().set_len(size)).map_err(|error| Error::spool(&error))
    }

    /// Where each piece of `range` comes from, in order.
    pub(crate) fn pieces(&self, range: Range<u64>) -> Vec<(Range<u64>, From)> {
        let shape = self.shape.lock();
        let mut pieces = Vec::new();
        for Piece { range, held } in shape.held.pieces(range) {
            if held {
                pieces.push((range, From::Spool));
                continue;
            }
            let border = shape.base.clamp(range.start, range.end);
            for (part, from) in [(range.start..border, From::Base), (border..range.end, From::Zeros)] {
                if !part.is_empty() {
                    pieces.push((part, from));
                }
            }
        }
        pieces
    }

    /// Fills `buffer` from `offset` on; zeros past the file's end.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), Error> {
        let file = self.file().map_err(|error| Error::spool(&error))?;
        while !buffer.is_empty() {
            match file.get().read_at(buffer, offset) {
                Ok(0) => {
                    buffer.fill(0);
                    break;
                }
                Ok(count) => {
                    offset += count as u64;
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::spool(&error)),
            }
        }
        Ok(())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if !*self.recorded.get_mut()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{} cannot be removed: {error}", self.path.display());
        }
    }
}

/// The open file, for as long as one call needs it.
enum Handle<'a> {
    Borrowed(&'a File),
    Shared(Arc<File>),
}

impl Handle<'_> {
    fn get(&self) -> &File {
        match self {
            Self::Borrowed(file) => file,
            Self::Shared(file) => file,
        }
    }
}

/// A file that goes with its last user, however that ends.
fn unnamed(directory: &Path) -> io::Result<File> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(directory)?;
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".ftpsfs-spool-{}-{number}", std::process::id()));
    // One left by a process of the same number that was killed just here.
    let _ = fs::remove_file(&path);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_comes_back_as_zeros() {
        let spool = Spool::new(&std::env::temp_dir(), 100).unwrap();
        spool.write(10, b"abc").unwrap();
        spool.resize(12).unwrap();
        spool.resize(20).unwrap();
        let pieces = spool.pieces(0..20);
        assert_eq!(pieces, [(0..10, From::Base), (10..12, From::Spool), (12..20, From::Zeros)]);
        let mut buffer = [1; 10];
        spool.read(10, &mut buffer).unwrap();
        assert_eq!(&buffer, b"ab\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn a_named_spool_goes_with_its_last_user_unless_it_is_recorded() {
        let path = std::env::temp_dir().join(format!("ftpsfs-spool-test-{}", std::process::id()));
        let spool = Spool::named(path.clone(), 5).unwrap();
        spool.write(2, b"abc").unwrap();
        spool.rest();
        let mut buffer = [1; 3];
        spool.read(2, &mut buffer).unwrap();
        assert_eq!((&buffer, spool.is_whole(5)), (b"abc", false));
        spool.set_recorded(true);
        let (held, base) = spool.shape();
        drop(spool);
        let again = Spool::left_behind(path.clone(), held.into_iter(), base);
        assert_eq!(again.pieces(0..6), [(0..2, From::Base), (2..5, From::Spool), (5..6, From::Zeros)]);
        let copy = Spool::new(&std::env::temp_dir(), base).unwrap();
        again.copy_to(&copy).unwrap();
        assert_eq!(copy.shape(), again.shape());
        again.set_recorded(false);
        drop(again);
        assert!(!path.exists());
    }
}
