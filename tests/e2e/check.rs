//! `ftpsfs check` against real servers, in every state that an administrator may leave them in.

use crate::cases::Case;
use crate::support::certs::{Ca, Validity, self_signed};
use crate::support::mountpoint::{program, unmount, write_credentials};
use crate::support::run::{Ran, finish, within};
use crate::support::server::{Forbidden, Kind, Mode, Server, Spec, Tls, USER, run_directory};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
const KINDS: [Kind; 4] = [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib];

struct Said {
    screen: String,
    json: Value,
}

impl Said {
    fn ids(&self) -> Vec<&str> {
        self.json["troubles"].as_array().unwrap().iter().map(|trouble| trouble["id"].as_str().unwrap()).collect()
    }

    /// The screen shows `text`, wherever its lines end.
    fn assert_shows(&self, text: &str) {
        let one_line = self.screen.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(text), "{text}\n{}", self.screen);
    }

    fn assert_status(&self, status: i64) {
        assert_eq!(self.json["status"], status, "{}", self.screen);
    }

    /// The worst trouble is `id`, in the server's `words`.
    fn assert_cannot_work(&self, id: &str, words: &str) {
        self.assert_status(2);
        let worst = &self.json["troubles"][0];
        assert_eq!(worst["id"], id, "{}", self.screen);
        assert!(worst["words"].as_str().unwrap_or_default().contains(words), "{worst}");
        assert!(!worst["cause"].as_str().unwrap().is_empty() && !worst["cure"].as_str().unwrap().is_empty());
        self.assert_shows("CANNOT WORK: ");
    }
}

fn check(server: &Server, options: &[&str], flags: &[&str]) -> Said {
    let cafile = format!("cafile={}", server.cafile.display());
    let own = if options.iter().any(|option| option.starts_with("cafile=")) { "" } else { &cafile };
    check_as(server, &server.password, &[&[own], options].concat(), flags)
}

fn check_as(server: &Server, password: &str, options: &[&str], flags: &[&str]) -> Said {
    let options: Vec<&str> = options.iter().copied().filter(|option| !option.is_empty()).collect();
    let options = format!("timeout=10,{}", options.join(","));
    let run = |form: &[&str]| {
        let mut command = within(LIMIT, program());
        command.args(["check", "-o", options.trim_end_matches(',')]).args(flags).args(form).arg(server.url(""));
        let ran = finish(command.env_clear().env("FTPSFS_PASSWORD", password));
        assert!(!format!("{ran:?}").contains(password), "{ran:?}");
        ran
    };
    let Ran { status, stdout: screen, .. } = run(&[]);
    server.wait_until_nobody_is_there();
    let json = run(&["--json", "--trace"]);
    assert_eq!(status, json.status, "{screen}\n{json:?}");
    let json: Value = serde_json::from_str(&json.stdout).unwrap_or_else(|error| panic!("{error}: {json:?}"));
    assert_eq!(json["status"], status, "{screen}");
    Said { screen, json }
}

/// What the servers do with TLS sessions, as the check finds it out.
#[test]
fn session_reuse_is_told_of_every_server_in_both_versions() {
    // Required, own session resumed, without one, another's resumed, another's accepted.
    for (kind, tls, words, own, others) in [
        (Kind::Vsftpd, Tls::V12, "522 SSL connection failed: session reuse required", true, Some((true, true))),
        (Kind::Vsftpd, Tls::V13, "522 SSL connection failed: session reuse required", true, Some((true, true))),
        (
            Kind::Proftpd,
            Tls::V12,
            "425 Unable to build data connection: Operation not permitted",
            true,
            Some((false, false)),
        ),
        (
            Kind::Proftpd,
            Tls::V13,
            "425 Unable to build data connection: Operation not permitted",
            true,
            Some((true, false)),
        ),
        (Kind::PureFtpd, Tls::V12, "", true, Some((true, true))),
        (Kind::PureFtpd, Tls::V13, "", false, None),
        (Kind::Pyftpdlib, Tls::V12, "", true, Some((true, true))),
        (Kind::Pyftpdlib, Tls::V13, "", true, Some((true, true))),
    ] {
        let case = Case::empty(kind, tls);
        case.put("a", b"abc");
        let said = check(&case.server, &[], &["--write"]);
        said.assert_status(0);
        let reuse = &said.json["facts"]["reuse"][0];
        assert_eq!(reuse["version"], if tls == Tls::V12 { "TLS 1.2" } else { "TLS 1.3" });
        let without = &reuse["without"];
        match words {
            "" => assert_eq!(without["end"], "accepted", "{}", said.screen),
            words => assert_eq!(without["end"]["refused"], words, "{}", said.screen),
        }
        assert_eq!(said.ids().contains(&"reuse-required"), !words.is_empty(), "{}", said.screen);
        assert_eq!(reuse["own"][1]["resumed"], own, "{}", said.screen);
        match others {
            None => assert!(reuse["others"].is_null(), "{}", said.screen),
            Some((resumed, accepted)) => {
                assert_eq!(reuse["others"]["resumed"], resumed, "{}", said.screen);
                assert_eq!(reuse["others"]["end"] == "accepted", accepted, "{}", said.screen);
            }
        }
        assert!(said.json["facts"]["reuse"][1]["handshake"].is_null(), "the other version is switched off");
        said.assert_shows("the server does not speak it");
        said.assert_shows("1 entries by");
        said.assert_shows("300000 bytes stored whole");
        assert_eq!(said.json["facts"]["upload"]["close_notify"], true, "{}", said.screen);
        assert_eq!(fs::read_dir(&case.disk).unwrap().count(), 1, "the scratch file is gone");
        let retries = matches!(kind, Kind::Vsftpd | Kind::PureFtpd) && tls == Tls::V13;
        assert_eq!(said.json["facts"]["tls"]["hello_retry_request"], retries, "{}", said.screen);
        if tls == Tls::V12 {
            assert_eq!(said.json["facts"]["tls"]["extended_master_secret"], true);
        }
    }
}

#[test]
fn reuse_that_is_not_required_and_implicit_tls_are_told() {
    for (kind, mode) in
        [(Kind::Vsftpd, Mode::Implicit), (Kind::Proftpd, Mode::Implicit), (Kind::Vsftpd, Mode::Explicit)]
    {
        let case = Case::of(Spec { mode, reuse_required: false, ..Spec::new(kind, "/") });
        let mode_option = if mode == Mode::Implicit { "tls=implicit" } else { "" };
        let said = check(&case.server, &[mode_option], &[]);
        said.assert_status(0);
        said.assert_shows("session reuse is honoured, not required; 2 tickets");
        said.assert_shows(if mode == Mode::Implicit { "implicit, TLS 1.3" } else { "explicit, TLS 1.3" });
        let wrong = if mode == Mode::Implicit { "timeout=2" } else { "tls=implicit" };
        let expected = if mode == Mode::Implicit { "wants-implicit-tls" } else { "wants-explicit-tls" };
        check(&case.server, &[wrong], &[]).assert_cannot_work(expected, "");
    }
}

#[test]
fn certificates_that_are_not_believed_are_named_with_the_cure() {
    let stranger = run_directory().join("stranger.pem");
    fs::write(&stranger, Ca::new("a stranger").pem()).unwrap();
    let stranger = format!("cafile={}", stranger.display());
    for kind in KINDS {
        let case = Case::of(Spec::new(kind, "/"));
        check(&case.server, &[&stranger], &[]).assert_cannot_work("certificate-unknown-issuer", "does not lead to");
    }
    let own = |kind, validity| Spec { validity, ..Spec::new(kind, "/") };
    for kind in KINDS {
        let case = Case::of(own(kind, Validity::Expired));
        check(&case.server, &[], &[]).assert_cannot_work("certificate-expired", "has expired");
        let case = Case::of(own(kind, Validity::NotYet));
        check(&case.server, &[], &[]).assert_cannot_work("certificate-not-yet-valid", "not valid yet");
    }
    let other = Spec { names: vec!["files.example"], ..Spec::new(Kind::Pyftpdlib, "/") };
    check(&Case::of(other).server, &[], &[]).assert_cannot_work("certificate-wrong-name", "files.example");
    // The cure works as it is told.
    for kind in KINDS {
        let identity = Some(self_signed(&["localhost"], Validity::Valid));
        let case = Case::of(Spec { identity, ..Spec::new(kind, "/") });
        let said = check(&case.server, &[], &[]);
        said.assert_cannot_work("certificate-self-signed", "");
        let pin = said.json["facts"]["certificates"][0]["pin"].as_str().unwrap();
        said.assert_shows(&format!("-o pin={pin}"));
        check_as(&case.server, &case.server.password, &[&format!("pin={pin}")], &[]).assert_status(0);
    }
}

/// A server that does not encrypt gets no name and no password, and one that is not there is told from one that is.
#[test]
fn servers_that_do_not_encrypt_or_are_not_there_are_told() {
    for (kind, words) in [
        (Kind::Vsftpd, "530 Please login with USER and PASS."),
        (Kind::Proftpd, "500 AUTH not understood"),
        (Kind::PureFtpd, "500 This security scheme is not implemented"),
        (Kind::Pyftpdlib, "500 Command \"AUTH\" not understood."),
    ] {
        let mut case = Case::of(Spec { forbidden: Some(Forbidden::Tls), ..Spec::new(kind, "/") });
        check(&case.server, &[], &[]).assert_cannot_work("no-tls", words);
        if kind != Kind::PureFtpd {
            assert_eq!(case.server.count(&["USER", "PASS"]), 0, "{}", case.server.log());
        }
        case.server.stop();
        check(&case.server, &[], &[]).assert_cannot_work("port-closed", "Connection refused");
    }
}

#[test]
fn logins_and_limits_are_quoted() {
    // At once, as servers make whoever is wrong wait.
    std::thread::scope(|scope| {
        for (kind, wrong, full) in [
            (Kind::Vsftpd, "530 Login incorrect.", "421 There are too many connections from your internet address."),
            (Kind::Proftpd, "530 Login incorrect.", "530 Sorry, the maximum number of clients (1) from your host"),
            (Kind::PureFtpd, "530 Login authentication failed", "421 Too many connections (1) from this IP"),
            // Each of its processes counts for itself.
            (Kind::Pyftpdlib, "530 Authentication failed.", ""),
        ] {
            scope.spawn(move || a_login_and_a_limit_are_quoted(kind, wrong, full));
        }
    });
}

fn a_login_and_a_limit_are_quoted(kind: Kind, wrong: &str, full: &str) {
    let case = Case::of(Spec { clients_max: Some(1), ..Spec::new(kind, "/") });
    let cafile = format!("cafile={}", case.server.cafile.display());
    check_as(&case.server, "not the password", &[&cafile], &[]).assert_cannot_work("login-refused", wrong);
    case.server.wait_until_nobody_is_there();
    let said = check(&case.server, &[], &["--limits"]);
    if full.is_empty() {
        return said.assert_shows("8 at once and no limit met");
    }
    said.assert_status(1);
    assert_eq!(said.ids()[0], "connection-limit", "{}", said.screen);
    said.assert_shows(full);
    said.assert_shows("1 at once, then: ");
}

#[test]
fn servers_behind_nat_and_with_an_old_library_are_told() {
    let spec = Spec { tls: Tls::V12, extended_master_secret: false, ..Spec::new(Kind::Vsftpd, "/") };
    let said = check(&Case::of(spec).server, &[], &[]);
    said.assert_status(0);
    assert!(said.ids().contains(&"no-extended-master-secret"), "{}", said.screen);
    said.assert_shows("NO extended master secret");
    for (kind, line) in [(Kind::Vsftpd, "pasv_address=10.9.8.7"), (Kind::Proftpd, "MasqueradeAddress 10.9.8.7")] {
        let case = Case::of(Spec { lines: vec![line], ..Spec::new(kind, "/") });
        let said = check(&case.server, &[], &[]);
        said.assert_status(0);
        assert!(said.ids().contains(&"pasv-wrong-address"), "{}", said.screen);
        said.assert_shows("227 names 10.9.8.7, the server is 127.0.0.1");
    }
}

/// The line of the report, as mount(8) gives it to its helper.
#[test]
fn the_line_to_paste_mounts() {
    let case = Case::of(Spec::new(Kind::Proftpd, "/"));
    let directory = run_directory();
    let (point, helper) = (directory.join("mnt"), directory.join("mount.ftpsfs"));
    fs::create_dir(&point).unwrap();
    std::os::unix::fs::symlink(program(), &helper).unwrap();
    write_credentials(&directory, &case.server.password);
    let credentials = format!("credentials={}/credentials", directory.display());
    let said = check(&case.server, &[&credentials], &[]);
    let fields: Vec<&str> = said.json["fstab"].as_str().unwrap().split_whitespace().collect();
    let [url, _, "ftpsfs", options, "0", "0"] = fields[..] else { panic!("{fields:?}") };
    finish(within(LIMIT, &helper).args([url, point.to_str().unwrap(), "-o", options]).env_clear()).succeeded();
    assert_eq!(fs::read(point.join("hello.txt")).unwrap(), b"Hello over TLS\n");
    unmount(&point);
}

#[test]
fn an_account_that_may_not_write_is_told_so() {
    let case = Case::of(Spec { lines: vec!["write_enable=NO"], ..Spec::new(Kind::Vsftpd, "/") });
    let said = check(&case.server, &[], &["--write"]);
    said.assert_status(1);
    assert_eq!(said.ids()[0], "upload-failed", "{}", said.screen);
    said.assert_shows("550 Permission denied.");
    let case = Case::empty_of(Spec { forbidden: Some(Forbidden::Renaming), ..Spec::new(Kind::Proftpd, "/") });
    let said = check(&case.server, &[], &["--write"]);
    assert_eq!(said.ids()[0], "rename-refused", "{}", said.screen);
    said.assert_shows("upload=direct");
}

/// On a terminal: colours, a line of progress that is gone at the end, and neither where they are not wanted.
#[test]
fn a_terminal_sees_colours_and_progress() {
    let case = Case::of(Spec::new(Kind::Vsftpd, "/"));
    let url = case.server.url("");
    let line = format!("{} check -o cafile={} {url}", program().display(), case.server.cafile.display());
    for (variables, coloured) in [
        (&[("TERM", "xterm")][..], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        // script(1) gives a terminal.
        let mut command = within(LIMIT, "script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("FTPSFS_PASSWORD", &case.server.password);
        command.env_remove("NO_COLOR").envs(variables.iter().copied());
        let ran = finish(&mut command);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(ran.stdout.contains("\x1b[1;32mGOOD\x1b[0m: a mount works"), coloured, "{ran:?}");
        assert!(ran.stdout.contains("\r\x1b[2Ktrying session reuse in TLS 1.3 …"), "{ran:?}");
        assert!(!ran.stdout.contains(&case.server.password) && ran.stdout.contains(USER), "{ran:?}");
    }
}
