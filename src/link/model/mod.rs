//! The shared link under a scheduler that tries many orders of its threads' steps (`cargo xtask
//! model`): the code of [`Lane`](super::Lane) and [`Slot`](super::slot::Slot) itself, with a server,
//! a network, a reactor and a clock of the model's own.
//!
//! Where a schedule leaves anybody waiting, `shuttle` calls it a deadlock. The rest is looked at in
//! [`pipe`] (one reader, one flusher, nothing garbled, nothing run twice) and at the end of each
//! schedule in [`tests`].

mod pipe;
pub(super) mod sync;
#[cfg(test)]
mod tests;

pub(super) use pipe::Pipe;
