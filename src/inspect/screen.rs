//! How mounts are, for a person.

use crate::meter::Operation;
use crate::status::{Document, Latency, Transfer};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

/// How much is told of each mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    Full,
    /// What changes.
    Short,
}

/// The width of what is not shown on a terminal.
pub(super) const COLUMNS: usize = 80;
/// Wider bars are no clearer.
const BAR_MAX: usize = 60;
/// Where the text of an entry begins.
const INDENT: usize = 14;
/// An answer that takes longer is worth a word (seconds).
const SLOW: f64 = 5.0;
const YELLOW: &str = "1;33";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const BOLD: &str = "1";

/// Writes of all mounts, `columns` wide.
pub(super) fn text(documents: &[Document], detail: Detail, colours: bool, columns: usize) -> String {
    let blocks: Vec<String> = documents.iter().map(|document| block(document, detail, colours, columns)).collect();
    blocks.join("\n")
}

/// See <https://no-color.org>.
pub(super) fn has_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn block(document: &Document, detail: Detail, colours: bool, columns: usize) -> String {
    let mut page = Page { text: String::new(), colours, columns };
    page.head(document);
    let (colour, state) = state(document);
    page.painted("server", colour, &state);
    if detail == Detail::Full {
        page.entry("account", &account(document));
    }
    page.entry("connections", &connections(document));
    page.entry("TLS sessions", &sessions(document));
    page.entry("requests", &requests(document));
    page.entry("cache", &cache(document));
    page.entry("disk cache", &disk(document));
    page.entry("uploads", &uploads(document));
    if let Some(recovery) = document.recovery.filter(|recovery| recovery.files > 0) {
        let kept = format!(
            "{} ({}) could not be uploaded: see {}",
            counted(recovery.files as u64, "file"),
            size(recovery.bytes),
            document.files.recovery_dir
        );
        page.painted("recovery", RED, &kept);
    }
    if detail == Detail::Full {
        page.latency(document);
    }
    page.transfers(document);
    page.text
}

struct Page {
    text: String,
    colours: bool,
    columns: usize,
}

impl Page {
    fn head(&mut self, document: &Document) {
        let age = format!("mounted for {}", long(document.mounted_seconds));
        let place = cut_front(&document.mountpoint, self.columns.saturating_sub(age.chars().count() + 2));
        let gap = " ".repeat(self.columns.saturating_sub(place.chars().count() + age.chars().count()));
        let place = self.paint(BOLD, &place);
        self.line(&format!("{place}{gap}{age}"));
        self.entry("source", &document.source);
    }

    fn entry(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            let text = cut_end(text, self.columns.saturating_sub(INDENT));
            self.line(&format!("{key:INDENT$}{text}"));
        }
    }

    fn painted(&mut self, key: &str, colour: &str, text: &str) {
        let text = cut_end(text, self.columns.saturating_sub(INDENT));
        let painted = self.paint(colour, &text);
        self.line(&format!("{key:INDENT$}{painted}"));
    }

    /// Two operations a line where there is room.
    fn latency(&mut self, document: &Document) {
        let told: Vec<String> = document.latency.iter().map(|(operation, times)| latency(*operation, times)).collect();
        let wide = told.iter().map(|text| text.chars().count()).max().unwrap_or(0) + 3;
        let room = self.columns.saturating_sub(INDENT) + 3;
        let together = (room / wide.max(1)).clamp(1, 3);
        for (row, pair) in told.chunks(together).enumerate() {
            let cells: Vec<String> = pair.iter().map(|text| format!("{text:wide$}")).collect();
            self.entry(if row == 0 { "median, 99 %" } else { "" }, cells.concat().trim_end());
        }
    }

    fn transfers(&mut self, document: &Document) {
        for transfer in &document.transfers {
            self.transfer(transfer);
        }
        if document.transfers_left_out > 0 {
            self.line(&format!("  and {} more", counted(document.transfers_left_out as u64, "transfer")));
        }
    }

    /// The name, and the bar below it.
    fn transfer(&mut self, transfer: &Transfer) {
        let arrow = if transfer.direction == "up" { "up  " } else { "down" };
        let name = cut_front(&transfer.name, self.columns.saturating_sub(INDENT));
        self.line(&format!("  {arrow}{:1$}{name}", "", INDENT - 6));
        let whole = transfer.size_bytes.filter(|size| *size > 0);
        let Some((part, whole)) = whole.map(|size| (part(transfer.done_bytes, size), size)) else {
            return self.line(&format!("{:INDENT$}{}, {}", "", size(transfer.done_bytes), pace(transfer)));
        };
        let figures = format!("{:3.0} % of {}, {}", (part * 100.0).floor(), size(whole), pace(transfer));
        let room = self.columns.saturating_sub(INDENT + figures.chars().count() + 1);
        let bar = self.paint(GREEN, &bar(part, room.min(BAR_MAX)));
        self.line(&format!("{:INDENT$}{bar} {figures}", ""));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn state(document: &Document) -> (&'static str, String) {
    match (&document.away, &document.server.encryption) {
        (Some(away), _) => (RED, format!("AWAY for {}: {}", span(away.seconds), away.error)),
        (None, None) => (BOLD, "not connected yet".to_owned()),
        (None, Some(_)) if document.waiting.longest_seconds >= SLOW => {
            (YELLOW, format!("a request waits for its answer for {}", span(document.waiting.longest_seconds)))
        }
        (None, Some(encryption)) => {
            let cipher = encryption.cipher.trim_start_matches("TLS13_").trim_start_matches("TLS_");
            (GREEN, format!("answers, {} TLS: {}, {cipher}", document.server.tls_mode, encryption.version))
        }
    }
}

fn account(document: &Document) -> String {
    let server = &document.server;
    let rights = if document.read_only { ", read-only" } else { "" };
    format!("{} at {}, port {}{rights}", server.user, server.host, server.port)
}

fn connections(document: &Document) -> String {
    let connections = &document.server.connections;
    let mut text = format!("{} in use, {} idle, at most {}", connections.lent, connections.idle, connections.limit);
    if connections.waiting > 0 {
        let _ = write!(text, "; {} for one", waits(connections.waiting));
    }
    if let Some(words) = &connections.refusal {
        let _ = write!(text, " of {} (the server: {words})", connections.configured);
    }
    text
}

fn sessions(document: &Document) -> String {
    let counts = &document.server.counts;
    let mut text = format!(
        "{} resumed, {}; {}, {} replaced",
        counts.data_resumed,
        counted(counts.data_full, "full handshake"),
        counted(counts.logins, "login"),
        counted(counts.replaced, "connection")
    );
    if counts.reuse_refused > 0 {
        let _ = write!(text, ", {} refused", counts.reuse_refused);
    }
    text
}

fn requests(document: &Document) -> String {
    let asked: u64 = document.latency.values().map(|times| times.count).sum();
    let retried = document.server.counts.retried;
    let mut text = format!("{asked} asked, {retried} again, {} failed", document.failures);
    if document.waiting.requests > 0 {
        let longest = span(document.waiting.longest_seconds);
        let _ = write!(text, "; {} now, the longest for {longest}", waits(document.waiting.requests));
    }
    text
}

fn cache(document: &Document) -> String {
    let (memory, counts) = (&document.files.memory, &document.files.counts);
    let known = counts.blocks_known + counts.blocks_on_disk;
    format!(
        "{} of {}; hits: content {}, names {}",
        size(memory.bytes),
        size(memory.bytes_max),
        ratio(known, known + counts.blocks_waited),
        ratio(counts.names_known, counts.names_known + counts.names_asked)
    )
}

fn disk(document: &Document) -> String {
    let Some(disk) = &document.files.disk else { return String::new() };
    format!("{} of {} in {}", size(disk.bytes), size(disk.bytes_max), disk.directory)
}

fn uploads(document: &Document) -> String {
    let (backlog, writing) = (&document.files.backlog, &document.files.writing);
    let mut parts = Vec::new();
    if writing.files > 0 {
        parts.push(format!("{} being written ({})", counted(writing.files as u64, "file"), size(writing.bytes)));
    }
    if writing.failed > 0 {
        parts.push(format!("{} of them FAILED", writing.failed));
    }
    if backlog.files > 0 {
        let files =
            if backlog.files == 1 { "1 file waits".to_owned() } else { format!("{} files wait", backlog.files) };
        parts.push(format!("{files} ({})", size(backlog.bytes)));
    }
    if backlog.failed > 0 {
        parts.push(format!("{} failed, tried again", backlog.failed));
    }
    parts.join(", ")
}

fn latency(operation: Operation, times: &Latency) -> String {
    let name = format!("{operation:?}").to_lowercase();
    let (median, most) = (span(times.median_seconds), span(times.p99_seconds));
    format!("{name:8} {:>5}x {median:>7} {most:>7}", times.count)
}

fn pace(transfer: &Transfer) -> String {
    if transfer.rests {
        return "rests".to_owned();
    }
    let left = transfer.seconds_left.map(|left| format!(", {} left", clock(left))).unwrap_or_default();
    format!("{}/s{left}", size(whole(transfer.bytes_per_second)))
}

fn bar(part: f64, width: usize) -> String {
    if width < 4 {
        return String::new();
    }
    let inside = width - 2;
    let full = usize::try_from(whole(part * exact(inside as u64))).unwrap_or(inside).min(inside);
    format!("[{}{}]", "#".repeat(full), "-".repeat(inside - full))
}

fn waits(count: usize) -> String {
    if count == 1 { "1 waits".to_owned() } else { format!("{count} wait") }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn ratio(hits: u64, all: u64) -> String {
    if all == 0 { "none asked".to_owned() } else { format!("{:.1} %", part(hits, all) * 100.0) }
}

/// As `512 B`, `1.5 KiB` or `340 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (exact(bytes) / 1024.0, 0);
    // What would be shown as 1024 is one of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// As `0.4 ms`, `35 ms`, `1.2 s` or `3 min`.
fn span(seconds: f64) -> String {
    match seconds {
        ..0.00995 => format!("{:.1} ms", seconds * 1e3),
        0.00995..0.9995 => format!("{:.0} ms", seconds * 1e3),
        0.9995..99.5 => format!("{seconds:.1} s"),
        _ => long(whole(seconds)),
    }
}

/// As `12 s`, `5 min`, `3 h 20 min` or `2 days 4 h`.
fn long(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} days {} h", hours / 24, hours % 24),
    }
}

/// As `0:07` or `1:02:30`.
fn clock(seconds: f64) -> String {
    let seconds = whole(seconds.ceil());
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

fn cut_end(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(room.saturating_sub(1)).collect::<String>())
}

fn cut_front(text: &str, room: usize) -> String {
    let count = text.chars().count();
    if count <= room {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(count - room.saturating_sub(1)).collect::<String>())
}

fn part(some: u64, all: u64) -> f64 {
    (exact(some) / exact(all)).min(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn exact(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stays in the range")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_three_digits_and_their_unit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_349, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (340 << 20, "340 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (seconds, expected) in [
            (0.0004, "0.4 ms"),
            (0.035, "35 ms"),
            (0.99951, "1.0 s"),
            (12.34, "12.3 s"),
            (100.0, "100 s"),
            (1200.0, "20 min"),
            (12_000.0, "3 h 20 min"),
            (187_200.0, "2 days 4 h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        assert_eq!([clock(6.2), clock(3750.0)], ["0:07", "1:02:30"]);
    }

    #[test]
    fn a_line_is_never_wider_than_the_screen() {
        let transfer = |name: &str, size_bytes| Transfer {
            name: name.repeat(30),
            size_bytes,
            done_bytes: 5 << 30,
            bytes_per_second: 1e9,
            seconds_left: Some(1e5),
            ..Transfer::default()
        };
        let mut document = Document {
            source: "ftps://h/".repeat(20),
            transfers: vec![transfer("/name", Some(7 << 30)), transfer("ü", None), transfer("x", Some(0))],
            ..Document::default()
        };
        document.latency.insert(Operation::Download, Latency { count: 1_000_000, ..Latency::default() });
        document.server.connections.refusal = Some("no more ".repeat(30));
        for columns in [80, 132, 200] {
            for line in text(&[document.clone()], Detail::Full, false, columns).lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        let narrow = text(&[document.clone()], Detail::Full, false, 80);
        assert!(narrow.contains("71 %") && narrow.contains("[####"), "{narrow}");
        assert!(!narrow.contains('\x1b') && text(&[document], Detail::Full, true, 80).contains('\x1b'));
    }
}
