//! `EPSV` and `PASV`: where the data connection goes.

use super::ftpd::{Behaviour, Fault, Server, Step, Tree};
use super::{client, client_of, names, path, read};
use ftpsfs::remote::Remote as _;
use std::net::Ipv4Addr;

fn tree() -> Tree {
    Tree::new().file("/a", "abc")
}

#[test]
fn epsv_refused_is_remembered_and_pasv_used() {
    for reply in ["500 Unknown command.", "502 Not implemented.", "522 Network protocol not supported, use (1)"] {
        let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("EPSV"), reply)), tree());
        let client = client_of(&server, 2);
        for _ in 0..3 {
            assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc", "{reply}");
        }
        assert_eq!((server.count("EPSV"), server.count("PASV")), (1, 3), "{reply}");
    }
}

/// RFC 2577 section 3: a host in a 227 is not to be followed; wrong NAT configurations tell private ones.
#[test]
fn another_host_in_a_227_is_not_followed() {
    let behaviour = Behaviour { passive_host: Ipv4Addr::new(192, 0, 2, 1), ..Behaviour::default() };
    let server = Server::start(behaviour.with(Fault::say(Step::Command("EPSV"), "500 No.")), tree());
    assert_eq!(read(&client(&server), "/a", Some(3)).unwrap(), b"abc");
}

/// The same host, but whose service is that? A 227 is read as strictly as a 229.
#[test]
fn a_privileged_port_in_a_227_is_not_followed() {
    let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("EPSV"), "500 No.")), tree());
    let client = client(&server);
    for port in ["0,0", "0,22", "3,255"] {
        server
            .fault(Fault::say(Step::Command("PASV"), format!("227 Entering Passive Mode (127,0,0,1,{port}).")).once());
        client.list(&path("/")).expect_err(port);
        assert_eq!(names(&client, "/"), ["a"], "{port}");
    }
}

#[test]
fn an_odd_passive_reply_is_an_error_and_the_next_request_works() {
    for odd in
        ["229 Entering", "229 (|||0|)", "229 (|||22|)", "229 (|||1023|)", "229 (|||99999|)", "200 What?", "227 (1,2)"]
    {
        let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("EPSV"), odd).once()), tree());
        let client = client(&server);
        client.list(&path("/")).expect_err(odd);
        assert_eq!(names(&client, "/"), ["a"], "{odd}");
        assert_eq!(server.count("PASV"), 0, "{odd}");
    }
}
