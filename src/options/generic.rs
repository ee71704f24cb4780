//! Options that every file system is given.

use crate::options::Options;

/// Generic options of mount(8) and fstab(5) that mean nothing here, or what holds anyway.
pub(super) const GENERIC: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "nofail",
    "exec",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "async",
    "sync",
    "dirsync",
    "default_permissions",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "diratime",
    "nodiratime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
    "symfollow",
    "nosymfollow",
    "_rnetdev",
];

/// The labels of SELinux (mount(8)).
const CONTEXTS: &[&str] = &["context", "fscontext", "defcontext", "rootcontext"];

/// Puts a label together again that holds commas and stands in quotes, as mount(8) passes it on.
pub(super) fn with_whole_labels(options: Vec<String>) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for option in options {
        match whole.last_mut().filter(|last| has_open_label(last)) {
            Some(last) => *last = format!("{last},{option}"),
            None => whole.push(option),
        }
    }
    whole
}

fn has_open_label(option: &str) -> bool {
    let label = option.split_once('=').filter(|(name, _)| CONTEXTS.contains(name)).map(|(_, label)| label);
    label.is_some_and(|label| label.starts_with('"') && (label.len() == 1 || !label.ends_with('"')))
}

/// Which uses of a file the kernel is to note (mount(8)). A FUSE file system notes them itself, or not at all: this is what
/// is shown of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessTimes {
    /// The kernel's own choice, which is `relatime`.
    #[default]
    Kernels,
    /// `noatime`
    None,
    /// `relatime`
    Relative,
    /// `strictatime`
    Strict,
}

impl Options {
    /// Takes an option that every file system is given, or a remark; `false` where it is neither.
    pub(super) fn take_generic(&mut self, name: &str, value: Option<&str>) -> bool {
        // `user` alone is fstab's, `user=NAME` is ours.
        let known = (value.is_none() && GENERIC.contains(&name))
            || name == "comment"
            || name.starts_with("x-")
            || name.starts_with("X-");
        if let (true, Some(value)) = (CONTEXTS.contains(&name), value) {
            self.contexts.retain(|(taken, _)| *taken != name);
            self.contexts.push((name.to_owned(), value.trim_matches('"').to_owned()));
            return true;
        }
        match name {
            _ if !known => {}
            "exec" => self.noexec = false,
            "nosymfollow" => self.nosymfollow = true,
            "symfollow" => self.nosymfollow = false,
            "noatime" => self.access_times = AccessTimes::None,
            "relatime" => self.access_times = AccessTimes::Relative,
            "strictatime" => self.access_times = AccessTimes::Strict,
            "atime" | "norelatime" | "nostrictatime" => self.access_times = AccessTimes::Kernels,
            "nodiratime" => self.no_directory_times = true,
            "diratime" => self.no_directory_times = false,
            _ => {}
        }
        known
    }
}
