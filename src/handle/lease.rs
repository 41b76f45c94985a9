//! A link for one handle, by wish.

use std::ops::{Deref, DerefMut};

use super::{Handle, aio};

/// A handle with a link to itself, whatever its statements do: nobody else's statement runs on that
/// connection. Ended by its drop, or by a loss of the link, which is an error
/// ([`Error::SessionLost`](crate::Error::SessionLost)) of the next statement.
#[derive(Debug)]
pub struct Lease<'a, H: Seated>(&'a mut H);

/// A handle that can have a lease.
pub trait Seated: private::Seated {}

impl Seated for Handle {}
impl Seated for aio::Handle {}

mod private {
    pub trait Seated {
        fn end_lease(&mut self);
    }
}

impl private::Seated for Handle {
    fn end_lease(&mut self) {
        self.seat.end_lease();
    }
}

impl private::Seated for aio::Handle {
    fn end_lease(&mut self) {
        self.seat.end_lease();
    }
}

impl<'a, H: Seated> Lease<'a, H> {
    /// Of a handle that has the link already.
    pub(super) fn new(handle: &'a mut H) -> Self {
        Lease(handle)
    }
}

impl<H: Seated> Deref for Lease<'_, H> {
    type Target = H;

    fn deref(&self) -> &H {
        self.0
    }
}

impl<H: Seated> DerefMut for Lease<'_, H> {
    fn deref_mut(&mut self) -> &mut H {
        self.0
    }
}

impl<H: Seated> Drop for Lease<'_, H> {
    fn drop(&mut self) {
        self.0.end_lease();
    }
}
