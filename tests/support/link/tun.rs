//! A TUN device of the namespace that the calling thread is in.
#![allow(unsafe_code, reason = "the device is told by ioctl(2) what it is, and nobody else offers that")]

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Makes the device `name`, which lives as long as the file. What the kernel sends into it is read from the file, a packet
/// at a time, and what is written arrives. With `segments` a packet may be many segments of TCP in one (IFF_VNET_HDR), as
/// network cards take them.
///
/// # Errors
///
/// The system's.
pub(super) fn open(name: &str, segments: bool) -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: plain integers and characters, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *place = libc::c_char::try_from(byte).expect("the name is ASCII");
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | if segments { libc::IFF_VNET_HDR } else { 0 };
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).expect("the flags are 16 bits");
    // SAFETY: the request is an `ifreq`, as TUNSETIFF asks, and outlives the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) })?;
    if segments {
        let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4;
        // SAFETY: TUNSETOFFLOAD takes its flags by value.
        checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload)) })?;
    }
    Ok(file)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
