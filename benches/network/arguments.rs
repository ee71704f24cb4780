//! What to measure.

use crate::peers::Peer;
use crate::results::Conditions;
use crate::support::server::Kind;
use crate::work::{WORKLOADS, Workload};
use std::time::Duration;

/// What was asked for.
#[derive(Debug)]
pub struct Arguments {
    pub workloads: Vec<&'static Workload>,
    /// Whose work it is, in this order.
    pub peers: Vec<Peer>,
    pub conditions: Vec<Conditions>,
    /// How long a peer may take before it is left.
    pub limit: Duration,
    /// Options for ftpsfs besides `connections=8`.
    pub options: Vec<String>,
    /// Whether docs/benchmarks.md is written.
    pub writes: bool,
}

const USAGE: &str = "\
usage: make bench ARGS='…', of
  --workload NAME,…   or all; usually those of the first table
  --peers NAME,…      of rclone, sshfs, lftp, curl, or none; usually all of them; and memory, a plain file
                      system in memory, for what reads the sources: tar, tar-again, grep
  --rtt MS,…          usually 20; 0 is loopback
  --loss PERCENT,…    usually 0
  --rate MBIT,…       usually 0: unlimited
  --server NAME,…     vsftpd (usually), proftpd, pureftpd or pyftpdlib
  --limit SECONDS     how long a peer may take, usually 60
  --others            measure the peers only; ftpsfs was measured before
  -o OPTIONS          for ftpsfs, besides connections=8
  --full              all workloads, delays, losses, rates and servers: hours
  --write             write docs/benchmarks.md of everything measured so far; without other arguments, so it does
  --no-run            measure nothing";

impl Arguments {
    /// # Errors
    ///
    /// How it is used.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut workloads: Vec<&Workload> = WORKLOADS.iter().filter(|workload| workload.is_usual).collect();
        let mut peers = Peer::OTHERS.to_vec();
        let (mut delays, mut losses, mut rates, mut servers) = (vec![20], vec![0.0], vec![0], vec![Kind::Vsftpd]);
        let (mut limit, mut options) = (Duration::from_secs(60), Vec::new());
        let (mut ours, mut writes) = (true, words.is_empty());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut list = || words.next().map(|word| word.split(',').collect::<Vec<_>>()).ok_or(USAGE);
            match word.as_str() {
                "--workload" => {
                    let names = list()?;
                    let wanted = |workload: &&Workload| names.contains(&"all") || names.contains(&workload.name);
                    workloads = WORKLOADS.iter().filter(wanted).collect();
                    if names.iter().any(|name| *name != "all" && Workload::named(name).is_none()) {
                        let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
                        return Err(format!("the workloads are {}", known.join(", ")));
                    }
                }
                "--peers" => {
                    peers = list()?
                        .iter()
                        .filter(|name| **name != "none")
                        .map(|name| named_peer(name))
                        .collect::<Result<_, _>>()?;
                }
                "--rtt" => delays = numbers(&list()?)?,
                "--loss" => losses = numbers(&list()?)?,
                "--rate" => rates = numbers(&list()?)?,
                "--server" => servers = list()?.iter().map(|name| named_server(name)).collect::<Result<_, _>>()?,
                "--limit" => limit = Duration::from_secs(numbers(&list()?)?[0]),
                "-o" => options = list()?.iter().map(|&option| option.to_owned()).collect(),
                "--others" => ours = false,
                "--write" => writes = true,
                "--no-run" => workloads.clear(),
                "--full" => {
                    workloads = WORKLOADS.iter().collect();
                    (delays, losses, rates) = (vec![0, 5, 20, 100], vec![0.0, 0.1], vec![0, 100]);
                    (servers, writes) = (vec![Kind::Vsftpd, Kind::Proftpd], true);
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        let mut conditions = Vec::new();
        for &server in &servers {
            for &rtt_ms in &delays {
                for &loss_percent in &losses {
                    for &rate_mbit in &rates {
                        let server = format!("{server:?}").to_lowercase();
                        conditions.push(Conditions { server, rtt_ms, loss_percent, rate_mbit });
                    }
                }
            }
        }
        let peers = ours.then_some(Peer::Ftpsfs).into_iter().chain(peers).collect();
        Ok(Self { workloads, peers, conditions, limit, options, writes })
    }
}

fn numbers<T: std::str::FromStr>(words: &[&str]) -> Result<Vec<T>, String> {
    words.iter().map(|word| word.parse().map_err(|_| USAGE.to_owned())).collect()
}

fn named_peer(name: &str) -> Result<Peer, String> {
    Peer::OTHERS.into_iter().chain([Peer::Memory]).find(|peer| peer.name() == name).ok_or_else(|| USAGE.to_owned())
}

pub fn named_server(name: &str) -> Result<Kind, String> {
    match name {
        "vsftpd" => Ok(Kind::Vsftpd),
        "proftpd" => Ok(Kind::Proftpd),
        "pureftpd" => Ok(Kind::PureFtpd),
        "pyftpdlib" => Ok(Kind::Pyftpdlib),
        _ => Err(USAGE.to_owned()),
    }
}
