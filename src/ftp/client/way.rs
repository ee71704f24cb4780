//! What can be asked about a name in one flight, and what the answers tell.

use crate::ftp::client::kind::refusal;
use crate::ftp::client::look::{bare, is_pattern, told_by_facts, told_by_status, with_bare};
use crate::ftp::command::Command;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::remote::{ErrorKind, Metadata};

/// How the server tells what a name is, in one flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `MLST` and `SIZE`.
    Facts,
    /// `SIZE`, `MDTM` and `STAT`.
    Status,
}

impl Way {
    /// `None` where only a listing tells.
    pub(super) fn of(server: &Server) -> Option<Self> {
        let features = server.features()?;
        if server.ignores_case() {
            return None;
        }
        Some(if features.mlst.is_some() { Self::Facts } else { Self::Status })
    }

    pub(super) fn can_tell(self, pathname: &[u8]) -> bool {
        self == Self::Facts || !is_pattern(pathname)
    }

    /// All that can be asked about a file.
    pub(super) fn questions<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        match self {
            Self::Facts => vec![Command::Mlst(pathname), Command::Size(pathname)],
            Self::Status => vec![Command::Size(pathname), Command::Mdtm(pathname), Command::Stat(pathname)],
        }
    }

    /// What is answered by a refusal where nothing is there. `SIZE` refuses a directory as well: so will `RNTO`. It also refuses
    /// a link that leads nowhere, a pipe or a socket; one that was made since the directory was listed is replaced.
    pub(super) fn is_there<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        match self {
            Self::Facts => vec![Command::Mlst(pathname)],
            Self::Status => vec![Command::Size(pathname)],
        }
    }

    pub(super) fn renaming<'a>(self, pathname: &'a [u8]) -> Vec<Command<'a>> {
        [vec![Command::Rnto(pathname)], self.questions(pathname)].concat()
    }

    /// What the answers tell of the name that is to be taken; `None` where they do not tell all that matters.
    #[expect(clippy::option_option, reason = "not told, nothing there, or something")]
    pub(super) fn found(
        self,
        server: &Server,
        pathname: &[u8],
        is_new: bool,
        answers: &[Reply],
    ) -> Option<Option<Metadata>> {
        let first = answers.first()?;
        if is_absence(first) && (is_new || self == Self::Facts) {
            return Some(None);
        }
        // Against expectation something is there: that is worth a closer look.
        if is_new { None } else { self.told(server, pathname, answers).map(Some) }
    }

    /// What the answers to all questions tell of a file.
    pub(super) fn told(self, server: &Server, pathname: &[u8], answers: &[Reply]) -> Option<Metadata> {
        match (self, answers) {
            (Self::Facts, [facts, size, ..]) => told_by_facts(facts.clone(), size).ok().flatten(),
            (Self::Status, [size, modified, status, ..]) => {
                let bare = bare(server, size, modified)?;
                Some(with_bare(told_by_status(server, pathname, status)?, Some(bare)))
            }
            _ => None,
        }
    }
}

/// Whether a question about a name was refused as it is where nothing is there.
fn is_absence(reply: &Reply) -> bool {
    let is_refused = matches!(reply.code.outcome(), Outcome::TransientNegative | Outcome::PermanentNegative);
    is_refused && matches!(refusal(reply), ErrorKind::NotFound | ErrorKind::Unavailable)
}
