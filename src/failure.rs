//! Why the program ends without a mount: a line for standard error, sometimes with others below it, and an exit status.

use std::fmt;

/// What failed, and the status that mount(8) gives to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// One line: what failed, on which step, with the server's own words.
    pub message: String,
    /// Lines that tell more, such as the certificates that a server showed.
    pub details: Vec<String>,
}

/// The exit statuses of mount(8) that ftpsfs uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A wrong command line, option or credentials file.
    Usage = 1,
    /// The operating system refused something that has nothing to do with this mount, or a command that tells a password failed.
    System = 2,
    /// A signal came before the mount was there.
    Interrupted = 8,
    /// The server, its certificate or the mount itself.
    Mount = 32,
    /// The server refused the login, which no other try mends: the bits of [`Self::Mount`] and of [`Self::Usage`].
    Login = 33,
}

impl Failure {
    /// A wrong command line, option or credentials file.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The operating system failed us.
    pub fn system(message: impl fmt::Display) -> Self {
        Self::new(Status::System, message)
    }

    /// The mount did not come about.
    pub fn mount(message: impl fmt::Display) -> Self {
        Self::new(Status::Mount, message)
    }

    /// The server refused the login.
    pub fn login(message: impl fmt::Display) -> Self {
        Self::new(Status::Login, message)
    }

    /// A signal came first.
    pub fn interrupted() -> Self {
        Self::new(Status::Interrupted, "interrupted before the mount was there")
    }

    /// The same with lines that tell more.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// What another process of ours reported: its exit status and its lines.
    pub fn of_code(code: u8, text: &str) -> Self {
        let known = [Status::Usage, Status::System, Status::Interrupted, Status::Mount, Status::Login];
        let status = known.into_iter().find(|status| status.code() == code).unwrap_or(Status::System);
        let mut lines = text.lines();
        Self::new(status, lines.next().unwrap_or_default()).with_details(lines.map(str::to_owned).collect())
    }

    fn new(status: Status, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { status, message: message.split_whitespace().collect::<Vec<_>>().join(" "), details: Vec::new() }
    }
}

impl Status {
    /// The number that the program exits with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.details.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::mount("a\n  b\r\nc\n").to_string(), "a b c");
        assert_eq!(Failure::usage("x").status.code(), 1);
        let told = Failure::mount("a").with_details(vec!["  b".to_owned()]);
        assert_eq!(Failure::of_code(32, &told.to_string()), told);
        assert_eq!(Failure::of_code(33, "a"), Failure::login("a"));
    }
}
