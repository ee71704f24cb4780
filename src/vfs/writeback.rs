//! Closing without waiting for the server: what is in the journal, how it gets out of it, and who waits for that.

use crate::deadline;
use crate::vfs::attr::Kind;
use crate::vfs::changes::Place;
use crate::vfs::draft::{Draft, Origin};
use crate::vfs::drafts::Moment;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Patience, Vfs};
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{Answer, Target};
use std::time::{Duration, Instant};

pub use crate::vfs::drafts::Backlog;

/// Who waits looks this often whether to go on waiting.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// At the end of a mount, an upload that failed so often in a row is left for the next mount.
const DRAIN_TRIES: u32 = 3;
/// How long the end of a mount waits until temporary files are removed.
const REMOVALS_MAX: Duration = Duration::from_secs(10);

impl Vfs {
    /// Takes up what an earlier mount left in the journal: it is shown as it was closed, and uploaded in its turn. What has
    /// no place any more is logged and stays in the journal. Asks the server for the directories; where it does not answer,
    /// that is tried again in the background.
    pub fn resume(&self, now: Instant) {
        self.drafts.resume(false, now);
    }

    /// As [`Vfs::resume`], all of it in the background. Whoever asks for a file that waits there has it taken up first.
    pub fn resume_later(&self, now: Instant) {
        self.drafts.resume(true, now);
    }

    /// Whether there is a journal, used for what is closed or only to be emptied.
    pub fn has_journal(&self) -> bool {
        self.drafts.has_journal()
    }

    /// What waits for its upload. Never waits itself.
    pub fn backlog(&self) -> Backlog {
        self.drafts.backlog()
    }

    /// Waits until everything that was closed in the directory `ino` or below is on the server.
    ///
    /// # Errors
    ///
    /// Why the last upload of one of them failed, and [`Error::WouldBlock`] as `patience` says. What failed is tried again
    /// all the same.
    pub fn fsyncdir(&self, ino: Ino, now: Instant, patience: Patience) -> Result<(), Error> {
        let path = self.tree.target(&Target::Inode(ino))?;
        // In this order, here and below: what does not remain any more waits by now.
        let mut remains = self.drafts.remains_below(&path).is_some();
        let mut waiting = self.drafts.waiting_below(&path);
        if waiting.is_empty() && !remains {
            return Ok(());
        }
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        self.drafts.hurry(Moment::new(now));
        let mut seen = self.drafts.queue().wait(u64::MAX, Duration::ZERO);
        loop {
            let taken_up = self.drafts.remains_below(&path);
            let still = self.drafts.waiting_below(&path);
            if remains {
                waiting = still;
            } else {
                // What is closed meanwhile is not waited for.
                waiting.retain(|ino| still.contains(ino));
            }
            remains = taken_up.is_some();
            taken_up.unwrap_or(Ok(()))?;
            if waiting.is_empty() && !remains {
                return Ok(());
            }
            if let Some(error) = waiting.iter().find_map(|ino| self.drafts.refusal(*ino)) {
                return Err(error);
            }
            if deadline::is_over() {
                return Err(Error::timed_out());
            }
            seen = self.drafts.queue().wait(seen, LOOK_AGAIN);
        }
    }

    /// Waits until nothing waits for its upload any more, or all that does failed several times, or `enough` says so, which
    /// is told several times a second what still waits. Gives what is left.
    pub fn drain(&self, mut enough: impl FnMut(&Backlog) -> bool) -> Backlog {
        self.drafts.hurry(Moment::new(Instant::now()));
        let mut seen = u64::MAX;
        loop {
            let backlog = self.backlog();
            if enough(&backlog) || self.ending().has_begun() || self.drafts.is_hopeless(DRAIN_TRIES) {
                return backlog;
            }
            if backlog.files == 0 && self.drafts.queue().rests() {
                // Uploads that were not wanted any more at their end leave something to be removed.
                let end = Instant::now() + REMOVALS_MAX;
                if !self.ending().wait_until(end, |slice| self.tree.wait_for_removals(slice)) {
                    log::warn!("temporary files are left on the server");
                }
                return backlog;
            }
            seen = self.drafts.queue().wait(seen, LOOK_AGAIN);
        }
    }

    /// Renames a file that is only in the journal so far: the server hears nothing of it. `false` where it has to.
    pub(crate) fn rename_waiting(&self, draft: &Draft, place: &Place<'_>, moment: Moment) -> Result<bool, Error> {
        if draft.waiting().is_none() || !self.tree.is_only_here(draft.ino) {
            return Ok(false);
        }
        let Some(origin) = self.origin_at(place, moment)? else { return Ok(false) };
        let known = matches!(origin, Origin::Known(_));
        draft.state.lock().origin = origin;
        if let Some(target) = place.target.filter(|_| place.draft.is_some()) {
            self.tree.dropped(target);
        }
        self.tree.renamed(draft.ino, place.parent, place.name);
        if known {
            self.tree.shadows(draft.ino);
        }
        self.drafts.renew_record(draft)?;
        // Only now: what has the name must not be lost before something else has it.
        if let Some(replaced) = place.draft {
            self.drafts.drop_waiting(replaced);
        }
        Ok(true)
    }

    /// What the server has at `place`; `None` if it is no file, which the server has to hear of.
    fn origin_at(&self, place: &Place<'_>, moment: Moment) -> Result<Option<Origin>, Error> {
        if let (Some(draft), Some(target)) = (place.draft, place.target) {
            if self.tree.is_only_here(target) {
                return Ok(Some(Origin::Absent { exclusive: false }));
            }
            return Ok(Some(draft.state.lock().origin.clone()));
        }
        Ok(match self.tree.peek(place.parent, place.name, moment.now, true)? {
            Answer::Absent(_) => Some(Origin::Absent { exclusive: false }),
            Answer::Found(found) if found.attr.kind == Kind::File => Some(Origin::Known(found.metadata)),
            Answer::Found(_) => None,
        })
    }
}
