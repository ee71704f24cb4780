//! What is made of the one table of options: the lists of the three completions and docs/options.md, which has the long texts
//! of the manual as well. `make documents` writes them; the test fails where a file says something else.

use crate::cli::document;
use ftpsfs::options::{Known, OPTIONS};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

#[test]
fn what_is_made_of_the_options_is_as_it_would_be_made_now() {
    for (file, made) in [
        ("docs/options.md", reference()),
        ("packaging/completions/ftpsfs.bash", between_marks("packaging/completions/ftpsfs.bash", &bash())),
        ("packaging/completions/_ftpsfs", between_marks("packaging/completions/_ftpsfs", &zsh())),
        ("packaging/completions/ftpsfs.fish", between_marks("packaging/completions/ftpsfs.fish", &fish())),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("FTPSFS_TEST_WRITE").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        let differs = there.lines().zip(made.lines()).find(|(there, made)| there != made);
        assert!(there == made, "{file} is not what the options make of it ({differs:?}): run make documents");
    }
}

/// What may stand behind the `=` of an option.
enum Value<'a> {
    None,
    File,
    Directory,
    Choice(Vec<&'a str>),
    Text(&'a str),
}

fn value(known: &Known) -> Value<'_> {
    match known.argument {
        None => Value::None,
        Some("FILE" | "PEM") => Value::File,
        Some("DIR") => Value::Directory,
        Some("LEVEL") => Value::Choice(vec!["error", "warn", "info", "debug", "trace"]),
        // Those that are met most; there are more.
        Some("NAME|auto") => Value::Choice(
            "auto utf-8 windows-1252 windows-1251 ibm866 koi8-r shift_jis gb18030 big5 euc-kr".split(' ').collect(),
        ),
        Some(choices) if choices.contains('|') && !choices.contains('[') => Value::Choice(choices.split('|').collect()),
        Some(argument) => Value::Text(argument),
    }
}

/// The text of `file` with `made` between its two marks.
fn between_marks(file: &str, made: &str) -> String {
    let text = document(file);
    let cut = |mark: &str| text.find(mark).unwrap_or_else(|| panic!("{file} has no line {mark:?}"));
    let (begin, end) = (cut(BEGIN), cut(END));
    format!("{}{BEGIN}\n{made}{}", &text[..begin], &text[end..])
}

const BEGIN: &str = "# Made of the table of options by `make documents`:";
const END: &str = "# As far as it is made.";

fn bash() -> String {
    let mut text = String::from("_ftpsfs_options='\n");
    let mut cases = String::new();
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for known in OPTIONS {
        let name = known.name;
        let _ = writeln!(text, "{name}{}", if known.argument.is_some() { "=" } else { "" });
        match value(known) {
            Value::File => files.push(name),
            Value::Directory => directories.push(name),
            Value::Choice(choices) => {
                let _ = writeln!(cases, "        {name}) echo '-W {}' ;;", choices.join(" "));
            }
            Value::None | Value::Text(_) => {}
        }
    }
    let _ = write!(
        text,
        "'\n\n# What compgen is to be told about the values of an option.\n_ftpsfs_values() {{\n    case $1 in\n        {}) echo \
         '-f' ;;\n        {}) echo '-d' ;;\n{cases}    esac\n}}\n",
        files.join(" | "),
        directories.join(" | ")
    );
    text
}

fn zsh() -> String {
    let line = |known: &Known| {
        let meaning = known.meaning.replace('\'', r"'\''").replace('[', r"\[").replace(']', r"\]").replace(':', r"\:");
        let action = match value(known) {
            Value::None => String::new(),
            Value::File => ":file:_files".to_owned(),
            Value::Directory => ":directory:_directories".to_owned(),
            Value::Choice(choices) => format!(":value:({})", choices.join(" ")),
            Value::Text(argument) => {
                format!(":{}:", argument.split('[').next().unwrap_or_default().to_lowercase())
            }
        };
        format!("        '{}[{meaning}]{action}'", known.name)
    };
    let lines: Vec<String> = OPTIONS.iter().map(line).collect();
    format!("_ftpsfs_options() {{\n    _values -s , 'option' \\\n{}\n}}\n", lines.join(" \\\n"))
}

fn fish() -> String {
    let mut text = String::from("function __ftpsfs_known\n");
    let escaped = |meaning: &str| meaning.replace('\\', r"\\").replace('\'', r"\'");
    for known in OPTIONS {
        let (name, meaning) = (known.name, escaped(known.meaning));
        let equals = if known.argument.is_some() { "=" } else { "" };
        let _ = writeln!(text, "    printf '%s\\t%s\\n' '{name}{equals}' '{meaning}'");
        if let Value::Choice(choices) = value(known) {
            for choice in choices {
                let _ = writeln!(text, "    printf '%s\\t%s\\n' '{name}={choice}' '{meaning}'");
            }
        }
    }
    text + "end\n"
}

/// docs/options.md.
fn reference() -> String {
    let mut text = String::from(
        "<!-- Made by `make documents` of the table of options and of the manual. -->\n# Options\n\n\
         Given with `-o`, or in the fourth field of a line of `/etc/fstab`, separated by commas; `\\,` stands for a comma in a\n\
         value. If an option is given twice, the last one wins. `ftpsfs --help` prints this table.\n\n\
         | option | meaning | default |\n|---|---|---|\n",
    );
    for known in OPTIONS {
        let argument = known.argument.map(|argument| format!("={argument}")).unwrap_or_default();
        let cell = |text: &str| text.replace('|', "\\|");
        let (meaning, default) = (cell(known.meaning), cell(known.default.unwrap_or_default()));
        let _ = writeln!(text, "| [`{}{}`](#{0}) | {meaning} | {default} |", known.name, cell(&argument));
    }
    text.push_str("\n## Each in full\n");
    let manual = document("packaging/man/ftpsfs.8");
    let section = manual.split("\n.SH ").find(|section| section.starts_with("OPTIONS\n")).unwrap();
    let mut entries = section.split("\n.TP\n").skip(1).peekable();
    while let Some(entry) = entries.next() {
        let (head, body) = entry.split_once('\n').unwrap();
        let (body, rest) = match entries.peek() {
            None => body.split_once("\n.PP\n").unwrap_or((body, "")),
            Some(_) => (body, ""),
        };
        let head = markdown(head).replace(['*', '`'], "");
        let name: String = head.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
        let _ = write!(text, "\n### {name}\n\n");
        if head != name {
            let _ = write!(text, "`{head}`\n\n");
        }
        let _ = writeln!(text, "{}", markdown(body));
        if !rest.is_empty() {
            let _ = write!(text, "\n## Of every file system\n\n{}\n", markdown(rest));
        }
    }
    text
}

/// A piece of the manual, of the few macros that it uses.
fn markdown(roff: &str) -> String {
    let mut text = String::new();
    for line in roff.lines() {
        let (macro_name, rest) = match line.strip_prefix('.') {
            Some(line) => line.split_once(' ').unwrap_or((line, "")),
            None => ("", line),
        };
        let words = words(rest);
        let set = |fonts: [char; 2]| {
            let fonts = fonts.iter().cycle();
            let parts: Vec<(char, &str)> = fonts.copied().zip(words.iter().map(String::as_str)).collect();
            joined(&parts)
        };
        let line = match macro_name {
            "" => plain(rest),
            "B" => format!("`{}`", plain(&words.join(" "))),
            "I" => format!("*{}*", plain(&words.join(" "))),
            "PP" | "TP" => "\n".to_owned(),
            "BI" => set(['B', 'B']),
            "BR" => set(['B', 'R']),
            "RB" => set(['R', 'B']),
            "IR" => set(['I', 'R']),
            "RI" => set(['R', 'I']),
            other => panic!("the manual's options use .{other}"),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text.trim().to_owned()
}

/// Parts of one word, each in its font: bold is code here.
fn joined(parts: &[(char, &str)]) -> String {
    let mut text = String::new();
    for (font, part) in parts {
        // Roman again for the rest of the word.
        let (inner, rest) = part.split_once("\\fR").unwrap_or((part, ""));
        let mark = match font {
            'B' => "`",
            'I' => "*",
            _ => "",
        };
        let inner = plain(inner);
        if !mark.is_empty() && text.ends_with(mark) {
            text.truncate(text.len() - mark.len());
            text.push_str(&inner);
        } else {
            text.push_str(mark);
            text.push_str(&inner);
        }
        text.push_str(mark);
        text.push_str(&plain(rest));
    }
    text
}

/// Words of a macro's line; quotes keep spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn plain(roff: &str) -> String {
    roff.replace("\\-", "-").replace("\\e", "\\").replace("\\fR", "").replace("\\fB", "").replace("\\fP", "")
}
