//! Servers with room for few connections, and accounts that are not let in any more.

use super::ftpd::{Behaviour, Fault, Server, Step, TooMany, Tree};
use super::{client_of, path, read};
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const HOWS: [TooMany; 5] =
    [TooMany::AtConnect, TooMany::AtConnectRefused, TooMany::AfterPass, TooMany::AfterPassGoodbye, TooMany::Silently];
const READERS: usize = 16;
const SIZE: u64 = 300_000;

fn tree() -> Tree {
    Tree::new().file("/a", "abc").made_up("/b", SIZE)
}

/// What is turned away waits for what is there, and does not knock on and on.
#[test]
fn sixteen_readers_share_what_a_server_has_room_for() {
    for how in HOWS {
        for room in [1, 2, 3] {
            let server =
                Server::start(Behaviour { connections_max: Some((room, how)), ..Behaviour::default() }, tree());
            let client = client_of(&server, READERS);
            let listed = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..READERS {
                    scope.spawn(|| {
                        for _ in 0..3 {
                            assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE);
                            assert_eq!(client.list(&path("/")).unwrap().len(), 2);
                            listed.fetch_add(1, SeqCst);
                        }
                    });
                }
            });
            assert_eq!(listed.load(SeqCst), READERS * 3, "{how:?} {room}");
            let connections = server.connections();
            // Three knock at once; a pause later one more.
            assert!(connections <= room + 4, "{how:?}: {connections} connections to a server with room for {room}");
            assert!(server.connections_open() <= room, "{how:?} {room}");
        }
    }
}

/// Our own connection of a moment ago may still be counted.
#[test]
fn a_server_without_room_is_waited_for() {
    for how in [TooMany::AtConnect, TooMany::AfterPass, TooMany::AfterPassGoodbye] {
        let server = Server::start(Behaviour { connections_max: Some((1, how)), ..Behaviour::default() }, tree());
        let client = client_of(&server, 4);
        let wait_for = |open| {
            while server.connections_open() != open {
                thread::sleep(Duration::from_millis(1));
            }
        };
        server.hang_up();
        wait_for(0);
        let other = client_of(&server, 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                other.close();
            });
            assert_eq!(client.list(&path("/")).unwrap().len(), 2, "{how:?}");
        });
        assert!((4..=6).contains(&server.connections()), "{how:?}: {} connections", server.connections());
    }
}

/// An account that is tried at each look of each program is soon a locked one.
#[test]
fn a_password_that_is_wrong_later_is_not_tried_again() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client_of(&server, 4);
    assert_eq!(server.count("PASS"), 1);
    server.fault(Fault::say(Step::Command("PASS"), "530 Login incorrect."));
    server.hang_up();
    let ask = || {
        let told = client.list(&path("/")).unwrap_err();
        assert_eq!(told.kind, ErrorKind::LoginRefused, "{told}");
        assert!(told.to_string().contains("530 Login incorrect"), "{told}");
    };
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(ask))));
    ask();
    // Not either where it would be taken.
    server.no_more_faults();
    ask();
    // One more where two were opened at the same time; three would lock the account in many places.
    assert!((2..=3).contains(&server.count("PASS")), "{} logins", server.count("PASS"));
    assert!(server.connections() <= 3, "{} connections", server.connections());
}

/// What is open goes on: only new connections are refused.
#[test]
fn connections_that_are_in_go_on_after_the_password_was_changed() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client_of(&server, 4);
    server.fault(Fault::say(Step::Command("PASS"), "530 Login incorrect."));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let told = read(&client, "/b", Some(SIZE)).map_err(|broken| broken.error.kind);
                assert!(matches!(told, Ok(_) | Err(ErrorKind::LoginRefused)), "{told:?}");
            });
        }
    });
    assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE);
    assert!(server.count("PASS") <= 4, "{} logins", server.count("PASS"));
}

/// A closed data port is the firewall's doing: another login would not open it.
#[test]
fn a_data_port_that_is_closed_costs_no_login() {
    // Beyond those that the kernel gives to the servers of other tests.
    let told = "229 Entering Extended Passive Mode (|||61234|)";
    let server = Server::start(Behaviour::default(), tree());
    let client = client_of(&server, 1);
    // One that was closed a moment ago, and then another.
    server.fault(Fault::say(Step::Command("EPSV"), told).once());
    assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE);
    server.fault(Fault::say(Step::Command("EPSV"), told));
    let broken = read(&client, "/b", Some(SIZE)).unwrap_err();
    assert_eq!(broken.error.kind, ErrorKind::Lost, "{broken:?}");
    assert!(broken.error.to_string().contains("data connection"), "{broken:?}");
    // What needs none still works, on the same connection.
    assert_eq!(client.stat(&path("/b")).unwrap().size, Some(SIZE));
    server.no_more_faults();
    assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE);
    assert_eq!(server.count("PASS"), 1);
}

/// A restarted server, or one whose cache of sessions is full, has forgotten the sessions of all connections at once.
#[test]
fn sessions_that_the_server_forgot_are_replaced_however_many_there_are() {
    use super::ftpd::{Dialect, Tickets};
    for dialect in [Dialect::Vsftpd, Dialect::ProFtpd, Dialect::FileZilla] {
        let server = Server::start(Behaviour::requiring_reuse(dialect, Tickets::counted(2, 1)), tree());
        let client = client_of(&server, 5);
        let all = || {
            thread::scope(|scope| {
                for _ in 0..5 {
                    scope.spawn(|| assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE));
                }
            });
        };
        all();
        server.expire_sessions();
        all();
        assert_eq!(read(&client, "/b", Some(SIZE)).unwrap().len() as u64, SIZE, "{dialect:?}");
    }
}
