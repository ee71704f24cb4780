//! What is asked of descriptors, and how many there may be.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// How many bytes of a TCP connection are not acknowledged by the other side (tcp(7), SIOCOUTQ), if the system tells.
pub fn unsent(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int.
    let told = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    (told == 0).then_some(count).and_then(|count| usize::try_from(count).ok())
}

/// Has the kernel fit a TCP connection's receive buffer to what comes and is read (tcp(7), `tcp_moderate_rcvbuf`), also where its size
/// was set (`SO_BUF_LOCK`).
///
/// # Errors
///
/// The system's: before Linux 5.14 there is no such thing.
pub fn fit_receive_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    let nothing: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&nothing)).map_err(io::Error::other)?;
    let (socket, value) = (socket.as_raw_fd(), (&raw const nothing).cast());
    // SAFETY: the descriptor is open, and the kernel reads one int.
    match unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the process open as many files as it is let (getrlimit(2)), where it would be fewer otherwise: each file that is written and
/// has no room in memory is one.
///
/// # Errors
///
/// The system's.
pub fn allow_many_descriptors() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to live memory, which the kernel fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads live memory.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem;

    fn limit() -> libc::rlimit {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to live memory, which the kernel fills.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
        limit
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_lets() {
        let mut lower = limit();
        let before = mem::replace(&mut lower.rlim_cur, 512.min(lower.rlim_max)).max(lower.rlim_cur);
        // SAFETY: the kernel reads live memory.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const lower) }, 0);
        allow_many_descriptors().unwrap();
        assert!(limit().rlim_cur == lower.rlim_max && limit().rlim_cur >= before);
    }
}
