//! The times of listings: in the server's own zone, which is found out.

use super::ftpd::{Behaviour, Content, Fault, Server, Step, Tree};
use super::{client, path, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::ftp::time::{Zone, to_time_val};
use ftpsfs::remote::Remote as _;
use ftpsfs::vfs::filesystem::{Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{self, Vfs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KOLKATA: i64 = 19_800;

fn whole_seconds() -> SystemTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Files of the last days in `/` and `/d`, and what time each has.
fn files(now: SystemTime) -> (Tree, BTreeMap<String, SystemTime>) {
    let mut tree = Tree::new().directory("/d");
    let mut times = BTreeMap::new();
    for (number, age) in [3_601, 7_000, 90_000, 3 * 86_400, 20 * 86_400].into_iter().enumerate() {
        let (name, time) = (format!("/d/{number}"), now - Duration::from_secs(age));
        tree.insert(&name, Content::Bytes(Arc::from(*b"x")));
        tree.get_mut(name.as_bytes()).unwrap().modified = to_time_val(time).unwrap();
        times.insert(number.to_string(), time);
    }
    (tree, times)
}

fn local(ahead: i64) -> Behaviour {
    Behaviour { ahead, ..Behaviour::default().without_facts() }
}

fn told(server: &Server, zone: &str) -> Client {
    Client::connect(Settings { server_tz: Zone::parse(zone), ..settings(server.port()) }).unwrap()
}

/// How far the times of a listing are from the true ones, all alike; to the minute.
fn off(client: &Client, times: &BTreeMap<String, SystemTime>) -> i64 {
    let entries = client.list(&path("/d")).unwrap();
    let offs = entries.iter().map(|entry| {
        let (modified, time) = (entry.metadata.modified.unwrap(), times[&entry.name.to_string()]);
        assert_eq!(modified.precision, Duration::from_secs(60));
        let minutes =
            |time: SystemTime| i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_secs() / 60).unwrap();
        (minutes(modified.time) - minutes(time)) * 60
    });
    let offs: Vec<i64> = offs.collect();
    assert!(offs.len() == times.len() && offs.iter().all(|off| *off == offs[0]), "{offs:?}");
    offs[0]
}

#[test]
fn the_zone_of_a_server_is_found_out_by_two_questions() {
    for ahead in [0, KOLKATA, -5 * 3600, 14 * 3600] {
        let (tree, times) = files(whole_seconds());
        let server = Server::start(local(ahead), tree);
        let client = client(&server);
        for _ in 0..3 {
            assert_eq!(off(&client, &times), 0, "{ahead}");
        }
        // One listing more, where the first was read by a wrong clock.
        assert_eq!((server.count("MDTM"), server.count("LIST")), (2, 3 + usize::from(ahead != 0)), "{ahead}");
    }
}

/// The zone is that of the option where there is one; the question is whether MDTM is in it as well.
#[test]
fn the_option_tells_the_zone() {
    let (tree, times) = files(whole_seconds());
    let server = Server::start(local(KOLKATA), tree);
    assert_eq!(off(&told(&server, "Asia/Kolkata"), &times), 0);
    assert_eq!(server.count("LIST"), 1);
    assert_eq!(off(&told(&server, "+04:30"), &times), 3600);
}

/// vsftpd with `use_localtime`: MDTM is in local time, whether it asks or sets.
#[test]
fn a_server_without_any_universal_time_is_right_with_the_option() {
    let (tree, times) = files(whole_seconds());
    let server = Server::start(Behaviour { mdtm_is_local: true, ..local(KOLKATA) }, tree);
    let client = told(&server, "+05:30");
    assert_eq!(off(&client, &times), 0);
    let stated = client.stat(&path("/d/0")).unwrap().modified.unwrap();
    assert_eq!((stated.time, stated.precision), (times["0"], Duration::from_secs(1)));
    let time = UNIX_EPOCH + Duration::from_secs(1_795_444_800);
    client.set_modified(&path("/d/0"), time).unwrap();
    assert!(server.lines().iter().any(|(_, line)| line == "MDTM 20261123201000 /d/0"), "{:?}", server.lines());
}

#[test]
fn a_server_without_mdtm_is_read_in_universal_time_and_soon_left_alone() {
    let (tree, times) = files(whole_seconds());
    let server = Server::start(local(0).with(Fault::say(Step::Command("MDTM"), "502 No.")), tree);
    let client = client(&server);
    for _ in 0..20 {
        assert_eq!(off(&client, &times), 0);
    }
    assert_eq!((server.count("MDTM"), server.count("LIST")), (12, 20));
}

#[test]
fn a_server_with_mlsd_is_not_asked() {
    let (tree, _) = files(whole_seconds());
    let server = Server::start(Behaviour { ahead: KOLKATA, ..Behaviour::default() }, tree);
    let client = client(&server);
    client.list(&path("/")).unwrap();
    client.list(&path("/d")).unwrap();
    assert_eq!(server.count("MDTM"), 0);
}

/// LIST tells minutes. Who asks for one file gets the seconds; who lists a directory does not cause a question for each.
#[test]
fn one_file_is_told_to_the_second_and_a_listing_asks_for_none() {
    let (tree, times) = files(whole_seconds());
    let server = Server::start(Behaviour { status: true, ..local(KOLKATA) }, tree.crowd("/crowd", 3000));
    let vfs = Vfs::new(Arc::new(client(&server)), vfs::Settings::default());
    let (now, wait) = (Instant::now(), Patience::Network);
    let up = |parent, name: &str| match vfs.lookup(parent, name.as_bytes(), now, wait).unwrap() {
        Looked::Up(entry) => entry,
        Looked::Absent(_) => panic!("{name} is absent"),
    };
    let directory = up(Ino::ROOT, "d").ino;
    assert_eq!(up(directory, "1").attr.modified, times["1"]);
    let crowd = up(Ino::ROOT, "crowd").ino;
    let asked = server.count("MDTM");
    let opened = vfs.opendir(crowd, now, wait).unwrap();
    vfs.releasedir(opened.fh).unwrap();
    for number in 0..100 {
        up(crowd, &format!("entry-{number:07}"));
    }
    assert_eq!(server.count("MDTM"), asked);
}
