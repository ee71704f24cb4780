//! What program a server is, as far as its greeting gives it away.

/// The program that says `text` in its greeting or to `SYST`.
pub(super) fn told_by(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    KNOWN.iter().find(|(words, _)| text.contains(words)).map(|(_, name)| *name)
}

/// Words in small letters, and whose they are.
const KNOWN: [(&str, &str); 16] = [
    ("vsftpd", "vsftpd"),
    ("proftpd", "ProFTPD"),
    ("pure-ftpd", "Pure-FTPd"),
    ("pyftpdlib", "pyftpdlib"),
    ("filezilla", "FileZilla Server"),
    ("libunftp", "libunftp"),
    ("microsoft ftp service", "IIS"),
    ("windows_nt", "IIS"),
    ("serv-u", "Serv-U"),
    ("wing ftp", "Wing FTP Server"),
    ("titan ftp", "Titan FTP Server"),
    ("bftpd", "bftpd"),
    ("crushftp", "CrushFTP"),
    ("xlight", "Xlight"),
    ("cerberus", "Cerberus FTP Server"),
    ("bitvise", "Bitvise"),
];

#[cfg(test)]
mod tests {
    use super::told_by;

    #[test]
    fn a_greeting_gives_the_program_away() {
        for (text, name) in [
            ("(vsFTPd 3.0.3)", Some("vsftpd")),
            ("--------- Welcome to Pure-FTPd [privsep] [TLS] ----------", Some("Pure-FTPd")),
            ("FileZilla Server 1.9.4 / Please visit https://filezilla-project.org/", Some("FileZilla Server")),
            ("Microsoft FTP Service", Some("IIS")),
            ("Hello", None),
        ] {
            assert_eq!(told_by(text), name, "{text}");
        }
    }
}
