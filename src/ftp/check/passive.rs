//! Whether data connections come through, by `EPSV` and by `PASV`.

use crate::ftp::check::data::Line;
use crate::ftp::check::facts::{Passive, Port};
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::passive;
use crate::ftp::reply::Reply;

/// Asks for a port in both ways and connects to it, to no other host than the control connection's.
pub(super) fn try_both(line: &mut Line<'_>) -> Result<Passive, Error> {
    let reply = line.control.exchange(&Command::Epsv)?;
    let epsv = knock(line, &reply, passive::extended(&reply).filter(|_| reply.code.number() == 229));
    let reply = line.control.exchange(&Command::Pasv)?;
    let told = passive::passive(&reply).filter(|_| reply.code.number() == 227);
    let pasv = knock(line, &reply, told.map(|(_, port)| port));
    let octets = told.map(|(octets, _)| octets).filter(|octets| line.control.peer_octets() != Some(*octets));
    Ok(Passive {
        epsv,
        pasv,
        other_address: octets.map(|octets| octets.map(|octet| octet.to_string()).join(".")),
        address: line.control.peer().to_string(),
    })
}

fn knock(line: &Line<'_>, reply: &Reply, port: Option<u16>) -> Port {
    let Some(port) = port else { return Port::Refused(reply.to_string()) };
    match line.control.connect_data(port) {
        Ok(_) => Port::Open(port),
        Err(Error::Io { source, .. }) => Port::Blocked(port, source.to_string()),
        Err(Error::Deadline { .. }) => Port::Blocked(port, "no answer".to_owned()),
        Err(error) => Port::Blocked(port, error.to_string()),
    }
}
