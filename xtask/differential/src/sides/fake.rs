//! A side without a server, for the tests of runner and shrinker.

use anyhow::Result;

use super::{Session, Side};
use crate::{
    outcome::{Outcome, Reply},
    program::{Action, Program},
};

/// Says `ok` to everything, but for what it is told.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    /// A statement whose outcome is another.
    pub lies_about: Option<&'static str>,
    /// A statement that ends in an honest error.
    pub fails_at: Option<&'static str>,
}

impl Side for Fake {
    fn connect(&mut self, _: &Program, _: usize) -> Result<Box<dyn Session>> {
        Ok(Box::new(self.clone()))
    }

    fn is_killed(&self) -> bool {
        true
    }
}

impl Session for Fake {
    fn run(&mut self, action: &Action) -> Outcome {
        let text = action.to_string();
        if self.fails_at == Some(&text) {
            return Outcome::Honest {
                kind: "SessionLost",
                text,
            };
        }
        Outcome::one(match self.lies_about == Some(&text) {
            true => Reply::Unfit,
            false => Reply::Ok {
                affected: 0,
                last_insert_id: None,
                warnings: 0,
                info: text,
            },
        })
    }

    fn connection_id(&self) -> u32 {
        1
    }

    fn end(self: Box<Self>) {}
}
