//! A long file across links that a single download does not fill, and across one that it does.

use crate::cases::Case;
use crate::support::link::{Link, Quality};
use crate::support::server::{Kind, Spec};
use crate::support::tree;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LEN: usize = 48 << 20;

/// What reading the file took.
struct Took {
    seconds: f64,
    downloads: usize,
    /// What the wire carried to the client (bytes).
    fetched: usize,
}

fn read_across(kind: Kind, quality: Quality) -> Took {
    let link = Arc::new(Link::new(quality));
    let case = Case::empty_of(Spec::new(kind, "/").behind(&link));
    let content = tree::big_content(0, LEN);
    case.put("long", &content);
    let mount = case.mount(&[]);
    let downloads = || case.server.commands().get("RETR").copied().unwrap_or_default();
    let (before, start) = ((downloads(), link.bytes_to_client()), Instant::now());
    assert!(fs::read(mount.path("long")).unwrap() == content, "{kind:?}");
    let seconds = start.elapsed().as_secs_f64();
    mount.end();
    let (downloads, fetched) = (downloads() - before.0, link.bytes_to_client() - before.1);
    println!("{kind:?}: {seconds:.1} s, {downloads} downloads, {fetched} bytes fetched");
    Took { seconds, downloads, fetched: usize::try_from(fetched).unwrap() }
}

/// One packet of 300 is lost, and TCP takes each for a sign that the link is full: alone a download gets about 3 MB/s here.
#[test]
fn where_packets_are_lost_several_downloads_bring_more_than_one() {
    for kind in [Kind::Vsftpd, Kind::Proftpd] {
        let took = read_across(kind, Quality { loss: 0.003, ..Quality::delayed(Duration::from_millis(10)) });
        assert!(took.downloads >= 4, "{kind:?}: {} downloads", took.downloads);
        assert!(took.fetched <= LEN * 6 / 5 + (8 << 20), "{kind:?}: {} bytes fetched", took.fetched);
    }
}

/// More than one would only share what there is.
#[test]
fn where_the_link_is_full_one_download_is_left_at_that() {
    let took =
        read_across(Kind::Vsftpd, Quality { rate: Some(100_000_000), ..Quality::delayed(Duration::from_millis(20)) });
    assert!(took.downloads <= 5, "{} downloads", took.downloads);
    assert!(took.fetched <= LEN * 11 / 10, "{} bytes fetched", took.fetched);
    // 12.5 MB/s, of which headers take 3.5 %: 4.2 s and the first round trips, on a machine that has nothing else to do.
    assert!(cfg!(debug_assertions) || took.seconds < 8.0, "{} s", took.seconds);
}
