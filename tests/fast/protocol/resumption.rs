//! The TLS session of the control connection on its data connections.

use super::ftpd::{Behaviour, Dialect, Fault, Groups, Handshakes, Memory, Server, Step, Tickets, Tree, Versions};
use super::{Broken, client, client_of, names, read};
use ftpsfs::ftp::error::Error;
use ftpsfs::remote::ErrorKind;

const DIALECTS: [Dialect; 4] = [Dialect::Vsftpd, Dialect::ProFtpd, Dialect::FileZilla, Dialect::FileZilla09];

fn tree() -> Tree {
    Tree::new().file("/a", "abc").made_up("/b", 100_000)
}

/// Fifty transfers and what the server counted.
fn fifty(behaviour: Behaviour) -> (Server, u64) {
    let server = Server::start(behaviour, tree());
    let client = client(&server);
    for _ in 0..50 {
        assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
    }
    let counters = client.counters();
    assert_eq!(counters.data_resumed.value(), server.data_handshakes().resumed as u64);
    (server, counters.tickets_reminted.value())
}

fn assert_all_resumed(server: &Server) {
    assert_eq!(server.data_handshakes(), Handshakes { resumed: 50, ..Handshakes::default() });
    assert_eq!((server.refused(), server.connections()), (0, 1));
}

#[test]
fn fifty_transfers_resume_with_filezillas_rhythm() {
    let (server, reminted) = fifty(Behaviour::requiring_reuse(Dialect::FileZilla, Tickets::with_passive()));
    assert_all_resumed(&server);
    assert_eq!(reminted, 0, "each EPSV brought a ticket");
}

#[test]
fn fifty_transfers_resume_with_two_tickets_and_one_with_each_data_connection() {
    let (server, reminted) = fifty(Behaviour::requiring_reuse(Dialect::Vsftpd, Tickets::counted(2, 1)));
    assert_all_resumed(&server);
    assert_eq!(reminted, 0, "tickets of data connections are kept");
}

#[test]
fn fifty_transfers_resume_with_two_tickets_and_none_later() {
    let (server, reminted) = fifty(Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 0)));
    assert_all_resumed(&server);
    assert_eq!(reminted, 48);
}

#[test]
fn fifty_transfers_resume_with_a_single_ticket() {
    let (server, reminted) = fifty(Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(1, 0)));
    assert_all_resumed(&server);
    assert_eq!(reminted, 49);
}

#[test]
fn fifty_transfers_resume_where_each_ticket_counts_once() {
    let memory = Memory { single_use: true, ..Memory::default() };
    let behaviour = Behaviour::requiring_reuse(Dialect::Vsftpd, Tickets::counted(2, 1));
    assert_all_resumed(&fifty(Behaviour { memory, ..behaviour }).0);
}

#[test]
fn fifty_transfers_resume_in_tls_1_2() {
    let behaviour = Behaviour::requiring_reuse(Dialect::FileZilla09, Tickets::counted(0, 0));
    assert_all_resumed(&fifty(Behaviour { versions: Versions::Tls12, ..behaviour }).0);
}

#[test]
fn refused_commands_cost_no_tickets() {
    let memory = Memory { single_use: true, ..Memory::default() };
    let behaviour = Behaviour::requiring_reuse(Dialect::Vsftpd, Tickets::counted(2, 1));
    let server = Server::start(Behaviour { memory, ..behaviour }, tree());
    let client = client(&server);
    for _ in 0..12 {
        read(&client, "/none", None).unwrap_err();
    }
    assert_eq!(names(&client, "/").len(), 2);
    assert_eq!((server.refused(), server.connections()), (0, 1));
}

/// Each control connection has its own sessions, and a server knows the difference.
#[test]
fn four_connections_at_once_resume_their_own_sessions() {
    for tickets in [Tickets::counted(2, 1), Tickets::with_passive()] {
        for versions in [Versions::Tls12, Versions::Tls13] {
            let behaviour = Behaviour::requiring_reuse(Dialect::ProFtpd, tickets);
            let with_passive = versions == Versions::Tls13 && tickets.with_passive;
            let tickets = Tickets { with_passive, ..tickets };
            let server = Server::start(Behaviour { versions, tickets, ..behaviour }, tree());
            let client = client_of(&server, 4);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..10 {
                            assert_eq!(read(&client, "/b", Some(100_000)).unwrap().len(), 100_000);
                        }
                    });
                }
            });
            assert_eq!(server.data_handshakes(), Handshakes { resumed: 40, ..Handshakes::default() });
            assert_eq!(server.refused(), 0);
            assert!(server.connections() > 1);
        }
    }
}

/// ProFTPD forgets a session 15840 seconds after the control connection's handshake, whatever newer tickets say.
#[test]
fn an_expired_session_costs_a_new_control_connection_and_no_error() {
    for dialect in DIALECTS {
        for versions in [Versions::Tls12, Versions::Tls13] {
            let behaviour = Behaviour::requiring_reuse(dialect, Tickets::counted(2, 1));
            let server = Server::start(Behaviour { versions, ..behaviour }, tree());
            let client = client(&server);
            assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
            server.expire_sessions();
            let read = read(&client, "/a", Some(3)).map_err(|broken| broken.error.to_string());
            assert_eq!(read.as_deref(), Ok(&b"abc"[..]), "{dialect:?} {versions:?}");
            server.expire_sessions();
            assert_eq!(names(&client, "/").len(), 2, "{dialect:?} {versions:?}");
            assert_eq!(server.connections(), 3, "{dialect:?} {versions:?}");
        }
    }
}

/// A lifetime hint of one second: the connection is replaced before the server has to refuse it.
#[test]
fn a_session_past_its_lifetime_hint_is_renewed_in_time() {
    let tickets = Tickets { lifetime_hint: Some(1), ..Tickets::with_passive() };
    let server = Server::start(Behaviour::requiring_reuse(Dialect::FileZilla, tickets), tree());
    let client = client(&server);
    assert_eq!(names(&client, "/").len(), 2);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    server.expire_sessions();
    assert_eq!(names(&client, "/").len(), 2);
    assert_eq!((server.refused(), server.connections()), (0, 2));
}

#[test]
fn a_server_that_never_resumes_is_named_with_what_we_offered() {
    for dialect in DIALECTS {
        for (memory, tickets, told) in [
            (Memory { uses_max: Some(0), ..Memory::default() }, Tickets::counted(2, 1), "we offered"),
            (Memory::default(), Tickets::counted(0, 0), "we had no session to offer"),
        ] {
            let behaviour = Behaviour::requiring_reuse(dialect, tickets);
            let server = Server::start(Behaviour { memory, ..behaviour }, tree());
            let client = client(&server);
            let Broken { error, .. } = read(&client, "/a", Some(3)).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind, ErrorKind::Insecure, "{dialect:?}: {text}");
            assert!(matches!(error.source.downcast_ref::<Error>(), Some(Error::ReuseRefused { .. })), "{text}");
            assert!(text.contains("requires") && text.contains("TLS session") && text.contains(told), "{text}");
            assert!(server.connections() <= 4, "{dialect:?}: {} connections", server.connections());
        }
    }
}

/// vsftpd and Pure-FTPd know P-256 only: a key share of X25519 costs a round trip, once.
#[test]
fn the_key_exchange_group_is_learnt_once_for_the_server() {
    for versions in [Versions::Tls13, Versions::Both] {
        let behaviour = Behaviour { groups: Groups::P256Only, versions, ..Behaviour::default() };
        let behaviour = Behaviour { tickets: Tickets::counted(0, 0), ..behaviour };
        let server = Server::start(behaviour, tree());
        let client = client_of(&server, 3);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..3).for_each(|_| drop(read(&client, "/b", Some(100_000)).unwrap())));
            }
        });
        server.hang_up();
        assert_eq!(names(&client, "/").len(), 2);
        assert_eq!(server.control_handshakes().full_with_retry, 1, "{:?}", server.control_handshakes());
        assert_eq!(server.data_handshakes().full_with_retry, 0, "{:?}", server.data_handshakes());
        assert_eq!(client.counters().control_with_retry.value(), 1);
    }
}

/// FileZilla Server forgets the offset at any command between REST and RETR, and its ticket comes with EPSV.
#[test]
fn rest_comes_right_before_retr() {
    use ftpsfs::remote::Remote as _;
    let server = Server::start(Behaviour::requiring_reuse(Dialect::FileZilla, Tickets::with_passive()), tree());
    let client = client(&server);
    let mut download = client.read_from(&super::path("/a"), 2, Some(3)).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(download.read(&mut buffer).unwrap(), 1);
    assert_eq!(buffer[0], b'c');
    assert_eq!(download.read(&mut buffer).unwrap(), 0);
    let lines: Vec<_> = server.lines().into_iter().map(|(_, line)| line).collect();
    let rest = lines.iter().position(|line| line.starts_with("REST")).unwrap();
    assert_eq!(lines[rest - 1..=rest + 1], ["EPSV", "REST 2", "RETR /a"]);
}

/// A 425 has other causes as well: nothing about sessions is said where a session was resumed.
#[test]
fn a_425_with_a_resumed_session_is_not_blamed_on_it() {
    let refusal = Fault::say(Step::DataAccept, "425 Failed to establish connection.");
    let server = Server::start(Behaviour::default().with(refusal), tree());
    let Broken { error, .. } = read(&client(&server), "/a", Some(3)).unwrap_err();
    assert!(!error.to_string().contains("requires"), "{error}");
}

/// A server may change its keys at any time, part a ticket over records and send empty ones (RFC 8446 sections 4.6.3, 5.1).
#[test]
fn fifty_transfers_resume_with_key_updates_and_split_tickets() {
    let behaviour = Behaviour::requiring_reuse(Dialect::FileZilla, Tickets::with_passive());
    assert_all_resumed(&fifty(Behaviour { odd_records: true, ..behaviour }).0);
}

/// RFC 8446 section 4.6.1: a ticket with a lifetime of zero is to be thrown away at once.
#[test]
fn tickets_without_a_lifetime_are_no_reason_to_log_in_again() {
    let tickets = Tickets { lifetime_hint: Some(0), ..Tickets::with_passive() };
    let behaviour = Behaviour { versions: Versions::Tls13, tickets, ..Behaviour::default() };
    let server = Server::start(behaviour, tree());
    let client = client(&server);
    for _ in 0..5 {
        assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
    }
    assert_eq!(server.connections(), 1);
}
