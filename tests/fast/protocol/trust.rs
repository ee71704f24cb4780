//! Whom the client believes, on each connection, and who it says that it is.

use super::ftpd::certs::{Ca, Identity as Shown, Validity, self_signed};
use super::ftpd::{Behaviour, Memory, Server, Tree, Versions as Spoken, tls};
use super::{names, read, settings};
use ftpsfs::ftp::certificate::Pin;
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::error::Error;
use ftpsfs::ftp::settings::{Identity, Settings, Trust, Versions};
use ftpsfs::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const OTHER: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn pin_of(identity: &Shown) -> Pin {
    Pin::of_certificate(&CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).unwrap()).unwrap()
}

fn other() -> Pin {
    OTHER.parse().unwrap()
}

/// A server that shows `identity`, and nothing of whose sessions can be resumed: each data connection is verified anew.
fn server(identity: &Shown, versions: Spoken) -> Server {
    let memory = Memory { uses_max: Some(0), ..Memory::default() };
    let identity = Some(identity.clone());
    Server::start(Behaviour { identity, versions, memory, ..Behaviour::default() }, Tree::new().file("/a", "abc"))
}

fn client(server: &Server, trust: Trust) -> Result<Client, Error> {
    Client::connect(Settings { trust, ..settings(server.port()) })
}

/// Refused, and no word of the account was said.
fn assert_untrusted(server: &Server, trust: Trust, words: &[&str]) {
    let before = server.count("USER");
    let error = client(server, trust).unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
    assert_eq!(server.count("USER"), before);
}

#[test]
fn a_pin_believes_its_key_whatever_the_certificate_says() {
    let identity = self_signed(&["elsewhere.example"], Validity::Expired);
    for versions in [Spoken::Tls12, Spoken::Tls13] {
        let server = server(&identity, versions);
        let pinned = |pins| Trust::Pinned { pins, roots: None };
        assert_untrusted(&server, pinned(vec![other()]), &["is not the one of pin=", OTHER]);
        assert_untrusted(&server, settings(1).trust, &["the server's certificate"]);
        let client = client(&server, pinned(vec![other(), pin_of(&identity)])).unwrap();
        assert_eq!(names(&client, "/"), ["a"], "{versions:?}");
        assert_eq!(read(&client, "/a", Some(3)).unwrap(), b"abc");
    }
}

#[test]
fn a_pin_beside_roots_wants_both() {
    let server = server(tls::identity(), Spoken::Both);
    let pins = vec![pin_of(tls::identity())];
    let roots = |trust| Some(Box::new(trust));
    let stranger = Trust::Pem(Ca::new("a stranger").pem().into_bytes());
    assert_untrusted(&server, Trust::Pinned { pins: pins.clone(), roots: roots(stranger) }, &["a stranger"]);
    let ours = || roots(settings(1).trust);
    assert_untrusted(&server, Trust::Pinned { pins: vec![other()], roots: ours() }, &["pin="]);
    assert_eq!(names(&client(&server, Trust::Pinned { pins, roots: ours() }).unwrap(), "/"), ["a"]);
}

#[test]
fn the_first_key_is_kept_and_another_one_refused() {
    let scratch = Scratch::new("tofu");
    let file = scratch.0.join("deep/known");
    let identity = self_signed(&["localhost"], Validity::Expired);
    let server = server(&identity, Spoken::Both);
    let trust = || Trust::FirstUse(file.clone());
    for _ in 0..2 {
        assert_eq!(names(&client(&server, trust()).unwrap(), "/"), ["a"]);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with(&format!("localhost:{} {} 20", server.port(), pin_of(&identity))), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    let changed = format!("# mine\nelsewhere:21 {OTHER}\nlocalhost:{} {OTHER}\n", server.port());
    fs::write(&file, &changed).unwrap();
    assert_untrusted(&server, trust(), &["has changed", OTHER, &pin_of(&identity).to_string(), file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    // Another server's line stays, and a file that others may write is not believed.
    fs::write(&file, format!("elsewhere:21 {OTHER}")).unwrap();
    client(&server, trust()).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(client(&server, trust()).unwrap_err().to_string().contains("make it 0600"));
}

#[test]
fn every_server_is_believed_where_that_is_asked_for() {
    let server = server(&self_signed(&["elsewhere.example"], Validity::NotYet), Spoken::Both);
    assert_eq!(names(&client(&server, Trust::Anything).unwrap(), "/"), ["a"]);
}

#[test]
fn an_older_version_than_is_wanted_is_refused() {
    let server = server(tls::identity(), Spoken::Tls12);
    let error = Client::connect(Settings { versions: Versions::Tls13, ..settings(server.port()) }).unwrap_err();
    assert!(error.to_string().contains("no version of TLS that is wanted"), "{error}");
    assert_eq!(server.count("USER"), 0);
}

#[test]
fn a_client_shows_its_certificate_on_every_connection() {
    let authority = Ca::new("clients");
    for versions in [Spoken::Tls12, Spoken::Tls13] {
        let memory = Memory { uses_max: Some(0), ..Memory::default() };
        let behaviour = Behaviour { versions, memory, clients: Some(authority.pem()), ..Behaviour::default() };
        let server = Server::start(behaviour, Tree::new().file("/a", "abc"));
        let with = |identity: Option<Shown>| {
            let identity = identity
                .map(|shown| Identity { certificates: shown.cert_pem.into_bytes(), key: Secret::new(shown.key_pem) });
            Client::connect(Settings { identity, ..settings(server.port()) })
        };
        assert_eq!(names(&with(Some(authority.issue_client("joe"))).unwrap(), "/"), ["a"], "{versions:?}");
        for identity in [None, Some(Ca::new("others").issue_client("joe"))] {
            let error = with(identity).unwrap_err().to_string();
            assert!(error.contains("certificate"), "{versions:?}: {error}");
        }
        let (one, two) = (authority.issue_client("one"), authority.issue_client("two"));
        let error = with(Some(Shown { key_pem: two.key_pem, ..one })).unwrap_err().to_string();
        assert!(error.contains("do not go together"), "{error}");
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ftpsfs-trust-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
