//! Listings: the lines of `MLSD` and `LIST` become entries as they arrive.
//!
//! `MLSD` has a form of its own (RFC 3659 section 7). `LIST` has none: the lines of the beginning are tried in every
//! known form, and the one that understands most of them reads the listing.

#![deny(clippy::indexing_slicing)]

mod line;

mod dates;
mod permissions;

mod dos;
mod eplf;
mod facts;
mod mac;
mod mvs;
mod netware;
mod nonstop;
mod octal;
mod os2;
mod os400;
mod os9;
mod pds;
mod supertcp;
mod unix;
mod vms;
mod vshell;
mod vxworks;
mod wftpd;
mod zvm;

mod forms;

pub use facts::read_mlst;

use crate::ftp::listing::line::{Form, Line};
use crate::ftp::time::{ListClock, Zone};
use crate::path;
use crate::path::Name;
use crate::remote::{Entry, FileKind, Metadata};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::time::SystemTime;

/// A directory as a listing told it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the server's order, each name once.
    pub entries: Vec<Entry>,
    /// What was said of the directory itself (`type=cdir`, or the line of `.`).
    pub itself: Option<Metadata>,
    /// Whether there was such a line: then the listing is of a directory, even if it has no entries.
    pub saw_dot: bool,
    /// Lines that had something to say; the counts below are parts of this.
    pub lines: usize,
    /// Lines that no form fits, or that were too long.
    pub not_understood: usize,
    /// The first of them, escaped, or its beginning.
    pub sample: Option<String>,
    /// Names that are none: with `/`, NUL or CR, `.` and `..` where they do not name the directories, and those of over
    /// [`NAME_BYTES_MAX`].
    pub refused_names: usize,
    /// Entries left out because their name had come before.
    pub duplicates: usize,
    /// Entries left out because they are devices, sockets and the like.
    pub special: usize,
    /// The memory that the entries take, about.
    pub entries_bytes: usize,
    /// What the form of a `LIST` is called, for [`Parser::preferring`] and the log; `None` where no line was understood.
    pub form: Option<&'static str>,
    /// The zone in which the times of a `LIST` were read.
    pub zone: Zone,
}

/// Reads a listing from the bytes of a data connection. How the bytes were cut into pieces makes no difference.
pub struct Parser {
    form: Choice,
    /// A line whose end has not come.
    partial: Vec<u8>,
    /// A whole line that is only the beginning of an entry.
    begun: Vec<u8>,
    /// Whether `partial` was too long and the rest of its line is left out.
    skipping: bool,
    /// So many bytes have come.
    fed: u64,
    listing: Listing,
}

/// The listing has more than [`ENTRIES_MAX`] entries, or they take more than [`ENTRIES_BYTES_MAX`], or its text is longer than
/// [`TEXT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooBig;

enum Choice {
    Facts,
    Names,
    Undecided(Head),
    Decided(&'static Form, Rc<ListClock>),
}

/// The beginning of a listing of which the form is not yet known.
struct Head {
    /// The lines so far, each with an LF.
    lines: Vec<u8>,
    clock: ListClock,
    preferred: Option<&'static str>,
}

impl Parser {
    /// For `MLSD`.
    pub fn facts() -> Self {
        Self::new(Choice::Facts)
    }

    /// For `NLST`: of each name no more is told than that it is there, so that all are files of unknown size.
    pub fn names() -> Self {
        Self::new(Choice::Names)
    }

    /// For `LIST`. The server's clock is one of `zone`; `now` finds the year that dates leave out.
    pub fn list(now: SystemTime, zone: Zone) -> Self {
        let clock = ListClock { now, zone };
        Self::new(Choice::Undecided(Head { lines: Vec::new(), clock, preferred: None }))
    }

    /// Takes the form that the server was last seen to use ([`Listing::form`]) where another understands no more lines:
    /// a short listing may leave the order of day and month open.
    #[must_use]
    pub fn preferring(mut self, form: Option<&'static str>) -> Self {
        if let Choice::Undecided(head) = &mut self.form {
            head.preferred = form;
        }
        self
    }

    fn new(form: Choice) -> Self {
        Self { form, partial: Vec::new(), begun: Vec::new(), skipping: false, fed: 0, listing: Listing::default() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`TooBig`]: what came so far is still to be had by [`Parser::finish`], but it is not the directory.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), TooBig> {
        self.fed += bytes.len() as u64;
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if self.partial.is_empty() && !self.skipping && end.len() <= LINE_BYTES_MAX => {
                    self.take_line(end);
                }
                Some(end) => {
                    self.extend_partial(end);
                    self.take_partial();
                }
                None => self.extend_partial(piece),
            }
        }
        let is_small = self.fed <= TEXT_BYTES_MAX && !self.listing.is_full();
        if is_small { Ok(()) } else { Err(TooBig) }
    }

    /// What the listing told. A last line without an end counts.
    pub fn finish(mut self) -> Listing {
        self.take_partial();
        self.decide();
        self.give_up_begun();
        let mut seen = HashSet::with_capacity(self.listing.entries.len());
        let first: Vec<bool> = self.listing.entries.iter().map(|entry| seen.insert(entry.name.as_bytes())).collect();
        let before = first.len();
        let mut first = first.into_iter();
        self.listing.entries.retain(|_| first.next().unwrap_or(true));
        self.listing.duplicates = before - self.listing.entries.len();
        self.listing.entries.shrink_to_fit();
        self.listing
    }

    fn extend_partial(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        if self.partial.len() + piece.len() > LINE_BYTES_MAX {
            let room = LINE_BYTES_MAX - self.partial.len();
            self.partial.extend_from_slice(piece.get(..room).unwrap_or_default());
            self.skipping = true;
        } else {
            self.partial.extend_from_slice(piece);
        }
    }

    fn take_partial(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.skipping) {
            self.listing.lines += 1;
            self.listing.misunderstand(&line);
        } else {
            self.take_line(&line);
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        match &mut self.form {
            Choice::Facts => self.listing.add(line, facts::read(line)),
            Choice::Names => self.listing.add(line, Some(Line::bare(line))),
            Choice::Decided(form, clock) => {
                let (form, clock) = (*form, Rc::clone(clock));
                self.read_line(line, form, &clock);
            }
            Choice::Undecided(head) => {
                head.lines.extend_from_slice(line);
                head.lines.push(b'\n');
                if head.lines.len() >= HEAD_BYTES {
                    self.decide();
                }
            }
        }
    }

    fn read_line(&mut self, line: &[u8], form: &Form, clock: &ListClock) {
        if !self.begun.is_empty() {
            let whole = [self.begun.as_slice(), b" ", line].concat();
            if let Some(read @ Line::Entry(..)) = (form.read)(&whole, clock) {
                self.begun.clear();
                // The lines of one entry count one by one, so that all are accounted for.
                self.listing.lines += 1;
                return self.listing.add(&whole, Some(read));
            }
            self.give_up_begun();
        }
        match (form.read)(line, clock) {
            Some(Line::Begun) => self.begun.extend_from_slice(line),
            read => self.listing.add(line, read),
        }
    }

    fn give_up_begun(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            self.listing.add(&begun, None);
        }
    }

    /// Chooses the form by the lines so far, and reads them.
    fn decide(&mut self) {
        let Choice::Undecided(head) = &mut self.form else { return };
        let (lines, clock) = (std::mem::take(&mut head.lines), Rc::new(head.clock.clone()));
        if lines.is_empty() {
            return;
        }
        let best = forms::best(&lines, &clock, head.preferred);
        self.listing.form = best.map(|form| form.name);
        let form = best.unwrap_or(&unix::FORM);
        log::trace!("a listing in {} form", form.name);
        self.listing.zone = clock.zone.clone();
        self.form = Choice::Decided(form, Rc::clone(&clock));
        for line in forms::each(&lines) {
            self.read_line(line, form, &clock);
        }
    }
}

impl Listing {
    /// Whether it says nothing, not even that there is a directory.
    pub fn is_mute(&self) -> bool {
        self.entries.is_empty()
            && !self.saw_dot
            && self.not_understood == 0
            && self.refused_names == 0
            && self.special == 0
    }

    /// Whether lines came that were not understood, and none that told of a name.
    pub fn hides_all(&self) -> bool {
        self.not_understood > 0 && self.entries.is_empty()
    }

    /// Whether lines came, and none of them was understood.
    pub fn is_gibberish(&self) -> bool {
        self.hides_all() && !self.saw_dot
    }

    /// Puts what `translated` makes of it in place of each name and each link's target. A name that then is none stays as
    /// it was.
    pub fn translate(&mut self, translated: impl Fn(&[u8]) -> Cow<'_, [u8]>) {
        for entry in &mut self.entries {
            if let Cow::Owned(name) = translated(entry.name.as_bytes())
                && let Some(name) = shown(name)
            {
                entry.name = name;
            }
            if let FileKind::Symlink(Some(target)) = &mut entry.metadata.kind
                && let Cow::Owned(path) = translated(target)
            {
                *target = path.into();
            }
        }
    }

    fn add(&mut self, line: &[u8], read: Option<Line<'_>>) {
        self.lines += 1;
        match read {
            None | Some(Line::Begun) => self.misunderstand(line),
            Some(Line::Other) => {}
            Some(Line::Special) => self.special += 1,
            Some(Line::Itself(metadata)) => {
                self.saw_dot = true;
                self.itself.get_or_insert(metadata);
            }
            Some(Line::Entry(name, metadata)) => self.add_entry(shown(name), metadata),
            Some(Line::Joined(name, extension, metadata)) => {
                self.add_entry(shown([name, extension].join(&b"."[..])), metadata);
            }
        }
    }

    fn add_entry(&mut self, name: Option<Name>, metadata: Metadata) {
        match name {
            // What is one too many is kept, so that `feed` notices.
            Some(_) if self.is_full() => {}
            Some(name) => {
                self.entries_bytes += size_of::<Entry>() + name.as_bytes().len() + told_bytes(&metadata);
                self.entries.push(Entry { name, metadata });
            }
            None => self.refused_names += 1,
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() > ENTRIES_MAX || self.entries_bytes > ENTRIES_BYTES_MAX
    }

    fn misunderstand(&mut self, line: &[u8]) {
        self.not_understood += 1;
        self.sample.get_or_insert_with(|| path::escaped(line.get(..SAMPLE_BYTES_MAX).unwrap_or(line)).to_string());
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("entries", &self.listing.entries.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for TooBig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the directory has too many entries, or the server does not end its listing")
    }
}

impl std::error::Error for TooBig {}

/// What the server chooses the length of, besides the name.
fn told_bytes(metadata: &Metadata) -> usize {
    let target = match &metadata.kind {
        FileKind::Symlink(Some(target)) => target.len(),
        _ => 0,
    };
    target + metadata.unique.as_ref().map_or(0, |unique| unique.len())
}

/// `name`, where it can be one here.
fn shown(name: impl Into<Box<[u8]>>) -> Option<Name> {
    Name::new(name).ok().filter(|name| name.as_bytes().len() <= NAME_BYTES_MAX)
}

/// The longest name (bytes) that FUSE takes: with a longer one among them, it shows none of a directory's.
pub const NAME_BYTES_MAX: usize = 1024;

/// A line longer than this (bytes) is not kept but counted as not understood.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// A listing with more entries is given up: a hostile server must not choose our memory use.
pub const ENTRIES_MAX: usize = 2_000_000;

/// The memory that the entries may take (bytes): two million with names of ordinary length.
pub const ENTRIES_BYTES_MAX: usize = 512 << 20;

/// A listing of more text (bytes) is given up, whatever is in it: lines that tell of nothing, or have no end, cost time.
pub const TEXT_BYTES_MAX: u64 = 512 << 20;

/// The form of `LIST` is chosen by so much of it (bytes).
const HEAD_BYTES: usize = 64 * 1024;

/// So much of a line is kept to show what came.
const SAMPLE_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::time::Duration;

    fn list(text: &[u8]) -> Listing {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400);
        let mut parser = Parser::list(now, Zone::UTC);
        parser.feed(text).unwrap();
        parser.finish()
    }

    fn facts(text: &[u8]) -> Listing {
        let mut parser = Parser::facts();
        parser.feed(text).unwrap();
        parser.finish()
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn the_form_is_what_most_lines_are() {
        let odd = b"11-23-26  02:40PM                   16 dos\r\n\
                    -rw-r--r-- 1 a b 16 Nov 23 14:40 one\r\n\
                    -rw-r--r-- 1 a b 16 Nov 23 14:40 two\r\n";
        let listing = list(odd);
        assert_eq!(names(&listing), ["one", "two"]);
        assert_eq!((listing.lines, listing.not_understood), (3, 1));
        assert_eq!(listing.sample.as_deref(), Some("11-23-26  02:40PM                   16 dos"));

        let listing = list(b"total 3\n11-23-26  02:40PM   <DIR>          dos\n11-23-26  02:40PM   <DIR>          b\n");
        assert_eq!(names(&listing), ["dos", "b"]);
        assert_eq!(listing.entries.first().map(|entry| &entry.metadata.kind), Some(&FileKind::Directory));
    }

    #[test]
    fn the_form_last_seen_wins_a_draw() {
        let day = |form| {
            let mut parser = Parser::list(SystemTime::UNIX_EPOCH, Zone::UTC).preferring(form);
            parser.feed(b"05-11-26  02:40PM   <DIR>          dos\r\n").unwrap();
            let listing = parser.finish();
            let modified = listing.entries.first().and_then(|entry| entry.metadata.modified).unwrap();
            (listing.form.unwrap(), modified.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400)
        };
        assert_eq!(day(None), ("DOS", 20_584));
        assert_eq!(day(Some("DOS, day first")), ("DOS, day first", 20_762));
        assert_eq!(day(Some("VMS")), ("DOS", 20_584));
        assert_eq!(list(b"nothing known\n").form, None);
    }

    #[test]
    fn a_long_listing_streams_once_its_form_is_known() {
        let mut text = String::new();
        for number in 0..10_000 {
            writeln!(text, "-rw-r--r-- 1 a b {number} Nov 23 14:40 file {number}\r").unwrap();
        }
        let listing = list(text.as_bytes());
        assert_eq!((listing.entries.len(), listing.not_understood), (10_000, 0));
        assert_eq!(listing.entries.last().map(|entry| entry.metadata.size), Some(Some(9_999)));
    }

    #[test]
    fn a_name_that_is_none_is_refused_and_one_that_came_before_is_left_out() {
        let listing = facts(
            b"type=cdir;unix.mode=0755; /pub\r\ntype=pdir; ..\r\ntype=file;size=1; a\r\ntype=file;size=2; a\r\n\
              type=file; a/b\r\ntype=dir; ..\r\ntype=dir; .\r\ntype=file; a\rb\r\ntype=file; a\0b\r\ntype=file; \r\n\
              type=OS.unix=blk-8/0; sda\r\n",
        );
        assert_eq!(names(&listing), ["a"]);
        assert_eq!(listing.entries.first().map(|entry| entry.metadata.size), Some(Some(1)));
        assert_eq!((listing.lines, listing.refused_names, listing.duplicates, listing.special), (11, 6, 1, 1));
        assert_eq!(listing.itself.map(|itself| itself.mode), Some(Some(0o755)));
        assert!(listing.saw_dot);
    }

    #[test]
    fn an_overlong_line_is_counted_and_skipped() {
        for pieces in [1, 1000, usize::MAX] {
            let mut parser = Parser::facts();
            let long = [b"type=file; ", &[b'x'; LINE_BYTES_MAX][..], b"\r\ntype=file; y"].concat();
            for piece in long.chunks(pieces.min(long.len())) {
                parser.feed(piece).unwrap();
            }
            let listing = parser.finish();
            assert_eq!(names(&listing), ["y"]);
            assert_eq!((listing.lines, listing.not_understood), (2, 1));
            assert_eq!(listing.sample.map(|sample| sample.len()), Some(SAMPLE_BYTES_MAX));
        }
    }

    /// `benches/listing.rs` measures it, with all that the allocator adds.
    #[test]
    fn an_entry_takes_at_most_200_bytes_beside_its_name() {
        let unique = 2 * size_of::<usize>() + "FE00UE0001234567".len();
        assert!(size_of::<Entry>() + unique <= 200, "{}", size_of::<Entry>());
    }

    #[test]
    fn names_alone_are_files_of_which_nothing_is_known() {
        let mut parser = Parser::names();
        parser.feed(b".\r\n..\r\n a b \r\n./c\r\nd/e\r\n").unwrap();
        let listing = parser.finish();
        assert_eq!(names(&listing), [" a b ", "c"]);
        assert!(listing.entries.iter().all(|entry| entry.metadata == Metadata::of_kind(FileKind::File)));
        assert_eq!((listing.lines, listing.refused_names, listing.saw_dot), (5, 1, true));
    }

    #[test]
    fn an_empty_listing_is_empty() {
        assert_eq!(list(b""), Listing::default());
        assert_eq!(list(b"\r\n\n"), Listing::default());
        assert_eq!(facts(b""), Listing::default());
    }
}
