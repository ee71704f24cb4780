//! Control connections: how many, which live on, and which are replaced.

use super::ftpd::tree::pattern;
use super::ftpd::{Act, Behaviour, Dialect, Fault, Server, Step, Tickets, TooMany, Tree};
use super::script::Script;
use super::{TIMEOUT, client, client_of, names, path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::command::Command;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::pool::Pool;
use ftpsfs::ftp::server::Server as Known;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn tree() -> Tree {
    Tree::new().file("/a", "abc").made_up("/b", 300_000)
}

/// What nobody waits for must not keep those waiting who ask.
#[test]
fn the_only_connection_is_never_to_spare() {
    let server = Server::start(Behaviour::default(), tree());
    for (connections, spare) in [(1, 0), (2, 1)] {
        let connections_max = NonZeroUsize::new(connections).unwrap();
        let client = Client::connect(Settings { connections_max, ..settings(server.port()) }).unwrap();
        assert_eq!(client.spare(), spare);
    }
}

/// 421 may answer any command; the server closes the connection after it (RFC 959 section 4.2.2).
#[test]
fn a_session_that_hears_421_is_replaced_once_without_a_word() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    let timeout = Act::SayAndHangUp("421 Timeout (no operation for 900 seconds)".to_owned());
    server.fault(Fault::new(Step::AnyCommand, timeout).once());
    let replaced = || client.condition().counts.replaced;
    let before = replaced();
    assert_eq!(names(&client, "/"), ["a", "b"]);
    assert_eq!((server.connections(), replaced() - before), (2, 1));
}

#[test]
fn a_session_that_was_closed_while_idle_is_replaced_without_a_word() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    for round in 1..4 {
        assert_eq!(names(&client, "/"), ["a", "b"]);
        assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
        assert_eq!(server.connections(), round);
        server.hang_up();
    }
}

#[test]
fn a_server_that_says_421_to_every_command_is_an_error_and_no_endless_loop() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    server.fault(Fault::new(Step::Command("MLSD"), Act::SayAndHangUp("421 Going down.".to_owned())));
    let error = client.list(&path("/")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    assert!(error.to_string().contains("Going down"), "{error}");
    assert!(server.connections() <= 4, "{}", server.connections());
    server.no_more_faults();
    assert_eq!(names(&client, "/"), ["a", "b"]);
}

#[test]
fn no_more_connections_than_allowed_are_opened_and_one_is_enough() {
    for allowed in [1, 3] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client_of(&server, allowed);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        assert_eq!(read(&client, "/b", Some(300_000)).unwrap().len(), 300_000);
                        assert_eq!(names(&client, "/"), ["a", "b"]);
                    }
                });
            }
        });
        assert!(server.connections() <= allowed, "{} connections of {allowed}", server.connections());
    }
}

#[test]
fn the_servers_own_limit_is_learnt() {
    for how in [TooMany::AtConnect, TooMany::AfterPass] {
        let server = Server::start(Behaviour { connections_max: Some((2, how)), ..Behaviour::default() }, tree());
        let client = client_of(&server, 6);
        let burst = || {
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        for _ in 0..4 {
                            assert_eq!(read(&client, "/b", Some(300_000)).unwrap().len(), 300_000);
                        }
                    });
                }
            });
            server.connections()
        };
        // Those who knock at the same time may all be turned away; once known, the limit is kept.
        assert_eq!(burst(), burst(), "{how:?}");
    }
}

#[test]
fn a_first_connection_that_is_one_too_many_is_busy() {
    for how in [TooMany::AtConnect, TooMany::AfterPass] {
        let server = Server::start(Behaviour { connections_max: Some((0, how)), ..Behaviour::default() }, tree());
        let error = Client::connect(settings(server.port())).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{how:?}: {error}");
    }
}

/// With one connection, a paused download gives it up to whoever waits.
#[test]
fn a_paused_download_does_not_block_a_listing() {
    let server = Server::start(Behaviour::default(), tree().made_up("/huge", 1 << 30));
    let client = client(&server);
    let mut download = client.read_from(&path("/huge"), 0, Some(1 << 30)).unwrap();
    let mut buffer = [0; 1000];
    download.read(&mut buffer).unwrap();
    assert_eq!(names(&client, "/").len(), 3);
    assert_eq!(download.read(&mut buffer).unwrap_err().kind, ErrorKind::Preempted);
    assert_eq!(server.connections(), 1);
}

/// With two connections, the download that was not read for longest gives its own up, and the other one goes on.
#[test]
fn the_download_that_paused_first_gives_way() {
    let server = Server::start(Behaviour::default(), tree().made_up("/huge", 1 << 30));
    let client = client_of(&server, 2);
    let mut buffer = [0; 1000];
    let mut downloads = [(); 2].map(|()| {
        let mut download = client.read_from(&path("/huge"), 0, Some(1 << 30)).unwrap();
        download.read(&mut buffer).unwrap();
        download
    });
    assert_eq!(names(&client, "/").len(), 3);
    assert_eq!(downloads[0].read(&mut buffer).unwrap_err().kind, ErrorKind::Preempted);
    downloads[1].read(&mut buffer).unwrap();
    assert_eq!(server.connections(), 2);
}

#[test]
fn closing_the_client_says_goodbye_on_every_connection() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    client.close();
    let limit = Instant::now() + Duration::from_secs(5);
    while server.connections_open() > 0 {
        assert!(Instant::now() < limit, "{} connections are still open", server.connections_open());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(server.count("QUIT"), 1);
}

/// Whatever fails at the same time: what succeeds is right, and nothing stays lent or open for ever.
#[test]
fn failures_in_parallel_leave_a_pool_that_works() {
    const THREADS: usize = 6;
    let content: Vec<u8> = (0..300_000).map(pattern).collect();
    let server = Server::start(Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1)), tree());
    let client = client_of(&server, 3);
    let goodbye = || Act::SayAndHangUp("421 Timeout.".to_owned());
    let say = |text: &str| Act::Say(text.to_owned());
    let faults = [
        (Step::Half, Act::HangUp),
        (Step::Command("RETR"), goodbye()),
        (Step::Command("EPSV"), Act::HangUp),
        (Step::Preliminary, Act::Reset),
        (Step::CloseNotify, Act::HangUp),
        (Step::FinalReply, Act::Clear("500 OOPS\r\n".to_owned())),
        (Step::DataAccept, say("425 Failed to establish connection.")),
        (Step::Half, Act::Reset),
        (Step::DataHandshake, Act::HangUp),
        (Step::Command("PASS"), Act::HangUp),
        (Step::Command("AUTH"), goodbye()),
        (Step::FinalReply, say("426 Broken.")),
        (Step::Command("MLSD"), say("xyz")),
    ];
    let read_or_fail = || match read(&client, "/b", Some(300_000)) {
        Ok(got) => assert!(got == content),
        Err(broken) => assert!(content.starts_with(&broken.bytes), "{broken:?}"),
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    read_or_fail();
                    if let Ok(entries) = client.list(&path("/")) {
                        assert_eq!(entries.len(), 2);
                    }
                }
            });
        }
        for (count, (step, act)) in faults.iter().cycle().take(4 * faults.len()).enumerate() {
            server.fault(Fault::new(*step, act.clone()).once());
            if count % 5 == 0 {
                server.expire_sessions();
            }
            // Some need a new connection, which another one brings.
            let (struck, deadline) = (server.struck(), Instant::now() + Duration::from_millis(50));
            while server.struck() == struck && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        is_over.store(true, SeqCst);
    });
    assert!(server.struck() > 3 * faults.len(), "only {} faults struck", server.struck());
    server.no_more_faults();
    server.expire_sessions();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| assert!(read(&client, "/b", Some(300_000)).unwrap() == content));
        }
    });
    assert!(server.connections_open() <= 3, "{} connections are open", server.connections_open());
}

/// Line by line, with nothing left to a server's own sense.
#[test]
fn a_listing_after_a_421_is_asked_for_again_on_a_new_connection() {
    let server = Script::play(
        r"
        = LOGIN
        < CWD /
        > 250 Okay.
        < EPSV
        > 421 idle too long
        = CLOSED
        = LOGIN
        < EPSV
        > 229 Entering Extended Passive Mode (|||$PORT|)
        < MLSD /d
        > 150 Here it comes.
        = DATA type=file;size=3;modify=20240229123456; a\r\n
        > 226 Done.
        < QUIT
        > 221 Bye.
        ",
    );
    let client = Client::connect(settings(server.port())).unwrap();
    assert_eq!(names(&client, "/d"), ["a"]);
    client.close();
}

/// Nobody could have had a connection after as many panics as there may be connections.
#[test]
fn a_panic_gives_its_connection_back() {
    let server = Server::start(Behaviour::default(), tree());
    let known = Arc::new(Known::new(settings(server.port())).unwrap());
    let pool = Pool::new(known);
    for _ in 0..3 {
        let panics = || pool.with_session(|_| -> Result<(), Error> { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    }
    pool.with_session(|session| session.exchange(&Command::Noop)).unwrap();
}

/// What is asked of a server that is started again takes as long as that, and no error.
#[test]
fn a_server_that_refuses_for_a_moment_is_waited_for() {
    let busy = |step| Fault::say(step, "421 Service not available, closing control connection.").once();
    for fault in [
        Fault::new(Step::Greeting, Act::HangUp).once(),
        Fault::new(Step::Greeting, Act::Reset).once(),
        busy(Step::Greeting),
    ] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client(&server);
        server.fault(fault);
        server.hang_up();
        assert_eq!(names(&client, "/"), ["a", "b"]);
        assert_eq!(server.connections(), 3);
    }
}

/// A server that has gone is given up once, and from then on at once.
#[test]
fn a_server_that_is_gone_is_told_at_once_after_the_first_time_and_found_again() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    server.fault(Fault::new(Step::Greeting, Act::Stall));
    server.hang_up();
    let begun = Instant::now();
    assert_eq!(client.list(&path("/")).unwrap_err().kind, ErrorKind::TimedOut);
    assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", begun.elapsed());
    // Certain after a second.
    assert_eq!(client.list(&path("/")).unwrap_err().kind, ErrorKind::Away);
    for _ in 0..10 {
        let begun = Instant::now();
        let error = client.list(&path("/")).unwrap_err();
        // Nothing is waited for.
        assert!(error.kind == ErrorKind::Away && begun.elapsed() < TIMEOUT / 2, "{error}");
        assert!(client.is_away());
    }
    server.no_more_faults();
    let deadline = Instant::now() + Duration::from_secs(10);
    // Its greeting is heard before the connection that found it is of use; that one is not thrown away.
    while (client.is_away() || client.condition().connections.idle == 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let connections = server.connections();
    assert_eq!(names(&client, "/"), ["a", "b"]);
    assert_eq!(server.connections(), connections);
}

/// A server that refuses is not asked again and again without a pause.
#[test]
fn a_server_that_refuses_is_tried_again_with_pauses() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    server.fault(Fault::new(Step::Greeting, Act::HangUp));
    server.hang_up();
    let (before, begun) = (server.connections(), Instant::now());
    assert!(client.list(&path("/")).is_err());
    // Who waits for 50 ms, then 100, 200 and 400, has not time enough for 800 more. A probe may have begun.
    let (tries, took) = (server.connections() - before, begun.elapsed());
    assert!((2..=8).contains(&tries) && took > TIMEOUT / 2 && took < TIMEOUT * 2, "{tries} in {took:?}");
}

#[test]
fn nobody_asks_whether_a_server_is_back_once_the_mount_has_ended() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    server.fault(Fault::new(Step::Greeting, Act::Stall));
    server.hang_up();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !client.is_away() {
        assert!(client.list(&path("/")).is_err() && Instant::now() < deadline);
    }
    // It is asked after a second, two, and four.
    let tried = |seconds: u64| {
        let before = server.connections();
        std::thread::sleep(Duration::from_secs(seconds));
        server.connections() - before
    };
    assert!(tried(3) > 0);
    client.close();
    // One may be on its way.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(tried(5), 0);
}

/// A mount with `connections=1` had two, from the first silence of its server on: what the probe had opened was kept beside the one
/// that a request held.
#[test]
fn a_probe_leaves_no_connection_too_many() {
    let server = Server::start(Behaviour::default(), tree());
    let known = Arc::new(Known::new(settings(server.port())).unwrap());
    let pool = Pool::new(Arc::clone(&known));
    let lease = pool.take().unwrap();
    let wait_until = |what: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // It is silent for long enough after a while.
    wait_until(&|| {
        pool.doubt(&Error::Deadline { step: "a question".to_owned() });
        known.breaker.is_open()
    });
    wait_until(&|| !known.breaker.is_open());
    assert_eq!(server.connections(), 2, "the probe was not the one that found it");
    lease.give_back();
    wait_until(&|| server.connections_open() == 1);
    let connections = pool.connections();
    assert_eq!((connections.idle, connections.lent), (1, 0), "{connections:?}");
    pool.with_session(|session| session.exchange(&Command::Noop)).unwrap();
}

/// Who lets nobody in is there: each request hears of it, and nothing else is tried.
#[test]
fn a_server_that_lets_nobody_in_is_not_away() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    server.fault(Fault::say(Step::Command("PASS"), "530 Login incorrect."));
    server.hang_up();
    std::thread::sleep(TIMEOUT);
    let logins = server.count("PASS");
    for _ in 0..2 {
        assert_eq!(client.list(&path("/")).unwrap_err().kind, ErrorKind::LoginRefused);
    }
    assert!(!client.is_away());
    assert!(server.count("PASS") <= logins + 2);
}
