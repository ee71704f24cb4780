//! Whether a server may be told what comes next before it has answered.
//!
//! Measured: 200 commands in one write are answered in order by vsftpd and pyftpdlib, and as many as fit into 4 KiB by ProFTPD
//! and Pure-FTPd. libunftp answers in any order. While a transfer runs vsftpd reads no command, and so answers it after the
//! transfer's last reply; ProFTPD, Pure-FTPd and pyftpdlib read and refuse it, or answer at once what is not true yet. Of other
//! servers nothing is known, and beside `REST` with its `RETR` and pairs of short commands, which all take, they are asked one
//! thing at a time.
//!
//! `RNTO` may follow `RNFR` in one write: after a refused `RNFR` all four answer it with `503`, also where an earlier renaming
//! succeeded or failed. An `RNFR` that was accepted must be followed by its `RNTO`: until then ProFTPD refuses every other
//! command (`501`), and Pure-FTPd and pyftpdlib would rename that file even after the next `RNFR` was refused.

use crate::ftp::reply::Reply;

/// What is known of the order in which a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Nothing.
    #[default]
    Unknown,
    /// Commands in one write are done and answered in order.
    Kept,
    /// So are those that come while a transfer runs, after its end.
    KeptInTransfers,
}

impl Order {
    /// Recognises a server by what it says first and by its features.
    pub fn of(greeting: Option<&Reply>, features: &Reply) -> Self {
        let greeting = greeting.map(Reply::text).unwrap_or_default();
        let greets_as = |name: &str| greeting.contains(name);
        if greets_as("(vsFTPd ") || is_vsftpd(features) {
            return Self::KeptInTransfers;
        }
        let text = features.text();
        let is_known = ["ProFTPD", "Pure-FTPd", "pyftpdlib"].into_iter().any(greets_as)
            || ["MFF modify;UNIX.group;UNIX.mode;", "type*;size*;sizd*;modify*", "End FEAT."]
                .into_iter()
                .any(|words| text.contains(words));
        if is_known { Self::Kept } else { Self::Unknown }
    }

    /// Whether several commands may be sent in one write.
    pub fn is_kept(self) -> bool {
        self != Self::Unknown
    }
}

/// By its list, which no other server has: neither `MLST` nor `MFMT`, but `PASV`.
fn is_vsftpd(features: &Reply) -> bool {
    let inner =
        features.lines.split_first().and_then(|(_, rest)| rest.split_last()).map_or(&[][..], |(_, inner)| inner);
    let words: Vec<&[u8]> = inner.iter().map(|line| line.trim_ascii()).collect();
    VSFTPD.iter().all(|word| words.contains(word))
        && words.iter().all(|word| VSFTPD.contains(word) || VSFTPD_AT_TIMES.contains(word))
}

const VSFTPD: [&[u8]; 6] = [b"EPSV", b"MDTM", b"PASV", b"REST STREAM", b"SIZE", b"TVFS"];
const VSFTPD_AT_TIMES: [&[u8]; 6] = [b"AUTH SSL", b"AUTH TLS", b"EPRT", b"PBSZ", b"PROT", b"UTF8"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::Reader;

    fn reply(text: &str) -> Reply {
        let mut reader = Reader::new();
        reader.feed(text.replace('\n', "\r\n").as_bytes());
        reader.next().unwrap().unwrap()
    }

    #[test]
    fn a_server_is_known_by_its_greeting_or_its_features() {
        let vsftpd =
            "211-Features:\n AUTH TLS\n EPSV\n MDTM\n PASV\n PBSZ\n PROT\n REST STREAM\n SIZE\n TVFS\n211 End\n";
        let proftpd = "211-Features:\n MFF modify;UNIX.group;UNIX.mode;\n SIZE\n211 End\n";
        let pure_ftpd = "211-Extensions supported:\n MLST type*;size*;sizd*;modify*;UNIX.mode*;\n211 End.\n";
        let pyftpdlib = "211-Features supported:\n SIZE\n TVFS\n211 End FEAT.\n";
        let libunftp = "211-Extensions supported:\n AUTH TLS\n EPSV\n MDTM\n MLSD\n MLST\n SIZE\n211 END\n";
        let other = "211-Features:\n EPSV\n MDTM\n PASV\n REST STREAM\n SIZE\n TVFS\n XCRC\n211 End\n";
        for (greeting, features, order) in [
            ("220 Welcome.\n", vsftpd, Order::KeptInTransfers),
            ("220 (vsFTPd 3.0.3)\n", other, Order::KeptInTransfers),
            ("220 Welcome.\n", proftpd, Order::Kept),
            ("220 Welcome.\n", pure_ftpd, Order::Kept),
            ("220 Welcome.\n", pyftpdlib, Order::Kept),
            ("220 ProFTPD Server (lab) [127.0.0.1]\n", other, Order::Kept),
            ("220-FileZilla Server 1.9.4\n220 Please visit\n", other, Order::Unknown),
            ("220 Welcome to the libunftp FTP server\n", libunftp, Order::Unknown),
            ("220 Welcome.\n", other, Order::Unknown),
            ("220 Welcome.\n", "500 What?\n", Order::Unknown),
        ] {
            assert_eq!(Order::of(Some(&reply(greeting)), &reply(features)), order, "{greeting}{features}");
        }
    }
}
