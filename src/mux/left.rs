//! A link that its handle left in the middle of a statement: the housekeeper finishes what runs
//! there, unless the handle comes back before it gets to it.

use parking_lot::Mutex;

use crate::link::Link;

/// One link, for whoever is first. Held locked while the housekeeper works on it, which takes no
/// longer than its patience: a handle that comes back meanwhile waits for that.
#[derive(Debug)]
pub(super) struct Left(pub Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    pub link: Option<Box<Link>>,
    /// A result is read piece by piece there.
    pub streaming: bool,
}

impl Left {
    pub(super) fn new(link: Box<Link>, streaming: bool) -> Self {
        Left(Mutex::new(State {
            link: Some(link),
            streaming,
        }))
    }
}
