//! What is done for a group behind its callers' backs: links that handles left are cleaned, others are opened
//! before somebody waits for them. By a thread that is there while there is something to do; each group has its
//! own, so that a server that hangs holds up no other's links.

use std::{
    pin::pin,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{account::Account, group::Group, left::Left, wish::Close};
use crate::{
    error::DriverError,
    link::{Face, Kill, Victim, now},
    opts::session::SessionOpts,
};

/// How long the thread waits for more to do.
const REST: Duration = Duration::from_secs(1);

/// What still runs for a caller that is gone may go on for this long; then its connection is killed.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a server may take to begin a session.
const BEGINNING: Duration = Duration::from_secs(5);

/// A link that was left while something ran there, or whose handle is gone while its session was
/// not at its start.
pub(super) struct Leftover {
    pub left: Arc<Left>,
    pub account: Arc<Account>,
    /// The handle is gone, and its session ends.
    pub ends: bool,
}

pub(super) enum Chore {
    Clean(Leftover),
    /// Links are missing.
    Warm,
}

/// The way to the thread, while there is one.
#[derive(Debug, Default)]
pub(super) struct Chores(Mutex<Option<Sender<Chore>>>);

impl Chores {
    /// Has it done by the group's thread; here, where there can be none.
    pub(super) fn add(&self, group: &Arc<Group>, mut chore: Chore) {
        let mut thread = self.0.lock();
        if let Some(sender) = &*thread {
            match sender.send(chore) {
                Ok(()) => return,
                // It came to its end by a panic.
                Err(unsent) => chore = unsent.0,
            }
        }
        let (sender, chores) = channel();
        let of = Arc::downgrade(group);
        let spawned = std::thread::Builder::new()
            .name("mysql_mux-chores".into())
            .spawn(move || run(&of, &chores));
        if spawned.is_err() {
            *thread = None;
            drop(thread);
            return chore.run(group);
        }
        drop(sender.send(chore));
        *thread = Some(sender);
    }

    /// Another chore, or the thread's end.
    fn next(&self, chores: &Receiver<Chore>) -> Option<Chore> {
        let mut thread = self.0.lock();
        let next = chores.try_recv().ok();
        if next.is_none() {
            *thread = None;
        }
        next
    }
}

fn run(group: &Weak<Group>, chores: &Receiver<Chore>) {
    loop {
        let chore = match chores.recv_timeout(REST) {
            Ok(chore) => Some(chore),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // Without it there is nothing to do for it.
        let Some(group) = group.upgrade() else { return };
        match chore.or_else(|| group.chores.next(chores)) {
            Some(chore) => chore.run(&group),
            None => return,
        }
    }
}

impl Chore {
    fn run(self, group: &Arc<Group>) {
        match self {
            Chore::Clean(leftover) => leftover.clean(),
            Chore::Warm => group.warm(),
        }
    }
}

impl Leftover {
    /// Ends the transaction, the locks and whatever else stands, before anybody else is held up by it.
    fn clean(self) {
        let Leftover {
            left,
            account,
            ends,
        } = self;
        let Some((mut link, streaming)) = left.take() else {
            return;
        };
        // Whoever waits for what runs here goes on when that is over, however it ends.
        let mut over = Some(Over(&left));
        link.face = Face::Blocking;
        link.deadline = Some((Instant::now() + PATIENCE, PATIENCE));
        // The error would be for a handle that is gone; the link tells by itself whether it is usable.
        let done = now(pin!(async {
            if streaming && !link.drain().await {
                return Err(DriverError::MuxShutDown.into());
            }
            link.settle().await?;
            over = None;
            // What a statement did that nobody waited for is undone.
            link.session.drop_guard();
            let followed = link.session.doing.take().is_none() && !link.session.following;
            if !ends && followed && link.session.pin().is_none() {
                return Ok(());
            }
            link.deadline = Some((Instant::now() + BEGINNING, BEGINNING));
            let nothing = Arc::<SessionOpts>::default();
            link.begin(nothing.as_begun(), false).await
        }));
        match done {
            Ok(()) => account.group.release(link, &account, None),
            Err(_) => {
                if link.may_run() {
                    Victim::new(&link, &account.opts).kill(Kill::Connection);
                }
                account.group.give_up(link, &account, Close::Lost);
            }
        }
        drop(over);
    }
}

/// Tells whoever waits for a statement that it is over.
struct Over<'a>(&'a Left);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
