//! Servers that mean harm, and others who stand where the server should: what they get, and what they cannot make us do.

use super::ftpd::certs::{Validity, self_signed};
use super::ftpd::{Act, Behaviour, Content, Dialect, Fault, Server, Step, Tickets, Tree, Versions, tls};
use super::{client, names, path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::listing::Parser;
use ftpsfs::ftp::settings::{Settings, Trust};
use ftpsfs::ftp::time::Zone;
use ftpsfs::remote::{ErrorKind, Remote as _, Start};
use ftpsfs::vfs;
use ftpsfs::vfs::filesystem::{Access, Looked, Patience, Vfs};
use ftpsfs::vfs::inodes::Ino;
use rustls::{ServerConnection, StreamOwned};
use std::env;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// What is uploaded, in every part of it.
const MARK: &[u8] = b"the content that nobody else may see ";

fn tree() -> Tree {
    Tree::new().file("/a", "abc")
}

/// A renewed certificate is fine; another authority's is somebody else, whatever was believed a minute ago.
#[test]
fn a_server_that_is_another_after_a_reconnect_never_hears_the_account() {
    let known = env::temp_dir().join(format!("ftpsfs-hostile-{}", std::process::id()));
    for trust in [settings(1).trust, Trust::FirstUse(known.clone())] {
        let server = Server::start(Behaviour::default(), tree());
        let client = Client::connect(Settings { trust: trust.clone(), ..settings(server.port()) }).unwrap();
        assert_eq!(names(&client, "/"), ["a"]);
        server.show(&self_signed(&["localhost", "127.0.0.1"], Validity::Valid));
        server.hang_up();
        for _ in 0..3 {
            let error = client.list(&path("/")).unwrap_err();
            let words = if trust == Trust::FirstUse(known.clone()) { "has changed" } else { "certificate" };
            assert!(error.to_string().contains(words), "{trust:?}: {error}");
        }
        assert_eq!((server.count("USER"), server.count("PASS")), (1, 1), "{trust:?}");
        server.show(tls::identity());
        let deadline = Instant::now() + Duration::from_secs(20);
        while client.list(&path("/")).is_err() {
            assert!(Instant::now() < deadline, "{trust:?}: the right one is not believed again");
            thread::sleep(Duration::from_millis(50));
        }
    }
    let _ = std::fs::remove_file(known);
}

#[test]
fn a_server_without_encryption_after_a_reconnect_never_hears_the_account() {
    let clear = Fault::new(Step::Handshake, Act::Clear("230 Logged in.\r\n".to_owned()));
    for fault in [
        Fault::say(Step::Command("AUTH"), "502 Not implemented."),
        Fault::say(Step::Command("AUTH"), "234 Go on.\r\n230 Logged in."),
        Fault::say(Step::Command("PROT"), "536 Only C."),
        clear,
    ] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client(&server);
        server.hang_up();
        server.fault(fault.clone());
        client.list(&path("/")).unwrap_err();
        assert_eq!((server.count("USER"), server.count("PASS")), (1, 1), "{fault:?}");
        let clear: Vec<String> = server.clear_lines().into_iter().filter(|line| line != "AUTH TLS").collect();
        assert!(clear.is_empty(), "{fault:?}: {clear:?}");
    }
}

/// What a stranger heard, and who else is to be disappointed.
struct Stranger {
    port: u16,
    heard: JoinHandle<Vec<u8>>,
}

impl Stranger {
    /// Takes one connection, does what `speak` does, and hears all that comes then.
    fn listen(speak: impl FnOnce(&mut TcpStream) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut heard = speak(&mut stream);
            // An error is the end as well.
            let _ = stream.read_to_end(&mut heard);
            heard
        });
        Self { port, heard }
    }
}

/// Reads what is there and at least one byte.
fn some(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 16 * 1024];
    let count = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(count);
    bytes
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// After AUTH, something that is not the handshake of a TLS that we speak: 1.1 and 1.0 (a ServerHello with that version), a
/// reply in clear, an alert, nothing.
#[test]
fn a_server_that_does_not_encrypt_after_all_hears_nothing_more() {
    let hello = |minor: u8| {
        let body = [&[3, minor][..], &[7; 32], &[0], &[0xc0, 0x13], &[0], &[0, 0]].concat();
        let message = [&[2, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
        [&[22, 3, minor, 0, u8::try_from(message.len()).unwrap()][..], &message].concat()
    };
    for answer in [hello(2), hello(1), b"230 Logged in.\r\n".to_vec(), vec![21, 3, 1, 0, 2, 2, 40], Vec::new()] {
        let (told, said) = (answer.clone(), answer.clone());
        let stranger = Stranger::listen(move |stream| {
            stream.write_all(b"220 Ready.\r\n").unwrap();
            let mut heard = some(stream);
            stream.write_all(b"234 Go on.\r\n").unwrap();
            heard.extend(some(stream));
            let _ = stream.write_all(&answer);
            heard
        });
        let error = Client::connect(settings(stranger.port)).unwrap_err();
        assert!(!matches!(error, Error::LoginRefused { .. }), "{told:?}: {error}");
        let heard = stranger.heard.join().unwrap();
        assert!(heard.starts_with(b"AUTH TLS\r\n\x16\x03"), "{said:?}");
        for secret in [&b"USER"[..], b"PASS", b"tester", super::PASSWORD.as_bytes()] {
            assert!(!holds(&heard, secret), "{said:?}");
        }
    }
}

/// The data port of a server can be somebody else's: of another user of its machine, who was faster.
#[test]
fn a_thief_of_the_data_port_gets_no_byte_of_an_upload() {
    let content: Vec<u8> = MARK.iter().copied().cycle().take(1 << 20).collect();
    let silent = || Stranger::listen(|_| Vec::new());
    let talkative = || {
        Stranger::listen(|stream| {
            let _ = stream.write_all(b"150 Send it in clear.\r\n");
            Vec::new()
        })
    };
    // In the thief's own TLS: what is heard is what was in it.
    let fake = |identity: super::ftpd::certs::Identity, versions| {
        Stranger::listen(move |stream| {
            let config = tls::base(&Behaviour { versions, ..Behaviour::default() }, &identity);
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut heard = Vec::new();
            let _ = StreamOwned::new(connection, stream.try_clone().unwrap()).read_to_end(&mut heard);
            heard
        })
    };
    for dialect in [None, Some(Dialect::Vsftpd)] {
        for versions in [Versions::Tls12, Versions::Tls13] {
            let own = self_signed(&["localhost", "127.0.0.1"], Validity::Valid);
            // Of the same authority, for the same name: another machine of the same company.
            let neighbour = tls::ca().issue(&["localhost", "127.0.0.1"], Validity::Valid);
            for stranger in [silent(), talkative(), fake(own, versions), fake(neighbour, versions)] {
                let tickets = Tickets::counted(2, 1);
                let server =
                    Server::start(Behaviour { versions, reuse: dialect, tickets, ..Behaviour::default() }, tree());
                let client = client(&server);
                let reply = format!("229 Entering Extended Passive Mode (|||{}|)", stranger.port);
                server.fault(Fault::say(Step::Command("EPSV"), reply).once());
                let sent = client.write_to(&path("/stolen"), Start::Beginning).and_then(|mut upload| {
                    content.chunks(64 * 1024).try_for_each(|chunk| upload.write(chunk))?;
                    upload.finish()
                });
                let error = sent.map(drop).expect_err("a thief confirms nothing");
                let heard = stranger.heard.join().unwrap();
                assert!(!holds(&heard, &MARK[..8]), "{dialect:?} {versions:?}: {error}: {} bytes", heard.len());
                drop(client);
            }
        }
    }
}

/// The same for what comes down: a stranger's bytes are not the file's.
#[test]
fn a_thief_of_the_data_port_cannot_put_words_into_a_file() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let neighbour = tls::ca().issue(&["localhost", "127.0.0.1"], Validity::Valid);
        let stranger = Stranger::listen(move |stream| {
            let config = tls::base(&Behaviour { versions, ..Behaviour::default() }, &neighbour);
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream.try_clone().unwrap());
            let _ = tls.write_all(b"xyz").and_then(|()| tls.flush());
            tls.conn.send_close_notify();
            let _ = tls.flush();
            Vec::new()
        });
        let server = Server::start(Behaviour { versions, ..Behaviour::default() }, tree());
        let client = client(&server);
        let reply = format!("229 Entering Extended Passive Mode (|||{}|)", stranger.port);
        server.fault(Fault::say(Step::Command("EPSV"), reply).once());
        let broken = read(&client, "/a", Some(3)).unwrap_err();
        assert!(broken.bytes.is_empty(), "{versions:?}: {broken:?}");
        drop(client);
        stranger.heard.join().unwrap();
    }
}

/// Whatever the lines tell, and whether they end at all, the reader of a listing gives up in time. Each in a process of its own:
/// what one needed at most says nothing of the next one.
#[test]
fn a_listing_of_any_endless_text_is_given_up() {
    let name = "n".repeat(1000);
    let lines = [
        "type=file;size=1;modify=20240229120000; x\r\n",
        "type=cdir;modify=20240229120000; /\r\n",
        "type=OS.unix=socket;modify=20240229120000; s\r\n",
        "type=file;size=1; ../x\r\n",
        "what?\r\n",
        "\r\n",
        "no line break",
        &format!("type=file;unique={name}; {name}\r\n"),
    ];
    if let Ok(number) = env::var(LINE) {
        return feed(lines[number.parse::<usize>().unwrap()]);
    }
    for (number, line) in lines.iter().enumerate() {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "protocol::hostile::a_listing_of_any_endless_text_is_given_up", "--nocapture"]);
        let output = child.env(LINE, number.to_string()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {told}{}", String::from_utf8_lossy(&output.stderr));
        let peak = told.lines().find_map(|line| line.split_once("peak: ")).unwrap().1.parse::<u64>().unwrap();
        println!("{}…: {} MiB", line.chars().take(20).collect::<String>().trim(), peak / 1024);
        assert!(peak < LISTING_MAX_KIB, "{line}: {peak} KiB");
    }
}

/// Feeds `line` until it is given up.
fn feed(line: &str) {
    let text = line.repeat(64 * 1024 / line.len());
    let mut parser = Parser::facts();
    let pieces = (0..10_000).take_while(|_| parser.feed(text.as_bytes()).is_ok()).count();
    assert!(pieces * text.len() <= 512 << 20, "{line}");
    println!("\npeak: {}", peak_kib());
}

/// Which line a process of this test is to feed.
const LINE: &str = "FTPSFS_TEST_ENDLESS_LINE";

/// 512 MiB of entries (docs/reliability.md), and the program around them.
const LISTING_MAX_KIB: u64 = (512 + 64) << 10;

/// Lines for ever, over a data connection and in a reply.
#[test]
fn a_listing_without_end_ends_and_the_next_one_works() {
    // Such a server is listed by STAT, once that was seen to tell the same as LIST.
    let vsftpd = Behaviour { status: true, ..Behaviour::default().without_facts() };
    let vsftpd = vsftpd.with(Fault::say(Step::Greeting, "220 (vsFTPd 3.0.3)"));
    for (behaviour, endless) in [(Behaviour::default(), None), (vsftpd, Some(Act::EndlessLines))] {
        let server = Server::start(behaviour, Tree::new().directory("/d").file("/d/x", ""));
        let client = client(&server);
        names(&client, "/");
        let status = server.count("STAT");
        match &endless {
            Some(act) => server.fault(Fault::new(Step::Command("STAT"), act.clone()).once()),
            None => server.tree().insert(b"/d", Content::Crowd(u64::MAX >> 20)),
        }
        let error = client.list(&path("/d")).unwrap_err();
        assert!(error.to_string().contains("too many entries"), "{endless:?}: {error}");
        assert_eq!(server.count("STAT") > status, endless.is_some());
        server.tree().insert(b"/d", Content::Directory);
        assert_eq!(names(&client, "/d"), ["x"], "{endless:?}");
    }
}

/// A name is one step down, or it is none: whatever the server lists, nothing leads out of the mount or into a terminal.
#[test]
fn names_that_are_none_are_not_shown() {
    let long = "l".repeat(2000);
    let names_told: [&[u8]; 11] = [
        b"good",
        b"../up",
        b"a/b",
        b"/abs",
        b"..",
        b".",
        b"nul\0byte",
        b"cr\rhere",
        b"\x1b[2Jescape",
        b"tab\there",
        long.as_bytes(),
    ];
    let plain = || Parser::list(SystemTime::now(), Zone::Ahead(0));
    let parsers: [(Parser, &[u8]); 2] = [
        (Parser::facts(), b"type=file;size=1;modify=20240229120000; "),
        (plain(), b"-rw-r--r--    1 1001     1001            1 Feb 29  2024 "),
    ];
    for (mut parser, before) in parsers {
        for name in names_told {
            parser.feed(&[before, name, b"\r\n"].concat()).unwrap();
        }
        let listed = parser.finish().entries;
        let mut shown: Vec<&[u8]> = listed.iter().map(|entry| entry.name.as_bytes()).collect();
        shown.sort_unstable();
        assert_eq!(shown, [&b"\x1b[2Jescape"[..], b"good", b"tab\there"]);
        // What is shown to people is escaped.
        assert!(listed.iter().all(|entry| !entry.name.to_string().chars().any(char::is_control)), "{listed:?}");
        assert!(!format!("{listed:?}").contains('\x1b'));
    }
}

/// A file that has grown since it was looked at, without end: its reader gets what it was told of, or an error, in time, and
/// the connection is there for the next one.
#[test]
fn a_download_without_end_ends() {
    let server = Server::start(Behaviour::default(), tree());
    let vfs = Vfs::new(Arc::new(client(&server)), vfs::Settings::default());
    let (now, wait) = (Instant::now(), Patience::Network);
    let Looked::Up(entry) = vfs.lookup(Ino::ROOT, b"a", now, wait).unwrap() else { panic!("a is absent") };
    let fh = vfs.open(entry.ino, Access::Read, now, wait).unwrap().fh;
    server.tree().insert(b"/a", Content::Pattern(1 << 50));
    let read = vfs.read(fh, 0, 4096, now, wait).map(|bytes| bytes.with(<[u8]>::len));
    assert!(read.as_ref().is_err() || read == Ok(3), "{read:?}");
    vfs.release(fh, now, wait).unwrap();
    let later = now + Duration::from_secs(3600);
    let opened = vfs.opendir(Ino::ROOT, later, wait).unwrap();
    vfs.releasedir(opened.fh).unwrap();
    assert!(now.elapsed() < Duration::from_secs(10), "{:?}", now.elapsed());
}

#[test]
fn the_password_is_in_no_debug_text() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    for text in [format!("{:?}", settings(1)), format!("{client:?}"), format!("{client:#?}")] {
        assert!(!text.contains(super::PASSWORD), "{text}");
    }
}

#[test]
fn a_reply_without_end_is_an_error_and_the_next_request_works() {
    let lines = "250-".to_owned() + &"x\r\n".repeat(1 << 20) + "250 End";
    for fault in [
        Fault::new(Step::Command("MLST"), Act::Endless),
        Fault::say(Step::Command("MLST"), "250-".to_owned() + &"y".repeat(4 << 20)),
        Fault::say(Step::Command("MLST"), lines),
    ] {
        let server = Server::start(Behaviour::default(), tree());
        let client = client(&server);
        server.fault(fault.once());
        let error = client.stat(&path("/a")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Misbehaved, "{error}");
        assert!(error.to_string().len() < 1000);
        assert_eq!(client.stat(&path("/a")).unwrap().size, Some(3));
    }
}

/// The most memory that this process ever used.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
