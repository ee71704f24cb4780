//! `ftpsfs status --watch`: the screen of a terminal, drawn anew each second until Ctrl-C.

use crate::failure::Failure;
use crate::inspect::screen::{self, Detail};
use crate::inspect::{documents, print, rendered};
use crate::sys;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_secs(1);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR: &str = "\x1b[H\x1b[2J";
const HOME: &str = "\x1b[H";
/// What is left of a line, and of the screen.
const END_LINE: &str = "\x1b[K";
const END_SCREEN: &str = "\x1b[J";
/// A terminal that does not say how large it is.
const SIZE: (usize, usize) = (80, 24);

/// Shows the mount at `place`, or all, again and again; in plain text where nobody looks at a terminal.
///
/// # Errors
///
/// A [`Failure`] where the mount cannot be asked, or not any more.
pub(super) fn watch(place: Option<&Path>) -> Result<(), Failure> {
    // One that cannot move its cursor is as good as none.
    if !io::stdout().is_terminal() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
        return print_again_and_again(place);
    }
    // First: a screen that is not there yet need not be put right.
    draw(place)?;
    sys::block_termination();
    let ended = thread::Builder::new().name("signals".into()).spawn(|| {
        sys::wait_for_termination();
        leave();
        process::exit(0);
    });
    ended.map_err(Failure::system)?;
    print(&format!("{HIDE_CURSOR}{CLEAR}"))?;
    let failure = loop {
        match draw(place) {
            Ok(text) => print(&text)?,
            Err(failure) => break failure,
        }
        thread::sleep(PAUSE);
    };
    leave();
    Err(failure)
}

fn print_again_and_again(place: Option<&Path>) -> Result<(), Failure> {
    loop {
        let text = rendered(place, super::Form::Text)?;
        // Who has read enough goes away.
        if io::stdout().write_all(text.as_bytes()).and_then(|()| writeln!(io::stdout())).is_err() {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// One screen: as many lines as there are on the terminal, each cut at its width.
fn draw(place: Option<&Path>) -> Result<String, Failure> {
    let (columns, lines) = sys::terminal_size(&io::stdout()).unwrap_or(SIZE);
    let documents = documents(place)?;
    let detail = if place.is_some() || documents.len() == 1 { Detail::Full } else { Detail::Short };
    let text = match documents.is_empty() {
        true => "no ftpsfs is mounted\n".to_owned(),
        false => screen::text(&documents, detail, screen::has_colours(), columns),
    };
    let shown: Vec<&str> = text.lines().take(lines.saturating_sub(1)).collect();
    Ok(format!("{HOME}{}{END_LINE}\r\n{END_SCREEN}", shown.join(&format!("{END_LINE}\r\n"))))
}

fn leave() {
    // Over what the terminal shows of Ctrl-C.
    let _ = write!(io::stdout(), "\r{END_LINE}{SHOW_CURSOR}").and_then(|()| io::stdout().flush());
}
