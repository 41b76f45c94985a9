//! Who waits, and how: a thread, or a task.
//!
//! Everything that can wait is written once, as `async`. For a blocking caller each of its waits
//! blocks the thread inside `poll` and is then ready, so that the whole is ready at its first poll.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use parking_lot::Mutex;

/// How a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// In its thread.
    Blocking,
    /// As a task of whatever executor.
    Async,
}

/// Runs what waits only as [`Face::Blocking`]. It is large, and so is not moved: `now(pin!(…))`.
pub(crate) fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> T {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a blocking caller waits inside of poll"),
    }
}

/// Runs something that blocks: in the caller's thread, or, for a task, in one of its own. What it
/// comes to after the task went away is given to `nobody`.
///
/// # Errors
/// The system has no thread left.
pub(crate) async fn offload<T: Send + 'static>(
    face: Face,
    work: impl FnOnce() -> T + Send + 'static,
    nobody: impl FnOnce(T) + Send + 'static,
) -> io::Result<T> {
    if face == Face::Blocking {
        return Ok(work());
    }
    let desk = Arc::new(Mutex::new(Desk {
        done: None,
        waker: None,
        left: false,
        nobody: Some(Box::new(nobody)),
    }));
    let there = desk.clone();
    thread::Builder::new()
        .name("mysql_mux-connect".into())
        .spawn(move || {
            let done = work();
            let mut desk = there.lock();
            if desk.left {
                if let Some(nobody) = desk.nobody.take() {
                    drop(desk);
                    nobody(done);
                }
                return;
            }
            desk.done = Some(done);
            if let Some(waker) = desk.waker.take() {
                drop(desk);
                waker.wake();
            }
        })?;
    let visit = Visit(desk);
    Ok(poll_fn(|cx| {
        let mut desk = visit.0.lock();
        if let Some(done) = desk.done.take() {
            return Poll::Ready(done);
        }
        let before = note_waker(&mut desk.waker, cx);
        drop(desk);
        drop(before);
        Poll::Pending
    })
    .await)
}

/// Has a task woken from here on. Gives whom it displaces, to be dropped without a lock: it may be the last that is
/// left of another task.
pub(crate) fn note_waker(noted: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    let is_known = noted
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()));
    match is_known {
        true => None,
        false => noted.replace(cx.waker().clone()),
    }
}

/// Where the thread leaves what it made.
struct Desk<T> {
    done: Option<T>,
    waker: Option<Waker>,
    left: bool,
    nobody: Option<Box<dyn FnOnce(T) + Send>>,
}

/// The task's side of the desk.
struct Visit<T>(Arc<Mutex<Desk<T>>>);

impl<T> Drop for Visit<T> {
    fn drop(&mut self) {
        let mut desk = self.0.lock();
        desk.left = true;
        if let Some(done) = desk.done.take()
            && let Some(nobody) = desk.nobody.take()
        {
            drop(desk);
            nobody(done);
        }
    }
}
