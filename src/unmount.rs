//! The helper of umount(8): unmounts, and returns when what was closed is on the server.

use crate::cli::Parting;
use crate::failure::Failure;
use crate::mount::unmount_as_user;
use crate::registry::{self, Registered};
use crate::sys;
use crate::vfs::journal::Journal;
use crate::vfs::writeback::Backlog;
use log::Level;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often is looked whether the mount's process has finished.
const PAUSE: Duration = Duration::from_millis(50);
/// How often is said what still waits, at most.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// Unmounts. What is left to be uploaded is waited for, unless the parting is lazy; how far that is stands on standard
/// error, and so does what could not be uploaded. An interrupt ends the waiting, not the uploads.
///
/// # Errors
///
/// A [`Failure`] where it is still mounted.
pub fn run(parting: &Parting) -> Result<(), Failure> {
    if let Some(namespace) = &parting.namespace {
        let entered = File::open(namespace).and_then(|namespace| sys::enter_mount_namespace(&namespace));
        entered.map_err(|error| Failure::system(format!("mount namespace {}: {error}", namespace.display())))?;
    }
    // What cannot be looked at may be mounted all the same.
    let mountpoint = registry::as_the_kernel_has_it(&parting.mountpoint);
    let journal = Registered::journal_of(&mountpoint).unwrap_or_else(|error| {
        // A user's mounts are not registered, and root's are nobody's to look at.
        let level = if error.kind() == ErrorKind::PermissionDenied { Level::Debug } else { Level::Warn };
        log::log!(level, "whether anything waits to be uploaded is not known: {error}");
        None
    });
    let unmounted = match sys::is_root() {
        true => sys::unmount(&mountpoint, parting.lazy, parting.force),
        // umount(8) has laid its rights down before it called us.
        false => unmount_as_user(&mountpoint, parting.lazy),
    };
    unmounted.map_err(|error| {
        Failure::mount(match error.kind() {
            ErrorKind::ResourceBusy => format!("{} is in use", mountpoint.display()),
            ErrorKind::InvalidInput => format!("{} is not mounted", mountpoint.display()),
            _ => format!("cannot unmount {}: {error}", mountpoint.display()),
        })
    })?;
    match journal {
        Some(journal) if !parting.lazy => wait(&journal).map_err(|error| {
            Failure::system(format!("cannot wait for the uploads from {}: {error}", journal.display()))
        }),
        _ => Ok(()),
    }
}

/// Waits until the mount's process has let go of its journal.
fn wait(journal: &Path) -> io::Result<()> {
    let mut told = Instant::now();
    while !Journal::is_free(journal)? {
        if told.elapsed() >= PROGRESS_PAUSE {
            told = Instant::now();
            eprintln!("ftpsfs: uploading: {} to go", left(journal)?);
        }
        thread::sleep(PAUSE);
    }
    let left = left(journal)?;
    if left.files > 0 {
        eprintln!("ftpsfs: {left} could not be uploaded: kept in {}, the next mount uploads them", journal.display());
    }
    Ok(())
}

fn left(journal: &Path) -> io::Result<Backlog> {
    let (files, bytes) = Journal::waiting(journal)?;
    Ok(Backlog { files, bytes, failed: 0 })
}
