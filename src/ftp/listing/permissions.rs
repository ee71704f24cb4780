//! The permissions of lines in Unix form.

use crate::remote::FileKind;

/// The kind and the mode of `drwxr-xr-x`, possibly with a mark for further access rules behind it; no kind for devices,
/// sockets and the like.
pub(super) fn kind_and_mode(text: &[u8]) -> Option<(Option<FileKind>, u16)> {
    let ([kind, permissions @ ..], mark) = text.split_first_chunk::<10>()?;
    if !matches!(mark, b"" | b"+" | b"." | b"@") {
        return None;
    }
    let kind = match kind {
        b'-' => Some(FileKind::File),
        b'd' => Some(FileKind::Directory),
        b'l' => Some(FileKind::Symlink(None)),
        b'b' | b'c' | b'p' | b's' | b'D' | b'P' | b'C' | b'M' | b'n' => None,
        _ => return None,
    };
    let mode = permissions.iter().enumerate().try_fold(0, |mode, (index, &letter)| {
        let plain = 0o400 >> index;
        // The special bit of this group of three: setuid, setgid, sticky.
        let special = 0o4000 >> (index / 3);
        let bits = match (index % 3, letter) {
            (_, b'-') => 0,
            (0, b'r') | (1, b'w') | (2, b'x') => plain,
            (2, b's' | b't') => plain | special,
            // `l`: the same bit, read as mandatory locking.
            (2, b'S' | b'T' | b'l' | b'L') => special,
            _ => return None,
        };
        Some(mode | bits)
    })?;
    Some((kind, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_with_their_special_bits() {
        for (text, mode) in [
            ("-rwsr-sr-t", Some(0o7755)),
            ("-rwSr-Sr-T", Some(0o7644)),
            ("-r-xr-l---", Some(0o2540)),
            ("-rwxrwxrw", None),
            ("-xwrr--r--", None),
            ("-rw-r--r--x", None),
            ("?rw-r--r--", None),
        ] {
            assert_eq!(kind_and_mode(text.as_bytes()).map(|(_, mode)| mode), mode, "{text}");
        }
    }
}
