//! What a server offers: the reply to `FEAT` (RFC 2389 section 3).

#![deny(clippy::indexing_slicing)]

use crate::ftp::reply::Reply;

/// What the server said it offers. The default is a server that said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// `MLST`, with the facts it can tell (RFC 3659 section 7.8); some servers name none.
    pub mlst: Option<Vec<Fact>>,
    /// `MLSD`: where `MLST` is offered, this is too (RFC 3659 section 7.8).
    pub mlsd: bool,
    /// `SIZE`.
    pub size: bool,
    /// `MDTM`.
    pub mdtm: bool,
    /// `MFMT`.
    pub mfmt: bool,
    /// `HASH` with SHA-256 among its algorithms.
    pub hash_sha256: bool,
    /// `XSHA256`.
    pub xsha256: bool,
    /// `XMD5`.
    pub xmd5: bool,
    /// `SITE UTIME` (ProFTPD).
    pub site_utime: bool,
    /// `SITE SYMLINK` (ProFTPD).
    pub site_symlink: bool,
    /// `REST` in stream mode (RFC 3659 section 5).
    pub rest_stream: bool,
    /// Pathnames are UTF-8 (RFC 2640).
    pub utf8: bool,
    /// `AVBL`.
    pub avbl: bool,
    /// `EPSV`.
    pub epsv: bool,
    /// Pathnames are a tree of names parted by `/` (RFC 3659 section 6).
    pub tvfs: bool,
}

/// A fact that the server can tell of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name in the server's spelling; case does not matter.
    pub name: String,
    /// Whether it is told as long as nobody asks otherwise by `OPTS MLST`.
    pub enabled: bool,
}

impl Features {
    /// Reads the reply to `FEAT`. What it does not know it leaves out.
    pub fn read(reply: &Reply) -> Self {
        let mut features = Self::default();
        // The first and the last line frame the features (RFC 2389 section 3.2).
        let inner =
            reply.lines.split_first().and_then(|(_, rest)| rest.split_last()).map_or(&[][..], |(_, inner)| inner);
        for line in inner {
            features.add(line.strip_prefix(b"211-").unwrap_or(line).trim_ascii());
        }
        features.mlsd |= features.mlst.is_some();
        features
    }

    /// What to send after `OPTS ` so that the server tells every fact that is of use here; `None` where it already
    /// does.
    pub fn opts_mlst(&self) -> Option<String> {
        let offered = self.mlst.as_deref().unwrap_or_default();
        let wanted = |fact: &&Fact| FACTS_WANTED.iter().any(|wanted| wanted.eq_ignore_ascii_case(&fact.name));
        let wanted: Vec<&Fact> = offered.iter().filter(wanted).collect();
        if wanted.iter().all(|fact| fact.enabled) {
            return None;
        }
        Some(wanted.iter().fold(String::from("MLST "), |list, fact| list + &fact.name + ";"))
    }

    fn add(&mut self, feature: &[u8]) {
        let mut parts = feature.splitn(2, |&byte| byte == b' ');
        let word = parts.next().unwrap_or_default().to_ascii_uppercase();
        let parameters = parts.next().unwrap_or_default().trim_ascii();
        match word.as_slice() {
            b"MLST" => self.mlst = Some(facts(parameters)),
            b"MLSD" => self.mlsd = true,
            b"SIZE" => self.size = true,
            b"MDTM" => self.mdtm = true,
            b"MFMT" => self.mfmt = true,
            b"HASH" => {
                let mut algorithms = parameters.split(|&byte| byte == b';');
                self.hash_sha256 |= algorithms.any(|name| name.eq_ignore_ascii_case(b"SHA-256") || name == b"SHA-256*");
            }
            b"XSHA256" => self.xsha256 = true,
            b"XMD5" => self.xmd5 = true,
            b"SITE" => {
                self.site_utime |= parameters.eq_ignore_ascii_case(b"UTIME");
                self.site_symlink |= parameters.eq_ignore_ascii_case(b"SYMLINK");
            }
            b"REST" => self.rest_stream |= parameters.eq_ignore_ascii_case(b"STREAM"),
            b"UTF8" | b"UTF-8" => self.utf8 = true,
            b"AVBL" => self.avbl = true,
            b"EPSV" => self.epsv = true,
            b"TVFS" => self.tvfs = true,
            _ => {}
        }
    }
}

/// Reads `type*;size*;unix.mode;`.
fn facts(parameters: &[u8]) -> Vec<Fact> {
    let names = parameters.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    names
        .filter_map(|name| {
            let (name, enabled) = name.strip_suffix(b"*").map_or((name, false), |name| (name, true));
            let name = std::str::from_utf8(name).ok()?;
            Some(Fact { name: name.to_owned(), enabled })
        })
        .take(FACTS_MAX)
        .collect()
}

/// The facts that [`crate::ftp::listing`] reads.
const FACTS_WANTED: [&str; 12] = [
    "type",
    "size",
    "modify",
    "perm",
    "unique",
    "unix.mode",
    "unix.uid",
    "unix.gid",
    "unix.owner",
    "unix.group",
    "unix.ownername",
    "unix.groupname",
];

/// More facts than this are not kept: RFC 3659 knows ten.
const FACTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::Reader;

    fn features(lines: &str) -> Features {
        let mut reader = Reader::new();
        reader.feed(format!("211-Features:\r\n{lines}211 End\r\n").as_bytes());
        Features::read(&reader.next().unwrap().unwrap())
    }

    #[test]
    fn features_are_read_in_the_form_of_each_server() {
        let vsftpd = features(" AUTH TLS\r\n EPSV\r\n MDTM\r\n PASV\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n");
        let expected =
            Features { epsv: true, mdtm: true, rest_stream: true, size: true, tvfs: true, ..Features::default() };
        assert_eq!(vsftpd, expected);
        assert_eq!(vsftpd.opts_mlst(), None);
        assert!(features(" AVBL\r\n").avbl && !vsftpd.avbl);
        assert!(features(" HASH CRC32;MD5;SHA-1*;SHA-256;\r\n").hash_sha256);
        let proftpd = features(" SITE MKDIR\r\n SITE SYMLINK\r\n SITE UTIME\r\n");
        assert!(proftpd.site_symlink && proftpd.site_utime);

        let old = features("211-mlst Type*;Size*;\r\n211-utf8\r\n211-rest stream\r\n");
        assert!(old.mlsd && old.utf8 && old.rest_stream);
        assert_eq!(features(""), Features::default());
    }

    #[test]
    fn mlst_without_facts_is_still_mlst() {
        let libunftp = features(" EPSV\r\n MLSD\r\n MLST\r\n SIZE\r\n");
        assert_eq!(libunftp.mlst, Some(Vec::new()));
        assert_eq!(libunftp.opts_mlst(), None);
    }

    #[test]
    fn facts_that_are_off_are_asked_for_in_the_servers_spelling() {
        let pyftpdlib = features(" MLST type*;perm*;size*;modify*;unique*;unix.mode;unix.uid;unix.gid;\r\n");
        let opts = "MLST type;perm;size;modify;unique;unix.mode;unix.uid;unix.gid;";
        assert_eq!(pyftpdlib.opts_mlst().as_deref(), Some(opts));
        let all_on = features(" MLST type*;size*;sizd;modify*;UNIX.mode*;x-hash;\r\n");
        assert_eq!(all_on.opts_mlst(), None);
        assert_eq!(features(" MLST Type;Foo*;\r\n").opts_mlst().as_deref(), Some("MLST Type;"));
    }

    #[test]
    fn a_server_that_knows_no_feat_offers_nothing() {
        let mut reader = Reader::new();
        reader.feed(b"211 no features\r\n");
        assert_eq!(Features::read(&reader.next().unwrap().unwrap()), Features::default());
    }
}
