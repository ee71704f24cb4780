//! One control connection.

use super::data::Style;
use super::socket::{Socket, Wire};
use super::tree::{Content, CrowdLines};
use super::{Act, DashA, PASSWORD, Shared, Step, Store, TooMany, count, tls};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A line longer than this ends the connection.
const LINE_BYTES_MAX: usize = 64 * 1024;

pub struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) store: Arc<Store>,
    pub(super) listener: Option<TcpListener>,
    pub(super) is_private: bool,
    pub(super) restart: u64,
    socket: Socket,
    wire: Wire,
    read: Vec<u8>,
    number: usize,
    directory: Vec<u8>,
    is_logged_in: bool,
    /// How many others there were when it came.
    beside: usize,
    rename_from: Option<Vec<u8>>,
    /// How many bytes may still be said.
    cut: Option<usize>,
}

/// The session's end.
pub fn over() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl<'a> Session<'a> {
    pub fn new(shared: &'a Shared, socket: Socket, number: usize, beside: usize) -> Self {
        let store = Store::new(shared.behaviour.memory);
        if shared.resumes_no_more.load(SeqCst) {
            store.expire();
        }
        shared.stores.lock().unwrap().push(Arc::clone(&store));
        Self {
            shared,
            store,
            listener: None,
            is_private: false,
            restart: 0,
            wire: Wire::Clear(socket.clone()),
            socket,
            read: Vec::new(),
            number,
            directory: b"/".to_vec(),
            is_logged_in: false,
            beside,
            rename_from: None,
            cut: shared.cut.lock().unwrap().take(),
        }
    }

    pub fn is_logged_in(&self) -> bool {
        self.is_logged_in
    }

    pub fn serve(&mut self) -> io::Result<()> {
        if self.shared.behaviour.implicit {
            self.encrypt()?;
        }
        if self.is_too_many(TooMany::Silently) {
            return Err(over());
        }
        if self.is_too_many(TooMany::AtConnectRefused) {
            return self.say("530 Sorry, the maximum number of connections (2) for your host are already connected.");
        }
        if self.is_too_many(TooMany::AtConnect) {
            return self.say("421 There are too many connections from your internet address.");
        }
        match self.shared.faults.at(Step::Greeting) {
            Some(act) => self.act(act)?,
            None => self.say("220 Scripted server ready.")?,
        }
        loop {
            let line = self.line()?;
            if line.len() + 2 > self.shared.behaviour.line_bytes_max {
                self.say("500 Command too long.")?;
                continue;
            }
            let replaced = |byte: u8| if byte.is_ascii_control() { b'_' } else { byte };
            let line = if self.shared.behaviour.replaces { line.into_iter().map(replaced).collect() } else { line };
            let line = if self.shared.behaviour.telnet { without_telnet(&line) } else { line };
            let (verb, argument) = match line.iter().position(|&byte| byte == b' ') {
                Some(space) => (&line[..space], &line[space + 1..]),
                None => (&line[..], &b""[..]),
            };
            let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
            let text = String::from_utf8_lossy(&line).into_owned();
            if self.wire.is_clear() {
                self.shared.clear_lines.lock().unwrap().push(text.clone());
            }
            self.shared.lines.lock().unwrap().push((self.number, text));
            match self.shared.faults.at_command(&verb) {
                Some(act) => self.act(act)?,
                None => self.obey(&verb, argument)?,
            }
            if verb != "REST" {
                self.restart = 0;
            }
        }
    }

    fn obey(&mut self, verb: &str, argument: &[u8]) -> io::Result<()> {
        match verb {
            "AUTH" => self.auth(argument),
            "QUIT" => {
                self.say("221 Goodbye.")?;
                self.wire.close();
                Err(over())
            }
            "FEAT" => self.features(),
            "SYST" => self.say("215 UNIX Type: L8"),
            "NOOP" | "OPTS" | "CLNT" => self.say("200 Fine."),
            _ if self.wire.is_clear() => self.say("530 Please begin with AUTH TLS."),
            "PBSZ" => self.say("200 PBSZ=0"),
            "PROT" => {
                self.is_private = argument.eq_ignore_ascii_case(b"P");
                self.say(if self.is_private { "200 Private." } else { "534 Only P." })
            }
            "USER" => self.say("331 Password, please."),
            "PASS" => self.pass(argument),
            _ if !self.is_logged_in => self.say("530 Please log in."),
            "TYPE" | "MODE" | "STRU" | "ALLO" => self.say("200 Done."),
            "PWD" => self.pwd(),
            "CWD" => self.cwd(argument),
            "CDUP" => self.cwd(b".."),
            "EPSV" => self.passive(|_, port| format!("229 Entering Extended Passive Mode (|||{port}|)")),
            "PASV" => self.passive(|host, port| {
                let [a, b, c, d] = host.octets();
                format!("227 Entering Passive Mode ({a},{b},{c},{d},{},{}).", port >> 8, port & 255)
            }),
            "REST" => {
                self.restart = std::str::from_utf8(argument).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                self.say(&format!("350 Restart position accepted ({}).", self.restart))
            }
            "RETR" => self.retrieve(&self.absolute(argument)),
            "LIST" => self.list_as_ls(argument),
            "NLST" => self.list(&self.absolute(without_options(argument)), Style::Names),
            "STAT" if self.shared.behaviour.status => self.status(argument),
            "MLSD" if self.shared.behaviour.facts => self.list(&self.absolute(argument), Style::Facts),
            "MLST" if self.shared.behaviour.facts => self.mlst(argument),
            "SIZE" => self.about(argument, |node| format!("213 {}", node.size())),
            "MDTM" if argument.get(14) == Some(&b' ') => self.change("MFMT", argument),
            "MDTM" => {
                let ahead = if self.shared.behaviour.mdtm_is_local { self.shared.behaviour.ahead } else { 0 };
                self.about(argument, |node| format!("213 {}", node.shown(ahead)))
            }
            "STOR" => self.store_file(&self.absolute(argument), false),
            "APPE" => self.store_file(&self.absolute(argument), true),
            "DELE" | "MKD" | "RMD" | "RNFR" | "RNTO" | "MFMT" => self.change(verb, argument),
            _ => self.say("500 Unknown command."),
        }
    }

    fn list_as_ls(&mut self, argument: &[u8]) -> io::Result<()> {
        match (argument.starts_with(b"-a"), self.shared.behaviour.dash_a) {
            (false, _) => self.list(&self.absolute(argument), Style::Plain),
            (true, DashA::Option) => self.list(&self.absolute(without_options(argument)), Style::All),
            (true, DashA::MissingName) => self.say("550 No such file or directory"),
            (true, DashA::EmptyPattern) => self.download(&b""[..], 0),
        }
    }

    fn status(&mut self, argument: &[u8]) -> io::Result<()> {
        let style = if argument.starts_with(b"-a") { Style::All } else { Style::Plain };
        let path = self.absolute(without_options(argument));
        let tree = self.shared.tree.lock().unwrap();
        let lines = match tree.get(&path).filter(|node| !node.is_directory()) {
            Some(file) => {
                [&file.ls(path.rsplit(|&byte| byte == b'/').next().unwrap(), self.shared.behaviour.ahead)[..], b"\r\n"]
                    .concat()
            }
            None => match tree.get(&path).map(|node| &node.content) {
                Some(Content::Crowd(count)) => {
                    let mut lines = b"drwxr-xr-x 2 lab lab 4096 Feb 29  2024 .\r\n".to_vec();
                    CrowdLines::new(*count, false).read_to_end(&mut lines)?;
                    lines
                }
                _ => self.lines(&tree, &path, style),
            },
        };
        drop(tree);
        self.say_bytes(&[b"213-Status follows:\r\n", &lines[..], b"213 End of status\r\n"].concat())
    }

    fn auth(&mut self, argument: &[u8]) -> io::Result<()> {
        if !argument.eq_ignore_ascii_case(b"TLS") || !self.wire.is_clear() {
            return self.say("504 No.");
        }
        match self.shared.faults.at(Step::Handshake) {
            // In one write, so that the client reads both at once.
            Some(Act::Say(lines)) => self.say(&format!("234 Go on.\r\n{lines}"))?,
            Some(act) => {
                self.say("234 Go on.")?;
                self.act(act)?;
            }
            None => self.say("234 Go on.")?,
        }
        self.encrypt()
    }

    fn encrypt(&mut self) -> io::Result<()> {
        let tickets = self.shared.behaviour.tickets;
        // A handful of tickets of their own, which then come again and again.
        let count_made = if tickets.with_passive { 8 } else { tickets.control };
        let later = self.shared.shown_later.lock().unwrap().clone();
        let config = tls::with_store(later.as_ref().unwrap_or(&self.shared.base), &self.store, count_made);
        let (wire, kind) = Wire::encrypt(self.socket.clone(), config, tickets.with_passive)?;
        count(&self.shared.control, kind);
        self.wire = wire;
        // What came in clear before the handshake is not a command.
        self.read.clear();
        Ok(())
    }

    fn features(&mut self) -> io::Result<()> {
        let lines = &self.shared.behaviour.features;
        if lines.is_empty() {
            return self.say("500 Unknown command.");
        }
        self.say(&format!("211-Features:\r\n {}\r\n211 End", lines.join("\r\n ")))
    }

    fn pass(&mut self, argument: &[u8]) -> io::Result<()> {
        if argument != PASSWORD.as_bytes() {
            return self.say("530 Login incorrect.");
        }
        if self.is_too_many(TooMany::AfterPass) {
            return self.say("530 Sorry, the maximum number of clients from your host are already connected.");
        }
        if self.is_too_many(TooMany::AfterPassGoodbye) {
            return self.act(Act::SayAndHangUp("421 Too many active connections, try again later".to_owned()));
        }
        self.is_logged_in = true;
        self.shared.logged_in.fetch_add(1, SeqCst);
        self.say("230 Welcome.")
    }

    fn is_too_many(&self, when: TooMany) -> bool {
        let others = match when {
            TooMany::AtConnect | TooMany::AtConnectRefused | TooMany::Silently => self.beside,
            TooMany::AfterPass | TooMany::AfterPassGoodbye => self.shared.logged_in.load(SeqCst),
        };
        self.shared.behaviour.connections_max.is_some_and(|(max, how)| how == when && others >= max)
    }

    fn pwd(&mut self) -> io::Result<()> {
        let path = String::from_utf8_lossy(&self.directory).replace('"', "\"\"");
        self.say(&format!("257 \"{path}\" is the current directory"))
    }

    fn cwd(&mut self, argument: &[u8]) -> io::Result<()> {
        let path = self.absolute(argument);
        if !self.shared.tree.lock().unwrap().get(&path).is_some_and(|node| node.is_directory()) {
            return self.say("550 No such file or directory");
        }
        self.directory = path;
        self.say("250 Okay.")
    }

    fn passive(&mut self, reply: impl Fn(std::net::Ipv4Addr, u16) -> String) -> io::Result<()> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        self.listener = Some(listener);
        if let Wire::Records(records) = &mut self.wire {
            if self.shared.behaviour.odd_records {
                records.update_keys()?;
            }
            records.send_ticket(self.shared.behaviour.tickets.lifetime_hint, self.shared.behaviour.odd_records)?;
        }
        self.say(&reply(self.shared.behaviour.passive_host, port))
    }

    fn mlst(&mut self, argument: &[u8]) -> io::Result<()> {
        let path = self.absolute(argument);
        let Some(line) = self.shared.tree.lock().unwrap().get(&path).map(|node| node.facts(&path)) else {
            return self.say("550 No such file or directory");
        };
        self.say_bytes(&[b"250-Begin\r\n ", &line[..], b"\r\n250 End.\r\n"].concat())
    }

    /// SIZE and MDTM, which are for files.
    fn about(&mut self, argument: &[u8], tell: impl Fn(&super::tree::Node) -> String) -> io::Result<()> {
        let path = self.absolute(argument);
        let told = self.shared.tree.lock().unwrap().get(&path).filter(|node| !node.is_directory()).map(tell);
        match told {
            Some(line) => self.say(&line),
            None if self.shared.behaviour.telnet => {
                self.say_bytes(&[b"550 ", &path[..], b": No such file or directory\r\n"].concat())
            }
            None => self.say("550 No such file or directory"),
        }
    }

    fn change(&mut self, verb: &str, argument: &[u8]) -> io::Result<()> {
        let name = if verb == "MFMT" { argument.get(15..).unwrap_or_default() } else { argument };
        let path = self.absolute(name);
        let mut tree = self.shared.tree.lock().unwrap();
        let exists = tree.get(&path).is_some();
        let is_directory = tree.get(&path).is_some_and(|node| node.is_directory());
        let is_empty = tree.children(&path).next().is_none();
        let reply = match verb {
            "DELE" if exists && !is_directory && tree.remove(&path) => "250 Deleted.",
            "RMD" if is_directory && !is_empty => "550 Directory not empty",
            "RMD" if is_directory && tree.remove(&path) => "250 Removed.",
            "MKD" if exists => "550 File exists",
            "MKD" => {
                tree.insert_new(&path, Content::Directory);
                "257 Created."
            }
            "RNFR" if exists => {
                self.rename_from = Some(path);
                "350 Go on."
            }
            "RNTO" => match self.rename_from.take() {
                Some(old) => {
                    tree.rename(&old, &path);
                    "250 Renamed."
                }
                None => "503 RNFR first.",
            },
            "MFMT" if exists => {
                tree.get_mut(&path).unwrap().modified = String::from_utf8_lossy(&argument[..14]).into_owned();
                "213 Modified."
            }
            _ => "550 No such file or directory",
        };
        drop(tree);
        match self.shared.faults.at_reply(verb) {
            Some(act) => self.act(act),
            None => self.say(reply),
        }
    }

    /// Does what a fault asks of the control connection.
    pub(super) fn act(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Say(lines) => self.say(&lines),
            Act::SayLate(time, lines) => {
                std::thread::sleep(time);
                self.say(&lines)
            }
            Act::Silence => Ok(()),
            Act::Clear(text) => {
                self.socket.write_all(text.as_bytes())?;
                Err(over())
            }
            Act::EmptyRecords => {
                self.socket.write_empty_records(&self.shared.stopping);
                Err(over())
            }
            Act::SayAndHangUp(lines) => {
                self.say(&lines)?;
                self.wire.close();
                Err(over())
            }
            Act::Stall => {
                self.shared.stall();
                Err(over())
            }
            Act::Reset => {
                self.socket.reset();
                Err(over())
            }
            Act::HangUp => Err(over()),
            Act::PutAndHangUp(files) => {
                let mut tree = self.shared.tree.lock().unwrap();
                for (path, content) in files {
                    match path.strip_suffix('/') {
                        Some(path) => tree.insert_new(path, Content::Directory),
                        None => tree.insert_new(path, Content::Bytes(content.as_bytes().into())),
                    }
                }
                Err(over())
            }
            Act::End => {
                self.wire.close();
                Err(over())
            }
            Act::EndlessLines => {
                self.say("213-Status follows:")?;
                let mut lines = CrowdLines::new(u64::MAX >> 20, false);
                loop {
                    let mut chunk = vec![0; 64 * 1024];
                    let count = lines.read(&mut chunk)?;
                    self.say_bytes(&chunk[..count])?;
                }
            }
            Act::Endless => loop {
                self.say_bytes(&[b'x'; 8192])?;
            },
            Act::Drip(time) => {
                self.say_bytes(b"250-")?;
                loop {
                    std::thread::sleep(time);
                    self.say_bytes(b"x")?;
                }
            }
        }
    }

    pub(super) fn say(&mut self, lines: &str) -> io::Result<()> {
        self.say_bytes(format!("{lines}\r\n").as_bytes())
    }

    fn say_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let allowed = self.cut.unwrap_or(usize::MAX).min(bytes.len());
        self.wire.write_all(&bytes[..allowed])?;
        self.wire.flush()?;
        if let Some(left) = &mut self.cut {
            *left -= allowed;
            if *left == 0 {
                self.socket.shut();
                return Err(over());
            }
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=end).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(line);
            }
            let mut chunk = [0; 4096];
            let count = self.wire.read(&mut chunk)?;
            if count == 0 || self.read.len() > LINE_BYTES_MAX {
                return Err(over());
            }
            self.read.extend_from_slice(&chunk[..count]);
        }
    }

    /// The absolute path that `argument` means here.
    fn absolute(&self, argument: &[u8]) -> Vec<u8> {
        let start = if argument.first() == Some(&b'/') { &b""[..] } else { &self.directory };
        let mut names: Vec<&[u8]> = Vec::new();
        for name in start.split(|&byte| byte == b'/').chain(argument.split(|&byte| byte == b'/')) {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        [b"/", &names.join(&b'/')[..]].concat()
    }
}

/// As ProFTPD reads a line.
fn without_telnet(line: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.clone().next()) {
            (0xff, Some(0xff | 0xf2 | 0xf4)) => read.extend(bytes.next().filter(|next| *next == 0xff)),
            (0xff, Some(0xfb..=0xfe)) => drop((bytes.next(), bytes.next())),
            (byte, _) => read.push(byte),
        }
    }
    read
}

/// `LIST -a path` has an option first.
fn without_options(argument: &[u8]) -> &[u8] {
    match argument.strip_prefix(b"-") {
        Some(rest) => rest.iter().position(|&byte| byte == b' ').map_or(b"", |space| &rest[space + 1..]),
        None => argument,
    }
}
