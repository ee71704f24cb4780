//! `ftpsfs check` from outside: verdict, cause and cure, exit status and JSON, against servers that play every trouble.

use crate::protocol::ftpd::certs::{Ca, Validity, self_signed};
use crate::protocol::ftpd::{
    Act, Behaviour, Dialect, Fault, Memory, PASSWORD, Server, Step, Tickets, TooMany, Tree, Versions, tls,
};
use ftpsfs::check::trouble::ALL;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a check said.
#[derive(Debug)]
struct Said {
    status: i32,
    screen: String,
    json: Value,
    trace: String,
}

impl Said {
    fn ids(&self) -> Vec<&str> {
        self.troubles().iter().map(|trouble| trouble["id"].as_str().unwrap()).collect()
    }

    fn troubles(&self) -> &[Value] {
        self.json["troubles"].as_array().unwrap()
    }

    fn trouble(&self, id: &str) -> &Value {
        let found = self.troubles().iter().find(|trouble| trouble["id"] == id);
        found.unwrap_or_else(|| panic!("no {id}: {:?}\n{}", self.ids(), self.screen))
    }

    /// The verdict is bad, the worst trouble is `id`, and it quotes `words`, in both forms of the report.
    fn assert_cannot_work(&self, id: &str, words: &str) {
        assert_eq!((self.status, &self.json["verdict"]), (2, &"bad".into()), "{}", self.screen);
        assert_eq!(self.ids().first(), Some(&id), "{}", self.screen);
        self.assert_told(id, words);
        assert!(self.screen.contains("\nCANNOT WORK: "), "{}", self.screen);
        assert!(self.json["fstab"].is_null() && !self.screen.contains("/etc/fstab  "), "{}", self.screen);
    }

    fn assert_told(&self, id: &str, words: &str) {
        let trouble = self.trouble(id);
        assert!(trouble["words"].as_str().unwrap_or_default().contains(words), "{trouble}");
        for part in ["title", "cause", "cure"] {
            let text = trouble[part].as_str().unwrap();
            assert!(!text.is_empty());
            if text != "Nothing to do." {
                self.assert_shows(text);
            }
        }
        self.assert_shows(words);
    }

    /// The screen shows `text`, wherever its lines end.
    fn assert_shows(&self, text: &str) {
        let one_line = self.screen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(text), "{text}\n{}", self.screen);
    }

    fn assert_works(&self, status: i32) {
        assert_eq!((self.status, self.json["status"].as_i64()), (status, Some(status.into())), "{}", self.screen);
        assert!(self.json["fstab"].is_string() && self.json["command"].is_string(), "{}", self.screen);
    }
}

/// Runs both forms; `-o timeout=1`, and the tests' authority unless `options` name another.
fn check(url: &str, options: &str, flags: &[&str]) -> Said {
    let options = match options.contains("cafile=") {
        true => format!("timeout=1,{options}"),
        false => format!("timeout=1,cafile={},{options}", cafile().display()),
    };
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftpsfs"));
        command.arg("check").args(["-o", options.trim_end_matches(',')]).args(flags).args(more).arg(url);
        command.env_clear().env("FTPSFS_PASSWORD", PASSWORD).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (status, screen, silence) = run(&[]);
    assert_eq!(silence, "", "nothing but the report");
    let (json_status, json, trace) = run(&["--json", "--trace"]);
    assert_eq!(status, json_status, "{screen}\n{json}");
    for text in [&screen, &json, &trace] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    assert!(!screen.contains('\x1b') && !json.contains('\x1b'), "{screen}");
    let too_wide = |line: &&str| {
        line.chars().count() > 80
            && line.trim().contains(' ')
            && !line.starts_with("  by hand")
            && !line.starts_with("  first")
            && !line.starts_with("  /etc/fstab")
    };
    assert_eq!(screen.lines().skip(1).find(too_wide), None);
    Said { status, screen, json: serde_json::from_str(&json).unwrap(), trace }
}

fn cafile() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("ftpsfs-check-{}.pem", std::process::id()));
        fs::write(&path, tls::ca().pem()).unwrap();
        path
    })
}

fn url(server: &Server) -> String {
    format!("ftps://tester@localhost:{}/", server.port())
}

fn tree() -> Tree {
    Tree::new().file("/a", "abc").file("/b", "")
}

fn check_server(behaviour: Behaviour, options: &str, flags: &[&str]) -> Said {
    let server = Server::start(behaviour, tree());
    check(&url(&server), options, flags)
}

/// A port of loopback that does not even refuse: its queue is full, and what comes is dropped, as a firewall would.
struct Blackhole {
    port: u16,
    _sockets: Vec<Socket>,
}

impl Blackhole {
    fn open() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        // Until one is not answered.
        while sockets.len() < 10 {
            let client = socket();
            let answered = client.connect_timeout(&address, Duration::from_millis(200)).is_ok();
            sockets.push(client);
            if !answered {
                return Self { port: address.as_socket().unwrap().port(), _sockets: sockets };
            }
        }
        panic!("the queue is never full");
    }
}

/// Accepts connections, says something in clear and waits.
struct Speaker {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Speaker {
    fn start(words: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let kept = Mutex::new(Vec::new());
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.unwrap();
                let _ = stream.write_all(words.as_bytes());
                kept.lock().unwrap().push(stream);
            }
        });
        Self { port, stop, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("ftps://tester@localhost:{}/", self.port)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn a_good_server_is_good_and_gives_lines_to_paste() {
    let server = Server::start(Behaviour::default(), tree());
    let said = check(&url(&server), "ro", &[]);
    said.assert_works(0);
    said.assert_shows("GOOD: a mount works");
    let fstab = said.json["fstab"].as_str().unwrap();
    let port = server.port();
    let name = format!("tester@localhost_{port}");
    let begins = format!("ftps://tester@localhost:{port}/  /mnt/{name}  ftpsfs  credentials=/etc/ftpsfs/{name},");
    assert!(fstab.starts_with(&begins) && fstab.contains(",ro,allow_other,"), "{fstab}");
    assert!(fstab.ends_with(",_netdev,nofail,x-systemd.automount,mount_timeout=45  0  0"), "{fstab}");
    // What is to be done first stands first.
    let places = ["  first ", "  by hand ", "  /etc/fstab ", "  note "].map(|place| said.screen.rfind(place).unwrap());
    assert!(places.is_sorted(), "{}", said.screen);
    assert!(said.screen.contains(fstab) && said.screen.contains(said.json["command"].as_str().unwrap()));
    let facts = &said.json["facts"];
    assert_eq!(facts["tls"]["version"], "TLS 1.3");
    assert_eq!((&facts["tls"]["tickets"], &facts["verified"]), (&2.into(), &true.into()));
    assert_eq!((&facts["listing"]["entries"], &facts["listing"]["command"]), (&2.into(), &"MLSD".into()));
    assert_eq!(facts["reuse"][0]["version"], "TLS 1.3");
    assert_eq!(facts["reuse"][1]["version"], "TLS 1.2");
    for reuse in facts["reuse"].as_array().unwrap() {
        assert_eq!(reuse["own"][1]["resumed"], true, "{reuse}");
        assert_eq!((&reuse["without"]["offered"], &reuse["without"]["end"]), (&false.into(), &"accepted".into()));
        assert_eq!(
            (&reuse["others"]["offered"], &reuse["others"]["resumed"]),
            (&true.into(), &false.into()),
            "{reuse}"
        );
        assert_eq!(reuse["handshake"]["extended_master_secret"], reuse["version"] == "TLS 1.2", "{reuse}");
    }
    assert!(facts["features"].as_array().unwrap().contains(&"UTF8".into()));
    assert!(facts["round_trip_ms"].is_number() && facts["addresses"][0]["address"].is_string());
    assert!(said.trace.contains("> PASS …") && said.trace.contains("handshake Resumed"), "{}", said.trace);
    assert_eq!(server.tree().children(b"/").count(), 2, "nothing was written");
    assert_eq!(server.count("STOR"), 0);
}

#[test]
fn what_is_no_ftps_server_is_told_from_what_is_one_in_another_mode() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    check(&format!("ftps://tester@127.0.0.1:{closed}/"), "", &[])
        .assert_cannot_work("port-closed", "Connection refused");
    check("ftps://tester@no-such-host.invalid/", "", &[]).assert_cannot_work("unknown-host", "looking up the name");
    for (words, options, id, quoted) in [
        ("", "", "silent-port", "waiting for the greeting"),
        ("", "tls=implicit", "silent-port", "TLS handshake"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "", "not-ftp", "SSH-2.0-OpenSSH_9.2"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "tls=implicit", "not-ftp", "SSH-2.0-OpenSSH_9.2"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "", "not-ftp", "HTTP/1.1 400 Bad Request"),
        ("* OK \x1b[31mIMAP\r\n", "", "not-ftp", "\\u{1b}[31mIMAP"),
        ("220 mail.example ESMTP Postfix\r\n502 5.5.1 No\r\n", "", "not-ftp", "502 5.5.1 No"),
        ("220 FTP\r\n502 No AUTH\r\n", "", "no-tls", "502 No AUTH"),
        ("421 Too many connections (2) from this IP\r\n", "", "too-many-connections", "421 Too many connections (2)"),
        // The alert protocol_version.
        ("\x15\x03\x01\x00\x02\x02\x46", "tls=implicit", "tls-too-old", "no version of TLS"),
        ("220 Hello\r\n", "tls=implicit", "wants-explicit-tls", "220 Hello"),
    ] {
        check(&Speaker::start(words).url(), options, &[]).assert_cannot_work(id, quoted);
    }
    let implicit = Behaviour { implicit: true, ..Behaviour::default() };
    check_server(implicit.clone(), "", &[]).assert_cannot_work("wants-implicit-tls", "greeting");
    check_server(implicit, "tls=implicit", &[]).assert_works(0);
}

#[test]
fn a_refused_certificate_is_shown_and_nothing_is_said_to_its_server() {
    let ca = tls::ca();
    for (identity, id, words) in [
        (Ca::new("somebody").issue(&["localhost"], Validity::Valid), "certificate-unknown-issuer", "does not lead to"),
        (ca.issue(&["localhost"], Validity::Expired), "certificate-expired", "has expired"),
        (ca.issue(&["localhost"], Validity::NotYet), "certificate-not-yet-valid", "not valid yet"),
        (ca.issue(&["files.example"], Validity::Valid), "certificate-wrong-name", "files.example"),
        (self_signed(&["localhost"], Validity::Valid), "certificate-self-signed", ""),
    ] {
        let server = Server::start(Behaviour { identity: Some(identity), ..Behaviour::default() }, tree());
        let said = check(&url(&server), "", &[]);
        said.assert_cannot_work(id, words);
        let own = &said.json["facts"]["certificates"][0];
        assert!(own["pin"].as_str().unwrap().starts_with("sha256/"), "{own}");
        assert_eq!(
            (&said.json["facts"]["verified"], &said.json["facts"]["tls"]["version"]),
            (&false.into(), &"TLS 1.3".into())
        );
        said.assert_shows("NOT TRUSTED");
        assert_eq!(server.count("USER"), 0);
        if id == "certificate-self-signed" {
            let cure = said.trouble(id)["cure"].as_str().unwrap();
            assert!(cure.contains(&format!("-o pin={}", own["pin"].as_str().unwrap())), "{cure}");
        }
    }
}

/// The story that this began with: the exact words, and what TLS really did.
#[test]
fn a_demand_for_session_reuse_is_explained_in_the_servers_own_words() {
    const WORDS_450: &str =
        "450 TLS session of data connection has not resumed or the session does not match the control connection";
    for (dialect, words) in [
        (Dialect::Vsftpd, "522 SSL connection failed: session reuse required"),
        (Dialect::ProFtpd, "425 Unable to build data connection: Operation not permitted"),
        (Dialect::FileZilla, "425 Unable to build data connection: TLS session of data connection not resumed."),
        (Dialect::FileZilla09, WORDS_450),
    ] {
        let demanding = Behaviour { reuse: Some(dialect), ..Behaviour::default() };
        // It works: the words are those that other programs meet.
        let said = check_server(demanding.clone(), "", &[]);
        said.assert_works(0);
        said.assert_told("reuse-required", words);
        said.assert_shows("session reuse is REQUIRED, and works; 2 tickets");
        assert_eq!(said.json["facts"]["reuse"][0]["without"]["end"]["refused"], words);
        assert_eq!(said.json["facts"]["reuse"][1]["own"][0]["resumed"], true);
        // Its TLS does not take back what it gave.
        let memory = Memory { uses_max: Some(0), ..Memory::default() };
        let said = check_server(Behaviour { memory, ..demanding.clone() }, "", &[]);
        said.assert_cannot_work("reuse-not-taken", words);
        said.assert_shows("offered, not resumed, refused");
        // It gives nothing.
        let tickets = Tickets::counted(0, 0);
        let said = check_server(Behaviour { tickets, versions: Versions::Tls13, ..demanding }, "", &[]);
        said.assert_cannot_work("reuse-without-session", words);
        said.assert_shows("REQUIRED, and does NOT work; no tickets");
    }
    // TLS resumed, and the server says that it did not.
    let blind =
        Behaviour::default().with(Fault::new(Step::Byte(0), Act::End)).with(Fault::say(Step::FinalReply, WORDS_450));
    let said = check_server(blind, "", &[]);
    said.assert_cannot_work("reuse-not-recognised", WORDS_450);
    said.assert_shows("own session resumed, refused: 450 TLS session of data");
}

#[test]
fn tickets_are_counted_in_every_rhythm() {
    let rhythm = |tickets, versions| Behaviour { versions, tickets, ..Behaviour::default() };
    let said = check_server(rhythm(Tickets::with_passive(), Versions::Tls13), "", &[]);
    said.assert_works(0);
    said.assert_shows("tickets, none before EPSV");
    said.assert_shows("TLS 1.2 the server does not speak it");
    let said = check_server(rhythm(Tickets::counted(0, 0), Versions::Tls13), "", &[]);
    said.assert_works(0);
    assert_eq!(said.ids(), ["no-resumption"]);
    let once = Memory { single_use: true, ..Memory::default() };
    let behaviour =
        Behaviour { memory: once, versions: Versions::Tls13, tickets: Tickets::counted(1, 0), ..Behaviour::default() };
    let said = check_server(behaviour, "", &[]);
    said.assert_works(1);
    assert_eq!(said.ids(), ["reuse-once"]);
}

#[test]
fn a_refused_login_and_a_full_server_are_quoted() {
    let refused = Fault::say(Step::Command("PASS"), "530 Login incorrect.");
    check_server(Behaviour::default().with(refused), "", &[])
        .assert_cannot_work("login-refused", "530 Login incorrect.");
    for (how, words) in
        [(TooMany::AtConnect, "421 There are too many connections"), (TooMany::AfterPass, "530 Sorry, the maximum")]
    {
        let behaviour = Behaviour { connections_max: Some((0, how)), ..Behaviour::default() };
        check_server(behaviour, "", &[]).assert_cannot_work("too-many-connections", words);
        // One is enough for all of the check.
        let behaviour = Behaviour { connections_max: Some((1, how)), ..Behaviour::default() };
        check_server(behaviour.clone(), "", &[]).assert_works(0);
        let said = check_server(behaviour, "", &["--limits"]);
        said.assert_works(1);
        said.assert_told("connection-limit", words);
        assert!(said.trouble("connection-limit")["cure"].as_str().unwrap().ends_with("-o connections=1"));
        assert_eq!(said.json["facts"]["connections"]["opened"], 1);
    }
}

#[test]
fn ports_that_are_blocked_and_addresses_that_are_wrong_are_told() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [high, low] = closed.to_be_bytes();
    let closed_pasv = format!("227 Entering Passive Mode (127,0,0,1,{high},{low})");
    let both = Behaviour::default()
        .with(Fault::say(Step::Command("EPSV"), format!("229 Entering Extended Passive Mode (|||{closed}|)")))
        .with(Fault::say(Step::Command("PASV"), closed_pasv.as_str()));
    let said = check_server(both, "", &[]);
    said.assert_cannot_work("data-port-blocked", &format!("port {closed}: Connection refused"));
    assert_eq!(said.json["facts"]["reuse"].as_array().map(Vec::len), Some(0), "nothing waits for the same again");
    said.assert_shows(&format!("EPSV leads to port {closed}, which is closed (Connection refused)"));
    let hole = Blackhole::open();
    let (epsv, [high, low]) = (format!("229 Passive (|||{}|)", hole.port), hole.port.to_be_bytes());
    let in_pasv = format!("227 Passive (127,0,0,1,{high},{low})");
    let both = Behaviour::default().with(Fault::say(Step::Command("EPSV"), epsv));
    let began = Instant::now();
    let said = check_server(both.with(Fault::say(Step::Command("PASV"), in_pasv)), "", &[]);
    said.assert_cannot_work("data-port-blocked", &format!("port {}: the server did not answer in time", hole.port));
    assert!(began.elapsed() < Duration::from_secs(15), "three seconds a report, and whatever else this machine does");
    let said =
        check_server(Behaviour::default().with(Fault::say(Step::Command("PASV"), closed_pasv.as_str())), "", &[]);
    said.assert_works(1);
    said.assert_told("epsv-and-pasv-differ", &format!("PASV: port {closed}"));
    let said = check_server(Behaviour { passive_host: Ipv4Addr::new(10, 1, 2, 3), ..Behaviour::default() }, "", &[]);
    said.assert_works(0);
    said.assert_told("pasv-wrong-address", "227 names 10.1.2.3, the server is 127.0.0.1");
    let no_epsv = Fault::say(Step::Command("EPSV"), "500 EPSV not understood");
    let said = check_server(Behaviour::default().with(no_epsv), "", &[]);
    said.assert_works(0);
    said.assert_shows("EPSV refused (500 EPSV not understood); PASV works");
}

#[test]
fn the_directory_and_its_listing_are_judged() {
    let server = Server::start(Behaviour::default(), tree());
    let said = check(&format!("{}none", url(&server)), "", &[]);
    said.assert_cannot_work("no-such-directory", "550 No such file or directory");
    said.assert_shows("the directory /none cannot be entered");
    assert!(said.screen.contains("session reuse is"), "what can be tried is tried: {}", said.screen);
    let said = check_server(Behaviour::default().without_facts(), "", &[]);
    said.assert_works(0);
    said.assert_told("no-mlsd", "");
    said.assert_told("clock-unknown", "");
    said.assert_shows("2 entries by LIST -a, read in the form Unix");
    let told = check_server(Behaviour::default().without_facts(), "server_tz=+05:30", &[]);
    told.assert_shows("read in the form Unix, times in UTC+05:30");
    assert_eq!(told.ids(), ["no-mlsd"]);
    let cut = Fault::say(Step::FinalReply, "226 Output truncated to 2 matches");
    check_server(Behaviour::default().with(cut), "", &[]).assert_cannot_work("listing-cut", "226 Output truncated");
}

#[test]
fn a_scratch_file_is_written_only_on_request_and_does_not_stay() {
    let server = Server::start(Behaviour::default(), tree());
    let said = check(&url(&server), "", &["--write"]);
    // Its files are all of the same day.
    said.assert_works(1);
    assert_eq!(said.ids(), ["clock-differs"]);
    said.assert_shows("300000 bytes stored whole");
    said.assert_shows("after its close_notify, renamed, added to, deleted");
    assert_eq!(server.tree().children(b"/").count(), 2);
    assert_eq!(server.count("STOR"), 2, "once a report");
    for (step, reply, id) in [
        (Step::Command("STOR"), "553 Could not create file.", "upload-failed"),
        (Step::Command("RNTO"), "550 Permission denied", "rename-refused"),
        (Step::Command("DELE"), "550 Permission denied", "delete-refused"),
        (Step::Command("SIZE"), "213 114688", "upload-cut"),
    ] {
        let said = check_server(Behaviour::default().with(Fault::say(step, reply)), "", &["--write"]);
        said.assert_works(1);
        said.assert_told(id, reply.strip_prefix("213 ").unwrap_or(reply));
    }
}

/// Who searches for what a server said finds the cause; what the program says and what stands there is one text.
#[test]
fn every_trouble_and_the_words_of_servers_stand_in_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");
    let document = fs::read_to_string(path).unwrap();
    let sections: Vec<(&str, String)> = document
        .split("\n### ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(head, text)| (head, text.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    for trouble in ALL {
        let section = sections.iter().find(|(head, _)| *head == trouble.id);
        let (_, text) = section.unwrap_or_else(|| panic!("no section {}", trouble.id));
        for part in [&format!("Cause: {}", trouble.cause), &format!("Cure: {}", trouble.cure), &trouble.title[1..]] {
            assert!(text.contains(part), "{}: {part}\n{text}", trouble.id);
        }
    }
    for words in [
        "522 SSL connection failed: session reuse required",
        "425 Unable to build data connection: Operation not permitted",
        "425 Unable to build data connection: TLS session of data connection not resumed.",
        "450 TLS session of data connection has not resumed or the session does not match the control connection",
        "421 There are too many connections from your internet address.",
        "421 There are too many connected users, please try later.",
        "421 Too many connections (2) from this IP",
        "421 Too many connections from the same IP address.",
        "421 Too many active connections, try again later",
        "530 Sorry, the maximum number of clients (2) from your host are already connected.",
        "530 Login incorrect.",
        "530 Login authentication failed",
        "530 Authentication failed",
        "530 Non-anonymous sessions must use encryption.",
        "421-Sorry, cleartext sessions",
        "503 Use AUTH first.",
        "421 Timeout - try typing a little faster next time",
        "421 Control connection timed out.",
        "421 Activity timeout.",
        "421 Data timeout. Reconnect. Sorry.",
        "426 Failure reading network stream.",
        "426 Failure writing network stream.",
        "425 Error while transfering data: ECONNABORTED",
        "226-Rename/move failure",
        "Output truncated",
        "500 Input line too long.",
        "421 Line too long",
        "500 Command too long.",
        "500 Invalid UTF8 in command",
        "500 OOPS",
    ] {
        assert!(document.contains(words), "{words}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_status_2() {
    for (arguments, expected) in [
        (&["check"][..], "URL"),
        (&["check", "--frog", "ftps://h/"], "--frog"),
        (&["check", "ftp://h/"], "ftp:// is not encrypted"),
        (&["check", "-o", "alow_other", "ftps://joe@h/"], "allow_other"),
        (&["check", "ftps://h/"], "no user is given"),
        (&["check", "ftps://joe:hunter2@h/", "more"], "more"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ftpsfs"))
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {line}");
        assert!(
            line.contains(expected) && line.lines().count() == 1 && !line.contains("hunter2"),
            "{arguments:?}: {line}"
        );
    }
    let help = Command::new(env!("CARGO_BIN_EXE_ftpsfs")).args(["check", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in ["--write", "--limits", "--json", "--trace", "2 cannot work"] {
        assert!(help.contains(word), "{help}");
    }
}
