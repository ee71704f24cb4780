//! Where a mount says which journal it uses, for the helper of umount(8): a file named after the mount's device number, and
//! a line in the table of libmount, without which umount(8) takes any FUSE mount for the type `fuse` (it asks statfs(2)) and
//! never looks for our helper.

use crate::sys;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often, and after how long, is asked again for a table that somebody else changes.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Emptied when the machine starts, as the mounts are.
const DIRECTORY: &str = "/run/ftpsfs";

/// libmount's table of what the kernel does not keep of mounts: a line of `KEY=VALUE` each.
const TABLE_DIRECTORY: &str = "/run/mount";
const TABLE: &str = "/run/mount/utab";
const TABLE_LOCK: &str = "/run/mount/utab.lock";
const TABLE_UNFINISHED: &str = "/run/mount/utab.ftpsfs";

/// The entry of a mount, which goes with it.
#[derive(Debug)]
pub(crate) struct Registered {
    entry: PathBuf,
    line: Vec<u8>,
}

impl Registered {
    /// The mount of `source` on `mountpoint`, with the device number `device`, uses `journal`. `None` where that cannot be
    /// said: only root can, and nothing but the wait of umount(8) depends on it.
    pub(crate) fn new(source: &str, mountpoint: &Path, device: u64, journal: &Path) -> Option<Self> {
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
        if let Err(error) = written {
            log::debug!("{}: {error}", entry.display());
            return None;
        }
        let line = line(source, mountpoint);
        if let Err(error) = change_table(|lines| lines.push(line.clone())) {
            log::debug!("{TABLE}: {error}");
        }
        Some(Self { entry, line })
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
        let _ = fs::remove_file(&self.entry);
        // umount(8) may have done it.
        let _ = change_table(|lines| lines.retain(|line| *line != self.line));
    }
}

/// The device number of what is mounted at `mountpoint`, without asking it.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::NotFound`] where nothing is mounted.
pub(crate) fn device_of(mountpoint: &Path) -> io::Result<u64> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let device = device_at(&mounts, mountpoint).and_then(|device| {
        let (major, minor) = device.split_once(':')?;
        Some(sys::device_number(major.parse().ok()?, minor.parse().ok()?))
    });
    device.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whether what is mounted last at `mountpoint` is an ftpsfs.
pub(crate) fn is_ours(mountpoint: &Path) -> bool {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let line = last_line_of(&mounts, mountpoint).unwrap_or_default();
    String::from_utf8_lossy(line).contains(" - fuse.ftpsfs ")
}

/// Whether what is mounted last at `mountpoint` is `source`, by us.
pub(crate) fn is_mounted(source: &str, mountpoint: &Path) -> bool {
    is_mounted_in(&fs::read("/proc/self/mountinfo").unwrap_or_default(), source, mountpoint)
}

fn is_mounted_in(mounts: &[u8], source: &str, mountpoint: &Path) -> bool {
    let fields = last_line_of(mounts, mountpoint).into_iter().flat_map(|line| line.split(|&byte| byte == b' '));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    fields.next() == Some(b"fuse.ftpsfs") && fields.next().is_some_and(|shown| unescaped(shown) == source.as_bytes())
}

/// Where file systems of ours are mounted, each once and only where it is not covered by another mount; parts of one that are
/// bound elsewhere are left out.
pub(crate) fn ours() -> io::Result<Vec<PathBuf>> {
    Ok(ours_in(&fs::read("/proc/self/mountinfo")?))
}

/// The user and the group who mounted the file system of ours that `path`, which is absolute, is in.
pub(crate) fn owner_of(path: &Path) -> Option<(u32, u32)> {
    owner_in(&fs::read("/proc/self/mountinfo").ok()?, path)
}

fn owner_in(mounts: &[u8], path: &Path) -> Option<(u32, u32)> {
    let place = path.ancestors().find(|place| last_line_of(mounts, place).is_some())?;
    let line = String::from_utf8_lossy(last_line_of(mounts, place)?);
    let (_, options) = line.split_once(" - fuse.ftpsfs ")?;
    let number = |name| options.split([',', ' ']).find_map(|option| option.strip_prefix(name))?.parse().ok();
    Some((number("user_id=")?, number("group_id=")?))
}

fn ours_in(mounts: &[u8]) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let mut places = Vec::new();
    for line in mounts.split(|&byte| byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let &[_, _, device, root, place, ..] = fields.as_slice() else { continue };
        let place = PathBuf::from(OsString::from_vec(unescaped(place)));
        let is_ours = String::from_utf8_lossy(line).contains(" - fuse.ftpsfs ");
        if is_ours && root == b"/" && !seen.contains(&device) && last_line_of(mounts, &place) == Some(line) {
            seen.push(device);
            places.push(place);
        }
    }
    places
}

/// As [`as_the_kernel_has_it`]; where that is no mount of ours, what `.`, `..` or a link there leads to. A mount that hangs may
/// be asked then, but who stands in it has got there.
pub(crate) fn resolved(typed: &Path) -> PathBuf {
    let place = as_the_kernel_has_it(typed);
    if is_ours(&place) {
        return place;
    }
    match fs::read_link(&place).is_ok() || !matches!(typed.components().next_back(), Some(Component::Normal(_))) {
        true => typed.canonicalize().unwrap_or(place),
        false => place,
    }
}

/// The kernel's list of mounts has no links in it. The mount itself, which may hang, is not asked.
pub(crate) fn as_the_kernel_has_it(typed: &Path) -> PathBuf {
    let place = typed.parent().zip(typed.file_name()).and_then(|(parent, name)| {
        Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }.canonicalize().ok()?.join(name))
    });
    place.unwrap_or_else(|| typed.to_owned())
}

fn line(source: &str, mountpoint: &Path) -> Vec<u8> {
    let (source, target) = (escaped(source.as_bytes()), escaped(mountpoint.as_os_str().as_bytes()));
    [b"SRC=", &source[..], b" TARGET=", &target, b" ROOT=/ OPTS=uhelper=fuse.ftpsfs"].concat()
}

/// Changes the table as libmount does it: one at a time, and never half.
fn change_table(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).create(TABLE_DIRECTORY)?;
    let lock = File::options().write(true).create(true).truncate(false).mode(0o644).open(TABLE_LOCK)?;
    for _ in 0..LOCK_TRIES {
        if sys::lock(&lock)? {
            break;
        }
        thread::sleep(LOCK_PAUSE);
    }
    let table = match fs::read(TABLE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        table => table?,
    };
    let is_there = |line: &&[u8]| !line.is_empty();
    let mut lines: Vec<Vec<u8>> = table.split(|&byte| byte == b'\n').filter(is_there).map(<[u8]>::to_vec).collect();
    let before = lines.clone();
    change(&mut lines);
    if lines == before {
        return Ok(());
    }
    lines.push(Vec::new());
    fs::write(TABLE_UNFINISHED, lines.join(&b'\n'))?;
    fs::set_permissions(TABLE_UNFINISHED, fs::Permissions::from_mode(0o644))?;
    fs::rename(TABLE_UNFINISHED, TABLE)
}

/// As [`unescaped`] reads it.
fn escaped(plain: &[u8]) -> Vec<u8> {
    let escape = |&byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        plain => vec![plain],
    };
    plain.iter().flat_map(escape).collect()
}

/// `major:minor` of the last thing that was mounted on `mountpoint`, from lines as proc_pid_mountinfo(5) has them.
fn device_at(mounts: &[u8], mountpoint: &Path) -> Option<String> {
    let device = last_line_of(mounts, mountpoint)?.split(|&byte| byte == b' ').nth(2)?;
    Some(String::from_utf8_lossy(device).into_owned())
}

fn last_line_of<'a>(mounts: &'a [u8], mountpoint: &Path) -> Option<&'a [u8]> {
    mounts.rsplit(|&byte| byte == b'\n').find(|line| {
        let place = line.split(|&byte| byte == b' ').nth(4);
        place.is_some_and(|place| unescaped(place) == mountpoint.as_os_str().as_bytes())
    })
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
        assert_eq!(ours_in(mounts), [Path::new("/mnt/a b\\c")]);
        let is_mounted = |source, place| is_mounted_in(mounts, source, Path::new(place));
        assert!(is_mounted("ftps://h/", "/mnt/a b\\c"));
        assert!(
            !is_mounted("ftps://h/x", "/mnt/a b\\c") && !is_mounted("ftps://h/", "/mnt") && !is_mounted("udev", "/dev")
        );
        assert_eq!(
            line("ftps://h/a b", Path::new("/mnt/a b\\c")),
            br"SRC=ftps://h/a\040b TARGET=/mnt/a\040b\134c ROOT=/ OPTS=uhelper=fuse.ftpsfs"
        );
    }

    #[test]
    fn a_mount_is_found_once_and_only_where_it_can_be_reached() {
        let mounts = b"36 35 0:45 / /a rw - fuse.ftpsfs ftps://h/ rw\n\
                       37 35 0:46 / /b rw - fuse.ftpsfs ftps://h/ rw\n\
                       38 37 0:47 / /b rw - tmpfs tmpfs rw\n\
                       39 35 0:45 /d /c rw - fuse.ftpsfs ftps://h/ rw\n\
                       40 35 0:45 / /d rw - fuse.ftpsfs ftps://h/ rw\n";
        assert_eq!(ours_in(mounts), [Path::new("/a")]);
        let mounts =
            b"22 1 0:5 / / rw - ext4 /dev/vda rw\n36 35 0:45 / /a rw - fuse.ftpsfs ftps://h/ rw,user_id=5,group_id=6\n";
        let owner = |path| owner_in(mounts, Path::new(path));
        assert_eq!([owner("/a/b/c"), owner("/a"), owner("/ab"), owner("/")], [Some((5, 6)), Some((5, 6)), None, None]);
    }
}
