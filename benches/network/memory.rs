//! A file system in memory, as plain as one can be, to be measured beside: what FUSE itself costs.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, MountOption, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, Request,
};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Mounts what `tree` has by the name `part` at `point`, and stays until it is unmounted.
pub fn serve(tree: &Path, part: &str, point: &Path) {
    let mut memory = Memory { nodes: Vec::new() };
    let root = memory.add(FileType::Directory);
    let inside = memory.load(&tree.join(part));
    memory.nodes[root].children.push((part.into(), inside));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("memory".to_owned())];
    fuser::mount(memory, point, &config).expect("we are root");
}

/// The node of inode `n` is at `n - 1`: the root has the first.
struct Memory {
    nodes: Vec<Node>,
}

struct Node {
    attr: FileAttr,
    content: Vec<u8>,
    children: Vec<(OsString, usize)>,
}

impl Memory {
    fn add(&mut self, kind: FileType) -> usize {
        let time = SystemTime::UNIX_EPOCH;
        let attr = FileAttr {
            ino: INodeNo(self.nodes.len() as u64 + 1),
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        };
        self.nodes.push(Node { attr, content: Vec::new(), children: Vec::new() });
        self.nodes.len() - 1
    }

    fn load(&mut self, path: &Path) -> usize {
        if path.is_file() {
            let at = self.add(FileType::RegularFile);
            let node = &mut self.nodes[at];
            node.content = fs::read(path).expect("the tree is ours");
            node.attr.size = node.content.len() as u64;
            node.attr.blocks = node.attr.size.div_ceil(512);
            return at;
        }
        let at = self.add(FileType::Directory);
        for entry in fs::read_dir(path).expect("the tree is ours") {
            let entry = entry.expect("the tree is ours");
            let child = self.load(&entry.path());
            self.nodes[at].children.push((entry.file_name(), child));
        }
        at
    }

    fn node(&self, ino: INodeNo) -> &Node {
        &self.nodes[usize::try_from(ino.0).unwrap() - 1]
    }
}

impl Filesystem for Memory {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.node(parent).children.iter().find(|(known, _)| known == name) {
            Some((_, at)) => reply.entry(&FOR_EVER, &self.nodes[*at].attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.node(ino).attr);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = &self.node(ino).content;
        let start = usize::try_from(offset).unwrap().min(content.len());
        reply.data(&content[start..content.len().min(start + size as usize)]);
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (number, (name, at)) in (1..).zip(&self.node(ino).children).skip(usize::try_from(offset).unwrap()) {
            let attr = &self.nodes[*at].attr;
            if reply.add(attr.ino, number, attr.kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

const FOR_EVER: Duration = Duration::from_secs(3600);
