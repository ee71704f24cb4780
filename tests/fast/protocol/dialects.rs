//! Servers of other systems, line by line: Windows, FileZilla Server, VMS and MVS, through the client and the file system.

use super::script::Script;
use super::settings;
use ftpsfs::errno::Errno;
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::{Directory, Settings};
use ftpsfs::ftp::time::{time_val, to_time_val};
use ftpsfs::path::RemotePath;
use ftpsfs::remote::{self, ErrorKind, Remote as _, Start};
use ftpsfs::vfs::attr::Kind;
use ftpsfs::vfs::filesystem::{Access, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{self, Vfs};
use std::sync::Arc;
use std::time::Instant;

const WAIT: Patience = Patience::Network;

const BYE: &str = "< QUIT\n> 221 Bye.";

/// A data connection that brings `lines` in answer to `command`; `\r\n` is written as such.
fn transfer(command: &str, lines: &[&str]) -> String {
    let text: String = lines.iter().map(|line| format!(r"{line}\r\n")).collect();
    format!("{}\n> 150 Here it comes.\n= DATA {text}\n> 226 Done.\n", refused(command))
}

/// A command that needs a data connection, as far as it goes before its answer.
fn refused(command: &str) -> String {
    format!("< EPSV\n> 229 Entering Extended Passive Mode (|||$PORT|)\n< {command}")
}

/// A mount of `directory` on the server that plays `transcript`.
struct Mount {
    vfs: Vfs,
    client: Arc<Client>,
    _server: Script,
}

impl Mount {
    fn of(directory: &str, transcript: &[&str]) -> Self {
        let server = Script::play(&transcript.join("\n"));
        let directory = Directory::Absolute(directory.into());
        let client = Arc::new(Client::connect(Settings { directory, ..settings(server.port()) }).unwrap());
        let vfs = Vfs::new(Arc::clone(&client) as Arc<_>, vfs::Settings::default());
        Self { vfs, client, _server: server }
    }

    fn up(&self, parent: Ino, name: &str) -> vfs::filesystem::Entry {
        match self.vfs.lookup(parent, name.as_bytes(), Instant::now(), WAIT).unwrap() {
            Looked::Up(entry) => entry,
            Looked::Absent(_) => panic!("{name} is absent"),
        }
    }

    /// Names, without `.` and `..`.
    fn names(&self, directory: Ino) -> Vec<String> {
        let opened = self.vfs.opendir(directory, Instant::now(), WAIT).unwrap();
        let mut names = Vec::new();
        self.vfs
            .readdirplus(opened.fh, 2, Instant::now(), |line| {
                names.push(String::from_utf8_lossy(line.name).into_owned());
                false
            })
            .unwrap();
        self.vfs.releasedir(opened.fh).unwrap();
        names
    }

    fn read(&self, parent: Ino, name: &str) -> Vec<u8> {
        let entry = self.up(parent, name);
        let fh = self.vfs.open(entry.ino, Access::Read, Instant::now(), WAIT).unwrap().fh;
        let bytes = self.vfs.read(fh, 0, 4096, Instant::now(), WAIT).unwrap().with(<[u8]>::to_vec);
        self.vfs.release(fh, Instant::now(), WAIT).unwrap();
        bytes
    }

    fn time(&self, parent: Ino, name: &str) -> String {
        to_time_val(self.up(parent, name).attr.modified).unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.client.close();
    }
}

/// Lists in the form of DOS and in local time, here eight hours behind.
#[test]
fn iis_is_mounted() {
    let lines = &[
        "11-23-26  02:40PM       <DIR>          upload",
        "11-22-26  08:10PM                    5 hello.txt",
        "02-29-24  09:15AM           5368709120 over 4g.bin",
    ];
    let server = Mount::of(
        "/",
        &[
            "= LOGIN",
            "< FEAT",
            r"> 211-Extended features supported:\r\n LANG EN*\r\n UTF8\r\n AUTH TLS;TLS-C;SSL;TLS-P;\r\n PBSZ\r\n PROT C;P;\r\n HOST\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 END",
            "< CWD /\n> 250 CWD command successful.",
            "< CWD /\n> 250 CWD command successful.",
            &transfer("LIST -a", lines),
            "< MDTM /hello.txt\n> 213 20261123041030",
            "< MDTM /over 4g.bin\n> 213 20240229171500",
            "< CWD /\n> 250 CWD command successful.",
            &transfer("LIST -a", lines),
            &transfer("RETR /hello.txt", &["hel"]),
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["upload", "hello.txt", "over 4g.bin"]);
    assert_eq!(server.up(Ino::ROOT, "upload").attr.kind, Kind::Directory);
    assert_eq!(server.up(Ino::ROOT, "over 4g.bin").attr.size, 5_368_709_120);
    assert_eq!(server.time(Ino::ROOT, "hello.txt"), "20261123041000");
    assert_eq!(server.time(Ino::ROOT, "over 4g.bin"), "20240229171500");
    assert_eq!(server.read(Ino::ROOT, "hello.txt"), b"hel\r\n");
}

/// `perms` for `perm`, milliseconds, links without their targets, and a `LIST` that takes `-a` for a name.
#[test]
fn filezilla_server_is_mounted() {
    let server = Mount::of(
        "/",
        &[
            "= LOGIN",
            "< FEAT",
            r"> 211-Features:\r\n MDTM\r\n REST STREAM\r\n SIZE\r\n MLST type*;size*;modify*;perm*;\r\n MLSD\r\n AUTH TLS\r\n UTF8\r\n EPSV\r\n211 End",
            "< CWD /\n> 250 CWD command successful",
            &transfer(
                "MLSD /",
                &[
                    "type=file;size=5;modify=20261123144036.617;perms=awrfd; hello.txt",
                    "type=dir;modify=20261123144036.617;perms=cplemfd; upload",
                    "type=OS.unix=symlink;size=5;modify=20261123144036.617;perms=awrfd; link",
                ],
            ),
            "< CWD /\n> 250 CWD command successful",
            &refused("LIST -a"),
            "> 550 Couldn't open the directory",
            &transfer(
                "LIST",
                &[
                    "-rw-rw-rw- 1 ftp ftp               5 Nov 23  2025 hello.txt",
                    "drwxrwxrwx 1 ftp ftp               0 Nov 23  2025 upload",
                    "lrwxrwxrwx 1 ftp ftp               5 Nov 23  2025 link",
                ],
            ),
            "< MLST /link",
            r"> 250-Listing /link\r\n type=file;size=5;modify=20261123144036.617;perms=awrfd; /link\r\n250 End",
            "< SIZE /link\n> 213 5",
            &transfer("RETR /link", &["hel"]),
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["hello.txt", "upload", "link"]);
    let time = server.up(Ino::ROOT, "hello.txt").attr.modified;
    assert_eq!(time, time_val(b"20261123144036.617").unwrap().time);
    assert_eq!(server.read(Ino::ROOT, "link"), b"hel\r\n");
}

/// No `FEAT`, entries of two lines, versions, sizes in blocks: the size in bytes is asked for.
#[test]
fn vms_is_mounted() {
    let lines = &[
        "",
        "Directory DISK$USER:[SMITH]",
        "",
        "LOGIN.COM;3                 2/3         23-NOV-2026 14:40:36  [SMITH]     (RWED,RWED,RE,)",
        "MAIL.DIR;1                  1/3          3-JAN-2025 08:00:00  [SMITH]     (RWE,RWE,RE,E)",
        "A_VERY_LONG_NAME_THAT_LEAVES_NO_ROOM.TXT;1",
        "                           12/15        22-NOV-2026 09:00:00  [SMITH]     (RWED,RWED,,)",
        "",
        "Total of 3 files, 15/21 blocks.",
    ];
    let server = Mount::of(
        "/DISK$USER/SMITH",
        &[
            "= LOGIN",
            "< FEAT\n> 500 FEAT command unrecognized.",
            "< PWD\n> 257 \"DISK$USER:[SMITH]\" is current directory.",
            "< CWD /DISK$USER/SMITH\n> 250-CWD command successful.\\r\\n250 New default directory is DISK$USER:[SMITH]",
            "< CWD /DISK$USER/SMITH\n> 250 New default directory is DISK$USER:[SMITH]",
            &refused("LIST -a"),
            "> 550 File not found: -a",
            &transfer("LIST", lines),
            "< MDTM /DISK$USER/SMITH/LOGIN.COM;3\n> 213 20261123144036",
            "< MDTM /DISK$USER/SMITH/A_VERY_LONG_NAME_THAT_LEAVES_NO_ROOM.TXT;1\n> 213 20261122090000",
            // The listing tells blocks.
            "< SIZE /DISK$USER/SMITH/LOGIN.COM;3\n> 213 5",
            "< MDTM /DISK$USER/SMITH/LOGIN.COM;3\n> 213 20261123144036",
            "< STAT /DISK$USER/SMITH/LOGIN.COM;3\n> 502 STAT with a name is not offered.",
            "< CWD /DISK$USER/SMITH\n> 250 New default directory is DISK$USER:[SMITH]",
            &transfer("LIST", lines),
            &transfer("RETR /DISK$USER/SMITH/LOGIN.COM;3", &["$ X"]),
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["LOGIN.COM;3", "MAIL", "A_VERY_LONG_NAME_THAT_LEAVES_NO_ROOM.TXT;1"]);
    let file = server.up(Ino::ROOT, "LOGIN.COM;3").attr;
    assert_eq!((file.kind, file.size, file.mode), (Kind::File, 5, 0o750));
    assert_eq!(server.up(Ino::ROOT, "MAIL").attr.kind, Kind::Directory);
    assert_eq!(server.read(Ino::ROOT, "LOGIN.COM;3"), b"$ X\r\n");
}

/// Data sets, a library with members, and one without any.
#[test]
fn mvs_is_mounted() {
    let members = &[
        " Name     VV.MM   Created       Changed      Size  Init   Mod   Id",
        "HELLO     01.02 2026/11/01 2026/11/23 14:40    15    10     5 IBMUSER",
    ];
    let server = Mount::of(
        "/IBMUSER",
        &[
            "= LOGIN",
            "< FEAT",
            r"> 211- Extensions supported\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n SIZE\r\n MDTM\r\n EPSV\r\n UTF8\r\n211 End",
            "< CWD /IBMUSER\n> 250 \"IBMUSER.\" is the working directory name prefix.",
            "< CWD /IBMUSER\n> 250 \"IBMUSER.\" is the working directory name prefix.",
            &refused("LIST -a"),
            "> 501 A qualifier in \"-a\" contains an invalid character",
            &transfer(
                "LIST",
                &[
                    "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname",
                    "WRKVOL 3390   2026/11/23  1   15  FB      80 27920  PO  SOURCE.COBOL",
                    "WRKVOL 3390   2026/11/23  1   15  FB      80 27920  PO  EMPTY.LIB",
                    "WRKVOL 3390   2026/11/23  1    1  VB     255 27998  PS  LOG",
                ],
            ),
            "< CWD /IBMUSER/SOURCE.COBOL\n> 250 The working directory \"IBMUSER.SOURCE.COBOL\" is a partitioned data set",
            &transfer("LIST", members),
            "< MDTM /IBMUSER/SOURCE.COBOL/HELLO\n> 501 Not for this kind of file.",
            "< CWD /IBMUSER/EMPTY.LIB\n> 250 The working directory \"IBMUSER.EMPTY.LIB\" is a partitioned data set",
            &refused("LIST"),
            "> 550 No members found.",
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["SOURCE.COBOL", "EMPTY.LIB", "LOG"]);
    let library = server.up(Ino::ROOT, "SOURCE.COBOL");
    assert_eq!(library.attr.kind, Kind::Directory);
    assert_eq!(server.names(library.ino), ["HELLO"]);
    assert!(server.names(server.up(Ino::ROOT, "EMPTY.LIB").ino).is_empty());
}

/// What nothing can be made of is an error, with a sample in the log and a count in the summary: not an empty directory.
#[test]
fn a_listing_of_no_known_form_is_an_error_and_counted() {
    let unknown = &["<<hello>> five bytes", "<<world>> six bytes"];
    let server = Mount::of(
        "/",
        &[
            "= LOGIN",
            "< FEAT\n> 500 What?",
            "< CWD /\n> 250 Okay.",
            "< CWD /\n> 250 Okay.",
            &transfer("LIST -a", unknown),
            &transfer("LIST", unknown),
            "< STAT -a .\n> 500 What?",
            "< STAT .\n> 500 What?",
            &refused("NLST -a"),
            "> 500 What?",
            &refused("NLST"),
            "> 500 What?",
            BYE,
        ],
    );
    let error = server.vfs.opendir(Ino::ROOT, Instant::now(), WAIT).unwrap_err();
    assert_eq!(error.errno(), Errno::EIO);
    assert!(error.to_string().contains("<<hello>> five bytes"), "{error}");
    assert!(server.client.summary().contains("4 listing lines not understood"), "{}", server.client.summary());
}

/// The names alone are enough where the form of the listing is unknown.
#[test]
fn names_help_where_the_form_is_unknown() {
    let unknown = &["<<hello>> five bytes", "<<world>> is a directory"];
    let server = Mount::of(
        "/",
        &[
            "= LOGIN",
            "< FEAT\n> 500 What?",
            "< CWD /\n> 250 Okay.",
            "< CWD /\n> 250 Okay.",
            &transfer("LIST -a", unknown),
            &transfer("LIST", unknown),
            "< STAT -a .\n> 500 What?",
            "< STAT .\n> 500 What?",
            &transfer("NLST -a", &["hello", "world"]),
            "< SIZE /hello\n> 213 5\n< MDTM /hello\n> 213 20261123144036",
            "< SIZE /world\n> 550 Not a file.\n< MDTM /world\n> 550 Not a file.\n< CWD /world\n> 250 Okay.",
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["hello", "world"]);
    assert_eq!(server.up(Ino::ROOT, "hello").attr.size, 5);
    assert_eq!(server.time(Ino::ROOT, "hello"), "20261123144036");
    assert_eq!(server.up(Ino::ROOT, "world").attr.kind, Kind::Directory);
}

/// Windows finds `hello.txt` by `HELLO.TXT`: looked up, that would be a second file of the same content, and making it would
/// replace the first.
#[test]
fn another_spelling_is_not_there_and_replaces_nothing() {
    let lines = &[
        "11-23-26  02:40PM       <DIR>          upload",
        "11-22-26  08:10PM                    5 hello.txt",
        "02-29-24  09:15AM           5368709120 over 4g.bin",
    ];
    let list = ["< CWD /\n> 250 CWD command successful.", &transfer("LIST -a", lines)].join("\n");
    let server = Mount::of(
        "/",
        &[
            "= LOGIN",
            "< FEAT",
            r"> 211-Extended features supported:\r\n UTF8\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 END",
            "< CWD /\n> 250 CWD command successful.",
            &list,
            "< MDTM /hello.txt\n> 213 20261123041030",
            "< MDTM /over 4g.bin\n> 213 20240229171500",
            &list,
            "< SIZE /HELLO.TXT\n> 213 5",
            &list,
            "< SIZE /Upload\n> 550 Not a file.",
            "< CWD /Upload\n> 250 CWD command successful.",
            &list,
            "< SIZE /new\n> 550 No such file.",
            "< CWD /new\n> 550 No such directory.",
            "< MKD /new\n> 257 Created.",
            "< SIZE /HELLO.TXT\n> 213 5",
            &list,
            "< RNFR /hello.txt\n> 350 Go on.",
            "< RNTO /HELLO.TXT\n> 250 Renamed.",
            BYE,
        ],
    );
    assert_eq!(server.names(Ino::ROOT), ["upload", "hello.txt", "over 4g.bin"]);
    let looked = server.vfs.lookup(Ino::ROOT, b"HELLO.TXT", Instant::now(), WAIT).unwrap();
    assert!(matches!(looked, Looked::Absent(_)), "{looked:?}");
    let path = |name: &str| RemotePath::parse(name.as_bytes()).unwrap();
    let refused = |error: remote::Error| assert_eq!(error.kind, ErrorKind::InvalidName, "{error}");
    refused(server.client.write_to(&path("/HELLO.TXT"), Start::Beginning).unwrap_err());
    refused(server.client.create_directory(&path("/Upload")).unwrap_err());
    server.client.create_directory(&path("/new")).unwrap();
    server.client.rename(&path("/hello.txt"), &path("/HELLO.TXT")).unwrap();
}
