//! Real servers at the far end of a link.

use super::assert_table;
use super::calls::Program;
use super::cell::{
    Cell, Expected, Fault, OPERATIONS, OPTIONS, Place, Room, THREADS_MAX, TIMEOUT, at_rest, cell, warm_up, whole_row,
};
use crate::cases::{Case, give};
use crate::status::document;
use crate::support::link::{Link, Quality};
use crate::support::mountpoint::{Mount, long_run};
use crate::support::server::{Kind, Spec, Tls};
use crate::writer::names;
use std::fs::{self, File};
use std::sync::Arc;
use std::time::Duration;

/// What happens to the server or on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The server is killed and comes back only when the operation has ended.
    Killed,
    /// Its processes stand still for as long.
    Stopped,
    /// The link is cut for as long.
    Cut,
    /// The server is killed and started again.
    Restarted,
    /// Its sessions are killed.
    SessionsKilled,
    /// Every connection is reset.
    Reset,
    /// The link is cut for less than the time limit.
    CutShortly,
    /// The server stands still for less than the time limit.
    StoppedShortly,
}

const LASTING: [Trouble; 3] = [Trouble::Killed, Trouble::Stopped, Trouble::Cut];

const PASSING: [Trouble; 5] =
    [Trouble::Restarted, Trouble::SessionsKilled, Trouble::Reset, Trouble::CutShortly, Trouble::StoppedShortly];

/// Those that are over after [`SHORTLY`], while the operation goes on.
const PASSING_BY: [Trouble; 3] = [Trouble::Restarted, Trouble::CutShortly, Trouble::StoppedShortly];

/// Those after which no connection is as it was.
const REPLACED: [Trouble; 3] = [Trouble::Restarted, Trouble::SessionsKilled, Trouble::Reset];

const KINDS: [Kind; 4] = [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd, Kind::Pyftpdlib];

/// vsftpd with nearly everything, the others with what their processes make different; all of it in a long run.
fn is_wanted(kind: Kind, trouble: Trouble) -> bool {
    match (kind, trouble) {
        // Its sessions never go on: one process of each waits for the end of the other as soon as that stands still.
        (Kind::Vsftpd, Trouble::Stopped | Trouble::StoppedShortly) => false,
        (Kind::Proftpd, Trouble::Stopped | Trouble::StoppedShortly) => true,
        (Kind::Vsftpd, _) | (_, Trouble::Killed | Trouble::SessionsKilled) => true,
        _ => long_run(),
    }
}

fn rows(troubles: &[Trouble]) -> Vec<(Kind, Trouble)> {
    let all = KINDS.into_iter().flat_map(|kind| troubles.iter().map(move |trouble| (kind, *trouble)));
    all.filter(|(kind, trouble)| is_wanted(*kind, *trouble)).collect()
}

#[test]
fn a_server_that_is_away_is_an_error_in_time_and_loses_nothing() {
    assert_table(rows(&LASTING), row);
}

#[test]
fn a_server_that_is_back_soon_is_not_noticed() {
    assert_table(rows(&PASSING), row);
}

/// All operations, with one trouble.
fn row((kind, trouble): (Kind, Trouble)) -> Vec<Cell> {
    let name = format!("{kind:?}");
    let mut rig = Rig::new(kind, trouble);
    // Ends after the mount, which ends whoever hangs in it.
    let mut program = Program::start();
    let rest = warm_up(&rig, &mut program, &Room::new("warm", WARM));
    let mut cells = Vec::new();
    for (number, operation) in OPERATIONS.into_iter().enumerate() {
        let fault = Fault {
            name: format!("{trouble:?}"),
            expected: if LASTING.contains(&trouble) { Expected::Told } else { Expected::Unnoticed },
            comes_first: false,
            strike: &|rig: &mut Rig| rig.strike(trouble),
            lasts: PASSING_BY.contains(&trouble).then_some(SHORTLY),
            mend: &|rig: &mut Rig| rig.mend(trouble),
            // Connections that are broken are replaced.
            struck: &|rig: &Rig| REPLACED.contains(&trouble).then(|| rig.logins()),
        };
        let rooms = [&Room::new("cell", number), &Room::new("next", NEXT + number)];
        cells.push(cell(&mut rig, &mut program, &name, operation, &fault, rooms, rest));
        if cells.last().is_some_and(Cell::hung) {
            break;
        }
    }
    if !cells.last().is_some_and(Cell::hung) {
        let complaint = at_rest(&rig.mount, rest, THREADS_MAX);
        cells.extend(complaint.map(|complaint| whole_row(&name, &format!("{trouble:?}"), complaint)));
        drop(program);
        rig.mount.end();
    }
    cells
}

struct Rig {
    mount: Mount,
    case: Case,
    link: Arc<Link>,
    timeout: Duration,
}

impl Rig {
    fn new(kind: Kind, trouble: Trouble) -> Self {
        let quality = Quality { rate: Some(30_000_000), ..Quality::delayed(Duration::from_millis(4)) };
        let link = Arc::new(Link::new(quality));
        let case = Case::empty_of(Spec { tls: Tls::V13, ..Spec::new(kind, "/") }.behind(&link));
        for number in 0..OPERATIONS.len() {
            furnish(&case, &Room::new("cell", number), BYTES);
            furnish(&case, &Room::new("next", NEXT + number), BYTES);
        }
        furnish(&case, &Room::new("warm", WARM), BYTES);
        let [_, others @ ..] = OPTIONS;
        // Only vsftpd is there again within the usual limit of a request.
        let is_slow = trouble == Trouble::Restarted && kind != Kind::Vsftpd;
        let timeout = if is_slow { Duration::from_secs(6) } else { TIMEOUT };
        let limit = format!("timeout={}", timeout.as_secs());
        let mount = case.mount_rw(&[&others[..], &[&limit, "connections=2"]].concat());
        Self { mount, case, link, timeout }
    }

    fn strike(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed | Trouble::Restarted => self.case.server.stop(),
            Trouble::Stopped | Trouble::StoppedShortly => self.case.server.suspend(),
            Trouble::Cut | Trouble::CutShortly => self.link.cut(),
            Trouble::SessionsKilled => self.case.server.hang_up(),
            Trouble::Reset => self.link.forget(),
        }
    }

    fn logins(&self) -> usize {
        usize::try_from(document(&self.mount.point).server.counts.logins).unwrap()
    }

    fn mend(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed | Trouble::Restarted => self.case.server.start_again(),
            Trouble::Stopped | Trouble::StoppedShortly => self.case.server.resume(),
            Trouble::Cut | Trouble::CutShortly => self.link.mend(),
            Trouble::SessionsKilled | Trouble::Reset => {}
        }
    }
}

impl Place for Rig {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn mount(&self) -> &Mount {
        &self.mount
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.case.disk.join(path)).ok()
    }

    fn names(&self, path: &str) -> Vec<String> {
        names(&self.case.disk.join(path))
    }

    fn bytes(&self) -> usize {
        BYTES
    }

    fn listed(&self) -> usize {
        LISTED
    }

    fn fetched(&self) -> u64 {
        self.link.bytes_to_client()
    }
}

fn furnish(case: &Case, room: &Room, bytes: usize) {
    let directory = case.disk.join(&room.name);
    fs::create_dir(&directory).unwrap();
    give(&directory);
    for (path, content) in room.files(bytes) {
        case.put(&path, &content);
    }
    let list = directory.join("list");
    fs::create_dir(&list).unwrap();
    for number in 0..LISTED {
        File::create(list.join(format!("file-{number:05}-{}", "x".repeat(200)))).unwrap();
    }
}

/// How long a read and an upload are: half a second of the link.
const BYTES: usize = 2 << 20;

/// With long names: a tenth of a second of the link, and more than a server hands to its kernel at once.
const LISTED: usize = 1500;

/// Shorter than the time limit.
const SHORTLY: Duration = Duration::from_millis(700);

const NEXT: usize = 100;

const WARM: usize = 99;
