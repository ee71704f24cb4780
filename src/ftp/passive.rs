//! Where the server waits for a data connection: the replies to `EPSV` and `PASV`.

#![deny(clippy::indexing_slicing)]

use crate::ftp::decimal::number;
use crate::ftp::reply::Reply;

/// The port in a `229` (RFC 2428 section 3): `(|||port|)` with any delimiter. The host is the control connection's.
pub fn extended(reply: &Reply) -> Option<u16> {
    reply.lines.iter().find_map(|line| extended_port(line))
}

/// The address (four octets) and the port in a `227` (RFC 959 section 4.1.2): `h1,h2,h3,h4,p1,p2`, in parentheses or
/// not (RFC 1123 section 4.1.2.6).
pub fn passive(reply: &Reply) -> Option<([u8; 4], u16)> {
    reply.lines.iter().find_map(|line| passive_address(line))
}

fn extended_port(line: &[u8]) -> Option<u16> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let (&delimiter, rest) = line.get(open + 1..)?.split_first()?;
    if !delimiter.is_ascii_graphic() || delimiter.is_ascii_digit() {
        return None;
    }
    // Protocol and address are empty in a 229; a server that fills them in means itself.
    let mut fields = rest.split(|&byte| byte == delimiter);
    let port = number(fields.nth(2)?)?;
    fields.next()?;
    unprivileged(port)
}

fn passive_address(line: &[u8]) -> Option<([u8; 4], u16)> {
    // Words before the address may hold digits: the address is the first six numbers in a row.
    line.split(|byte| !byte.is_ascii_digit() && *byte != b',').find_map(|word| {
        let mut numbers = word.split(|&byte| byte == b',').map(number::<u8>);
        let mut next = || numbers.next().flatten();
        let address = [next()?, next()?, next()?, next()?];
        let port = u16::from_be_bytes([next()?, next()?]);
        if numbers.next().is_some() { None } else { Some((address, unprivileged(port)?)) }
    })
}

/// A server takes its data ports from those that anybody may have; one below is another service, to which we are not to be
/// led (RFC 2577 section 3).
fn unprivileged(port: u16) -> Option<u16> {
    (port >= PORT_MIN).then_some(port)
}

/// Below it a port belongs to root (RFC 6335 section 6).
const PORT_MIN: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_229_is_read_with_any_delimiter() {
        for (line, port) in [
            ("Entering Extended Passive Mode (|||50001|)", Some(50001)),
            ("Entering Extended Passive Mode (|||50001|).", Some(50001)),
            ("ok (!!!1024!)", Some(1024)),
            ("ok (!!!1023!)", None),
            ("ok (|||22|)", None),
            ("ok (|1|127.0.0.1|2100|)", Some(2100)),
            ("ok (|||0|)", None),
            ("ok (|||65536|)", None),
            ("ok (|||+5000|)", None),
            ("ok (|||5000)", None),
            ("ok (||5000|)", None),
            ("ok (11150001)", None),
            ("ok (", None),
            ("|||5000|", None),
        ] {
            assert_eq!(extended_port(line.as_bytes()), port, "{line}");
        }
    }

    #[test]
    fn the_address_of_227_is_read_with_and_without_parentheses() {
        for (line, address) in [
            ("Entering Passive Mode (127,0,0,1,195,81).", Some(([127, 0, 0, 1], 50001))),
            ("Entering Passive Mode 127,0,0,1,4,0", Some(([127, 0, 0, 1], 1024))),
            ("=127,0,0,1,4,1", Some(([127, 0, 0, 1], 1025))),
            ("=127,0,0,1,0,21", None),
            ("Mode 2, ok, (127,0,0,1,8,1)", Some(([127, 0, 0, 1], 2049))),
            ("(127,0,0,1,0,0)", None),
            ("(127,0,0,256,8,21)", None),
            ("(127,0,0,1,21)", None),
            ("(127,0,0,1,8,21,5)", None),
            ("(127,,0,1,8,21)", None),
            ("", None),
        ] {
            assert_eq!(passive_address(line.as_bytes()), address, "{line}");
        }
    }
}
