//! The file of ftp(1) and curl: `machine HOST login USER password WORD`, over as many lines as one likes.

use crate::credentials::Credentials;
use crate::secret::Secret;

/// What `text` has for `host`, and for `user` where one is asked for: the first entry that fits. `default` fits every host.
pub(super) fn find(text: &str, host: &str, user: Option<&str>) -> Credentials {
    entries(text)
        .into_iter()
        .find(|entry| {
            let host_fits = entry.machine.as_ref().is_none_or(|machine| machine.eq_ignore_ascii_case(host));
            let login_fits = match (user, entry.login.as_deref()) {
                (Some(user), Some(login)) => user == login,
                _ => true,
            };
            host_fits && login_fits
        })
        .map(|entry| Credentials { user: entry.login, password: entry.password, ..Credentials::default() })
        .unwrap_or_default()
}

#[derive(Default)]
struct Entry {
    /// None: `default`.
    machine: Option<String>,
    login: Option<String>,
    password: Option<Secret>,
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Words { rest: text };
    while let Some(word) = words.next_word() {
        match word.as_str() {
            "machine" => entries.push(Entry { machine: words.value(), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "macdef" => words.skip_macro(),
            "login" | "password" | "account" => {
                let value = words.value();
                match (entries.last_mut(), word.as_str()) {
                    (Some(entry), "login") => entry.login = value,
                    (Some(entry), "password") => entry.password = value.map(Secret::new),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    entries
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// A word that is no value: `#` begins a remark.
    fn next_word(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(remark) => self.rest = remark.find('\n').map_or("", |end| &remark[end..]),
                None => return self.value(),
            }
        }
    }

    /// A word, or what stands in double quotes, where a backslash keeps the next character.
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix('"') {
            Some(quoted) => Some(self.quoted(quoted.to_owned())),
            None => {
                let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                (!word.is_empty()).then(|| word.to_owned())
            }
        }
    }

    fn quoted(&mut self, text: String) -> String {
        let (mut word, mut used, mut keep) = (String::new(), 1, false);
        for character in text.chars() {
            used += character.len_utf8();
            match character {
                '\\' if !keep => keep = true,
                '"' if !keep => break,
                other => {
                    word.push(other);
                    keep = false;
                }
            }
        }
        self.rest = self.rest.get(used..).unwrap_or_default();
        word
    }

    /// A macro goes on to the next empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.find("\n\n").map_or("", |end| &self.rest[end..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_fits_counts() {
        let text = "# remark machine no\nmachine h login joe password pj\nmachine H\n\tlogin ann\n\tpassword \"p \\\"a\"\n\
                    macdef init\nmachine evil login x\n\nmachine other password only\nmachine odd login #ann password #w#\n#machine no\ndefault login anon password mail\n";
        for (host, user, login, password) in [
            ("h", None, Some("joe"), Some("pj")),
            ("h", Some("ann"), Some("ann"), Some("p \"a")),
            ("h", Some("anon"), Some("anon"), Some("mail")),
            ("h", Some("bob"), None, None),
            ("other", Some("bob"), None, Some("only")),
            ("evil", None, Some("anon"), Some("mail")),
            ("odd", None, Some("#ann"), Some("#w#")),
            ("no", None, Some("anon"), Some("mail")),
        ] {
            let found = find(text, host, user);
            assert_eq!(found.user.as_deref(), login, "{host} {user:?}");
            assert_eq!(found.password.as_ref().map(Secret::expose), password.map(str::as_bytes), "{host} {user:?}");
        }
    }
}
