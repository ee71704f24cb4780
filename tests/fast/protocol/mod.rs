//! The client against a server that plays by a script.

#[path = "../../support/ftpd/mod.rs"]
pub mod ftpd;
#[path = "../../support/script.rs"]
pub mod script;
