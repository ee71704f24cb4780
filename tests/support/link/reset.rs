//! What a machine in the middle does that has lost its table of connections: to whatever belongs to one that it does not
//! know it answers RST, both ways (RFC 9293 section 3.5.2), as routers with address translation do after a restart.

use std::collections::HashSet;
use std::net::Ipv4Addr;

/// The connections that are known, by their two ports; there are only two hosts.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<(u16, u16)>);

impl Known {
    /// Learns a connection when it begins. Whether `segment` may pass.
    pub(super) fn lets_pass(&mut self, segment: &Segment) -> bool {
        let ports = (segment.ports.0.min(segment.ports.1), segment.ports.0.max(segment.ports.1));
        if segment.flags & SYN != 0 {
            self.0.insert(ports);
        }
        segment.flags & RST != 0 || self.0.contains(&ports)
    }
}

/// The header of a TCP segment over IPv4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    hosts: (Ipv4Addr, Ipv4Addr),
    ports: (u16, u16),
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    /// How far the sequence goes on behind it.
    length: u32,
}

impl Segment {
    /// Reads an IP packet; `None` where it is something else.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let start = usize::from(packet.first()? & 15) * 4;
        if packet[0] >> 4 != 4 || *packet.get(9)? != TCP {
            return None;
        }
        let header = packet.get(start..start + 20)?;
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let host = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let bytes = packet.len() - start - usize::from(header[12] >> 4) * 4;
        let flags = header[13];
        Some(Self {
            hosts: (host(12), host(16)),
            ports: (short(0), short(2)),
            sequence: long(4),
            acknowledged: long(8),
            flags,
            length: u32::try_from(bytes).ok()? + u32::from(flags & (SYN | FIN) != 0),
        })
    }

    /// A RST that whom this was for takes for the sender's.
    pub(super) fn reset_receiver(&self) -> Vec<u8> {
        Self { flags: RST | ACK, ..*self }.packet()
    }

    /// A RST that the sender takes for the other's.
    pub(super) fn reset_sender(&self) -> Vec<u8> {
        Self {
            hosts: (self.hosts.1, self.hosts.0),
            ports: (self.ports.1, self.ports.0),
            sequence: self.acknowledged,
            acknowledged: self.sequence.wrapping_add(self.length),
            flags: RST | ACK,
            length: 0,
        }
        .packet()
    }

    /// The header alone, as an IP packet.
    fn packet(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(20);
        tcp.extend(self.ports.0.to_be_bytes());
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledged.to_be_bytes());
        tcp.extend([5 << 4, self.flags, 0, 0, 0, 0, 0, 0]);
        let hosts = [self.hosts.0.octets(), self.hosts.1.octets()].concat();
        let sum = checksum(&[&hosts[..], &[0, TCP, 0, 20], &tcp].concat());
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
        ip.extend(hosts);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(tcp);
        ip
    }
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice it fits")
}

/// The protocol's number in IP.
const TCP: u8 = 6;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
