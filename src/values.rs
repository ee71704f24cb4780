//! The values of options, read one by one; an error says what is wrong with one, not which option it was.

use crate::ftp::certificate::Pin;
use crate::ftp::charset::{Charset, Wish};
use crate::ftp::settings::{TlsMode, Verify, Versions};
use crate::ftp::time::Zone;
use crate::vfs::settings::{Conflict, IdMap, Prefetch, UploadWay};
use log::LevelFilter;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Values that cannot be meant otherwise than as a mistake.
const CONNECTIONS_MAX: usize = 64;
const CACHE_BYTES_MIN: usize = 1 << 20;
const CACHE_DIR_BYTES_MIN: u64 = 16 << 20;
const SECONDS_MAX: f64 = 366.0 * 86400.0;

pub(crate) fn text(value: &str) -> Result<String, String> {
    match value {
        "" => Err("the value is empty".into()),
        value if value.contains(['\0', '\r', '\n']) => Err("the value holds a line break".into()),
        value => Ok(value.to_owned()),
    }
}

pub(crate) fn flag(on: &mut bool) -> Result<(), String> {
    *on = true;
    Ok(())
}

pub(crate) fn yes(value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("must be yes or no".into()),
    }
}

pub(crate) fn tls(value: &str) -> Result<TlsMode, String> {
    match value {
        "explicit" => Ok(TlsMode::Explicit),
        "implicit" => Ok(TlsMode::Implicit),
        _ => Err("must be explicit or implicit".into()),
    }
}

/// Where the roots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's, as built in.
    WebPki,
    /// The system's.
    System,
}

pub(crate) fn roots(value: &str) -> Result<Roots, String> {
    match value {
        "webpki" => Ok(Roots::WebPki),
        "system" => Ok(Roots::System),
        _ => Err("must be webpki or system".into()),
    }
}

/// As curl parts them.
pub(crate) fn pins(value: &str) -> Result<Vec<Pin>, String> {
    value.split(';').map(str::parse).collect()
}

pub(crate) fn versions(value: &str) -> Result<Versions, String> {
    match value {
        "1.2" => Ok(Versions::Both),
        "1.3" => Ok(Versions::Tls13),
        _ => Err("must be 1.2 or 1.3: older versions are not spoken".into()),
    }
}

pub(crate) fn port(value: &str) -> Result<u16, String> {
    let known = value.parse().ok().filter(|port: &u16| *port > 0 && !value.starts_with('+'));
    known.ok_or_else(|| "must be a number from 1 to 65535".into())
}

pub(crate) fn charset(value: &str) -> Result<Wish, String> {
    match (value, Charset::named(value)) {
        ("auto", _) => Ok(Wish::Detected),
        (_, Some(charset)) => Ok(Wish::Named(charset)),
        (_, None) => Err("must be auto, utf-8, windows-1252, shift_jis or another in which ASCII is itself".into()),
    }
}

pub(crate) fn upload(value: &str) -> Result<UploadWay, String> {
    match value {
        "temporary" => Ok(UploadWay::Temporary),
        "direct" => Ok(UploadWay::Direct),
        other => Err(format!("{other:?} is neither temporary nor direct")),
    }
}

pub(crate) fn verify(value: &str) -> Result<Verify, String> {
    match value {
        "size" => Ok(Verify::Size),
        "hash" => Ok(Verify::Hash),
        other => Err(format!("{other:?} is neither size nor hash")),
    }
}

pub(crate) fn zone(value: &str) -> Result<Zone, String> {
    Zone::parse(value).ok_or_else(|| format!("{value:?} is neither UTC nor of the form +05:30 nor of Europe/Berlin"))
}

pub(crate) fn conflict(value: &str) -> Result<Conflict, String> {
    match value {
        "refuse" => Ok(Conflict::Refuse),
        "overwrite" => Ok(Conflict::Overwrite),
        other => Err(format!("{other:?} is neither refuse nor overwrite")),
    }
}

pub(crate) fn connections(value: &str) -> Result<NonZeroUsize, String> {
    let known = value.parse().ok().filter(|number: &NonZeroUsize| number.get() <= CONNECTIONS_MAX);
    known.ok_or_else(|| format!("must be a number from 1 to {CONNECTIONS_MAX}"))
}

pub(crate) fn seconds(value: &str) -> Result<Duration, String> {
    let decimal = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = value.parse().ok().filter(|number: &f64| decimal && *number <= SECONDS_MAX);
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| "must be a number of seconds, as 30 or 0.5".into())
}

pub(crate) fn positive_seconds(value: &str) -> Result<Duration, String> {
    match seconds(value)? {
        Duration::ZERO => Err("must be more than 0 seconds".into()),
        seconds => Ok(seconds),
    }
}

pub(crate) fn size(value: &str) -> Result<usize, String> {
    match bytes(value, "KMG").and_then(|bytes| usize::try_from(bytes).ok()) {
        None => Err("must be a number of bytes, as 33554432, 32768K, 32M or 1G".into()),
        Some(bytes) if bytes < CACHE_BYTES_MIN => Err("must be at least 1M".into()),
        Some(bytes) => Ok(bytes),
    }
}

pub(crate) fn disk_size(value: &str) -> Result<u64, String> {
    match bytes(value, "KMGT") {
        None => Err("must be a number of bytes, as 4294967296, 512M, 4G or 1T".into()),
        Some(bytes) if bytes < CACHE_DIR_BYTES_MIN => Err("must be at least 16M".into()),
        Some(bytes) => Ok(bytes),
    }
}

/// A number with one of `units`, each 1024 times the one before, or with none.
fn bytes(value: &str, units: &str) -> Option<u64> {
    let last = value.chars().last()?.to_ascii_uppercase();
    let (digits, power) = match units.find(last) {
        // A unit is one byte long.
        Some(unit) => (value.get(..value.len() - 1)?, u32::try_from(unit).ok()? + 1),
        None => (value, 0),
    };
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    number.checked_mul(1024_u64.checked_pow(power)?)
}

pub(crate) fn number(value: &str) -> Result<u32, String> {
    // The greatest number means "no change" to chown(2) and is nobody's.
    value.parse().ok().filter(|number| *number != u32::MAX).ok_or_else(|| "must be a number".into())
}

pub(crate) fn umask(value: &str) -> Result<u16, String> {
    let bits = u16::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o777 && !value.starts_with('+'));
    bits.ok_or_else(|| "must be octal digits, as 022".into())
}

pub(crate) fn mode(value: &str) -> Result<u16, String> {
    let bits = u16::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777 && !value.starts_with('+'));
    bits.ok_or_else(|| "must be octal digits, as 0640".into())
}

pub(crate) fn idmap(value: &str) -> Result<IdMap, String> {
    match value {
        "none" => Ok(IdMap::None),
        "numeric" => Ok(IdMap::Numeric),
        "name" => Ok(IdMap::Name),
        other => Err(format!("{other:?} is neither none, numeric nor name")),
    }
}

pub(crate) fn prefetch(value: &str) -> Result<Prefetch, String> {
    match value {
        "off" => Ok(Prefetch::Off),
        "metadata" => Ok(Prefetch::Metadata),
        "files" => Ok(Prefetch::Files),
        other => Err(format!("{other:?} is neither off, metadata nor files")),
    }
}

pub(crate) fn level(value: &str) -> Result<LevelFilter, String> {
    match value {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        _ => Err("must be error, warn, info, debug or trace".into()),
    }
}
