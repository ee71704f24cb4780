//! Listings that real servers refuse, cut off or keep from us.

use crate::cases::{Case, give};
use crate::support::run::shell;
use crate::support::server::{Kind, Spec};
use ftpsfs::errno::Errno;
use std::fs;
use std::io;

crate::cases::on_every_empty_server! {
    a_directory_with_a_hidden_file_is_not_empty,
    a_directory_by_an_odd_name_is_listed,
}

fn a_directory_with_a_hidden_file_is_not_empty(case: &Case) {
    directory(case, "d");
    case.put("d/.hidden", b"1");
    let mount = case.mount_rw(&[]);
    let refused = fs::remove_dir(mount.path("d")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::ENOTEMPTY.raw()), "{}", mount.log());
    assert_eq!(shell(r#"ls -A "$1""#, &[mount.path("d")]).succeeded(), ".hidden\n");
}

fn a_directory_by_an_odd_name_is_listed(case: &Case) {
    directory(case, "-a");
    case.put("-a/wrong", b"1");
    odd_names_are_listed(case);
}

fn odd_names_are_listed(case: &Case) {
    let odd = ["-d", "[ab]", "a*b", "a?", "{a,b}", "~", " "];
    for name in odd {
        directory(case, name);
        case.put(&format!("{name}/in"), b"1");
    }
    // What a pattern would find.
    for name in ["a", "aXb", "ab"] {
        directory(case, name);
        case.put(&format!("{name}/wrong"), b"1");
    }
    let mount = case.mount(&[]);
    for name in odd {
        let listed = shell(r#"ls -A "$1""#, &[mount.path(name)]).succeeded();
        assert_eq!(listed, "in\n", "{name:?}: {}", mount.log());
    }
    let listed = fs::read_dir(&mount.point).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!listed.into_iter().any(|name| name == "wrong"));
}

/// ProFTPD without MLSD in `FEAT` is listed by LIST.
#[test]
fn proftpd_is_listed_without_mlsd() {
    let case = Case::empty_of(Spec { lines: vec!["FactsAdvertise off"], ..Spec::new(Kind::Proftpd, "/") });
    a_directory_with_a_hidden_file_is_not_empty(&case);
    // Where there is a directory `-a`, it lists that for `LIST -a`: known, and not to be helped.
    odd_names_are_listed(&case);
    assert_eq!(case.server.count(&["MLSD", "MLST"]), 0);
}

/// ProFTPD's MLSD leaves dangling links out; LIST shows them.
#[test]
fn a_dangling_link_is_shown_where_mlsd_leaves_it_out() {
    let case = Case::empty(Kind::Proftpd, crate::support::server::Tls::V13);
    case.put("file", b"1");
    std::os::unix::fs::symlink("nowhere", case.disk.join("dangling")).unwrap();
    directory(&case, "d");
    std::os::unix::fs::symlink("nowhere", case.disk.join("d/other")).unwrap();
    let mount = case.mount_rw(&[]);
    assert_eq!(shell(r#"ls -A "$1""#, &[&mount.point]).succeeded(), "d\ndangling\nfile\n", "{}", mount.log());
    assert_eq!(shell(r#"ls -A "$1/d""#, &[&mount.point]).succeeded(), "other\n", "{}", mount.log());
    assert_eq!(fs::read_link(mount.path("dangling")).unwrap().to_str(), Some("nowhere"));
    assert_eq!(fs::read_link(mount.path("d/other")).unwrap().to_str(), Some("nowhere"));
}

/// Pure-FTPd cuts listings and says so in the text of the 226 alone. Half of a directory must not look like all of it; the
/// names in it can be used.
#[test]
fn a_listing_that_pure_ftpd_cuts_is_an_error() {
    let case = Case::empty_of(Spec { listed_max: 20, ..Spec::new(Kind::PureFtpd, "/") });
    directory(&case, "many");
    for number in 0..40 {
        case.put(&format!("many/{number:02}"), b"content");
    }
    case.put("few", b"1");
    let mount = case.mount(&[]);
    assert_eq!(fs::read(mount.path("few")).unwrap(), b"1");
    let listed = fs::read_dir(mount.path("many")).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    assert_eq!(listed.unwrap_err().raw_os_error(), Some(Errno::EIO.raw()), "{}", mount.log());
    for number in 0..40 {
        assert_eq!(fs::read(mount.path(&format!("many/{number:02}"))).unwrap(), b"content");
    }
    assert_eq!(fs::metadata(mount.path("many/40")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(mount.log().contains("truncated"), "{}", mount.log());
}

fn directory(case: &Case, name: &str) {
    let path = case.disk.join(name);
    fs::create_dir(&path).unwrap();
    give(&path);
}
