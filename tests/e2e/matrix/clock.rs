//! This machine's clock jumps, as after a suspend or when it is set at last.

use super::calls::Program;
use crate::cases::Case;
use crate::support::mountpoint::{Mount, command};
use crate::support::run::{PATIENCE, finish, within};
use crate::support::server::{Kind, Tls, run_directory};
use crate::support::tree::big_content;
use crate::writer::store;
use std::fs;
use std::time::{Duration, SystemTime};

/// `libfaketime` shows the program another time, and reads which from a file.
#[test]
fn a_clock_that_jumps_harms_nothing() {
    let case = Case::empty(Kind::Vsftpd, Tls::V13);
    let directory = run_directory();
    // Where the program may read.
    let spool = directory.join("spool");
    fs::create_dir(&spool).unwrap();
    let time = spool.join("time");
    fs::write(&time, "+0\n").unwrap();
    let options = ["rw", "timeout=5", "attr_timeout=1", "dir_timeout=1", &format!("spool_dir={}", spool.display())];
    let mut command = command(&case.server, &directory, &options);
    command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", &time);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let mount = Mount::run(command, &case.server.url(""), directory);
    let mut program = Program::start();
    for (round, (jump, offset)) in [("+0", 0), ("+1d", DAY), ("-1d", -DAY), ("+0", 0)].into_iter().enumerate() {
        fs::write(&time, format!("{jump}\n")).unwrap();
        let (name, content) = (format!("file-{round}"), big_content((round as u64) << 24, 1 << 20));
        store(&mount.path(&name), &content).unwrap();
        let kept = mount.beside("read").join(&name);
        for (task, paths) in [
            ("stat", vec![mount.path(&name)]),
            ("names", vec![mount.point.clone()]),
            ("read", vec![mount.path(&name), kept.clone()]),
        ] {
            let paths: Vec<_> = paths.iter().map(std::path::PathBuf::as_path).collect();
            let done = program.run(task, &paths, PATIENCE).unwrap();
            assert!(done.errno.is_none() && done.longest.0 < LIMIT, "{jump} {task}: {done:?}; {}", mount.log());
        }
        assert!(fs::read(&kept).unwrap() == content && fs::read(case.disk.join(&name)).unwrap() == content, "{jump}");
        // The program does see another time: it is what tells the server what "now" is.
        finish(within(PATIENCE, "touch").arg(mount.path(&name))).succeeded();
        let dated = fs::metadata(case.disk.join(&name)).unwrap().modified().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let dated = dated.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        assert!((dated - now - offset).abs() < 600, "{jump}: dated {dated} at {now}");
    }
    drop(program);
    mount.end();
}

/// Found by the loader in its own directory for this machine.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";

const DAY: i64 = 86_400;

const LIMIT: Duration = Duration::from_secs(4);
