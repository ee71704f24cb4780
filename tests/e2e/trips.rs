//! How many round trips everyday work takes on a mount in use, by the clock, across a link that is slow enough for everything else
//! not to count.

use crate::cases::{Fresh, alone, tree_root};
use crate::support::link::{End, Link, Quality, SERVER_ADDRESS};
use crate::support::mountpoint::Mount;
use crate::support::server::{Kind, Server, Spec};
use crate::support::tree;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RTT: Duration = Duration::from_millis(40);
const TIMES: usize = 15;
/// Where nobody listens: the server's kernel says so a round trip later, which is `RTT` and what the machine takes to carry a packet.
const CLOSED_PORT: u16 = 1;

/// The median of what `work` takes, in round trips of `link`; the first time the mount only makes itself ready.
fn trips(mount: &Mount, link: &Link, work: impl Fn(&Mount, usize)) -> f64 {
    work(mount, 0);
    let taken = median(|number| work(mount, number));
    taken / link.at(End::Client, || median(|_| drop(TcpStream::connect((SERVER_ADDRESS, CLOSED_PORT)).unwrap_err())))
}

/// The median of what `work` takes (seconds).
fn median(work: impl Fn(usize)) -> f64 {
    let took = |number| {
        let start = Instant::now();
        work(number);
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (1..=TIMES).map(took).collect();
    times.sort_by(f64::total_cmp);
    times[TIMES / 2]
}

fn first_byte(mount: &Mount, number: usize) {
    let number = number * 733 % 10_000;
    let text = fs::read_to_string(mount.path(&format!("many/file-{number:05}.txt"))).unwrap();
    assert_eq!(text, format!("{number}\n"));
}

fn random_read(mount: &Mount, number: usize) {
    let (mut block, offset) = ([0; 4096], ((number * 7 % 16) as u64 * 60 + 5) << 20);
    File::open(mount.path("big.bin")).unwrap().read_exact_at(&mut block, offset).unwrap();
    assert!(block[..] == tree::big_content(offset, block.len())[..]);
}

fn small_write(mount: &Mount, number: usize) {
    fs::write(mount.path(&format!("new-{number}")), [b'x'; 4096]).unwrap();
}

#[test]
fn reading_takes_as_few_round_trips_as_the_server_lets_it() {
    let _alone = alone();
    // vsftpd and ProFTPD shake hands only after they have answered the command.
    for (kind, most) in [(Kind::Vsftpd, 3.5), (Kind::Proftpd, 3.5), (Kind::PureFtpd, 2.5), (Kind::Pyftpdlib, 2.5)] {
        let link = Arc::new(Link::new(Quality::delayed(RTT)));
        let server = Server::start(Spec::new(kind, tree_root()).behind(&link));
        let mount = Mount::new(&server, &[]);
        fs::read_dir(mount.path("many")).unwrap().for_each(|entry| drop(entry.unwrap().metadata()));
        let (first, random) = (trips(&mount, &link, first_byte), trips(&mount, &link, random_read));
        mount.end();
        println!("{kind:?}: first byte of a listed file {first:.1} round trips, 4 KiB somewhere {random:.1}");
        assert!(first <= most, "{kind:?}: {first}");
        assert!(random <= 3.5, "{kind:?}: {random}");
    }
}

/// As a writer sees it who waits for each file. vsftpd has the data after two round trips, and the name is another; the others are
/// asked one thing after the other while a transfer runs.
#[test]
fn storing_a_small_file_takes_as_few_round_trips_as_the_server_lets_it() {
    let _alone = alone();
    for (kind, most) in [(Kind::Vsftpd, 3.7), (Kind::Proftpd, 5.6), (Kind::PureFtpd, 4.7), (Kind::Pyftpdlib, 4.7)] {
        let link = Arc::new(Link::new(Quality::delayed(RTT)));
        let fresh = Fresh::new();
        let server = Server::start(Spec::new(kind, &fresh.path).behind(&link));
        let mount = Mount::new(&server, &["rw"]);
        (0..5).for_each(|number| small_write(&mount, 100 + number));
        let stored = trips(&mount, &link, small_write);
        mount.end();
        println!("{kind:?}: a small file is stored in {stored:.1} round trips");
        assert!(stored <= most, "{kind:?}: {stored}");
        (1..=TIMES)
            .for_each(|number| assert_eq!(fs::read(fresh.path.join(format!("new-{number}"))).unwrap(), [b'x'; 4096]));
    }
}
