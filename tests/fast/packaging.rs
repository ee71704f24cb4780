//! What packages and `make install` consist of, as far as no package has to be built for it: packaging/check does that.

use crate::cli::document;
use ftpsfs::failure::Status;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `sudo make install` ran cargo, which is not in the path that sudo(8) gives.
#[test]
fn install_copies_what_was_built_and_needs_no_cargo() {
    let place = Scratch::new("install");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["Makefile", "Cargo.toml", "README.md", "docs", "packaging"] {
        symlink(root.join(part), place.0.join(part)).unwrap();
    }
    let install = || {
        let mut make = Command::new("make");
        make.args(["install", "CARGO=false", "DESTDIR=installed"]).current_dir(&place.0);
        make.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap()
    };
    let nothing = install();
    assert!(!nothing.status.success());
    assert!(said(&nothing).contains("run `make build` first"), "{}", said(&nothing));
    let built = place.0.join("target/release");
    fs::create_dir_all(&built).unwrap();
    fs::write(built.join("ftpsfs"), "the program").unwrap();
    fs::set_permissions(built.join("ftpsfs"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(built.join("LICENCES-OF-LIBRARIES"), "the licences").unwrap();
    let installed = install();
    assert!(installed.status.success(), "{}", said(&installed));
    for (file, text) in [
        ("usr/local/bin/ftpsfs", "the program"),
        ("usr/local/share/doc/ftpsfs/LICENCES-OF-LIBRARIES", "the licences"),
        ("usr/local/lib/systemd/system/ftpsfs@.service", "ExecStart=/usr/local/bin/ftpsfs"),
    ] {
        let path = place.0.join("installed").join(file);
        assert!(fs::read_to_string(&path).unwrap().contains(text), "{file}");
    }
}

/// A wrong password was tried 8,640 times a day, which locks accounts.
#[test]
fn the_units_try_nothing_again_that_no_try_mends() {
    let statuses = format!("RestartPreventExitStatus={} {}\n", Status::Usage.code(), Status::Login.code());
    for unit in ["ftpsfs@.service", "user-ftpsfs@.service"] {
        let text = document(&format!("packaging/systemd/{unit}"));
        assert!(text.contains(&statuses), "{unit}");
        // systemd takes a backslash away that stands in no quotes.
        assert!(text.contains("#     OPTIONS='"), "{unit}");
    }
}

/// Without `_netdev` systemd orders a mount before local-fs.target (systemd.mount(5)), and so before the network it waits for.
#[test]
fn the_example_of_an_automount_is_one_of_the_network() {
    let unit = document("packaging/systemd/srv-files.mount");
    let options = unit.lines().find_map(|line| line.strip_prefix("Options=")).unwrap();
    for option in ["_netdev", "nofail"] {
        assert!(options.split(',').any(|given| given == option), "{options}");
    }
}

/// The lock of a journal stays when nothing waits in it, and the purge told of content that was not on its server.
#[test]
fn a_purge_keeps_what_was_not_uploaded_and_nothing_else() {
    let place = Scratch::new("purge");
    let kept = place.0.join("ftpsfs");
    let script = document("packaging/debian/postrm").replace("/var/lib/ftpsfs", kept.to_str().unwrap());
    let purge = || Command::new("sh").args(["-c", &script, "postrm", "purge"]).output().unwrap();
    let file = |name: &str, text: &str| {
        let path = kept.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    fs::create_dir_all(kept.join("recovery")).unwrap();
    file("known_servers", "h");
    file("journal/joe@h%3a21%00%2f/lock", "");
    file("journal/long/er/lock", "");
    let purged = purge();
    assert!(purged.status.success() && said(&purged).is_empty() && !kept.exists(), "{}", said(&purged));
    // What waits stays with its lock, and what is called as a lock is may be somebody's.
    file("journal/joe@h/lock", "");
    file("journal/joe@h/0000000000000001.content", "the only copy");
    file("journal/ann@h/lock", "");
    file("recovery/lock", "");
    let purged = purge();
    assert!(purged.status.success() && said(&purged).contains("not on its server"), "{}", said(&purged));
    let left = ["journal/joe@h/lock", "journal/joe@h/0000000000000001.content", "recovery/lock"];
    assert!(left.iter().all(|file| kept.join(file).exists()) && !kept.join("journal/ann@h").exists());
}

/// A `/` or `&` in DEBFULLNAME was part of a command of sed(1).
#[test]
fn a_maintainer_may_be_called_anything() {
    let deb = document("packaging/deb");
    let lines: Vec<&str> = deb.lines().filter(|line| line.contains("escaped")).collect();
    let place = Scratch::new("maintainer");
    fs::create_dir(place.0.join("debian")).unwrap();
    for name in ["A/B & C\\D <a@b>", "plain <a@b>"] {
        fs::write(place.0.join("debian/control"), "Maintainer: @MAINTAINER@\n").unwrap();
        let script = format!("set -eu; maintainer=$1 build=.\n{}", lines.join("\n"));
        let ran = Command::new("sh").args(["-c", &script, "sh", name]).current_dir(&place.0).output().unwrap();
        assert!(ran.status.success(), "{}", said(&ran));
        assert_eq!(fs::read_to_string(place.0.join("debian/control")).unwrap(), format!("Maintainer: {name}\n"));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ftpsfs-packaging-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
