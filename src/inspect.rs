//! `ftpsfs status` and `ftpsfs refresh`: what is asked of a mount that runs, through its own extended attributes.

mod prometheus;
mod screen;

mod live;

use crate::failure::Failure;
use crate::path::escaped;
use crate::registry;
use crate::status::{BYTES_MAX, Document, REFRESH, Recovery, STATUS, VERSION};
use crate::sys;
use screen::Detail;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `ftpsfs status` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Where it is mounted; `None` for all mounts.
    pub mountpoint: Option<PathBuf>,
    /// In which form.
    pub form: Form,
}

/// How a mount is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person, once.
    Text,
    /// For a person, again and again.
    Watch,
    /// The document itself.
    Json,
    /// Prometheus's text exposition format.
    Prometheus,
}

/// A mount answers at once, unless its process is stopped.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Forgetting waits for who uses what is forgotten; that ends with the timeouts of the server.
const REFRESH_MAX: Duration = Duration::from_secs(150);

/// Shows how a mount is, or all.
///
/// # Errors
///
/// A [`Failure`] where the mount cannot be asked.
pub fn status(inspection: &Inspection) -> Result<(), Failure> {
    let place = inspection.mountpoint.as_deref();
    match inspection.form {
        Form::Watch => live::watch(place),
        form => print(&rendered(place, form)?),
    }
}

/// Has what is cached of `path`, and of all below it, forgotten. A name that is not there is forgotten with its whole directory,
/// which may believe that it is not there.
///
/// # Errors
///
/// A [`Failure`] where that cannot be asked for.
pub fn refresh(path: &Path) -> Result<(), Failure> {
    // Of a link itself, but of a mount point what is mounted there.
    let asked = match ask(path, REFRESH, REFRESH_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            ask(parent, REFRESH, REFRESH_MAX)
        }
        asked => asked,
    };
    asked.map(drop).map_err(|error| refused(path, "is not in an ftpsfs mount", &error))
}

fn rendered(place: Option<&Path>, form: Form) -> Result<String, Failure> {
    let documents = documents(place)?;
    Ok(match (form, place) {
        (Form::Prometheus, _) => prometheus::text(&documents),
        (Form::Json, Some(_)) => json(documents.first())?,
        (Form::Json, None) => json(&documents)?,
        (Form::Text | Form::Watch, _) if documents.is_empty() => "no ftpsfs is mounted\n".to_owned(),
        (Form::Text | Form::Watch, Some(_)) => screen::text(&documents, Detail::Full, false, screen::COLUMNS),
        (Form::Text | Form::Watch, None) => screen::text(&documents, Detail::Short, false, screen::COLUMNS),
    })
}

fn json(value: impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(Failure::system)
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        // Whoever read has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::system),
    }
}

/// Of the mount at `place`, or of all that may be asked.
fn documents(place: Option<&Path>) -> Result<Vec<Document>, Failure> {
    let Some(typed) = place else {
        let places = registry::ours().map_err(Failure::system)?;
        // Others' mounts are not ours to see; one that does not answer is no reason to be silent of the rest.
        let told = places.iter().filter_map(|place| match document(place) {
            Ok(document) => Some(document),
            Err((error, _)) if error.kind() == ErrorKind::PermissionDenied => None,
            Err((_, failure)) => {
                eprintln!("ftpsfs: {failure}");
                None
            }
        });
        return Ok(told.collect());
    };
    let place = registry::resolved(typed);
    if !registry::is_ours(&place) {
        return Err(Failure::mount(format!("{} is not an ftpsfs mount", shown(typed))));
    }
    document(&place).map(|document| vec![document]).map_err(|(_, failure)| failure)
}

fn document(place: &Path) -> Result<Document, (io::Error, Failure)> {
    let value = ask(place, STATUS, ANSWER_MAX).map_err(|error| {
        let failure = refused(place, "is served by an ftpsfs that tells nothing of itself", &error);
        (error, failure)
    })?;
    let unreadable = |why: String| {
        let message = format!("{}: the status of the mount cannot be read: {why}", shown(place));
        (io::Error::from(ErrorKind::InvalidData), Failure::system(message))
    };
    let mut document: Document = serde_json::from_slice(&value).map_err(|error| unreadable(error.to_string()))?;
    if document.version != VERSION {
        return Err(unreadable(format!("it has version {}, this program reads {VERSION}", document.version)));
    }
    document.recovery = recovery(Path::new(&document.files.recovery_dir));
    Ok(document)
}

fn refused(path: &Path, not_ours: &str, error: &io::Error) -> Failure {
    let path = shown(path);
    Failure::mount(match error.kind() {
        ErrorKind::Unsupported => format!("{path} {not_ours}"),
        ErrorKind::PermissionDenied => format!("{path}: only root and the user who mounted it may ask"),
        ErrorKind::NotConnected => format!("{path}: the process of the mount is gone; umount clears the directory"),
        ErrorKind::TimedOut => format!("{path}: the process of the mount does not answer"),
        ErrorKind::NotFound => format!("{path}: there is no such file"),
        _ => format!("{path}: {error}"),
    })
}

/// The value of an attribute; in a thread of its own, since a file system that hangs does not let go of those who ask.
fn ask(path: &Path, name: &'static str, limit: Duration) -> io::Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let asking = move || sender.send(attribute(&path, name)).is_ok();
    thread::Builder::new().name("ask".into()).spawn(asking)?;
    receiver.recv_timeout(limit).map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

/// A mount that a user made for himself does not let root in: root asks in his name.
fn attribute(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    let asked = sys::attribute(path, name, BYTES_MAX);
    if !sys::is_root() || !asked.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return asked;
    }
    let Some((user, group)) = registry::owner_of(&std::path::absolute(path)?) else { return asked };
    sys::become_in_this_thread(user, group)?;
    sys::attribute(path, name, BYTES_MAX)
}

/// Each file that is kept has a text beside it.
fn recovery(directory: &Path) -> Option<Recovery> {
    let mut recovery = Recovery::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(recovery),
        entries => entries.ok()?,
    };
    for entry in entries.flatten() {
        let is_text = entry.path().extension().is_some_and(|extension| extension == "json");
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
            && !is_text
        {
            recovery.files += 1;
            recovery.bytes += metadata.len();
        }
    }
    Some(recovery)
}

fn shown(path: &Path) -> String {
    escaped(path.as_os_str().as_encoded_bytes()).to_string()
}
