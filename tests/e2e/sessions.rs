//! TLS sessions and connections, as the servers see them.

use crate::cases::{Case, on_every_server, on_servers};
use crate::support::mountpoint::Mount;
use crate::support::server::{Kind, Mode, Spec, Tls};
use crate::support::tree;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::thread;
use std::time::{Duration, Instant};

on_every_server! {
    two_hundred_transfers_in_a_row_resume,
    eight_readers_at_once_resume,
    one_connection_serves_two_readers,
    a_server_that_hung_up_is_not_noticed,
}

on_servers! {
    [a_session_past_its_lifetime_is_replaced, refused_commands_do_not_use_sessions_up]
    proftpd_tls12_expiry: Proftpd V12 Explicit,
    proftpd_tls13_expiry: Proftpd V13 Explicit,
}

fn two_hundred_transfers_in_a_row_resume(case: &Case) {
    let mount = case.mount(&[]);
    for number in 0..200 {
        assert_eq!(many(&mount, number), format!("{number}\n"));
    }
    assert_all_resumed(case, mount, 200);
}

fn eight_readers_at_once_resume(case: &Case) {
    let mount = case.mount(&["connections=8"]);
    thread::scope(|scope| {
        for reader in 0..8 {
            let mount = &mount;
            scope.spawn(move || {
                for number in (reader..160).step_by(8) {
                    assert_eq!(many(mount, number), format!("{number}\n"));
                }
            });
        }
    });
    assert_all_resumed(case, mount, 160);
}

/// Both are far longer than what is read ahead: neither can be served from memory while the other streams.
fn one_connection_serves_two_readers(case: &Case) {
    let mount = case.mount(&["connections=1"]);
    let length = 24 << 20;
    thread::scope(|scope| {
        for start in [0, 512 << 20] {
            let mount = &mount;
            scope.spawn(move || {
                let file = File::open(mount.path("big.bin")).unwrap();
                let mut block = vec![0; 1 << 20];
                for offset in (start..start + length).step_by(block.len()) {
                    file.read_exact_at(&mut block, offset).unwrap();
                    assert!(block == tree::big_content(offset, block.len()), "at {offset}");
                }
            });
        }
    });
    let summary = mount.end();
    // One more while another is replaced after a broken-off transfer, never two at once.
    assert_eq!(summary.refusals, 0);
    if case.resumes() {
        assert_eq!(summary.full, 0, "{summary:?}");
    }
}

/// While nothing happens, before a listing, and in the middle of a file.
fn a_server_that_hung_up_is_not_noticed(case: &Case) {
    let mount = case.mount(&[]);
    assert_eq!(many(&mount, 1), "1\n");
    case.server.hang_up();
    assert_eq!(many(&mount, 2), "2\n");
    case.server.hang_up();
    assert_eq!(fs::read_dir(mount.path("links/real")).unwrap().count(), 1);

    let file = File::open(mount.path("big.bin")).unwrap();
    let mut block = vec![0; 1 << 20];
    for index in 0..40 {
        if index == 8 {
            case.server.hang_up();
        }
        let offset = index * block.len() as u64;
        file.read_exact_at(&mut block, offset).unwrap();
        assert!(block == tree::big_content(offset, block.len()), "at {offset}");
    }
}

/// The server's sessions live for a few seconds; the control connection outlives its own.
fn a_session_past_its_lifetime_is_replaced(case: &Case) {
    let lifetime = Duration::from_secs(4);
    let spec = Spec { session_lifetime: Some(lifetime), ..case.server.spec.clone() };
    let case = Case::of(spec);
    let mount = case.mount(&["connections=2"]);
    let (started, mut number) = (Instant::now(), 0);
    while started.elapsed() < lifetime * 3 {
        assert_eq!(many(&mount, number), format!("{number}\n"));
        number += 1;
        // Paced by hand: what is tested is the passing of time.
        thread::sleep(Duration::from_millis(300));
    }
    thread::sleep(lifetime + Duration::from_secs(1));
    for number in 5000..5010 {
        assert_eq!(many(&mount, number), format!("{number}\n"));
    }
    let summary = mount.end();
    match case.server.spec.tls {
        Tls::V13 => assert_eq!(summary.full, 0, "{summary:?}"),
        // ProFTPD gives session IDs then, which tell no lifetime: the refusal is how one learns of it, once each time.
        Tls::V12 => assert!(summary.full <= 5 && summary.full == summary.refusals, "{summary:?}"),
    }
}

/// Each refused `RETR` could cost a ticket, of which the server gives two.
fn refused_commands_do_not_use_sessions_up(case: &Case) {
    let mount = case.mount(&["connections=1"]);
    for _ in 0..12 {
        fs::read(mount.path("locked/secret.txt")).unwrap_err();
    }
    assert_eq!(many(&mount, 7), "7\n");
    assert_all_resumed(case, mount, 1);
}

/// Two places, four readers, and a limit of our own that is above the server's.
#[test]
fn a_server_with_few_places_serves_many_readers() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let case = Case::of(Spec { clients_max: Some(2), ..Spec::new(kind, "/") });
        let mount = case.mount(&["connections=4"]);
        thread::scope(|scope| {
            for reader in 0..4 {
                let mount = &mount;
                scope.spawn(move || {
                    for number in (reader..80).step_by(4) {
                        assert_eq!(many(mount, number), format!("{number}\n"), "{kind:?}");
                    }
                });
            }
        });
        mount.end();
    }
}

fn many(mount: &Mount, number: u32) -> String {
    let mut content = String::new();
    File::open(mount.path(&format!("many/file-{number:05}.txt"))).unwrap().read_to_string(&mut content).unwrap();
    content
}

fn assert_all_resumed(case: &Case, mount: Mount, at_least: u64) {
    let summary = mount.end();
    assert_eq!(summary.refusals, 0, "{summary:?}");
    if case.resumes() {
        assert_eq!(summary.full, 0, "{summary:?}");
        assert!(summary.resumed >= at_least, "{summary:?}");
    } else {
        assert!(summary.full >= at_least, "{summary:?}");
    }
}

/// The server's own words, not only our count: a server that stopped demanding would pass the others.
#[test]
fn the_servers_do_refuse_what_does_not_resume() {
    for (kind, refusal) in [(Kind::Vsftpd, "522"), (Kind::Proftpd, "425")] {
        for tls in [Tls::V12, Tls::V13] {
            let case = Case::start(kind, tls, Mode::Explicit);
            let text = crate::support::run::shell(
                r#"curl --silent --show-error --ssl-reqd --no-sessionid --cacert "$1" --user "$2" -v "ftp://localhost:$3/" 2>&1 || :"#,
                &[
                    case.server.cafile.to_str().unwrap(),
                    &format!("{}:{}", crate::support::server::USER, case.server.password),
                    &case.server.port.to_string(),
                ],
            );
            assert!(text.stdout.contains(&format!("< {refusal}")), "{kind:?} {tls:?}: {text:?}");
        }
    }
}
