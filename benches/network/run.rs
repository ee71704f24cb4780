//! Runs the workloads.

use crate::arguments::{Arguments, named_server};
use crate::peers::{Mounted, Peer, Sshd, curl, lftp};
use crate::place;
use crate::results::{self, Conditions, Row};
use crate::support::link::{Link, Quality};
use crate::support::run::within;
use crate::support::server::{Kind, Server, Spec, recipes::unpacked_libraries, run_directory};
use crate::work::{Workload, make_small};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Measures what was asked for, and says and keeps each result at once.
pub fn run(arguments: &Arguments) {
    if arguments.workloads.is_empty() {
        return;
    }
    prepare();
    let tree = place::root();
    for conditions in &arguments.conditions {
        let lab = Lab::new(conditions, &tree);
        for workload in &arguments.workloads {
            for peer in &arguments.peers {
                if let Some(row) = lab.measure(workload, *peer, arguments) {
                    say(&row);
                    // What is published is what ftpsfs does by itself.
                    if arguments.options.is_empty() {
                        results::keep(&row);
                    }
                }
            }
        }
    }
}

fn say(row: &Row) {
    let figure = match (row.seconds, &row.failure) {
        (Some(seconds), _) => format!("{seconds:.4} s"),
        (None, Some(failure)) => failure.clone(),
        (None, None) => format!("more than {} s", row.limit_seconds),
    };
    let trips = row.round_trips().map_or(String::new(), |trips| format!(" = {trips:.1} round trips"));
    let kinds: Vec<String> = row.commands.iter().map(|(verb, count)| format!("{count} {verb}")).collect();
    let bytes = row.bytes_fetched.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    println!(
        "{} {}: {figure}{trips}; commands: {}; {bytes} bytes fetched, {} used; CPU {:.2} s, VmHWM {} KiB",
        row.workload,
        row.peer,
        kinds.join(", "),
        row.bytes_used,
        row.cpu_seconds.unwrap_or_default(),
        row.vm_hwm_kib.unwrap_or_default()
    );
}

/// One set of conditions: the link and the servers behind it.
struct Lab {
    conditions: Conditions,
    tree: PathBuf,
    link: Option<Arc<Link>>,
    server: Server,
    /// For clients that cannot do what the other demands.
    lenient: OnceCell<Server>,
    ssh: OnceCell<Sshd>,
}

impl Lab {
    fn new(conditions: &Conditions, tree: &Path) -> Self {
        let quality = Quality {
            rtt: Duration::from_millis(conditions.rtt_ms),
            rate: Some(conditions.rate_mbit * 1_000_000).filter(|rate| *rate > 0),
            loss: conditions.loss_percent / 100.0,
            seed: 1,
        };
        let is_loopback = quality == Quality::delayed(Duration::ZERO);
        let link = (!is_loopback).then(|| Arc::new(Link::new(quality)));
        let spec = Spec { link: link.clone(), ..Spec::new(kind(conditions), tree) };
        let (lenient, ssh) = (OnceCell::new(), OnceCell::new());
        Self { conditions: conditions.clone(), tree: tree.to_owned(), link, server: Server::start(spec), lenient, ssh }
    }

    fn server_for(&self, peer: Peer) -> &Server {
        if peer != Peer::Rclone {
            return &self.server;
        }
        let spec = Spec { reuse_required: false, ..self.server.spec.clone() };
        self.lenient.get_or_init(|| Server::start(spec))
    }

    fn measure(&self, workload: &Workload, peer: Peer, arguments: &Arguments) -> Option<Row> {
        place::fresh_out(&self.tree);
        let scratch = run_directory();
        let limit = if peer == Peer::Ftpsfs { OURS_MAX } else { arguments.limit };
        let mut row = Row {
            workload: workload.name.to_owned(),
            peer: peer.name().to_owned(),
            conditions: self.conditions.clone(),
            seconds: None,
            limit_seconds: limit.as_secs(),
            failure: None,
            total_seconds: 0.0,
            commands: Vec::new(),
            bytes_fetched: None,
            bytes_used: 0,
            cpu_seconds: None,
            vm_hwm_kib: None,
            date: today(),
        };
        let measured = if peer.mounts() {
            self.mounted(workload, peer, &arguments.options, &scratch, &mut row);
            Some(())
        } else {
            self.program(workload, peer, &scratch, &mut row)
        };
        let _ = fs::remove_dir_all(&scratch);
        measured.map(|()| row)
    }

    fn mounted(&self, workload: &Workload, peer: Peer, options: &[String], scratch: &Path, row: &mut Row) {
        let server = self.server_for(peer);
        let mounted = match peer {
            Peer::Ftpsfs => Mounted::ours(server, options),
            Peer::Rclone => Mounted::rclone(server),
            Peer::Memory => Mounted::memory(&self.tree),
            _ => {
                let start = || Sshd::start(self.link.as_ref(), &unpacked_libraries());
                Mounted::sshfs(self.ssh.get_or_init(start), &self.tree)
            }
        };
        let limit = Duration::from_secs(row.limit_seconds);
        let mut command = within(limit, std::env::current_exe().expect("we are a program"));
        command.args(["--do", workload.name]).args([mounted.point(), &self.tree, scratch]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("timeout(1) starts");
        let (mut go, lines) = (child.stdin.take().unwrap(), lines_of(child.stdout.take().unwrap()));
        let deadline = Instant::now() + limit + Duration::from_secs(20);
        let next = || lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut before = Counted::now(self, server, &mounted);
        let started = Instant::now();
        if next().is_ok_and(|line| line == "start") {
            before = Counted::now(self, server, &mounted);
            let _ = writeln!(go, "go");
            if let Ok(line) = next() {
                let mut words = line.split(' ').skip(1);
                row.seconds = words.next().and_then(|word| word.parse().ok());
                row.bytes_used = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
            }
        }
        row.total_seconds = started.elapsed().as_secs_f64();
        Counted::now(self, server, &mounted).minus(before, row);
        row.vm_hwm_kib = Some(mounted.vm_hwm_kib());
        if row.seconds.is_none() {
            mounted.abort();
        }
        let status = child.wait().expect("it is our child");
        if row.seconds.is_none() && ![Some(124), Some(137)].contains(&status.code()) {
            eprintln!("{}", mounted.log());
            row.failure = Some("fails".to_owned());
        }
    }

    /// A program that does the whole work, its login included.
    fn program(&self, workload: &Workload, peer: Peer, scratch: &Path, row: &mut Row) -> Option<()> {
        let server = self.server_for(peer);
        let big = self.tree.join("big.bin");
        let command = match (peer, workload.name) {
            (Peer::Lftp, _) => {
                make_small(scratch);
                let work = workload.lftp?.replace("$OUT", scratch.to_str()?).replace("$SRC", self.tree.to_str()?);
                lftp(server, &work)
            }
            (_, "read") => curl(server, &["--output", "/dev/null"], "big.bin"),
            (_, "write") => curl(server, &["--upload-file", big.to_str()?], "out/big.bin"),
            _ => return None,
        };
        let before = (commands(server), self.link.as_ref().map(|link| link.bytes_to_client()));
        let started = Instant::now();
        let mut timed = Command::new("bash");
        timed.args(["-c", r#"TIMEFORMAT="cpu %U %S"; time "$@""#, "bash", "timeout", "--kill-after=5"]);
        timed.arg(row.limit_seconds.to_string()).arg(command.get_program()).args(command.get_args());
        timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = timed.stdin(Stdio::null()).stdout(Stdio::null()).output().expect("bash starts");
        row.total_seconds = started.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        match ran.status.code() {
            Some(0) => row.seconds = Some(row.total_seconds),
            Some(124 | 137) => {}
            _ => {
                eprintln!("{said}");
                row.failure = Some("fails".to_owned());
            }
        }
        row.commands = difference(&before.0, &commands(server));
        row.bytes_fetched = self.link.as_ref().map(|link| link.bytes_to_client() - before.1.unwrap_or_default());
        let cpu = said.lines().find_map(|line| line.strip_prefix("cpu "));
        row.cpu_seconds = cpu.map(|cpu| cpu.split(' ').filter_map(|word| word.parse::<f64>().ok()).sum());
        Some(())
    }
}

/// What only grows.
struct Counted {
    commands: BTreeMap<String, usize>,
    bytes: Option<u64>,
    cpu: f64,
}

impl Counted {
    fn now(lab: &Lab, server: &Server, mounted: &Mounted) -> Self {
        let bytes = lab.link.as_ref().map(|link| link.bytes_to_client());
        Self { commands: commands(server), bytes, cpu: mounted.cpu_seconds() }
    }

    fn minus(self, before: Self, row: &mut Row) {
        row.commands = difference(&before.commands, &self.commands);
        row.bytes_fetched = self.bytes.zip(before.bytes).map(|(after, before)| after - before);
        row.cpu_seconds = Some(self.cpu - before.cpu);
    }
}

fn commands(server: &Server) -> BTreeMap<String, usize> {
    server.commands()
}

fn difference(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let count = |verb: &String, count: &usize| count - before.get(verb).copied().unwrap_or_default();
    let more = after.iter().map(|(verb, n)| (verb.clone(), count(verb, n)));
    let mut more: Vec<_> = more.filter(|(_, count)| *count > 0).collect();
    more.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    more
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn kind(conditions: &Conditions) -> Kind {
    named_server(&conditions.server).expect("it was a server's name")
}

fn today() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().expect("date starts");
    String::from_utf8_lossy(&date.stdout).trim().to_owned()
}

/// The peers, once a machine.
fn prepare() {
    crate::support::server::setup();
    let status = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/setup")).status();
    assert!(status.expect("benches/setup can be run").success());
}

/// How long ftpsfs may take.
const OURS_MAX: Duration = Duration::from_secs(900);
