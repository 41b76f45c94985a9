//! The mux's one thread of its own: resets what dropped handles left behind, closes what is idle or
//! old, keeps `min_idle_links` warm. It does nothing that a caller waits for.

use std::{
    pin::pin,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{Shared, account::Account, group::Group, left::Left, wish::Close};
use crate::{
    error::DriverError,
    link::{Face, Kill, kill, now},
    opts::session::SessionOpts,
};

/// A link that was left while something ran there, or whose handle is gone while its session was
/// not at its start.
pub(super) struct Leftover {
    pub left: Arc<Left>,
    pub account: Arc<Account>,
    /// The handle is gone, and its session ends.
    pub ends: bool,
}

/// What the thread is asked to do at once.
pub(super) enum Chore {
    Clean(Leftover),
    /// All links of it are busy.
    Warm(Arc<Group>),
}

/// Starts the thread; it ends when the mux does.
pub(super) fn start(shared: Weak<Shared>, tick: Duration) -> std::io::Result<Sender<Chore>> {
    let (sender, chores) = channel();
    std::thread::Builder::new()
        .name("mysql_mux-housekeeper".into())
        .spawn(move || run(&shared, &chores, tick))?;
    Ok(sender)
}

fn run(shared: &Weak<Shared>, chores: &Receiver<Chore>, tick: Duration) {
    let mut next_round = Instant::now() + tick;
    loop {
        match chores.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
            Ok(Chore::Clean(leftover)) => clean(leftover),
            Ok(Chore::Warm(group)) => group.warm(),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.for_each_group(|group| {
                    group.reap();
                    group.age_definitions();
                    group.warm();
                });
                shared.reap_backends();
                next_round = Instant::now() + tick;
            }
        }
    }
}

/// Ends the transaction, the locks and whatever else stands, before anybody else is held up by it.
pub(super) fn clean(leftover: Leftover) {
    let Leftover {
        left,
        account,
        ends,
    } = leftover;
    let mut left = left.0.lock();
    let Some(mut link) = left.link.take() else {
        return;
    };
    /// What still runs for a caller that is gone may go on for this long; then its connection is
    /// killed.
    const PATIENCE: Duration = Duration::from_millis(100);
    link.face = Face::Blocking;
    link.deadline = Some((Instant::now() + PATIENCE, PATIENCE));
    // The error would be for a handle that is gone; the link tells by itself whether it is usable.
    let done = now(pin!(async {
        if left.streaming && !link.drain().await {
            return Err(DriverError::MuxShutDown.into());
        }
        link.settle().await?;
        link.deadline = None;
        // What a statement did that nobody waited for is undone.
        link.session.drop_guard();
        let followed = link.session.doing.take().is_none() && !link.session.following;
        if !ends && followed && link.session.pin().is_none() {
            return Ok(());
        }
        let nothing = Arc::<SessionOpts>::default();
        link.begin(nothing.as_begun(), false).await
    }));
    match done {
        Ok(()) => account.group.release(link, &account, None),
        Err(_) => {
            if link.in_flight() > 0 {
                let counters = &account.group.counters;
                kill(
                    &account.opts,
                    Kill::Connection,
                    link.server.connection_id,
                    counters,
                );
            }
            account.group.give_up(link, &account, Close::Lost);
        }
    }
}
