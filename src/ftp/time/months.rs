//! The names of months, as `ls` writes them in the languages of servers.

/// The month (1..=12) that `word` names: in English, in another language, or as a number with the sign for a month
/// behind it (`11月`). A dot at the end does not matter, nor does case.
///
/// A word that is no UTF-8 is taken for Latin-1.
pub(super) fn number(word: &[u8]) -> Option<u32> {
    match word {
        [a, b, c] if word.is_ascii() => english([a, b, c].map(u8::to_ascii_lowercase)),
        _ => None,
    }
    .or_else(|| foreign(word))
}

fn english(name: [u8; 3]) -> Option<u32> {
    Some(match &name {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

fn foreign(word: &[u8]) -> Option<u32> {
    if !(2..=WORD_BYTES_MAX).contains(&word.len()) {
        return None;
    }
    let word = match std::str::from_utf8(word) {
        Ok(text) => text.to_lowercase(),
        Err(_) => word.iter().map(|&byte| char::from(byte)).collect::<String>().to_lowercase(),
    };
    let word = word.trim_end_matches('.');
    if let Some(number) = word.strip_suffix(['月', '월']) {
        return number.parse().ok().filter(|month| (1..=12).contains(month));
    }
    let index = NAMES.iter().position(|names| names.split(' ').any(|name| name == word))?;
    u32::try_from(index + 1).ok()
}

/// `september`, and the longest in Cyrillic letters.
const WORD_BYTES_MAX: usize = 24;

/// What else than English a month is called, short and long: in German, Austrian, French, Italian, Spanish, Portuguese,
/// Dutch, the Scandinavian languages, Finnish, Icelandic, Polish, Czech, Hungarian, Turkish, Lithuanian, Slovenian, Russian,
/// Ukrainian and Greek. Where a name means two months, the language with more speakers has it.
const NAMES: [&str; 12] = [
    "januar jän jänner january janv janvier gen gennaio ene enero janeiro tammi sty led ledna oca sau янв січ ιαν",
    "februar februari february fév févr fev fevr feb febrero febbraio helmi lut úno února şub vas фев лют φεβ",
    "mär märz mrz march mars marzo março mrt maart maalis marts bře března márc kov мар бер μαρ",
    "april avr avril aprile abr abril huhti kwi dub dubna ápr nis bal апр кві απρ",
    "mai mag maggio mayo maio mei maj touko maí kvě května máj geg май мая тра μαϊ μάι",
    "juni june juin giu giugno junio junho kesä jún cze čer čen haz bir июн чер ιουν",
    "juli july juil jui juillet lug luglio julio julho heinä júl lip čec čvc tem lie июл лип ιουλ",
    "august aoû août aou aout ago agosto elo ágú ágs sie srp srpna ağu avg rgp авг сер αυγ",
    "sept september septembre set settembre septiembre setembro syys szept wrz zář září eyl rgs сен вер σεπ",
    "okt oktober october octobre ott ottobre octubre out outubro loka paź paz říj října eki spa окт жов οκτ",
    "november novembre noviembre novembro marras nóv lis kas lap ноя лис νοε",
    "dez dezember december déc décembre dic dicembre diciembre dezembro joulu des desember gru pro ara grd дек гру δεκ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_of_many_languages_are_known() {
        for (word, month) in [
            ("Jan", 1),
            ("DEC", 12),
            ("déc.", 12),
            ("Févr", 2),
            ("Mär", 3),
            ("MÄRZ", 3),
            ("août", 8),
            ("okt", 10),
            ("gru", 12),
            ("дек", 12),
            ("МАЙ", 5),
            ("11月", 11),
            ("1월", 1),
            ("szept.", 9),
        ] {
            assert_eq!(number(word.as_bytes()), Some(month), "{word}");
        }
        for (word, month) in [(&b"f\xe9v"[..], 2), (b"M\xc4R", 3), (b"ao\xfbt", 8), (b"d\xe9c.", 12)] {
            assert_eq!(number(word), Some(month), "{word:?}");
        }
        for word in ["", ".", "Foo", "13月", "0月", "x月", "total", "januaryjanuaryjanuaryjanuary", "jan feb"] {
            assert_eq!(number(word.as_bytes()), None, "{word}");
        }
    }
}
