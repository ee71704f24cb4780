//! A server that stops answering, wherever that is, is an error within the time limit.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{Broken, TIMEOUT, client, names, path, read, settings};
use ftpsfs::deadline::{Deadline, Ending};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::time::{Duration, Instant};

/// Every step has `TIMEOUT`; cleaning up after a transfer may take a second more.
const LIMIT: Duration = Duration::from_millis(1000 + 1000 + 800);

const SIZE: u64 = 500_000;

fn tree() -> Tree {
    Tree::new().made_up("/a", SIZE)
}

fn stalling(step: Step) -> Fault {
    Fault::new(step, Act::Stall)
}

/// Runs `work`, which must end within [`LIMIT`] and not much before `TIMEOUT`.
fn in_time<T>(step: Step, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    let took = begun.elapsed();
    assert!(took < LIMIT, "{step:?} took {took:?}");
    assert!(took >= TIMEOUT - Duration::from_millis(50), "{step:?} took {took:?} only");
    result
}

/// Tries `steps` at the same time, each with its own server.
fn for_each_step(steps: &[Step], test: impl Fn(Step) + Sync) {
    std::thread::scope(|scope| {
        for &step in steps {
            let test = &test;
            scope.spawn(move || test(step));
        }
    });
}

#[test]
fn a_stall_during_the_login_is_an_error_in_time() {
    let commands = ["AUTH", "PBSZ", "PROT", "USER", "PASS", "FEAT", "OPTS", "TYPE", "PWD", "CWD"].map(Step::Command);
    let steps = [&[Step::Greeting, Step::Handshake], &commands[..]].concat();
    for_each_step(&steps, |step| {
        let server = Server::start(Behaviour::default().with(stalling(step)), tree());
        let error = in_time(step, || Client::connect(settings(server.port())).unwrap_err());
        assert!(matches!(error, Error::Deadline { .. }), "{step:?}: {error}");
    });
}

#[test]
fn a_stall_during_a_download_is_an_error_in_time_and_the_next_one_works() {
    let steps = [
        Step::Command("EPSV"),
        Step::Command("RETR"),
        Step::DataAccept,
        Step::Preliminary,
        Step::DataHandshake,
        Step::Byte(0),
        Step::Half,
        Step::LastByte,
        Step::CloseNotify,
        Step::FinalReply,
    ];
    for_each_step(&steps, |step| {
        let server = Server::start(Behaviour::default().with(stalling(step).once()), tree());
        let client = client(&server);
        let Broken { error, .. } = in_time(step, || read(&client, "/a", Some(SIZE)).unwrap_err());
        assert_eq!(error.kind, ErrorKind::TimedOut, "{step:?}: {error}");
        assert_eq!(read(&client, "/a", Some(SIZE)).unwrap().len() as u64, SIZE, "{step:?}");
        assert_eq!(server.connections(), 2, "{step:?}: the session that stalled is discarded");
    });
}

#[test]
fn a_stall_during_a_listing_or_stat_is_an_error_in_time_and_the_next_one_works() {
    let steps = [
        Step::Command("MLSD"),
        Step::DataHandshake,
        Step::Half,
        Step::CloseNotify,
        Step::FinalReply,
        Step::Command("MLST"),
        Step::Command("SIZE"),
    ];
    for_each_step(&steps, |step| {
        let server = Server::start(Behaviour::default().with(stalling(step).once()), tree());
        let client = client(&server);
        let error = in_time(step, || match step {
            Step::Command("MLST" | "SIZE") => client.stat(&path("/a")).unwrap_err(),
            _ => client.list(&path("/")).unwrap_err(),
        });
        assert_eq!(error.kind, ErrorKind::TimedOut, "{step:?}: {error}");
        assert_eq!(names(&client, "/"), ["a"], "{step:?}");
    });
}

/// The kernel of a server that stands still takes our part of a handshake. That was taken for bytes of the file, and a request went
/// on for as long again.
#[test]
fn a_handshake_that_gets_no_answer_moves_nothing() {
    for (step, moves) in [(Step::DataHandshake, false), (Step::Half, true)] {
        let server = Server::start(Behaviour::default().with(stalling(step)), tree());
        let client = client(&server);
        let deadline = Deadline::new(Some(TIMEOUT * 10), None, &Ending::default());
        let _entered = deadline.enter();
        let before = deadline.end().unwrap();
        // It is told in milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        let Broken { error, .. } = read(&client, "/a", Some(SIZE)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut, "{step:?}: {error}");
        assert_eq!(deadline.end().unwrap() > before, moves, "{step:?}");
    }
}

/// The time limit is for the server's silence, not for the reader's.
#[test]
fn a_reader_slower_than_the_time_limit_does_not_time_out() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    let mut download = client.read_from(&path("/a"), 0, Some(SIZE)).unwrap();
    let (mut buffer, mut got) = (vec![0; 64 * 1024], 0);
    got += download.read(&mut buffer).unwrap();
    std::thread::sleep(TIMEOUT + Duration::from_millis(200));
    loop {
        match download.read(&mut buffer).unwrap() {
            0 => break,
            count => got += count,
        }
    }
    assert_eq!(got as u64, SIZE);
}
