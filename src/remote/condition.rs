//! How a [`Remote`](crate::remote::Remote) and its server do, in figures and words that a person asks for. Nothing is decided
//! by them.

use serde::{Deserialize, Serialize};

/// All of it. What an implementation does not know stays empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The account.
    pub user: String,
    /// `explicit` or `implicit`.
    pub tls_mode: String,
    /// What the last control connection agreed on.
    pub encryption: Option<Encryption>,
    /// The connections.
    pub connections: Connections,
    /// What happened since the mount.
    pub counts: Counts,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// As `TLS 1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
}

/// Control connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    /// Open and unused.
    pub idle: usize,
    /// Used by a request or a transfer, being opened, or made ready.
    pub lent: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// How many there may be now.
    pub limit: usize,
    /// How many there may be by the options.
    pub configured: usize,
    /// What the server said when it allowed no more, if it did of late.
    pub refusal: Option<String>,
}

/// Counts since the mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Control connections that were logged in.
    pub logins: u64,
    /// Control connections that broke, or were found dead or too old.
    pub replaced: u64,
    /// Requests tried again on another control connection.
    pub retried: u64,
    /// Commands sent.
    pub commands: u64,
    /// Data connections that resumed their control connection's TLS session.
    pub data_resumed: u64,
    /// Data connections with a full handshake, with a HelloRetryRequest or without.
    pub data_full: u64,
    /// Data connections that the server refused for their TLS session.
    pub reuse_refused: u64,
    /// Lines of listings that no parser knew.
    pub lines_not_understood: u64,
}
