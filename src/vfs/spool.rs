//! Content that does not come in order: a local file without a name, and which of its bytes count.

use crate::vfs::error::Error;
use crate::vfs::ranges::{Piece, Ranges};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A local file without a name. What was written into it or fetched is held; below [`Shape::base`] the rest shows what
/// lies underneath, and above it zeros.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// Never held while the file is read or written.
    shape: Mutex<Shape>,
}

#[derive(Debug)]
struct Shape {
    held: Ranges,
    /// Up to here (bytes) what is not held shows what lies underneath.
    base: u64,
}

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
        let shape = Shape { held: Ranges::default(), base };
        Ok(Self { file, shape: Mutex::new(shape) })
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`]; then nothing of `bytes` counts.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|error| Error::spool(&error))?;
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
        self.file.write_all_at(bytes, offset).map_err(|error| Error::spool(&error))?;
        self.shape.lock().held.insert(offset..offset + bytes.len() as u64);
        Ok(())
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
        self.file.set_len(size).map_err(|error| Error::spool(&error))
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
        while !buffer.is_empty() {
            match self.file.read_at(buffer, offset) {
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
}
