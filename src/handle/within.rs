//! A handle for statements that must be done within a time of their own.

use std::time::Duration;

use super::Handle;

/// A handle whose statements have this time; dropped, the handle's own time holds again.
#[derive(Debug)]
pub struct Within<'a> {
    pub(super) handle: &'a mut Handle,
    before: Option<Duration>,
}

impl<'a> Within<'a> {
    pub(super) fn new(handle: &'a mut Handle, time: Duration) -> Self {
        let before = handle.seat.timeout();
        handle.seat.set_timeout(Some(time));
        Within { handle, before }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.handle.seat.set_timeout(self.before);
    }
}
