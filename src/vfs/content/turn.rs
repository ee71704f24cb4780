//! How much those hold together who wait for the network.

use crate::deadline;
use crate::vfs::content::Shared;
use crate::vfs::error::Error;

/// What all readers that wait for the network hold of blocks together (bytes). One alone may hold more.
const WAITING_BYTES_MAX: u64 = 16 << 20;
/// A reader's share of what readers may hold together.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    bytes: u64,
}

impl<'a> Turn<'a> {
    pub(super) fn take(shared: &'a Shared, bytes: u64) -> Result<Self, Error> {
        let mut state = shared.state.lock();
        while state.waiting_bytes > 0 && state.waiting_bytes + bytes > WAITING_BYTES_MAX {
            if !deadline::wait(&shared.reader_done, &mut state) {
                return Err(Error::timed_out());
            }
        }
        state.waiting_bytes += bytes;
        Ok(Self { shared, bytes })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().waiting_bytes -= self.bytes;
        self.shared.reader_done.notify_all();
    }
}
