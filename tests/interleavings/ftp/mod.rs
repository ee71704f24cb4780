//! The pool, with everything around it as it is but the sessions.

pub(crate) use ftpsfs::ftp::{breaker, door, error, reply, server, stream};

#[path = "../../../src/ftp/pool.rs"]
pub(crate) mod pool;
pub(crate) mod session;
