//! Where a mount says which journal it uses, for the helper of umount(8): a file named after the mount's device number.

use crate::sys;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Emptied when the machine starts, as the mounts are.
const DIRECTORY: &str = "/run/ftpsfs";

/// The entry of a mount, which goes with it.
#[derive(Debug)]
pub(crate) struct Registered(PathBuf);

impl Registered {
    /// The mount with the device number `device` uses `journal`. `None` where that cannot be said: only root can, and
    /// nothing but the wait of umount(8) depends on it.
    pub(crate) fn new(device: u64, journal: &Path) -> Option<Self> {
        if !sys::is_root() {
            return None;
        }
        let (major, minor) = sys::major_and_minor(device);
        let entry = Path::new(DIRECTORY).join(format!("{major}:{minor}"));
        let written = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(DIRECTORY)
            .and_then(|()| fs::write(&entry, journal.as_os_str().as_bytes()));
        match written {
            Ok(()) => Some(Self(entry)),
            Err(error) => {
                log::debug!("{}: {error}", entry.display());
                None
            }
        }
    }

    /// The journal of what is mounted at `mountpoint`, if it has one. Does not ask the mount, which may hang.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn journal_of(mountpoint: &Path) -> io::Result<Option<PathBuf>> {
        let mounts = fs::read("/proc/self/mountinfo")?;
        let Some(device) = device_at(&mounts, mountpoint) else { return Ok(None) };
        match fs::read(Path::new(DIRECTORY).join(device)) {
            Ok(journal) => Ok(Some(OsString::from_vec(journal).into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `major:minor` of the last thing that was mounted on `mountpoint`, from lines as proc_pid_mountinfo(5) has them.
fn device_at(mounts: &[u8], mountpoint: &Path) -> Option<String> {
    let mut latest_first = mounts.rsplit(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let (device, place) = (fields.next()?, fields.nth(1)?);
        (unescaped(place) == mountpoint.as_os_str().as_bytes()).then_some(device)
    });
    latest_first.next().map(|device| String::from_utf8_lossy(device).into_owned())
}

/// The kernel writes space, tab, line feed and backslash as `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_on_a_place_counts_and_its_name_may_hold_anything() {
        let mounts = b"22 1 0:5 / /dev rw - devtmpfs udev rw\n\
                       36 35 0:45 / /mnt/a\\040b\\134c rw,nosuid shared:1 - fuse.ftpsfs ftps://h/ rw\n\
                       37 36 0:46 / /mnt/a\\040b\\134c rw - fuse.ftpsfs ftps://h/ rw\n";
        assert_eq!(device_at(mounts, Path::new("/mnt/a b\\c")).as_deref(), Some("0:46"));
        assert_eq!(device_at(mounts, Path::new("/mnt")), None);
    }
}
