//! The command line: `ftpsfs [-f] [-o OPT[,OPT…]] [-v] URL MOUNTPOINT`, `ftpsfs check [-o OPT[,OPT…]] URL`, `ftpsfs status
//! [--watch|--json|--prometheus] [MOUNTPOINT]`, `ftpsfs refresh PATH…` and, by the program's name, `mount.ftpsfs URL MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPT[,OPT…]] [-t TYPE]` and
//! `umount.fuse.ftpsfs [-flnrv] [-N NAMESPACE] [-t TYPE] MOUNTPOINT`, as mount(8) and umount(8) call their helpers.

use crate::check::Check;
use crate::config::Request;
use crate::failure::Failure;
use crate::ftp::check::Wishes;
use crate::inspect::{Form, Inspection};
use crate::options::{self, Options};
use crate::sys;
use crate::url::Url;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use log::LevelFilter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug)]
pub enum Wish {
    /// To mount, and to log up to this level.
    Mount(Box<Request>, LevelFilter),
    /// To check a server.
    Check(Box<Check>),
    /// To show how mounts are.
    Status(Inspection),
    /// To forget what is cached of these paths.
    Refresh(Vec<PathBuf>),
    /// To unmount.
    Unmount(Parting),
    /// To print this and end.
    Print(String),
}

/// What is to be unmounted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Out of sight at once, whoever uses it, and without waiting for what is still to be uploaded.
    pub lazy: bool,
    /// Requests that hang are given up.
    pub force: bool,
    /// The mount namespace it is mounted in, where that is not ours.
    pub namespace: Option<PathBuf>,
}

/// Reads a command line, of which the first word is the program's name.
///
/// # Errors
///
/// A usage [`Failure`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Wish, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
    let unmounts = program.as_encoded_bytes().starts_with(b"umount.");
    let helps = program.as_encoded_bytes().starts_with(b"mount.");
    // Helpers are given places, one of which may be called so.
    if !unmounts && !helps {
        match arguments.get(1).and_then(|first| first.to_str()) {
            Some("check") => return check(arguments),
            Some("status") => return status(arguments),
            Some("refresh") => return refresh(arguments),
            _ => {}
        }
    }
    let grammar = match (unmounts, helps) {
        (true, _) => unmount_grammar(),
        (_, true) => mount_grammar(),
        _ => grammar(),
    };
    let matches = match grammar.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Wish::Print(error.to_string()));
        }
        Err(error) => return Err(one_line(&error)),
    };
    if unmounts {
        return Ok(Wish::Unmount(Parting {
            mountpoint: matches.get_one::<PathBuf>("mountpoint").cloned().unwrap_or_default(),
            lazy: matches.get_flag("lazy"),
            force: matches.get_flag("force"),
            namespace: matches.get_one::<String>("namespace").map(|typed| namespace(typed)),
        }));
    }
    let url = matches.get_one::<String>("url").map(String::as_str).unwrap_or_default();
    // Of one grammar each: -f is `foreground` in one and `fake` in the other.
    let flag = |name: &str| matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default();
    let request = Request {
        url: Url::parse(url).map_err(|error| Failure::usage(format!("the URL is wrong: {error}")))?,
        mountpoint: matches.get_one::<PathBuf>("mountpoint").cloned().unwrap_or_default(),
        options: options(&matches, Options { debug: flag("debug"), sloppy: flag("sloppy"), ..Options::default() })?,
        foreground: flag("foreground"),
        fake: flag("fake"),
        namespace: matches.try_get_one::<String>("namespace").ok().flatten().map(|typed| namespace(typed)),
    };
    hide_password(url, &request.url);
    let level = request.level(matches.get_count("verbose"));
    Ok(Wish::Mount(Box::new(request), level))
}

/// Without status 1, which says that a server works with warnings.
fn check(mut arguments: Vec<OsString>) -> Result<Wish, Failure> {
    arguments.remove(1);
    let matches = match check_grammar().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Wish::Print(error.to_string())),
        Err(error) => return Err(Failure::system(one_line(&error))),
    };
    let typed: Vec<String> = matches.get_many("options").unwrap_or_default().cloned().collect();
    let url = matches.get_one::<String>("url").map(String::as_str).unwrap_or_default();
    let request = Request {
        url: Url::parse(url).map_err(|error| Failure::system(format!("the URL is wrong: {error}")))?,
        mountpoint: PathBuf::new(),
        options: options(&matches, Options::default()).map_err(Failure::system)?,
        foreground: true,
        fake: false,
        namespace: None,
    };
    hide_password(url, &request.url);
    let wishes = Wishes { write: matches.get_flag("write"), limits: matches.get_flag("limits") };
    let (json, trace) = (matches.get_flag("json"), matches.get_flag("trace"));
    Ok(Wish::Check(Box::new(Check { request, typed, json, trace, wishes })))
}

fn status(mut arguments: Vec<OsString>) -> Result<Wish, Failure> {
    arguments.remove(1);
    let matches = match status_grammar().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Wish::Print(error.to_string())),
        Err(error) => return Err(one_line(&error)),
    };
    let forms = [("watch", Form::Watch), ("json", Form::Json), ("prometheus", Form::Prometheus)];
    let form = forms.into_iter().find(|(name, _)| matches.get_flag(name)).map_or(Form::Text, |(_, form)| form);
    Ok(Wish::Status(Inspection { mountpoint: matches.get_one::<PathBuf>("mountpoint").cloned(), form }))
}

fn refresh(mut arguments: Vec<OsString>) -> Result<Wish, Failure> {
    arguments.remove(1);
    let matches = match refresh_grammar().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Wish::Print(error.to_string())),
        Err(error) => return Err(one_line(&error)),
    };
    Ok(Wish::Refresh(matches.get_many::<PathBuf>("path").unwrap_or_default().cloned().collect()))
}

/// A process of the namespace, or its file (mount(8)).
fn namespace(typed: &str) -> PathBuf {
    match typed.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("/proc/{typed}/ns/mnt").into(),
        false => typed.into(),
    }
}

fn options(matches: &ArgMatches, mut options: Options) -> Result<Options, Failure> {
    for argument in matches.get_many::<String>("options").unwrap_or_default() {
        options.add(argument).map_err(Failure::usage)?;
    }
    Ok(options)
}

/// ps(1) shows arguments to everybody.
fn hide_password(typed: &str, url: &Url) {
    if let Some(range) = &url.password_at {
        // Without /proc there is no ps(1) either.
        let _ = sys::hide_in_arguments(typed.as_bytes(), range);
    }
}

fn grammar() -> Command {
    let arg = |name: &'static str, short: char, help: &'static str| Arg::new(name).short(short).help(help);
    Command::new("ftpsfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Mounts an FTPS server (FTP over TLS) as a directory.")
        .override_usage(
            "ftpsfs [-f] [-o OPTION[,OPTION...]] [-v] URL MOUNTPOINT\n       ftpsfs check [-o OPTION[,OPTION...]] URL\n       \
             ftpsfs status [--watch|--json|--prometheus] [MOUNTPOINT]\n       ftpsfs refresh PATH...\n\n\
             See ftpsfs check --help, ftpsfs status --help and ftpsfs refresh --help.",
        )
        .args(what_and_where())
        .args([
            arg("options", 'o', "Options, see below; \\, stands for a comma in a value")
                .value_name("OPTION")
                .action(ArgAction::Append)
                .allow_hyphen_values(true),
            arg("foreground", 'f', "Stay in the foreground").long("foreground").action(ArgAction::SetTrue),
            arg("debug", 'd', "As -o debug").long("debug").action(ArgAction::SetTrue),
            arg("verbose", 'v', "Log more; twice: everything").long("verbose").action(ArgAction::Count),
        ])
        .args_override_self(true)
        .after_help(after_help())
}

fn check_grammar() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("ftpsfs check")
        .about("Says whether a mount of an FTPS server would work, and what to do where it would not.")
        .override_usage("ftpsfs check [-o OPTION[,OPTION...]] [--write] [--limits] [--json] [--trace] URL")
        .args([
            Arg::new("url").value_name("URL").required(true).help("ftps://[USER@]HOST[:PORT]/[DIRECTORY]"),
            Arg::new("options")
                .short('o')
                .value_name("OPTION")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("Options as for a mount, see ftpsfs --help"),
            flag("write", "Store a scratch file, rename and delete it"),
            flag("limits", "Open connections until the server refuses one (8, or connections= up to 16)"),
            flag("json", "Report for programs"),
            flag("trace", "Show the dialogue with the server on standard error, with times"),
        ])
        .args_override_self(true)
        .after_help("Exit status: 0 good, 1 works with warnings, 2 cannot work.")
}

fn status_grammar() -> Command {
    let form = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).long(name).help(help).action(ArgAction::SetTrue).group("form")
    };
    Command::new("ftpsfs status")
        .about("Shows how mounts are: the server, connections, caches, transfers and uploads.")
        .override_usage("ftpsfs status [--watch|--json|--prometheus] [MOUNTPOINT]")
        .args([
            Arg::new("mountpoint")
                .value_name("MOUNTPOINT")
                .value_parser(value_parser!(PathBuf))
                .help("Where it is mounted; without it all mounts are shown, each in short"),
            form("watch", 'w', "Show it anew each second, until Ctrl-C"),
            form("json", 'j', "The whole document, for programs"),
            form("prometheus", 'p', "In the text exposition format of Prometheus"),
        ])
        .after_help("Only root and the user who mounted it may ask.")
}

fn refresh_grammar() -> Command {
    Command::new("ftpsfs refresh")
        .about("Has a mount forget what is cached of files and directories, and of all below them.")
        .override_usage("ftpsfs refresh PATH...")
        .args([Arg::new("path")
            .value_name("PATH")
            .required(true)
            .num_args(1..)
            .value_parser(value_parser!(PathBuf))
            .help("A file or a directory in a mount, or the mount point")])
        .after_help("Only root and the user who mounted it may ask.")
}

/// The two arguments that both grammars have.
fn what_and_where() -> [Arg; 2] {
    [
        Arg::new("url")
            .value_name("URL")
            .required(true)
            .help("ftps://[USER@]HOST[:PORT]/[DIRECTORY], or [USER@]HOST:[DIRECTORY]"),
        Arg::new("mountpoint")
            .value_name("MOUNTPOINT")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("The directory to mount on"),
    ]
}

/// As mount(8) describes its helpers.
fn mount_grammar() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).help(help).action(ArgAction::SetTrue)
    };
    Command::new("mount.ftpsfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Mounts an FTPS server (FTP over TLS) as a directory. mount(8) calls it.")
        .override_usage("mount.ftpsfs URL MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTION[,OPTION...]] [-t TYPE]")
        .args(what_and_where())
        .args([
            Arg::new("options")
                .short('o')
                .value_name("OPTION")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("Options, see below; \\, stands for a comma in a value"),
            flag("sloppy", 's', "Leave options out that are not known, with a warning"),
            flag("fake", 'f', "Look whether all is right, and do not mount"),
            flag("mtab", 'n', "Accepted and ignored"),
            Arg::new("verbose").short('v').help("Log more; twice: everything").action(ArgAction::Count),
            Arg::new("namespace").short('N').value_name("NAMESPACE").help("A process, or a file, of a mount namespace"),
            Arg::new("type").short('t').value_name("TYPE").help("Accepted and ignored"),
        ])
        .args_override_self(true)
        .after_help(after_help())
}

/// As umount(8) describes its helpers.
fn unmount_grammar() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).help(help).action(ArgAction::SetTrue)
    };
    Command::new("umount.fuse.ftpsfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Unmounts, and waits until what was closed is on the server. umount(8) calls it.")
        .args([
            Arg::new("mountpoint")
                .value_name("MOUNTPOINT")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Where it is mounted"),
            flag("force", 'f', "Give up requests that hang"),
            flag("lazy", 'l', "Unmount at once and do not wait"),
            flag("mtab", 'n', "Accepted and ignored"),
            flag("readonly", 'r', "Accepted and ignored"),
            flag("verbose", 'v', "Accepted and ignored"),
            Arg::new("namespace").short('N').value_name("NAMESPACE").help("A process, or a file, of a mount namespace"),
            Arg::new("type").short('t').value_name("TYPE").help("Accepted and ignored"),
        ])
        .args_override_self(true)
}

fn after_help() -> String {
    format!(
        "Options of -o:\n{}\nThe generic options of fstab(5) are accepted as well.\n\n\
         The password comes from the URL, the credentials file, password_command, FTPSFS_PASSWORD,\n\
         systemd's credential ftpsfs.password, netrc or the terminal, in this order.\n\n\
         Exit status: 0 mounted, 1 usage, 2 system error, 8 interrupted, 32 mount failure, 33 login refused.",
        options::help()
    )
}

/// What clap says before its first empty line, and where to read on.
fn one_line(error: &clap::Error) -> Failure {
    let mut text = error.to_string();
    for context in [ContextKind::InvalidArg, ContextKind::InvalidValue] {
        // A server in the wrong place may come with a password.
        if let Some(ContextValue::String(typed)) = error.get(context)
            && typed.contains('@')
        {
            text = text.replace(typed, "…@…");
        }
    }
    let first = text.split("\n\n").next().unwrap_or_default();
    let words = first.trim_start_matches("error: ").split_whitespace();
    Failure::usage(format!("{}; see ftpsfs --help", words.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish, Failure> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_may_stand_anywhere() {
        for line in ["ftpsfs -f -o uid=5 ftps://h/ /mnt", "ftpsfs ftps://h/ /mnt -o uid=4,ro -f -o uid=5"] {
            let Ok(Wish::Mount(request, level)) = wish(line) else { panic!("{line}") };
            assert!(request.foreground && request.options.uid == Some(5));
            assert_eq!((request.mountpoint.as_path(), level), (Path::new("/mnt"), LevelFilter::Info));
        }
        let Ok(Wish::Mount(request, LevelFilter::Debug)) = wish("ftpsfs -d ftps://h/ /mnt") else { panic!() };
        assert!(request.options.debug);
        assert!(matches!(wish("ftpsfs -vv ftps://h/ /mnt"), Ok(Wish::Mount(_, LevelFilter::Trace))));
    }

    #[test]
    fn mount_calls_its_helper_with_a_grammar_of_its_own() {
        for line in [
            "/sbin/mount.ftpsfs ftps://h/ /mnt -s -v -f -n -N 12 -o rw,uid=5,frog -t fuse.ftpsfs",
            "mount.fuse.ftpsfs -fnsv -o rw -o frog,uid=5 -N /proc/12/ns/mnt ftps://h/ /mnt",
        ] {
            let Ok(Wish::Mount(request, LevelFilter::Debug)) = wish(line) else { panic!("{line}") };
            assert!(request.fake && !request.foreground && !request.options.read_only, "{line}");
            assert_eq!(request.namespace.as_deref(), Some(Path::new("/proc/12/ns/mnt")));
            assert_eq!(request.options.uid, Some(5));
            assert!(request.options.left_out[0].contains("unknown option \"frog\""), "{:?}", request.options.left_out);
        }
        let Ok(Wish::Mount(request, LevelFilter::Info)) = wish("mount.ftpsfs h:dir /mnt") else { panic!() };
        assert!(!request.fake && request.namespace.is_none());
    }

    #[test]
    fn umount_calls_its_helper_with_options_on_either_side() {
        for line in ["/sbin/umount.fuse.ftpsfs /mnt -l -t fuse.ftpsfs", "umount.ftpsfs -n -v -l /mnt"] {
            let Ok(Wish::Unmount(parting)) = wish(line) else { panic!("{line}") };
            assert_eq!(parting, Parting { mountpoint: "/mnt".into(), lazy: true, force: false, namespace: None });
        }
        let Ok(Wish::Unmount(parting)) = wish("umount.fuse.ftpsfs /mnt -N 12") else { panic!("-N") };
        assert_eq!(parting.namespace.as_deref(), Some(Path::new("/proc/12/ns/mnt")));
        assert!(wish("umount.fuse.ftpsfs").is_err());
    }

    #[test]
    fn a_wrong_command_line_is_one_line() {
        for (line, expected) in [
            ("ftpsfs", "URL"),
            ("ftpsfs ftps://h/", "MOUNTPOINT"),
            ("ftpsfs --frog ftps://h/ /mnt", "--frog"),
            ("ftpsfs ftps://h/ /mnt more", "more"),
            ("ftpsfs /mnt /mnt ftps://joe:hunter2@h/", "unexpected argument '…@…'"),
            ("ftpsfs ftps://h/ /mnt joe:hunter2@host:dir", "unexpected argument '…@…'"),
            ("mount.ftpsfs check /mnt more", "unexpected argument 'more'"),
            ("ftpsfs -o alow_other ftps://h/ /mnt", "allow_other"),
            ("ftpsfs dir /mnt", "ftps://"),
            ("mount.ftpsfs ftps://h/ /mnt -o rw,alow_other", "did you mean \"allow_other\""),
            ("mount.ftpsfs ftps://h/", "MOUNTPOINT"),
            ("mount.ftpsfs ftps://h/ /mnt -d", "-d"),
        ] {
            let failure = wish(line).expect_err(line);
            assert!(failure.message.contains(expected) && !failure.message.contains("hunter2"), "{failure}");
            assert_eq!(failure.message.lines().count(), 1, "{failure}");
            assert_eq!(failure.status.code(), 1);
        }
    }

    #[test]
    fn help_tells_of_every_option() {
        let Ok(Wish::Print(help)) = wish("ftpsfs --help") else { panic!() };
        for known in options::OPTIONS {
            assert!(help.contains(&format!("  {}", known.name)), "{}", known.name);
        }
    }
}
