//! Uploads to the server in memory, and downloads from it.

use super::{Memory, Node, done};
use ftpsfs::path::RemotePath;
use ftpsfs::remote::{Download, Error, ErrorKind, FileKind, Metadata, Named, Naming, Reach, Remote, Renaming, Upload};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct MemoryDownload {
    pub(super) memory: Memory,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) position: usize,
    pub(super) breaks: Option<(usize, ErrorKind)>,
}

impl Download for MemoryDownload {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        assert!(!buffer.is_empty());
        let shared = &self.memory.shared;
        let pace = self.memory.state().pace;
        if pace > Duration::ZERO {
            std::thread::sleep(pace);
        }
        let mut state = shared.gate.wait_while(self.memory.state(), |state| state.closed).unwrap();
        let mut count = buffer.len().min(self.content.len() - self.position);
        if state.chunk > 0 {
            count = count.min(state.chunk);
        }
        if let Some((left, kind)) = &mut self.breaks {
            if *left == 0 {
                return Err(Error::new(*kind, format!("told to break: {kind:?}")));
            }
            count = count.min(*left);
            *left -= count;
        }
        state.counts.bytes += count;
        drop(state);
        shared.gate.notify_all();
        buffer[..count].copy_from_slice(&self.content[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }

    fn expect(&mut self, _reach: Reach) {}
}

impl Drop for MemoryDownload {
    fn drop(&mut self) {
        self.memory.state().counts.open_downloads -= 1;
        self.memory.shared.gate.notify_all();
    }
}

#[derive(Debug)]
pub(super) struct MemoryUpload {
    pub(super) memory: Memory,
    pub(super) path: RemotePath,
    /// The size that the file must have in the end.
    pub(super) size: usize,
    pub(super) breaks: Option<(usize, ErrorKind)>,
}

impl Upload for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let shared = &self.memory.shared;
        let mut state = shared.gate.wait_while(self.memory.state(), |state| state.closed).unwrap();
        let room = state.room.map_or(usize::MAX, |room| room.saturating_sub(state.used()));
        let until_break = self.breaks.map_or(usize::MAX, |(left, _)| left);
        let count = bytes.len().min(room).min(until_break);
        let version = state.next_version();
        // A file that was renamed meanwhile is not followed: nobody here does that.
        let Some(Node::File { content, version: old, .. }) = state.nodes.get_mut(self.path.as_bytes()) else {
            return Err(Error::new(ErrorKind::Lost, "the file is gone"));
        };
        Arc::make_mut(content).extend_from_slice(&bytes[..count]);
        *old = version;
        self.size += count;
        if let Some((left, kind)) = &mut self.breaks {
            *left -= count;
            if *left == 0 {
                return Err(Error::new(*kind, format!("told to break: {kind:?}")));
            }
        }
        if count < bytes.len() {
            return Err(Error::new(ErrorKind::NoSpace, "452 No space left."));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let mut state = self.memory.arrive(|_| {})?;
        match self.breaks {
            Some((_, kind)) => Err(Error::new(kind, format!("told to break: {kind:?}"))),
            None => {
                let size = match state.nodes.get(self.path.as_bytes()) {
                    Some(Node::File { content, .. }) => Some(content.len()),
                    _ => None,
                };
                done(&mut state)?;
                let is_whole = size == Some(self.size);
                if is_whole { Ok(()) } else { Err(Error::new(ErrorKind::Lost, "the size is wrong")) }
            }
        }
    }

    fn finish_for(self: Box<Self>, naming: &Naming) -> Result<Option<Named>, Error> {
        let (memory, from, to) = (self.memory.clone(), self.path.clone(), naming.path.clone());
        self.finish()?;
        if !memory.state().names_uploads {
            return Ok(None);
        }
        let mode_refused = naming.mode.and_then(|mode| memory.set_mode(&from, mode).err()).map(|error| error.kind);
        let has_time = naming.modified.is_some_and(|time| memory.set_modified(&from, time).is_ok());
        let found = match memory.stat(&to) {
            Ok(metadata) if naming.is_new || metadata.kind != FileKind::File => return Ok(None),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(_) => return Ok(None),
        };
        Ok(Some(Named { found, mode_refused, has_time, renaming: Box::new(MemoryRenaming { memory, from, to }) }))
    }
}

#[derive(Debug)]
struct MemoryRenaming {
    memory: Memory,
    from: RemotePath,
    to: RemotePath,
}

impl Renaming for MemoryRenaming {
    fn rename(self: Box<Self>) -> Result<Option<Metadata>, Error> {
        self.memory.rename(&self.from, &self.to)?;
        Ok(self.memory.stat(&self.to).ok())
    }
}
