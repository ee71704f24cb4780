//! Pathnames that a command line cannot carry as they are: those that are too long, and those with telnet's own byte.
//!
//! The control connection is telnet's (RFC 959 section 4.1), in which 0xFF begins a telnet command and stands for itself
//! where it is doubled. ProFTPD reads it so, and takes `FF FB x` out of a name and answers it in the middle of its replies;
//! vsftpd, Pure-FTPd and pyftpdlib take every 0xFF as it comes. Which of the two a server does is asked once, before the
//! first such name is sent.

use crate::ftp::command::{Command, PATH_BYTES_MAX, Unsendable};
use crate::ftp::error::{Error, Expect};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Iac;
use crate::ftp::session::Session;

impl Session {
    /// Makes ready for `commands`, which speak of one pathname. Where that is too long for a line, goes to its directory and
    /// gives what names it from there, for [`Command::seen_from`].
    ///
    /// The working directory is left as it is then: whoever counts from it enters one first.
    pub(super) fn reach(&mut self, commands: &[Command<'_>]) -> Result<Option<Vec<u8>>, Error> {
        let Some(pathname) = commands.iter().find_map(|command| command.pathname()) else { return Ok(None) };
        self.learn_iac(pathname)?;
        if commands.iter().all(|command| command.line_bytes() <= LINE_BYTES_SAFE) {
            return Ok(None);
        }
        let Some((directory, name)) = split(pathname) else { return Ok(None) };
        self.walk(directory)?;
        Ok(Some(plain(name)))
    }

    /// Makes ready to rename: gives both pathnames as they can be sent, seen from one directory.
    pub(super) fn reach_both(&mut self, from: &[u8], to: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        self.learn_iac(&[from, to].concat())?;
        let fit = |one: &[u8], other: &[u8]| {
            Command::Rnfr(one).line_bytes().max(Command::Rnto(other).line_bytes()) <= LINE_BYTES_SAFE
        };
        if fit(from, to) {
            return Ok((from.to_vec(), to.to_vec()));
        }
        let bases = [split(from), split(to)].map(|split| split.map_or(&b"/"[..], |(directory, _)| directory));
        for base in [bases[0], bases[1], common(bases[0], bases[1])] {
            let (one, other) = (seen_from(base, from), seen_from(base, to));
            if fit(&one, &other) {
                self.walk(base)?;
                return Ok((one, other));
            }
        }
        Err(too_long())
    }

    /// Goes to `directory`, from the root on, by as many `CWD` as it takes.
    fn walk(&mut self, directory: &[u8]) -> Result<(), Error> {
        let (first, mut left) = split_step(directory);
        let mut step = self.control.exchange(&Command::Cwd(&[b"/", first].concat()))?;
        while step.code.outcome() == Outcome::Completion && !left.is_empty() {
            let (names, rest) = split_step(left);
            step = self.control.exchange(&Command::Cwd(&plain(names)))?;
            left = rest;
        }
        if directory.len() >= PATH_BYTES_MAX && step.code.outcome() != Outcome::Completion {
            return Err(self.past_the_end(&step));
        }
        step.completion("CWD").map(drop)
    }

    /// What a server refuses past the end of what its system takes is too long, whatever it says: ProFTPD that there is no
    /// such directory, Pure-FTPd `421 Path too long`.
    fn past_the_end(&mut self, reply: &Reply) -> Error {
        log::debug!("CWD: {reply}");
        if reply.code.number() == 421 {
            self.control.give_up();
        }
        too_long()
    }

    /// Finds out whether the server wants 0xFF doubled, if `pathname` holds one.
    ///
    /// Asked for the size of a file that does not exist, by a name with two of them, a server that reads telnet speaks of a
    /// name with one. One that does not repeat the name (vsftpd, Pure-FTPd, pyftpdlib) does not read it.
    fn learn_iac(&mut self, pathname: &[u8]) -> Result<(), Error> {
        if !pathname.contains(&IAC) {
            return Ok(());
        }
        let known = *self.server.iac.lock();
        let iac = match known {
            Some(iac) => iac,
            None => {
                let reply = self.once(&Command::Size(IAC_QUESTION))?;
                let single = reply.lines.iter().any(|line| contains(line, IAC_ANSWER));
                let iac = if single { Iac::Doubled } else { Iac::Plain };
                log::debug!("the byte 0xFF in names: {iac:?} ({reply})");
                *self.server.iac.lock() = Some(iac);
                iac
            }
        };
        self.control.double_iac(iac == Iac::Doubled);
        Ok(())
    }
}

/// Parts an absolute pathname at its last slash; `None` for `/`.
fn split(pathname: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = pathname.iter().rposition(|&byte| byte == b'/')?;
    let (directory, name) = (&pathname[..slash], &pathname[slash + 1..]);
    (!name.is_empty()).then_some((directory, name))
}

/// As many names from the beginning of `directory` as one line carries, without slashes around them, and the rest.
fn split_step(directory: &[u8]) -> (&[u8], &[u8]) {
    let names = directory.strip_prefix(b"/").unwrap_or(directory);
    let is_end = |end: &usize| names.get(*end).is_none_or(|&byte| byte == b'/');
    let room = names.len().min(STEP_BYTES);
    // A name that is longer than a step is sent all the same.
    let end = (1..=room).rev().find(is_end).or_else(|| (room..=names.len()).find(is_end)).unwrap_or(names.len());
    names.split_at(end)
}

/// `names` so that they name something in the working directory. With a `-` in front they would be options, and with a `~`
/// somebody's home.
fn plain(names: &[u8]) -> Vec<u8> {
    match names {
        [b'-' | b'~', ..] => [b"./", names].concat(),
        _ => names.to_vec(),
    }
}

/// What names `pathname` from the directory `base`.
fn seen_from(base: &[u8], pathname: &[u8]) -> Vec<u8> {
    match pathname.strip_prefix(base).and_then(|rest| rest.strip_prefix(b"/")) {
        Some(names) => plain(names),
        None => pathname.to_vec(),
    }
}

/// The last directory that is on the way to both.
fn common<'a>(one: &'a [u8], other: &[u8]) -> &'a [u8] {
    let ends = |end: &usize| one.get(*end).is_none_or(|&byte| byte == b'/');
    let within = |end: usize| other.strip_prefix(&one[..end]).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
    let end = (0..=one.len()).rev().filter(ends).find(|end| within(*end)).unwrap_or(0);
    &one[..end]
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn too_long() -> Error {
    Error::Unsendable { why: Unsendable::TooLong }
}

/// Telnet's "interpret as command" (RFC 854).
pub(super) const IAC: u8 = 0xff;
/// A name that no file has.
const IAC_QUESTION: &[u8] = b"/.ftpsfs-\xff\xff-question";
/// What a server makes of it that reads telnet.
const IAC_ANSWER: &[u8] = b"/.ftpsfs-\xff-question";
/// Lines up to this length (bytes) every server takes: pyftpdlib 2,048, vsftpd and ProFTPD 4,096, Pure-FTPd 8,000. Half of
/// the shortest, since 0xFF may have to be doubled.
pub(super) const LINE_BYTES_SAFE: usize = 1000;
/// So much of a pathname goes into one `CWD`.
const STEP_BYTES: usize = LINE_BYTES_SAFE - "CWD ./\r\n".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_way_is_cut_into_steps_between_names() {
        let name = "n".repeat(255);
        let directory = format!("/{name}").repeat(9);
        let mut left = directory.as_bytes();
        let mut steps = Vec::new();
        while !left.is_empty() {
            let (step, rest) = split_step(left);
            steps.push(step.len());
            left = rest;
        }
        assert_eq!(steps, [767, 767, 767]);
        let long = [b'x'; 3000];
        assert_eq!(split_step(&[b"/", &long[..], b"/a"].concat()), (&long[..], &b"/a"[..]));
        assert_eq!(split_step(b"/a/b"), (&b"a/b"[..], &b""[..]));
    }

    #[test]
    fn what_lies_below_the_working_directory_is_named_from_there() {
        assert_eq!(seen_from(b"/a/b", b"/a/b/c"), b"c");
        assert_eq!(seen_from(b"/a", b"/a/-d/~"), b"./-d/~");
        assert_eq!(seen_from(b"", b"/~root"), b"./~root");
        assert_eq!(seen_from(b"/a", b"/ab/c"), b"/ab/c");
        for (one, other, both) in
            [("/a/b", "/a/c", "/a"), ("/a/b", "/a/b/c", "/a/b"), ("/ab", "/ac", ""), ("", "/a", ""), ("/a", "", "")]
        {
            assert_eq!(common(one.as_bytes(), other.as_bytes()), both.as_bytes(), "{one} {other}");
        }
    }
}
