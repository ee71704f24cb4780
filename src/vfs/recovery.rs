//! What could not be uploaded is kept on this machine.

use crate::path::{RemotePath, escaped};
use crate::vfs::draft::{Form, State};
use crate::vfs::error::Error;
use crate::vfs::names::utc;
use crate::vfs::spool::{self, Spool};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is copied at a time (bytes).
const COPY_BYTES: usize = 256 * 1024;
/// How many files of the same name and second are kept.
const SAME_NAME_MAX: u32 = 1000;
/// How much of the remote name goes into the local one (bytes).
const NAME_BYTES_MAX: usize = 100;

/// Keeps what `state` holds of the content of `path` in `directory`, with a text beside it that says what it is.
///
/// # Errors
///
/// The system's.
pub(crate) fn keep(
    directory: &Path,
    path: &RemotePath,
    state: &State,
    error: &Error,
    wall: SystemTime,
) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let (kept, file) = create(directory, path, wall)?;
    let ranges = copy(&file, state)?;
    file.sync_all()?;
    let mut sidecar = kept.clone().into_os_string();
    sidecar.push(".json");
    let text = describe(path, state, error, &ranges);
    File::options().write(true).create_new(true).mode(0o600).open(sidecar)?.write_all_at(text.as_bytes(), 0)?;
    Ok(kept)
}

fn create(directory: &Path, path: &RemotePath, wall: SystemTime) -> io::Result<(PathBuf, File)> {
    let name = path.split().map_or_else(|| "root".into(), |(_, name)| plain(name.as_bytes()));
    for number in 0..SAME_NAME_MAX {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        let kept = directory.join(format!("{}-{name}{suffix}", utc(wall)));
        match File::options().write(true).create_new(true).mode(0o600).open(&kept) {
            Ok(file) => return Ok((kept, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

fn plain(name: &[u8]) -> String {
    let plain = |character: char| if character.is_control() || character == '/' { '_' } else { character };
    let mut text: String = String::from_utf8_lossy(name).chars().map(plain).collect();
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Copies what is held, each byte where it belongs; the ranges that are.
fn copy(file: &File, state: &State) -> io::Result<Vec<Range<u64>>> {
    match &state.form {
        Form::Clean | Form::Uploaded => Ok(Vec::new()),
        Form::Flow(outgoing) | Form::Append(outgoing) => {
            let (start, chunks) = outgoing.rest();
            let mut end = start;
            for chunk in chunks {
                file.write_all_at(&chunk, end)?;
                end += chunk.len() as u64;
            }
            Ok(std::iter::once(start..end).filter(|range| !range.is_empty()).collect())
        }
        Form::Spooled(spool) => copy_spool(file, spool, state.size),
    }
}

fn copy_spool(file: &File, spool: &Spool, size: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut buffer = vec![0; COPY_BYTES];
    for (range, from) in spool.pieces(0..size) {
        if from == spool::From::Base {
            continue;
        }
        for start in range.clone().step_by(COPY_BYTES) {
            let len = usize::try_from(range.end - start).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            spool.read(start, &mut buffer[..len]).map_err(|error| io::Error::other(error.to_string()))?;
            file.write_all_at(&buffer[..len], start)?;
        }
        ranges.push(range);
    }
    Ok(ranges)
}

fn describe(path: &RemotePath, state: &State, error: &Error, ranges: &[Range<u64>]) -> String {
    let ranges: Vec<String> = ranges.iter().map(|range| format!("[{}, {}]", range.start, range.end)).collect();
    let mut text = String::new();
    let _ = writeln!(text, "{{\"path\": {},", quoted(&path.to_string()));
    let _ = writeln!(text, " \"path_bytes\": {},", quoted(&hexadecimal(path.as_bytes())));
    let _ = writeln!(text, " \"size\": {},", state.size);
    let _ = writeln!(text, " \"ranges\": [{}],", ranges.join(", "));
    let _ = writeln!(text, " \"error\": {}}}", quoted(&escaped(error.to_string().as_bytes()).to_string()));
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text as JSON has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
