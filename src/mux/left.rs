//! A link that its handle left in the middle of a statement: what runs there is finished behind its back,
//! unless the handle comes back before that is begun. Else it waits until the statement is over: its next one
//! comes behind it, on whichever link.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::handed::Handed;
use crate::link::{Face, Link};

/// One link, for whoever is first.
#[derive(Debug)]
pub(super) struct Left(Mutex<State>);

#[derive(Debug)]
struct State {
    link: Option<Box<Link>>,
    /// A result is read piece by piece there.
    streaming: bool,
    /// What ran there is over.
    is_over: bool,
    /// Who waits for that.
    waiter: Option<Arc<Handed<()>>>,
}

impl Left {
    pub(super) fn new(link: Box<Link>, streaming: bool) -> Self {
        Left(Mutex::new(State {
            link: Some(link),
            streaming,
            is_over: false,
            waiter: None,
        }))
    }

    /// The link, and whether a stream is open there, if nobody has taken it.
    pub(super) fn take(&self) -> Option<(Box<Link>, bool)> {
        let mut state = self.0.lock();
        let streaming = state.streaming;
        state.link.take().map(|link| (link, streaming))
    }

    /// Who took the link is done with the statement.
    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let waiter = state.waiter.take();
        drop(state);
        waiter.inspect(|waiter| waiter.give(()));
    }

    /// Waits for that.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left for a task's wait.
    pub(super) async fn ended(&self, face: Face) -> io::Result<()> {
        /// No end takes as long.
        const LONG: Duration = Duration::from_secs(60);
        let waiter = {
            let mut state = self.0.lock();
            if state.is_over {
                return Ok(());
            }
            let waiter = Arc::new(Handed::new(face));
            let before = state.waiter.replace(waiter.clone());
            drop(state);
            drop(before);
            waiter
        };
        waiter.wait(face, Instant::now() + LONG).await.map(drop)
    }
}
