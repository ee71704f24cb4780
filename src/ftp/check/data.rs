//! One data connection with a TLS session of one's choice.

use crate::ftp::check::facts::{End, Trial};
use crate::ftp::command::Command;
use crate::ftp::control::Control;
use crate::ftp::counters::Counters;
use crate::ftp::data::DataConnection;
use crate::ftp::error::{Error, Expect};
use crate::ftp::passive;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::session::refuses_session;
use crate::ftp::settings::Settings;
use crate::ftp::stream::{Tcp, remaining};
use crate::ftp::tls::{Received, Sessions, Tls};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which session a data connection offers.
#[derive(Debug, Clone)]
pub(super) enum Offer {
    /// Its own control connection's.
    Own,
    /// None.
    Nothing,
    /// Another control connection's.
    Others(Arc<Sessions>),
}

/// A control connection and what its data connections need.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) control: Control,
    pub(super) tls: &'a Tls,
    pub(super) settings: &'a Settings,
    pub(super) counters: Arc<Counters>,
}

/// An open data connection, or how far it came.
pub(super) enum Opened {
    Data(Box<DataConnection>),
    Ended(Trial),
}

impl<'a> Line<'a> {
    /// A control connection, logged in. A server that lets nobody else in may still count one that has just said goodbye.
    pub(super) fn open(settings: &'a Settings, tls: &'a Tls, counters: &Arc<Counters>) -> Result<Self, Error> {
        let connect = || Control::connect(settings, tls, counters);
        for pause in GOODBYES {
            match connect() {
                Err(Error::Busy { .. } | Error::Tls { .. }) => std::thread::sleep(pause),
                other => return Self::over(other?, tls, settings, counters),
            }
        }
        Self::over(connect()?, tls, settings, counters)
    }

    /// Over a control connection that is logged in: in image type, as sizes are another matter in ASCII.
    pub(super) fn over(
        mut control: Control,
        tls: &'a Tls,
        settings: &'a Settings,
        counters: &Arc<Counters>,
    ) -> Result<Self, Error> {
        control.exchange(&Command::TypeImage)?.completion("TYPE I")?;
        Ok(Self { control, tls, settings, counters: Arc::clone(counters) })
    }

    /// Lists the working directory by `LIST`, which every server has, and looks at no more than how it ends.
    ///
    /// # Errors
    ///
    /// The control connection's failures: it is of no more use.
    pub(super) fn list(&mut self, offer: &Offer) -> Result<Trial, Error> {
        let (offered, mut data) = match self.begin(&Command::List(b""), offer)? {
            (offered, Opened::Data(data)) => (offered, data),
            (_, Opened::Ended(trial)) => return Ok(trial),
        };
        let resumed = data.resumed();
        let (deadline, mut buffer, mut received) = (self.deadline(), vec![0; 64 * 1024], 0);
        let lost = loop {
            match data.read(&mut buffer) {
                Ok(Received::Bytes(count)) => received += count,
                Ok(Received::Closed | Received::Cut) => break None,
                Err(error) => break Some(error),
            }
            // The session was accepted: what else there is to read does not matter.
            if received > LISTING_BYTES_MAX || remaining(deadline).is_zero() {
                drop(data);
                let _ = self.control.reply_within("LIST", FINAL_REPLY);
                return Ok(Trial { offered, resumed: Some(resumed), end: End::Accepted });
            }
        };
        data.close();
        let reply = match self.control.reply("LIST") {
            Ok(reply) => reply,
            Err(error) => {
                let why = lost.map_or_else(|| error.to_string(), |lost| format!("{lost}; {error}"));
                return Ok(Trial { offered, resumed: Some(resumed), end: End::Failed(why) });
            }
        };
        Ok(Trial { offered, resumed: Some(resumed), end: end(&reply, resumed) })
    }

    /// Opens a data connection for `command`, and tells whether there was a session to offer.
    pub(super) fn begin(&mut self, command: &Command<'_>, offer: &Offer) -> Result<(bool, Opened), Error> {
        let port = self.port()?;
        // A ticket may have come with the port.
        let sessions = match offer {
            Offer::Own => {
                self.control.ready_to_resume();
                Arc::clone(self.control.sessions())
            }
            Offer::Nothing => self.control.sessions().emptied(),
            Offer::Others(sessions) => Arc::clone(sessions),
        };
        let offered = sessions.can_resume();
        let ended = |resumed, end| Ok((offered, Opened::Ended(Trial { offered, resumed, end })));
        let mut tcp = match self.control.connect_data(port) {
            Ok(tcp) => tcp,
            Err(error) => return ended(None, End::Failed(error.to_string())),
        };
        let reply = self.control.exchange(command)?;
        if reply.code.outcome() != Outcome::Preliminary {
            return ended(None, end(&reply, true));
        }
        let begun = self.tls.begin_data(&mut tcp, &sessions);
        match begun.and_then(|begun| self.tls.finish_data(begun, &mut tcp, self.deadline(), &self.counters)) {
            Ok(connected) => {
                tcp.set_limit(self.settings.timeout).map_err(|source| Error::io(command.verb(), source))?;
                Ok((offered, Opened::Data(Box::new(DataConnection::new(tcp, connected)))))
            }
            Err(error) => {
                drop::<Tcp>(tcp);
                match self.control.reply_within(command.verb(), FINAL_REPLY) {
                    Ok(reply) => ended(Some(false), end(&reply, false)),
                    Err(_) => ended(Some(false), End::Failed(error.to_string())),
                }
            }
        }
    }

    fn port(&mut self) -> Result<u16, Error> {
        let reply = self.control.exchange(&Command::Epsv)?;
        if let Some(port) = passive::extended(&reply).filter(|_| reply.code.number() == 229) {
            return Ok(port);
        }
        let reply = self.control.exchange(&Command::Pasv)?.completion("PASV")?;
        let (_, port) = passive::passive(&reply)
            .ok_or_else(|| Error::Misbehaved { step: "PASV".to_owned(), what: format!("it answered {reply}") })?;
        Ok(port)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }
}

fn end(reply: &Reply, resumed: bool) -> End {
    match reply.code.outcome() {
        Outcome::Completion => End::Accepted,
        _ if refuses_session(reply, resumed) => End::Refused(reply.to_string()),
        _ => End::Failed(reply.to_string()),
    }
}

/// No more of a listing is read.
const LISTING_BYTES_MAX: usize = 16 << 20;
/// How long to wait for a server's word on a data connection that is closed already.
pub(super) const FINAL_REPLY: Duration = Duration::from_secs(1);
/// How long a server may take to forget a connection (ProFTPD: 0.4 s).
const GOODBYES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500)];
