//! Where the bytes of a file are, while it may be renamed.

use crate::path::RemotePath;
use crate::vfs::error::Error;
use std::fmt;
use std::sync::Arc;

/// Where a file's bytes are to be fetched. Whoever opens a download asks anew, and once more when it is open: the file may be
/// renamed meanwhile, and another have its name.
#[derive(Clone)]
pub(crate) struct Place {
    /// Its path when it was asked for.
    pub(crate) path: RemotePath,
    /// Whether a fresh listing showed it.
    pub(crate) listed: bool,
    settled: Arc<dyn Fn() -> Result<Option<RemotePath>, Error> + Send + Sync>,
}

impl Place {
    /// `settled` gives the path by now, or nothing while that changes.
    pub(crate) fn new(
        path: RemotePath,
        listed: bool,
        settled: impl Fn() -> Result<Option<RemotePath>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { path, listed, settled: Arc::new(settled) }
    }

    /// The path by now; `None` while that changes.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`]: it has none any more.
    pub(crate) fn settled(&self) -> Result<Option<RemotePath>, Error> {
        (self.settled)()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.path)
    }
}
