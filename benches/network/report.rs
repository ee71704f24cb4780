//! docs/benchmarks.md.

use crate::chart;
use crate::peers::Peer;
use crate::results::{Conditions, Row};
use crate::work::{Figure, WORKLOADS, Workload};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// What was measured under the same conditions.
#[derive(Debug)]
pub struct Table<'a> {
    conditions: &'a Conditions,
    rows: Vec<&'a Row>,
}

/// Writes the page and its chart of everything that was measured.
pub fn write(rows: &[Row]) {
    let mut all: Vec<&Conditions> = Vec::new();
    for row in rows {
        if !all.contains(&&row.conditions) {
            all.push(&row.conditions);
        }
    }
    all.sort_by(|one, other| key(one).total_cmp(&key(other)));
    let tables: Vec<Table<'_>> = all.into_iter().map(|conditions| Table::of(conditions, rows)).collect();
    let Some(first) = tables.first() else { return };
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let mut page = head();
    let _ = writeln!(page, "## {}\n\n![The same as a chart](benchmarks.svg)\n\n{}", first.title(), first.ratios());
    page += &first.reasons();
    let _ = writeln!(page, "### What it took\n\n{COUNTS}\n\n{}", first.counts());
    let (alone, compared): (Vec<&Table<'_>>, Vec<_>) = tables[1..].iter().partition(|table| table.peers().is_empty());
    for table in compared {
        let _ = writeln!(page, "## {}\n\n{}", table.title(), table.ratios());
    }
    if !alone.is_empty() {
        let _ = writeln!(page, "## ftpsfs under other conditions\n\n{}", side_by_side(first, &alone));
    }
    fs::write(format!("{docs}/benchmarks.md"), page.trim_end().to_owned() + "\n").expect("docs can be written");
    fs::write(format!("{docs}/benchmarks.svg"), chart::draw(first)).expect("docs can be written");
}

/// The usual conditions first, then by server, delay, loss and rate.
fn key(conditions: &Conditions) -> f64 {
    let Conditions { server, rtt_ms, loss_percent, rate_mbit } = conditions;
    if (server.as_str(), *rtt_ms, *rate_mbit) == ("vsftpd", 20, 0) && *loss_percent == 0.0 {
        return 0.0;
    }
    let server = if server == "vsftpd" { 1e6 } else { 2e6 };
    server + *rtt_ms as f64 * 1e3 + loss_percent * 100.0 + *rate_mbit as f64 / 1e3
}

/// How many times as long as `ours` it took; at least, where it was not awaited. Who was left before ours was done may be
/// the faster one.
pub fn ratio(row: &Row, ours: &Row) -> Option<f64> {
    let limit = (row.failure.is_none() && row.seconds.is_none()).then_some(row.limit_seconds as f64);
    let limit = limit.filter(|limit| ours.seconds.is_some_and(|ours| ours <= *limit));
    Some(row.seconds.or(limit)? / ours.seconds?)
}

impl<'a> Table<'a> {
    fn of(conditions: &'a Conditions, rows: &'a [Row]) -> Self {
        Self { conditions, rows: rows.iter().filter(|row| row.conditions == *conditions).collect() }
    }

    /// Each workload that was measured, with its rows in the order of the peers.
    pub fn lines(&self) -> Vec<(&'static Workload, Vec<&'a Row>)> {
        let of = |workload: &Workload| {
            let peers = [Peer::Ftpsfs].into_iter().chain(Peer::OTHERS);
            peers.filter_map(|peer| self.row(workload, peer)).collect::<Vec<_>>()
        };
        let lines = WORKLOADS.iter().map(|workload| (workload, of(workload)));
        lines.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// The other programs that were measured.
    fn peers(&self) -> Vec<Peer> {
        let is_measured = |peer: &Peer| self.rows.iter().any(|row| row.peer == peer.name());
        Peer::OTHERS.into_iter().filter(is_measured).collect()
    }

    fn row(&self, workload: &Workload, peer: Peer) -> Option<&'a Row> {
        self.rows.iter().copied().find(|row| row.workload == workload.name && row.peer == peer.name())
    }

    fn title(&self) -> String {
        let Conditions { server, rtt_ms, loss_percent, rate_mbit } = self.conditions;
        let delay = if *rtt_ms == 0 { "no delay".to_owned() } else { format!("{rtt_ms} ms round trip") };
        let loss = if *loss_percent == 0.0 { String::new() } else { format!(", {loss_percent} % lost") };
        let rate = if *rate_mbit == 0 { String::new() } else { format!(", {rate_mbit} Mbit/s") };
        let server = match server.as_str() {
            "proftpd" => "ProFTPD",
            "pureftpd" => "Pure-FTPd",
            other => other,
        };
        format!("{server}, {delay}{loss}{rate}")
    }

    fn ratios(&self) -> String {
        let usual = key(self.conditions) == 0.0;
        let mut text = "| work | ftpsfs |".to_owned() + if usual { " goal |" } else { "" };
        let peers = self.peers();
        text += &peers.iter().map(|peer| format!(" {} |", title(*peer))).collect::<String>();
        text += &format!("\n|{}\n", "---|".repeat(2 + usize::from(usual) + peers.len()));
        for (workload, _) in self.lines() {
            let ours = self.row(workload, Peer::Ftpsfs);
            let _ = write!(text, "| {} | {} |", what(workload), ours.map_or_else(|| "–".to_owned(), figure));
            if usual {
                let _ = write!(text, " {} |", self.goal(workload).unwrap_or_else(|| "–".to_owned()));
            }
            for peer in &peers {
                let cell = self.row(workload, *peer).map(|row| compared(row, ours));
                let _ = write!(text, " {} |", cell.unwrap_or_else(|| "–".to_owned()));
            }
            text.push('\n');
        }
        text
    }

    /// What is to be reached (seconds), and how many times as long it took.
    fn distance(&self, workload: &Workload) -> Option<(f64, f64)> {
        let value = |row: &Row| row.seconds;
        let goal = match GOALS.iter().find(|(name, _)| *name == workload.name) {
            Some((_, goal)) => *goal,
            // No slower than lftp's four connections.
            None if workload.name == "read" => self.row(workload, Peer::Lftp).and_then(value)?,
            None => return None,
        };
        Some((goal, self.row(workload, Peer::Ftpsfs).and_then(value)? / goal))
    }

    /// What is to be reached, and how far it is.
    fn goal(&self, workload: &Workload) -> Option<String> {
        let (goal, distance) = self.distance(workload)?;
        let distance = if distance <= 1.0 { "reached".to_owned() } else { format!("missed by {}", times(distance)) };
        Some(format!("{}: {distance}", seconds(goal)))
    }

    /// Why a goal is missed, of those that are.
    fn reasons(&self) -> String {
        let is_missed = |name: &str| {
            let distance = Workload::named(name).and_then(|workload| self.distance(workload));
            distance.is_some_and(|(_, distance)| distance > 1.0)
        };
        let missed = REASONS.iter().filter(|(name, _)| is_missed(name));
        let reasons: String = missed.map(|(_, reason)| format!("- {reason}\n")).collect();
        if reasons.is_empty() { reasons } else { format!("What is missed, and why:\n\n{reasons}\n") }
    }

    fn counts(&self) -> String {
        let mut text =
            "| work | program | round trips | commands | data connections | fetched | used | CPU | memory |\n\
                        |---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for (workload, rows) in self.lines() {
            for row in rows {
                let trips = row.round_trips().map_or_else(|| "–".to_owned(), |trips| format!("{trips:.1}"));
                let is_ftp = row.peer != Peer::Sshfs.name();
                let count = |count: usize| if is_ftp { count.to_string() } else { "–".to_owned() };
                let _ = writeln!(
                    text,
                    "| {} | {} | {trips} | {} | {} | {} | {} | {} | {} |",
                    workload.what,
                    row.peer,
                    count(row.commands_total()),
                    count(row.data_connections()),
                    row.bytes_fetched.map_or_else(|| "–".to_owned(), bytes),
                    if row.bytes_used == 0 { "–".to_owned() } else { bytes(row.bytes_used) },
                    row.cpu_seconds.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2} s")),
                    row.vm_hwm_kib.map_or_else(|| "–".to_owned(), |kib| bytes(kib << 10)),
                );
            }
        }
        text
    }
}

/// What ftpsfs takes where nobody else was measured, beside what it takes under the usual conditions.
fn side_by_side(usual: &Table<'_>, others: &[&Table<'_>]) -> String {
    let tables: Vec<&Table<'_>> = [usual].into_iter().chain(others.iter().copied()).collect();
    let titles: String = tables.iter().map(|table| format!(" {} |", table.title())).collect();
    let mut text = format!("| work |{titles}\n|{}\n", "---|".repeat(1 + tables.len()));
    let ours = |table: &Table<'_>, workload: &Workload| table.row(workload, Peer::Ftpsfs).map(figure);
    for workload in WORKLOADS.iter().filter(|workload| others.iter().any(|table| ours(table, workload).is_some())) {
        let cell = |table: &&Table<'_>| ours(table, workload).unwrap_or_else(|| "–".to_owned());
        let cells: String = tables.iter().map(|table| format!(" {} |", cell(table))).collect();
        let _ = writeln!(text, "| {} |{cells}", what(workload));
    }
    text
}

fn what(workload: &Workload) -> String {
    workload.what.to_owned() + if workload.figure == Figure::Median { " (median)" } else { "" }
}

fn head() -> String {
    let rclone = "1.75.2";
    let version = |package: &str| {
        let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
        output.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    format!(
        "# Benchmarks\n\n{HEAD}\n\nMeasured on {} processors with Linux {}; rclone {rclone}, sshfs {}, lftp {}, curl {}.\n\n",
        std::thread::available_parallelism().map_or(0, usize::from),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .split('-')
            .next()
            .unwrap_or_default()
            .trim(),
        version("sshfs"),
        version("lftp"),
        version("curl"),
    )
}

/// Ratios first.
fn compared(row: &Row, ours: Option<&Row>) -> String {
    match ours.and_then(|ours| ratio(row, ours)) {
        Some(ratio) if row.seconds.is_none() => format!("over {} ({})", times(ratio), figure(row)),
        Some(ratio) => format!("{} ({})", times(ratio), figure(row)),
        None => figure(row),
    }
}

fn times(ratio: f64) -> String {
    if ratio >= 10.0 { format!("{ratio:.0}×") } else { format!("{ratio:.1}×") }
}

fn figure(row: &Row) -> String {
    match (row.seconds, &row.failure) {
        (Some(value), _) => seconds(value),
        (None, Some(failure)) => failure.clone(),
        (None, None) => format!("more than {} s", row.limit_seconds),
    }
}

fn seconds(value: f64) -> String {
    match value {
        _ if value < 0.01 => format!("{:.1} ms", value * 1e3),
        _ if value < 1.0 => format!("{:.0} ms", value * 1e3),
        _ if value < 100.0 => format!("{value:.1} s"),
        _ => format!("{value:.0} s"),
    }
}

fn bytes(count: u64) -> String {
    match count {
        _ if count >= 10 << 20 => format!("{} MiB", count >> 20),
        _ if count >= 10 << 10 => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}

fn title(peer: Peer) -> &'static str {
    if peer == Peer::Rclone { "rclone mount" } else { peer.name() }
}

const HEAD: &str = "\
Written by `make bench`, which measures the usual rows anew and keeps the others as they were (as root on Debian 12; `make bench
ARGS=--help` tells how to choose, `--full` measures all).
Absolute times belong to the machine; ratios and counts do not.

The client and the server are two network namespaces of one machine, joined by a wire that carries packets later, slower or
not at all (`tests/support/link`). The server requires TLS session reuse and speaks TLS 1.3; ftpsfs is mounted with
`connections=8`. Each line is a fresh mount: nothing is cached but what the line says. The other programs work on the same
tree behind the same link, with their defaults:

- **rclone mount** cannot reuse TLS sessions: its server, and no other's, does not require it.
- **sshfs** speaks to OpenSSH instead of FTP: it is what people use where they can.
- **lftp** and **curl** make no file system; they do the same with their own commands where they have one (`mirror --parallel=8`
  for `tar`, `grep` and `rsync`, `pget -n 4` for the large file), and log in within the time shown.

The number before the brackets is how many times as long as ftpsfs it took.";

const COUNTS: &str = "\
*Round trips* is the figure above divided by the delay. *Commands* and *data connections* are the server's own log's. *Fetched*
is everything that the wire carried to the client, headers included; *used* is what the programs read of files.";

/// Why a goal may be missed.
const REASONS: &[(&str, &str)] = &[
    (
        "tar",
        "`tar`: vsftpd needs four round trips for a file whatever is asked ahead. The TCP connection, the TLS hello and the \
         bytes take one each; and it closes the connection only when our kernel has acknowledged its end, and says then that \
         the file is complete and where the next one may be fetched. 2,876 files × 4 / 8 connections are 1,438 round trips.",
    ),
    (
        "read",
        "1 GiB in order: one download brings what the server's send buffer holds each round trip, here some 5 MiB, which is \
         more than 1 Gbit/s: on a link of that rate it took 9.2 s, and `pget` 10.0 s; of 500 Mbit/s 18.1 and 19.0 s. Without a \
         limit `pget` has four downloads, each for a quarter of the file, and so has the line with four readers. A mount gives \
         the bytes out in order and keeps few of them. Parts of 16 to 48 MiB by three to six downloads, with as much memory as \
         they liked, took 4 to 41 s: a new connection is slow for eight round trips, and where the others fill the link (here \
         the processors) for a second and more.",
    ),
];

/// What is to be reached under the usual conditions (seconds).
const GOALS: &[(&str, f64)] = &[
    ("first-byte-small", 0.07),
    ("first-byte", 0.070),
    ("random-4k", 0.070),
    ("ls-10000", 0.8),
    ("find", 3.0),
    ("tar", 25.0),
    ("write-small", 8.0),
];
