//! What the server of [`Memory`] answers.

use super::transfers::{MemoryDownload, MemoryUpload};
use super::{Call, Memory, Moment, Node, Told, VERSION_EPOCH, coarsen, done, find, metadata};
use ftpsfs::path::{Name, RemotePath};
use ftpsfs::remote::{Download, Entry, Error, ErrorKind, Metadata, Remote, Start, Upload};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

impl Remote for Memory {
    fn list(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        self.has_come(Moment::List);
        let state = self.arrive(|counts| counts.lists += 1)?;
        if !matches!(find(&state, directory)?, Node::Directory) {
            return Err(Error::new(ErrorKind::NotADirectory, "550 Not a directory."));
        }
        let mut prefix = directory.as_bytes().to_vec();
        if !directory.is_root() {
            prefix.push(b'/');
        }
        let below = state.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let direct = below.filter_map(|(path, node)| {
            let name = &path[prefix.len()..];
            (!name.is_empty() && !name.contains(&b'/'))
                .then(|| Entry { name: Name::new(name).unwrap(), metadata: metadata(node, true) })
        });
        let direct = direct.map(|mut entry| {
            if state.coarse_listings {
                coarsen(&mut entry.metadata);
            }
            entry
        });
        Ok(direct.collect())
    }

    fn spare(&self) -> usize {
        self.state().spare
    }

    fn on_spare(&self, told: Box<dyn Fn(Instant) + Send + Sync>) {
        self.state().on_spare = Some(Told(Arc::from(told)));
    }

    fn is_away(&self) -> bool {
        self.state().away
    }

    fn stat(&self, path: &RemotePath) -> Result<Metadata, Error> {
        let state = self.arrive(|counts| counts.stats += 1)?;
        let mut told = metadata(find(&state, path)?, false);
        if state.coarse_files.contains(path.as_bytes()) {
            coarsen(&mut told);
        }
        drop(state);
        self.has_come(Moment::Told);
        Ok(told)
    }

    fn read_from(&self, path: &RemotePath, offset: u64, _size: Option<u64>) -> Result<Box<dyn Download>, Error> {
        self.has_come(Moment::Read);
        let mut state = self.arrive(|counts| counts.reads += 1)?;
        let Node::File { content, .. } = find(&state, path)? else {
            return Err(Error::new(ErrorKind::IsADirectory, "550 Not a plain file."));
        };
        let content = Arc::clone(content);
        let position = usize::try_from(offset).unwrap().min(content.len());
        let breaks = state.breaks.pop_front();
        state.counts.open_downloads += 1;
        state.counts.open_downloads_max = state.counts.open_downloads_max.max(state.counts.open_downloads);
        Ok(Box::new(MemoryDownload { memory: self.clone(), content, position, breaks }))
    }

    fn write_to(&self, path: &RemotePath, start: Start) -> Result<Box<dyn Upload>, Error> {
        let call = if start == Start::Beginning { Call::Write } else { Call::Append };
        let mut state = self.arrive_to_change(call)?;
        let temporary = path.split().is_some_and(|(_, name)| name.as_bytes().starts_with(b".ftpsfs-"));
        if temporary && state.lacks.contains(&Call::Temporary) {
            return Err(Error::new(ErrorKind::PermissionDenied, "553 Prohibited file name."));
        }
        state.parent_exists(path)?;
        let version = state.next_version();
        match (state.nodes.get_mut(path.as_bytes()), start) {
            (Some(Node::File { content, version: old, .. }), Start::Beginning) => {
                (*content, *old) = (Arc::default(), version);
            }
            (Some(Node::File { content, .. }), Start::End(size)) if content.len() as u64 == size => {}
            (Some(Node::File { .. }), Start::End(_)) => {
                return Err(Error::new(ErrorKind::Misbehaved, "the file has another size"));
            }
            (Some(_), _) => return Err(Error::new(ErrorKind::IsADirectory, "550 Not a plain file.")),
            (None, Start::End(_)) => return Err(Error::new(ErrorKind::NotFound, "550 No such file.")),
            (None, Start::Beginning) => {
                let node = Node::File { content: Arc::default(), version, size_in_listing: true, mode: 0o644 };
                state.nodes.insert(path.as_bytes().to_vec(), node);
            }
        }
        let breaks = state.upload_breaks.pop_front();
        let size = usize::try_from(if let Start::End(size) = start { size } else { 0 }).unwrap();
        Ok(Box::new(MemoryUpload { memory: self.clone(), path: path.clone(), size, breaks }))
    }

    fn create_directory(&self, path: &RemotePath) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::CreateDirectory)?;
        state.parent_exists(path)?;
        if state.nodes.contains_key(path.as_bytes()) {
            return Err(Error::new(ErrorKind::Exists, "550 File exists."));
        }
        state.nodes.insert(path.as_bytes().to_vec(), Node::Directory);
        done(&mut state)
    }

    fn remove_directory(&self, path: &RemotePath) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::RemoveDirectory)?;
        if !matches!(find(&state, path)?, Node::Directory) {
            return Err(Error::new(ErrorKind::NotADirectory, "550 Not a directory."));
        }
        if state.has_children(path) {
            return Err(Error::new(ErrorKind::NotEmpty, "550 Directory not empty."));
        }
        state.nodes.remove(path.as_bytes());
        done(&mut state)
    }

    fn remove_file(&self, path: &RemotePath) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::RemoveFile)?;
        if matches!(find(&state, path)?, Node::Directory) {
            return Err(Error::new(ErrorKind::IsADirectory, "550 Is a directory."));
        }
        state.nodes.remove(path.as_bytes());
        done(&mut state)
    }

    fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::Rename)?;
        let directory = matches!(find(&state, from)?, Node::Directory);
        state.parent_exists(to)?;
        match state.nodes.get(to.as_bytes()) {
            Some(_) if state.lacks.contains(&Call::Replace) => {
                return Err(Error::new(ErrorKind::Exists, "550 File exists."));
            }
            Some(Node::Directory) if !directory => {
                return Err(Error::new(ErrorKind::IsADirectory, "550 Is a directory."));
            }
            Some(Node::Directory) if state.has_children(to) => {
                return Err(Error::new(ErrorKind::NotEmpty, "550 Directory not empty."));
            }
            Some(Node::File { .. } | Node::Symlink(_)) if directory => {
                return Err(Error::new(ErrorKind::NotADirectory, "550 Not a directory."));
            }
            _ => {}
        }
        let paths: Vec<Vec<u8>> = state.nodes.keys().cloned().collect();
        for path in paths {
            let moved = RemotePath::parse(&path).unwrap().rebase(from, to);
            if let Some(moved) = moved.filter(|_| path != b"/")
                && let Some(node) = state.nodes.remove(&path)
            {
                state.nodes.insert(moved.as_bytes().to_vec(), node);
            }
        }
        done(&mut state)
    }

    fn set_modified(&self, path: &RemotePath, time: SystemTime) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::SetModified)?;
        find(&state, path)?;
        if let Some(Node::File { version, .. }) = state.nodes.get_mut(path.as_bytes()) {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            *version = seconds.wrapping_sub(VERSION_EPOCH);
        }
        let done = done(&mut state);
        drop(state);
        self.visit();
        done
    }

    fn set_mode(&self, path: &RemotePath, wanted: u16) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::SetMode)?;
        find(&state, path)?;
        if let Some(Node::File { mode, .. }) = state.nodes.get_mut(path.as_bytes()) {
            *mode = wanted;
        }
        done(&mut state)
    }

    fn create_symlink(&self, path: &RemotePath, target: &[u8]) -> Result<(), Error> {
        let mut state = self.arrive_to_change(Call::Symlink)?;
        state.parent_exists(path)?;
        if state.nodes.contains_key(path.as_bytes()) {
            return Err(Error::new(ErrorKind::Exists, "550 File exists."));
        }
        state.nodes.insert(path.as_bytes().to_vec(), Node::Symlink(Some(target.to_vec())));
        done(&mut state)
    }

    fn free_space(&self) -> Result<u64, Error> {
        let state = self.arrive(|counts| counts.spaces += 1)?;
        state.free.ok_or_else(|| Error::new(ErrorKind::Unsupported, "502 AVBL not implemented."))
    }
}
