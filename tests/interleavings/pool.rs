//! The pool: whoever waits is served when a session comes back, no more are lent than may be, and the counts are right at the
//! end, whatever failed.

use crate::explore::Scenario;
use crate::ftp::pool::{Lease, Pool, Reclaim};
use crate::ftp::session::{Far, Session};
use crate::locks::{Mutex, time_passes};
use ftpsfs::ftp::charset::Wish;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::server::Server;
use ftpsfs::ftp::settings::{Directory, Settings, TlsMode, Trust, Verify, Versions};
use ftpsfs::secret::Secret;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("pool::one_session_serves_all", || serve(1, 1, None, false)),
    ("pool::sessions_serve_all", || serve(2, 2, None, false)),
    ("pool::sessions_that_are_made_ready_serve_all", || serve(2, 2, None, true)),
    // With room for one that says goodbye: a server without any is waited for by time, and here none passes.
    ("pool::what_fails_leaves_the_counts_right", || serve(2, 6, Some(4), true)),
    ("pool::no_more_room_is_learnt_than_there_is", no_more_room_is_learnt_than_there_is),
    ("pool::a_transfer_gives_way", a_transfer_gives_way),
    ("pool::a_question_in_line_goes_before_transfers", a_question_in_line_goes_before_transfers),
    ("pool::nothing_is_lent_after_the_end", nothing_is_lent_after_the_end),
    ("pool::who_gives_up_leaves_the_counts_right", who_gives_up_leaves_the_counts_right),
];

fn pool(connections_max: usize, opens_ahead: bool) -> Arc<Pool> {
    Pool::new(Arc::new(Server::new(settings(connections_max, opens_ahead)).unwrap()))
}

/// Requests beside each other, some of which keep the session for a while, break a transfer off, or lose it.
fn serve(connections_max: usize, room: usize, trouble: Option<u32>, opens_ahead: bool) {
    let far = Far::begin(room, trouble);
    let pool = pool(connections_max, opens_ahead);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let served = pool.with_lease(use_one);
                assert!(served.is_ok() || trouble.is_some(), "{served:?}");
            })
        })
        .collect();
    requests.into_iter().for_each(|request| request.join().unwrap());
    assert!(far.open().most <= room, "{far:?}");
    end(&pool, &far);
}

fn use_one(mut lease: Lease) -> Result<(), Error> {
    let done = lease.work();
    match (done, thread_rng().gen_range(0..4)) {
        (Err(error), _) => {
            lease.give_back_unless_broken(&error);
            return Err(error);
        }
        (Ok(()), 0) => drop(lease),
        (Ok(()), 1) => {
            lease.break_off();
            lease.give_back();
        }
        (Ok(()), _) => lease.give_back(),
    }
    Ok(())
}

/// A session that came back, or was turned away, counted twice for a moment: so many more were asked for in vain.
fn no_more_room_is_learnt_than_there_is() {
    const ROOM: usize = 2;
    let far = Far::begin(ROOM, None);
    let pool = pool(ROOM + 3, true);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.with_session(Session::work).unwrap())
        })
        .collect();
    requests.into_iter().for_each(|request| request.join().unwrap());
    let told = pool.connections();
    assert!(told.refusal.is_none() || told.limit <= ROOM, "{told:?}");
    end(&pool, &far);
}

/// A transfer that goes on for as long as nobody waits, or is found paused.
struct Transfer {
    lease: Mutex<Option<Lease>>,
}

impl Reclaim for Transfer {
    fn reclaim(&self) -> Option<Lease> {
        let mut lease = self.lease.try_lock()?.take()?;
        lease.break_off();
        Some(lease)
    }

    fn idle_since(&self) -> Instant {
        Instant::now()
    }

    fn is_download(&self) -> bool {
        true
    }
}

fn a_transfer_gives_way() {
    let far = Far::begin(1, None);
    let pool = pool(1, false);
    let transfer = Arc::new(Transfer { lease: Mutex::new(None) });
    let weak: Weak<Transfer> = Arc::downgrade(&transfer);
    pool.register(weak);
    let reader = thread::spawn({
        let (pool, transfer) = (Arc::clone(&pool), Arc::clone(&transfer));
        move || {
            for _ in 0..READS {
                let mut held = transfer.lease.lock();
                let mut lease = match held.take() {
                    Some(lease) if pool.is_wanted() => {
                        lease.give_back();
                        pool.take().unwrap()
                    }
                    Some(lease) => lease,
                    None => pool.take().unwrap(),
                };
                lease.work().unwrap();
                *held = Some(lease);
            }
            if let Some(lease) = transfer.lease.lock().take() {
                lease.give_back();
            }
        }
    });
    let listing = thread::spawn({
        let pool = Arc::clone(&pool);
        move || pool.with_session(Session::work).unwrap()
    });
    listing.join().unwrap();
    reader.join().unwrap();
    assert_eq!(far.open().most, 1);
    end(&pool, &far);
}

/// A download gives way where it sees that somebody waits: its next piece comes after what that one asks.
fn a_question_in_line_goes_before_transfers() {
    let far = Far::begin(1, None);
    let pool = pool(1, false);
    let is_answered = Arc::new(Mutex::new(false));
    let download = thread::spawn({
        let (pool, is_answered) = (Arc::clone(&pool), Arc::clone(&is_answered));
        move || {
            for _ in 0..READS {
                let mut lease = pool.with_lease(Ok).unwrap();
                lease.work().unwrap();
                let gives_way = pool.is_wanted();
                lease.give_back();
                if gives_way {
                    pool.with_lease(Ok).unwrap().give_back();
                    assert!(*is_answered.lock(), "a download went before a question that waited");
                }
            }
        }
    });
    let answer = |session: &mut Session| {
        session.work()?;
        *is_answered.lock() = true;
        Ok(())
    };
    pool.with_session(answer).unwrap();
    download.join().unwrap();
    end(&pool, &far);
}

fn nothing_is_lent_after_the_end() {
    let far = Far::begin(2, None);
    let pool = pool(2, true);
    let request = thread::spawn({
        let pool = Arc::clone(&pool);
        move || pool.with_lease(use_one).unwrap()
    });
    pool.close();
    request.join().unwrap();
    end(&pool, &far);
}

/// Whoever waited too long leaves the line at any moment, also in that in which a session comes for it.
fn who_gives_up_leaves_the_counts_right() {
    let far = Far::begin(2, None);
    let pool = pool(1, false);
    time_passes(true);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let served = match number % 2 {
                    0 => pool.with_lease(use_one),
                    _ => pool.with_session(Session::work),
                };
                let in_time = !matches!(served, Err(Error::Busy { .. } | Error::Deadline { .. }));
                assert!(served.is_ok() || !in_time, "{served:?}");
            })
        })
        .collect();
    requests.into_iter().for_each(|request| request.join().unwrap());
    time_passes(false);
    // Nobody is left in line: the next one is served at once.
    pool.with_session(Session::work).unwrap();
    end(&pool, &far);
}

/// Waits until what goes on in the background is done, and looks at the counts.
fn end(pool: &Arc<Pool>, far: &Far) {
    while Arc::strong_count(pool) > 1 {
        thread::yield_now();
    }
    let shown = format!("{pool:?}");
    assert!(shown.contains(&format!("idle: {}, lent: 0, vacated: 0,", far.open().now)), "{shown} {far:?}");
    pool.close();
    assert_eq!(far.open().now, 0);
}

fn settings(connections_max: usize, opens_ahead: bool) -> Settings {
    Settings {
        host: "localhost".to_owned(),
        port: 21,
        tls: TlsMode::Explicit,
        user: "tester".to_owned(),
        password: Secret::new(""),
        directory: Directory::FromLogin(Vec::new()),
        charset: Wish::Bytes,
        ignore_case: false,
        trust: Trust::Pinned { pins: Vec::new(), roots: None },
        identity: None,
        versions: Versions::Both,
        connections_max: NonZeroUsize::new(connections_max).unwrap(),
        verify: Verify::Size,
        server_tz: None,
        timeout: Duration::from_secs(3600),
        hard: false,
        idle_timeout: Duration::from_secs(3600),
        opens_ahead,
        next_question: Duration::from_micros(50),
    }
}

const REQUESTS: usize = 4;
const READS: usize = 3;
