//! Who logs in, and with which password: the sources in their order.

use crate::credentials::{Credentials, Sources};
use crate::failure::Failure;
use crate::options::Options;
use crate::secret::Secret;
use crate::url::Url;

/// What servers that know anonymous accounts want to see (RFC 1635).
pub(super) const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// One account, however often it is named; where nobody names one, netrc(5) may.
pub(super) fn user(url: &Url, options: &Options, file: &Credentials, sources: &Sources) -> Result<String, Failure> {
    let named = [
        ("the URL", url.user.as_deref()),
        ("the option user=", options.user.as_deref()),
        ("the credentials file", file.user.as_deref()),
    ];
    let mut named = named.iter().filter_map(|(place, user)| user.map(|user| (place, user)));
    let Some((place, user)) = named.next() else {
        let login = sources.netrc(&url.host, None).map_err(Failure::usage)?.user;
        return login.ok_or_else(|| {
            Failure::usage(
                "no user is given: write ftps://USER@HOST/, user=USER or username=USER in a credentials file (anonymous \
                 is one, too)",
            )
        });
    };
    match named.find(|(_, other)| *other != user) {
        Some((other_place, other)) => {
            Err(Failure::usage(format!("{place} says user {user:?}, but {other_place} says {other:?}")))
        }
        None => Ok(user.to_owned()),
    }
}

/// What was given for this mount comes before what lies around: URL, credentials file, command; then environment,
/// systemd, netrc(5); in the end the terminal.
pub(super) fn password(
    url: &Url,
    options: &Options,
    file: Credentials,
    sources: &Sources,
    user: &str,
) -> Result<Secret, Failure> {
    if url.password.is_some() {
        log::warn!(
            "a password in the URL is open to everybody until ftpsfs has hidden it: better put it into a file of mode 0600 \
             and mount with credentials=FILE"
        );
    }
    let given = url.password.clone().or(file.password);
    let given = match (given, &options.password_command) {
        // What it asks may not be there yet: another try may mend that.
        (None, Some(command)) => Some((sources.run)(command).map_err(Failure::system)?),
        (given, _) => given,
    };
    if let Some(password) = given.or_else(|| sources.environment.clone()) {
        return no_line_break(password);
    }
    if let Some(password) = sources.of_systemd("password").map_err(Failure::usage)? {
        return no_line_break(password);
    }
    if let Some(password) = sources.netrc(&url.host, Some(user)).map_err(Failure::usage)?.password {
        return no_line_break(password);
    }
    if matches!(user, "anonymous" | "ftp") {
        return Ok(Secret::new(ANONYMOUS_PASSWORD));
    }
    (sources.ask)(&format!("Password of {user} on {}", url.host)).map_err(|error| {
        Failure::usage(format!(
            "no password for {user} on {}: give credentials=FILE, password_command=COMMAND or set FTPSFS_PASSWORD; asking \
             on the terminal failed: {error}",
            url.host
        ))
    })
}

/// The passphrase of the key in `file`; `None` where it would have to be asked for and nobody is to be.
pub(super) fn passphrase(
    given: Option<Secret>,
    sources: &Sources,
    file: &str,
    may_ask: bool,
) -> Result<Option<Secret>, Failure> {
    let given = match given {
        Some(passphrase) => Some(passphrase),
        None => sources.of_systemd("passphrase").map_err(Failure::usage)?,
    };
    if given.is_some() || !may_ask {
        return Ok(given);
    }
    (sources.ask)(&format!("Passphrase of {file}")).map(Some).map_err(|error| {
        Failure::usage(format!(
            "no passphrase for {file}: write passphrase=WORD into the credentials file; asking on the terminal failed: \
             {error}"
        ))
    })
}

fn no_line_break(password: Secret) -> Result<Secret, Failure> {
    match password.expose().iter().any(|byte| b"\0\r\n".contains(byte)) {
        true => Err(Failure::usage("the password holds a line break, which FTP cannot carry")),
        false => Ok(password),
    }
}
