//! When another connection may be opened: not while the server has just turned one away, and never again and again with a
//! password that it does not take. Data only; the pool asks before it connects and tells what came of it.

use crate::ftp::error::Error;
use crate::ftp::reply::Reply;
use std::io;
use std::time::{Duration, Instant};

/// What is known of the server's readiness to let us in once more.
#[derive(Debug, Default)]
pub struct Door {
    /// How many connections are being opened.
    knocking: usize,
    let_in: Option<Instant>,
    full: Option<Full>,
    refused: Option<Refused>,
}

/// The server had no room for one more.
#[derive(Debug)]
struct Full {
    /// So many it had room for.
    room: usize,
    /// What it said.
    why: String,
    since: Instant,
    /// Until it is asked for more.
    pause: Duration,
}

/// The server did not take the account's name and password.
#[derive(Debug, Clone)]
struct Refused {
    reply: Reply,
    since: Instant,
    pause: Duration,
}

/// Whether to open another connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Knock {
    /// At once.
    Now,
    /// In the background: the server is likely to refuse it, and one that is there may come free sooner.
    Aside,
    /// Not now: wait until something changes.
    Wait,
    /// Not for long: this is what the server said to the last login.
    Refused(Reply),
}

/// What a failed connect means for the request that wanted it.
#[derive(Debug)]
pub enum Failed {
    /// It waits for a connection to come free, or for the server to have room.
    Waits,
    /// It fails.
    Fails(Error),
}

impl Door {
    /// Whether another connection may be opened beside `held`, those being opened included, of which there may be `max`.
    pub fn knock(&self, held: usize, max: usize, now: Instant) -> Knock {
        if let Some(refused) = self.refused.as_ref().filter(|refused| now < refused.since + refused.pause) {
            return if held == 0 { Knock::Refused(refused.reply.clone()) } else { Knock::Wait };
        }
        let is_trusted = self.let_in.is_some_and(|let_in| now.saturating_duration_since(let_in) < TRUSTED);
        let at_once = if is_trusted && self.full.is_none() { KNOCKING_MAX } else { 1 };
        if held >= max || self.knocking >= at_once {
            return Knock::Wait;
        }
        match &self.full {
            Some(full) if held < full.room => Knock::Now,
            Some(full) if now < full.since + full.pause => Knock::Wait,
            Some(_) if held > 0 => Knock::Aside,
            _ => Knock::Now,
        }
    }

    /// Another connection is being opened.
    pub fn knocks(&mut self) {
        self.knocking += 1;
    }

    /// One was opened; `open` are there now.
    pub fn let_in(&mut self, open: usize, now: Instant) {
        self.knocking -= 1;
        self.let_in = Some(now);
        self.refused = None;
        if let Some(full) = self.full.as_mut().filter(|full| open > full.room) {
            // There is room again, and perhaps more.
            (full.room, full.since, full.pause) = (open, now, Duration::ZERO);
        }
    }

    /// One that was open is so no more: the server, or the account, may not be what it was.
    pub fn distrust(&mut self) {
        self.let_in = None;
    }

    /// One was opened elsewhere.
    pub fn opened(&mut self, now: Instant) {
        self.let_in = Some(now);
    }

    /// One was not opened, because of `error`; it was begun at `began`, and `open` are there.
    pub fn turned_away(&mut self, error: Error, open: usize, began: Instant, now: Instant) -> Failed {
        self.knocking -= 1;
        match error {
            Error::Busy { why } => {
                self.is_full(open, began, now, &why);
                Failed::Waits
            }
            // Some say nothing and close the connection.
            error if open > 0 && is_silent_end(&error) => {
                self.is_full(open, began, now, &error.to_string());
                Failed::Waits
            }
            Error::LoginRefused { reply } => {
                self.is_refused(&reply, now);
                Failed::Fails(Error::LoginRefused { reply })
            }
            other => Failed::Fails(other),
        }
    }

    /// How many are being opened.
    pub fn knocking(&self) -> usize {
        self.knocking
    }

    /// None was opened after all, and that tells nothing of the server.
    pub fn gave_up(&mut self) {
        self.knocking -= 1;
    }

    /// How many the server has room for, if it had none for more.
    pub fn room(&self) -> Option<usize> {
        self.full.as_ref().map(|full| full.room)
    }

    /// What the server said when it had no room for more than are there.
    pub fn why(&self) -> Option<&str> {
        self.full.as_ref().map(|full| &*full.why)
    }

    fn is_full(&mut self, open: usize, began: Instant, now: Instant, why: &str) {
        let first = if open == 0 { NO_ROOM_PAUSE } else { FULL_PAUSE };
        let most = if open == 0 { NO_ROOM_PAUSE_MAX } else { FULL_PAUSE_MAX };
        let pause = match &self.full {
            // Begun before that was known; but where one was let in meanwhile, this says that there is no room for more.
            Some(full) if full.room == open && began < full.since => full.pause.max(first),
            Some(full) if full.room == open => (full.pause * 2).clamp(first, most),
            _ => first,
        };
        if self.full.as_ref().is_none_or(|full| full.room != open) {
            log::info!("the server has room for {open} connections for now ({why})");
        }
        self.full = Some(Full { room: open, why: why.to_owned(), since: now, pause });
    }

    fn is_refused(&mut self, reply: &Reply, now: Instant) {
        let pause = match &self.refused {
            Some(refused) => (refused.pause * 2).min(REFUSED_PAUSE_MAX),
            None => {
                log::error!(
                    "the server does not take the password ({reply}): to keep the account from being locked, no login is \
                     tried for {} minutes; to go on at once, unmount, set the right password, and mount again",
                    REFUSED_PAUSE.as_secs() / 60
                );
                REFUSED_PAUSE
            }
        };
        self.refused = Some(Refused { reply: reply.clone(), since: now, pause });
    }
}

/// Whether the server closed a connection before it said anything.
fn is_silent_end(error: &Error) -> bool {
    match error {
        Error::Closed { step } => step == GREETING,
        Error::Io { step, source } => step == GREETING && source.kind() == io::ErrorKind::ConnectionReset,
        _ => false,
    }
}

/// The step in which the server speaks first.
pub const GREETING: &str = "the greeting";
/// For so long after a login others are made at the same time.
const TRUSTED: Duration = Duration::from_secs(10);
/// So many: if the server has room for less, or the password was changed a moment ago, all of them were for nothing, and three
/// refused logins lock an account in many places.
const KNOCKING_MAX: usize = 2;
/// How long a server with room for some is not asked for more: at first, and at last.
const FULL_PAUSE: Duration = Duration::from_secs(5);
const FULL_PAUSE_MAX: Duration = Duration::from_secs(300);
/// The same where it has room for none, perhaps because it still counts those that were just closed.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(200);
const NO_ROOM_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long no login is tried after one was refused; twice as long after each other. Accounts are locked after three failures in
/// a quarter of an hour and the like (pam_faillock, fail2ban, Active Directory).
const REFUSED_PAUSE: Duration = Duration::from_secs(15 * 60);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::Reader;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy() -> Error {
        Error::Busy { why: "the server said: 421 Too many.".to_owned() }
    }

    fn reply(text: &str) -> Reply {
        let mut reader = Reader::new();
        reader.feed(text.as_bytes());
        reader.next().unwrap().unwrap()
    }

    /// Two may be open, six want to: two tries were for nothing, and then one each time that a pause is over.
    #[test]
    fn a_limit_is_tried_again_with_growing_pauses() {
        let start = Instant::now();
        let mut door = Door::default();
        door.knocks();
        door.let_in(1, start);
        for held in 1..3 {
            assert_eq!(door.knock(held, 6, start), Knock::Now);
            door.knocks();
        }
        assert_eq!(door.knock(3, 6, start), Knock::Wait);
        door.let_in(2, start);
        assert!(matches!(door.turned_away(busy(), 2, start, start + SECOND), Failed::Waits));
        door.knocks();
        assert!(matches!(door.turned_away(busy(), 2, start, start + SECOND), Failed::Waits));
        let mut now = start + SECOND;
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(door.knock(2, 6, now + SECOND * (pause - 1)), Knock::Wait, "{pause}");
            now += SECOND * pause;
            assert_eq!(door.knock(2, 6, now), Knock::Aside, "{pause}");
            // One that was lost is replaced at once.
            assert_eq!(door.knock(1, 6, now - SECOND), Knock::Now);
            door.knocks();
            assert_eq!(door.knock(2, 6, now), Knock::Wait);
            door.turned_away(busy(), 2, now, now);
        }
        // Others left: there is room for all.
        now += SECOND * 300;
        for open in 3..=6 {
            assert_eq!(door.knock(open - 1, 6, now), Knock::Aside);
            door.knocks();
            door.let_in(open, now);
        }
        assert_eq!(door.knock(6, 6, now), Knock::Wait);
    }

    /// Three are opened at once. One is let in where there was no room for more, and what then becomes of the others, which were
    /// begun before, is the answer to whether there is more.
    #[test]
    fn one_that_is_refused_after_another_was_let_in_is_enough() {
        let start = Instant::now();
        let mut door = Door { let_in: Some(start), ..Door::default() };
        (0..3).for_each(|_| door.knocks());
        door.turned_away(busy(), 1, start, start);
        let now = start + SECOND;
        door.let_in(2, now);
        door.turned_away(busy(), 2, start, now);
        assert_eq!(door.knock(2, 6, now + SECOND), Knock::Wait);
        assert_eq!(door.knock(2, 6, now + SECOND * 5), Knock::Aside);
    }

    #[test]
    fn a_server_without_any_room_is_asked_again_soon() {
        let start = Instant::now();
        let mut door = Door::default();
        let mut now = start;
        for pause in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert_eq!(door.knock(0, 4, now), Knock::Now);
            door.knocks();
            assert!(matches!(door.turned_away(busy(), 0, now, now), Failed::Waits));
            assert_eq!(door.knock(0, 4, now + Duration::from_millis(pause - 1)), Knock::Wait);
            now += Duration::from_millis(pause);
        }
    }

    #[test]
    fn an_end_without_a_word_is_a_limit_only_beside_others() {
        let now = Instant::now();
        let ends = || {
            let reset = io::Error::from(io::ErrorKind::ConnectionReset);
            [Error::Closed { step: GREETING.to_owned() }, Error::io(GREETING, reset)]
        };
        for (open, waits) in [(0, false), (1, true)] {
            for end in ends() {
                let mut door = Door::default();
                door.knocks();
                assert_eq!(matches!(door.turned_away(end, open, now, now), Failed::Waits), waits);
                assert_eq!(door.full.map(|full| full.room), waits.then_some(1));
            }
        }
        let mut door = Door::default();
        door.knocks();
        let other = Error::Closed { step: "USER".to_owned() };
        assert!(matches!(door.turned_away(other, 1, now, now), Failed::Fails(_)));
    }

    #[test]
    fn a_refused_login_is_not_tried_for_long() {
        let start = Instant::now();
        let said = reply("530 Login incorrect.\r\n");
        let mut door = Door::default();
        assert_eq!(door.knock(0, 4, start), Knock::Now);
        door.knocks();
        // Nobody was let in yet: one at a time.
        assert_eq!(door.knock(1, 4, start), Knock::Wait);
        let mut now = start;
        for minutes in [15, 30, 60, 120, 240, 480, 960, 1440, 1440] {
            let failed = door.turned_away(Error::LoginRefused { reply: said.clone() }, 0, now, now);
            assert!(matches!(failed, Failed::Fails(Error::LoginRefused { .. })));
            let last = now + SECOND * (60 * minutes - 1);
            assert_eq!(door.knock(0, 4, last), Knock::Refused(said.clone()));
            assert_eq!(door.knock(1, 4, last), Knock::Wait, "one that is in goes on");
            now = last + SECOND;
            assert_eq!(door.knock(0, 4, now), Knock::Now);
            door.knocks();
        }
        door.let_in(1, now);
        assert_eq!(door.knock(1, 4, now), Knock::Now);
    }
}
