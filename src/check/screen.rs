//! The report for a person: one screen of plain words, 80 columns wide.

use crate::check::diagnose::Found;
use crate::check::report::{Report, Verdict};
use crate::check::trouble::Level;
use crate::ftp::check::facts::{
    Connections, End, Facts, Handshake, Listed, Passive, Port, Reuse, Shown, Trial, Upload,
};
use std::fmt::Write as _;
use std::time::Duration;

/// Writes the whole report.
pub fn show(report: &Report, colours: bool) -> String {
    let mut page = Page { text: String::new(), colours };
    page.facts(&report.facts, &report.url);
    for found in &report.troubles {
        page.trouble(found);
    }
    page.verdict(report);
    page.text
}

struct Page {
    text: String,
    colours: bool,
}

impl Page {
    fn facts(&mut self, facts: &Facts, url: &str) {
        self.line(&format!("ftpsfs check {url}"));
        self.entry("address", &addresses(facts));
        self.entry("server", &server(facts));
        self.entry("encryption", &facts.tls.as_ref().map(|tls| encryption(tls, facts)).unwrap_or_default());
        self.entry("certificate", &facts.certificates.first().map(|own| certificate(own, facts)).unwrap_or_default());
        self.entry("login", facts.login.as_deref().unwrap_or_default());
        self.entry("directory", &directory(facts));
        for reuse in &facts.reuse {
            self.reuse(reuse);
        }
        self.entry("data ports", &facts.passive.as_ref().map(ports).unwrap_or_default());
        self.entry("upload", &facts.upload.as_ref().map(upload).unwrap_or_default());
        self.entry("connections", &facts.connections.as_ref().map(connections).unwrap_or_default());
        self.entry("features", &features(facts));
    }

    /// The sentence that people come for, and what it was found out by.
    fn reuse(&mut self, reuse: &Reuse) {
        let name = &reuse.version.to_string();
        if let Some(why) = &reuse.not_tried
            && reuse.own.is_empty()
        {
            let text = match reuse.unknown {
                true => "the server does not speak it".to_owned(),
                false => format!("session reuse was not tried: {why}"),
            };
            return self.entry(name, &text);
        }
        self.entry(name, &format!("session reuse is {}{}", judgement(reuse), tickets(reuse)));
        let trials = [
            ("own session", reuse.own.last()),
            ("no session", reuse.without.as_ref()),
            ("another's", reuse.others.as_ref()),
        ];
        for (what, trial) in trials {
            if let Some(trial) = trial {
                self.wrapped(&format!("{:INDENT$}{what:WHAT$}", ""), &outcome(trial));
            }
        }
    }

    fn trouble(&mut self, found: &Found) {
        let (word, colour) = match found.level {
            Level::Error => ("error", RED),
            Level::Warning => ("warning", YELLOW),
            Level::Note => ("note", BOLD),
        };
        self.text.push('\n');
        let head = format!("{word}: {} [{}]", found.title, found.id);
        let says_more = found.words.is_some() || found.cure != NOTHING;
        let head = if says_more { head } else { format!("{head}. {}", found.cause) };
        let painted = self.paint(colour, word);
        let at = self.text.len();
        self.wrapped("", &head);
        self.text.replace_range(at..at + word.len(), &painted);
        if let Some(words) = &found.words {
            self.wrapped("  said   ", words);
        }
        if says_more {
            self.wrapped("  cause  ", &found.cause);
            self.wrapped("  cure   ", &found.cure);
        }
    }

    fn verdict(&mut self, report: &Report) {
        let colour = match report.verdict {
            Verdict::Good => GREEN,
            Verdict::Warnings => YELLOW,
            Verdict::Bad => RED,
        };
        let (first, rest) = report.summary.split_at(report.summary.find([':', ',']).unwrap_or(0));
        let painted = self.paint(colour, first);
        self.text.push('\n');
        let at = self.text.len();
        self.wrapped("", &format!("{first}{rest}"));
        self.text.replace_range(at..at + first.len(), &painted);
        // What is to be pasted is not broken.
        let lines = [("first", &report.prepare), ("by hand", &report.command), ("/etc/fstab", &report.fstab)];
        for (what, text) in lines {
            if let Some(text) = text {
                self.line(&format!("  {what:PASTED$}{text}"));
            }
        }
        if let Some(note) = &report.note {
            self.wrapped(&format!("  {:PASTED$}", "note"), note);
        }
    }

    fn entry(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.wrapped(&format!("{key:INDENT$}"), text);
        }
    }

    /// `text` behind `head`, its further lines below itself.
    fn wrapped(&mut self, head: &str, text: &str) {
        let indent = head.chars().count();
        let mut line = head.to_owned();
        let mut length = indent;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let count = word.chars().count();
            if length > indent && length + 1 + count > COLUMNS {
                self.line(&line);
                line = " ".repeat(indent);
                length = indent;
            } else if length > indent {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += count;
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn addresses(facts: &Facts) -> String {
    let mut text = Vec::new();
    for address in &facts.addresses {
        text.push(match (&address.connected, &address.failure) {
            (Some(time), _) => format!("{} in {}", address.address, short(*time)),
            (None, Some(why)) => format!("{}: {}", address.address, plain(why)),
            (None, None) => format!("{} not tried", address.address),
        });
    }
    if let Some(time) = facts.round_trip {
        text.push(format!("round trip {}", short(time)));
    }
    text.join("; ")
}

/// Without the number that the system's errors end in.
fn plain(why: &str) -> &str {
    why.split(" (os error").next().unwrap_or(why)
}

fn server(facts: &Facts) -> String {
    let Some(greeting) = &facts.greeting else { return String::new() };
    let cut = cut(greeting, GREETING_CHARS_MAX);
    facts.software.map_or_else(|| format!("unknown, greets: {cut}"), |software| format!("{software}, greets: {cut}"))
}

fn encryption(tls: &Handshake, facts: &Facts) -> String {
    let mut text = vec![if facts.auth.is_some() { "explicit".to_owned() } else { "implicit".to_owned() }];
    text.push(tls.version.clone());
    text.extend(
        tls.cipher.iter().map(|cipher| cipher.trim_start_matches("TLS13_").trim_start_matches("TLS_").to_owned()),
    );
    text.extend(tls.group.clone());
    if tls.hello_retry_request {
        text.push("HelloRetryRequest (one round trip more, once)".to_owned());
    }
    if !tls.is_tls13 {
        let with = if tls.extended_master_secret { "extended" } else { "NO extended" };
        text.push(format!("{with} master secret"));
    }
    text.extend(tls.took.map(|took| format!("in {}", short(took))));
    text.join(", ")
}

fn certificate(own: &Shown, facts: &Facts) -> String {
    let verified = match facts.verified {
        Some(true) if facts.believed_by == "nothing" => "NOT VERIFIED".to_owned(),
        Some(true) => format!("verified by {}", facts.believed_by),
        Some(false) => "NOT TRUSTED".to_owned(),
        None => "not looked at".to_owned(),
    };
    let issuer = if own.self_signed { "itself".to_owned() } else { own.issuer.clone() };
    let names = if own.names.is_empty() { "no name".to_owned() } else { own.names.join(", ") };
    format!("{verified}: for {names}; issued by {issuer}; {}; {}; pin={}", time_left(own), own.key, own.pin)
}

fn time_left(own: &Shown) -> String {
    if own.not_yet {
        format!("valid from {} on", own.not_before)
    } else if own.days_left < 0 {
        format!("EXPIRED {}", own.not_after)
    } else {
        format!("until {} ({} days)", day(&own.not_after), own.days_left)
    }
}

fn day(moment: &str) -> &str {
    moment.split(' ').next().unwrap_or(moment)
}

fn directory(facts: &Facts) -> String {
    let name = facts.directory.as_deref().unwrap_or_default();
    match &facts.listing {
        Some(listing) => format!("{name}: {}", listed(listing)),
        None if facts.login.is_some() => format!("{name}: NOT LISTED"),
        None => String::new(),
    }
}

fn listed(listing: &Listed) -> String {
    let mut text = format!("{} entries by {}", listing.entries, listing.command);
    if let Some(form) = listing.form {
        let _ = write!(text, ", read in the form {form}");
    }
    match listing.ahead_of_utc_s {
        Some(0) => text.push_str(", times in UTC"),
        Some(seconds) => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.unsigned_abs() / 60;
            let _ = write!(text, ", times in UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
        None if listing.command == "MLSD" => text.push_str(", times in UTC"),
        None => {}
    }
    text
}

fn judgement(reuse: &Reuse) -> &'static str {
    match (reuse.is_required(), reuse.is_honoured()) {
        (true, true) => "REQUIRED, and works",
        (true, false) => "REQUIRED, and does NOT work",
        (false, true) => "honoured, not required",
        (false, false) if reuse.without.is_none() => "not known",
        (false, false) => "neither required nor honoured",
    }
}

fn tickets(reuse: &Reuse) -> String {
    let Some(handshake) = &reuse.handshake else { return String::new() };
    let kept = handshake.lifetime.map_or_else(String::new, |lifetime| format!(", kept for {}", long(lifetime)));
    match (handshake.is_tls13, handshake.tickets, handshake.session_id) {
        (true, 0, _) if reuse.tickets > 0 => format!("; {} tickets, none before EPSV{kept}", reuse.tickets),
        (true, 0, _) => "; no tickets".to_owned(),
        (true, 1, _) => format!("; 1 ticket{kept}"),
        (true, tickets, _) => format!("; {tickets} tickets{kept}"),
        (false, 0, true) => "; by session ID, no ticket".to_owned(),
        (false, 0, false) => "; neither ticket nor session ID".to_owned(),
        (false, ..) => format!("; by ticket{kept}"),
    }
}

fn outcome(trial: &Trial) -> String {
    let tls = match (trial.offered, trial.resumed) {
        (_, Some(true)) => "resumed",
        (true, Some(false)) => "offered, not resumed",
        (false, Some(false)) => "full handshake",
        (_, None) => "no handshake",
    };
    match &trial.end {
        End::Accepted => format!("{tls}, accepted"),
        End::Refused(words) => format!("{tls}, refused: {words}"),
        End::Failed(why) => format!("{tls}, failed: {why}"),
    }
}

fn ports(passive: &Passive) -> String {
    let port = |name: &str, port: &Port| match port {
        Port::Open(_) => format!("{name} works"),
        Port::Blocked(port, why) => format!("{name} leads to port {port}, which is closed ({})", plain(why)),
        Port::Refused(words) => format!("{name} refused ({words})"),
    };
    let mut text = format!("{}; {}", port("EPSV", &passive.epsv), port("PASV", &passive.pasv));
    if let Some(other) = &passive.other_address {
        let _ = write!(text, ", naming {other} instead of {}", passive.address);
    }
    text
}

fn upload(upload: &Upload) -> String {
    if let Some(failure) = &upload.failure {
        return format!("FAILED: {failure}");
    }
    let mut text = format!("{} bytes stored", upload.sent);
    if let Some(stored) = upload.stored {
        text = if stored == upload.sent { text + " whole" } else { format!("{text}, but {stored} are there") };
    }
    if let Some(end) = upload.end {
        let _ = write!(text, ", confirmed in {}", short(end));
    }
    match upload.close_notify {
        Some(true) => text.push_str(" after its close_notify"),
        Some(false) => text.push_str(" without a close_notify"),
        None => text.push_str("; the server left the data connection open"),
    }
    for (what, words) in
        [("renamed", &upload.rename_refused), ("added to", &upload.append_refused), ("deleted", &upload.delete_refused)]
    {
        let not = if words.is_some() { "NOT " } else { "" };
        let _ = write!(text, ", {not}{what}");
    }
    if let Some(ahead) = upload.clock_ahead_s {
        let _ = write!(text, "; its clock {ahead:+} s");
    }
    text
}

fn connections(connections: &Connections) -> String {
    let Connections { opened, refused } = connections;
    match refused {
        Some(words) => format!("{opened} at once, then: {words}"),
        None => format!("{opened} at once and no limit met"),
    }
}

fn features(facts: &Facts) -> String {
    let words = facts.features.iter().map(|line| cut(line, FEATURE_CHARS_MAX)).collect::<Vec<_>>();
    cut(&words.join(", "), FEATURES_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// As `0.4 ms`, `35 ms` or `1.2 s`.
fn short(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        10.0..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1e3),
    }
}

/// As `7 days`, `4.4 hours` or `50 minutes`.
fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ if seconds < 10 * YEAR_SECONDS => format!("{} days", seconds / 86_400),
        _ => "years".to_owned(),
    }
}

/// A cure that is none.
const NOTHING: &str = "Nothing to do.";
const COLUMNS: usize = 80;
/// Where the text of an entry begins.
const INDENT: usize = 13;
/// The width of what was tried.
const WHAT: usize = 13;
/// The width of what is to be pasted where.
const PASTED: usize = 12;
const GREETING_CHARS_MAX: usize = 72;
const FEATURE_CHARS_MAX: usize = 16;
const FEATURES_CHARS_MAX: usize = 190;
const YEAR_SECONDS: u64 = 31_557_600;
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const GREEN: &str = "1;32";
const BOLD: &str = "1";
