//! The commas of `-o`.

/// Parts `argument` at its commas. `\,` stands for a comma and `\\` for a backslash; another `\` is itself.
pub fn split(argument: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next_if(|next| matches!(next, ',' | '\\'))).flatten();
        match (escaped, character, parts.last_mut()) {
            (None, ',', _) => parts.push(String::new()),
            (Some(literal), _, Some(part)) | (None, literal, Some(part)) => part.push(literal),
            (_, _, None) => unreachable!("there is always a last part"),
        }
    }
    parts
}

/// Puts options together so that [`split`] gives them back.
pub fn join<'a>(options: impl IntoIterator<Item = &'a str>) -> String {
    let escape = |option: &str| option.replace('\\', r"\\").replace(',', r"\,");
    options.into_iter().map(escape).collect::<Vec<_>>().join(",")
}
