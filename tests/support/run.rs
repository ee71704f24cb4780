//! Programs with a limit on their time: a file system that hangs must fail its test, not stop it.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How long a program may take where a test does not say otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; 124 or 137 when it took too long.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    /// Its output, if it succeeded.
    ///
    /// # Panics
    ///
    /// If it failed or took too long.
    pub fn succeeded(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout
    }
}

/// `program`, ended by force after `limit`.
pub fn within(limit: Duration, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &limit.as_secs().to_string()]).arg(program).stdin(Stdio::null());
    command
}

/// Runs a shell script with bash; `$1` and so on are `arguments`.
pub fn shell<A: AsRef<OsStr>>(script: &str, arguments: &[A]) -> Ran {
    let mut command = within(PATIENCE, "bash");
    command.args(["-o", "pipefail", "-e", "-c", script, "bash"]).args(arguments);
    finish(&mut command)
}

/// Runs a command made by [`within`] to its end.
pub fn finish(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("timeout(1) starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { status: status.code().unwrap_or(137), stdout: text(stdout), stderr: text(stderr) }
}
