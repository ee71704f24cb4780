//! What was known before the server went away, shown until it is back.

use crate::path::Name;
use crate::vfs::cache::attributes::Known;
use crate::vfs::cache::directories::Listed;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{Answer, Tree, newer};
use std::time::{Duration, Instant};

/// As long as this everything is believed that is known.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Tree {
    /// Whether what is known may be shown in place of `error`: the server is away, or was found to be just now.
    pub(super) fn may_be_stale(&self, error: &Error) -> bool {
        let needs_server = *error == Error::WouldBlock || error.is_of_the_network();
        needs_server && self.settings.stale_ok && self.remote.is_away()
    }

    /// What `name` in `parent` was last. That there was none is not believed for longer than otherwise: whoever looks for it
    /// would make it.
    pub(super) fn find_stale(&self, parent: Ino, name: &Name, now: Instant, lookup: bool) -> Option<Answer> {
        let mut state = self.state.lock();
        let child = state.inodes.child(parent, name.as_bytes());
        let told = child.and_then(|ino| state.attributes.last(ino)).cloned();
        let listed = state.directories.find(parent, name.as_bytes(), now, FOREVER);
        let listed = listed.and_then(|(found, as_of)| Some(Known { metadata: found?.clone(), as_of }));
        let known = match (listed, told) {
            (Some(listed), Some(told)) => newer(listed, &told),
            (listed, told) => listed.or(told)?,
        };
        if !known.is_complete() {
            return None;
        }
        self.settle(&mut state, parent, name, known, Duration::ZERO, now, lookup).ok()
    }

    /// What the directory `ino` held last.
    pub(super) fn listed_stale(&self, ino: Ino, now: Instant) -> Option<Listed> {
        self.state.lock().directories.fresh(ino, now, FOREVER).cloned()
    }
}
