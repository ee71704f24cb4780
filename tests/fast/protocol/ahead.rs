//! Data connections that are opened before they are needed.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

fn server(faults: &[Fault]) -> Server {
    let greeting = Fault::say(Step::Greeting, "220 (vsFTPd 3.0.3)");
    let behaviour = faults.iter().cloned().fold(Behaviour::default().with(greeting), Behaviour::with);
    Server::start(behaviour, Tree::new().file("/small", "abc").directory("/d"))
}

fn client(server: &Server, connections: usize) -> Client {
    let connections_max = NonZeroUsize::new(connections).unwrap();
    Client::connect(Settings { connections_max, opens_ahead: true, ..settings(server.port()) }).unwrap()
}

#[test]
fn the_port_of_the_next_transfer_is_asked_for_at_the_end_of_this_one() {
    let server = server(&[]);
    let client = client(&server, 1);
    for _ in 0..5 {
        assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    }
    let lines: Vec<String> = server.lines().into_iter().map(|(_, line)| line).collect();
    let transfers = lines.iter().filter(|line| matches!(line.as_str(), "EPSV" | "RETR /small"));
    let transfers: Vec<&str> = transfers.map(String::as_str).collect();
    assert_eq!(transfers, ["EPSV", "RETR /small"].repeat(5).into_iter().chain(["EPSV"]).collect::<Vec<_>>());
    assert_eq!(server.connections(), 1);
}

/// What was asked along with a download's end was once taken for its last reply, by a server that answers at once: a 426
/// behind it was lost.
#[test]
fn an_answer_to_what_was_asked_ahead_is_not_the_last_reply() {
    let early = "229 Entering Extended Passive Mode (|||1|)\r\n426 Failure reading the file.";
    let server = server(&[Fault::say(Step::FinalReply, early).once()]);
    let client = client(&server, 1);
    let broken = read(&client, "/small", Some(3)).unwrap_err();
    assert_eq!((broken.bytes.as_slice(), broken.error.kind), (&b"abc"[..], ErrorKind::Misbehaved));
    let asked = server.count("EPSV");
    for _ in 0..2 {
        assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
        assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3));
    }
    assert!(server.count("EPSV") > asked && server.connections() == 2);
}

/// A port that cannot be reached cost a login that was good for everything else.
#[test]
fn a_data_port_that_is_closed_costs_no_session() {
    let told = "229 Entering Extended Passive Mode (|||61234|)";
    let server = server(&[Fault::say(Step::Command("EPSV"), told).after(1)]);
    let client = client(&server, 1);
    assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    // At the end of the download, and once more for a connection to be opened ahead.
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.count("EPSV") < 3 && Instant::now() < deadline {
        thread::yield_now();
    }
    for _ in 0..3 {
        assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3));
    }
    assert_eq!((server.count("EPSV"), server.connections()), (3, 1));
}

/// A server that no longer told its data ports made every request wait for the session that was being made ready.
#[test]
fn who_needs_no_data_connection_does_not_wait_for_one() {
    let silent = Fault::new(Step::Command("EPSV"), Act::Silence).after(1);
    let server = Server::start(Behaviour::default().with(silent), Tree::new().file("/small", "abc"));
    let connections_max = NonZeroUsize::new(2).unwrap();
    let timeout = Duration::from_secs(6);
    let settings = Settings { connections_max, opens_ahead: true, timeout, ..settings(server.port()) };
    let client = Client::connect(settings).unwrap();
    assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.count("EPSV") < 2 && Instant::now() < deadline {
        thread::yield_now();
    }
    let since = Instant::now();
    assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

/// vsftpd looks for it behind its last byte, which had to come here first.
#[test]
fn vsftpd_hears_at_the_beginning_of_a_download_that_nothing_will_be_sent() {
    let vsftpd = Fault::say(Step::Greeting, "220 (vsFTPd 3.0.3)");
    let behaviour = Behaviour { hears_end_first: true, ..Behaviour::default().with(vsftpd) };
    let server = Server::start(behaviour, Tree::new().file("/small", "abc"));
    let client = client(&server, 1);
    assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    assert_eq!(client.list(&path("/")).unwrap().len(), 1);
}
