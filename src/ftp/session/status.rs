//! A directory in the lines of a reply (`STAT`, RFC 959 section 4.1.3): without a data connection, in one round trip.
//!
//! vsftpd writes names into its replies as they are. One with a line break in it, and `213 ` or another code behind that,
//! looks like the reply's end, and what follows like replies to later commands: whoever may create files could so put words
//! into the server's mouth. So the listing counts only if the next reply is the one to `REST` with a number that nobody can
//! guess, which servers repeat (`350 Restart position accepted (8372615).`).

use crate::ftp::command::Command;
use crate::ftp::error::{Error, Expect};
use crate::ftp::listing::{Listing, Parser};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::session::Session;
use crate::ftp::session::reach::IAC;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::SystemTime;

impl Session {
    /// Lists the directory `pathname` by `STAT -a` from inside; `None` where that would take more than one write, or where
    /// what came cannot be relied on. Names are the server's still.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or the connection's failures; [`Error::Closed`] where the end of the listing was not where it
    /// seemed to be.
    pub fn list_in_one_reply(&mut self, pathname: &[u8], now: SystemTime) -> Result<Option<Listing>, Error> {
        self.settle()?;
        let nonce = RandomState::new().build_hasher().finish() >> NONCE_SHIFT;
        let cwd = Command::Cwd(pathname);
        if self.reach(&[cwd])?.is_some() {
            return Ok(None);
        }
        self.server.counters.listings.up();
        self.control.send(&[cwd, Command::Stat(b"-a ."), Command::Rest(nonce), Command::Rest(0)])?;
        let told = self.hear(nonce, now);
        if told.as_ref().is_err_and(Error::closes_connection) {
            self.control.give_up();
        }
        told
    }

    /// Hears all four replies before it looks at any.
    fn hear(&mut self, nonce: u64, now: SystemTime) -> Result<Option<Listing>, Error> {
        let cwd = self.control.reply("CWD")?;
        let mut parser = Parser::list(now, self.server.clock.zone(now)).preferring(self.server.list_form());
        let mut has_iac = false;
        let stat = self.control.reply_into("STAT", |line| {
            has_iac |= line.contains(&IAC);
            let told = parser.feed(&[without_code(line), b"\r\n"].concat());
            told.map_err(|error| Error::Misbehaved { step: "STAT".to_owned(), what: error.to_string() })
        })?;
        let marks = self.control.reply("REST").and_then(|first| Ok((first, self.control.reply("REST")?)));
        match marks {
            Ok((first, second)) if repeats(&first, nonce) && second.code.outcome() == Outcome::Intermediate => {}
            Ok(_) | Err(Error::Misbehaved { .. }) => return Err(self.lost_the_thread()),
            Err(error) => return Err(error),
        }
        cwd.completion("CWD")?;
        let stat = stat.completion("STAT")?;
        let listing = parser.finish();
        // Not every server sends telnet's own byte as it sends it on a data connection.
        Ok((stat.lines.len() > 1 && !has_iac).then_some(listing))
    }

    /// The listing ended elsewhere than it seemed to.
    fn lost_the_thread(&self) -> Error {
        if self.server.status.refute() {
            log::info!("the end of a listing by STAT cannot be told: using LIST from now on");
        }
        Error::Closed { step: "the end of a listing by STAT".to_owned() }
    }
}

/// Pure-FTPd and others begin each line with the code; ProFTPD indents it (RFC 959 section 4.2).
pub(super) fn without_code(line: &[u8]) -> &[u8] {
    let line = match line {
        [b'2', b'1', b'1'..=b'3', b'-', rest @ ..] => rest,
        _ => line,
    };
    line.strip_prefix(b" ").unwrap_or(line)
}

fn repeats(reply: &Reply, nonce: u64) -> bool {
    let nonce = nonce.to_string();
    reply.code.number() == 350
        && reply.lines.iter().any(|line| line.windows(nonce.len()).any(|part| part == nonce.as_bytes()))
}

/// Leaves 47 bits: more than a file can have bytes on some servers would be refused.
const NONCE_SHIFT: u32 = 17;
