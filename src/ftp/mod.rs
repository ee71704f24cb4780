//! FTP over TLS: one wing of the house.
//!
//! The groups below are its layers, lowest first; see the crate's own page for the rule. A download: `client` takes a
//! session from `pool`; `session` sends `EPSV`, `REST` and `RETR` over `control` and opens the data connection (`data`)
//! with a TLS session that `tls` kept for exactly this control connection.
//!
//! | RFC | where |
//! |---|---|
//! | 959 FTP | `command`, `reply`, `passive`, `control`, `session` |
//! | 2389 `FEAT` | `features` |
//! | 2428 `EPSV` | `passive` |
//! | 3659 `MLSD`, `MDTM`, `SIZE`, `REST` | `listing`, `time`, `session` |
//! | 4217 FTP over TLS | `control`, `tls`, `data` |
//! | 5246 and 8446 TLS | `tls` (the record layer; the rest is rustls) |

pub mod certificate;
pub mod charset;
mod decimal;

pub mod time;

pub mod command;
pub mod counters;
pub mod reply;
pub mod settings;

pub mod error;
pub mod features;
pub mod listing;
pub mod passive;

pub mod breaker;
pub mod clock;
pub mod door;
pub mod order;
pub mod rungs;
pub mod status;

pub mod stream;

pub mod tls;

pub mod control;
pub mod data;

pub mod server;

pub mod session;

pub mod digest;
pub mod pool;

pub mod transfer;
pub mod upload;

pub mod client;

pub mod check;
