//! The pool by itself: who waits in it and what they are told, and connections that nobody uses yet or any more.

use super::ftpd::{Act, Behaviour, Dialect, Fault, Server, Step, Tickets, TooMany, Tree};
use super::{path, settings};
use ftpsfs::deadline::{Deadline, Ending};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::command::Command;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::pool::{Lease, Pool};
use ftpsfs::ftp::server::Server as Known;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::ftp::upload::Outgoing;
use ftpsfs::remote::{Remote as _, Start};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a request waits where it waits in vain.
const IN_VAIN: Duration = Duration::from_millis(300);
const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn start() -> Server {
    Server::start(Behaviour::default(), Tree::new().file("/a", "abc").made_up("/huge", 1 << 30))
}

fn pool_with(connections: usize, settings: Settings) -> Arc<Pool> {
    let connections_max = NonZeroUsize::new(connections).unwrap();
    Pool::new(Arc::new(Known::new(Settings { connections_max, ..settings }).unwrap()))
}

fn pool(server: &Server, connections: usize) -> Arc<Pool> {
    pool_with(connections, Settings { timeout: Duration::from_secs(5), ..settings(server.port()) })
}

fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !what() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

fn ask(pool: &Arc<Pool>) -> Result<(), Error> {
    pool.with_session(|session| session.exchange(&Command::Noop)).map(drop)
}

fn transfer(pool: &Arc<Pool>) -> Result<(), Error> {
    pool.with_lease(Ok).map(Lease::give_back)
}

/// How many are idle, how many are lent, and how many requests wait.
fn counts(pool: &Pool) -> (usize, usize, usize) {
    let connections = pool.connections();
    (connections.idle, connections.lent, connections.waiting)
}

/// Downloads go by that: they give way sooner to who asks something.
#[test]
fn who_waits_is_known_for_what_and_until_when() {
    let server = start();
    for asks in [false, true] {
        let pool = pool(&server, 1);
        let lease = pool.take().unwrap();
        assert!(!pool.is_wanted() && !pool.is_asked());
        thread::scope(|scope| {
            let waits = scope.spawn(|| if asks { ask(&pool) } else { transfer(&pool) });
            until(|| pool.is_wanted() && pool.is_asked() == asks);
            until(|| counts(&pool) == (0, 1, 1));
            lease.give_back();
            waits.join().unwrap().unwrap();
        });
        assert_eq!(counts(&pool), (1, 0, 0));
        assert!(!pool.is_wanted() && !pool.is_asked());
    }
}

/// As `ls -l` asks beside a copy, where there is only one connection: else each question would wait for a share of the copy.
#[test]
fn who_asks_one_thing_after_another_waits_for_transfers_once() {
    let server = start();
    let next_question = Duration::from_millis(100);
    let pool = pool_with(1, Settings { next_question, ..settings(server.port()) });
    let (heard, order) = mpsc::channel();
    let lease = pool.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                ask(&pool).unwrap();
                heard.send("answer").unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        until(|| pool.is_asked());
        scope.spawn(|| {
            transfer(&pool).unwrap();
            heard.send("transfer").unwrap();
        });
        until(|| counts(&pool) == (0, 1, 2));
        lease.give_back();
    });
    assert_eq!(order.try_iter().collect::<Vec<_>>(), ["answer", "answer", "answer", "transfer"]);
    // Where nothing was in the way of what was asked, a transfer does not wait for what may be asked next.
    let is_quick = |_| {
        ask(&pool).unwrap();
        let began = Instant::now();
        transfer(&pool).unwrap();
        began.elapsed() < next_question
    };
    assert!((0..5).any(is_quick));
}

/// What would be done with connections that nobody uses is not done with one that somebody waits for.
#[test]
fn who_wants_what_is_idle_is_told_of_it_unless_somebody_waits() {
    let server = start();
    let pool = pool(&server, 1);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    pool.on_spare(Box::new(move |_| _ = count.fetch_add(1, SeqCst)));
    let lease = pool.take().unwrap();
    assert_eq!(told.load(SeqCst), 0);
    lease.give_back();
    assert_eq!(told.load(SeqCst), 1);
    let lease = pool.take().unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| ask(&pool));
        until(|| counts(&pool) == (0, 1, 1));
        lease.give_back();
        waits.join().unwrap().unwrap();
    });
    // Only when that one had done with it.
    assert_eq!(told.load(SeqCst), 2);
}

/// With the next data connection still to be opened it has something to do itself.
#[test]
fn what_is_made_ready_is_to_spare_once_it_is() {
    for (opens_ahead, asked) in [(false, [1, 2, 3]), (true, [2, 3, 4])] {
        let server = start();
        let client = Client::connect(Settings { opens_ahead, ..settings(server.port()) }).unwrap();
        let (told, hears) = mpsc::channel();
        client.on_spare(Box::new(move |_| told.send(()).unwrap()));
        for asked in asked {
            assert_eq!(super::read(&client, "/a", Some(3)).unwrap(), b"abc");
            hears.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(server.count("EPSV"), asked, "{opens_ahead}");
            // Once.
            assert!(hears.try_recv().is_err(), "{opens_ahead}");
        }
    }
}

/// The end of an upload takes time, in which who asked for its connection is in nobody's way.
#[test]
fn who_waits_for_the_end_of_an_upload_leaves_what_comes_free_to_others() {
    let server = Server::start(Behaviour::default(), Tree::new().file("/f", ""));
    let known = Arc::new(Known::new(Settings { connections_max: TWO, ..settings(server.port()) }).unwrap());
    let pool = Pool::new(Arc::clone(&known));
    let upload = |to: &[u8], start| Outgoing::start(&pool, &known, to.to_vec(), start).unwrap();
    // That the server appends is known.
    upload(b"/f", Start::End(0)).finish().unwrap();
    let lease = pool.take().unwrap();
    let mut upload = upload(b"/g", Start::Beginning);
    upload.write(b"x").unwrap();
    server.fault(Fault::new(Step::FinalReply, Act::SayLate(IN_VAIN, "226 Done.".to_owned())).once());
    let is_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            ask(&pool).unwrap();
            is_answered.store(true, SeqCst);
        });
        until(|| server.tree().get(b"/g").is_some());
        assert_eq!(counts(&pool), (0, 2, 0));
        lease.give_back();
        ask(&pool).unwrap();
        assert!(!is_answered.load(SeqCst));
    });
    upload.finish().unwrap();
}

/// One that is made ready for its next transfer is there sooner than a new one, which is opened all the same: for the next who
/// finds none.
#[test]
fn who_asks_waits_for_a_connection_that_is_there_in_a_moment() {
    let data = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let told = format!("229 Entering Extended Passive Mode (|||{}|)", data.local_addr().unwrap().port());
    let server = start();
    server.fault(Fault::new(Step::Command("EPSV"), Act::SayLate(Duration::from_millis(100), told)).after(1).once());
    server.fault(Fault::new(Step::Greeting, Act::SayLate(Duration::from_millis(500), "220 Late.".to_owned())).after(1));
    let timeout = Duration::from_secs(5);
    let settings = Settings { connections_max: TWO, opens_ahead: true, timeout, ..settings(server.port()) };
    let client = Client::connect(settings).unwrap();
    assert_eq!(super::read(&client, "/a", Some(3)).unwrap(), b"abc");
    until(|| server.count("EPSV") == 2);
    assert_eq!(client.stat(&path("/a")).unwrap().size, Some(3));
    assert!(server.lines().iter().all(|(session, _)| *session == 0), "{:?}", server.lines());
    until(|| server.connections() == 2);
}

/// A server of which nothing is heard may be away; one that talks with somebody else is not.
#[test]
fn who_waits_in_vain_is_told_what_for() {
    for (timeout, is_heard) in [(IN_VAIN, false), (IN_VAIN * 3, true)] {
        let server = start();
        let pool = pool_with(1, Settings { timeout, ..settings(server.port()) });
        let mut lease = pool.take().unwrap();
        let told = thread::scope(|scope| {
            let waits = scope.spawn(|| ask(&pool));
            while is_heard && !waits.is_finished() {
                lease.exchange(&Command::Noop).unwrap();
            }
            waits.join().unwrap().unwrap_err()
        });
        assert_eq!(matches!(told, Error::Busy { .. }), is_heard, "{told}");
        assert_eq!(matches!(told, Error::Deadline { .. }), !is_heard, "{told}");
        assert!(told.to_string().contains("all 1 connections are in use"), "{told}");
        assert_eq!(counts(&pool), (0, 1, 0));
    }
}

#[test]
fn who_waits_in_vain_for_the_first_connection_is_told_so() {
    let server = start();
    server.fault(Fault::new(Step::Greeting, Act::Stall));
    let pool = pool(&server, 2);
    thread::scope(|scope| {
        let connects = scope.spawn(|| ask(&pool));
        until(|| counts(&pool) == (0, 1, 0));
        let limit = Some(IN_VAIN);
        let told = {
            let _entered = Deadline::new(limit, limit, &Ending::default()).enter();
            ask(&pool).unwrap_err()
        };
        assert!(matches!(&told, Error::Deadline { step } if step == "connecting to localhost"), "{told}");
        server.no_more_faults();
        server.hang_up();
        connects.join().unwrap().unwrap();
    });
}

#[test]
fn a_connection_is_opened_beforehand_where_there_may_be_one_more() {
    let server = start();
    let pool = pool(&server, 2);
    // The first one as well.
    for connections in [1, 2, 2] {
        pool.prepare();
        until(|| counts(&pool) == (connections, 0, 0));
    }
    assert_eq!(server.connections(), 2);
    pool.close();
    pool.prepare();
    assert_eq!(counts(&pool), (0, 0, 0));
}

#[test]
fn connections_are_opened_beforehand_one_by_one_and_not_where_that_failed_a_moment_ago() {
    let server = start();
    let pool = pool_with(4, Settings { timeout: IN_VAIN, ..settings(server.port()) });
    pool.take().unwrap().give_back();
    server.fault(Fault::new(Step::Greeting, Act::Stall).once());
    for _ in 0..2 {
        pool.prepare();
        assert_eq!(counts(&pool), (1, 1, 0));
    }
    until(|| counts(&pool) == (1, 0, 0));
    pool.prepare();
    assert_eq!(counts(&pool), (1, 0, 0));
    assert_eq!(server.connections(), 2);
}

#[test]
fn what_comes_back_after_the_end_is_said_goodbye_on() {
    let server = start();
    let pool = pool(&server, 2);
    let lease = pool.take().unwrap();
    pool.close();
    lease.give_back();
    assert_eq!(counts(&pool), (0, 0, 0));
    until(|| server.count("QUIT") == 1 && server.connections_open() == 0);
}

/// Once a second somebody looks at what is idle: at what is old, was closed by the server, or has the end of a download that
/// was broken off still to read.
#[test]
fn what_is_idle_is_looked_after() {
    let [stays, grows_old, is_closed, is_broken_off] = [(); 4].map(|()| start());
    let pools = [(&stays, 60_000), (&is_closed, 60_000), (&grows_old, 100)].map(|(server, millis)| {
        let pool = pool_with(1, Settings { idle_timeout: Duration::from_millis(millis), ..settings(server.port()) });
        pool.take().unwrap().give_back();
        pool
    });
    is_closed.hang_up();
    let said = stays.lines();
    let client = super::client(&is_broken_off);
    let mut download = client.read_from(&path("/huge"), 0, None).unwrap();
    assert!(download.read(&mut [0; 1000]).unwrap() > 0);
    drop(download);
    until(|| pools.each_ref().map(|pool| pool.connections().idle) == [1, 0, 0]);
    until(|| grows_old.count("QUIT") == 1 && is_broken_off.count("NOOP") == 1);
    assert_eq!((stays.lines(), is_broken_off.connections()), (said, 1));
}

/// What a server without room for more says is told to who could not wait for what is there.
#[test]
fn who_finds_no_room_hears_what_the_server_said() {
    let behaviour = Behaviour { connections_max: Some((1, TooMany::AtConnect)), ..Behaviour::default() };
    let server = Server::start(behaviour, Tree::new());
    let pool = pool_with(3, Settings { timeout: IN_VAIN, ..settings(server.port()) });
    let _lease = pool.take().unwrap();
    let told = ask(&pool).unwrap_err();
    assert!(told.to_string().contains("421 There are too many connections"), "{told}");
    let connections = pool.connections();
    assert_eq!((connections.limit, connections.configured), (1, 3));
    assert!(connections.refusal.is_some_and(|said| said.contains("421")));
}

/// One session may be worn out by itself. Two in a row are no chance: the server has forgotten all of them, and the third try
/// must not be with another one.
#[test]
fn idle_connections_are_forgotten_once_two_were_refused_in_a_row() {
    let behaviour = Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1));
    let server = Server::start(behaviour, Tree::new().file("/a", "abc"));
    let client = super::client_of(&server, 5);
    let idle = || client.condition().connections.idle;
    until(|| {
        client.prepare();
        idle() == 5
    });
    server.expire_sessions();
    assert_eq!(super::read(&client, "/a", Some(3)).unwrap(), b"abc");
    assert_eq!((server.refused(), server.connections(), idle()), (2, 6, 1));
}

/// A server that had no room at all has some again, and perhaps more than that.
#[test]
fn room_that_is_there_again_is_learnt_one_by_one() {
    let server = start();
    server.fault(Fault::new(Step::Greeting, Act::SayAndHangUp("421 Too many.".to_owned())).once());
    let pool = pool(&server, 3);
    pool.take().unwrap().give_back();
    assert_eq!(pool.connections().limit, 1);
    for room in [2, 3] {
        pool.prepare();
        until(|| counts(&pool) == (room, 0, 0));
        assert_eq!(pool.connections().limit, room);
    }
}
