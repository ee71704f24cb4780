//! Symbolic links that stay inside the mount.

/// The target to show for a link whose directory lies `depth` directories below the root; `None` if it leads out.
///
/// An absolute target is a path on the server, read from the mounted root. A relative target stays as it is unless it
/// goes up after it went down: a directory on the way may itself be a link, and then going up leads elsewhere. Such a
/// target is shown shortened. With `..` at the front only, and every link on the way contained, nothing leads out.
pub(crate) fn contained(target: &[u8], depth: usize) -> Option<Vec<u8>> {
    if target.is_empty() || target.contains(&0) {
        return None;
    }
    let absolute = target.starts_with(b"/");
    let mut ups = if absolute { depth } else { 0 };
    let mut names: Vec<&[u8]> = Vec::new();
    let mut turned_back = false;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            // The root's parent is the root, for a path that begins there.
            b".." if names.is_empty() && absolute => turned_back = true,
            b".." if names.is_empty() => ups += 1,
            b".." => {
                names.pop();
                turned_back = true;
            }
            name => names.push(name),
        }
    }
    if ups > depth {
        return None;
    }
    if !absolute && !turned_back {
        return Some(target.to_vec());
    }
    let parts: Vec<&[u8]> = std::iter::repeat_n(&b".."[..], ups).chain(names).collect();
    Some(if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_in_the_mount_or_is_refused() {
        for (target, depth, shown) in [
            ("file", 0, Some("file")),
            ("./a//b/", 0, Some("./a//b/")),
            ("../x", 1, Some("../x")),
            ("../x", 0, None),
            ("../../x", 1, None),
            ("/x/y", 0, Some("x/y")),
            ("/x/y", 2, Some("../../x/y")),
            ("/", 0, Some(".")),
            ("/", 1, Some("..")),
            ("/../etc", 1, Some("../etc")),
            ("a/../b", 0, Some("b")),
            ("a/../../b", 0, None),
            ("a/../../b", 1, Some("../b")),
            ("/a/../../b", 1, Some("../b")),
            ("", 0, None),
            ("a\0b", 0, None),
        ] {
            let expected = shown.map(|shown| shown.as_bytes().to_vec());
            assert_eq!(contained(target.as_bytes(), depth), expected, "{target:?} at depth {depth}");
        }
    }
}
