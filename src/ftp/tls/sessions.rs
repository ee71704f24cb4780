//! The TLS sessions of one control connection: kept for its data connections and nobody else's.
//!
//! Servers that demand session reuse compare the data connection's session with *its own* control connection's, so a
//! store never serves two control connections.

use parking_lot::Mutex;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// What a control connection and its data connections share.
#[derive(Default)]
pub struct Sessions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whom the control connection led to.
    server: Option<CertificateDer<'static>>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Single-use in rustls (and by RFC 8446 appendix C.4): the oldest is used first.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    /// Begins with the key exchange group that the server is known to want, so that no HelloRetryRequest costs a round
    /// trip.
    pub fn with_group(group: Option<NamedGroup>) -> Self {
        Self { state: Mutex::new(State { group, ..State::default() }) }
    }

    /// Keeps the certificate that the control connection was shown and believed.
    pub(super) fn set_server(&self, certificate: Option<&CertificateDer<'static>>) {
        self.state.lock().server = certificate.cloned();
    }

    /// Whether this is the certificate that the control connection was shown.
    pub(super) fn is_server(&self, certificate: Option<&CertificateDer<'static>>) -> bool {
        certificate.is_some() && self.state.lock().server.as_ref() == certificate
    }

    /// The same without any session to resume: a data connection with it shakes hands in full.
    pub fn emptied(&self) -> Arc<Self> {
        let state = self.state.lock();
        let kept = State { server: state.server.clone(), group: state.group, ..State::default() };
        Arc::new(Self { state: Mutex::new(kept) })
    }

    /// The key exchange group that the server chose.
    pub fn group(&self) -> Option<NamedGroup> {
        self.state.lock().group
    }

    /// How many TLS 1.3 tickets are left.
    pub fn tickets(&self) -> usize {
        self.state.lock().tls13.len()
    }

    /// Whether a session may be offered before it is known that the server wants the data connection: a command that is
    /// refused then costs a ticket of TLS 1.3 for nothing, so that another must be left.
    pub fn has_to_spare(&self) -> bool {
        let state = self.state.lock();
        state.tls12.is_some() || state.tls13.len() >= 2
    }

    /// Whether a data connection made now would offer a session.
    pub fn can_resume(&self) -> bool {
        let state = self.state.lock();
        state.tls12.is_some() || !state.tls13.is_empty()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Sessions")
            .field("group", &state.group)
            .field("tls12", &state.tls12.is_some())
            .field("tls13", &state.tls13.len())
            .finish()
    }
}

/// Which connection looks at the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes sessions, resumes none: a session of another control connection would be the wrong one for the server.
    Control,
    /// Resumes the control connection's sessions and adds the tickets that it gets.
    Data,
}

/// The sessions as rustls sees them on one connection. The server's name is not looked at: there is one server.
#[derive(Debug)]
pub(super) struct View {
    pub(super) sessions: Arc<Sessions>,
    pub(super) role: Role,
}

impl ClientSessionStore for View {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions.state.lock().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.group()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        // A data connection whose handshake was full has a session of its own, which the server would refuse.
        if self.role == Role::Control {
            self.sessions.state.lock().tls12 = Some(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        match self.role {
            Role::Control => None,
            Role::Data => self.sessions.state.lock().tls12.clone(),
        }
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        if self.role == Role::Control {
            self.sessions.state.lock().tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut state = self.sessions.state.lock();
        if state.tls13.len() == TICKETS_MAX {
            state.tls13.pop_front();
        }
        state.tls13.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        match self.role {
            Role::Control => None,
            Role::Data => self.sessions.state.lock().tls13.pop_front(),
        }
    }
}

/// A server may send tickets without end; more than these are never needed.
const TICKETS_MAX: usize = 32;
