//! What a person sees at a terminal: the prompt for a password, the live status, colours. The terminal is tmux's.

use crate::cases::Case;
use crate::support::mountpoint::{is_mounted, program, unmount, write_credentials};
use crate::support::run::{finish, within};
use crate::support::server::{Kind, Mode, Tls, run_directory};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A terminal with a shell, which ends with its value.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn open(columns: usize, lines: usize) -> Self {
        let terminal = Self { socket: run_directory().join("tmux") };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            "env PS1='$ ' bash --norc -i",
        ]);
        terminal.wait_for_prompt();
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = within(LIMIT, "tmux");
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("TMUX").env_remove("FTPSFS_PASSWORD");
        finish(command.arg("-S").arg(&self.socket).args(arguments)).succeeded()
    }

    /// Types `text` and Enter.
    fn type_line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
        self.tmux(&["send-keys", "Enter"]);
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// With the colours.
    fn painted(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    fn shows_cursor(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }

    fn wait_for(&self, words: &str) -> String {
        self.wait_until(words, |screen| screen.contains(words))
    }

    fn wait_for_prompt(&self) {
        // tmux leaves out spaces at the end of a line.
        self.wait_until("prompt", |screen| screen.trim_end().lines().last() == Some("$"));
    }

    fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what}:\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = within(LIMIT, "tmux");
        let _ = command.arg("-S").arg(&self.socket).arg("kill-server").stderr(Stdio::null()).status();
    }
}

fn case() -> Case {
    Case::start(Kind::Vsftpd, Tls::V13, Mode::Explicit)
}

#[test]
fn the_password_is_asked_for_and_does_not_show() {
    let case = case();
    let directory = run_directory();
    let point = directory.join("mnt");
    fs::create_dir(&point).unwrap();
    let terminal = Terminal::open(80, 24);
    let (program, cafile, url) = (program().display(), case.server.cafile.display(), case.server.url(""));
    let mount = format!("'{program}' -o ro,cafile='{cafile}' {url} {} && echo is-there", point.display());
    terminal.type_line(&format!("cd /; clear; {mount}"));
    terminal.wait_for("assword");
    terminal.type_line("wrong-horse");
    let screen = terminal.wait_for("530");
    assert!(!screen.contains("wrong-horse") && !is_mounted(&point), "{screen}");
    // Ctrl-C ends the question, and the terminal shows again what is typed.
    terminal.type_line(&format!("clear; {mount}"));
    terminal.wait_for("assword");
    terminal.press("C-c");
    terminal.wait_for_prompt();
    terminal.tmux(&["send-keys", "-l", "true shown again"]);
    terminal.wait_for("true shown again");
    terminal.press("Enter");
    terminal.type_line(&format!("clear; {mount}"));
    terminal.wait_for("assword");
    terminal.type_line(&case.server.password);
    let screen = terminal.wait_until("is-there", |screen| screen.lines().any(|line| line.trim() == "is-there"));
    assert!(!screen.contains(&case.server.password) && is_mounted(&point), "{screen}");
    assert_eq!(fs::read(point.join("hello.txt")).unwrap(), b"Hello over TLS\n");
    unmount(&point);
}

#[test]
fn the_live_status_fills_the_screen_and_leaves_the_terminal_as_it_was() {
    let case = case();
    let mount = case.mount(&[]);
    fs::read(mount.path("hello.txt")).unwrap();
    for (columns, lines) in [(80, 24), (150, 40), (60, 10)] {
        let terminal = Terminal::open(columns, lines);
        terminal.type_line(&format!("'{}' status --watch {}", program().display(), mount.point.display()));
        let screen = terminal.wait_for("TLS sessions");
        assert!(screen.starts_with(mount.point.to_str().unwrap()) && screen.contains("mounted for"), "{screen}");
        assert!(screen.lines().all(|line| line.chars().count() <= columns), "{screen}");
        assert!(!terminal.shows_cursor());
        assert!(terminal.painted().contains("\x1b[1m"), "no colours");
        // It is drawn again.
        let age = |screen: &str| screen.lines().next().unwrap_or_default().to_owned();
        let before = age(&screen);
        terminal.wait_until("another second", |screen| age(screen) != before && screen.contains("TLS sessions"));
        terminal.press("C-c");
        terminal.wait_for_prompt();
        assert!(terminal.shows_cursor());
    }
}

#[test]
fn there_are_no_colours_where_they_are_not_wanted() {
    let case = case();
    let mount = case.mount(&[]);
    let terminal = Terminal::open(80, 30);
    let watch = format!("'{}' status --watch {}", program().display(), mount.point.display());
    for prefix in ["NO_COLOR=1", "TERM=dumb"] {
        terminal.type_line(&format!("clear; {prefix} {watch}"));
        terminal.wait_for("TLS sessions");
        assert!(!terminal.painted().contains("\x1b["), "{prefix}: {:?}", terminal.painted());
        terminal.press("C-c");
        terminal.wait_for_prompt();
    }
    let credentials = write_credentials(&run_directory(), &case.server.password);
    let options = format!("cafile={},credentials={}", case.server.cafile.display(), credentials.display());
    let check = format!("'{}' check -o '{options}' {}", program().display(), case.server.url(""));
    for (prefix, has_colours) in [("", true), ("NO_COLOR=1", false)] {
        terminal.type_line(&format!("clear; {prefix} {check}"));
        terminal.wait_for("GOOD");
        assert_eq!(terminal.painted().contains("\x1b["), has_colours, "{prefix}");
        terminal.type_line("clear");
        terminal.wait_for_prompt();
    }
}

/// A mount that goes away while somebody looks is told, and the terminal is as before.
#[test]
fn the_live_status_ends_with_the_mount() {
    let case = case();
    let mount = case.mount(&[]);
    let terminal = Terminal::open(80, 24);
    terminal.type_line(&format!("'{}' status --watch {}; echo status $?", program().display(), mount.point.display()));
    terminal.wait_for("TLS sessions");
    mount.end();
    terminal.wait_for("is not an ftpsfs mount");
    terminal.wait_for("status 32");
    assert!(terminal.shows_cursor());
}
