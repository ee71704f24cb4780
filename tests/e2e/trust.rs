//! Every way to believe a server, against real ones: right, wrong, expired, self-signed, changed; and certificates of ours.

use crate::cases::Case;
use crate::support::certs::{Ca, Identity, Validity, self_signed};
use crate::support::mountpoint::{is_mounted, program, unmount, write_credentials};
use crate::support::run::{Ran, finish, shell, within};
use crate::support::server::{Kind, Server, Spec, USER, run_directory};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const NOBODYS: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// A place to mount on, which knows the password and nothing of certificates.
struct Place {
    directory: PathBuf,
    point: PathBuf,
}

impl Place {
    fn new(server: &Server) -> Self {
        let directory = run_directory();
        let point = directory.join("mnt");
        fs::create_dir(&point).unwrap();
        write_credentials(&directory, &server.password);
        Self { directory, point }
    }

    fn try_to_mount(&self, server: &Server, options: &[&str]) -> Ran {
        self.with_environment(server, options, &[])
    }

    fn with_environment(&self, server: &Server, options: &[&str], environment: &[(&str, &str)]) -> Ran {
        let options = format!("ro,credentials={}/credentials,{}", self.directory.display(), options.join(","));
        let mut command = within(LIMIT, program());
        command.args(["-o", &options, &server.url("")]).arg(&self.point).env_clear();
        finish(command.envs(environment.iter().copied()))
    }

    /// Mounts, reads through a data connection and unmounts; what was said meanwhile.
    fn mounts(&self, server: &Server, options: &[&str]) -> String {
        self.reads(self.try_to_mount(server, options))
    }

    fn reads(&self, ran: Ran) -> String {
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(fs::read(self.point.join("hello.txt")).unwrap(), b"Hello over TLS\n");
        unmount(&self.point);
        ran.stderr
    }

    fn refuses(&self, server: &Server, options: &[&str], words: &[&str]) -> String {
        let ran = self.try_to_mount(server, options);
        assert_eq!(ran.status, 32, "{ran:?}");
        assert!(!is_mounted(&self.point));
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains(&server.password));
        ran.stderr
    }
}

/// A server with a certificate for `localhost` that nobody vouches for.
fn self_signed_server(kind: Kind, validity: Validity) -> Case {
    Case::of(Spec { identity: Some(self_signed(&["localhost"], validity)), ..Spec::new(kind, "/") })
}

fn pin_told(refusal: &str) -> String {
    let line = refusal.lines().find_map(|line| line.strip_prefix("  pin=")).expect("a refusal tells the pin");
    line.to_owned()
}

#[test]
fn a_self_signed_server_is_mounted_by_the_pin_that_its_refusal_told() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = self_signed_server(kind, Validity::Expired);
        let (server, place) = (&case.server, Place::new(&case.server));
        let told =
            place.refuses(server, &[], &["certificate", "itself (self-signed)", "(it has expired)", "localhost"]);
        let pin = pin_told(&told);
        place.mounts(server, &[&format!("pin={pin}")]);
        place.mounts(server, &[&format!("pin={NOBODYS};{pin}")]);
        place.refuses(server, &[&format!("pin={NOBODYS}")], &["is not the one of pin=", &pin]);
        place.refuses(server, &[&format!("pin={pin}"), "roots=webpki"], &["certificate"]);
    }
}

/// `openssl x509 -req -signkey`, as many a guide for vsftpd has it, makes certificates of version 1 that have no names.
#[test]
fn a_certificate_of_version_1_is_believed_by_its_pin() {
    let directory = run_directory();
    let script = r#"cd "$1"; openssl req -new -newkey rsa:2048 -nodes -subj /CN=old -keyout key -out request 2>openssl
        openssl x509 -req -days 9 -in request -signkey key -out certificate 2>>openssl
        openssl x509 -noout -text -in certificate | grep -q 'Version: 1 '"#;
    shell(script, &[&directory]).succeeded();
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let (cert_pem, key_pem) = (read("certificate"), read("key"));
    let identity = Some(Identity { chain_pem: cert_pem.clone(), cert_pem, key_pem });
    let case = Case::of(Spec { identity, ..Spec::new(Kind::Vsftpd, "/") });
    let place = Place::new(&case.server);
    let pin = pin_told(&place.refuses(&case.server, &[], &["CN=old", "RSA 2048 bits"]));
    place.mounts(&case.server, &[&format!("pin={pin}")]);
    place.refuses(&case.server, &[&format!("pin={NOBODYS}")], &["pin="]);
}

#[test]
fn curl_knows_the_same_pin() {
    let identity = Some(self_signed(&["localhost"], Validity::Valid));
    let case = Case::of(Spec { identity, reuse_required: false, ..Spec::new(Kind::Vsftpd, "/") });
    let place = Place::new(&case.server);
    let pin = pin_told(&place.refuses(&case.server, &[], &[]));
    let url = format!("ftp://localhost:{}/hello.txt", case.server.port);
    let netrc = place.directory.join("netrc");
    fs::write(&netrc, format!("machine localhost login {USER} password {}\n", case.server.password)).unwrap();
    for (pin, status) in [(pin.as_str(), 0), (NOBODYS, 90)] {
        let mut curl = within(LIMIT, "curl");
        let pin = pin.replacen('/', "//", 1);
        curl.args(["-s", "--ssl-reqd", "-k", "--pinnedpubkey", &pin, "--netrc-file"]);
        assert_eq!(finish(curl.arg(&netrc).arg(&url)).status, status, "{pin}");
    }
}

#[test]
fn the_key_seen_first_is_believed_until_it_changes() {
    let mut case = self_signed_server(Kind::Vsftpd, Validity::Expired);
    let place = Place::new(&case.server);
    let known = place.directory.join("known_servers");
    let options = ["tofu", &format!("known_servers={}", known.display())];
    assert!(place.mounts(&case.server, &options).contains("is seen for the first time"));
    assert!(!place.mounts(&case.server, &options).contains("key"));
    let first = fs::read_to_string(&known).unwrap();
    case.server.show(&self_signed(&["localhost"], Validity::Valid));
    place.refuses(&case.server, &options, &["has changed", known.to_str().unwrap(), "  pin=sha256/"]);
    assert_eq!(fs::read_to_string(&known).unwrap(), first);
}

/// The connection is gone with the old server; the new one shows another key to whoever connects again.
#[test]
fn a_server_that_changes_its_key_under_a_mount_is_not_believed_any_more() {
    let (first, second) = (self_signed(&["localhost"], Validity::Valid), self_signed(&["localhost"], Validity::Valid));
    let mut case = Case::of(Spec { identity: Some(first.clone()), ..Spec::new(Kind::Vsftpd, "/") });
    let place = Place::new(&case.server);
    let pin = pin_told(&place.refuses(&case.server, &[], &[]));
    let log = place.directory.join("log");
    let options = [&format!("pin={pin}"), "attr_timeout=0", "dir_timeout=0", &format!("log={}", log.display())];
    let ran = place.try_to_mount(&case.server, &options);
    assert_eq!(ran.status, 0, "{ran:?}");
    fs::read(place.point.join("hello.txt")).unwrap();
    case.server.show(&second);
    let error = fs::read_dir(&place.point).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(1), "{error}");
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("is not the one of pin="), "{logged}");
    case.server.show(&first);
    assert!(fs::read_dir(&place.point).unwrap().count() > 5);
    unmount(&place.point);
}

#[test]
fn what_weakens_is_said_at_every_mount() {
    let case = self_signed_server(Kind::Proftpd, Validity::Expired);
    let place = Place::new(&case.server);
    for _ in 0..2 {
        let said = place.mounts(&case.server, &["insecure-no-verify"]);
        assert!(said.contains("insecure-no-verify: anybody") && said.lines().count() == 1, "{said}");
    }
    let ran = place.try_to_mount(&case.server, &["insecure-no-verify", "tofu"]);
    assert!(ran.status == 1 && ran.stderr.contains("give either insecure-no-verify or tofu"), "{ran:?}");
}

#[test]
fn roots_come_from_a_file_a_directory_or_the_system() {
    let case = Case::of(Spec::new(Kind::Vsftpd, "/"));
    let (server, place) = (&case.server, Place::new(&case.server));
    let directory = place.directory.join("authorities");
    fs::create_dir_all(directory.join("more")).unwrap();
    fs::write(directory.join("README"), "not a certificate\n").unwrap();
    fs::write(directory.join("a.pem"), Ca::new("somebody else").pem()).unwrap();
    let capath = format!("capath={}", directory.display());
    place.refuses(server, &[&capath], &["does not lead to the CA file's CN=somebody else"]);
    fs::copy(&server.cafile, directory.join("b.crt")).unwrap();
    place.mounts(server, &[&capath]);
    place.refuses(server, &["roots=system"], &["does not lead to one of the system's roots"]);
    let ours = [("SSL_CERT_FILE", server.cafile.to_str().unwrap())];
    place.reads(place.with_environment(server, &["roots=system"], &ours));
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    let authority = Ca::new("authority of clients");
    let (joe, stranger) = (authority.issue_client("joe"), Ca::new("others").issue_client("joe"));
    for kind in [Kind::Vsftpd, Kind::Proftpd] {
        let case = Case::of(Spec { clients: Some(authority.pem()), ..Spec::new(kind, "/") });
        let (server, place) = (&case.server, Place::new(&case.server));
        let cafile = format!("cafile={}", server.cafile.display());
        let clear = place.keep("joe", &joe);
        place.mounts(server, &[&cafile, &clear[0], &clear[1]]);
        place.refuses(server, &[&cafile], &["certificate"]);
        let wrong = place.keep("stranger", &stranger);
        place.refuses(server, &[&cafile, &wrong[0], &wrong[1]], &["certificate"]);
        // With a passphrase, which the credentials file tells.
        let encrypted = place.directory.join("encrypted");
        let mut openssl = within(LIMIT, "openssl");
        openssl.args(["pkcs8", "-topk8", "-passout", "pass:open sesame", "-in"]).arg(place.directory.join("joe.key"));
        finish(openssl.arg("-out").arg(&encrypted)).succeeded();
        let key = format!("key={}", encrypted.display());
        let account = fs::read_to_string(place.directory.join("credentials")).unwrap();
        for (passphrase, status) in [("open sesame", 0), ("wrong", 1)] {
            let text = format!("{account}passphrase={passphrase}\n");
            fs::write(place.directory.join("credentials"), text).unwrap();
            let ran = place.try_to_mount(server, &[&cafile, &clear[0], &key]);
            assert_eq!(ran.status, status, "{ran:?}");
            match status {
                0 => drop(place.reads(ran)),
                _ => assert!(ran.stderr.contains("the passphrase does not open it"), "{ran:?}"),
            }
        }
    }
}

impl Place {
    fn keep(&self, name: &str, identity: &Identity) -> [String; 2] {
        let (certificate, key) =
            (self.directory.join(format!("{name}.pem")), self.directory.join(format!("{name}.key")));
        fs::write(&certificate, &identity.cert_pem).unwrap();
        fs::write(&key, &identity.key_pem).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        [format!("cert={}", certificate.display()), format!("key={}", key.display())]
    }
}
