//! What a person may paste once a server is known to work: commands and a line for fstab(5).

use crate::options;
use crate::url::Url;
use std::path::Path;

/// How long the line for fstab(5) tries again while the network is not there yet.
const MOUNT_TIMEOUT: &str = "mount_timeout=45";

/// What was checked, and by whom.
#[derive(Debug)]
pub struct Checked<'a> {
    /// As it was typed.
    pub url: &'a Url,
    /// Who logged in, wherever that was named.
    pub user: &'a str,
    /// The port, where it is not the usual one.
    pub port: Option<u16>,
    /// The account needs no password.
    pub anonymous: bool,
    /// `-o`, as it was typed.
    pub options: &'a [String],
    /// The working directory: what is named from there is not there when the machine starts.
    pub here: &'a Path,
    /// The user and the group who checked, where that was not root.
    pub user_and_group: Option<(u32, u32)>,
}

/// What may be pasted.
#[derive(Debug, PartialEq, Eq)]
pub struct Paste {
    /// Commands of root, before the line works: they make the mount point and ask for the file with the password.
    pub prepare: String,
    /// Mounts by hand: root after `prepare`, another user in their own directory.
    pub command: String,
    /// The line for /etc/fstab.
    pub fstab: String,
    /// Who gets at the files by that line.
    pub note: String,
}

impl Paste {
    /// For what was checked.
    pub fn new(checked: &Checked<'_>) -> Self {
        let given = checked.options.iter().filter(|option| !option.is_empty()).map(String::as_str);
        let given = given.collect::<Vec<_>>().join(",");
        let options: Vec<String> = options::split(&given).into_iter().filter(|option| !option.is_empty()).collect();
        let has = |names: &[&str]| options.iter().any(|option| names.contains(&name_of(option).as_str()));
        // Root has neither this user's netrc(5) nor whatever else named the account.
        let url = if has(&["user"]) { checked.url.shown.clone() } else { checked.url.shown_with(checked.user) };
        let name = name(checked);
        let (file, point) = (format!("/etc/ftpsfs/{name}"), format!("/mnt/{name}"));
        let needs_file = !checked.anonymous && !has(&["credentials", "password_command"]);
        let mut line: Vec<String> = Vec::new();
        line.extend(needs_file.then(|| format!("credentials={file}")));
        line.extend(options.iter().map(|option| absolute(option, checked.here)));
        line.extend((!has(&["allow_other"])).then(|| "allow_other".to_owned()));
        if let Some((user, group)) = checked.user_and_group.filter(|_| !has(&["uid", "gid", "idmap"])) {
            line.extend([format!("uid={user}"), format!("gid={group}")]);
        }
        let line = options::join(line.iter().map(String::as_str));
        let timeout = if has(&["mount_timeout", "delay_connect"]) { "" } else { MOUNT_TIMEOUT };
        let ends = ["_netdev,nofail,x-systemd.automount", timeout];
        let line = [&[line.as_str()][..], &ends].concat();
        let line = line.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",");
        let make = format!("mkdir -p {point}");
        let mount = |place: &str| {
            let options = if given.is_empty() { String::new() } else { format!("-o {} ", quoted(&given)) };
            format!("ftpsfs {options}{} {place}", quoted(&url))
        };
        Self {
            prepare: if needs_file { format!("{make} && {}", ask(&file)) } else { make },
            command: match checked.user_and_group {
                None => mount(&point),
                Some(_) => format!("mkdir -p ~/{name} && {}", mount(&format!("~/{name}"))),
            },
            fstab: format!("{}  {point}  ftpsfs  {}  0  0", in_fstab(&url), in_fstab(&line)),
            note: match checked.user_and_group {
                None => "allow_other lets every user of this machine read; uid=N,gid=N lets one write, umask=077 keeps all \
                         others out"
                    .to_owned(),
                Some(_) => "first and the line are for root; uid= and gid= are yours, so that you may write; allow_other lets every user of this machine \
                            read, umask=077 keeps all others out"
                    .to_owned(),
            },
        }
    }
}

/// Of the mount point and of the file with the password: another account has others.
fn name(checked: &Checked<'_>) -> String {
    let user = if checked.anonymous { String::new() } else { format!("{}@", checked.user) };
    let port = checked.port.map(|port| format!("_{port}")).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let name = format!("{user}{}{port}", checked.url.host);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// By the shell itself, whichever it is, so that the password is in no list of processes and in no history; a file that is
/// there stays as it is.
fn ask(file: &str) -> String {
    format!(
        "{{ [ -e {file} ] || (trap 'stty echo' EXIT; trap 'exit 1' INT; stty -echo; printf 'Password: '; \
         IFS= read -r word; echo; install -D -m 600 /dev/null {file} && printf 'password=%s\\n' \"$word\" >{file}); }}"
    )
}

/// An option's name in the one spelling.
fn name_of(option: &str) -> String {
    option.split('=').next().unwrap_or_default().replace('-', "_")
}

/// `name=FILE` with the file's absolute path.
fn absolute(option: &str, here: &Path) -> String {
    match option.split_once('=') {
        Some((name, path)) if options::names_a_place(name) && !path.starts_with('/') && !path.is_empty() => {
            format!("{name}={}", here.join(path).display())
        }
        _ => option.to_owned(),
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,=+%".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// fstab(5): spaces, tabs and backslashes are written in octal.
fn in_fstab(text: &str) -> String {
    text.replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011").replace('#', r"\043")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paste(url: &str, user: &str, options: &[&str], of_user: bool) -> Paste {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let url = Url::parse(url).unwrap();
        let port = url.port.filter(|port| *port != 21);
        Paste::new(&Checked {
            url: &url,
            user,
            port,
            anonymous: user == "ftp",
            options: &options,
            here: Path::new("/etc"),
            user_and_group: of_user.then_some((5, 6)),
        })
    }

    #[test]
    fn what_is_pasted_is_quoted_for_its_place() {
        let pasted = paste("ftps://joe@h/it's", "joe", &["ro,cafile=my ca.pem", "cache-dir=c"], false);
        assert_eq!(
            pasted.prepare,
            r#"mkdir -p /mnt/joe@h && { [ -e /etc/ftpsfs/joe@h ] || (trap 'stty echo' EXIT; trap 'exit 1' INT; stty -echo; printf 'Password: '; IFS= read -r word; echo; install -D -m 600 /dev/null /etc/ftpsfs/joe@h && printf 'password=%s\n' "$word" >/etc/ftpsfs/joe@h); }"#
        );
        assert_eq!(pasted.command, r"ftpsfs -o 'ro,cafile=my ca.pem,cache-dir=c' 'ftps://joe@h/it'\''s' /mnt/joe@h");
        assert_eq!(
            pasted.fstab,
            r"ftps://joe@h/it's  /mnt/joe@h  ftpsfs  credentials=/etc/ftpsfs/joe@h,ro,cafile=/etc/my\040ca.pem,cache-dir=/etc/c,allow_other,_netdev,nofail,x-systemd.automount,mount_timeout=45  0  0"
        );
        let pasted = paste("ftps://ftp@h/", "ftp", &["mount_timeout=5,allow-other"], false);
        assert_eq!(pasted.prepare, "mkdir -p /mnt/h");
        assert_eq!(
            pasted.fstab,
            "ftps://ftp@h/  /mnt/h  ftpsfs  mount_timeout=5,allow-other,_netdev,nofail,x-systemd.automount  0  0"
        );
    }

    /// The login of ~/.netrc is no business of root's: the line had no user, and root's mount ended with "no user is given".
    #[test]
    fn the_line_names_the_account_wherever_it_was_found() {
        for (url, user, options, pasted) in [
            ("ftps://h/", "joe", &[][..], "ftps://joe@h/"),
            ("ftps://h/", "a@b:c d", &[], "ftps://a%40b%3Ac%20d@h/"),
            ("ftps://joe:word@h/", "joe", &[], "ftps://joe@h/"),
            ("h:dir", "joe", &[], "joe@h:dir"),
            ("ftps://h/", "joe", &["user=joe"], "ftps://h/"),
            ("ftps://h/", "joe", &["credentials=/c"], "ftps://joe@h/"),
        ] {
            let paste = paste(url, user, options, false);
            assert_eq!(paste.fstab.split("  ").next(), Some(pasted), "{url}");
            assert!(paste.command.contains(&format!(" {pasted} ")), "{}", paste.command);
        }
    }

    /// A file that would hold another password won over the command.
    #[test]
    fn a_password_that_has_its_place_is_not_asked_for() {
        for option in ["credentials=/c", "password_command=pass show ftp", "password-command=x"] {
            let paste = paste("ftps://joe@h/", "joe", &[option], false);
            assert_eq!(paste.prepare, "mkdir -p /mnt/joe@h", "{option}");
            assert!(!paste.fstab.contains("credentials=/etc/ftpsfs"), "{}", paste.fstab);
        }
    }

    /// A second account on the same host truncated the first one's password, and was mounted over it.
    #[test]
    fn another_account_or_port_has_a_file_and_a_mount_point_of_its_own() {
        for (url, user, name) in [
            ("ftps://joe@h/", "joe", "joe@h"),
            ("ftps://ann@h:21/", "ann", "ann@h"),
            ("ftps://ann@h:2121/", "ann", "ann@h_2121"),
            ("ftps://ftp@h/", "ftp", "h"),
            ("ftps://a%2Fb%20c@[::1]/", "a/b c", "a_b_c@__1"),
        ] {
            let paste = paste(url, user, &["ro"], false);
            assert!(paste.prepare.starts_with(&format!("mkdir -p /mnt/{name}")), "{}", paste.prepare);
            assert!(paste.fstab.contains(&format!("  /mnt/{name}  ")), "{}", paste.fstab);
            assert_eq!(paste.fstab.contains(&format!("credentials=/etc/ftpsfs/{name},")), user != "ftp");
        }
    }

    /// Whoever checks wants to get at the files.
    #[test]
    fn a_user_mounts_at_home_by_hand_and_owns_what_root_mounts() {
        let pasted = paste("ftps://joe@h/", "joe", &["ro"], true);
        assert_eq!(pasted.command, "mkdir -p ~/joe@h && ftpsfs -o ro ftps://joe@h/ ~/joe@h");
        assert!(pasted.fstab.contains(",allow_other,uid=5,gid=6,"), "{}", pasted.fstab);
        assert!(!paste("ftps://joe@h/", "joe", &["uid=7"], true).fstab.contains("uid=5"));
    }
}
