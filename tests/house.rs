//! The rules of the house, read from the source text: layers, wings, doors, imports, and files of a readable length.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

#[test]
fn a_module_names_only_modules_of_the_groups_above_its_own_line() {
    let house = House::read();
    assert_none(house.files.iter().flat_map(|file| house.upward_names(file)));
}

#[test]
fn the_wings_do_not_know_each_other() {
    let house = House::read();
    assert_none(house.files.iter().flat_map(|file| {
        let foreign = match file.module.first().map(String::as_str) {
            Some("ftp") => "vfs",
            Some("vfs") => "ftp",
            _ => return Vec::new(),
        };
        let names = file.paths().into_iter().filter(|path| path.first().is_some_and(|first| first == foreign));
        names.map(|path| format!("{}: names crate::{}", file.path, path.join("::"))).collect()
    }));
}

#[test]
fn a_dependency_has_one_door() {
    let doors: [(&str, &[&str]); 19] = [
        ("fuser", &["src/fuse.rs", "src/fuse/", "src/mount.rs", "src/mount/"]),
        ("rustls", &["src/ftp/tls.rs", "src/ftp/tls/", "src/ftp/stream.rs"]),
        ("webpki_roots", &["src/ftp/tls.rs", "src/ftp/tls/", "src/ftp/stream.rs"]),
        ("base64ct", &["src/ftp/certificate.rs"]),
        ("pkcs8", &["src/config/trust.rs"]),
        ("rustls_native_certs", &["src/ftp/tls/"]),
        ("x509_parser", &["src/ftp/certificate.rs"]),
        ("std::net", &["src/ftp/stream.rs"]),
        ("encoding_rs", &["src/ftp/charset.rs"]),
        ("chardetng", &["src/ftp/charset.rs"]),
        ("jiff", &["src/ftp/time/zone.rs"]),
        ("lru", &["src/vfs/cache.rs", "src/vfs/cache/"]),
        ("clap", &["src/cli.rs"]),
        ("xxhash_rust", &["src/vfs/cache/disk/"]),
        ("landlock", &["src/sandbox.rs"]),
        ("caps", &["src/sandbox.rs"]),
        ("nix", &["src/sys/"]),
        ("seccompiler", &["src/sys/"]),
        ("libc", &["src/errno.rs", "src/sys.rs", "src/sys/"]),
    ];
    assert_none(House::read().files.iter().flat_map(|file| {
        let used = doors.iter().filter(|(name, doors)| {
            let open = doors
                .iter()
                .any(|door| if door.ends_with('/') { file.path.starts_with(door) } else { file.path == *door });
            !open && uses(&file.code, name)
        });
        used.map(|(name, doors)| format!("{}: {name} belongs to {doors:?}", file.path)).collect::<Vec<_>>()
    }));
}

#[test]
fn unsafe_code_lives_in_sys() {
    let is_sys = |file: &File| file.path == "src/sys.rs" || file.path.starts_with("src/sys/");
    let with_unsafe = |file: &&File| !is_sys(file) && words(&file.code_with_tests).any(|word| word == "unsafe");
    assert_none(House::read().files.iter().filter(with_unsafe).map(|file| file.path.clone()));
}

#[test]
fn an_import_names_one_module() {
    assert_none(House::read().files.iter().flat_map(|file| {
        let statements = file.code_with_tests.split(';').filter_map(|statement| {
            let start = statement.rfind("use crate::")?;
            let import: String = statement[start..].split_whitespace().collect::<Vec<_>>().join(" ");
            let tree = import.split_once('{').is_some_and(|(_, tree)| tree.contains("::"));
            (tree || import.starts_with("use crate::{")).then(|| format!("{}: {import}", file.path))
        });
        let climbs = file.code_with_tests.contains("super::super").then(|| format!("{}: super::super", file.path));
        statements.chain(climbs).collect::<Vec<_>>()
    }));
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let long = |file: &&File| file.lines > LINES_MAX;
    let files = House::read().files;
    assert_none(files.iter().filter(long).map(|file| format!("{}: {} lines", file.path, file.lines)));
}

/// The rules see what they are there to see.
#[test]
fn the_check_finds_what_breaks_the_rules() {
    let file = |path: &str, text: &str| File::new(path.into(), text);
    let house = House {
        layers: HashMap::from([
            (vec![], layers("pub mod path;\n\npub mod remote;\n\npub mod ftp;\npub mod vfs;\n")),
            (vec!["ftp".into()], layers("//! Page.\n\nmod reply;\npub mod time;\n\npub mod session;\n")),
        ]),
        files: Vec::new(),
    };
    for (path, text, broken) in [
        ("src/remote.rs", "use crate::path::Name;", false),
        ("src/path.rs", "use crate::remote::Entry;", true),
        ("src/path.rs", "/// [`crate::remote::Entry`]\nstruct A; // crate::remote", false),
        ("src/path.rs", "#[cfg(test)]\nmod tests { use crate::remote::Entry; fn f() { '{'; } }", false),
        ("src/path.rs", "const S: &str = \"crate::remote\";", false),
        ("src/vfs/read.rs", "fn f() -> crate::ftp::time::Clock {}", true),
        ("src/ftp/session.rs", "use crate::ftp::reply::Reply;", false),
        ("src/ftp/session/login.rs", "use crate::ftp::session::Session;\nuse super::Session;", false),
        ("src/ftp/reply.rs", "use crate::ftp::session::Session;", true),
        ("src/ftp/reply.rs", "use super::session::Session;", true),
        ("src/ftp/reply.rs", "use crate::ftp::time::Clock;", true),
        ("src/ftp/reply.rs", "use crate::ftp;", true),
    ] {
        assert_eq!(!house.upward_names(&file(path, text)).is_empty(), broken, "{path}: {text}");
    }
    assert!(
        uses("let n = libc::ENOENT;", "libc")
            && uses("use libc;", "libc")
            && uses("use std::net::TcpStream;", "std::net")
    );
    assert!(!uses("my_libc::x; a::libc::x; libc_x::y;", "libc"));
    let code = code("a \"x\\\"y\" r#\"z\"w\"# '\\'' '\"' &'static b // c\n/* d /* e */ */ f");
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "&", "static", "b", "f"]);
}

struct House {
    /// The `mod` lines of each module that has layers, by its path.
    layers: HashMap<Vec<String>, HashMap<String, usize>>,
    files: Vec<File>,
}

struct File {
    /// From the package's directory on.
    path: String,
    /// `["ftp", "listing", "unix"]`.
    module: Vec<String>,
    lines: usize,
    /// Without comments, texts and tests.
    code: String,
    /// Without comments and texts.
    code_with_tests: String,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        collect(root, &root.join("src"), &mut files);
        assert!(files.len() > 5, "the source was not found");
        let layers_of = |file: &str| layers(&fs::read_to_string(root.join(file)).unwrap());
        let layers = HashMap::from([
            (vec![], layers_of("src/lib.rs")),
            (vec!["ftp".into()], layers_of("src/ftp/mod.rs")),
            (vec!["vfs".into()], layers_of("src/vfs/mod.rs")),
        ]);
        Self { layers, files }
    }

    /// The modules that `file` names and that do not lie below its own.
    fn upward_names(&self, file: &File) -> Vec<String> {
        let mut found = Vec::new();
        for path in file.paths() {
            for (parent, layers) in &self.layers {
                // Whoever is not inside of `parent`, or is its page, is bound by the layers further up only.
                let (Some([own, ..]), Some(named)) =
                    (file.module.strip_prefix(&parent[..]), path.strip_prefix(&parent[..]))
                else {
                    continue;
                };
                let Some(own_layer) = layers.get(own) else { continue };
                let fine = named.first().is_some_and(|named| {
                    named == own || layers.get(named).is_some_and(|named_layer| named_layer < own_layer)
                });
                if !fine {
                    found.push(format!("{}: names crate::{}", file.path, path.join("::")));
                }
            }
        }
        found
    }
}

impl File {
    fn new(path: String, text: &str) -> Self {
        let module = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Vec<String> =
            module.split('/').filter(|part| !["lib", "main"].contains(part)).map(Into::into).collect();
        let code_with_tests = code(text);
        Self { path, module, lines: text.lines().count(), code: without_tests(&code_with_tests), code_with_tests }
    }

    /// Every path in the code that begins with `crate::` or `super::`, from the crate on.
    fn paths(&self) -> Vec<Vec<String>> {
        let parent = self.module.split_last().map_or(&[][..], |(_, parent)| parent);
        let starting_with = |keyword: &'static str, base: Vec<String>| {
            self.code.match_indices(keyword).filter_map(move |(at, _)| {
                let boundary = !self.code[..at]
                    .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
                let mut path = base.clone();
                for part in self.code[at + keyword.len()..].split("::") {
                    let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
                    path.extend((end > 0).then(|| part[..end].to_owned()));
                    if end < part.len() {
                        break;
                    }
                }
                boundary.then_some(path)
            })
        };
        let from_crate = starting_with("crate::", Vec::new());
        from_crate.chain(starting_with("super::", parent.to_vec())).collect()
    }
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push(File::new(name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The groups of `mod` lines, parted by blank lines: each module with the number of its group.
fn layers(text: &str) -> HashMap<String, usize> {
    let mut layers = HashMap::new();
    for (group, paragraph) in text.split("\n\n").enumerate() {
        for line in paragraph.lines() {
            let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
            if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                layers.insert(name.to_owned(), group);
            }
        }
    }
    layers
}

/// Whether `code` names the crate or module `name` from its root.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = &code[..at];
        let after = &code[at + name.len()..];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && before.strip_suffix("::").is_none_or(|path| path.ends_with([' ', '(', '<', '&', '\n']))
            && (after.starts_with("::") || before.ends_with("use ") && after.starts_with([';', ' ']))
    })
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// `text` without comments, and with nothing inside of its strings and character literals.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            string(rest)
        } else if next == 'r'
            && !code.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_')
            && raw_string(rest).is_some()
        {
            raw_string(rest).unwrap()
        } else if next == '\'' {
            character(rest)
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        // Something was here: the words around it stay apart.
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].len() - text[1..].trim_start_matches('#').len();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(1 + hashes + 1 + body.find(&end)? + end.len())
}

/// The length of a character literal, or of the quote alone where it begins a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |end| 3 + end + 1),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => text.len(),
    }
}

/// `code` without what stands in braces after `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let Some((before, after)) = code.split_once("#[cfg(test)]") else { return code.to_owned() };
    let mut depth = 0;
    let end = after.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        (depth == 0 && (c == '}' || c == ';')).then_some(at + 1)
    });
    before.to_owned() + &without_tests(&after[end.unwrap_or(after.len())..])
}

fn assert_none(broken: impl IntoIterator<Item = String>) {
    let broken: Vec<String> = broken.into_iter().collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// A file longer than this is two.
const LINES_MAX: usize = 600;
