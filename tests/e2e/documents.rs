//! Every command of README.md and docs/*.md, in the order in which they stand there, in a mount namespace against a real
//! server: whoever pastes them gets what is said.

use crate::cases::{Case, give};
use crate::fstab::run;
use crate::support::run::shell;
use crate::support::server::{Kind, Spec, USER};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is not run here, by its beginning, and why. One that no document has any more is a failure as well.
const ELSEWHERE: [(&str, &str); 6] = [
    ("make deb", "make package-check runs it"),
    ("make rpm", "make package-check runs it"),
    ("make build", "tests/fast/packaging.rs runs the second half"),
    ("sudo dnf install", "there is no Fedora here"),
    ("sudo apt install", "packaging/check runs it, in a clean root"),
    ("systemctl ", "there is no systemd here: packaging/check starts one in a clean root"),
];

/// The machine of whoever reads: their home, their server by its name, its certificates, and an /etc that may be changed.
const READER: &str = r#"
    mkdir -p "$place/etc/upper" "$place/etc/work" "$place/home/photos"
    mount -t tmpfs tmpfs "$place/etc"; mkdir "$place/etc/upper" "$place/etc/work"
    mount -t overlay -o "lowerdir=/etc,upperdir=$place/etc/upper,workdir=$place/etc/work" overlay /etc
    mount -t tmpfs tmpfs /srv; mount -t tmpfs tmpfs /mnt
    echo "127.0.0.1 files.example" >>/etc/hosts; : >/etc/fstab
    export HOME=$place/home FTPSFS_PASSWORD; cd "$HOME"
    FTPSFS_PASSWORD=$(sed -n 's/^password=//p' "$place/credentials")
    ftpsfs() { case $1 in
        check) shift; command ftpsfs check -o "cafile=$place/ca.pem" "$@" ;;
        *) command ftpsfs -o "cafile=$place/ca.pem" "$@" ;; esac; }
"#;

#[test]
fn every_command_of_the_documents_runs() {
    let case = Case::empty_of(Spec { names: vec!["localhost", "files.example"], ..Spec::new(Kind::Vsftpd, "/") });
    fs::create_dir(case.disk.join("photos")).unwrap();
    give(&case.disk.join("photos"));
    case.put("photos/hello.txt", b"Hello over TLS\n");
    let mut unused: BTreeSet<&str> = ELSEWHERE.iter().map(|(command, _)| *command).collect();
    let mut count = 0;
    for document in documents() {
        let mut script = String::from(READER);
        for line in commands(&document) {
            if let Some((command, _)) = ELSEWHERE.iter().find(|(command, _)| line.starts_with(command)) {
                unused.remove(command);
                continue;
            }
            count += 1;
            script += &for_this_server(&line, case.server.port);
            script.push('\n');
        }
        script += "umount -a -t fuse.ftpsfs; gone\n";
        let ran = run(&case.server, &script);
        assert_eq!(ran.status, 0, "{document}: {ran:?}\n{script}");
    }
    assert!(unused.is_empty(), "no document has {unused:?}");
    assert!(count >= 11, "only {count} commands were found");
}

/// Each in its own shell; zsh's needs a terminal for more than to be read.
#[test]
fn the_completions_answer() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/completions");
    let script = r#"
        cd "$1"; HOME=$(mktemp -d); export HOME; trap 'rm -rf "$HOME"' EXIT
        source ./ftpsfs.bash; COMP_WORDBREAKS=' ='
        compopt() { :; }
        answer() { COMP_LINE=$1 COMP_POINT=${#1}; _ftpsfs; echo "${COMPREPLY[*]}"; }
        answer 'ftpsfs -o tl'; answer 'mount.ftpsfs h: /mnt -o ro,tls='; answer 'mount.ftpsfs -'; answer 'ftpsfs ch'
        answer 'ftpsfs -o cache_dir=/us'; answer 'ftpsfs -o cafile=/etc/fsta'
        for line in 'ftpsfs -o ro,tls=i' 'mount.ftpsfs h: /mnt -o tls_m'; do
            fish --no-config -c 'source ftpsfs.fish; complete -C $argv' "$line"
        done
        zsh -n _ftpsfs
    "#;
    let expected = "tls_min= tls=\nexplicit implicit\n-s -f -n -v -N -o -t -h -V --help --version\ncheck\n/usr\n/etc/fstab\n\
                    ro,tls=implicit\tAUTH TLS after the greeting, or TLS from the first byte\n\
                    tls_min=\tthe oldest version of TLS that is spoken\n\
                    tls_min=1.2\tthe oldest version of TLS that is spoken\n\
                    tls_min=1.3\tthe oldest version of TLS that is spoken\n";
    assert_eq!(shell(script, &[directory]).succeeded(), expected);
}

fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<String> = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(root).unwrap().display().to_string())
        .collect();
    documents.push("README.md".to_owned());
    documents.sort();
    documents
}

/// The lines of the blocks `sh`, and those of blocks `text` that are lines of fstab(5) as the command that adds them.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let mut block = None;
    let mut commands = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(kind) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind) };
        } else if block == Some("sh") {
            commands.push(line.to_owned());
        } else if block == Some("text") && line.starts_with("ftps://") {
            commands.push(format!("echo '{line}' >>/etc/fstab"));
        }
    }
    commands
}

fn for_this_server(line: &str, port: u16) -> String {
    line.replace("joe@files.example", &format!("{USER}@files.example"))
        .replace("//files.example/", &format!("//files.example:{port}/"))
        .replace(&format!("{USER}@files.example/"), &format!("{USER}@files.example:{port}/"))
        .replace("username=joe", &format!("username={USER}"))
        .replace("'username=", "\"username=")
        .replace("password=word\\n'", "password=$FTPSFS_PASSWORD\\n\"")
        .replace("'password=word", "\"password=$FTPSFS_PASSWORD")
        .replace("credentials=/etc/", "cafile=$place/ca.pem,credentials=/etc/")
        .replace("echo 'ftps://", "echo \"ftps://")
        .replace("0  0'", "0  0\"")
}
