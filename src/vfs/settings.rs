//! What the wing is told: caches, times and ownership.

use std::time::Duration;

/// The file system's settings. Validated by whoever builds it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many bytes of file content are kept in memory at most, read-ahead included.
    pub cache_bytes_max: usize,
    /// How long what is known of a file is believed.
    pub attr_timeout: Duration,
    /// How long a listing is believed, also about names that it does not hold.
    pub dir_timeout: Duration,
    /// Who owns everything.
    pub uid: u32,
    /// The group of everything.
    pub gid: u32,
    /// Permission bits that are taken away from what the server says or, where it says nothing, from 0666 and 0777.
    pub umask: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes_max: 32 << 20,
            attr_timeout: Duration::from_secs(30),
            dir_timeout: Duration::from_secs(30),
            uid: 0,
            gid: 0,
            umask: 0o022,
        }
    }
}
