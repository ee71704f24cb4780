//! Options that every file system is given.

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
];

/// Whether an option is one that every file system is given, or a remark.
pub(super) fn is_generic(name: &str, value: Option<&str>) -> bool {
    // `user` alone is fstab's, `user=NAME` is ours.
    (value.is_none() && GENERIC.contains(&name))
        || name == "comment"
        || name.starts_with("x-")
        || name.starts_with("X-")
}
