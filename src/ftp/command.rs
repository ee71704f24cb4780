//! Commands to the server, as bytes (RFC 959 section 4.1, 2228 section 3, 2428, 2389, 3659).

#![deny(clippy::indexing_slicing)]

use crate::path;
use crate::secret::Secret;
use std::borrow::Cow;
use std::fmt;

/// One command. Paths are full paths in the server's own bytes; an empty argument is left out with its space.
///
/// `Debug` and `Display` show what would be sent, the password as `…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `AUTH TLS` (RFC 4217 section 4).
    AuthTls,
    /// `USER`: the account.
    User(&'a [u8]),
    /// `PASS`: its password.
    Pass(&'a Secret),
    /// `PBSZ 0` (RFC 4217 section 8).
    Pbsz,
    /// `PROT P`: data connections are private (RFC 4217 section 9).
    ProtP,
    /// `FEAT` (RFC 2389 section 3).
    Feat,
    /// `OPTS` with its arguments (RFC 2389 section 4).
    Opts(&'a [u8]),
    /// `TYPE I`: the image type.
    TypeImage,
    /// `SYST`.
    Syst,
    /// `PWD`.
    Pwd,
    /// `CWD`: a directory.
    Cwd(&'a [u8]),
    /// `EPSV` (RFC 2428 section 3).
    Epsv,
    /// `PASV`.
    Pasv,
    /// `REST`: an offset in bytes (RFC 3659 section 5).
    Rest(u64),
    /// `RETR`: a file.
    Retr(&'a [u8]),
    /// `LIST` with its argument.
    List(&'a [u8]),
    /// `LIST -a`: the working directory with the names that begin with a dot, on servers that take ls(1)'s options.
    ListAll,
    /// `NLST` with its argument: names alone.
    Nlst(&'a [u8]),
    /// `MLSD`: a directory (RFC 3659 section 7).
    Mlsd(&'a [u8]),
    /// `MLST`: a file or directory (RFC 3659 section 7).
    Mlst(&'a [u8]),
    /// `SIZE`: a file (RFC 3659 section 4).
    Size(&'a [u8]),
    /// `MDTM`: a file (RFC 3659 section 3).
    Mdtm(&'a [u8]),
    /// `STOR`: a file, from its beginning.
    Stor(&'a [u8]),
    /// `APPE`: a file, at its end.
    Appe(&'a [u8]),
    /// `DELE`: a file.
    Dele(&'a [u8]),
    /// `MKD`: a directory.
    Mkd(&'a [u8]),
    /// `RMD`: a directory.
    Rmd(&'a [u8]),
    /// `RNFR`: what is to be renamed.
    Rnfr(&'a [u8]),
    /// `RNTO`: its new name.
    Rnto(&'a [u8]),
    /// `MFMT`: a time-val, and the file whose time of last change it becomes.
    Mfmt(&'a str, &'a [u8]),
    /// `MDTM` with a time-val before the pathname: the same, on servers older than `MFMT`.
    MdtmSet(&'a str, &'a [u8]),
    /// `SITE UTIME`: the same, in ProFTPD's form.
    SiteUtime(&'a str, &'a [u8]),
    /// `SITE CHMOD`: permission bits and a file.
    SiteChmod(u16, &'a [u8]),
    /// `SITE SYMLINK`: a target and the link's own path. The words are parted by spaces, so neither may hold one.
    SiteSymlink(&'a [u8], &'a [u8]),
    /// `STAT` with its argument: the lines that `LIST` would send, on the control connection.
    Stat(&'a [u8]),
    /// `HASH`: a file, in the algorithm that `OPTS HASH` chose (draft-bryan-ftpext-hash).
    Hash(&'a [u8]),
    /// `XSHA256`: a file.
    Xsha256(&'a [u8]),
    /// `XMD5`: a file.
    Xmd5(&'a [u8]),
    /// `AVBL`: a directory (draft-peterson-streamlined-ftp-command-extensions).
    Avbl(&'a [u8]),
    /// `NOOP`.
    Noop,
    /// `QUIT`.
    Quit,
}

/// Why a command is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsendable {
    /// The argument holds a CR, LF or NUL, which would end the command or begin another.
    Forbidden(u8),
    /// The name has characters that the server's character set has not.
    NotInCharset,
    /// The line would be longer than [`COMMAND_BYTES_MAX`].
    TooLong,
}

impl<'a> Command<'a> {
    /// The pathname that it speaks of; `LIST` and `NLST`, whose arguments are none, have none.
    pub fn pathname(mut self) -> Option<&'a [u8]> {
        self.place().map(|pathname| *pathname)
    }

    fn place(&mut self) -> Option<&mut &'a [u8]> {
        match self {
            Self::Cwd(path)
            | Self::Retr(path)
            | Self::Mlsd(path)
            | Self::Mlst(path)
            | Self::Size(path)
            | Self::Mdtm(path)
            | Self::Stor(path)
            | Self::Appe(path)
            | Self::Dele(path)
            | Self::Mkd(path)
            | Self::Rmd(path)
            | Self::Rnfr(path)
            | Self::Rnto(path)
            | Self::Stat(path)
            | Self::Hash(path)
            | Self::Xsha256(path)
            | Self::Xmd5(path)
            | Self::Avbl(path)
            | Self::Mfmt(_, path)
            | Self::MdtmSet(_, path)
            | Self::SiteUtime(_, path)
            | Self::SiteChmod(_, path)
            | Self::SiteSymlink(_, path) => Some(path),
            Self::AuthTls
            | Self::User(_)
            | Self::Pass(_)
            | Self::Pbsz
            | Self::ProtP
            | Self::Feat
            | Self::Opts(_)
            | Self::TypeImage
            | Self::Syst
            | Self::Pwd
            | Self::Epsv
            | Self::Pasv
            | Self::Rest(_)
            | Self::List(_)
            | Self::ListAll
            | Self::Nlst(_)
            | Self::Noop
            | Self::Quit => None,
        }
    }

    /// The command's first word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::AuthTls => "AUTH",
            Self::User(_) => "USER",
            Self::Pass(_) => "PASS",
            Self::Pbsz => "PBSZ",
            Self::ProtP => "PROT",
            Self::Feat => "FEAT",
            Self::Opts(_) => "OPTS",
            Self::TypeImage => "TYPE",
            Self::Syst => "SYST",
            Self::Pwd => "PWD",
            Self::Cwd(_) => "CWD",
            Self::Epsv => "EPSV",
            Self::Pasv => "PASV",
            Self::Rest(_) => "REST",
            Self::Retr(_) => "RETR",
            Self::List(_) | Self::ListAll => "LIST",
            Self::Nlst(_) => "NLST",
            Self::Mlsd(_) => "MLSD",
            Self::Mlst(_) => "MLST",
            Self::Size(_) => "SIZE",
            Self::Mdtm(_) => "MDTM",
            Self::MdtmSet(..) => "MDTM",
            Self::Stor(_) => "STOR",
            Self::Appe(_) => "APPE",
            Self::Dele(_) => "DELE",
            Self::Mkd(_) => "MKD",
            Self::Rmd(_) => "RMD",
            Self::Rnfr(_) => "RNFR",
            Self::Rnto(_) => "RNTO",
            Self::Mfmt(..) => "MFMT",
            Self::SiteUtime(..) | Self::SiteChmod(..) | Self::SiteSymlink(..) => "SITE",
            Self::Stat(_) => "STAT",
            Self::Hash(_) => "HASH",
            Self::Xsha256(_) => "XSHA256",
            Self::Xmd5(_) => "XMD5",
            Self::Avbl(_) => "AVBL",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
        }
    }

    /// The same command with `pathname`, if there is one, in place of its own.
    #[must_use]
    pub fn seen_from<'b>(self, pathname: Option<&'b [u8]>) -> Command<'b>
    where
        Self: 'b,
    {
        let mut command: Command<'b> = self;
        if let (Some(place), Some(pathname)) = (command.place(), pathname) {
            *place = pathname;
        }
        command
    }

    /// How long the line is, with its CRLF and as far as no byte is doubled.
    pub fn line_bytes(&self) -> usize {
        self.verb().len() + " \r\n".len() + self.argument().len()
    }

    /// Appends the command's line with its CRLF. `out` then may hold a password, and whoever owns it must wipe it.
    ///
    /// # Errors
    ///
    /// [`Unsendable`]; `out` is then as it was.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        let argument = self.argument();
        if let Some(&byte) = argument.iter().find(|byte| b"\r\n\0".contains(byte)) {
            return Err(Unsendable::Forbidden(byte));
        }
        if self.line_bytes() > COMMAND_BYTES_MAX {
            return Err(Unsendable::TooLong);
        }
        out.extend_from_slice(self.verb().as_bytes());
        if !argument.is_empty() {
            out.push(b' ');
            out.extend_from_slice(&argument);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn argument(&self) -> Cow<'_, [u8]> {
        match self {
            Self::AuthTls => b"TLS".into(),
            Self::Pbsz => b"0".into(),
            Self::ProtP => b"P".into(),
            Self::TypeImage => b"I".into(),
            Self::ListAll => b"-a".into(),
            Self::Rest(offset) => offset.to_string().into_bytes().into(),
            Self::Pass(password) => password.expose().into(),
            Self::User(argument)
            | Self::Opts(argument)
            | Self::Cwd(argument)
            | Self::Retr(argument)
            | Self::List(argument)
            | Self::Nlst(argument)
            | Self::Mlsd(argument)
            | Self::Mlst(argument)
            | Self::Size(argument)
            | Self::Mdtm(argument)
            | Self::Stor(argument)
            | Self::Appe(argument)
            | Self::Dele(argument)
            | Self::Mkd(argument)
            | Self::Rmd(argument)
            | Self::Rnfr(argument)
            | Self::Rnto(argument)
            | Self::Avbl(argument)
            | Self::Hash(argument)
            | Self::Xsha256(argument)
            | Self::Xmd5(argument) => (*argument).into(),
            Self::Mfmt(time, path) | Self::MdtmSet(time, path) => words(&[time.as_bytes(), path]),
            Self::SiteUtime(time, path) => words(&[b"UTIME", time.as_bytes(), path]),
            Self::SiteChmod(mode, path) => words(&[b"CHMOD", format!("{mode:03o}").as_bytes(), path]),
            Self::SiteSymlink(target, path) => words(&[b"SYMLINK", target, path]),
            Self::Stat(argument) => (*argument).into(),
            Self::Feat | Self::Syst | Self::Pwd | Self::Epsv | Self::Pasv | Self::Noop | Self::Quit => b"".into(),
        }
    }
}

fn words(words: &[&[u8]]) -> Cow<'static, [u8]> {
    words.join(&b' ').into()
}

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())?;
        if let Self::Pass(_) = self {
            return f.write_str(" …");
        }
        let argument = self.argument();
        if argument.is_empty() { Ok(()) } else { write!(f, " {}", path::escaped(&argument)) }
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(byte) => write!(f, "a command cannot carry the byte 0x{byte:02x}"),
            Self::NotInCharset => f.write_str("the server's character set cannot write it"),
            Self::TooLong => write!(f, "the command would be longer than {COMMAND_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for Unsendable {}

/// The longest line sent, with its CRLF: servers answer longer ones by hanging up (vsftpd, FileZilla) or by silence
/// (ProFTPD).
pub const COMMAND_BYTES_MAX: usize = 4096;

/// Longer pathnames (bytes) most systems do not take in one piece (Linux's `PATH_MAX`), and servers that remember where they
/// are as text not at all.
pub const PATH_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(command: Command<'_>) -> Result<String, Unsendable> {
        let mut out = Vec::new();
        command.encode_into(&mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_command_is_its_verb_its_argument_and_a_line_end() {
        let password = Secret::new("p w");
        for (command, line) in [
            (Command::AuthTls, "AUTH TLS\r\n"),
            (Command::User(b"lab"), "USER lab\r\n"),
            (Command::Pass(&password), "PASS p w\r\n"),
            (Command::Pbsz, "PBSZ 0\r\n"),
            (Command::ProtP, "PROT P\r\n"),
            (Command::Opts(b"MLST type;size;"), "OPTS MLST type;size;\r\n"),
            (Command::TypeImage, "TYPE I\r\n"),
            (Command::Rest(u64::MAX), "REST 18446744073709551615\r\n"),
            (Command::Retr(b"/ a "), "RETR / a \r\n"),
            (Command::List(b""), "LIST\r\n"),
            (Command::List(b"/a"), "LIST /a\r\n"),
            (Command::ListAll, "LIST -a\r\n"),
            (Command::Nlst(b"-a"), "NLST -a\r\n"),
            (Command::Stat(b"-a ."), "STAT -a .\r\n"),
            (Command::Epsv, "EPSV\r\n"),
            (Command::Mfmt("20261123144036", b"/a b"), "MFMT 20261123144036 /a b\r\n"),
            (Command::MdtmSet("20261123144036", b"/a"), "MDTM 20261123144036 /a\r\n"),
            (Command::SiteChmod(0o44, b"/a"), "SITE CHMOD 044 /a\r\n"),
            (Command::SiteSymlink(b"t", b"/a"), "SITE SYMLINK t /a\r\n"),
        ] {
            assert_eq!(encoded(command).as_deref(), Ok(line));
        }
    }

    #[test]
    fn no_argument_ends_the_line_or_begins_another() {
        for bad in [&b"/a\r\nDELE /b"[..], b"/a\n", b"/a\r", b"/a\0"] {
            assert!(matches!(encoded(Command::SiteChmod(0o644, bad)), Err(Unsendable::Forbidden(_))));
            assert!(matches!(encoded(Command::Retr(bad)), Err(Unsendable::Forbidden(_))));
            assert!(matches!(encoded(Command::Pass(&Secret::new(bad))), Err(Unsendable::Forbidden(_))));
        }
    }

    #[test]
    fn a_line_that_servers_hang_up_on_is_not_sent() {
        assert!(encoded(Command::Retr(&[b'a'; COMMAND_BYTES_MAX - 7])).is_ok());
        assert_eq!(encoded(Command::Retr(&[b'a'; COMMAND_BYTES_MAX - 6])), Err(Unsendable::TooLong));
    }

    #[test]
    fn the_password_does_not_show() {
        assert_eq!(format!("{0} {0:?}", Command::Pass(&Secret::new("hunter2"))), "PASS … PASS …");
        assert_eq!(Command::Retr(b"/a\x1b").to_string(), "RETR /a\\u{1b}");
    }
}
