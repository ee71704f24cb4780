//! Connections cut after every byte: an error in time, never a wrong answer, and the next request works.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::protocol::ftpd::{Act, Behaviour, Content, Dialect, Fault, Server, Step, Tickets, Tree};
use crate::protocol::{client, names, path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::remote::{self, ErrorKind, Remote as _, Start};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CONTENT: &[u8] = b"Once upon a midnight dreary, while I pondered, weak and weary";

/// A cut is seen at once; who waited for it would wait for this.
const NEVER: Duration = Duration::from_secs(600);
/// However busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

fn tree() -> Tree {
    Tree::new().directory("/d").file("/d/poem", CONTENT).file("/d/other", "").directory("/in")
}

/// What a client and a server say to each other until they are cut off.
#[derive(Clone, Copy)]
struct Dialogue {
    behaviour: fn() -> Behaviour,
    opens_ahead: bool,
    /// Does everything once; whatever succeeds must be right.
    uses: fn(&Client, &Server) -> Result<(), ErrorKind>,
    /// How many bytes the server says at least.
    length_min: usize,
}

/// Through one session: a listing, attributes, a download.
fn reads(client: &Client, _: &Server) -> Result<(), ErrorKind> {
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

/// Through one session: an upload, a rename and a deletion, compared with what the server has.
fn writes(client: &Client, server: &Server) -> Result<(), ErrorKind> {
    let content = |name: &str| match &server.tree().get(name.as_bytes())?.content {
        Content::Bytes(bytes) => Some(bytes.to_vec()),
        other => panic!("{other:?}"),
    };
    let stored = upload(client, "/in/new");
    let there = content("/in/new");
    match &stored {
        Ok(()) => assert_eq!(there.as_deref(), Some(CONTENT)),
        Err(_) => assert!(there.is_none_or(|there| CONTENT.starts_with(&there))),
    }
    stored?;
    let renamed = client.rename(&path("/in/new"), &path("/in/named")).map_err(|error| error.kind);
    let (new, named) = (content("/in/new"), content("/in/named"));
    assert!(renamed.is_err() || new.is_none(), "{renamed:?}");
    assert_eq!(if new.is_some() { new } else { named }.as_deref(), Some(CONTENT));
    renamed?;
    let removed = client.remove_file(&path("/in/named")).map_err(|error| error.kind);
    assert!(removed.is_err() || content("/in/named").is_none());
    removed
}

fn upload(client: &Client, file: &str) -> Result<(), ErrorKind> {
    let store = || {
        let mut upload = client.write_to(&path(file), Start::Beginning)?;
        upload.write(CONTENT)?;
        upload.finish()
    };
    store().map_err(|error: remote::Error| error.kind)
}

/// One control connection that ends after `count` bytes of the server; `false` if it never came to that.
fn cut_control_after(dialogue: Dialogue, count: usize) -> bool {
    let server = Server::start((dialogue.behaviour)(), tree());
    server.cut_next_after(count);
    let begun = Instant::now();
    let settings = Settings { opens_ahead: dialogue.opens_ahead, timeout: NEVER, ..settings(server.port()) };
    let outcome = Client::connect(settings);
    let was_cut = match &outcome {
        Ok(client) => {
            let used = (dialogue.uses)(client, &server);
            let was_cut = server.connections() > 1 || used.is_err();
            assert!(matches!(used, Ok(()) | Err(ErrorKind::Lost)), "cut after {count} bytes: {used:?}");
            (dialogue.uses)(client, &server)
                .unwrap_or_else(|kind| panic!("the second use after {count} bytes: {kind:?}"));
            // Another one may be made ready as well.
            let connections_max = 2 + usize::from(dialogue.opens_ahead);
            assert!(
                server.connections() <= connections_max,
                "cut after {count} bytes: {} connections",
                server.connections()
            );
            was_cut
        }
        Err(error) => {
            let in_time = !matches!(error, Error::Deadline { .. });
            assert!(in_time && error.closes_connection(), "cut after {count} bytes: {error}");
            true
        }
    };
    assert!(begun.elapsed() < LIMIT, "cut after {count} bytes: {:?}", begun.elapsed());
    was_cut
}

/// Cuts `dialogue` after each of its bytes.
fn cut_everywhere(dialogue: Dialogue) {
    let (next, whole) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !whole.load(SeqCst) {
                    if !cut_control_after(dialogue, next.fetch_add(1, SeqCst)) {
                        whole.store(true, SeqCst);
                    }
                }
            });
        }
    });
    assert!(next.load(SeqCst) > dialogue.length_min, "the dialogue has {} bytes only", next.load(SeqCst));
}

#[test]
fn a_control_connection_cut_after_any_byte_is_an_error_in_time_and_the_next_one_works() {
    let behaviour = || Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1));
    cut_everywhere(Dialogue { behaviour, opens_ahead: false, uses: reads, length_min: 500 });
}

#[test]
fn an_upload_a_rename_and_a_deletion_cut_after_any_byte_are_done_or_not_and_nothing_in_between() {
    cut_everywhere(Dialogue { behaviour: Behaviour::default, opens_ahead: false, uses: writes, length_min: 400 });
}

#[test]
fn a_listing_on_the_control_connection_cut_after_any_byte_is_no_short_one() {
    let behaviour = || Behaviour { status: true, ..Behaviour::default().without_facts() };
    cut_everywhere(Dialogue { behaviour, opens_ahead: false, uses: reads, length_min: 500 });
}

#[test]
fn data_connections_opened_early_do_not_change_what_a_cut_does() {
    let behaviour = || Behaviour::default().with(Fault::say(Step::Greeting, "220 (vsFTPd 3.0.3)"));
    cut_everywhere(Dialogue { behaviour, opens_ahead: true, uses: reads, length_min: 500 });
}

#[test]
fn an_upload_cut_after_any_byte_leaves_its_beginning_and_the_next_one_is_whole() {
    for act in [Act::HangUp, Act::Reset] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client(&server);
        for count in 0..CONTENT.len() {
            server.fault(Fault::new(Step::Stored(count as u64), act.clone()).once());
            let kind = upload(&client, "/in/new").unwrap_err();
            assert_eq!(kind, ErrorKind::Lost, "{act:?} after {count} bytes");
            let stored = read(&client, "/in/new", None).unwrap();
            assert!(CONTENT.starts_with(&stored) && stored.len() <= count, "{act:?} after {count} bytes: {stored:?}");
            upload(&client, "/in/new").unwrap();
            assert_eq!(read(&client, "/in/new", None).unwrap(), CONTENT);
        }
    }
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
fn a_listing_cut_after_any_byte_is_asked_for_again() {
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let client = client(&server);
        let lines: usize = 2 * "type=file;size=61;modify=20240229123456; poem\r\n".len();
        for count in 0..lines {
            server.fault(Fault::new(Step::Byte(count as u64), Act::HangUp).once());
            assert_eq!(names(&client, "/d").len(), 2, "after {count} bytes");
        }
        server.fault(Fault::new(Step::Byte(5), Act::HangUp));
        let error = client.list(&path("/d")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    }
}
