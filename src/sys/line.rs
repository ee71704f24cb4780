//! A line between two processes, over which open descriptors go as well (unix(7), `SCM_RIGHTS`).

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg,
    setsockopt, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest message (bytes).
const MESSAGE_BYTES_MAX: usize = 8192;

/// One end.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// Both ends. Programs that we start inherit neither.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// As libfuse talks to fusermount3: what comes is a stream, whose pieces are no messages.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn stream_pair() -> io::Result<(Self, OwnedFd)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self(one.into()), other.into()))
    }

    /// How long [`Self::receive`] waits at most.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let seconds = TimeVal::seconds(i64::try_from(patience.as_secs()).unwrap_or(i64::MAX));
        Ok(setsockopt(&self.0, sockopt::ReceiveTimeout, &seconds)?)
    }

    /// Sends `message`, which is cut off after 8 KiB, and with it a copy of `descriptor`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let message = &message[..message.len().min(MESSAGE_BYTES_MAX)];
        let passed: Vec<RawFd> = descriptor.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        let rights = ControlMessage::ScmRights(&passed);
        let rights = if passed.is_empty() { &[][..] } else { std::slice::from_ref(&rights) };
        let message = [IoSlice::new(message)];
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &message, rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The next message, and the descriptor that came with it. An empty message is the end: nobody is there any more.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::WouldBlock`] when the patience is over.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let mut room = nix::cmsg_space!(RawFd);
        let (length, descriptors) = loop {
            let mut parts = [IoSliceMut::new(&mut message)];
            match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC) {
                Ok(received) => break (received.bytes, descriptors(received.cmsgs()?)),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        message.truncate(length);
        Ok((message, descriptors.into_iter().next()))
    }
}

fn descriptors(messages: impl Iterator<Item = ControlMessageOwned>) -> Vec<OwnedFd> {
    let passed = messages.flat_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors,
        _ => Vec::new(),
    });
    // SAFETY: the kernel has just made them for us, and nobody else knows them.
    passed.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_descriptor_goes_with_its_message_and_the_end_is_empty() {
        let (ours, theirs) = Line::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        ours.send(b"one", Some(writer.as_fd())).unwrap();
        ours.send(b"two", None).unwrap();
        drop(writer);
        let (message, descriptor) = theirs.receive().unwrap();
        assert_eq!(message, b"one");
        File::from(descriptor.unwrap()).write_all(b"through").unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "through");
        let (message, descriptor) = theirs.receive().unwrap();
        assert_eq!((&message[..], descriptor.is_none()), (&b"two"[..], true));
        drop(ours);
        assert_eq!(theirs.receive().unwrap().0, b"");
    }

    #[test]
    fn patience_ends() {
        let (ours, _theirs) = Line::pair().unwrap();
        ours.set_patience(Duration::from_secs(1)).unwrap();
        assert_eq!(ours.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
