//! Between the mount point and the kernel: how a mount gets into the tree, and out of it.

use crate::config::MountSettings;
use crate::failure::Failure;
use crate::fuse::Adapter;
use crate::path::escaped;
use crate::sys::{self, MountFlags};
use fuser::{MountOption, Session, SessionACL};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

const DEVICE: &str = "/dev/fuse";
/// The name after `fuse.` in the type that mount(8) shows.
const SUBTYPE: &str = "ftpsfs";
/// Threads that read the kernel's requests; none of them waits for the server (measured: more gain nothing).
const DISPATCHERS: usize = 2;
/// The kernel asks for this much at once, if it may: 256 pages.
const READ_BYTES_MAX: usize = 1 << 20;
const APPARMOR: &str = "/etc/apparmor.d/fusermount3";

pub(super) fn attach(
    filesystem: Adapter,
    mountpoint: &Path,
    settings: &MountSettings,
) -> Result<Session<Adapter>, Failure> {
    let device = File::options().read(true).write(true).open(DEVICE).map_err(|error| {
        Failure::mount(match error.kind() {
            ErrorKind::NotFound => format!("there is no {DEVICE}: load the kernel module fuse (modprobe fuse)"),
            _ => format!("cannot open {DEVICE}: {error}"),
        })
    })?;
    let mut options = fuser::Config::default();
    options.acl = if settings.allow_other { SessionACL::All } else { SessionACL::Owner };
    options.n_threads = Some(DISPATCHERS);
    options.clone_fd = true;
    if sys::is_root() {
        attach_as_root(filesystem, device.into(), mountpoint, settings, options)
    } else {
        drop(device);
        attach_as_user(filesystem, mountpoint, settings, options)
    }
}

/// By mount(2): the source is shown as it was typed, commas and all, which `mount -a` needs to know it again.
fn attach_as_root(
    filesystem: Adapter,
    device: OwnedFd,
    mountpoint: &Path,
    settings: &MountSettings,
    options: fuser::Config,
) -> Result<Session<Adapter>, Failure> {
    let (user, group) = sys::user_and_group();
    let mut data = format!(
        "fd={},rootmode=40000,user_id={user},group_id={group},default_permissions,max_read={READ_BYTES_MAX}",
        device.as_raw_fd()
    );
    if settings.allow_other {
        data.push_str(",allow_other");
    }
    sys::mount(&settings.source, mountpoint, &format!("fuse.{SUBTYPE}"), settings.flags, &data)
        .map_err(|error| refused(error.kind() == ErrorKind::PermissionDenied, mountpoint, &error))?;
    Session::from_fd(filesystem, device, options.acl, options)
        .map_err(|error| undone(mountpoint, format!("the kernel and ftpsfs do not agree on FUSE: {error}")))
}

/// By fusermount3, which is allowed to mount for a user.
fn attach_as_user(
    filesystem: Adapter,
    mountpoint: &Path,
    settings: &MountSettings,
    mut options: fuser::Config,
) -> Result<Session<Adapter>, Failure> {
    // fusermount3 parts its options at commas that no backslash precedes.
    let source = settings.source.replace('\\', r"\\").replace(',', r"\,");
    options.mount_options = vec![
        MountOption::FSName(source),
        MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
        MountOption::CUSTOM(format!("max_read={READ_BYTES_MAX}")),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    // fusermount3 knows no other words about times of access, and refuses those it does not know.
    let MountFlags { noexec, read_only, noatime, relatime: _, strictatime: _, nodiratime: _ } = settings.flags;
    let flags = [(noexec, MountOption::NoExec), (read_only, MountOption::RO), (noatime, MountOption::NoAtime)];
    options.mount_options.extend(flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, option)| option));
    Session::new(filesystem, mountpoint, &options).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::mount("fusermount3 is missing, with which a user mounts: install fuse3"),
        _ => {
            let said = error.to_string();
            let is_forbidden = ["ermission denied", "not permitted", "only allowed", "no write access", "not owned"]
                .iter()
                .any(|words| said.contains(words));
            refused(is_forbidden, mountpoint, &error)
        }
    })
}

/// Who may not mount there has called for something wrong, as mount(8) counts it.
fn refused(is_forbidden: bool, mountpoint: &Path, error: &io::Error) -> Failure {
    let said = format!("cannot mount on {}: {error}", mountpoint.display());
    match is_forbidden {
        true if Path::new(APPARMOR).exists() && !sys::is_root() => Failure::usage(format!(
            "{said} (AppArmor's profile fusermount3 allows few places: see {APPARMOR} and dmesg)"
        )),
        true => Failure::usage(said),
        false => Failure::mount(said),
    }
}

/// A failure after which nothing may stay mounted.
pub(super) fn undone(mountpoint: &Path, message: String) -> Failure {
    unmount(mountpoint);
    Failure::mount(message)
}

/// Takes the mount out of the tree at once; it ends when its last user leaves.
pub(super) fn unmount(mountpoint: &Path) {
    let result = if sys::is_root() { sys::unmount(mountpoint, true, false) } else { unmount_as_user(mountpoint, true) };
    if let Err(error) = result {
        log::warn!("cannot unmount {}: {error}", mountpoint.display());
    }
}

/// By fusermount3, which is allowed to unmount for the user who mounted.
///
/// # Errors
///
/// What it says; [`ErrorKind::ResourceBusy`] while somebody uses the mount.
pub(crate) fn unmount_as_user(mountpoint: &Path, lazy: bool) -> io::Result<()> {
    // Started by mount(8) there may be no PATH.
    let ran = ["fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3"].iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(mountpoint).stdin(Stdio::null());
        command.output().ok()
    });
    let ran = ran.ok_or_else(|| io::Error::other("fusermount3 is missing"))?;
    let said = escaped(ran.stderr.trim_ascii()).to_string();
    match ran.status.success() {
        true => Ok(()),
        false if said.contains("busy") => Err(ErrorKind::ResourceBusy.into()),
        false => Err(io::Error::other(format!("fusermount3: {said}"))),
    }
}
