//! Why an operation failed, and the number the kernel hears: the only place where one becomes the other.

use crate::errno::Errno;
use crate::path::RemotePath;
use crate::remote::{self, ErrorKind};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why an operation failed. Cheap to clone: everybody who waited for the same answer gets the same error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The network is needed, and the caller may not wait for it.
    WouldBlock,
    /// There is no such name in the directory.
    NoSuchEntry,
    /// The inode is not a directory.
    NotADirectory,
    /// The inode is a directory.
    IsADirectory,
    /// The inode is not a symbolic link, or the request makes no sense for another reason.
    InvalidRequest,
    /// The mount is read-only.
    ReadOnly,
    /// The name is taken.
    Exists,
    /// The name is longer than any server takes.
    NameTooLong,
    /// Nothing of the kind can be done through FTP, or not on this server.
    NotPermitted,
    /// The request asks for something that is not offered.
    NotSupported,
    /// A file would become larger than any server takes.
    TooLarge,
    /// The file changed on the server since it was opened; our version was stored beside it.
    Conflict,
    /// The spool on this machine failed.
    Spool {
        /// What the system said.
        errno: Errno,
        /// The system's words.
        text: Arc<str>,
    },
    /// No file or directory is open under this handle.
    BadHandle,
    /// The inode, or the version of the file that was opened, is no more.
    Stale,
    /// The symbolic link leads out of the mount.
    LinkEscapes,
    /// The server tells that there is a symbolic link, but not whereto.
    LinkUnknown,
    /// The server could not answer.
    Remote {
        /// Why.
        kind: ErrorKind,
        /// A fresh listing shows the path.
        listed: bool,
        /// The protocol's error with the server's words.
        text: Arc<str>,
    },
    /// The code that should have answered panicked.
    Panicked,
}

impl Error {
    /// The server's `error` about a path; `listed` when a fresh listing shows that path.
    pub fn remote(error: &remote::Error, listed: bool) -> Self {
        Self::Remote { kind: error.kind, listed, text: error.to_string().into() }
    }

    /// As [`Error::remote`], and logged: where the server is asked, so once however many waited for the answer.
    pub(crate) fn logged(what: &str, path: &RemotePath, error: &remote::Error, listed: bool) -> Self {
        let level = match error.kind {
            // That a name is missing is an answer, not a failure.
            ErrorKind::NotFound => log::Level::Debug,
            ErrorKind::Unavailable if !listed => log::Level::Debug,
            // It was told when it went away.
            ErrorKind::Away => log::Level::Debug,
            _ => log::Level::Warn,
        };
        // The log tells a trouble once a minute.
        let trouble = match error.kind {
            // Not of this path alone: whatever is asked fails in the same way.
            ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::LoginRefused | ErrorKind::Insecure | ErrorKind::Busy => {
                error.to_string()
            }
            // Whoever asks for the same again hears the same.
            _ => format!("{what} {path}: {error}"),
        };
        if level <= log::max_level() {
            log::log!(target: &format!("ftpsfs::trouble::{trouble}"), level, "{what} {path}: {error}");
        }
        Self::remote(error, listed)
    }

    /// The spool's or the recovery directory's `error`.
    pub(crate) fn spool(error: &io::Error) -> Self {
        let told = error.raw_os_error();
        let known = [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG, Errno::EACCES, Errno::EROFS];
        let errno = known.into_iter().find(|known| Some(known.raw()) == told).unwrap_or(Errno::EIO);
        Self::Spool { errno, text: format!("spool: {error}").into() }
    }

    /// A request's time is over.
    pub fn timed_out() -> Self {
        Self::Remote { kind: ErrorKind::TimedOut, listed: false, text: "it did not end in time".into() }
    }

    /// The same error, when asking again does not help.
    pub(crate) fn for_good(self) -> Self {
        match self {
            Self::Remote { listed, text, .. } if self.is_of_the_network() => {
                Self::Remote { kind: ErrorKind::Misbehaved, listed, text }
            }
            other => other,
        }
    }

    /// Whether the server was not there to answer, so that the same may be asked later.
    pub fn is_of_the_network(&self) -> bool {
        use ErrorKind as E;
        matches!(self, Self::Remote { kind: E::Lost | E::TimedOut | E::Busy | E::Away, .. })
    }

    /// The kind of what the server said.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Remote { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// What the kernel hears.
    pub fn errno(&self) -> Errno {
        match self {
            Self::WouldBlock => Errno::EAGAIN,
            Self::NoSuchEntry => Errno::ENOENT,
            Self::NotADirectory => Errno::ENOTDIR,
            Self::IsADirectory => Errno::EISDIR,
            Self::InvalidRequest => Errno::EINVAL,
            Self::ReadOnly => Errno::EROFS,
            Self::Exists => Errno::EEXIST,
            Self::NameTooLong => Errno::ENAMETOOLONG,
            Self::NotPermitted => Errno::EPERM,
            Self::NotSupported => Errno::ENOTSUP,
            Self::TooLarge => Errno::EFBIG,
            Self::Spool { errno, .. } => *errno,
            Self::BadHandle => Errno::EBADF,
            Self::Stale | Self::Conflict => Errno::ESTALE,
            Self::LinkEscapes => Errno::EACCES,
            Self::LinkUnknown | Self::Panicked => Errno::EIO,
            Self::Remote { kind, listed, .. } => remote_errno(*kind, *listed),
        }
    }

    /// Whether the server refused this one thing, or told it in part, so that asking for it in another way may help.
    pub fn is_refusal(&self) -> bool {
        use ErrorKind as E;
        match self {
            Self::Remote { kind, .. } => {
                matches!(
                    kind,
                    E::PermissionDenied | E::Unavailable | E::Unsupported | E::Refused | E::InvalidName | E::Incomplete
                )
            }
            _ => false,
        }
    }
}

fn remote_errno(kind: ErrorKind, listed: bool) -> Errno {
    match kind {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::PermissionDenied => Errno::EACCES,
        // The server does not tell missing from forbidden; a listing that shows the name does.
        ErrorKind::Unavailable if listed => Errno::EACCES,
        ErrorKind::Unavailable => Errno::ENOENT,
        ErrorKind::NotADirectory => Errno::ENOTDIR,
        ErrorKind::IsADirectory => Errno::EISDIR,
        ErrorKind::InvalidName => Errno::EINVAL,
        ErrorKind::NameTooLong => Errno::ENAMETOOLONG,
        ErrorKind::Exists => Errno::EEXIST,
        ErrorKind::NotEmpty => Errno::ENOTEMPTY,
        ErrorKind::NoSpace => Errno::ENOSPC,
        ErrorKind::Quota => Errno::EDQUOT,
        ErrorKind::Unsupported => Errno::ENOTSUP,
        // Not EAGAIN: programs take that for a descriptor in non-blocking mode, and spin.
        ErrorKind::Busy | ErrorKind::Preempted => Errno::EBUSY,
        ErrorKind::TimedOut => Errno::ETIMEDOUT,
        ErrorKind::Away => Errno::EHOSTDOWN,
        // The account lost its access, as with any other missing right.
        ErrorKind::LoginRefused => Errno::EACCES,
        // We are the ones who refuse to go on, whoever asks.
        ErrorKind::Insecure => Errno::EPERM,
        ErrorKind::Lost | ErrorKind::Misbehaved | ErrorKind::Incomplete | ErrorKind::Refused => Errno::EIO,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WouldBlock => "needs the network",
            Self::NoSuchEntry => "no such file or directory",
            Self::NotADirectory => "not a directory",
            Self::IsADirectory => "is a directory",
            Self::InvalidRequest => "invalid request",
            Self::ReadOnly => "the mount is read-only",
            Self::Exists => "the name is taken",
            Self::NameTooLong => "the name is too long",
            Self::NotPermitted => "not permitted",
            Self::NotSupported => "not offered",
            Self::TooLarge => "the file would be too large",
            Self::Conflict => "the file changed on the server since it was opened",
            Self::Spool { text, .. } => text,
            Self::BadHandle => "the handle is not open",
            Self::Stale => "the file changed or went away on the server",
            Self::LinkEscapes => "the symbolic link leads out of the mount",
            Self::LinkUnknown => "the server does not tell where the symbolic link leads",
            Self::Remote { text, .. } => text,
            Self::Panicked => "internal error",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_reason_means_missing_unless_a_listing_shows_the_name() {
        let error = remote::Error::new(ErrorKind::Unavailable, "550 Failed.");
        assert_eq!(Error::remote(&error, false).errno(), Errno::ENOENT);
        assert_eq!(Error::remote(&error, true).errno(), Errno::EACCES);
        assert_eq!(Error::remote(&error, true).to_string(), "550 Failed.");
    }
}
