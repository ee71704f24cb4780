//! Looking ahead: lists and fetches what somebody who goes through the tree will want next, on connections that nobody needs.
//!
//! One idle connection is always left to whoever asks for something. What is on its way gives way like any read-ahead, and
//! whoever wants it himself waits for it rather than asking again.

use crate::remote::Remote;
use crate::vfs::attr::Kind;
use crate::vfs::content::Content;
use crate::vfs::drafts::{Drafts, Moment};
use crate::vfs::inodes::Ino;
use crate::vfs::settings::{Prefetch, Settings};
use crate::vfs::tree::Tree;
use crate::vfs::walkers::{Map, Node, Walkers};
use crate::workers::Workers;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is foreseen.
#[derive(Debug)]
pub(crate) struct Foresight {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    prefetch: Prefetch,
    remote: Arc<dyn Remote>,
    tree: Arc<Tree>,
    content: Arc<Content>,
    drafts: Arc<Drafts>,
    workers: Workers,
    /// The tree's lock is taken under it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    walkers: Walkers,
    /// What was asked for ahead, and when: until a listing from then is not believed any more it is not asked for again,
    /// whatever became of it, unless somebody came there.
    asked: HashMap<Node, Instant>,
    /// Errands that have not begun: they will take a connection that seems to be to spare.
    queued: usize,
    ended: bool,
}

impl Foresight {
    pub(crate) fn new(
        remote: Arc<dyn Remote>,
        settings: &Settings,
        tree: Arc<Tree>,
        content: Arc<Content>,
        drafts: Arc<Drafts>,
    ) -> Self {
        // What is not believed need not be asked ahead.
        let prefetch = if settings.dir_timeout < BELIEVED_MIN { Prefetch::Off } else { settings.prefetch };
        let (workers, state) = (Workers::default(), Mutex::default());
        Self { shared: Arc::new(Shared { prefetch, remote, tree, content, drafts, workers, state }) }
    }

    /// Somebody lists the directory `ino`.
    pub(crate) fn listed(&self, ino: Ino, now: Instant) {
        if self.shared.prefetch >= Prefetch::Metadata {
            self.shared.came(Node::Directory(ino), now);
        }
    }

    /// Somebody opened the file `ino` of `size` bytes to read it.
    pub(crate) fn opened(&self, ino: Ino, size: u64, now: Instant) {
        if self.shared.prefetch >= Prefetch::Files && size > 0 {
            self.shared.came(Node::File(ino), now);
        }
    }

    /// Asks for nothing more, and waits for what is on its way, but no longer than `limit`.
    pub(crate) fn end(&self, limit: Duration) {
        self.shared.state.lock().ended = true;
        self.shared.workers.wait(limit);
    }
}

impl Drop for Foresight {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
    }
}

impl Shared {
    fn came(self: &Arc<Self>, node: Node, now: Instant) {
        let plan = {
            let state = &mut *self.state.lock();
            state.asked.remove(&node);
            self.tree.with_known(now, |map| match state.walkers.came(node, map) {
                true => state.plan(map, now, self.tree.settings().dir_timeout),
                false => Vec::new(),
            })
        };
        self.start(&plan, now);
    }

    /// Starts what of `plan` can be on its way without being in anybody's.
    fn start(self: &Arc<Self>, plan: &[Node], now: Instant) {
        let wanted = |node: &&Node| match **node {
            Node::Directory(_) => true,
            Node::File(ino) => !self.content.knows_beginning(ino),
        };
        let mut wanted = plan.iter().filter(wanted).peekable();
        while let Some(&node) = wanted.next_if(|_| self.has_room()) {
            self.state.lock().asked.insert(node, now);
            let errand = Errand::queue(self, now);
            self.workers.spawn(move || errand.run(node));
        }
        if wanted.count() >= WORTH_A_CONNECTION {
            self.remote.prepare();
        }
    }

    fn has_room(&self) -> bool {
        let queued = self.state.lock().queued;
        self.remote.spare() > queued + LEFT_TO_OTHERS
    }

    fn go_on(self: &Arc<Self>, now: Instant) {
        let plan = {
            let state = &mut *self.state.lock();
            self.tree.with_known(now, |map| state.plan(map, now, self.tree.settings().dir_timeout))
        };
        self.start(&plan, now);
    }

    /// Whether that could be begun.
    fn fetch(&self, ino: Ino, now: Instant) -> bool {
        // What is being written is not read from the server.
        if self.drafts.of(ino).is_some() {
            return false;
        }
        if let Ok(found) = self.tree.getattr(ino, now, false)
            && found.attr.kind == Kind::File
            && let Ok(place) = self.tree.path(ino, now)
        {
            if self.content.has_stored(&place.0, &found.metadata, self.tree.settings().attr_timeout) {
                return true;
            }
            let is_there = || {
                let path = self.tree.path(ino, now);
                path.is_ok_and(|(path, _)| path == place.0) && self.drafts.of(ino).is_none()
            };
            return self.content.fetch_ahead(ino, &found.metadata, &place, now, is_there);
        }
        false
    }
}

impl State {
    /// What is wanted soon, is not known, and was not asked for within `believed`.
    fn plan(&mut self, map: &mut dyn Map, now: Instant, believed: Duration) -> Vec<Node> {
        if self.ended {
            return Vec::new();
        }
        let mut plan = self.walkers.plan(map);
        plan.retain(|node| match *node {
            Node::Directory(ino) => map.listing(ino).is_none(),
            Node::File(_) => true,
        });
        let is_recent = |asked: &Instant| now.saturating_duration_since(*asked) < believed;
        if self.asked.len() > ASKED_MAX {
            self.asked.retain(|_, asked| is_recent(asked));
        }
        if self.asked.len() > ASKED_MAX {
            self.asked.clear();
        }
        plan.retain(|node| !self.asked.get(node).is_some_and(is_recent));
        plan
    }
}

/// Something to ask for, from when it is queued until it begins.
struct Errand {
    shared: Arc<Shared>,
    moment: Moment,
}

impl Errand {
    fn queue(shared: &Arc<Shared>, now: Instant) -> Self {
        shared.state.lock().queued += 1;
        Self { shared: Arc::clone(shared), moment: Moment::new(now) }
    }

    fn run(self, node: Node) {
        let (shared, moment) = (Arc::clone(&self.shared), self.moment);
        drop(self);
        let now = moment.by_now();
        let begun = match node {
            // A failure is logged; whoever wants the listing himself will hear of it.
            Node::Directory(ino) => shared.tree.list_ahead(ino, now).is_ok(),
            Node::File(ino) => shared.fetch(ino, now),
        };
        match begun {
            true => shared.go_on(moment.by_now()),
            // The next time that somebody comes somewhere it may be tried again.
            false if matches!(node, Node::File(_)) => drop(shared.state.lock().asked.remove(&node)),
            false => {}
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.shared.state.lock().queued -= 1;
    }
}

/// How many idle connections are left alone.
const LEFT_TO_OTHERS: usize = 1;
/// So many errands have to wait before another connection is opened for them.
const WORTH_A_CONNECTION: usize = 2;
/// Listings that are believed for less are not asked for ahead.
const BELIEVED_MIN: Duration = Duration::from_secs(1);
/// How much is remembered to have been asked for.
const ASKED_MAX: usize = 4096;
