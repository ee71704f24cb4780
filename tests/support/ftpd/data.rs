//! Data connections: accepted, encrypted, checked for session reuse, and ended well or badly.

use super::session::{Session, over};
use super::socket::{Socket, handshake};
use super::tree::{Content, CrowdLines, Tree};
use super::{Act, Dialect, Step, count, tls};
use rustls::{HandshakeKind, ServerConnection, StreamOwned};
use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long a client may take to open its data connection, or to close it.
const CLIENT_LIMIT: Duration = Duration::from_secs(20);

/// An encrypted data connection.
struct Data {
    stream: StreamOwned<ServerConnection, Socket>,
    socket: Socket,
}

/// How a directory is listed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Style {
    /// `MLSD`.
    Facts,
    /// `NLST`.
    Names,
    /// `LIST`.
    Plain,
    /// `LIST -a`, with `.` and `..`.
    All,
}

/// How the bytes went.
#[derive(PartialEq)]
enum Sent {
    Whole,
    Broken,
}

impl Session<'_> {
    pub(super) fn retrieve(&mut self, path: &[u8]) -> io::Result<()> {
        let opened = self.shared.tree.lock().unwrap().get(path).map(|node| (node.open(self.restart), node.size()));
        match opened {
            None => self.refuse("550 No such file or directory"),
            Some((None, _)) => self.refuse("550 Is a directory"),
            Some((_, size)) if self.restart > size => self.refuse("554 Restart beyond the end."),
            Some((Some((source, length)), _)) => self.download(source, length),
        }
    }

    pub(super) fn list(&mut self, path: &[u8], style: Style) -> io::Result<()> {
        let facts = style == Style::Facts;
        let tree = self.shared.tree.lock().unwrap();
        let Some(node) = tree.get(path) else {
            drop(tree);
            return self.refuse("550 No such file or directory");
        };
        let (source, length): (Box<dyn Read>, u64) = match node.content {
            Content::Crowd(count) => (Box::new(CrowdLines::new(count, facts)), u64::MAX),
            _ => {
                let lines = self.lines(&tree, path, style);
                let length = lines.len() as u64;
                (Box::new(Cursor::new(lines)), length)
            }
        };
        drop(tree);
        self.download(source, length)
    }

    /// The lines of a listing, as far as `style` shows them.
    pub(super) fn lines(&self, tree: &Tree, path: &[u8], style: Style) -> Vec<u8> {
        let mut lines = Vec::new();
        let dots = tree.get(path).into_iter().flat_map(|node| [(&b"."[..], node), (b"..", node)]);
        let dots = dots.filter(|_| style == Style::All);
        let hides = self.shared.behaviour.hiding.contains(&style);
        for (name, child) in dots.chain(tree.children(path).filter(|(name, _)| !hides || !name.starts_with(b"."))) {
            lines.extend(match style {
                Style::Facts => child.facts(name),
                Style::Names => name.to_vec(),
                Style::Plain | Style::All => child.ls(name, self.shared.behaviour.ahead),
            });
            lines.extend(b"\r\n");
        }
        lines
    }

    pub(super) fn store_file(&mut self, path: &[u8], append: bool) -> io::Result<()> {
        let before = match self.shared.tree.lock().unwrap().get(path).map(|node| node.content.clone()) {
            Some(Content::Directory | Content::Crowd(_)) => return self.refuse("553 Is a directory"),
            Some(Content::Bytes(bytes)) if append => bytes.to_vec(),
            Some(Content::Bytes(bytes)) => bytes[..bytes.len().min(self.restart as usize)].to_vec(),
            _ => Vec::new(),
        };
        let Some(mut data) = self.open(self.shared.behaviour.tickets.upload)? else { return Ok(()) };
        let mut bytes = before;
        let fault = self.shared.faults.while_storing();
        let wanted = fault.as_ref().map_or(u64::MAX, |(position, _)| *position);
        let ended = (&mut data.stream).take(wanted).read_to_end(&mut bytes);
        self.shared.tree.lock().unwrap().insert(path, Content::Bytes(bytes.into()));
        if let Some((_, act)) = fault {
            self.act_on_data(&mut data, act)?;
            return self.finish("426 Failure reading network stream.");
        }
        data.close();
        drop(data);
        self.finish(if ended.is_ok() { "226 Transfer complete." } else { "426 Failure reading network stream." })
    }

    fn refuse(&mut self, reply: &str) -> io::Result<()> {
        self.listener = None;
        self.say(reply)
    }

    pub(super) fn download(&mut self, mut source: impl Read, length: u64) -> io::Result<()> {
        let Some(mut data) = self.open(self.shared.behaviour.tickets.download)? else { return Ok(()) };
        if self.shared.behaviour.hears_end_first {
            data.stream.read_to_end(&mut Vec::new())?;
        }
        let sent = self.send(&mut data, &mut source, length)?;
        if sent == Sent::Whole {
            match self.shared.faults.at(Step::CloseNotify) {
                Some(act) => self.act_on_data(&mut data, act)?,
                None => {
                    data.close();
                    if self.shared.behaviour.waits_for_close {
                        data.socket.drain(CLIENT_LIMIT);
                    }
                }
            }
        }
        drop(data);
        self.finish(match sent {
            Sent::Whole => "226 Transfer complete.",
            Sent::Broken => "426 Failure writing network stream.",
        })
    }

    fn finish(&mut self, reply: &str) -> io::Result<()> {
        match self.shared.faults.at(Step::FinalReply) {
            Some(act) => self.act(act),
            None => self.say(reply),
        }
    }

    fn send(&mut self, data: &mut Data, source: &mut dyn Read, length: u64) -> io::Result<Sent> {
        let fault = self.shared.faults.during(length);
        let (mut buffer, mut sent) = (vec![0; 64 * 1024], 0);
        loop {
            let room = match fault {
                Some((position, _)) => (buffer.len() as u64).min(position - sent) as usize,
                None => buffer.len(),
            };
            let count = source.read(&mut buffer[..room])?;
            if data.stream.write_all(&buffer[..count]).and_then(|()| data.stream.flush()).is_err() {
                return Ok(Sent::Broken);
            }
            sent += count as u64;
            if let Some((_, act)) = fault.as_ref().filter(|(position, _)| *position == sent) {
                self.act_on_data(data, act.clone())?;
                return Ok(Sent::Broken);
            }
            if count == 0 {
                return Ok(Sent::Whole);
            }
        }
    }

    fn act_on_data(&mut self, data: &mut Data, act: Act) -> io::Result<()> {
        match act {
            Act::HangUp => data.socket.shut(),
            Act::Reset => data.socket.reset(),
            Act::End => data.close(),
            Act::Drip(time) => {
                while data.stream.write_all(b"x").and_then(|()| data.stream.flush()).is_ok() {
                    std::thread::sleep(time);
                }
            }
            Act::Clear(text) => {
                let _ = data.socket.write_all(text.as_bytes());
                data.socket.shut();
            }
            Act::EmptyRecords => {
                data.socket.write_empty_records(&self.shared.stopping);
                data.socket.shut();
            }
            // With the data connection open: it ends with this session.
            other => return self.act(other).inspect_err(|_| data.socket.shut()),
        }
        Ok(())
    }

    /// Accepts the data connection, says 150, shakes hands; `None` where the client has heard a refusal.
    fn open(&mut self, tickets: usize) -> io::Result<Option<Data>> {
        let Some(listener) = self.listener.take() else {
            self.say("425 Use EPSV or PASV first.")?;
            return Ok(None);
        };
        if !self.is_private {
            self.say("522 PROT P required.")?;
            return Ok(None);
        }
        if let Some(act) = self.shared.faults.at(Step::DataAccept) {
            self.act(act)?;
            return Ok(None);
        }
        let Some(socket) = self.accept(&listener)? else {
            self.say("425 Failed to establish connection.")?;
            return Ok(None);
        };
        drop(listener);
        match self.shared.faults.at(Step::Preliminary) {
            Some(act) => self.act(act)?,
            None => self.say("150 Here it comes.")?,
        }
        match self.shared.faults.at(Step::DataHandshake) {
            Some(Act::HangUp) => socket.shut(),
            Some(Act::Reset) => socket.reset(),
            Some(act) => self.act(act)?,
            None => {}
        }
        let config = tls::with_store(&self.shared.data_base, &self.store, tickets);
        let Ok(stream) = handshake(socket.clone(), config) else {
            drop(socket);
            self.say("426 Handshake failed.")?;
            return Ok(None);
        };
        let kind = stream.conn.handshake_kind().unwrap_or(HandshakeKind::Full);
        count(&self.shared.data, kind);
        let data = Data { stream, socket };
        match self.shared.behaviour.reuse {
            Some(dialect) if kind != HandshakeKind::Resumed => {
                self.refuse_session(data, dialect)?;
                Ok(None)
            }
            _ => Ok(Some(data)),
        }
    }

    fn accept(&self, listener: &std::net::TcpListener) -> io::Result<Option<Socket>> {
        let limit = Instant::now() + CLIENT_LIMIT;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return self.shared.take(stream).map(Some),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.shared.is_stopping() => return Err(over()),
                Err(_) if Instant::now() > limit => return Ok(None),
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    fn refuse_session(&mut self, mut data: Data, dialect: Dialect) -> io::Result<()> {
        self.shared.refused.fetch_add(1, SeqCst);
        match dialect {
            Dialect::FileZilla => data.socket.shut(),
            Dialect::Vsftpd | Dialect::ProFtpd | Dialect::FileZilla09 => data.close(),
        }
        drop(data);
        match dialect {
            Dialect::Vsftpd => {
                self.say("522 SSL connection failed: session reuse required")?;
                Err(over())
            }
            Dialect::ProFtpd => self.say("425 Unable to build data connection: Operation not permitted"),
            Dialect::FileZilla => {
                self.say("425 Unable to build data connection: TLS session of data connection not resumed.")
            }
            Dialect::FileZilla09 => self.say(
                "450 TLS session of data connection has not resumed or the session does not match the control connection",
            ),
        }
    }
}

impl Data {
    /// Ends the connection as TLS wants it.
    fn close(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        self.socket.shut_write();
    }
}
