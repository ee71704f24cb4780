//! What can be wrong with a server, in plain words: what it is called, whence it comes, and what helps.
//!
//! Each has its section in docs/troubleshooting.md under the same heading.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// A mount works, though not as well as it could, or not for long.
    Warning,
    /// A mount does not work.
    Error,
}

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// Its name for scripts; also its heading in docs/troubleshooting.md.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it is, in one line.
    pub title: &'static str,
    /// Why that is.
    pub cause: &'static str,
    /// What helps.
    pub cure: &'static str,
}

macro_rules! troubles {
    ($($name:ident: $level:ident, $id:literal, $title:literal, $cause:literal, $cure:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Trouble =
                Trouble { id: $id, level: Level::$level, title: $title, cause: $cause, cure: $cure };
        )*

        /// Every kind of trouble.
        pub const ALL: &[Trouble] = &[$($name),*];
    };
}

troubles! {
    UNKNOWN_HOST: Error, "unknown-host",
        "the host name is not known",
        "No name server knows this name, or none can be reached from here.",
        "Look at the spelling, at /etc/resolv.conf and at the network; getent hosts NAME asks in the same way.";
    PORT_CLOSED: Error, "port-closed",
        "nothing listens on the port",
        "The machine answers, but no program takes connections on this port, or a firewall turns them away.",
        "Start the server there, or write its port into the URL: usually 21 for explicit TLS and 990 for implicit TLS.";
    NO_ANSWER: Error, "no-answer",
        "the machine does not answer",
        "Nothing came back in time: the machine is off, the address is wrong, or a firewall drops what comes from here.",
        "Try another machine on the same network, and ask whoever runs the firewall for the control port and the passive \
         ports.";
    SILENT_PORT: Error, "silent-port",
        "the port takes connections and says nothing",
        "An FTP server greets whoever connects. This port does not, and it did not answer TLS's first words either: it is no \
         FTP server, or one that hangs (a proxy without its server behind it looks like that, too).",
        "Look at the port in the URL, and at the server itself.";
    NOT_FTP: Error, "not-ftp",
        "this is no FTP server",
        "What the port says is another protocol's.",
        "Write the FTP server's port into the URL. SSH (sftp://) is mounted by sshfs, WebDAV by davfs2.";
    WANTS_IMPLICIT: Error, "wants-implicit-tls",
        "the port wants implicit TLS",
        "The server waits for TLS's first words where we waited for its greeting in clear.",
        "Add -o tls=implicit.";
    WANTS_EXPLICIT: Error, "wants-explicit-tls",
        "the port wants explicit TLS",
        "The server greets in clear text where TLS was to begin with the first byte.",
        "Add -o tls=explicit, or write ftpes:// in the URL.";
    NO_TLS: Error, "no-tls",
        "the server offers no encryption on this port",
        "It refuses AUTH TLS. Without TLS the password and every file would travel in clear, so that ftpsfs does not log in.",
        "Switch TLS on in the server (vsftpd: ssl_enable=YES; ProFTPD: TLSEngine on; Pure-FTPd: TLS 1; IIS and FileZilla \
         Server: a certificate), or try its port for implicit TLS, which is usually 990.";
    OLD_TLS: Error, "tls-too-old",
        "the server has no TLS 1.2",
        "It knows SSL 3, TLS 1.0 or 1.1 only, which are broken, and which ftpsfs does not speak.",
        "Update the server or its TLS library; OpenSSL has TLS 1.2 since 1.0.1 of 2012.";
    TLS_FAILED: Error, "tls-failed",
        "the TLS handshake failed",
        "Server and ftpsfs did not come to terms: no common cipher suite (ftpsfs wants ECDHE with AES-GCM or ChaCha20), a client \
         certificate that the server demands, or something on the way that breaks TLS.",
        "Read the server's own log; --trace shows how far it came.";
    UNKNOWN_ISSUER: Error, "certificate-unknown-issuer",
        "nobody who is trusted vouches for the server's certificate",
        "Its issuer is not among the authorities that are trusted: a company's own, or the server leaves its intermediate \
         certificate out.",
        "Give that authority's certificate with -o cafile=PEM, or have the server send its whole chain.";
    SELF_SIGNED: Error, "certificate-self-signed",
        "the server's certificate is vouched for by nobody but itself",
        "It is self-signed, as programs make one when they are installed. Anybody could have made one like it.",
        "If its pin below is the server's (ask whoever runs it), trust this very key. Better is a certificate of an authority.";
    EXPIRED: Error, "certificate-expired",
        "the server's certificate has expired",
        "It was not renewed in time, or the server still uses the old one; or the clock of this machine is wrong.",
        "Renew it and restart the server, which reads it at its start only. On this machine, look at date.";
    NOT_YET: Error, "certificate-not-yet-valid",
        "the server's certificate is not valid yet",
        "Its time has not begun, or the clock of this machine is behind.",
        "Look at date on this machine and on the one that made the certificate.";
    WRONG_NAME: Error, "certificate-wrong-name",
        "the server's certificate is for another name",
        "The host in the URL is none of the names in the certificate; an address counts only where it is among them.",
        "Write a name of the certificate into the URL, or have the host's name put into the certificate.";
    OTHER_KEY: Error, "certificate-other-key",
        "the server's key is not the one that is trusted",
        "pin=, or the file of known servers (tofu), names another key. The server was given a new one, or somebody is between.",
        "Ask whoever runs the server for its pin. If it is the new one, write that into pin=, or take the server's line out of \
         the file.";
    CERTIFICATE_REFUSED: Error, "certificate-refused",
        "the server's certificate is not trusted",
        "It does not hold what it must hold, or not in the form that it must have.",
        "Have a new one issued for the server, by an authority or with today's tools.";
    NO_PRIVATE_DATA: Error, "data-in-clear",
        "the server does not encrypt data connections",
        "It refuses PROT P: every file and every name would travel in clear.",
        "Let the server allow PROT P (vsftpd: force_local_data_ssl=YES; ProFTPD: TLSRequired on).";
    LOGIN_REFUSED: Error, "login-refused",
        "the server does not let this account in",
        "The name or the password is wrong, or the account may not use FTP (vsftpd's user lists, a shell that is not in \
         /etc/shells, an account that is locked, a rule of PAM).",
        "Try the password elsewhere; read the server's own log, which knows the reason.";
    TOO_MANY: Error, "too-many-connections",
        "the server has no connection left for us",
        "It has reached its number of connections, of all or of this address or account. Programs that went without a goodbye \
         are counted until their time is over.",
        "Close other clients, or raise the server's limit (vsftpd: max_per_ip; ProFTPD: MaxClientsPerHost; Pure-FTPd: \
         MaxClientsPerIP). ftpsfs is content with one: -o connections=1.";
    NO_DIRECTORY: Error, "no-such-directory",
        "the directory cannot be entered",
        "It is not there, is no directory, or is closed to this account.",
        "Paths in the URL are relative to the login directory; start with // for an absolute path.";
    REUSE_NO_SESSION: Error, "reuse-without-session",
        "the server requires TLS session reuse and gives no session to reuse",
        "It demands that a data connection resumes the TLS session of its control connection, but never sent a session ticket. \
         No client can do what it wants.",
        "Switch the server's session cache or its tickets on, or switch the demand off (vsftpd: require_ssl_reuse=NO; ProFTPD: \
         TLSOptions NoSessionReuseRequired).";
    REUSE_NOT_TAKEN: Error, "reuse-not-taken",
        "the server requires TLS session reuse and does not take its own session back",
        "The data connection offered the TLS session of its control connection, and the server's TLS began a new one. Its \
         session cache is off, too small or not shared between its processes, or something on the way (a load balancer, a \
         TLS proxy) leads data connections to another machine.",
        "Let data connections reach the same server; switch its session cache on (ProFTPD: TLSSessionCache), or the demand off \
         (vsftpd: require_ssl_reuse=NO; ProFTPD: TLSOptions NoSessionReuseRequired).";
    REUSE_NOT_RECOGNISED: Error, "reuse-not-recognised",
        "the server's TLS resumed the session, and the server says that it did not",
        "The data connection did resume the TLS session of its control connection: both ends of TLS agree. The FTP server above \
         it compares in a way that misses it, as old versions do with TLS 1.3 or with tickets.",
        "Update the server, or switch the demand off (FileZilla Server 0.9: \"Require TLS session resumption on data \
         connection\"; ProFTPD: TLSOptions NoSessionReuseRequired; vsftpd: require_ssl_reuse=NO).";
    DATA_BLOCKED: Error, "data-port-blocked",
        "data connections do not come through",
        "The server named a port for the data connection, and nothing answers there: a firewall lets the control connection \
         through and not the passive ports, or the router in front of the server does not forward them. It cannot look them up \
         by itself, as the control connection is encrypted.",
        "Give the server a range of passive ports, and open and forward just that (vsftpd: pasv_min_port, pasv_max_port; \
         ProFTPD: PassivePorts; Pure-FTPd: PassivePortRange; FileZilla Server: passive mode).";
    DATA_FAILED: Error, "data-failed",
        "a data connection failed",
        "The control connection works, but the listing did not come through the data connection.",
        "The server's words say why, if it knows; --trace shows at which step.";
    UNREADABLE: Error, "directory-unreadable",
        "the directory may not be read",
        "The account may enter the directory and not list it.",
        "Give the account the right to read it, or mount one below.";
    LISTING_CUT: Error, "listing-cut",
        "the server tells only the beginning of the directory",
        "It stops at a number of names, and ftpsfs does not take the beginning for the whole.",
        "Raise the number (Pure-FTPd: LimitRecursion), or spread the files over more directories.";
    LISTING_UNKNOWN: Error, "listing-not-understood",
        "the directory's listing is of no known form",
        "The server has neither MLSD nor a LIST in one of the forms that ftpsfs reads.",
        "If the server has a setting for the style of its listings, set it to Unix. Tell us the lines that --trace shows.";
    CONNECTION_LOST: Error, "connection-lost",
        "the server closed the connection",
        "It hung up in the middle: it has barred this address, was restarted, ran out of something, or a firewall cut in.",
        "Read the server's own log; try again in some minutes.";
    TIMED_OUT: Error, "timed-out",
        "the server took too long",
        "It did not answer in the time that timeout= gives to one step.",
        "Give it more with -o timeout=SECONDS, or find out what holds it up (a look-up of our name is common: vsftpd and ProFTPD \
         can be told not to).";
    BROKEN_PROTOCOL: Error, "protocol-broken",
        "the server does not keep to the protocol",
        "It answered what no FTP server answers here.",
        "Look at the port; --trace shows the dialogue.";
    NOT_VERIFIED: Warning, "certificate-not-verified",
        "nobody looks at the server's certificate",
        "The option insecure-no-verify is given: anybody on the way can be the server, and gets the password.",
        "Trust the server's key instead.";
    EXPIRES_SOON: Warning, "certificate-expires-soon",
        "the server's certificate expires soon",
        "When its time is over, no mount is possible.",
        "Renew it, and restart the server.";
    FIRST_ADDRESS_DEAD: Warning, "first-address-dead",
        "not every address of the host answers",
        "The name has several addresses, and a connection is tried on the first one first, every time. Often the name has an \
         IPv6 address and the server listens on IPv4 only.",
        "Let the server listen on all of them, or take the dead address out of DNS.";
    REUSE_ONCE: Warning, "reuse-once",
        "a TLS session serves for one data connection only",
        "The second data connection of a control connection could not resume any more. ftpsfs logs in anew where it must, which \
         takes time.",
        "Update the server; a larger session cache helps some.";
    PASV_ADDRESS: Note, "pasv-wrong-address",
        "PASV names an address that is not the server's",
        "The server is behind NAT and tells its inner address. ftpsfs connects to the address of the control connection, \
         whatever PASV says; other clients may fail.",
        "Tell the server its outer address (vsftpd: pasv_address; ProFTPD: MasqueradeAddress; Pure-FTPd: ForcePassiveIP).";
    EPSV_BLOCKED: Warning, "epsv-and-pasv-differ",
        "one of EPSV and PASV leads to a closed port",
        "Both name a port on the same machine, but only one of them could be connected to.",
        "Let the server use one range of ports for both, and open all of it.";
    LIMIT_LOW: Warning, "connection-limit",
        "the server allows fewer connections than a mount may open",
        "ftpsfs learns the limit and waits for a free one, but each time that costs a refused login first.",
        "Mount with the number that is allowed, or raise it on the server.";
    LINES_UNKNOWN: Warning, "listing-lines-not-understood",
        "some lines of the listing are not understood",
        "What they tell of is not shown.",
        "If it is more than a headline, tell us the line.";
    NAMES_LEFT_OUT: Warning, "names-left-out",
        "some names of the listing cannot be shown",
        "They hold what no name may hold, or came twice.",
        "Rename them on the server.";
    NO_SIZE: Warning, "no-size",
        "the server does not tell sizes (SIZE)",
        "An upload cannot be checked at its end; the server's word is all there is.",
        "Switch SIZE on in the server.";
    UPLOAD_FAILED: Warning, "upload-failed",
        "the scratch file could not be stored",
        "The account may only read here, the disk or a quota is full, or the server has uploads switched off.",
        "Mount with -o ro, or give the account the right to write.";
    UPLOAD_CUT: Warning, "upload-cut",
        "the scratch file was not stored whole",
        "The server took all of it, said that all was well, and has a file of another size.",
        "Do not write to this server before it is updated.";
    RENAME_REFUSED: Warning, "rename-refused",
        "the server does not let files be renamed",
        "ftpsfs stores new content under another name and renames it when it is whole.",
        "Mount with -o upload=direct: files are written in place.";
    DELETE_REFUSED: Warning, "delete-refused",
        "the server does not let files be deleted",
        "The scratch file is still there, and files of the mount cannot be deleted either.",
        "Delete it by hand; give the account the right to delete.";
    CLOCK_WRONG: Warning, "clock-differs",
        "the server's clock and this machine's differ",
        "A file that was stored just now has another time there. make, rsync and backups compare such times.",
        "Let both follow a time server (NTP). If the difference is whole hours, give -o server_tz=ZONE.";
    REUSE_REQUIRED: Note, "reuse-required",
        "the server requires TLS session reuse, and ftpsfs does it",
        "A data connection must resume the TLS session of its control connection. A program that does not fails here with \
         these words.",
        "Nothing to do for ftpsfs. For other programs, switch it off (vsftpd: require_ssl_reuse=NO; ProFTPD: TLSOptions \
         NoSessionReuseRequired).";
    NO_RESUMPTION: Note, "no-resumption",
        "the server resumes no TLS session",
        "Every data connection shakes hands in full, which takes the server's processor and a round trip more. It demands \
         nothing else.",
        "Nothing to do.";
    NO_FACTS: Note, "no-mlsd",
        "the server has no MLSD",
        "Times of files come from LIST, which shows minutes, and days of what is older.",
        "Nothing to do.";
    FACTS_LEAVE_OUT: Note, "mlsd-leaves-names-out",
        "MLSD leaves names out that LIST shows",
        "ftpsfs asks for both.",
        "Nothing to do.";
    CLOCK_UNKNOWN: Note, "clock-unknown",
        "in which time the server lists was not detected",
        "There was no file to compare LIST and MDTM by, or the server tells no MDTM. Times are taken for UTC.",
        "If times are wrong by whole hours, give -o server_tz=ZONE.";
    NO_EMS: Note, "no-extended-master-secret",
        "TLS 1.2 without extended master secret",
        "The server's TLS library is from before 2015 (RFC 7627), and some clients do not resume sessions with it.",
        "Update the server's TLS library.";
    APPEND_REFUSED: Note, "append-refused",
        "the server does not let files be added to",
        "A file that is only added to is uploaded whole each time.",
        "ProFTPD: AllowStoreRestart on.";
}
