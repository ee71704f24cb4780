//! From the first byte to a logged-in session.

use super::ftpd::certs::{Ca, Validity};
use super::ftpd::{Act, Behaviour, Fault, Memory, Server, Step, Tree, Versions, tls};
use super::{client, names, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::settings::{Settings, TlsMode, Trust};
use ftpsfs::path::RemotePath;
use ftpsfs::remote::Remote as _;
use ftpsfs::secret::Secret;
use std::time::SystemTime;

fn tree() -> Tree {
    Tree::new().file("/a", "abc")
}

/// Connects to a server of `behaviour`, which must fail; returns the error and the commands that came in clear.
fn refused(behaviour: Behaviour) -> (Error, Vec<String>) {
    let server = Server::start(behaviour, tree());
    let error = Client::connect(settings(server.port())).unwrap_err();
    (error, server.clear_lines())
}

#[test]
fn both_versions_of_tls_explicit_and_implicit_are_spoken() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        for (implicit, tls) in [(false, TlsMode::Explicit), (true, TlsMode::Implicit)] {
            let server = Server::start(Behaviour { versions, implicit, ..Behaviour::default() }, tree());
            let client = Client::connect(Settings { tls, ..settings(server.port()) }).unwrap();
            assert_eq!(names(&client, "/"), ["a"], "{versions:?} {tls:?}");
            assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
        }
    }
}

/// Bytes behind the 234 would be read as the answer of the encrypted server (CVE-2011-0411 and its kin).
#[test]
fn clear_bytes_between_the_234_and_the_handshake_are_refused() {
    let (error, clear) = refused(Behaviour::default().with(Fault::say(Step::Handshake, "230 Logged in.")));
    assert!(matches!(error, Error::Insecure { .. }), "{error}");
    assert!(error.to_string().contains("clear"), "{error}");
    assert_eq!(clear, ["AUTH TLS"]);
}

/// Its end behind the 234 was once taken for bytes in clear: an open file was refused for ever (EPERM) when a server restarted.
#[test]
fn a_server_that_ends_between_the_234_and_the_handshake_is_lost_and_not_a_cheat() {
    for act in [Act::HangUp, Act::Reset] {
        for _ in 0..10 {
            let (error, _) = refused(Behaviour::default().with(Fault::new(Step::Handshake, act.clone())));
            assert!(!matches!(error, Error::Insecure { .. }), "{act:?}: {error}");
            assert!(error.closes_connection(), "{act:?}: {error}");
        }
    }
}

#[test]
fn a_server_without_auth_tls_never_hears_the_account() {
    for reply in
        ["500 Unknown command.", "502 Not implemented.", "534 Not today.", "431 Later.", "334 Go on.", "200 OK"]
    {
        let (error, clear) = refused(Behaviour::default().with(Fault::say(Step::Command("AUTH"), reply)));
        assert!(matches!(error, Error::Insecure { .. }), "{reply}: {error}");
        assert!(error.to_string().contains(&reply[4..]), "{reply}: {error}");
        assert!(!clear.iter().any(|line| line.starts_with("USER") || line.starts_with("PASS")), "{clear:?}");
    }
}

#[test]
fn a_wrong_password_is_refused_in_the_servers_words() {
    let server = Server::start(Behaviour::default(), tree());
    let settings = Settings { password: Secret::new("wrong"), ..settings(server.port()) };
    let error = Client::connect(settings).unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    assert!(error.to_string().contains("530 Login incorrect."), "{error}");
    assert_eq!(server.count("PASS"), 1, "a wrong password is not tried again");
}

#[test]
fn a_certificate_of_another_authority_is_refused_before_the_account_is_told() {
    let server = Server::start(Behaviour::default(), tree());
    let other = Ca::new("somebody else");
    let error = Client::connect(Settings { trust: Trust::Pem(other.pem().into_bytes()), ..settings(server.port()) })
        .unwrap_err();
    let Error::Untrusted { chain, .. } = &error else { panic!("{error}") };
    let [own, authority] = &chain[..] else { panic!("{chain:?}") };
    assert_eq!(own.names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!((own.subject.as_str(), own.issuer.as_str()), ("CN=ftpsfs test server", "CN=ftpsfs tests"));
    assert_eq!((own.common_name.as_deref(), own.key.as_str()), (Some("ftpsfs test server"), "EC 256 bits"));
    assert_eq!((own.self_signed, own.is_authority), (false, false));
    assert_eq!((authority.self_signed, authority.is_authority), (true, true));
    assert!(own.out_of_time(SystemTime::now()).is_none() && own.pin != authority.pin);
    assert_eq!(server.count("USER"), 0);
}

/// A full handshake on a data connection is verified, and still may not lead to somebody else.
#[test]
fn a_data_connection_with_another_certificate_is_not_used() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let other = Some(tls::ca().issue(&["localhost"], Validity::Valid));
        let memory = Memory { uses_max: Some(0), ..Memory::default() };
        let behaviour = Behaviour { versions, memory, data_identity: other, ..Behaviour::default() };
        let server = Server::start(behaviour, tree());
        let error = client(&server).list(&RemotePath::root()).unwrap_err();
        assert!(error.to_string().contains("another certificate"), "{versions:?}: {error}");
    }
}

#[test]
fn a_certificate_expired_not_yet_valid_or_for_another_host_is_refused() {
    for (names, validity, word) in [
        (["localhost"], Validity::Expired, "expired"),
        (["localhost"], Validity::NotYet, "not"),
        (["ftp.example.com"], Validity::Valid, "ftp.example.com"),
    ] {
        let identity = Some(tls::ca().issue(&names, validity));
        let (error, _) = refused(Behaviour { identity, ..Behaviour::default() });
        assert!(matches!(error, Error::Untrusted { .. }), "{validity:?}: {error}");
        assert!(error.to_string().contains(word), "{validity:?}: {error}");
    }
}

#[test]
fn a_greeting_may_have_many_lines() {
    let greeting = "220-Hello\r\n 220 not yet\r\n220-\r\n220 Ready.";
    let server = Server::start(Behaviour::default().with(Fault::say(Step::Greeting, greeting)), tree());
    assert_eq!(names(&client(&server), "/"), ["a"]);
}

#[test]
fn a_421_in_place_of_the_greeting_is_busy() {
    let greeting = Act::SayAndHangUp("421 There are too many connected users, please try later.".to_owned());
    let (error, _) = refused(Behaviour::default().with(Fault::new(Step::Greeting, greeting)));
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert!(error.to_string().contains("too many connected users"), "{error}");
}

#[test]
fn a_server_of_something_else_is_named_as_such() {
    let (error, clear) = refused(Behaviour::default().with(Fault::say(Step::Greeting, "SSH-2.0-OpenSSH_9.2p1")));
    assert!(matches!(error, Error::Misbehaved { .. }), "{error}");
    assert!(error.to_string().contains("FTP server"), "{error}");
    assert!(clear.is_empty());
}

#[test]
fn implicit_and_explicit_mixed_up_say_so() {
    let implicit = Server::start(Behaviour { implicit: true, ..Behaviour::default() }, tree());
    let error = Client::connect(settings(implicit.port())).unwrap_err();
    assert!(error.to_string().contains("implicit"), "{error}");
    let explicit = Server::start(Behaviour::default(), tree());
    let error = Client::connect(Settings { tls: TlsMode::Implicit, ..settings(explicit.port()) }).unwrap_err();
    assert!(error.to_string().contains("explicit"), "{error}");
}

#[test]
fn a_line_without_end_and_a_line_of_a_megabyte_are_errors() {
    let megabyte = format!("220 {}", "x".repeat(1 << 20));
    for act in [Act::Endless, Act::Say(megabyte)] {
        for step in [Step::Greeting, Step::Command("AUTH"), Step::Command("FEAT"), Step::Command("PWD")] {
            let (error, _) = refused(Behaviour::default().with(Fault::new(step, act.clone())));
            assert!(matches!(error, Error::Misbehaved { .. }), "{step:?}: {error}");
        }
    }
}

#[test]
fn a_server_that_hangs_up_at_any_command_of_the_login_is_an_error() {
    let server = Server::start(Behaviour::default(), tree());
    drop(client(&server));
    let commands = server.lines().len();
    assert!(commands > 8, "{commands}");
    for count in 0..commands {
        let fault = Fault::new(Step::AnyCommand, Act::HangUp).after(count);
        let (error, _) = refused(Behaviour::default().with(fault));
        assert!(error.closes_connection(), "after {count} commands: {error}");
    }
}
