//! The error numbers that ftpsfs gives to the kernel: the only list of them.

use std::fmt;

/// A Linux error number, as in errno(3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The number the kernel knows it by; always positive.
    pub fn raw(self) -> i32 {
        self.0
    }
}

macro_rules! errnos {
    ($($name:ident: $meaning:literal,)*) => {
        impl Errno {
            $(#[doc = $meaning] pub const $name: Self = Self(libc::$name);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, "errno {other}"),
                }
            }
        }
    };
}

errnos! {
    EACCES: "Permission denied.",
    EAGAIN: "Try again.",
    EBADF: "The handle is not open.",
    EBUSY: "The server has no connection to spare.",
    EDQUOT: "The account's quota is used up.",
    EEXIST: "The name is taken.",
    EFBIG: "The file is too large.",
    EHOSTDOWN: "The server is away.",
    EINVAL: "The request makes no sense.",
    EIO: "The server or the network failed.",
    EISDIR: "It is a directory.",
    ELOOP: "Too many symbolic links.",
    ENAMETOOLONG: "The name is too long for the server.",
    ENOENT: "There is no such file.",
    ENOSPC: "The server's disk is full.",
    ENOSYS: "Not offered.",
    ENOTDIR: "It is not a directory.",
    ENOTEMPTY: "The directory has entries.",
    ENOTSUP: "The server cannot do this.",
    EPERM: "Not permitted, whoever asks.",
    EROFS: "The mount is read-only.",
    ESTALE: "The file changed on the server.",
    ETIMEDOUT: "The server did not answer in time.",
    ENODATA: "There is no such attribute.",
}
