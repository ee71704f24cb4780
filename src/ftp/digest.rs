//! Checksums of uploads, where the server can tell its own (`HASH`, draft-bryan-ftpext-hash; `XSHA256`, `XMD5`).

use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Features;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::session::Session;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fmt::Write as _;

/// How a server tells a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `HASH`, after `OPTS HASH SHA-256`.
    Hash,
    /// `XSHA256`.
    Xsha256,
    /// `XMD5`: no proof against a forger, but against an accident.
    Xmd5,
}

/// The checksum of what is sent, as far as it was sent.
pub struct Running {
    way: Way,
    state: State,
}

enum State {
    Sha256(Sha256),
    Md5(Md5),
}

impl Way {
    /// The best that the server offers.
    pub fn offered(features: &Features) -> Option<Self> {
        match features {
            Features { hash_sha256: true, .. } => Some(Self::Hash),
            Features { xsha256: true, .. } => Some(Self::Xsha256),
            Features { xmd5: true, .. } => Some(Self::Xmd5),
            _ => None,
        }
    }
}

impl Running {
    /// Nothing was sent yet.
    pub fn new(way: Way) -> Self {
        let state = match way {
            Way::Hash | Way::Xsha256 => State::Sha256(Sha256::new()),
            Way::Xmd5 => State::Md5(Md5::new()),
        };
        Self { way, state }
    }

    /// Takes in what is sent.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
        }
    }

    /// Compares with the server's own checksum of `pathname`; `true` also where it tells none.
    ///
    /// # Errors
    ///
    /// The connection's failures.
    pub fn agrees(self, session: &mut Session, pathname: &[u8]) -> Result<bool, Error> {
        let ours = self.hex();
        let reply = match self.way {
            Way::Hash => {
                session.exchange(&Command::Opts(b"HASH SHA-256"))?;
                session.exchange(&Command::Hash(pathname))?
            }
            Way::Xsha256 => session.exchange(&Command::Xsha256(pathname))?,
            Way::Xmd5 => session.exchange(&Command::Xmd5(pathname))?,
        };
        Ok(match checksum(&reply, ours.len()) {
            Some(theirs) => theirs.eq_ignore_ascii_case(&ours),
            None => {
                log::debug!("no checksum in {reply}: the size has to do");
                true
            }
        })
    }

    fn hex(&self) -> String {
        let bytes = match &self.state {
            State::Sha256(state) => state.clone().finalize().to_vec(),
            State::Md5(state) => state.clone().finalize().to_vec(),
        };
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({:?})", self.way)
    }
}

/// The word of `length` hexadecimal digits in a positive reply: `250 <hex>`, or `213 SHA-256 0-5 <hex> /name`.
fn checksum(reply: &Reply, length: usize) -> Option<String> {
    if reply.code.outcome() != Outcome::Completion {
        return None;
    }
    let text = reply.text();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| word.len() == length && word.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::Reader;

    fn reply(line: &str) -> Reply {
        let mut reader = Reader::new();
        reader.feed(format!("{line}\r\n").as_bytes());
        reader.next().unwrap().unwrap()
    }

    #[test]
    fn a_checksum_is_found_in_every_servers_words() {
        let hex = "5D41402ABC4B2A76B9719D911017C592";
        for line in [format!("250 {hex}"), format!("213 MD5 0-5 {hex} /a b"), format!("250 /x \"{hex}\"")] {
            assert_eq!(checksum(&reply(&line), 32).as_deref(), Some(hex));
        }
        assert_eq!(checksum(&reply(&format!("550 {hex}")), 32), None);
        assert_eq!(checksum(&reply("250 none"), 32), None);
    }

    #[test]
    fn what_was_sent_in_pieces_has_the_checksum_of_the_whole() {
        let mut running = Running::new(Way::Xmd5);
        running.update(b"hel");
        running.update(b"lo");
        assert_eq!(running.hex(), "5d41402abc4b2a76b9719d911017c592");
    }
}
