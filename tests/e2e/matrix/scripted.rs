//! The scripted server, which stops, hangs up or resets at each step of the protocol.

use super::assert_table;
use super::calls::Program;
use super::cell::{
    Cell, Expected, Fault, OPERATIONS, OPTIONS, Operation, Place, Room, THREADS_MAX, TRUE_ERRORS, at_rest, cell,
    warm_up, whole_row,
};
use crate::ftpd::{self, Act, Behaviour, Content, Dialect, PASSWORD, Server, Step, Tickets, Tree};
use crate::support::mountpoint::{Mount, long_run, program};
use crate::support::run::PATIENCE;
use crate::support::server::run_directory;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a program waits for at this step, and the server never does.
#[test]
fn a_server_that_stalls_at_any_step_is_an_error_in_time() {
    assert_table(OPERATIONS, |operation| column(operation, &Act::Stall, usize::MAX, Expected::InTime));
}

#[test]
fn a_server_that_hangs_up_once_at_any_step_is_not_noticed() {
    assert_table(OPERATIONS, |operation| column(operation, &Act::HangUp, 1, Expected::Unnoticed));
}

#[test]
fn a_connection_reset_once_at_any_step_is_not_noticed() {
    assert_table(OPERATIONS, |operation| column(operation, &Act::Reset, 1, Expected::Unnoticed));
}

/// Bytes that come all the time, and no end: what moves is waited for ten times as long as what does not, and a reply is nothing
/// that moves.
#[test]
fn a_server_that_drips_is_an_error_after_ten_times_the_limit() {
    const SHORT: Duration = Duration::from_secs(1);
    let drip = || Act::Drip(Duration::from_millis(200));
    let rows = [
        ("names", Step::Byte(100), "list", 10 * SHORT),
        ("read", Step::Byte(1000), "read", 10 * SHORT),
        ("names", Step::Command("MLSD"), "list", SHORT),
        ("stat", Step::Command("MLST"), "stat", SHORT),
    ];
    std::thread::scope(|scope| {
        for (task, step, name, limit) in rows {
            scope.spawn(move || {
                let room = Room::new("room", 0);
                let server = Server::start(Behaviour::default(), furnish(Tree::new(), &room));
                let mount = mount(&server, &["timeout=1", "connections=1", "prefetch=off"]);
                let mut program = Program::start();
                let kept = mount.beside("read").join("kept");
                let path = mount.path(&format!("{}/{name}", room.name));
                let arguments: &[&Path] = if task == "read" { &[&path, &kept] } else { &[&path] };
                // So that no answer is needed for the way there.
                program.run("stat", &[&mount.path(&room.name)], PATIENCE).unwrap();
                server.fault(ftpd::Fault::new(step, drip()));
                let done = program.run(task, arguments, PATIENCE).unwrap();
                println!("{task}, {step:?}: {done:?}");
                let (longest, _) = &done.longest;
                assert!(done.errno.is_some_and(|errno| TRUE_ERRORS.contains(&errno)), "{task}, {step:?}: {done:?}");
                assert!(*longest > limit - SHORT / 2 && *longest < limit + SHORT, "{task}, {step:?}: {done:?}");
                assert!(server.struck() > 0);
                server.no_more_faults();
                let deadline = Instant::now() + PATIENCE;
                while program.run(task, arguments, PATIENCE).unwrap().errno.is_some() {
                    assert!(Instant::now() < deadline, "{task}, {step:?}: {}", mount.log());
                }
                drop(program);
                mount.end();
            });
        }
    });
}

/// The server forgets the TLS sessions of every connection, and refuses data connections that resume none.
#[test]
fn sessions_that_expire_are_not_noticed() {
    assert_table([()], |()| {
        let behaviour = Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1));
        let rig = &mut Rig::new(OPERATIONS.len(), behaviour);
        let mut program = Program::start();
        let rest = warm_up(rig, &mut program, &Room::new("warm", WARM));
        let fault = Fault {
            name: "sessions expire".to_owned(),
            expected: Expected::Unnoticed,
            comes_first: true,
            strike: &|rig: &mut Rig| rig.server.expire_sessions(),
            lasts: None,
            mend: &|_| (),
            struck: &|_| None,
        };
        let mut cells = Vec::new();
        for (number, operation) in OPERATIONS.into_iter().enumerate() {
            let rooms = [&Room::new("cell", number), &Room::new("next", NEXT + number)];
            cells.push(cell(rig, &mut program, "scripted", operation, &fault, rooms, rest));
        }
        assert!(rig.server.refused() > 0, "no session had expired");
        cells
    });
}

/// The steps that `operation` has to take, and whether they come only with a new login.
fn steps(operation: Operation) -> Vec<(Step, bool)> {
    // FEAT is asked once a mount; tests/fast stalls there.
    let login = ["AUTH", "USER", "PASS", "PBSZ", "PROT"].map(Step::Command);
    let login = [Step::Greeting, Step::Handshake].into_iter().chain(login).map(|step| (step, true));
    let opening = [Step::Command("EPSV"), Step::DataAccept, Step::Preliminary, Step::DataHandshake];
    let sending = [Step::Byte(0), Step::Half, Step::LastByte, Step::CloseNotify, Step::FinalReply];
    let storing = [Step::Stored(0), Step::Stored(BYTES as u64 / 2), Step::Stored(BYTES as u64 - 1), Step::FinalReply];
    let named = |names: &[&'static str]| names.iter().map(|name| Step::Command(name)).collect::<Vec<_>>();
    let steps = match operation {
        Operation::Stat => named(&["MLST"]),
        Operation::List => [&named(&["MLSD"])[..], &opening, &sending].concat(),
        Operation::Read => [&named(&["RETR"])[..], &opening, &sending].concat(),
        Operation::Upload => {
            let renaming = [Step::Command("RNFR"), Step::Command("RNTO"), Step::Reply("RNTO")];
            [&named(&["STOR"])[..], &opening, &storing, &renaming].concat()
        }
        Operation::Change => {
            let replies = ["RNFR", "RNTO", "DELE"].map(Step::Reply);
            [&named(&["RNFR", "RNTO", "DELE"])[..], &replies].concat()
        }
    };
    // A login is the same for all.
    let login = login.filter(|_| long_run() || matches!(operation, Operation::Stat | Operation::Upload));
    login.chain(steps.into_iter().map(|step| (step, false))).collect()
}

/// One operation, with `act` at each step, so many times.
fn column(operation: Operation, act: &Act, times: usize, expected: Expected) -> Vec<Cell> {
    let steps = steps(operation);
    let mut place = Rig::new(steps.len(), Behaviour::default());
    let rig = &mut place;
    let mut program = Program::start();
    let rest = warm_up(rig, &mut program, &Room::new("warm", WARM));
    let mut cells = Vec::new();
    for (number, &(step, at_login)) in steps.iter().enumerate() {
        let planned = ftpd::Fault::new(step, act.clone());
        let planned = if times == 1 { planned.once() } else { planned };
        let fault = Fault {
            name: format!("{act:?} at {step:?}"),
            expected,
            comes_first: true,
            strike: &|rig: &mut Rig| {
                rig.server.fault(planned.clone());
                if at_login {
                    rig.server.hang_up();
                }
            },
            lasts: None,
            mend: &|rig: &mut Rig| rig.server.no_more_faults(),
            struck: &|rig| Some(rig.server.struck()),
        };
        let rooms = [&Room::new("cell", number), &Room::new("next", NEXT + number)];
        cells.push(cell(rig, &mut program, "scripted", operation, &fault, rooms, rest));
        if cells.last().is_some_and(Cell::hung) {
            return cells;
        }
    }
    cells.extend(at_rest(&rig.mount, rest, THREADS_MAX).map(|complaint| whole_row("scripted", "", complaint)));
    drop(program);
    place.mount.end();
    cells
}

struct Rig {
    mount: Mount,
    server: Server,
}

impl Rig {
    fn new(cells: usize, behaviour: Behaviour) -> Self {
        let mut tree = furnish(Tree::new(), &Room::new("warm", WARM));
        for number in 0..cells {
            tree = furnish(tree, &Room::new("cell", number));
            tree = furnish(tree, &Room::new("next", NEXT + number));
        }
        let server = Server::start(behaviour, tree);
        let mount = mount(&server, &[&OPTIONS[..], &["connections=1"]].concat());
        Self { mount, server }
    }
}

/// A mount of a scripted server for writing.
pub(crate) fn mount(server: &Server, options: &[&str]) -> Mount {
    let directory = run_directory();
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let credentials = write("credentials", &format!("username=tester\npassword={PASSWORD}\n"));
    let cafile = write("ca.pem", &server.ca_pem());
    let recovery = directory.join("recovery").display().to_string();
    let mut all = vec![
        format!("credentials={credentials}"),
        format!("cafile={cafile}"),
        format!("recovery_dir={recovery}"),
        "rw".to_owned(),
    ];
    all.extend(options.iter().map(|&option| option.to_owned()));
    let mut command = Command::new(program());
    command.args(["-o", &all.join(",")]).env_remove("FTPSFS_PASSWORD");
    Mount::run(command, &format!("ftps://tester@localhost:{}/", server.port()), directory)
}

impl Place for Rig {
    fn mount(&self) -> &Mount {
        &self.mount
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        match &self.server.tree().get(format!("/{path}").as_bytes())?.content {
            Content::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    fn names(&self, path: &str) -> Vec<String> {
        let path = format!("/{path}");
        let tree = self.server.tree();
        let names = tree.children(path.as_bytes());
        names.map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    fn bytes(&self) -> usize {
        BYTES
    }

    fn listed(&self) -> usize {
        LISTED
    }

    /// The fault comes first.
    fn fetched(&self) -> u64 {
        unreachable!("no listing is waited for")
    }
}

fn furnish(tree: Tree, room: &Room) -> Tree {
    let list = format!("/{}/list", room.name);
    let tree = tree.directory(format!("/{}", room.name)).directory(&list);
    let tree = (0..LISTED).fold(tree, |tree, number| tree.file(format!("{list}/file-{number:05}"), ""));
    room.files(BYTES).into_iter().fold(tree, |tree, (path, content)| tree.file(format!("/{path}"), content))
}

/// How long a read and an upload are.
const BYTES: usize = 300_000;

const LISTED: usize = 500;

const NEXT: usize = 100;

const WARM: usize = 99;
