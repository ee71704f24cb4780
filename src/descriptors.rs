//! What other descriptors a program has, by /proc.

use std::fs;
use std::path::Path;

/// More descriptors than these are not looked at: most programs have a handful.
const DESCRIPTORS_MAX: usize = 256;
const ACCESS_MODE: u32 = 0o3;
const READ_ONLY: u32 = 0;
/// O_PATH: a place and no file.
const PLACE: u32 = 0o10_000_000;

/// Whether the program of `thread` has a descriptor that can write to the file numbered `inode`, which is to be that of one file
/// system only. `false` where that cannot be seen.
pub fn writes_to(thread: u32, inode: u64) -> bool {
    let directory = Path::new("/proc").join(thread.to_string()).join("fdinfo");
    let Ok(descriptors) = fs::read_dir(directory) else { return false };
    let infos = descriptors.take(DESCRIPTORS_MAX).flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    infos.into_iter().any(|info| is_of(&info, inode))
}

/// Whether a descriptor that /proc describes as `info` is one to write to `inode`.
fn is_of(info: &str, inode: u64) -> bool {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim)
    };
    let flags = field("flags").and_then(|flags| u32::from_str_radix(flags, 8).ok());
    let writes = flags.is_some_and(|flags| flags & ACCESS_MODE != READ_ONLY && flags & PLACE == 0);
    writes && field("ino").and_then(|number| number.parse().ok()) == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_second_descriptor_is_seen_if_it_can_write() {
        let path = std::env::temp_dir().join(format!("ftpsfs-test-descriptors-{}", std::process::id()));
        let writer = File::create(&path).unwrap();
        let inode = writer.metadata().unwrap().ino();
        let own = std::process::id();
        let copy = writer.try_clone().unwrap();
        drop(writer);
        assert!(writes_to(own, inode));
        drop(copy);
        let reader = File::open(&path).unwrap();
        assert!(!writes_to(own, inode));
        drop(reader);
        fs::remove_file(path).unwrap();
        assert!(!writes_to(u32::MAX, inode));
    }

    #[test]
    fn what_proc_says_is_read() {
        for (info, is) in [
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t27\nino:\t77\n", true),
            ("pos:\t0\nflags:\t02100002\nmnt_id:\t27\nino:\t77\n", true),
            ("pos:\t0\nflags:\t0100000\nmnt_id:\t27\nino:\t77\n", false),
            ("pos:\t0\nflags:\t010000001\nmnt_id:\t27\nino:\t77\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t27\nino:\t78\n", false),
            // Before Linux 5.14.
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t27\n", false),
        ] {
            assert_eq!(is_of(info, 77), is, "{info}");
        }
    }
}
