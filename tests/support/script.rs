//! A server that plays one transcript, for tests about single lines.
//!
//! ```text
//! = LOGIN          accepts a connection, shakes hands and answers whatever a login asks
//! < RETR /a        expects this line from the client
//! > 550 No         sends this line; $PORT, $P1 and $P2 tell of a fresh data port
//! = DATA text      accepts the data connection, sends the text (\r\n as written) and closes it
//! = CLOSED         waits until the client has closed
//! = HANGUP         closes without a word
//! = CONNECT, = TLS the beginning of a connection without a login
//! ```
//!
//! Between `= LOGIN` and the next `=`, a line of a login that is not expected (FEAT, TYPE I, …) is answered as well: when a
//! client asks them is not what such a test is about.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "test code of a private module")]

use super::ftpd::socket::{Registry, Socket, Wire, handshake};
use super::ftpd::{Behaviour, Memory, Store, tls};
use rustls::ServerConfig;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the client may take for a line.
const LIMIT: Duration = Duration::from_secs(5);

/// A running transcript; dropping it fails the test if it was not played to its end.
pub struct Script {
    port: u16,
    player: Option<JoinHandle<Result<(), String>>>,
    dialogue: Arc<Mutex<String>>,
}

impl Script {
    /// Plays `transcript` on a port of loopback.
    pub fn play(transcript: &str) -> Self {
        let steps: Vec<String> =
            transcript.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialogue = Arc::<Mutex<String>>::default();
        let mut player = Player {
            base: tls::base(&Behaviour::default(), tls::identity()),
            registry: Registry::default(),
            store: Store::new(Memory::default()),
            listener,
            data: None,
            control: None,
            read: Vec::new(),
            forgives: false,
            dialogue: Arc::clone(&dialogue),
        };
        let player = std::thread::spawn(move || {
            steps.iter().try_for_each(|step| player.step(step).map_err(|error| format!("at `{step}`: {error}")))
        });
        Self { port, player: Some(player), dialogue }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let played = self.player.take().map(JoinHandle::join);
        if let Some(Ok(Err(failure))) = played {
            let report = format!("{failure}\nthe dialogue so far:\n{}", self.dialogue.lock().unwrap());
            if std::thread::panicking() {
                eprintln!("{report}");
            } else {
                panic!("{report}");
            }
        }
    }
}

struct Player {
    base: ServerConfig,
    registry: Registry,
    store: Arc<Store>,
    listener: TcpListener,
    data: Option<TcpListener>,
    control: Option<(Wire, Socket)>,
    read: Vec<u8>,
    forgives: bool,
    dialogue: Arc<Mutex<String>>,
}

impl Player {
    fn step(&mut self, step: &str) -> io::Result<()> {
        let (sign, text) = step.split_once(' ').unwrap_or((step, ""));
        self.forgives &= sign != "=";
        match (sign, text) {
            ("<", expected) => self.expect(expected),
            (">", line) => self.say(line),
            ("=", "CONNECT") => self.connect(),
            ("=", "TLS") => self.encrypt(),
            ("=", "LOGIN") => {
                self.connect()?;
                self.say("220 Scripted.")?;
                self.expect("AUTH TLS")?;
                self.say("234 Go on.")?;
                self.encrypt()?;
                self.forgives = true;
                Ok(())
            }
            ("=", "CLOSED") => self.closed(),
            ("=", "HANGUP") => {
                self.control = None;
                Ok(())
            }
            ("=", data) => match data.strip_prefix("DATA") {
                Some(text) => self.send(text.trim_start()),
                None => Err(io::Error::other("no such step")),
            },
            _ => Err(io::Error::other("a step begins with <, > or =")),
        }
    }

    fn note(&self, text: impl AsRef<str>) {
        let mut dialogue = self.dialogue.lock().unwrap();
        dialogue.push_str("    ");
        dialogue.push_str(text.as_ref());
        dialogue.push('\n');
    }

    fn connect(&mut self) -> io::Result<()> {
        let socket = self.accept(&self.listener)?;
        self.note("= CONNECT");
        self.read.clear();
        self.store = Store::new(Memory::default());
        self.control = Some((Wire::Clear(socket.clone()), socket));
        Ok(())
    }

    fn accept(&self, listener: &TcpListener) -> io::Result<Socket> {
        let limit = Instant::now() + LIMIT;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_read_timeout(Some(LIMIT))?;
                    return self.registry.take(stream);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if Instant::now() > limit => return Err(io::Error::other("the client did not connect")),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn encrypt(&mut self) -> io::Result<()> {
        let (_, socket) = self.control.take().ok_or(io::ErrorKind::NotConnected)?;
        let config = tls::with_store(&self.base, &self.store, 2);
        let (wire, kind) = Wire::encrypt(socket.clone(), config, false)?;
        self.note(format!("= TLS ({kind:?})"));
        self.control = Some((wire, socket));
        Ok(())
    }

    fn expect(&mut self, expected: &str) -> io::Result<()> {
        loop {
            let line = self.line()?.ok_or_else(|| io::Error::other("the client closed the connection"))?;
            if line == expected {
                return Ok(());
            }
            let answer = self.forgives.then(|| of_a_login(&line)).flatten();
            self.say(answer.ok_or_else(|| io::Error::other(format!("the client sent `{line}`")))?)?;
        }
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                self.note(format!("< {line}"));
                return Ok(Some(line));
            }
            let (wire, _) = self.control.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let mut chunk = [0; 4096];
            match wire.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.read.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::other("the client sent nothing"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        let mut line = line.replace("\\r\\n", "\r\n");
        if line.contains("$P") {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            self.data = Some(listener);
            line = line.replace("$PORT", &port.to_string());
            line = line.replace("$P1", &(port >> 8).to_string()).replace("$P2", &(port & 255).to_string());
        }
        self.note(format!("> {line}"));
        let (wire, _) = self.control.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        wire.write_all(format!("{line}\r\n").as_bytes())?;
        wire.flush()
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        let listener = self.data.take().ok_or_else(|| io::Error::other("no data port was told"))?;
        let socket = self.accept(&listener)?;
        let mut stream = handshake(socket.clone(), tls::with_store(&self.base, &self.store, 1))?;
        stream.write_all(text.replace("\\r\\n", "\r\n").as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()?;
        socket.shut_write();
        socket.drain(LIMIT);
        self.note(format!("= DATA {text}"));
        Ok(())
    }

    /// A client that goes may say QUIT.
    fn closed(&mut self) -> io::Result<()> {
        let line = match self.line() {
            // It went without TLS's goodbye, or with a RST.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => None,
            other => other?,
        };
        match line {
            Some(line) if line != "QUIT" => Err(io::Error::other(format!("the client sent `{line}`"))),
            _ => {
                self.control = None;
                self.note("= CLOSED");
                Ok(())
            }
        }
    }
}

/// The answer to a line of a login; `None` where it is none.
fn of_a_login(line: &str) -> Option<&'static str> {
    Some(match line.split(' ').next()? {
        "USER" => "331 Password, please.",
        "PASS" => "230 Welcome.",
        "PBSZ" | "PROT" | "OPTS" | "CLNT" => "200 Fine.",
        "FEAT" => {
            "211-Features:\r\n EPSV\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n211 End"
        }
        "SYST" => "215 UNIX Type: L8",
        "TYPE" => "200 Image.",
        "PWD" => "257 \"/\" is the current directory",
        _ => return None,
    })
}
