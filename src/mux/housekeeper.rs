//! The mux's one thread of its own: closes what is idle or old, and sees to it that `min_idle_links` are there.
//! It does nothing that a caller waits for, and waits for no server: see [`super::chores`].

use std::{
    convert::Infallible,
    sync::{
        Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use super::Shared;

/// Starts the thread; it ends when the mux does.
pub(super) fn start(shared: Weak<Shared>, tick: Duration) -> std::io::Result<Sender<Infallible>> {
    let (life, end) = channel::<Infallible>();
    std::thread::Builder::new()
        .name("mysql_mux-housekeeper".into())
        .spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(tick) {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.look_round();
            }
        })?;
    Ok(life)
}
