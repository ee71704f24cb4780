//! Mounts that cannot be: one line that says what failed, the right exit status, in time, and nothing left behind.

use crate::cases::Case;
use crate::support::certs::Validity;
use crate::support::mountpoint::{command, is_mounted, program, write_credentials};
use crate::support::run::{Ran, finish, within};
use crate::support::server::{Kind, Mode, Server, Spec, Tls, run_directory};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What a refusal to mount must look like.
fn assert_refused(ran: &Ran, status: i32, words: &[&str], secret: &str) {
    assert_eq!(ran.status, status, "{ran:?}");
    assert_eq!(ran.stdout, "");
    let line = ran.stderr.trim_end_matches('\n');
    assert!(line.starts_with("ftpsfs: ") && !line.contains('\n'), "not one line: {ran:?}");
    for word in words {
        assert!(line.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {line}");
    }
    assert!(!line.contains(secret), "the password shows: {line}");
}

/// What a refusal for the server's certificate must look like: one line, and what the server showed.
fn assert_untrusted(ran: &Ran, words: &[&str], secret: &str) {
    let (line, rest) = ran.stderr.split_once('\n').unwrap();
    let told = Ran { stderr: line.to_owned(), stdout: ran.stdout.clone(), ..*ran };
    assert_refused(&told, 32, words, secret);
    let keys = ["The server showed:", "  0  subject  CN=ftpsfs test server", "     issuer   CN=ftpsfs test authority"];
    for shown in [&keys[..], &["     for      ", "     valid    ", "  pin=sha256/"]].concat() {
        assert!(rest.lines().any(|line| line.starts_with(shown)), "no {shown:?} in: {rest}");
    }
    assert!(!rest.contains(secret));
}

/// Runs the program in the background form; it must not get there.
fn attempt(server: &Server, url: &str, options: &[&str], password: &str) -> Ran {
    let (directory, point) = place();
    let made = command(server, &directory, options);
    // The last one counts, in the file that the options name.
    write_credentials(&directory, password);
    let mut limited = within(LIMIT, program());
    limited.args(made.get_args()).arg(url).arg(&point);
    let ran = finish(&mut limited);
    assert!(!is_mounted(&point));
    ran
}

fn place() -> (PathBuf, PathBuf) {
    let directory = run_directory();
    let point = directory.join("mnt");
    fs::create_dir(&point).unwrap();
    (directory, point)
}

#[test]
fn a_wrong_password_is_told_in_the_servers_words() {
    for (kind, words) in [
        (Kind::Vsftpd, "530 Login incorrect"),
        (Kind::Proftpd, "530 Login incorrect"),
        (Kind::PureFtpd, "530 Login authentication failed"),
        (Kind::Pyftpdlib, "530 Authentication failed"),
    ] {
        let case = Case::start(kind, Tls::V13, Mode::Explicit);
        let ran = attempt(&case.server, &case.server.url(""), &[], "wrong-horse");
        assert_refused(&ran, 33, &[words], "wrong-horse");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let other = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let cafile = format!("cafile={}", other.server.cafile.display());
    let ran = attempt(&case.server, &case.server.url(""), &[&cafile], &case.server.password);
    assert_untrusted(&ran, &["certificate", "authority"], &case.server.password);
    // And by default, where Mozilla's authorities count.
    let (directory, point) = place();
    let credentials = write_credentials(&directory, &case.server.password);
    let mut limited = within(LIMIT, program());
    limited.args(["-o", &format!("credentials={}", credentials.display())]).arg(case.server.url("")).arg(point);
    assert_untrusted(&finish(&mut limited), &["certificate"], &case.server.password);
}

#[test]
fn a_certificate_outside_its_time_is_refused() {
    for (validity, word) in [(Validity::Expired, "expired"), (Validity::NotYet, "not valid yet")] {
        let spec = Spec { validity, ..Spec::new(Kind::Proftpd, "/") };
        let case = Case::of(spec);
        let ran = attempt(&case.server, &case.server.url(""), &[], &case.server.password);
        assert_untrusted(&ran, &["certificate", word], &case.server.password);
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let spec = Spec { names: vec!["ftp.example.org"], ..Spec::new(Kind::Proftpd, "/") };
    let case = Case::of(spec);
    let ran = attempt(&case.server, &case.server.url(""), &[], &case.server.password);
    assert_untrusted(&ran, &["certificate", "localhost", "ftp.example.org"], &case.server.password);
}

#[test]
fn implicit_and_explicit_mixed_up_is_said() {
    for kind in [Kind::Vsftpd, Kind::Proftpd] {
        let explicit = Case::start(kind, Tls::V13, Mode::Explicit);
        let ran = attempt(&explicit.server, &explicit.server.url(""), &["tls=implicit"], &explicit.server.password);
        assert_refused(&ran, 32, &["tls=explicit"], &explicit.server.password);
        let implicit = Case::start(kind, Tls::V13, Mode::Implicit);
        let url = implicit.server.url("");
        let ran = attempt(&implicit.server, &url, &["tls=explicit", "timeout=5"], &implicit.server.password);
        assert_refused(&ran, 32, &["tls=implicit"], &implicit.server.password);
    }
}

#[test]
fn an_address_where_no_server_is_is_told_apart() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let password = &case.server.password;
    // Bound and not listening: connections are refused, and nobody else takes the port.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, words) in [
        (format!("ftps://ftpsfs-test@127.0.0.1:{closed}/"), ["refused", "127.0.0.1"]),
        ("ftps://ftpsfs-test@nonexistent.invalid/".to_owned(), ["nonexistent.invalid", "name"]),
    ] {
        assert_refused(&attempt(&case.server, &url, &["timeout=5"], password), 32, &words, password);
    }
}

#[test]
fn a_server_that_does_not_speak_ftp_is_told_apart() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    for greeting in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"* OK IMAP4 ready\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(greeting));
            }
        });
        let url = format!("ftps://ftpsfs-test@127.0.0.1:{port}/");
        let ran = attempt(&case.server, &url, &["timeout=5"], &case.server.password);
        assert_refused(&ran, 32, &["greeting"], &case.server.password);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftps://ftpsfs-test@127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let ran = attempt(&case.server, &url, &["timeout=3"], &case.server.password);
    assert_refused(&ran, 32, &["greeting"], &case.server.password);
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::start(kind, Tls::V13, Mode::Explicit);
        for path in ["missing", "hello.txt", "locked/closed"] {
            let ran = attempt(&case.server, &case.server.url(path), &[], &case.server.password);
            assert_refused(&ran, 32, &[path, "550"], &case.server.password);
        }
    }
}

#[test]
fn a_mount_point_must_be_a_directory() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let (directory, _) = place();
    for (point, word) in [("missing", "no such directory"), ("credentials", "not a directory")] {
        let made = command(&case.server, &directory, &[]);
        let mut limited = within(LIMIT, program());
        limited.args(made.get_args()).arg(case.server.url("")).arg(directory.join(point));
        assert_refused(&finish(&mut limited), 32, &[word, point], &case.server.password);
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let case = Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit);
    let (server, password) = (&case.server, &case.server.password);
    let url = server.url("");
    for (url, options, words) in [
        (url.as_str(), "frobnicate", ["frobnicate", "option"]),
        (url.as_str(), "connections=0", ["connections", "from 1"]),
        ("http://localhost/", "ro", ["URL", "ftps://"]),
        ("ftps:///dir", "ro", ["URL", "host"]),
    ] {
        assert_refused(&attempt(server, url, &[options], password), 1, &words, password);
    }
    let (directory, point) = place();
    let made = command(server, &directory, &[]);
    fs::set_permissions(directory.join("credentials"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut limited = within(LIMIT, program());
    let ran = finish(limited.args(made.get_args()).arg(&url).arg(&point));
    assert_refused(&ran, 1, &["credentials"], password);
}
