//! Replies of the server (RFC 959 section 4.2): an incremental reader with bounds.

#![deny(clippy::indexing_slicing)]

use crate::path;
use std::fmt;

/// A reply: its code and its text. `Debug` shows it as `Display` does: readable, and escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// What the server decided.
    pub code: Code,
    /// At least one line, without line ends: the first and the last without the code, those between as they came.
    pub lines: Vec<Vec<u8>>,
}

/// A reply code: `100..=599`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// The meaning of a code's first digit (RFC 959 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `1yz`: begun; another reply follows.
    Preliminary,
    /// `2yz`: done.
    Completion,
    /// `3yz`: the server waits for the next command of a sequence.
    Intermediate,
    /// `4yz`: not done; asking again may help.
    TransientNegative,
    /// `5yz`: not done, and asking again will not help.
    PermanentNegative,
}

/// Turns the bytes of a control connection into replies. How the bytes were cut into pieces makes no difference.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// So many bytes of `buffer` have been read.
    consumed: usize,
    /// A multi-line reply whose end has not come.
    unfinished: Option<Unfinished>,
    /// What came cannot be read on from: there is no telling where the next reply begins.
    malformed: Option<Malformed>,
}

/// What the server sent is not a reply. The control connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// A line that does not begin with a code. Holds the line's beginning, escaped.
    NotAReply(String),
    /// A line longer than [`LINE_BYTES_MAX`]. Holds its beginning, escaped.
    LineTooLong(String),
    /// A reply longer than [`REPLY_BYTES_MAX`].
    ReplyTooLong,
}

/// Where lines go that are not kept.
type Sink<'a> = &'a mut dyn FnMut(&[u8]);

#[derive(Debug)]
struct Unfinished {
    reply: Reply,
    /// Of all its lines, line ends included.
    bytes: usize,
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes of the connection. Memory is bounded if [`Reader::next`] is called until `None` between calls.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole reply; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`Malformed`], and again the same on every later call.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None means that more bytes are needed")]
    pub fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        self.take(None)
    }

    /// As [`Reader::next`] for a reply of any length: the lines between its first and its last go to `inner` as they come,
    /// and are not kept.
    ///
    /// # Errors
    ///
    /// As [`Reader::next`].
    pub fn next_into(&mut self, inner: &mut dyn FnMut(&[u8])) -> Result<Option<Reply>, Malformed> {
        self.take(Some(inner))
    }

    fn take(&mut self, inner: Option<Sink<'_>>) -> Result<Option<Reply>, Malformed> {
        if let Some(malformed) = &self.malformed {
            return Err(malformed.clone());
        }
        self.read_lines(inner).inspect_err(|malformed| self.malformed = Some(malformed.clone()))
    }

    /// How many bytes have come that no reply accounts for. Not zero after the `234` of `AUTH TLS`: somebody put bytes
    /// in clear before the handshake.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.consumed + self.unfinished.as_ref().map_or(0, |unfinished| unfinished.bytes)
    }

    fn read_lines(&mut self, mut inner: Option<Sink<'_>>) -> Result<Option<Reply>, Malformed> {
        loop {
            let unread = self.buffer.get(self.consumed..).unwrap_or_default();
            let end = unread.iter().position(|&byte| byte == b'\n');
            let line = end.and_then(|end| unread.get(..end)).unwrap_or(unread);
            check(line, self.unfinished.is_some())?;
            let Some(length) = end else { return Ok(None) };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let inner: Option<Sink<'_>> = match &mut inner {
                Some(inner) => Some(&mut **inner),
                None => None,
            };
            let reply = take_line(&mut self.unfinished, line, length + 1, inner)?;
            self.consumed += length + 1;
            if reply.is_some() {
                return Ok(reply);
            }
        }
    }
}

/// Adds `line` to the reply that is being read, or begins one; the reply if this was its end.
fn take_line(
    unfinished: &mut Option<Unfinished>,
    line: &[u8],
    bytes: usize,
    inner: Option<Sink<'_>>,
) -> Result<Option<Reply>, Malformed> {
    let Some(mut current) = unfinished.take() else {
        let (code, rest) = Code::split(line).ok_or_else(|| Malformed::NotAReply(sample(line)))?;
        return match rest {
            [b'0'..=b'9', ..] => Err(Malformed::NotAReply(sample(line))),
            [b'-', text @ ..] => {
                *unfinished = Some(Unfinished { reply: Reply { code, lines: vec![text.to_vec()] }, bytes });
                Ok(None)
            }
            [b' ', text @ ..] | text => Ok(Some(Reply { code, lines: vec![text.to_vec()] })),
        };
    };
    // What goes elsewhere as it comes needs no memory here.
    if inner.is_none() {
        current.bytes += bytes;
    }
    if current.bytes > REPLY_BYTES_MAX {
        return Err(Malformed::ReplyTooLong);
    }
    match Code::split(line) {
        Some((code, [])) if code == current.reply.code => current.reply.lines.push(Vec::new()),
        Some((code, [b' ', text @ ..])) if code == current.reply.code => current.reply.lines.push(text.to_vec()),
        // Anything may stand between, other codes too (RFC 959 section 4.2).
        _ => {
            match inner {
                Some(inner) => inner(line),
                None => current.reply.lines.push(line.to_vec()),
            }
            *unfinished = Some(current);
            return Ok(None);
        }
    }
    Ok(Some(current.reply))
}

/// Tells what is wrong with a line by its beginning, as its end may never come.
fn check(line: &[u8], inside_reply: bool) -> Result<(), Malformed> {
    let may_be_code = matches!(line, [] | [b'1'..=b'5', ..]) && line.iter().take(3).all(u8::is_ascii_digit);
    if !inside_reply && !may_be_code {
        return Err(Malformed::NotAReply(sample(line)));
    }
    if line.len() > LINE_BYTES_MAX { Err(Malformed::LineTooLong(sample(line))) } else { Ok(()) }
}

fn sample(line: &[u8]) -> String {
    path::escaped(line.get(..SAMPLE_BYTES_MAX).unwrap_or(line)).to_string()
}

impl Reply {
    /// All the text in one line, escaped for a log or a message.
    pub fn text(&self) -> String {
        let inner_code = format!("{}-", self.code);
        let shown = self.lines.iter().map(|line| {
            let text = line.strip_prefix(inner_code.as_bytes()).unwrap_or(line);
            path::escaped(text.trim_ascii()).to_string()
        });
        shown.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" / ")
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// `550 No such file`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

impl Code {
    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    pub fn outcome(self) -> Outcome {
        match self.0 {
            ..200 => Outcome::Preliminary,
            200..300 => Outcome::Completion,
            300..400 => Outcome::Intermediate,
            400..500 => Outcome::TransientNegative,
            500.. => Outcome::PermanentNegative,
        }
    }

    /// The code that `line` begins with, and what follows it.
    fn split(line: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first @ b'1'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9'], rest) = line.split_first_chunk()?
        else {
            return None;
        };
        let number = [first, second, third].iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        Some((Self(number), rest))
    }
}

/// As the three digits; so `code == 226` reads well.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAReply(line) => write!(f, "this is not an FTP reply: {line}"),
            Self::LineTooLong(line) => write!(f, "a reply with a line of over {LINE_BYTES_MAX} bytes: {line}"),
            Self::ReplyTooLong => write!(f, "a reply of over {REPLY_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for Malformed {}

/// The longest line of a reply, without its LF: no server needs more, and a hostile one must not choose our memory use.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// The longest reply, line ends included.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// So much of a line is kept to show what came.
const SAMPLE_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(bytes: &[u8]) -> (Vec<String>, Option<Malformed>) {
        let mut reader = Reader::new();
        reader.feed(bytes);
        let mut replies = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(reply)) => replies.push(reply.to_string()),
                Ok(None) => return (replies, None),
                Err(malformed) => {
                    assert_eq!(reader.next().as_ref(), Err(&malformed));
                    return (replies, Some(malformed));
                }
            }
        }
    }

    #[test]
    fn replies_are_read_in_every_form_that_servers_send() {
        for (bytes, expected) in [
            (&b"220 ready\r\n"[..], &["220 ready"][..]),
            (b"220 ready\n226 done\n", &["220 ready", "226 done"]),
            (b"200\r\n", &["200 "]),
            (b"220-Hello\r\n220 End\r\n", &["220 Hello / End"]),
            (b"211-Features:\r\n MDTM\r\n SIZE\r\n211 End\r\n", &["211 Features: / MDTM / SIZE / End"]),
            (b"220----\r\n220-Welcome\r\n220 bye\r\n", &["220 --- / Welcome / bye"]),
            (b"150-a\r\n226 not the end\r\n  150 nor this\r\n150\r\n", &["150 a / 226 not the end / 150 nor this"]),
            (b"550 \xff\x1b[0m\r\n", &["550 \\xff\\u{1b}[0m"]),
            (b"230-half\r\n", &[]),
        ] {
            assert_eq!(replies(bytes), (expected.iter().map(ToString::to_string).collect(), None));
        }
    }

    #[test]
    fn what_does_not_begin_with_a_code_is_no_reply() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"\x15\x03\x01\x00\x02\x02\x16",
            b"\r\n",
            b"99 \r\n",
            b"099 x\r\n",
            b"600 x\r\n",
            b"22",
            // Their ends may never come.
            b"9",
            b"2x",
            b"2 20 x\r\n",
            b"2200 x\r\n",
        ] {
            let (replies, malformed) = replies(bytes);
            assert!(replies.is_empty());
            assert_eq!(matches!(malformed, Some(Malformed::NotAReply(_))), bytes != b"22", "{bytes:?}");
        }
        assert_eq!(replies(b"200 ok\nH").1, Some(Malformed::NotAReply("H".into())));
    }

    #[test]
    fn memory_is_bounded_by_line_and_reply() {
        assert_eq!((LINE_BYTES_MAX, REPLY_BYTES_MAX), (8192, 65536));
        let line = [b"220 ", &[b'x'; LINE_BYTES_MAX - 4][..], b"\n"].concat();
        assert_eq!(replies(&line).1, None);
        let line = [b"220 ", &[b'x'; LINE_BYTES_MAX - 3][..], b"\n"].concat();
        assert!(matches!(replies(&line).1, Some(Malformed::LineTooLong(sample)) if sample.len() == SAMPLE_BYTES_MAX));
        assert!(matches!(replies(&[b'2'; LINE_BYTES_MAX + 1]).1, Some(Malformed::LineTooLong(_))));
        // The same in one piece as in many: what is no reply is so before its length is known.
        let line = [&[b'x'; LINE_BYTES_MAX + 1][..], b"\n"].concat();
        assert!(matches!(replies(&line).1, Some(Malformed::NotAReply(_))));
        let endless = [b"220-\n", &[b'\n'; REPLY_BYTES_MAX][..]].concat();
        assert_eq!(replies(&endless).1, Some(Malformed::ReplyTooLong));
    }

    /// A listing in a reply may be longer than any reply that is kept.
    #[test]
    fn a_reply_of_any_length_is_read_line_by_line() {
        let lines = "-rw-r--r-- 1 u g 3 Feb 29  2024 a\r\n".repeat(10_000);
        let bytes = ["213-Status follows:\r\n", &lines, " 213 no end\r\n213 End\r\n350 next\r\n"].concat();
        let mut reader = Reader::new();
        let (mut count, mut replies) = (0, Vec::new());
        for piece in bytes.as_bytes().chunks(4096) {
            reader.feed(piece);
            while replies.is_empty() {
                let Some(reply) = reader.next_into(&mut |_| count += 1).unwrap() else { break };
                replies.push(reply.to_string());
            }
        }
        assert_eq!((count, replies), (10_001, vec!["213 Status follows: / End".to_owned()]));
        assert_eq!(reader.next().unwrap().unwrap().to_string(), "350 next");
        assert_eq!(reader.pending(), 0);
    }

    /// Bytes in clear after the 234 would be read as if they had come encrypted (STARTTLS injection).
    #[test]
    fn bytes_after_a_reply_are_pending() {
        let mut reader = Reader::new();
        reader.feed(b"234 go\r\n230-in\r\n230");
        assert_eq!(reader.next().unwrap().unwrap().code.number(), 234);
        assert_eq!(reader.pending(), b"230-in\r\n230".len());
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.pending(), b"230-in\r\n230".len());
        reader.feed(b" x\n");
        assert_eq!(reader.next().unwrap().unwrap().code.outcome(), Outcome::Completion);
        assert_eq!(reader.pending(), 0);
    }
}
