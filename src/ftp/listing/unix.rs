//! The form of ls(1) with `-l`, which most servers write.

use crate::accounts::Account;
use crate::ftp::decimal::number;
use crate::ftp::listing::dates;
use crate::ftp::listing::line;
use crate::ftp::listing::line::{Form, Line, Word, Words, target};
use crate::ftp::listing::permissions;
use crate::ftp::time::ListClock;
use crate::remote::{FileKind, Metadata};

/// `-rw-r--r--   1 lab      lab            16 Nov 23 14:40 hello.txt`.
///
/// The columns between the permissions and the date differ (no group, no owner, names with spaces), so the date is
/// looked for: the first that follows a number, the size.
pub(super) const FORM: Form = Form { name: "Unix", read };

fn read<'a>(line: &'a [u8], clock: &ListClock) -> Option<Line<'a>> {
    let words = Words::of(line);
    let words = without_inode(words.as_slice());
    let ((permissions, _), columns) = words.split_first()?;
    if let Some((kind, mode)) = permissions::kind_and_mode(permissions) {
        let Some(kind) = kind else { return Some(Line::Special) };
        return entry(kind, mode, columns, clock);
    }
    is_total(line).then_some(Line::Other)
}

fn entry<'a>(kind: FileKind, mode: u16, columns: &[Word<'a>], clock: &ListClock) -> Option<Line<'a>> {
    let (owners, size, (modified, rest)) = split_at_size(columns, |date| dates::read(date, clock))
        .or_else(|| split_at_size(columns, |date| Some((None, dates::skip(date)?))))?;
    let name = line::name(rest)?;
    let (name, kind) = match kind {
        FileKind::Symlink(_) => split_link(name, size),
        other => (name, other),
    };
    let (owner, group) = owner_and_group(owners);
    // Services of Windows write `drw-rw-rw-   1 user     group`, which would let nobody into the directory.
    let means_nothing = kind == FileKind::Directory && mode & 0o111 == 0 && is_placeholder(owners);
    let mode = Some(mode).filter(|_| !means_nothing);
    let id = |account: Option<&[u8]>| account.and_then(number);
    let account =
        |account: Option<&[u8]>| account.filter(|name| number::<u32>(name).is_none()).and_then(Account::named);
    let (uid, gid, owner, group) = (id(owner), id(group), account(owner), account(group));
    Some(Line::named(name, Metadata { kind, size, modified, mode, uid, gid, owner, group, unique: None }))
}

/// The columns before the size, the size, and what `date` makes of those behind it: where it takes them for a date first.
fn split_at_size<'w, 'a, D>(
    columns: &'w [Word<'a>],
    date: impl Fn(&'w [Word<'a>]) -> Option<D>,
) -> Option<(&'w [Word<'a>], Option<u64>, D)> {
    (0..columns.len()).find_map(|index| {
        let (owners, size_and_date) = columns.split_at_checked(index)?;
        let ((size, _), rest) = size_and_date.split_first()?;
        Some((owners, column_of_size(size)?, date(rest)?))
    })
}

/// The words from the permissions on: `ls -is` puts the inode and the blocks before them.
fn without_inode<'w, 'a>(words: &'w [Word<'a>]) -> &'w [Word<'a>] {
    let numbers = words.iter().take(2).take_while(|(word, _)| word.iter().all(u8::is_ascii_digit)).count();
    words.get(numbers..).unwrap_or_default()
}

/// `total 12`, in some language: one word and the count of blocks, and nothing else.
pub(super) fn is_total(line: &[u8]) -> bool {
    let Some(total) = TOTALS.iter().find(|total| starts_with_word(line, total.as_bytes())) else { return false };
    let count = line.get(total.len()..).unwrap_or_default().trim_ascii();
    let count = count.strip_suffix(b"K").or_else(|| count.strip_suffix(b"M")).unwrap_or(count);
    count.first().is_some_and(u8::is_ascii_digit)
        && count.iter().all(|byte| byte.is_ascii_digit() || b".,".contains(byte))
}

fn starts_with_word(line: &[u8], word: &[u8]) -> bool {
    line.split_at_checked(word.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(word) && rest.starts_with(b" "))
}

/// A size in bytes. Where it was rounded to be read by people (`1.2K`) or can be that of no file, it is one that was not
/// told.
fn column_of_size(text: &[u8]) -> Option<Option<u64>> {
    if let Some(size) = line::size(text) {
        return Some(Some(size));
    }
    let with_unit = text.split_last().filter(|(unit, _)| b"KMGTkmgt".contains(unit));
    let digits = with_unit.map_or(text, |(_, digits)| digits);
    let is_number =
        digits.first()?.is_ascii_digit() && digits.iter().all(|byte| byte.is_ascii_digit() || b".,".contains(byte));
    is_number.then_some(None)
}

/// Owner and group, from the columns between the permissions and the size: links, owner and group as a rule, without links
/// or without group on some servers. Where names hold spaces nobody can tell which word is whose.
fn owner_and_group<'a>(columns: &[Word<'a>]) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    match columns {
        [_, (owner, _), (group, _)] => (Some(owner), Some(group)),
        [(links, _), (owner, _)] if number::<u32>(links).is_some() => (Some(owner), None),
        [(owner, _), (group, _)] => (Some(owner), Some(group)),
        _ => (None, None),
    }
}

/// The owner and the group of a system that knows no such.
fn is_placeholder(columns: &[Word<'_>]) -> bool {
    matches!(columns, [.., (b"user" | b"owner" | b"User" | b"Owner", _), (b"group" | b"Group" | b"Owner", _)])
}

/// Parts `name -> target`. Either may hold ` -> ` itself: then the size of a link, which is the length of its target,
/// tells which one parts them, and the first does where no length fits.
fn split_link(text: &[u8], size: Option<u64>) -> (&[u8], FileKind) {
    let arrows = || text.windows(ARROW.len()).enumerate().filter(|(_, window)| *window == ARROW).map(|(at, _)| at);
    let fits = |at: &usize| u64::try_from(text.len() - at - ARROW.len()).is_ok_and(|length| Some(length) == size);
    let sides = arrows().find(fits).or_else(|| arrows().next()).and_then(|at| text.split_at_checked(at));
    match sides {
        Some((name, rest)) => (name, FileKind::Symlink(rest.strip_prefix(ARROW).and_then(target))),
        None => (text, FileKind::Symlink(None)),
    }
}

const ARROW: &[u8] = b" -> ";

/// What `ls` calls the sum of the blocks, in the languages of servers.
const TOTALS: &[&str] = &[
    "total",
    "totale",
    "totaal",
    "totalt",
    "insgesamt",
    "gesamt",
    "razem",
    "celkem",
    "összesen",
    "toplam",
    "yhteensä",
    "итого",
    "всего",
    "合計",
    "总用量",
    "總計",
    "합계",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn clock() -> ListClock {
        // 2026-11-23 14:50.
        ListClock {
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400),
            zone: crate::ftp::time::Zone::UTC,
        }
    }

    fn entry(line: &str) -> (String, Metadata) {
        match read(line.as_bytes(), &clock()) {
            Some(Line::Entry(name, metadata)) => (String::from_utf8_lossy(name).into_owned(), metadata),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn columns_before_the_date_differ_between_servers() {
        for (line, uid, gid) in [
            ("-rw-r--r--    1 1001     1002     16 Nov 23 14:40 x", Some(1001), Some(1002)),
            ("-rw-r--r--   1 lab      lab      16 Nov 23  2026 x", None, None),
            ("-rw-r--r--            1         1001         1002             16 Nov 23 14:40 x", Some(1001), Some(1002)),
            ("-rw-r--r--+ 1 1001 16 Nov 23 14:40 x", Some(1001), None),
            ("-rw-r--r--. lab 1002 16 Nov 23 14:40 x", None, Some(1002)),
            ("-rw-r--r--@ 16 Nov 23 14:40 x", None, None),
            ("-rw-r--r-- 1 Domain Users Domain Admins 16 2026-11-23 14:40 x", None, None),
        ] {
            let (name, metadata) = entry(line);
            assert_eq!((name.as_str(), metadata.size, metadata.mode), ("x", Some(16), Some(0o644)), "{line}");
            assert_eq!((metadata.uid, metadata.gid), (uid, gid), "{line}");
            let lab = Account::named(b"lab");
            let named = |column: &str| line.contains(column).then_some(lab).flatten();
            assert_eq!((metadata.owner, metadata.group), (named(" lab "), named(" lab      16")), "{line}");
            assert!(metadata.modified.is_some(), "{line}");
        }
    }

    #[test]
    fn a_name_keeps_all_but_one_space() {
        for (line, name) in [
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40   two ", "  two "),
            ("-rw-r--r-- 1 a b 16 Nov 23  2025 a -> b", "a -> b"),
            ("-rw-r--r-- 1 a b 16 2026-11-23 14:40:36 5 Nov 23 14:40 x", "5 Nov 23 14:40 x"),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 5 Nov 23 14:40 x", "5 Nov 23 14:40 x"),
        ] {
            assert_eq!(entry(line).0, name, "{line}");
        }
    }

    #[test]
    fn a_link_is_parted_where_its_size_says() {
        for (rest, name, target) in [
            ("1 Nov 23 14:40 a -> b", "a", Some("b")),
            ("6 Nov 23 14:40 a -> b -> c", "a", Some("b -> c")),
            ("1 Nov 23 14:40 a -> b -> c", "a -> b", Some("c")),
            ("9 Nov 23 14:40 a -> b -> c", "a", Some("b -> c")),
            ("0 ??? ?? ????? dangling", "dangling", None),
            ("5 Nov 23 14:40 a ->", "a ->", None),
        ] {
            let (told, metadata) = entry(&format!("lrwxrwxrwx 1 ftp ftp {rest}"));
            let target = target.map(|target| Box::from(target.as_bytes()));
            assert_eq!((told.as_str(), metadata.kind), (name, FileKind::Symlink(target)), "{rest}");
        }
    }

    #[test]
    fn lines_that_are_no_entries_are_told_apart() {
        for (line, special, other) in [
            ("total 12", false, true),
            ("total", false, false),
            ("total eclipse", false, false),
            ("crw-rw-rw- 1 root root 1, 3 Nov 23 14:40 null", true, false),
            ("srwxrwxrwx 1 root root 0 Nov 23 14:40 socket", true, false),
            ("drwxr-xr-x 2 root root 4096 Nov 23 14:40 ..", false, true),
            ("-rw-r--r-- 1 a b x Nov 23 14:40 x", false, false),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40", false, false),
            ("-rw-r--r-- 1 a b 16 Nov 23 14:40 ", false, false),
            ("ls: cannot open directory", false, false),
        ] {
            let line_read = read(line.as_bytes(), &clock());
            assert_eq!(line_read == Some(Line::Special), special, "{line}");
            assert_eq!(line_read == Some(Line::Other), other, "{line}");
        }
        assert!(matches!(read(b"drwxr-xr-x 2 root root 4096 Nov 23 14:40 .", &clock()), Some(Line::Itself(_))));
    }
}
