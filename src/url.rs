//! The URL of a mount: `ftps://` or `ftpes://`, `[user[:password]@]host[:port][/directory]` (RFC 1738 section 3.2,
//! RFC 3986 for the escapes); or, as scp(1) and fstab(5) have it, `[user@]host:directory`.

use crate::ftp::settings::Directory;
use crate::secret::Secret;
use std::fmt;
use std::ops::Range;

/// A URL, taken apart and decoded. Neither `Debug` nor [`Url::shown`] holds the password.
#[derive(Debug, Clone)]
pub struct Url {
    /// `ftps` or `ftpes`.
    pub scheme: Scheme,
    /// The account, decoded.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Secret>,
    /// A DNS name, or an address without brackets.
    pub host: String,
    /// The port, where one was written.
    pub port: Option<u16>,
    /// Where on the server the mount begins.
    pub directory: Directory,
    /// The URL as it was written, without `:password`.
    pub shown: String,
    /// The bytes of the written URL that are the password, for hiding them.
    pub password_at: Option<Range<usize>>,
}

/// What the URL wishes of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Explicit TLS, unless the port or `tls=` says otherwise.
    Ftps,
    /// Explicit TLS, whatever the port.
    Ftpes,
}

/// Why a text is not the URL of a mount. Never quotes what may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Url {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// [`Error`] says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.chars().any(char::is_control) {
            return Err(Error::new("it holds a control character"));
        }
        if !text.contains("://") {
            return short_form(text);
        }
        let (scheme, rest) = scheme(text)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, host_port) = match authority.rsplit_once('@') {
            Some((login, host_port)) => (Some(login), host_port),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port).map_err(|error| hint_at_password(error, login, path))?;
        let (user, password) = login.map_or(Ok((None, None)), user_and_password)?;
        let password_at = password_range(text, rest, login);
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port,
            directory: directory(path)?,
            shown: without(text, password_at.as_ref()),
            password_at,
        })
    }
}

impl Url {
    /// As it was written, without the password, and with `user` where no user was written.
    pub fn shown_with(&self, user: &str) -> String {
        match (&self.user, self.shown.split_once("://")) {
            (Some(_), _) => self.shown.clone(),
            (None, Some((scheme, rest))) => format!("{scheme}://{}@{rest}", escaped(user)),
            (None, None) => format!("{user}@{}", self.shown),
        }
    }
}

/// With `%` and two digits for what a part of a URL cannot hold.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// `[user@]host:directory`, every character for itself: `host:dir` is from the login's directory, `host:/dir` from the
/// server's root.
fn short_form(text: &str) -> Result<Url, Error> {
    let start = text.find('[').filter(|&open| text.get(..open).is_some_and(|before| !before.contains(':')));
    let inside = start.and_then(|open| Some(open + text.get(open..)?.find(']')?));
    let colon = text.get(inside.unwrap_or(0)..).and_then(|rest| rest.find(':')).map(|at| inside.unwrap_or(0) + at);
    let colon = colon.ok_or_else(|| Error::new("it must be ftps://user@host/dir or user@host:dir"))?;
    let (login, path) = text.split_at(colon);
    let path = path.get(1..).unwrap_or_default();
    if path.split_once('@').is_some_and(|(_, host)| host.contains(':')) {
        return Err(Error::new("a password has no place in host:dir (and @ before : needs the form ftps://)"));
    }
    let (user, host) = match login.rsplit_once('@') {
        Some(("", _)) => return Err(Error::new("the user is missing before the @")),
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, login),
    };
    let (host, _) = host_and_port(host)?;
    Ok(Url {
        scheme: Scheme::Ftps,
        user,
        password: None,
        host,
        port: None,
        directory: named(path.as_bytes())?,
        shown: text.to_owned(),
        password_at: None,
    })
}

fn scheme(text: &str) -> Result<(Scheme, &str), Error> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Error::new("it must begin with ftps://, as in ftps://user@host/dir"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "ftps" => Ok((Scheme::Ftps, rest)),
        "ftpes" => Ok((Scheme::Ftpes, rest)),
        "ftp" => Err(Error::new("ftp:// is not encrypted: ftpsfs mounts ftps:// only")),
        "sftp" => Err(Error::new("sftp:// is SSH, another protocol: sshfs mounts it")),
        _ => Err(Error::new("the scheme must be ftps:// or ftpes://")),
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), Error> {
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (host, after) =
            inside.split_once(']').ok_or_else(|| Error::new("a ] is missing after the IPv6 address"))?;
        if !host.contains(':') || !host.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) {
            return Err(Error::new("there must be an IPv6 address between [ and ]"));
        }
        match after.strip_prefix(':') {
            None if !after.is_empty() => return Err(Error::new("after ] only :port or /directory may follow")),
            port => (host, port),
        }
    } else {
        match text.split_once(':') {
            Some((_, more)) if more.contains(':') => {
                return Err(Error::new("write an IPv6 address in brackets: [::1]"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    check_host(host)?;
    Ok((host.to_owned(), port.map(self::port).transpose()?))
}

fn check_host(host: &str) -> Result<(), Error> {
    if host.is_empty() {
        return Err(Error::new("the host is missing"));
    }
    if !host.is_ascii() {
        return Err(Error::new("write the host in its ASCII form (xn--…)"));
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
        return Err(Error::new("the host holds a character that no host name has"));
    }
    Ok(())
}

fn port(text: &str) -> Result<u16, Error> {
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(Error::new("the port must be a number from 1 to 65535")),
    }
}

/// A password with a raw `/` ends the authority early, and what is wrong then looks like a port.
fn hint_at_password(error: Error, login: Option<&str>, path: &str) -> Error {
    if login.is_none() && path.contains('@') {
        return Error::new("a / in the user or password must be written %2F");
    }
    error
}

fn user_and_password(login: &str) -> Result<(Option<String>, Option<Secret>), Error> {
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    if user.is_empty() {
        return Err(Error::new("the user is missing before the @"));
    }
    let user = String::from_utf8(decoded(user, "user")?).map_err(|_| Error::new("the user must be UTF-8"))?;
    let password = password.map(|password| decoded(password, "password")).transpose()?;
    Ok((Some(user), password.map(Secret::new)))
}

/// Where the raw password stands in `text`, of which `rest` is the part after `://`.
fn password_range(text: &str, rest: &str, login: Option<&str>) -> Option<Range<usize>> {
    let login = login?;
    let colon = login.find(':')?;
    let start = text.len() - rest.len();
    Some(start + colon + 1..start + login.len())
}

fn without(text: &str, password_at: Option<&Range<usize>>) -> String {
    let Some(range) = password_at else { return text.to_owned() };
    let before = text.get(..range.start.saturating_sub(1)).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    format!("{before}{after}")
}

/// `/dir` is from the login's directory; `//dir` and `/%2Fdir` are from the server's root (RFC 1738 section 3.2.2).
fn directory(path: &str) -> Result<Directory, Error> {
    if path.contains(['?', '#']) {
        return Err(Error::new("write ? as %3F and # as %23 in the directory"));
    }
    named(&decoded(path.strip_prefix('/').unwrap_or(path), "directory")?)
}

fn named(decoded: &[u8]) -> Result<Directory, Error> {
    let names: Vec<&[u8]> =
        decoded.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) {
        return Err(Error::new("the directory must not hold .."));
    }
    let joined = names.join(&b'/');
    Ok(match decoded.first() {
        Some(b'/') => Directory::Absolute([&b"/"[..], &joined].concat()),
        _ => Directory::FromLogin(joined),
    })
}

/// Decodes `%41` and the like; NUL, CR and LF cannot travel in an FTP command and are refused.
fn decoded(text: &str, part: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => hex(rest.next()).zip(hex(rest.next())).map(|(high, low)| high * 16 + low).ok_or_else(|| {
                Error(format!("a % in the {part} must be followed by two hex digits (write % itself as %25)"))
            })?,
            plain => plain,
        };
        if b"\0\r\n".contains(&byte) {
            return Err(Error(format!("the {part} holds the byte %{byte:02X}, which FTP cannot carry")));
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl Error {
    fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_is_taken_apart_and_decoded() {
        let whole = url("ftpes://jo%40e:p%3Aw%2f%25@files.example:2121/a%20b/c");
        assert_eq!(whole.scheme, Scheme::Ftpes);
        assert_eq!(whole.user.as_deref(), Some("jo@e"));
        assert_eq!(whole.password.as_ref().map(Secret::expose), Some(&b"p:w/%"[..]));
        assert_eq!((whole.host.as_str(), whole.port), ("files.example", Some(2121)));
        assert_eq!(whole.directory, Directory::FromLogin(b"a b/c".to_vec()));
        let bare = url("FTPS://host");
        assert_eq!((bare.scheme, bare.user, bare.port), (Scheme::Ftps, None, None));
        assert_eq!(url("ftps://[2001:db8::1]:990/").host, "2001:db8::1");
        assert_eq!(url("ftps://joe:p@ss@host/").password.as_ref().map(Secret::expose), Some(&b"p@ss"[..]));
        assert_eq!(url("ftps://joe:@host/").password.as_ref().map(Secret::expose), Some(&b""[..]));
    }

    #[test]
    fn the_directory_is_from_the_login_unless_it_says_absolute() {
        for (path, expected) in [
            ("", Directory::FromLogin(b"".to_vec())),
            ("/", Directory::FromLogin(b"".to_vec())),
            ("/a/./b//c/", Directory::FromLogin(b"a/b/c".to_vec())),
            ("//", Directory::Absolute(b"/".to_vec())),
            ("//a", Directory::Absolute(b"/a".to_vec())),
            ("/%2Fa/b", Directory::Absolute(b"/a/b".to_vec())),
            ("/%FF", Directory::FromLogin(b"\xff".to_vec())),
            ("/-a b,c", Directory::FromLogin(b"-a b,c".to_vec())),
        ] {
            assert_eq!(url(&format!("ftps://host{path}")).directory, expected, "{path}");
        }
    }

    #[test]
    fn host_and_directory_may_be_written_as_scp_has_them() {
        for (text, user, host, directory) in [
            ("h:", None, "h", Directory::FromLogin(b"".to_vec())),
            ("joe@h.example:a b/c%20", Some("joe"), "h.example", Directory::FromLogin(b"a b/c%20".to_vec())),
            ("joe@corp@h:/srv//x/", Some("joe@corp"), "h", Directory::Absolute(b"/srv/x".to_vec())),
            ("h:/", None, "h", Directory::Absolute(b"/".to_vec())),
            ("joe@[2001:db8::1]:dir", Some("joe"), "2001:db8::1", Directory::FromLogin(b"dir".to_vec())),
            ("h:a:b@c", None, "h", Directory::FromLogin(b"a:b@c".to_vec())),
        ] {
            let url = url(text);
            assert_eq!((url.user.as_deref(), url.host.as_str()), (user, host), "{text}");
            assert_eq!((url.directory, url.shown.as_str(), url.port), (directory, text, None), "{text}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let text = "ftps://joe:hunter2@host:2121/dir";
        let url = url(text);
        assert_eq!(url.shown, "ftps://joe@host:2121/dir");
        assert_eq!(&text[url.password_at.clone().unwrap()], "hunter2");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (text, expected) in [
            ("host", "ftps://user@host/dir or user@host:dir"),
            ("/dir", "ftps://user@host/dir or user@host:dir"),
            ("joe:hunter2@host:dir", "a password has no place"),
            ("@host:dir", "the user is missing"),
            (":dir", "the host is missing"),
            ("host:a/../b", ".."),
            ("::1:dir", "the host is missing"),
            ("[::1:dir", "] is missing"),
            ("[host]:dir", "an IPv6 address between"),
            ("ftp://host/", "not encrypted"),
            ("sftp://host/", "SSH"),
            ("https://host/", "the scheme must be"),
            ("ftps:///dir", "the host is missing"),
            ("ftps://joe@/dir", "the host is missing"),
            ("ftps://@host/", "the user is missing"),
            ("ftps://host:0/", "the port must be"),
            ("ftps://host:65536/", "the port must be"),
            ("ftps://host:+21/", "the port must be"),
            ("ftps://host:/", "the port must be"),
            ("ftps://::1/", "in brackets"),
            ("ftps://[::1/", "] is missing"),
            ("ftps://[host]/", "an IPv6 address between"),
            ("ftps://[::1]x/", "after ]"),
            ("ftps://h st/", "no host name has"),
            ("ftps://hôst/", "xn--"),
            ("ftps://host/a/../b", ".."),
            ("ftps://host/%2e%2e", ".."),
            ("ftps://host/%0d%0aDELE", "%0D"),
            ("ftps://host/%00", "%00"),
            ("ftps://jo%0ae@host/", "the user holds"),
            ("ftps://joe:hunter2%0a@host/", "the password holds"),
            ("ftps://joe:hunter2%2@host/", "two hex digits"),
            ("ftps://joe:hunter2/x@host/", "%2F"),
            ("ftps://host/%zz", "two hex digits"),
            ("ftps://host/a?b", "%3F"),
            ("ftps://host/a\nb", "control character"),
        ] {
            let error = Url::parse(text).map(|url| url.shown).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
