//! What makes a connection a session: logged in, and settings the same for each.

use crate::ftp::charset::Wish;
use crate::ftp::command::Command;
use crate::ftp::control::{Control, Witness, busy};
use crate::ftp::error::{Error, Expect};
use crate::ftp::features::Features;
use crate::ftp::reply::Outcome;
use crate::ftp::server::Server;

/// libunftp takes one ClientHello in ten for a command and answers it in clear; the next connection fares better.
pub(super) fn connect(server: &Server, witness: &mut Witness) -> Result<Control, Error> {
    let mut once = || Control::witnessed(&server.settings, &server.tls, &server.counters, witness);
    match once() {
        Err(Error::Tls { step, why }) => {
            log::debug!("connecting again: {step}: {why}");
            once()
        }
        other => other,
    }
}

/// Settings of the session, in one write: none depends on another's answer.
pub(super) fn prepare(control: &mut Control, utf8: bool, features: &Features) -> Result<(), Error> {
    let opts_mlst = features.opts_mlst();
    let utf8 = utf8.then_some(Command::Opts(b"UTF8 ON"));
    let mlst = opts_mlst.as_deref().map(|arguments| Command::Opts(arguments.as_bytes()));
    let commands: Vec<_> = utf8.into_iter().chain(mlst).chain([Command::TypeImage]).collect();
    control.send(&commands)?;
    for command in &commands {
        let reply = control.reply(command.verb())?;
        match command {
            Command::TypeImage => drop(reply.completion("TYPE I")?),
            // An option refused is the server's default kept: Pure-FTPd answers 504 to UTF8 ON and speaks it all the same.
            _ => log::debug!("{command}: {reply}"),
        }
    }
    Ok(())
}

/// Whether to ask for UTF-8: some servers translate names from then on, which is not wanted where `charset=` names theirs.
pub(super) fn speaks_utf8(wish: Wish, features: &Features) -> bool {
    match wish {
        Wish::Named(charset) => charset.is_bytes(),
        Wish::Bytes | Wish::Detected => features.utf8,
    }
}

/// Where the login landed (`PWD`); `/` where the server does not say.
pub(super) fn login_directory(control: &mut Control) -> Result<Vec<u8>, Error> {
    let reply = control.exchange(&Command::Pwd)?;
    let said = match reply.code.outcome() {
        Outcome::Completion => reply.lines.first(),
        Outcome::TransientNegative => return Err(busy(&reply)),
        _ => None,
    };
    let directory = said.and_then(|line| quoted(line)).filter(|path| path.starts_with(b"/"));
    if directory.is_none() {
        log::info!("the login directory is unknown ({reply}): taking /");
    }
    Ok(directory.unwrap_or_else(|| b"/".to_vec()))
}

/// The path in a `257` (RFC 959 appendix II): in quotes, with quotes inside doubled, except on servers that do not
/// double them; so the last quote ends it.
fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|&byte| byte == b'"')? + 1;
    let end = text.iter().rposition(|&byte| byte == b'"').filter(|&end| end >= start)?;
    // Text behind the path may be quoted as well.
    let inner = &text[start..end];
    let inner = inner.windows(2).position(|pair| pair == b"\" ").map_or(inner, |end| &inner[..end]);
    let mut path = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().peekable();
    while let Some(&byte) = bytes.next() {
        path.push(byte);
        if byte == b'"' {
            bytes.next_if(|&&next| next == b'"');
        }
    }
    Some(path)
}
