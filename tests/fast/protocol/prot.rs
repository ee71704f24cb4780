//! `PBSZ` and `PROT` (RFC 4217 sections 8 and 9): data connections are private, or there is no login.

use super::ftpd::{Behaviour, Fault, Server, Step, Tree};
use super::{client, names, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;

#[test]
fn a_server_that_refuses_prot_p_never_hears_the_account() {
    for reply in ["534 Not here.", "500 Unknown command.", "504 Only C.", "536 Not supported.", "431 Later."] {
        let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("PROT"), reply)), Tree::new());
        let error = Client::connect(settings(server.port())).unwrap_err();
        assert!(matches!(error, Error::Insecure { .. }), "{reply}: {error}");
        assert!(error.to_string().contains(&reply[4..]), "{reply}: {error}");
        assert_eq!(server.count("USER"), 0, "{reply}");
    }
}

/// RFC 4217 leaves the order open, and some servers want the login first.
#[test]
fn a_server_that_wants_the_login_first_is_asked_again_afterwards() {
    let login_first = Behaviour::default()
        .with(Fault::say(Step::Command("PBSZ"), "503 Log in first.").once())
        .with(Fault::say(Step::Command("PROT"), "503 Log in first.").once());
    let server = Server::start(login_first, Tree::new().file("/a", ""));
    assert_eq!(names(&client(&server), "/"), ["a"]);
    assert_eq!((server.count("PBSZ"), server.count("PROT")), (2, 2));
}

#[test]
fn a_server_that_refuses_prot_p_after_the_login_as_well_is_refused() {
    let never = Behaviour::default().with(Fault::say(Step::Command("PROT"), "503 Not now."));
    let server = Server::start(never, Tree::new());
    let error = Client::connect(settings(server.port())).unwrap_err();
    assert!(matches!(error, Error::Insecure { .. }), "{error}");
    assert_eq!(server.count("LIST") + server.count("MLSD") + server.count("EPSV"), 0);
}
