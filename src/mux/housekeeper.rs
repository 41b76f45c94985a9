//! The mux's one thread of its own: resets what dropped handles left behind, closes what is idle or
//! old, keeps `min_idle_links` warm. It does nothing that a caller waits for.

use std::{
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{Shared, account::Account};
use crate::link::Link;

/// A link whose handle is gone while its session was not at its start.
pub(super) struct Leftover {
    pub link: Box<Link>,
    pub account: Arc<Account>,
}

/// Starts the thread; it ends when the mux does.
pub(super) fn start(shared: Weak<Shared>, tick: Duration) -> std::io::Result<Sender<Leftover>> {
    let (sender, leftovers) = channel();
    std::thread::Builder::new()
        .name("mysql_mux-housekeeper".into())
        .spawn(move || run(&shared, &leftovers, tick))?;
    Ok(sender)
}

fn run(shared: &Weak<Shared>, leftovers: &Receiver<Leftover>, tick: Duration) {
    let mut next_round = Instant::now() + tick;
    loop {
        match leftovers.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
            Ok(leftover) => clean(leftover),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.for_each_group(|group| {
                    group.reap();
                    group.warm();
                });
                next_round = Instant::now() + tick;
            }
        }
    }
}

/// Ends the transaction, the locks and whatever else stands, before anybody else is held up by it.
pub(super) fn clean(Leftover { mut link, account }: Leftover) {
    // The error would be for a handle that is gone; the link tells by itself whether it is usable.
    drop(link.begin(None, &[]));
    account.group.release(link, &account);
}
