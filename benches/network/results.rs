//! What was measured, kept between runs.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// Under which circumstances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub server: String,
    /// 0 is loopback, where nothing is lost and nothing limited.
    pub rtt_ms: u64,
    pub loss_percent: f64,
    /// 0 is unlimited.
    pub rate_mbit: u64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    pub peer: String,
    pub conditions: Conditions,
    /// The figure; `None` where it took longer than `limit_seconds`, or failed.
    pub seconds: Option<f64>,
    pub limit_seconds: u64,
    /// Why there is no figure.
    pub failure: Option<String>,
    /// All of the time from the first to the last.
    pub total_seconds: f64,
    /// Commands by the server's log, the most frequent first.
    pub commands: Vec<(String, usize)>,
    /// Over the wire to the client, with every header.
    pub bytes_fetched: Option<u64>,
    /// What the work asked for.
    pub bytes_used: u64,
    pub cpu_seconds: Option<f64>,
    pub vm_hwm_kib: Option<u64>,
    pub date: String,
}

impl Row {
    /// Commands that go with a data connection.
    pub fn data_connections(&self) -> usize {
        let transfers = ["RETR", "STOR", "APPE", "LIST", "NLST", "MLSD"];
        self.commands.iter().filter(|(verb, _)| transfers.contains(&verb.as_str())).map(|(_, count)| count).sum()
    }

    pub fn commands_total(&self) -> usize {
        self.commands.iter().map(|(_, count)| count).sum()
    }

    /// The figure in round trips.
    pub fn round_trips(&self) -> Option<f64> {
        (self.conditions.rtt_ms > 0).then(|| Some(self.seconds? * 1e3 / self.conditions.rtt_ms as f64))?
    }
}

/// Everything measured so far.
pub fn load() -> Vec<Row> {
    let text = fs::read_to_string(path()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Keeps `row` in place of the one that measured the same before.
pub fn keep(row: &Row) {
    let is_same =
        |old: &Row| (&old.workload, &old.peer, &old.conditions) == (&row.workload, &row.peer, &row.conditions);
    let mut rows: Vec<Row> = load().into_iter().filter(|old| !is_same(old)).collect();
    rows.push(row.clone());
    let lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
    let path = path();
    // The build may have gone elsewhere.
    fs::create_dir_all(path.parent().expect("it is in target")).expect("target can be written");
    fs::write(path, lines.concat()).expect("target can be written");
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/network-bench.jsonl"))
}
