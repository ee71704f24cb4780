//! Whom to believe and who we are: the options about certificates, seen together.

use crate::failure::Failure;
use crate::ftp::settings::{Identity, Trust};
use crate::options::{Options, Roots};
use crate::secret::Secret;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, SecretDocument};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The roots of all systems together take less than 1 MiB.
const PEM_BYTES_MAX: u64 = 16 << 20;
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const ENCRYPTED_KEY: (&str, &str) = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");

/// What makes the server believed.
pub(super) fn trust(options: &Options, known_servers: impl FnOnce() -> std::path::PathBuf) -> Result<Trust, Failure> {
    let roots = roots(options)?;
    let named = [
        ("insecure-no-verify", options.insecure_no_verify),
        ("tofu", options.tofu),
        ("pin", !options.pins.is_empty()),
        ("cafile, capath or roots", roots.is_some()),
    ];
    let named: Vec<&str> = named.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match named[..] {
        [] => Ok(Trust::WebPki),
        ["insecure-no-verify"] => {
            log::warn!(
                "insecure-no-verify: anybody between here and the server can read and change everything, the password \
                 included"
            );
            Ok(Trust::Anything)
        }
        ["tofu"] => Ok(Trust::FirstUse(options.known_servers.clone().unwrap_or_else(known_servers))),
        [name, other, ..] if name != "pin" => Err(Failure::usage(format!("give either {name} or {other}, not both"))),
        ["pin", ..] => Ok(Trust::Pinned { pins: options.pins.clone(), roots: roots.map(Box::new) }),
        _ => Ok(roots.unwrap_or(Trust::WebPki)),
    }
}

fn roots(options: &Options) -> Result<Option<Trust>, Failure> {
    let mut pem = Vec::new();
    if let Some(file) = &options.cafile {
        pem = read("cafile", file)?;
        if !holds(&pem, CERTIFICATE) {
            return Err(wrong("cafile", file, &"there is no PEM certificate in it"));
        }
    }
    if let Some(directory) = &options.capath {
        pem.extend(read_all(directory)?);
    }
    match (options.roots, pem.is_empty()) {
        (Some(_), false) => Err(Failure::usage("give either cafile and capath or roots, not both")),
        (Some(Roots::WebPki), true) => Ok(Some(Trust::WebPki)),
        (Some(Roots::System), true) => Ok(Some(Trust::System)),
        (None, false) => Ok(Some(Trust::Pem(pem))),
        (None, true) => Ok(None),
    }
}

/// The certificates in the files of a directory; other files may be there as well.
fn read_all(directory: &Path) -> Result<Vec<u8>, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| wrong("capath", directory, &error))?;
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    let mut pem = Vec::new();
    for file in files {
        let text = read("capath", &file)?;
        if holds(&text, CERTIFICATE) {
            pem.extend(text);
            pem.push(b'\n');
        }
    }
    match pem.is_empty() {
        true => Err(wrong("capath", directory, &"there is no PEM certificate in it")),
        false => Ok(pem),
    }
}

/// The client's certificate and key; `passphrase` is asked for that of the key, where it has one. Where it knows none the key is
/// left closed.
pub(super) fn identity(
    options: &Options,
    passphrase: impl FnOnce(&str) -> Result<Option<Secret>, Failure>,
) -> Result<Option<Identity>, Failure> {
    let (certificate, key) = match (&options.cert, &options.key) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(Failure::usage("key= needs the certificate as well: cert=FILE")),
        (Some(certificate), key) => (certificate, key.as_ref().unwrap_or(certificate)),
    };
    let certificates = read("cert", certificate)?;
    if !holds(&certificates, CERTIFICATE) {
        return Err(wrong("cert", certificate, &"there is no PEM certificate in it"));
    }
    let text = Zeroizing::new(read("key", key)?);
    let encrypted = between(&text, ENCRYPTED_KEY);
    let is_old_form = holds(&text, "Proc-Type: 4,ENCRYPTED");
    if is_old_form || (encrypted.is_none() && !holds(&text, "PRIVATE KEY-----")) {
        let what = if is_old_form { "its encryption is OpenSSL's old form" } else { "there is no PEM key in it" };
        let cure = "; openssl pkcs8 -topk8 writes one that can be read";
        return Err(wrong("key", key, &format!("{what}{cure}")));
    }
    let key = match encrypted {
        Some(encrypted) => match decrypt(encrypted, key, passphrase)? {
            Some(key) => key,
            None => return Ok(None),
        },
        None => {
            check_mode(key)?;
            Secret::new(text.to_vec())
        }
    };
    Ok(Some(Identity { certificates, key }))
}

fn decrypt(
    pem: &str,
    file: &Path,
    passphrase: impl FnOnce(&str) -> Result<Option<Secret>, Failure>,
) -> Result<Option<Secret>, Failure> {
    let (_, document) = SecretDocument::from_pem(pem).map_err(|error| wrong("key", file, &error))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| wrong("key", file, &error))?;
    let Some(passphrase) = passphrase(&file.display().to_string())? else { return Ok(None) };
    let clear = info.decrypt(passphrase.expose()).map_err(|_| {
        wrong("key", file, &"the passphrase does not open it, or its encryption is too old (openssl pkcs8 -topk8)")
    })?;
    let pem = clear.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| wrong("key", file, &error))?;
    Ok(Some(Secret::new(pem.as_bytes())))
}

/// A group may have a key in clear, as Debian's `ssl-cert` does.
fn check_mode(file: &Path) -> Result<(), Failure> {
    let mode = fs::metadata(file).map_err(|error| wrong("key", file, &error))?.mode() & 0o7777;
    match mode & 0o007 {
        0 => Ok(()),
        _ => Err(wrong("key", file, &format!("its mode is {mode:04o}, so that everybody may reach the key"))),
    }
}

fn between<'a>(text: &'a [u8], (begin, end): (&str, &str)) -> Option<&'a str> {
    let text = str::from_utf8(text).ok()?;
    let start = text.find(begin)?;
    let length = text.get(start..)?.find(end)? + end.len();
    text.get(start..start + length)
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| wrong(option, path, &error))
}

fn holds(text: &[u8], words: &str) -> bool {
    text.windows(words.len()).any(|window| window == words.as_bytes())
}

fn wrong(option: &str, path: &Path, what: &dyn Display) -> Failure {
    Failure::usage(format!("{option} {}: {what}", path.display()))
}
