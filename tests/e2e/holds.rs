//! What must hold of a mount with default settings, measured as a whole: 3,000 files and 1 GiB, reuse required, TLS 1.3.

use crate::cases::{alone, both, tree_root};
use crate::support::mountpoint::Mount;
use crate::support::run::{PATIENCE, finish, shell, within};
use crate::support::server::{Kind, Server, Spec, USER};
use crate::support::tree::{self, digests};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

#[test]
fn of_vsftpd() {
    of(Kind::Vsftpd);
}

#[test]
fn of_proftpd() {
    of(Kind::Proftpd);
}

fn of(kind: Kind) {
    let disk = tree_root();
    let _alone = alone();
    let server = Server::start(Spec::new(kind, &disk));
    let mount = Mount::new(&server, &[]);

    let (source, mounted) = both(&disk, &mount.point, "src");
    let read = digests(&mounted);
    assert_eq!(read.len(), tree::SRC);
    assert_eq!(read, digests(&source));

    let sum = |path| finish(within(PATIENCE, "sha256sum").arg("-z").arg(path)).succeeded()[..64].to_owned();
    assert_eq!(sum(mount.path("big.bin")), sum(disk.join("big.bin")));
    random_reads(&mount);

    let hwm = mount.vm_hwm_kib();
    assert!(hwm < 100 * 1024, "the process used {hwm} KiB");
    println!("{kind:?}: VmHWM {hwm} KiB, {} threads, {} descriptors", mount.threads(), mount.descriptors());
    let summary = mount.end();
    assert_eq!((summary.full, summary.refusals), (0, 0), "{summary:?}");
    assert!(summary.resumed >= tree::SRC as u64 / 2, "{summary:?}");
    println!("{kind:?}: {summary:?}");
    throughput(kind, &server);
}

fn random_reads(mount: &Mount) {
    let file = File::open(mount.path("big.bin")).unwrap();
    let mut position = 7_u64;
    for _ in 0..50 {
        position = position.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (position >> 20) % (tree::BIG / 4096) * 4096;
        let mut block = [0; 4096];
        file.read_exact_at(&mut block, offset).unwrap();
        assert!(block[..] == tree::big_content(offset, 4096), "at {offset}");
    }
}

/// Reads 1 GiB by turns with curl and through a fresh mount; the best of each counts, for a machine is never quiet.
fn throughput(kind: Kind, server: &Server) {
    let (mut curl, mut mounted) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS_MAX {
        curl = curl.min(timed(|| curl_big(server)));
        let mount = Mount::new(server, &[]);
        mounted = mounted.min(timed(|| {
            shell(r#"dd if="$1" of=/dev/null bs=1M status=none"#, &[mount.path("big.bin")]).succeeded();
        }));
        if mounted.as_secs_f64() <= curl.as_secs_f64() {
            break;
        }
    }
    let rate = |time: Duration| f64::from(1024) / time.as_secs_f64();
    println!("{kind:?}: curl {:.0} MiB/s, mount {:.0} MiB/s", rate(curl), rate(mounted));
    assert!(
        rate(mounted) >= SHARE_OF_CURL * rate(curl),
        "{kind:?}: mount {:.0}, curl {:.0} MiB/s",
        rate(mounted),
        rate(curl)
    );
}

fn curl_big(server: &Server) {
    let mut curl = within(PATIENCE, "curl");
    curl.args(["--silent", "--show-error", "--ssl-reqd", "--output", "/dev/null", "--cacert"]).arg(&server.cafile);
    curl.args(["--user", &format!("{USER}:{}", server.password)]);
    finish(curl.arg(format!("ftp://localhost:{}/big.bin", server.port))).succeeded();
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Others' work on the machine hits now one and now the other.
const ROUNDS_MAX: u32 = 6;

/// What is promised is promised of a release build; a debug build shows only that nothing is absurdly slow.
const SHARE_OF_CURL: f64 = if cfg!(debug_assertions) { 0.5 } else { 0.8 };
