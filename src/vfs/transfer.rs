//! One upload across connections that break: it goes on where the server's file ends.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{self, ErrorKind, Named, Naming, Remote, Start, Upload, Whereabouts};
use crate::vfs::error::Error;
use crate::vfs::tree::{Target, Tree};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often in a row an upload is taken up again without the server's file growing in between.
const SETBACKS_MAX: u32 = 3;
/// How long an upload waits in all for a server that has no connection to spare. Others' uploads end some time.
const BUSY_MAX: Duration = Duration::from_secs(600);
/// Between two tries to get a connection.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// How long an upload under way waits for a server that is away: one that is started again is back by then.
const AWAY_MAX: Duration = Duration::from_secs(10);
const AWAY_PAUSE: Duration = Duration::from_millis(100);
/// A server may still write what it received before the connection broke: the size counts once it stands still for this
/// long.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// How much of an upload in place is compared before it goes on after a broken connection (bytes).
const CHECKED_BYTES_MAX: u64 = 1 << 20;

/// An upload of bytes in order.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    tree: &'a Arc<Tree>,
    target: &'a Target,
    begin: u64,
    /// Where the next byte goes.
    position: u64,
    /// How far the server's file was seen to reach at most.
    reached: u64,
    setbacks: u32,
    /// Whether the position was taken from the server and not looked at since; then the first byte that is still here.
    took_position: bool,
    earliest: u64,
    busy_since: Option<Instant>,
    upload: Option<Box<dyn Upload>>,
    /// Where it was opened last.
    opened_at: Option<RemotePath>,
    /// The size that the server's file was seen to have, while no upload runs.
    stored: Option<u64>,
    named: Option<Named>,
}

impl<'a> Transfer<'a> {
    /// An upload that begins at byte `begin`: at the end of what is there already, or at the beginning.
    pub(crate) fn new(tree: &'a Arc<Tree>, target: &'a Target, begin: u64) -> Self {
        let (position, reached) = (begin, begin);
        let (setbacks, took_position, busy_since, upload, stored, named) = (0, false, None, None, None, None);
        let opened_at = None;
        let earliest = begin;
        Self {
            tree,
            target,
            begin,
            position,
            reached,
            setbacks,
            took_position,
            earliest,
            busy_since,
            upload,
            opened_at,
            stored,
            named,
        }
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Sees, before an upload in place goes on where the server's file ends, that what lies before that is ours: somebody
    /// else may have put another file there meanwhile. A temporary name is ours alone. `ours` gives what was sent from a byte
    /// on, if it is still here.
    ///
    /// # Errors
    ///
    /// It is not, or cannot be read.
    pub(crate) fn check_position(&mut self, ours: impl Fn(u64, &mut [u8]) -> bool) -> Result<(), Error> {
        if !mem::take(&mut self.took_position) || !matches!(self.target, Target::Inode(_)) {
            return Ok(());
        }
        let from = self.earliest.max(self.position.saturating_sub(CHECKED_BYTES_MAX));
        let mut sent = vec![0; usize::try_from(self.position.saturating_sub(from)).unwrap_or_default()];
        if sent.is_empty() || !ours(from, &mut sent) {
            return Ok(());
        }
        let path = self.tree.target(self.target)?;
        let error = match read_exactly(&**self.tree.remote(), &path, from, sent.len()) {
            Ok(there) if there == sent => return Ok(()),
            Ok(_) => remote::Error::new(ErrorKind::Lost, "the file is not what was sent any more"),
            Err(error) => error,
        };
        Err(Error::logged("upload", &path, &error, true))
    }

    /// Sends `bytes`. After a setback the position is another, but never before `earliest`.
    ///
    /// # Errors
    ///
    /// Only what cannot be mended.
    pub(crate) fn send(&mut self, bytes: &[u8], earliest: u64) -> Result<(), Error> {
        match self.upload().and_then(|upload| upload.write(bytes)) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                Ok(())
            }
            Err(error) => self.set_back(&error, earliest, self.position + bytes.len() as u64),
        }
    }

    /// Ends the upload, of which `total` bytes were sent; `false` after a setback.
    ///
    /// # Errors
    ///
    /// As [`Transfer::send`].
    pub(crate) fn finish(&mut self, total: u64, earliest: u64) -> Result<bool, Error> {
        self.finish_for(total, earliest, None)
    }

    /// As [`Transfer::finish`], and makes ready for the name that the file is to get; see [`Transfer::into_named`].
    ///
    /// # Errors
    ///
    /// As [`Transfer::send`].
    pub(crate) fn finish_for(&mut self, total: u64, earliest: u64, naming: Option<&Naming>) -> Result<bool, Error> {
        if self.upload.is_none() && self.stored == Some(total) {
            return Ok(true);
        }
        let finish = |upload: Box<dyn Upload>| match naming {
            Some(naming) => upload.finish_for(naming),
            None => upload.finish().map(|()| None),
        };
        let finished = self.upload().map(drop).and_then(|()| self.upload.take().map_or(Ok(None), finish));
        match finished {
            Ok(named) => {
                (self.stored, self.named) = (Some(total), named);
                Ok(true)
            }
            Err(error) => self.set_back(&error, earliest, total).map(|()| false),
        }
    }

    /// What is ready to get its name, after [`Transfer::finish_for`], if it is.
    pub(crate) fn into_named(self) -> Option<Named> {
        self.named
    }

    /// Gives the connection back while there is nothing to send; the next byte takes the upload up again.
    ///
    /// # Errors
    ///
    /// As [`Transfer::send`].
    pub(crate) fn park(&mut self, earliest: u64) -> Result<(), Error> {
        let position = self.position;
        if self.upload.is_some() { self.finish(position, earliest).map(drop) } else { Ok(()) }
    }

    fn upload(&mut self) -> Result<&mut dyn Upload, remote::Error> {
        if self.upload.is_none() {
            let (path, _staying) = self.tree.staying(self.target).map_err(nowhere)?;
            let start = if self.position == 0 { Start::Beginning } else { Start::End(self.position) };
            self.stored = None;
            self.opened_at = Some(path.clone());
            let mut upload = self.tree.remote().write_to(&path, start)?;
            upload.follow(Box::new(InTree { tree: Arc::clone(self.tree), target: self.target.clone() }));
            self.upload = Some(upload);
            self.busy_since = None;
        }
        match &mut self.upload {
            Some(upload) => Ok(&mut **upload),
            None => Err(remote::Error::new(ErrorKind::Misbehaved, "no upload")),
        }
    }

    fn path(&self) -> Result<RemotePath, remote::Error> {
        self.tree.target(self.target).map_err(nowhere)
    }

    /// Decides whether to go on after `error`, and from where: the server may have anything up to `latest`.
    fn set_back(&mut self, error: &remote::Error, earliest: u64, latest: u64) -> Result<(), Error> {
        self.upload = None;
        match error.kind {
            ErrorKind::Busy => return self.wait_for_connection(error),
            // Whoever waited for it has heard of that, or nobody wants it any more.
            _ if deadline::is_over() => return Err(self.lost(error)),
            ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Away | ErrorKind::Preempted
                if self.setbacks < SETBACKS_MAX || self.never_gives_up() =>
            {
                self.setbacks += 1;
            }
            // A directory on the way got another name before the server had opened the file.
            ErrorKind::NotFound | ErrorKind::Unavailable if self.setbacks < SETBACKS_MAX && self.has_moved() => {
                self.setbacks += 1;
                if self.position == self.begin && self.reached == self.begin {
                    return Ok(());
                }
            }
            // The server does not append.
            ErrorKind::Unsupported if earliest == 0 && self.position > 0 => {
                self.position = 0;
                return Ok(());
            }
            _ => return Err(self.failed(error)),
        }
        let size = self.size_when_back().map_err(|_| self.lost(error))?;
        let Some(size) = size.or_else(|| (earliest == 0).then_some(0)) else { return Err(self.lost(error)) };
        if size < earliest || size > latest {
            return Err(self.lost(error));
        }
        if size > self.reached {
            (self.reached, self.setbacks) = (size, 0);
        }
        if let Ok(path) = self.path() {
            log::info!("upload {path}: again from byte {size}: {error}");
        }
        (self.position, self.earliest, self.took_position) = (size, earliest, true);
        Ok(())
    }

    /// As [`Transfer::size`], from a server that may be away or have no connection to spare.
    fn size_when_back(&mut self) -> Result<Option<u64>, remote::Error> {
        let since = Instant::now();
        loop {
            let (error, limit) = match self.size() {
                Err(error) if matches!(error.kind, ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Away) => {
                    (error, AWAY_MAX)
                }
                Err(error) if error.kind == ErrorKind::Busy => (error, BUSY_MAX),
                known => return known,
            };
            let is_enough = since.elapsed() > limit && !self.never_gives_up();
            if is_enough || !deadline::sleep(AWAY_PAUSE) {
                return Err(error);
            }
        }
    }

    /// How much of it the server has, once that stands still; `None` if there is no such file.
    fn size(&mut self) -> Result<Option<u64>, remote::Error> {
        let path = self.path()?;
        let mut before = None;
        // Each round but the last saw it grow: by what the server still had in its hands.
        for _ in 0..100 {
            let size = match self.tree.remote().stat(&path) {
                Ok(metadata) => metadata.size,
                // The name is ours alone: what cannot be had is not there.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => return Ok(None),
                Err(error) => return Err(error),
            };
            if size.is_some() && size == before {
                self.stored = size;
                return Ok(size);
            }
            before = size;
            if !deadline::sleep(SETTLE_PAUSE) {
                break;
            }
        }
        Err(remote::Error::new(ErrorKind::TimedOut, "the file on the server keeps changing"))
    }

    fn wait_for_connection(&mut self, error: &remote::Error) -> Result<(), Error> {
        let since = *self.busy_since.get_or_insert_with(Instant::now);
        let is_enough = since.elapsed() > BUSY_MAX && !self.never_gives_up();
        if is_enough || !deadline::sleep(BUSY_PAUSE) {
            return Err(self.lost(error));
        }
        Ok(())
    }

    fn has_moved(&self) -> bool {
        self.tree.settled_at_last(self.target).is_ok_and(|now| self.opened_at.as_ref() != Some(&now))
    }

    fn never_gives_up(&self) -> bool {
        self.tree.settings().patience.is_none()
    }

    /// What the server said no to. If it took the temporary name, or a part of what is to be appended, all the same, it is
    /// not the way that it objects to: another would only destroy what is there.
    fn failed(&mut self, error: &remote::Error) -> Error {
        let least = match self.target {
            Target::Name(..) => 0,
            Target::Inode(_) => self.begin + 1,
        };
        let in_question = Error::remote(error, true).is_refusal() && (least == 0 || self.begin > 0);
        if in_question && matches!(self.size(), Ok(Some(size)) if size >= least) {
            return self.lost(&remote::Error::new(ErrorKind::Lost, error.to_string()));
        }
        self.lost(error)
    }

    fn lost(&self, error: &remote::Error) -> Error {
        match self.path() {
            // That a directory is there was seen when the file was opened: a refusal is one.
            Ok(path) => Error::logged("upload", &path, error, true),
            Err(_) => Error::remote(error, true),
        }
    }
}

/// A file that is being uploaded.
#[derive(Debug)]
struct InTree {
    tree: Arc<Tree>,
    target: Target,
}

impl Whereabouts for InTree {
    fn hold(&self, waits: bool, with: &mut dyn FnMut(&RemotePath)) {
        let staying = match waits {
            true => self.tree.staying(&self.target).map(Some),
            false => self.tree.staying_at_once(&self.target),
        };
        if let Ok(Some((path, _staying))) = staying {
            with(&path);
        }
    }
}

/// The `len` bytes of a file from `from` on; fewer where it ends before.
fn read_exactly(remote: &dyn Remote, path: &RemotePath, from: u64, len: usize) -> Result<Vec<u8>, remote::Error> {
    let mut download = remote.read_from(path, from, None)?;
    let (mut bytes, mut filled) = (vec![0; len], 0);
    while filled < len {
        match download.read(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn nowhere(error: Error) -> remote::Error {
    remote::Error::new(error.kind().unwrap_or(ErrorKind::NotFound), error.to_string())
}
