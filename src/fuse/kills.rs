//! Who writes to a file takes away the bits by which it runs as somebody else; the kernel leaves that to us.

use crate::vfs::error::Error;
use crate::vfs::filesystem::{Fh, Patience, Vfs};
use crate::vfs::inodes::Ino;
use fuser::Request;
use std::borrow::Cow;
use std::time::Instant;

/// Writes; what is in `kills` loses its privileges first.
pub(super) fn write<'a>(
    vfs: &Vfs,
    kills: Option<Ino>,
    fh: Fh,
    offset: u64,
    data: impl Into<Cow<'a, [u8]>>,
    patience: Patience,
) -> Result<(), Error> {
    let now = Instant::now();
    if let Some(ino) = kills {
        vfs.drop_privileges(ino, now, patience)?;
    }
    vfs.write(fh, offset, data, now, patience)
}

/// Whom the kernel leaves the bits that [`Vfs::drop_privileges`] takes away.
pub(super) fn is_root(request: &Request) -> bool {
    request.uid() == 0
}
