//! What stat(2) shows of a file, made from what the server tells.

use crate::remote::{FileKind, Metadata};
use crate::vfs::settings::Settings;
use std::time::SystemTime;

/// The attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// File, directory or symbolic link.
    pub kind: Kind,
    /// Length in bytes; of a symbolic link, of its target.
    pub size: u64,
    /// Time of last change; stands for all times, since servers tell no other.
    pub modified: SystemTime,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// Names of the inode: servers tell nothing of hard links.
    pub nlink: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The kind of an inode, without what the server tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// The size that directories show: servers tell none that means anything.
const DIRECTORY_SIZE: u64 = 4096;

impl Attr {
    /// The size of the blocks that `blocks` counts: stat(2) fixes it.
    const STAT_BLOCK_BYTES: u64 = 512;

    /// Attributes of a file of which the server told `metadata`; `mounted` stands in for a time it did not tell.
    pub fn new(metadata: &Metadata, settings: &Settings, mounted: SystemTime) -> Self {
        let kind = Kind::of(&metadata.kind);
        Self {
            kind,
            size: match &metadata.kind {
                FileKind::File => metadata.size.unwrap_or(0),
                FileKind::Directory => DIRECTORY_SIZE,
                FileKind::Symlink(target) => target.as_ref().map_or(0, |target| target.len() as u64),
            },
            modified: metadata.modified.map_or(mounted, |modified| modified.time),
            mode: match kind {
                // Nobody asks a link's own bits; Linux shows them so.
                Kind::Symlink => 0o777,
                Kind::File => mode(metadata, settings.file_mode, 0o666, settings.umask),
                Kind::Directory => mode(metadata, settings.dir_mode, 0o777, settings.umask),
            },
            nlink: if kind == Kind::Directory { 2 } else { 1 },
            uid: metadata.uid.unwrap_or(settings.uid),
            gid: metadata.gid.unwrap_or(settings.gid),
        }
    }

    /// How many blocks of 512 bytes the content takes.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(Self::STAT_BLOCK_BYTES)
    }
}

impl Kind {
    /// The kind that the server told.
    pub fn of(kind: &FileKind) -> Self {
        match kind {
            FileKind::File => Self::File,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink(_) => Self::Symlink,
        }
    }
}

/// The server's bits, or `default` where it tells none, without `umask`'s; `wish` stands in for all of that.
fn mode(metadata: &Metadata, wish: Option<u16>, default: u16, umask: u16) -> u16 {
    match (metadata.mode, wish) {
        (None, Some(wish)) => wish,
        (told, _) => told.unwrap_or(default) & !umask & 0o7777,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umask_takes_bits_away_from_what_the_server_says_and_from_the_default() {
        let settings = Settings { umask: 0o027, ..Settings::default() };
        let mode = |kind, mode| {
            Attr::new(&Metadata { mode, ..Metadata::of_kind(kind) }, &settings, SystemTime::UNIX_EPOCH).mode
        };
        assert_eq!(mode(FileKind::File, None), 0o640);
        assert_eq!(mode(FileKind::Directory, None), 0o750);
        assert_eq!(mode(FileKind::File, Some(0o4755)), 0o4750);
        assert_eq!(mode(FileKind::Symlink(None), Some(0)), 0o777);
    }

    #[test]
    fn what_ftp_does_not_have_is_as_plain_as_it_can_be() {
        let mounted = SystemTime::UNIX_EPOCH;
        let shown = |kind| Attr::new(&Metadata::of_kind(kind), &Settings::default(), mounted);
        let (file, directory) = (shown(FileKind::File), shown(FileKind::Directory));
        assert_eq!((file.nlink, file.modified), (1, mounted));
        assert_eq!((directory.nlink, directory.size, directory.modified), (2, 4096, mounted));
    }

    #[test]
    fn what_the_server_does_not_tell_is_as_it_was_wished() {
        let settings =
            Settings { file_mode: Some(0o664), dir_mode: Some(0o2775), uid: 5, gid: 6, ..Settings::default() };
        let attr = |metadata| Attr::new(&metadata, &settings, SystemTime::UNIX_EPOCH);
        let (file, directory) = (attr(Metadata::of_kind(FileKind::File)), attr(Metadata::of_kind(FileKind::Directory)));
        assert_eq!((file.mode, directory.mode, file.uid, file.gid), (0o664, 0o2775, 5, 6));
        let told = Metadata { mode: Some(0o600), uid: Some(7), gid: Some(8), ..Metadata::of_kind(FileKind::File) };
        assert_eq!((attr(told.clone()).mode, attr(told.clone()).uid, attr(told).gid), (0o600, 7, 8));
    }
}
