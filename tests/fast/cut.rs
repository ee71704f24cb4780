//! Connections cut after every byte: an error in time, never a wrong answer, and the next request works.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::protocol::ftpd::{Act, Behaviour, Dialect, Fault, Server, Step, Tickets, Tree};
use crate::protocol::{client, names, path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CONTENT: &[u8] = b"Once upon a midnight dreary, while I pondered, weak and weary";

/// A cut is seen at once; this is far below a sum of time limits.
const LIMIT: Duration = Duration::from_millis(900);

fn tree() -> Tree {
    Tree::new().directory("/d").file("/d/poem", CONTENT).file("/d/other", "")
}

/// Reads through one session; whatever succeeds must be right.
fn use_client(client: &Client) -> Result<(), ErrorKind> {
    let entries = client.list(&path("/d")).map_err(|error| error.kind)?;
    assert_eq!(entries.len(), 2);
    let metadata = client.stat(&path("/d/poem")).map_err(|error| error.kind)?;
    assert_eq!(metadata.size, Some(CONTENT.len() as u64));
    let bytes = read(client, "/d/poem", metadata.size).map_err(|broken| {
        assert!(CONTENT.starts_with(&broken.bytes));
        broken.error.kind
    })?;
    assert_eq!(bytes, CONTENT);
    Ok(())
}

/// One control connection that ends after `count` bytes of the server; `false` if it never came to that.
fn cut_control_after(count: usize) -> bool {
    let server = Server::start(Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1)), tree());
    server.cut_next_after(count);
    let begun = Instant::now();
    let outcome = Client::connect(settings(server.port()));
    let was_cut = match &outcome {
        Ok(client) => {
            let used = use_client(client);
            let was_cut = server.connections() > 1 || used.is_err();
            assert!(matches!(used, Ok(()) | Err(ErrorKind::Lost)), "cut after {count} bytes: {used:?}");
            use_client(client).unwrap_or_else(|kind| panic!("the second use after {count} bytes: {kind:?}"));
            assert!(server.connections() <= 2, "cut after {count} bytes: {} connections", server.connections());
            was_cut
        }
        Err(error) => {
            assert!(error.closes_connection(), "cut after {count} bytes: {error}");
            true
        }
    };
    assert!(begun.elapsed() < LIMIT, "cut after {count} bytes: {:?}", begun.elapsed());
    was_cut
}

#[test]
fn a_control_connection_cut_after_any_byte_is_an_error_in_time_and_the_next_one_works() {
    let (next, whole) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !whole.load(SeqCst) {
                    if !cut_control_after(next.fetch_add(1, SeqCst)) {
                        whole.store(true, SeqCst);
                    }
                }
            });
        }
    });
    assert!(next.load(SeqCst) > 500, "the dialogue has {} bytes only", next.load(SeqCst));
}

#[test]
fn a_download_cut_after_any_byte_is_an_error_and_the_next_one_is_whole() {
    for reply in ["226 Transfer complete.", "426 Failure writing network stream."] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client(&server);
        for count in 0..CONTENT.len() {
            server.fault(Fault::new(Step::Byte(count as u64), Act::HangUp).once());
            server.fault(Fault::say(Step::FinalReply, reply).once());
            let broken = read(&client, "/d/poem", Some(CONTENT.len() as u64)).unwrap_err();
            assert_eq!(broken.error.kind, ErrorKind::Lost, "{broken:?}");
            assert_eq!(broken.bytes, &CONTENT[..count]);
            assert_eq!(read(&client, "/d/poem", Some(CONTENT.len() as u64)).unwrap(), CONTENT);
        }
    }
}

#[test]
fn a_listing_cut_after_any_byte_is_an_error_and_the_next_one_is_whole() {
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let client = client(&server);
        let lines: usize = 2 * "type=file;size=61;modify=20240229123456; poem\r\n".len();
        for count in 0..lines {
            server.fault(Fault::new(Step::Byte(count as u64), Act::HangUp).once());
            let error = client.list(&path("/d")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Lost, "after {count} bytes: {error}");
            assert_eq!(names(&client, "/d").len(), 2);
        }
    }
}
