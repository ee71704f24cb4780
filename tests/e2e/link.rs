//! The tests' own link does what it says, and real servers and mounts work across it.

use crate::cases::{Case, alone};
use crate::support::link::{End, Link, Quality, SERVER_ADDRESS, parse};
use crate::support::server::{Kind, Spec};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Connecting takes one round trip.
#[test]
fn a_link_has_the_delay_that_was_asked_for() {
    let _alone = alone();
    for milliseconds in [0, 5, 20, 100] {
        let rtt = Duration::from_millis(milliseconds);
        let link = Link::new(Quality::delayed(rtt));
        let listener = link.at(End::Server, || TcpListener::bind((SERVER_ADDRESS, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let times = (0..9).map(|_| {
            let start = Instant::now();
            connect(&link, address).unwrap();
            start.elapsed()
        });
        // A machine that is busy makes some late, and none early.
        let fastest = times.min().unwrap();
        assert!(fastest >= rtt && fastest < rtt + Duration::from_millis(3), "{rtt:?}: {fastest:?}");
    }
}

#[test]
fn a_link_has_the_rate_that_was_asked_for() {
    let _alone = alone();
    let bytes = 6_000_000_usize;
    let rate = 80_000_000;
    let link = Link::new(Quality { rate: Some(rate), ..Quality::delayed(Duration::from_millis(5)) });
    let measured = 8.0 * f64::from(u32::try_from(bytes).unwrap()) / seconds_to_send(&link, bytes);
    // Headers take 3.5 %, and the window has to open first.
    assert!((0.70..0.98).contains(&(measured / 80e6)), "{measured} of {rate} bits a second");
}

#[test]
fn a_link_without_a_rate_is_fast() {
    let _alone = alone();
    let bytes = 200_000_000_usize;
    let link = Link::new(Quality::delayed(Duration::from_millis(20)));
    let measured = 8.0 * f64::from(u32::try_from(bytes).unwrap()) / seconds_to_send(&link, bytes);
    println!("{:.2} Gbit/s", measured / 1e9);
    if !cfg!(debug_assertions) {
        assert!(measured > 4e8, "{measured} bits a second");
    }
}

#[test]
fn a_link_loses_as_many_packets_as_was_asked_for() {
    let _alone = alone();
    let quality = Quality { loss: 0.1, ..Quality::delayed(Duration::from_millis(1)) };
    let link = Link::new(quality);
    let receiver = link.at(End::Server, || UdpSocket::bind((SERVER_ADDRESS, 0)).unwrap());
    let sender = link.at(End::Client, || UdpSocket::bind("0.0.0.0:0").unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let (sent, mut received) = (4000_u32, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..sent {
                sender.send(&number.to_be_bytes()).unwrap();
                // So that no queue overflows.
                if number % 100 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        while receiver.recv(&mut [0; 8]).is_ok() {
            received += 1;
        }
    });
    let lost = sent - received;
    assert!((300..500).contains(&lost), "{lost} of {sent}");
    let (carried, counted) = link.packets();
    assert!(carried >= u64::from(received) && counted >= u64::from(lost), "{carried} and {counted}");
}

/// The sender hears of nothing: what it sent meanwhile it sends again.
#[test]
fn a_link_that_is_cut_carries_nothing_until_it_is_mended() {
    let link = Link::new(Quality::delayed(Duration::from_millis(2)));
    let listener = link.at(End::Server, || TcpListener::bind((SERVER_ADDRESS, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    let mut near = connect(&link, address).unwrap();
    let mut far = listener.accept().unwrap().0;
    far.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    link.cut();
    near.write_all(b"a").unwrap();
    assert_eq!(far.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let refused = link.at(End::Client, || TcpStream::connect_timeout(&address, Duration::from_millis(300)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TimedOut);
    link.mend();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 1);
    connect(&link, address).unwrap();
}

#[test]
fn a_link_that_forgot_resets_what_it_does_not_know() {
    for rate in [None, Some(50_000_000)] {
        let link = Link::new(Quality { rate, ..Quality::delayed(Duration::from_millis(2)) });
        let listener = link.at(End::Server, || TcpListener::bind((SERVER_ADDRESS, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let mut near = connect(&link, address).unwrap();
        let mut far = listener.accept().unwrap().0;
        near.write_all(b"a").unwrap();
        far.read_exact(&mut [0]).unwrap();
        link.forget();
        far.write_all(b"b").unwrap();
        for stream in [&mut near, &mut far] {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{rate:?}");
        }
        let mut near = connect(&link, address).unwrap();
        near.write_all(b"c").unwrap();
        listener.accept().unwrap().0.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_link_is_read_as_it_is_typed() {
    for (name, text, expected) in [
        ("rtt", "20ms", Some(Quality::delayed(Duration::from_millis(20)))),
        ("rtt", "0.5", Some(Quality::delayed(Duration::from_micros(500)))),
        ("rate", "100M", Some(Quality { rate: Some(100_000_000), ..Quality::delayed(Duration::ZERO) })),
        ("rate", "56k", Some(Quality { rate: Some(56_000), ..Quality::delayed(Duration::ZERO) })),
        ("loss", "0.1%", Some(Quality { loss: 0.001, ..Quality::delayed(Duration::ZERO) })),
        ("rtt", "-1ms", None),
        ("rate", "0", None),
        ("rate", "fast", None),
        ("loss", "0.1", None),
        ("loss", "101%", None),
        ("jitter", "1ms", None),
    ] {
        let mut quality = Quality::delayed(Duration::ZERO);
        assert_eq!(parse(name, text, &mut quality).map(|()| quality), expected, "{name} {text}");
    }
}

#[test]
fn every_server_can_be_mounted_across_a_link() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib] {
        let link = Arc::new(Link::new(Quality::delayed(Duration::from_millis(2))));
        let case = Case::of(Spec::new(kind, "/").behind(&link));
        let mount = case.mount(&[]);
        assert_eq!(fs::read_to_string(mount.path("many/file-00007.txt")).unwrap(), "7\n", "{kind:?}");
        mount.end();
        let (carried, lost) = link.packets();
        assert!(carried > 20 && lost == 0, "{kind:?}: {carried} and {lost}");
    }
}

fn connect(link: &Link, address: SocketAddr) -> std::io::Result<TcpStream> {
    link.at(End::Client, || TcpStream::connect(address))
}

/// From the server to the client, over one TCP connection.
fn seconds_to_send(link: &Link, bytes: usize) -> f64 {
    let listener = link.at(End::Server, || TcpListener::bind((SERVER_ADDRESS, 0)).unwrap());
    let mut near = connect(link, listener.local_addr().unwrap()).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut far, block) = (listener.accept().unwrap().0, vec![7; 100_000]);
            (0..bytes / block.len()).for_each(|_| far.write_all(&block).unwrap());
        });
        let (mut received, mut block) = (0, vec![0; 1 << 18]);
        while received < bytes {
            match near.read(&mut block).unwrap() {
                0 => panic!("it ended after {received} bytes"),
                length => received += length,
            }
        }
    });
    start.elapsed().as_secs_f64()
}
