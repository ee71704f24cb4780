//! Decimal numbers in the server's text.

#![deny(clippy::indexing_slicing)]

use std::str::FromStr;

/// Reads decimal digits, and nothing but digits: no sign, no space. `None` also where they are too many.
pub(crate) fn number<N: FromStr>(digits: &[u8]) -> Option<N> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_only_and_fits() {
        assert_eq!(number::<u8>(b"0255"), Some(255));
        for bad in [&b""[..], b"256", b"+1", b"-1", b" 1", b"1 ", b"\xd9\xa1"] {
            assert_eq!(number::<u8>(bad), None, "{bad:?}");
        }
    }
}
