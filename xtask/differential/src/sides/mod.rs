//! Those who run a program: a side has a session per handle.

use anyhow::Result;

use crate::{
    outcome::Outcome,
    program::{Action, Program},
};

pub mod dedicated;
#[cfg(test)]
pub mod fake;
pub mod mux;
mod read;

/// One handle of a side.
pub trait Session: Send {
    /// Does it. Never `Kill` and what else is the runner's.
    fn run(&mut self, action: &Action) -> Outcome;

    /// Does them in order, together where its way is so. Ends with the first honest error.
    fn run_all(&mut self, actions: &[&Action]) -> Vec<Outcome> {
        one_by_one(self, actions)
    }

    /// The server's id of the connection that it used last.
    fn connection_id(&self) -> u32;

    /// It keeps a link to itself at the moment.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Ends it, so that nothing of it is left at the server when this returns, as far as that can be.
    fn end(self: Box<Self>);
}

/// Each by itself, up to the first honest error.
fn one_by_one(session: &mut (impl Session + ?Sized), actions: &[&Action]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(actions.len());
    for action in actions {
        if outcomes.last().is_some_and(Outcome::is_honest) {
            break;
        }
        outcomes.push(session.run(action));
    }
    outcomes
}

/// A side, for one program.
pub trait Side {
    /// A session for a handle, which may have to keep what each statement leaves, and sends in its way. A
    /// dedicated connection has but one.
    fn connect(&mut self, program: &Program, handle: usize) -> Result<Box<dyn Session>>;

    /// Its connections are killed where a program has it so. The side that tells what is right is
    /// as if nothing had happened: the other either is so too, or says that it is not.
    fn is_killed(&self) -> bool;

    /// A line about what it took, when the program is over.
    fn summary(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
