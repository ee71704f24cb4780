//! From facts to troubles.

use crate::check::trouble::{self, Level, Trouble};
use crate::ftp::check::facts::{Facts, Handshake, Port, Reuse, Shown, Stage, Trial};
use crate::ftp::error::{Error, Flaw};
use crate::ftp::settings::{Settings, TlsMode, Trust};
use serde::Serialize;
use std::io;

/// A trouble that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its name, and its heading in docs/troubleshooting.md.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub title: String,
    /// The words that give it away: the server's own, where it said any.
    pub words: Option<String>,
    /// Why that is.
    pub cause: String,
    /// What helps.
    pub cure: String,
}

impl Found {
    fn new(trouble: Trouble, words: impl Into<Option<String>>) -> Self {
        Self {
            id: trouble.id,
            level: trouble.level,
            title: trouble.title.to_owned(),
            words: words.into(),
            cause: trouble.cause.to_owned(),
            cure: trouble.cure.to_owned(),
        }
    }

    fn with_cure(mut self, more: impl AsRef<str>) -> Self {
        self.cure = format!("{} {}", self.cure, more.as_ref());
        self
    }
}

/// All troubles, the worst first.
pub fn diagnose(facts: &Facts, settings: &Settings) -> Vec<Found> {
    let mut found: Vec<Found> =
        facts.failures.iter().map(|(stage, error)| of_error(*stage, error, facts, settings)).collect();
    addresses(facts, &mut found);
    certificate(facts, settings, &mut found);
    reuse(facts, &mut found);
    passive(facts, &mut found);
    listing(facts, &mut found);
    upload(facts, &mut found);
    limits(facts, settings, &mut found);
    found.sort_by_key(|found| std::cmp::Reverse(found.level));
    // One blocked port stops several steps.
    let mut seen = Vec::new();
    found.retain(|found| {
        !seen.contains(&found.id) && {
            seen.push(found.id);
            true
        }
    });
    found
}

fn of_error(stage: Stage, error: &Error, facts: &Facts, settings: &Settings) -> Found {
    let quoted = || Some(error.to_string());
    match error {
        Error::Untrusted { why, flaw, .. } => untrusted(why, *flaw, facts, settings),
        Error::LoginRefused { reply } => Found::new(trouble::LOGIN_REFUSED, reply.to_string()),
        Error::Busy { why } => Found::new(trouble::TOO_MANY, why.trim_start_matches("the server said: ").to_owned()),
        Error::NoSuchMount { pathname, reply } => {
            let mut found = Found::new(trouble::NO_DIRECTORY, reply.to_string());
            found.title = format!("the directory {pathname} cannot be entered");
            found
        }
        Error::ReuseRefused { reply, offered } => reuse_refused(&reply.to_string(), *offered, facts),
        Error::Unreadable { .. } => Found::new(trouble::UNREADABLE, quoted()),
        Error::ListingCut { reply, .. } => Found::new(trouble::LISTING_CUT, reply.to_string()),
        Error::ListingNotUnderstood { .. } | Error::TooManyNames { .. } => {
            Found::new(trouble::LISTING_UNKNOWN, quoted())
        }
        _ if stage == Stage::Connect => Found::new(while_connecting(error, facts, settings), quoted()),
        _ if error.is_of_data_port() => Found::new(trouble::DATA_BLOCKED, quoted()),
        Error::Refused { reply, .. } if stage == Stage::List && reply.code.number() == 421 => {
            Found::new(trouble::CONNECTION_LOST, reply.to_string())
        }
        Error::Refused { reply, .. } if stage == Stage::List => Found::new(trouble::DATA_FAILED, reply.to_string()),
        Error::Closed { .. } => Found::new(trouble::CONNECTION_LOST, quoted()),
        Error::Deadline { .. } => Found::new(trouble::TIMED_OUT, quoted()),
        Error::Misbehaved { .. } => Found::new(trouble::BROKEN_PROTOCOL, quoted()),
        _ => Found::new(trouble::DATA_FAILED, quoted()),
    }
}

fn while_connecting(error: &Error, facts: &Facts, settings: &Settings) -> Trouble {
    let is_connected = facts.addresses.iter().any(|address| address.connected.is_some());
    match error {
        Error::Io { .. } | Error::Deadline { .. } if facts.addresses.is_empty() => trouble::UNKNOWN_HOST,
        Error::Io { source, .. } if !is_connected && source.kind() == io::ErrorKind::ConnectionRefused => {
            trouble::PORT_CLOSED
        }
        Error::Io { .. } | Error::Deadline { .. } if !is_connected => trouble::NO_ANSWER,
        _ if facts.other_mode == Some(true) => trouble::WANTS_IMPLICIT,
        Error::Deadline { .. } if is_mute(facts, settings) => trouble::SILENT_PORT,
        Error::Misbehaved { .. } if facts.greeting.is_none() => trouble::NOT_FTP,
        // A mail server greets with the same number.
        Error::Insecure { .. } if is_mail(facts) => trouble::NOT_FTP,
        Error::Insecure { why, .. } if why.contains("greets in clear text") => trouble::WANTS_EXPLICIT,
        Error::Insecure { why, .. } if why.contains("no version of TLS") => trouble::OLD_TLS,
        Error::Insecure { step, .. } if step == "PROT P" => trouble::NO_PRIVATE_DATA,
        Error::Insecure { step, .. } if step == "AUTH TLS" && !is_auth_accepted(facts) => trouble::NO_TLS,
        Error::Tls { why, .. } if why.contains("clear text") && facts.greeting.is_none() => trouble::NOT_FTP,
        Error::Tls { .. } => trouble::TLS_FAILED,
        Error::Deadline { .. } => trouble::TIMED_OUT,
        Error::Io { .. } | Error::Closed { .. } => trouble::CONNECTION_LOST,
        _ => trouble::BROKEN_PROTOCOL,
    }
}

/// Not a word came.
fn is_mute(facts: &Facts, settings: &Settings) -> bool {
    match settings.tls {
        TlsMode::Explicit => facts.greeting.is_none(),
        TlsMode::Implicit => facts.tls.is_none(),
    }
}

fn is_mail(facts: &Facts) -> bool {
    facts.greeting.as_deref().is_some_and(|greeting| greeting.contains("SMTP"))
}

fn is_auth_accepted(facts: &Facts) -> bool {
    facts.auth.as_deref().is_some_and(|reply| reply.starts_with("234"))
}

fn untrusted(why: &str, flaw: Flaw, facts: &Facts, settings: &Settings) -> Found {
    let own = facts.certificates.first();
    let trouble = match flaw {
        Flaw::Expired => trouble::EXPIRED,
        Flaw::NotYet => trouble::NOT_YET,
        Flaw::OtherName => trouble::WRONG_NAME,
        Flaw::OtherKey => trouble::OTHER_KEY,
        Flaw::UnknownIssuer | Flaw::Other if own.is_some_and(|own| own.self_signed) => trouble::SELF_SIGNED,
        Flaw::UnknownIssuer => trouble::UNKNOWN_ISSUER,
        Flaw::Other => trouble::CERTIFICATE_REFUSED,
    };
    let found = Found::new(trouble, why.to_owned());
    match own {
        Some(own) if trouble == trouble::WRONG_NAME => found.with_cure(names(own, settings)),
        Some(own)
            if [trouble::SELF_SIGNED, trouble::UNKNOWN_ISSUER, trouble::CERTIFICATE_REFUSED].contains(&trouble) =>
        {
            found.with_cure(format!("By its key alone: -o pin={}", own.pin))
        }
        Some(own) if trouble == trouble::OTHER_KEY => found.with_cure(format!("It shows {} now.", own.pin)),
        _ => found,
    }
}

fn names(own: &Shown, settings: &Settings) -> String {
    format!("It is for {}, and the URL says {}.", own.names.join(", "), settings.host)
}

/// Where the mount itself met it, the trials tell what TLS did.
fn reuse_refused(words: &str, offered: bool, facts: &Facts) -> Found {
    let own = facts.reuse.iter().flat_map(|reuse| &reuse.own).find(|trial| trial.refusal().is_some());
    let trouble = match own {
        Some(Trial { resumed: Some(true), .. }) => trouble::REUSE_NOT_RECOGNISED,
        Some(Trial { offered: false, .. }) => trouble::REUSE_NO_SESSION,
        None if !offered => trouble::REUSE_NO_SESSION,
        _ => trouble::REUSE_NOT_TAKEN,
    };
    let found = Found::new(trouble, words.to_owned());
    match facts.reuse.iter().find(|reuse| reuse.is_honoured()) {
        Some(other) => found.with_cure(format!(
            "In {} the server does accept its session: let it speak that version alone.",
            other.version
        )),
        None => found,
    }
}

fn addresses(facts: &Facts, found: &mut Vec<Found>) {
    let is_connected = facts.addresses.iter().any(|address| address.connected.is_some());
    // That localhost is two addresses, and most servers listen on one, troubles nobody.
    let dead = facts.addresses.iter().find(|address| address.failure.is_some() && address.address != "::1");
    if let Some(dead) = dead.filter(|_| is_connected) {
        let why = dead.failure.as_deref().unwrap_or_default();
        found.push(Found::new(trouble::FIRST_ADDRESS_DEAD, format!("{}: {why}", dead.address)));
    }
}

fn certificate(facts: &Facts, settings: &Settings, found: &mut Vec<Found>) {
    let Some(own) = facts.certificates.first().filter(|_| facts.verified == Some(true)) else { return };
    if matches!(settings.trust, Trust::Anything) {
        let cure = format!("-o pin={} in its place, if that is the server's.", own.pin);
        found.push(Found::new(trouble::NOT_VERIFIED, None).with_cure(cure));
    }
    if (0..EXPIRES_SOON_DAYS).contains(&own.days_left) {
        found.push(Found::new(
            trouble::EXPIRES_SOON,
            format!("{} days are left, until {}", own.days_left, own.not_after),
        ));
    }
}

fn reuse(facts: &Facts, found: &mut Vec<Found>) {
    let is_broken = found.iter().any(|found| found.level == Level::Error);
    // A mount speaks the first.
    let Some(first) = facts.reuse.first() else { return };
    if first.is_required() && first.is_honoured() {
        let words = first.without.as_ref().and_then(Trial::refusal).map(str::to_owned);
        found.push(Found::new(trouble::REUSE_REQUIRED, words));
    }
    let is_never_resumed =
        |reuse: &Reuse| !reuse.own.is_empty() && reuse.own.iter().all(|trial| trial.resumed != Some(true));
    if is_never_resumed(first) && !is_broken {
        found.push(Found::new(trouble::NO_RESUMPTION, None));
    }
    if let [before, .., last] = &first.own[..]
        && before.resumed == Some(true)
        && last.resumed != Some(true)
    {
        let words = last.refusal().map(str::to_owned);
        found.push(Found::new(trouble::REUSE_ONCE, words));
    }
    let is_old = |handshake: &Handshake| !handshake.is_tls13 && !handshake.extended_master_secret;
    if facts.reuse.iter().filter_map(|reuse| reuse.handshake.as_ref()).any(is_old) {
        found.push(Found::new(trouble::NO_EMS, None));
    }
}

fn passive(facts: &Facts, found: &mut Vec<Found>) {
    let Some(passive) = &facts.passive else { return };
    if let Some(other) = &passive.other_address {
        found.push(Found::new(trouble::PASV_ADDRESS, format!("227 names {other}, the server is {}", passive.address)));
    }
    match (&passive.epsv, &passive.pasv) {
        (Port::Blocked(epsv, why), Port::Blocked(pasv, _)) => {
            found.push(Found::new(trouble::DATA_BLOCKED, format!("ports {epsv} and {pasv} were tried: {why}")));
        }
        (Port::Blocked(port, why), Port::Refused(_)) | (Port::Refused(_), Port::Blocked(port, why)) => {
            found.push(Found::new(trouble::DATA_BLOCKED, format!("port {port} was tried: {why}")));
        }
        (Port::Blocked(port, why), Port::Open(_)) => {
            found.push(Found::new(trouble::EPSV_BLOCKED, format!("EPSV: port {port}: {why}")));
        }
        (Port::Open(_), Port::Blocked(port, why)) => {
            found.push(Found::new(trouble::EPSV_BLOCKED, format!("PASV: port {port}: {why}")));
        }
        _ => {}
    }
}

fn listing(facts: &Facts, found: &mut Vec<Found>) {
    let Some(listing) = &facts.listing else { return };
    let is_facts = listing.command == "MLSD";
    if listing.not_understood > 0 {
        let sample = listing.sample.clone().unwrap_or_default();
        found.push(Found::new(trouble::LINES_UNKNOWN, format!("{} lines, such as: {sample}", listing.not_understood)));
    }
    if listing.left_out > 0 {
        found.push(Found::new(trouble::NAMES_LEFT_OUT, format!("{} names", listing.left_out)));
    }
    if listing.facts_leave_out {
        found.push(Found::new(trouble::FACTS_LEAVE_OUT, None));
    }
    if !is_facts {
        found.push(Found::new(trouble::NO_FACTS, None));
        if listing.ahead_of_utc_s.is_none() && listing.entries > 0 {
            found.push(Found::new(trouble::CLOCK_UNKNOWN, None));
        }
    }
    if !facts.features.is_empty() && !facts.features.iter().any(|line| line.eq_ignore_ascii_case("SIZE")) {
        found.push(Found::new(trouble::NO_SIZE, None));
    }
}

fn upload(facts: &Facts, found: &mut Vec<Found>) {
    let Some(upload) = &facts.upload else { return };
    let mut add = |trouble, words: Option<String>| found.push(Found::new(trouble, words));
    if let Some(failure) = &upload.failure {
        add(trouble::UPLOAD_FAILED, Some(failure.clone()));
        return;
    }
    if let Some(stored) = upload.stored.filter(|stored| *stored != upload.sent) {
        add(trouble::UPLOAD_CUT, Some(format!("{} bytes were sent, the server has {stored}", upload.sent)));
    }
    for (trouble, words) in [
        (trouble::RENAME_REFUSED, &upload.rename_refused),
        (trouble::APPEND_REFUSED, &upload.append_refused),
        (trouble::DELETE_REFUSED, &upload.delete_refused),
    ] {
        if words.is_some() {
            add(trouble, words.clone());
        }
    }
    if let Some(ahead) = upload.clock_ahead_s.filter(|ahead| ahead.abs() > CLOCK_SECONDS_MAX) {
        let way = if ahead > 0 { "ahead" } else { "behind" };
        add(trouble::CLOCK_WRONG, Some(format!("the server is {} seconds {way}", ahead.abs())));
    }
}

fn limits(facts: &Facts, settings: &Settings, found: &mut Vec<Found>) {
    let Some(connections) = &facts.connections else { return };
    let Some(words) = connections.refused.clone() else { return };
    if connections.opened < settings.connections_max.get() {
        let cure = format!("Here: -o connections={}", connections.opened.max(1));
        found.push(Found::new(trouble::LIMIT_LOW, words).with_cure(cure));
    }
}

const EXPIRES_SOON_DAYS: i64 = 14;
/// Less is the way of a reply, and the second that MDTM cuts off.
const CLOCK_SECONDS_MAX: i64 = 5;
