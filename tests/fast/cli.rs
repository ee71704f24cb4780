//! The program from outside: its grammar, its exit statuses, and whether its documents tell of the same options.

use ftpsfs::options::{self, AccessTimes, OPTIONS};
use proptest::prelude::*;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program with nothing of ours in its environment and no terminal to ask on.
fn ftpsfs(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftpsfs"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn outcome(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_failure_is_one_line_and_an_exit_status() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = format!("ftps://joe@127.0.0.1:{nobody}/");
    for (arguments, status, expected) in [
        (&[][..], 1, "URL"),
        (&["ftps://h/"], 1, "MOUNTPOINT"),
        (&["--frog", "ftps://h/", "/"], 1, "--frog"),
        (&["ftps://joe@h/", "/", "-o", "alow_other"], 1, r#"unknown option "alow_other"; did you mean "allow_other"?"#),
        (&["ftps://joe@h/", "/", "-o", "attr_timeout=soon"], 1, "option attr_timeout: must be a number of seconds"),
        (&["ftp://h/", "/"], 1, "the URL is wrong: ftp:// is not encrypted"),
        (&["ftps://h:99999/", "/"], 1, "the port must be a number from 1 to 65535"),
        (&["ftps://joe@h/../x", "/"], 1, "the directory must not hold .."),
        (&["ftps://h/", "/"], 1, "no user is given"),
        (&["ftpes://joe@h/", "/", "-o", "tls=implicit"], 1, "ftpes:// means explicit TLS"),
        (&["ftps://joe@h/", "/", "-o", "cafile=/dev/null"], 1, "there is no PEM certificate in it"),
        (&["ftps://joe@h/", "/", "-o", "credentials=/nowhere"], 1, "credentials file /nowhere: No such file"),
        (&["ftps://anonymous@h/", "/nowhere"], 32, "mount point /nowhere: there is no such directory"),
        (&["ftps://anonymous@h/", "/dev/null"], 32, "mount point /dev/null: it is not a directory"),
        (&["-o", "user=joe", &refused, "/"], 32, "refused"),
        (&["status", "--frog"], 1, "--frog"),
        (&["status", "/a", "/b"], 1, "unexpected argument '/b'"),
        (&["status", "--json", "--watch"], 1, "cannot be used with"),
        (&["status", "/"], 32, "/ is not an ftpsfs mount"),
        (&["refresh"], 1, "PATH"),
        (&["refresh", "/"], 32, "/ is not in an ftpsfs mount"),
    ] {
        let mut command = ftpsfs(arguments);
        if status == 32 {
            command.env("FTPSFS_PASSWORD", "hunter2");
        }
        let (code, line) = outcome(&mut command);
        assert_eq!(code, status, "{arguments:?}: {line}");
        assert!(line.contains(expected), "{arguments:?}: {line}");
        assert!(line.starts_with("ftpsfs: ") && line.lines().count() == 1, "{arguments:?}: {line}");
    }
}

/// Each option of the table is understood alike in the grammar of ftpsfs(8) and in that of mount.ftpsfs(8).
#[test]
fn both_grammars_read_every_option_alike() {
    let unchanged = format!("{:?}", options::Options::default());
    for known in OPTIONS {
        let values: Vec<&str> = match known.argument {
            None => vec![""],
            Some("N" | "SECONDS") => vec!["=7"],
            Some("N[K|M|G]") => vec!["=7M", "=7m", "=7340032", "=1G"],
            Some("N[K|M|G|T]") => vec!["=17M", "=2G", "=1T"],
            Some("OCTAL") => vec!["=0750", "=750"],
            Some("HASH[;HASH...]") => vec!["=sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
            Some("ZONE") => vec!["=UTC", "=Europe/Berlin", "=+05:30"],
            Some("LEVEL") => vec!["=error", "=info", "=debug", "=trace", "=warn"],
            Some("NAME|auto") => vec!["=windows-1252", "=auto"],
            // The last of them is never the default.
            Some(choices) if choices.contains('|') => choices.split('|').collect(),
            Some(_) => vec!["=a\\,b c"],
        };
        for value in &values {
            let equals = if value.is_empty() || value.starts_with('=') { "" } else { "=" };
            let option = format!("{}{equals}{value}", known.name);
            let [one, other] = [["ftpsfs", "-o", &option, "h:", "/mnt"], ["mount.ftpsfs", "h:", "/mnt", "-o", &option]]
                .map(|line| match ftpsfs::cli::parse(line.map(Into::into)) {
                    Ok(ftpsfs::cli::Wish::Mount(request, _)) => format!("{:?}", request.options),
                    other => panic!("{option}: {other:?}"),
                });
            assert_eq!(one, other, "{option}");
            if Some(value) == values.last() {
                assert_eq!(one == unchanged, ["rw", "soft"].contains(&known.name), "{option}: {one}");
            }
        }
        // What takes a value wants one, and what takes none wants none.
        let wrong = format!("{}{}", known.name, if known.argument.is_some() { "" } else { "=x" });
        for line in [["ftpsfs", "-o", &wrong, "h:", "/mnt"], ["mount.ftpsfs", "h:", "/mnt", "-o", &wrong]] {
            let generic = ["user"].contains(&known.name);
            assert_eq!(ftpsfs::cli::parse(line.map(Into::into)).is_ok(), generic, "{wrong}");
        }
    }
}

#[test]
fn generic_options_are_taken_in_both_grammars_and_the_last_of_two_holds() {
    let generic = "defaults,auto,noauto,user,nouser,users,nousers,owner,noowner,group,nogroup,_netdev,nofail,suid,nosuid,dev,\
                   nodev,sync,async,dirsync,atime,diratime,symfollow,nosymfollow,iversion,noiversion,mand,nomand,silent,loud,lazytime,nolazytime,\
                   comment=a b,x-systemd.automount,x-systemd.requires=a.service,X-mount.mkdir=0755,x-gvfs-hide";
    for (options, expected) in [
        (generic, [false, false, false, false, false]),
        ("noexec,noatime,nodiratime", [true, true, false, false, true]),
        ("noexec,exec,noatime,relatime", [false, false, true, false, false]),
        ("exec,noexec,noatime,atime,strictatime,nodiratime,diratime", [true, false, false, true, false]),
    ] {
        for line in [["ftpsfs", "-o", options, "h:", "/mnt"], ["mount.ftpsfs", "h:", "/mnt", "-o", options]] {
            let Ok(ftpsfs::cli::Wish::Mount(request, _)) = ftpsfs::cli::parse(line.map(Into::into)) else {
                panic!("{line:?}")
            };
            let options = &request.options;
            let times = |wanted| options.access_times == wanted;
            let (none, relative, strict) =
                (times(AccessTimes::None), times(AccessTimes::Relative), times(AccessTimes::Strict));
            assert_eq!([options.noexec, none, relative, strict, options.no_directory_times], expected, "{line:?}");
        }
    }
}

#[test]
fn help_and_version_go_to_standard_output_and_succeed() {
    for (flag, expected) in
        [("--help", "cache_size=N[K|M|G]"), ("-h", "Exit status"), ("--version", "ftpsfs 0."), ("-V", "")]
    {
        let output = ftpsfs(&[flag]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{flag}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected), "{flag}");
    }
}

#[test]
fn a_credentials_file_that_others_may_reach_is_refused_with_its_mode() {
    let directory = Scratch::new("credentials");
    let file = directory.file("secret", "username=joe\npassword=hunter2\n");
    for (mode, refused) in [(0o644, true), (0o640, true), (0o602, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let option = format!("credentials={}", file.display());
        let (code, line) = outcome(&mut ftpsfs(&["-o", &option, "ftps://h/", "/nowhere"]));
        let told = line.contains(&format!("its mode is {mode:04o}"));
        assert_eq!((code, told), if refused { (1, true) } else { (32, false) }, "{mode:o}: {line}");
        assert!(!line.contains("hunter2"));
    }
}

#[test]
fn url_option_and_credentials_file_must_name_the_same_user() {
    let directory = Scratch::new("users");
    let file = directory.file("secret", "username=joe\npassword=hunter2\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let option = format!("credentials={}", file.display());
    let (code, line) = outcome(&mut ftpsfs(&["-o", &option, "ftps://ann@h/", "/"]));
    assert_eq!(code, 1);
    assert_eq!(line, "ftpsfs: the URL says user \"ann\", but the credentials file says \"joe\"\n");
}

/// A server that accepts and says nothing holds ftpsfs up, so that it can be looked at.
#[test]
fn a_password_is_soon_hidden_from_ps_and_from_the_environment() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftps://joe:hunter2@{}/", silent.local_addr().unwrap());
    let mut child = ftpsfs(&["-f", "-o", "timeout=20", &url, "/"])
        .env("FTPSFS_PASSWORD", "hunter3")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let connection = silent.accept().unwrap();
    let of_child = |file: &str| {
        let bytes = fs::read(format!("/proc/{}/{file}", child.id())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (arguments, environment) = (of_child("cmdline"), of_child("environ"));
    drop(connection);
    let (status, mut line) = (child.wait().unwrap(), String::new());
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut line).unwrap();
    assert_eq!(status.code(), Some(32), "{line}");
    assert!(arguments.contains("ftps://joe:xxxxxxx@127.0.0.1"), "{arguments}");
    assert!(!environment.contains("hunter"), "{environment}");
    assert!(line.contains("a password in the URL") && !line.contains("hunter"), "{line}");
}

#[test]
fn what_a_server_says_does_not_drive_the_terminal_or_the_log() {
    let directory = Scratch::new("escapes");
    let (log, point) = (directory.0.join("log"), directory.0.join("mnt"));
    fs::create_dir(&point).unwrap();
    let evil = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftps://anonymous@{}/", evil.local_addr().unwrap());
    let options = format!("timeout=5,log_level=trace,log={}", log.display());
    let child = ftpsfs(&["-f", "-o", &options, &url]).arg(&point).stderr(Stdio::piped()).spawn().unwrap();
    let (mut connection, _) = evil.accept().unwrap();
    let greeting = b"220 \x1b[31m\x07 red\r\n502 \x1b]0;title\x07\xe2\x80\xae no\r\n";
    std::io::Write::write_all(&mut connection, greeting).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap() + &fs::read_to_string(&log).unwrap();
    assert_eq!(output.status.code(), Some(32), "{said}");
    assert!(said.contains(r"\u{1b}[31m\u{7} red") && said.contains(r"\u{1b}]0;title"), "{said}");
    assert!(!said.contains(['\x1b', '\x07', '\u{202e}']), "{said}");
}

#[test]
fn the_documents_tell_of_the_same_commands() {
    let help = |command: &str| String::from_utf8(ftpsfs(&[command, "--help"]).output().unwrap().stdout).unwrap();
    for (command, flags) in [
        ("check", &["write", "limits", "json", "trace"][..]),
        ("status", &["watch", "json", "prometheus"]),
        ("refresh", &[]),
    ] {
        let help = help(command);
        // Of the list below, after the usage.
        let list = help.split_once("Options:").unwrap().1;
        let told =
            list.lines().filter_map(|line| line.split_once("--")?.1.split(' ').next()).filter(|flag| *flag != "help");
        let mut told: Vec<&str> = told.collect();
        let mut flags = flags.to_vec();
        told.sort_unstable();
        flags.sort_unstable();
        assert_eq!(told, flags, "{command}: {help}");
        for (file, form) in [
            ("packaging/man/ftpsfs.8", "\\-\\-"),
            ("packaging/completions/ftpsfs.bash", "--"),
            ("packaging/completions/_ftpsfs", "--"),
            ("packaging/completions/ftpsfs.fish", "--long-option "),
            ("README.md", "--"),
        ] {
            let text = document(file);
            assert!(text.contains(command), "{file}: {command}");
            for flag in &flags {
                assert!(text.contains(&format!("{form}{flag}")), "{file}: {command} {flag}");
            }
        }
    }
}

#[test]
fn the_documents_tell_of_the_same_exit_statuses() {
    let plain =
        |text: &str| text.replace(['`', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let readme = document("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<(&str, &str)> =
        rows.filter(|(status, _)| status.parse::<u8>().is_ok_and(|status| status > 0)).collect();
    assert_eq!(rows.iter().map(|(status, _)| *status).collect::<Vec<_>>(), ["1", "2", "8", "32", "33"]);
    for manual in ["ftpsfs.8", "mount.ftpsfs.8"] {
        let manual = document(&format!("packaging/man/{manual}"));
        for (status, meaning) in &rows {
            let entry = format!(".tp {status} {}", plain(meaning.trim_end_matches(" |")));
            assert!(plain(&manual).contains(&entry), "{entry}");
        }
    }
}

/// What a person sees who looks into a mount that is not well, not only what ftpsfs itself says.
#[test]
fn the_words_that_programs_print_stand_in_the_document() {
    let document = document("docs/troubleshooting.md");
    let (_, rows) = document.split_once("### On this machine").unwrap();
    for words in [
        "Host is down",
        "Connection timed out",
        "Input/output error",
        "Permission denied",
        "no user is given",
        "asking on the terminal failed",
    ] {
        assert!(rows.lines().any(|row| row.starts_with(&format!("| `{words}`"))), "{words}");
    }
}

#[test]
fn the_manual_lists_the_options_that_are_ignored() {
    let manual = document("packaging/man/ftpsfs.8");
    let (_, list) = manual.split_once("Accepted and ignored are\n").unwrap();
    let listed: Vec<&str> = list.lines().map_while(|line| line.strip_prefix(".BR ")).collect();
    let listed = listed.join(" ").replace(['"', ','], " ");
    let listed: Vec<&str> = listed.split_whitespace().collect();
    for name in ["defaults", "noauto", "_netdev", "nofail", "suid", "mand", "symfollow", "lazytime", "comment="] {
        assert!(listed.contains(&name), "{name}");
    }
    for name in listed.iter().filter(|name| !["and", "x-*", "comment=", "."].contains(name)) {
        options::Options::default().add(name).unwrap();
    }
}

/// docs/options.md and the completions are made of the table (`documents.rs`); what a person wrote is compared.
#[test]
fn the_manual_tells_of_the_same_options_and_defaults() {
    let manual = document("packaging/man/ftpsfs.8");
    let (mut found, mut expected) =
        (in_manual(&manual), OPTIONS.iter().map(|known| known.name.to_owned()).collect::<Vec<_>>());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for known in OPTIONS {
        let head = match known.argument {
            None => format!(".B {}\n", known.name),
            Some(argument) => format!(".BI {}= {argument}\n", known.name),
        };
        let (_, entry) = manual.split_once(&head).unwrap_or_else(|| panic!("no entry {head}"));
        let entry = entry.split(".TP").next().unwrap_or_default();
        if let Some(default) = known.default {
            assert!(entry.contains("Default: ") && entry.contains(default), "{}: {entry}", known.name);
        }
    }
    assert!(manual.contains("Default: 33554432 (32M)"));
    assert_eq!(options::Options::default().cache_bytes_max, 33_554_432);
}

/// What README speaks of as an option is one.
#[test]
fn the_readme_names_no_option_that_is_not_there() {
    let readme = document("README.md");
    let named = readme.lines().filter_map(|line| line.strip_prefix("| `")).map(name);
    let unknown: Vec<String> =
        named.filter(|name| !OPTIONS.iter().any(|known| known.name == name) && !name.is_empty()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Entries of the section OPTIONS: `.TP`, then `.BI name= VALUE` or `.B name`.
fn in_manual(text: &str) -> Vec<String> {
    let section = text.split("\n.SH ").find(|section| section.starts_with("OPTIONS\n")).unwrap();
    let entries = section.split(".TP\n").skip(1);
    entries.map(|entry| name(entry.trim_start_matches(".BI ").trim_start_matches(".B "))).collect()
}

/// The letters that an option's name is made of, from the beginning.
fn name(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_' || *letter == '-').collect()
}

pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

proptest! {
    #[test]
    fn split_inverts_join(options in prop::collection::vec(".*", 1..6)) {
        prop_assert_eq!(options::split(&options::join(options.iter().map(String::as_str))), options);
    }

    #[test]
    fn no_url_and_no_option_panics(text in ".*") {
        let _ = ftpsfs::url::Url::parse(&text);
        let _ = ftpsfs::url::Url::parse(&format!("ftps://{text}"));
        let _ = options::Options::default().add(&text);
    }
}

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ftpsfs-cli-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
