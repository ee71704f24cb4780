//! From the protocol's errors to the file system's: what a refusal means.

use crate::ftp::command::Unsendable;
use crate::ftp::error::Error;
use crate::ftp::reply::Reply;
use crate::remote::{self, ErrorKind};

/// The error as the file system sees it; the protocol's own goes along for the log.
pub(super) fn translate(error: Error) -> remote::Error {
    remote::Error::new(kind(&error), error)
}

fn kind(error: &Error) -> ErrorKind {
    match error {
        Error::Io { .. } | Error::Closed { .. } | Error::Tls { .. } | Error::CutShort { .. } => ErrorKind::Lost,
        Error::Uncertain { .. } => ErrorKind::Lost,
        Error::Taken { .. } => ErrorKind::Exists,
        Error::Deadline { .. } => ErrorKind::TimedOut,
        Error::Insecure { .. } | Error::Untrusted { .. } => ErrorKind::Insecure,
        Error::ReuseRefused { .. } | Error::SessionWornOut => ErrorKind::Insecure,
        Error::WrongChecksum | Error::Misbehaved { .. } | Error::ListingNotUnderstood { .. } => ErrorKind::Misbehaved,
        Error::LoginRefused { .. } => ErrorKind::LoginRefused,
        Error::Busy { .. } => ErrorKind::Busy,
        Error::Away { .. } => ErrorKind::Away,
        Error::Unsendable { why: Unsendable::Forbidden(_) | Unsendable::NotInCharset } => ErrorKind::InvalidName,
        Error::Unsendable { why: Unsendable::TooLong } => ErrorKind::NameTooLong,
        Error::Preempted => ErrorKind::Preempted,
        Error::NotListed { .. } => ErrorKind::NotFound,
        Error::NotKept { .. } | Error::OtherSpelling { .. } => ErrorKind::InvalidName,
        Error::Unreadable { .. } => ErrorKind::PermissionDenied,
        Error::Unsupported { .. } => ErrorKind::Unsupported,
        Error::NotEmpty { .. } => ErrorKind::NotEmpty,
        Error::ListingCut { .. } | Error::TooManyNames { .. } => ErrorKind::Incomplete,
        Error::Refused { reply, .. } | Error::NoSuchMount { reply, .. } => refusal(reply),
    }
}

/// What a refusal means. The code says little (`550` is all of it), so the text is looked at; servers that use errno's
/// words or their like are understood, one fixed text for every cause (vsftpd) is not.
pub(super) fn refusal(reply: &Reply) -> ErrorKind {
    let text = reply.text().to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match reply.code.number() {
        421 | 425 | 426 => ErrorKind::Lost,
        452 | 552 if says(&["quota"]) => ErrorKind::Quota,
        452 | 552 => ErrorKind::NoSpace,
        _ if says(&["no space left", "disk full", "not enough space", "insufficient storage"]) => ErrorKind::NoSpace,
        // vsftpd's and Pure-FTPd's only words for a file that they could open and not write. A quota of the file system and a
        // broken disk look the same there.
        451 if says(&["failure writing to local file", "error during write to file"]) => ErrorKind::NoSpace,
        _ if says(&["quota"]) => ErrorKind::Quota,
        _ if says(&["name too long", "command too long", "line too long"]) => ErrorKind::NameTooLong,
        // `502 No such command` speaks of no file.
        500 | 502 | 504 if says(&["command"]) => ErrorKind::Unsupported,
        _ if says(&["not empty"]) => ErrorKind::NotEmpty,
        _ if says(&["file exists", "already exists"]) => ErrorKind::Exists,
        _ if says(&["no such", "not found", "does not exist", "doesn't exist", "cannot find", "can't find"]) => {
            ErrorKind::NotFound
        }
        _ if says(&["permission", "denied", "not permitted", "forbidden"]) => ErrorKind::PermissionDenied,
        _ if says(&["not a directory"]) => ErrorKind::NotADirectory,
        _ if says(&["is a directory", "not a plain file", "not a regular file", "not retrievable"]) => {
            ErrorKind::IsADirectory
        }
        500..=504 => ErrorKind::Unsupported,
        530..=534 => ErrorKind::LoginRefused,
        450 | 550 | 553 => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    }
}
