//! The mount point as it is before there is a mount.

use crate::failure::Failure;
use crate::mount::attach::detach;
use crate::registry;
use crate::sys;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The directory to mount on, absolute: the process leaves its working directory. Only looked at, never opened. A mount of
/// ours that has died there is taken away first, where that is wished.
pub(super) fn find(typed: &Path, may_clear: bool) -> Result<PathBuf, Failure> {
    let wrong = |what: &str| Failure::mount(format!("mount point {}: {what}", typed.display()));
    let mut metadata = look(typed);
    if metadata.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotConnected) {
        let place = registry::as_the_kernel_has_it(typed);
        if may_clear && registry::is_ours(&place) {
            log::warn!("a mount that has died is taken away from {}", place.display());
            if let Err(error) = detach(&place) {
                log::warn!("cannot unmount {}: {error}", place.display());
            }
            metadata = look(typed);
        }
    }
    let metadata = metadata.map_err(|error| match error.kind() {
        ErrorKind::NotFound => wrong("there is no such directory"),
        ErrorKind::NotConnected => wrong("a mount that has died is still there; umount -l removes it"),
        _ => wrong(&error.to_string()),
    })?;
    if !metadata.is_dir() {
        return Err(wrong("it is not a directory"));
    }
    typed.canonicalize().map_err(|error| wrong(&error.to_string()))
}

/// Asks the file system as well: the kernel may still know the attributes of a mount that has died.
fn look(typed: &Path) -> io::Result<Metadata> {
    fs::metadata(typed).and_then(|metadata| sys::ask_file_system(typed).map(|()| metadata))
}
