//! The catalogs of an account, by schema, and who loads them: one handle, while others that need the
//! same wait for it. What an account may not see is not in its catalogs, so each has its own.
//!
//! The lock is held for moments, never across I/O.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    account::Account,
    catalog::{Catalog, Schemas, Sight},
    handed::Handed,
};
use crate::link::Face;

/// What was not asked for again after so many times its age is forgotten.
const FORGOTTEN: u32 = 20;

#[derive(Debug, Default)]
pub(super) struct Catalogs {
    state: Mutex<State>,
    /// A handle prepared a statement in SQL that changes definitions.
    pub prepared_changes: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Arc<Catalog>>,
    /// Who waits for each that is being loaded.
    loading: HashMap<Key, Vec<Arc<Handed<()>>>>,
    /// As they were found last.
    schemas: Arc<Schemas>,
}

type Key = Box<str>;

impl<'a> Sight<'a> {
    /// No name has a zero byte in it.
    fn key(self) -> Cow<'a, str> {
        match self.role {
            "" => self.schema.into(),
            role => format!("{}\0{role}", self.schema).into(),
        }
    }
}

/// What a handle that needs a catalog does now.
#[derive(Debug)]
pub(super) enum Step {
    Known(Arc<Catalog>),
    Load(Ticket),
    /// Another loads it.
    Wait(Arc<Handed<()>>),
}

impl Catalogs {
    /// `generation` is that of the definitions now.
    pub(super) fn step(
        account: &Arc<Account>,
        sight: Sight<'_>,
        generation: u64,
        face: Face,
    ) -> Step {
        let key = &*sight.key();
        let mut state = account.catalogs.state.lock();
        let known = state.known.get(key).filter(|c| c.generation == generation);
        let known = known.cloned();
        match (known, state.loading.get_mut(key)) {
            (Some(known), None) if !known.is_old() => Step::Known(known),
            // It was right a moment ago, and nobody here changed anything.
            (Some(known), Some(_)) => Step::Known(known),
            (None, Some(waiting)) => {
                let bell = Arc::new(Handed::new(face));
                waiting.push(bell.clone());
                Step::Wait(bell)
            }
            (_, None) => {
                state.loading.insert(key.into(), Vec::new());
                Step::Load(Ticket {
                    account: account.clone(),
                    key: key.into(),
                })
            }
        }
    }

    /// The newest, old or not.
    pub(super) fn last(&self, sight: Sight<'_>) -> Option<Arc<Catalog>> {
        self.state.lock().known.get(&*sight.key()).cloned()
    }

    pub(super) fn put(&self, catalog: Arc<Catalog>) {
        let key: Key = catalog.sight().key().into();
        let mut state = self.state.lock();
        let is_newer = |known: &Arc<Catalog>| known.generation > catalog.generation;
        if !state.known.get(&key).is_some_and(is_newer) {
            state.known.insert(key, catalog);
        }
    }

    /// The same as last time where they are the same: there may be many schemas with a catalog each.
    pub(super) fn schemas(&self, found: Schemas) -> Arc<Schemas> {
        let mut state = self.state.lock();
        if *state.schemas != found {
            state.schemas = Arc::new(found);
        }
        state.schemas.clone()
    }

    pub(super) fn age(&self, limit: Duration) {
        let mut state = self.state.lock();
        state.known.retain(|_, catalog| {
            let age = catalog.loaded.elapsed();
            if age >= limit {
                catalog.grow_old();
            }
            age < limit.saturating_mul(FORGOTTEN) || limit.is_zero()
        });
    }
}

/// The right to load a catalog. Who lets it go has those who wait look again.
#[derive(Debug)]
pub(super) struct Ticket {
    account: Arc<Account>,
    key: Key,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let waiting = self.account.catalogs.state.lock().loading.remove(&self.key);
        for bell in waiting.into_iter().flatten() {
            bell.give(());
        }
    }
}
