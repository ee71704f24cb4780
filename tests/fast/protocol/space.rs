//! `AVBL`: how much room the server has.

use super::client;
use super::ftpd::{Behaviour, Fault, Server, Step, Tree};
use ftpsfs::remote::{ErrorKind, Remote as _};

#[test]
fn free_space_is_asked_for_where_feat_lists_avbl() {
    for (reply, told) in [
        ("213 123456789012", Ok(123_456_789_012)),
        ("213 0", Ok(0)),
        ("213 plenty", Err(ErrorKind::Misbehaved)),
        ("213 -1", Err(ErrorKind::Misbehaved)),
        ("200 99", Err(ErrorKind::Misbehaved)),
        ("550 Permission denied.", Err(ErrorKind::PermissionDenied)),
        ("502 Command not implemented.", Err(ErrorKind::Unsupported)),
    ] {
        let mut behaviour = Behaviour::default().with(Fault::say(Step::Command("AVBL"), reply));
        behaviour.features.push("AVBL");
        let server = Server::start(behaviour, Tree::new());
        let client = client(&server);
        assert_eq!(client.free_space().map_err(|error| error.kind), told, "{reply}");
        assert!(server.lines().iter().any(|(_, line)| line == "AVBL /"), "{:?}", server.lines());
        client.list(&super::path("/")).unwrap();
    }
}

#[test]
fn a_server_that_does_not_offer_avbl_is_not_asked() {
    let server = Server::start(Behaviour::default(), Tree::new());
    assert_eq!(client(&server).free_space().unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(server.count("AVBL"), 0);
}
