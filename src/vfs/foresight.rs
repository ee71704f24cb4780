//! Looking ahead: lists and fetches what somebody who goes through the tree will want next, on connections that nobody needs.
//!
//! Whoever asks for something comes first, and waits at most for the end of something short: a download that is on its way
//! gives way like any read-ahead, a listing does not. Whoever wants it himself waits for it rather than asking again.

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
    /// When those began that are not done: for a moment that is true of them as well.
    begun: Vec<Instant>,
    /// There was more to ask for than there were connections.
    wants_more: bool,
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
        let (workers, state) = (Workers::named("foresight"), Mutex::default());
        let shared = Arc::new(Shared { prefetch, remote, tree, content, drafts, workers, state });
        let told = Arc::downgrade(&shared);
        shared.remote.on_spare(Box::new(move |now| {
            if let Some(shared) = told.upgrade() {
                shared.use_spare(now);
            }
        }));
        Self { shared }
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

    /// Asks for nothing more, and waits for what is on its way, but no longer than `limit`; whether all of it has ended.
    pub(crate) fn end(&self, limit: Duration) -> bool {
        self.shared.state.lock().ended = true;
        self.shared.workers.wait(limit)
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
        let wanted: Vec<Node> = plan.iter().filter(wanted).copied().collect();
        let errands = self.queue(&wanted, now);
        self.state.lock().wants_more = wanted.len() > errands.len();
        if wanted.len() - errands.len() >= WORTH_A_CONNECTION {
            self.remote.prepare();
        }
        for errand in errands {
            self.workers.spawn(move || errand.run());
        }
    }

    /// Errands for the first of `wanted`: for as many as there are connections to spare.
    fn queue(self: &Arc<Self>, wanted: &[Node], now: Instant) -> Vec<Errand> {
        // Under one lock, so that two who find the same connection idle do not both count on it.
        let state = &mut *self.state.lock();
        let room = self.remote.spare().saturating_sub(state.connections_to_take(now));
        let first = &wanted[..room.min(wanted.len())];
        state.asked.extend(first.iter().map(|node| (*node, now)));
        state.queued += first.len();
        first.iter().map(|node| Errand::new(self, *node, now)).collect()
    }

    /// There is a connection to spare.
    fn use_spare(self: &Arc<Self>, now: Instant) {
        if std::mem::take(&mut self.state.lock().wants_more) {
            let shared = Arc::clone(self);
            self.workers.spawn(move || shared.go_on(now));
        }
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
            && let Ok(place) = self.tree.place_of(ino, now)
        {
            if self.content.seems_stored(&place.path, &found.metadata) {
                return true;
            }
            let is_there = || {
                let path = self.tree.path(ino, now);
                path.is_ok_and(|(path, _)| path == place.path) && self.drafts.of(ino).is_none()
            };
            return self.content.fetch_ahead(ino, &found.metadata, &place, now, is_there);
        }
        false
    }
}

impl State {
    /// How many of the connections that are idle will not be in a moment.
    fn connections_to_take(&self, now: Instant) -> usize {
        let is_new = |begun: &&Instant| now.saturating_duration_since(**begun) < TAKES_MAX;
        self.queued + self.begun.iter().filter(is_new).count()
    }

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

/// Something to ask for, from when it is queued until it is done.
struct Errand {
    shared: Arc<Shared>,
    node: Node,
    moment: Moment,
    begun: Option<Instant>,
}

impl Errand {
    /// One that is counted as queued.
    fn new(shared: &Arc<Shared>, node: Node, now: Instant) -> Self {
        Self { shared: Arc::clone(shared), node, moment: Moment::new(now), begun: None }
    }

    fn run(mut self) {
        let (shared, node, moment) = (Arc::clone(&self.shared), self.node, self.moment);
        let now = self.begin();
        let begun = match node {
            // A failure is logged; whoever wants the listing himself will hear of it.
            Node::Directory(ino) => shared.tree.list_ahead(ino, now).is_ok(),
            Node::File(ino) => shared.fetch(ino, now),
        };
        drop(self);
        match begun {
            true => shared.go_on(moment.by_now()),
            // The next time that somebody comes somewhere it may be tried again.
            false if matches!(node, Node::File(_)) => drop(shared.state.lock().asked.remove(&node)),
            false => {}
        }
    }

    fn begin(&mut self) -> Instant {
        let now = self.moment.by_now();
        self.begun = Some(now);
        let mut state = self.shared.state.lock();
        state.queued -= 1;
        state.begun.push(now);
        now
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let begun = self.begun.and_then(|begun| state.begun.iter().position(|other| *other == begun));
        match begun {
            Some(position) => drop(state.begun.swap_remove(position)),
            None => state.queued -= 1,
        }
    }
}

/// So long after it began an errand has taken a connection: nobody tells when it does. Counted for longer, the one that it has
/// taken would be missed twice, and fewer than there are could be used.
const TAKES_MAX: Duration = Duration::from_millis(2);
/// So many errands have to wait before another connection is opened for them.
const WORTH_A_CONNECTION: usize = 2;
/// Listings that are believed for less are not asked for ahead.
const BELIEVED_MIN: Duration = Duration::from_secs(1);
/// How much is remembered to have been asked for.
const ASKED_MAX: usize = 4096;
