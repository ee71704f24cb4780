//! A scratch file: stored, looked at, renamed, added to and deleted, as the mount does it with those of its users.

use crate::ftp::check::data::{FINAL_REPLY, Line, Offer, Opened};
use crate::ftp::check::facts::{End, Upload};
use crate::ftp::command::Command;
use crate::ftp::data::DataConnection;
use crate::ftp::error::{Error, Expect};
use crate::ftp::reply::Outcome;
use crate::ftp::session::size_of;
use crate::ftp::time;
use crate::ftp::tls::Received;
use std::time::{Duration, Instant, SystemTime};

/// Does it all below `directory`; the control connection is of no more use after an error.
pub(super) fn try_scratch_file(line: &mut Line<'_>, directory: &[u8], upload: &mut Upload) -> Result<(), Error> {
    let name = format!(".ftpsfs-check-{}-{:x}", std::process::id(), nanos());
    upload.name.clone_from(&name);
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    let path = [directory, slash, name.as_bytes()].concat();
    let renamed = [&path[..], b".renamed"].concat();
    let stored = store(line, &Command::Stor(&path), upload);
    if let Err(error) = stored {
        // What came may lie there: half a scratch file is nobody's wish.
        let _ = line.control.exchange(&Command::Dele(&path));
        return Err(error);
    }
    if upload.failure.is_some() {
        let _ = line.control.exchange(&Command::Dele(&path))?;
        return Ok(());
    }
    upload.stored = size_of(&line.control.exchange(&Command::Size(&path))?);
    let told = line.control.exchange(&Command::Mdtm(&path))?;
    let told =
        told.lines.first().filter(|_| told.code.number() == 213).and_then(|line| time::time_val(line.trim_ascii()));
    upload.clock_ahead_s = told.map(|told| seconds_ahead(told.time, SystemTime::now()));
    upload.rename_refused = rename(line, &path, &renamed)?;
    let path = if upload.rename_refused.is_none() { renamed } else { path };
    upload.append_refused = append(line, &path)?;
    let deleted = line.control.exchange(&Command::Dele(&path))?;
    upload.delete_refused = (deleted.code.outcome() != Outcome::Completion).then(|| deleted.to_string());
    Ok(())
}

fn store(line: &mut Line<'_>, command: &Command<'_>, upload: &mut Upload) -> Result<(), Error> {
    let mut data = match line.begin(command, &Offer::Own)? {
        (_, Opened::Data(data)) => data,
        (_, Opened::Ended(trial)) => {
            upload.failure = Some(match trial.end {
                End::Refused(words) | End::Failed(words) => words,
                End::Accepted => "it ended before anything was sent".to_owned(),
            });
            return Ok(());
        }
    };
    let content: Vec<u8> = (0..CONTENT_BYTES).map(|at| (at % 251).to_le_bytes()[0]).collect();
    if let Err(error) = data.write(&content) {
        upload.failure = Some(explained(line, &error));
        return Ok(());
    }
    upload.sent = content.len() as u64;
    let began = Instant::now();
    upload.close_notify = finish(*data, line.settings.timeout);
    let reply = line.control.reply("STOR")?;
    upload.end = Some(began.elapsed());
    upload.failure = (reply.code.outcome() != Outcome::Completion).then(|| reply.to_string());
    Ok(())
}

/// Whether the server said `close_notify`; `None` where it did not end the connection.
fn finish(data: DataConnection, limit: Duration) -> Option<bool> {
    data.finish_upload(limit).ok().map(|received| received == Received::Closed)
}

fn explained(line: &mut Line<'_>, error: &std::io::Error) -> String {
    let reply = line.control.reply_within("STOR", FINAL_REPLY);
    reply.map_or_else(|_| error.to_string(), |reply| format!("{error}; the server said: {reply}"))
}

fn rename(line: &mut Line<'_>, from: &[u8], to: &[u8]) -> Result<Option<String>, Error> {
    let begun = line.control.exchange(&Command::Rnfr(from))?;
    if begun.code.outcome() != Outcome::Intermediate {
        return Ok(Some(begun.to_string()));
    }
    let ended = line.control.exchange(&Command::Rnto(to))?;
    Ok((ended.code.outcome() != Outcome::Completion).then(|| ended.to_string()))
}

fn append(line: &mut Line<'_>, path: &[u8]) -> Result<Option<String>, Error> {
    match line.begin(&Command::Appe(path), &Offer::Own)? {
        (_, Opened::Ended(trial)) => Ok(match trial.end {
            End::Refused(words) | End::Failed(words) => Some(words),
            End::Accepted => None,
        }),
        (_, Opened::Data(data)) => {
            finish(*data, line.settings.timeout);
            match line.control.reply("APPE")?.completion("APPE") {
                Ok(_) => Ok(None),
                Err(error) => Ok(Some(error.to_string())),
            }
        }
    }
}

fn seconds_ahead(told: SystemTime, now: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match told.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// Enough of a name that nobody else takes.
fn nanos() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos())
}

/// More than a socket's buffers on the way hold back.
const CONTENT_BYTES: usize = 300_000;
