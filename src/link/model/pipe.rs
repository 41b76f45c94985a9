//! A connection in memory to a server that answers each query with its number. It takes and gives
//! bytes in pieces of any length, and may close at any time.

use std::{
    collections::VecDeque,
    fmt, io,
    mem::MaybeUninit,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex, MutexGuard},
};

use super::{
    super::reactor::Readied,
    sync::{now, pass, time_flies},
};

/// Both ends. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pipe(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    reading: AtomicBool,
    writing: AtomicBool,
}

struct State {
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    /// Bytes that fit into `up`.
    room: usize,
    /// The client shut it down.
    shut: bool,
    /// The server closed it.
    closed: bool,
    /// The server takes no more, but answers what it has.
    deaf: bool,
    /// The schedule is done.
    over: bool,
    /// The server closes after so many statements.
    closes_after: Option<usize>,
    /// What the server ran.
    ran: Vec<u8>,
    on_read: Option<Weak<dyn Readied>>,
    on_write: Option<Weak<dyn Readied>>,
}

impl State {
    fn ended(&self) -> bool {
        self.shut || self.closed
    }

    fn can_read(&self) -> bool {
        !self.down.is_empty() || self.ended()
    }

    fn can_write(&self) -> bool {
        self.up.len() < self.room || self.deaf || self.ended()
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipe")
    }
}

/// One at a time, or the model fails.
struct Alone<'a>(&'a AtomicBool);

impl<'a> Alone<'a> {
    fn new(taken: &'a AtomicBool, what: &str) -> Self {
        // Not shuttle's: looking at it is no part of what is modelled.
        assert!(!taken.swap(true, Ordering::Relaxed), "two {what}");
        Alone(taken)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The client's side.
impl Pipe {
    pub(super) fn new(room: usize, closes_after: Option<usize>) -> Pipe {
        Pipe(Arc::new(Shared {
            state: Mutex::new(State {
                up: VecDeque::new(),
                down: VecDeque::new(),
                room,
                shut: false,
                closed: false,
                deaf: false,
                over: false,
                closes_after,
                ran: Vec::new(),
                on_read: None,
                on_write: None,
            }),
            changed: Condvar::new(),
            reading: AtomicBool::new(false),
            writing: AtomicBool::new(false),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.lock());
        self.0.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.0
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::link) fn shutdown(&self) {
        self.set(|state| state.shut = true);
    }

    /// Waits for bytes.
    pub(in crate::link) fn recv(
        &self,
        into: &mut [MaybeUninit<u8>],
        until: Option<Instant>,
    ) -> io::Result<usize> {
        let _alone = Alone::new(&self.0.reading, "readers");
        let mut state = self.lock();
        while !state.can_read() {
            if let Some(until) = until
                && time_flies()
            {
                pass(until.saturating_duration_since(now()));
                return Err(io::ErrorKind::TimedOut.into());
            }
            state = self.wait(state);
        }
        Ok(take(&mut state.down, into))
    }

    pub(in crate::link) fn try_recv(&self, into: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let _alone = Alone::new(&self.0.reading, "readers");
        let mut state = self.lock();
        match state.can_read() {
            true => Ok(take(&mut state.down, into)),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// `None`: nothing there; `Some(0)`: the end.
    pub(in crate::link) fn readable(&self) -> Option<usize> {
        let state = self.lock();
        state.can_read().then_some(state.down.len())
    }

    pub(in crate::link) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let _alone = Alone::new(&self.0.writing, "flushers");
        let mut state = self.lock();
        if state.deaf || state.ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = bytes.len().min(state.room - state.up.len());
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = thread_rng().gen_range(1..=most);
        state.up.extend(&bytes[..n]);
        drop(state);
        self.0.changed.notify_all();
        Ok(n)
    }

    pub(in crate::link) fn on_readable(&self, whom: Weak<dyn Readied>) {
        self.set(|state| state.on_read = Some(whom));
    }

    pub(in crate::link) fn on_writable(&self, whom: Weak<dyn Readied>) {
        self.set(|state| state.on_write = Some(whom));
    }
}

/// The other side, run by threads of the model.
impl Pipe {
    /// Tells who waits, as the reactor's thread does, until the schedule is done.
    pub(super) fn react(&self) {
        loop {
            let mut state = self.lock();
            let read = loop {
                let read = state.on_read.is_some() && state.can_read();
                let write = state.on_write.is_some() && state.can_write();
                match (read, write) {
                    (true, true) => break thread_rng().r#gen(),
                    (true, false) => break true,
                    (false, true) => break false,
                    _ if state.over => return,
                    _ => state = self.wait(state),
                }
            };
            let whom = match read {
                true => state.on_read.take(),
                false => state.on_write.take(),
            };
            drop(state);
            if let Some(whom) = whom.and_then(|whom| whom.upgrade()) {
                match read {
                    true => whom.readable(),
                    false => whom.writable(),
                }
            }
        }
    }

    /// Answers, in the order of what is asked.
    pub(super) fn serve(&self) {
        let mut got = Vec::new();
        loop {
            let mut state = self.lock();
            while state.up.is_empty() && !state.ended() && !state.over {
                if state.closes_after == Some(0) {
                    state.closed = true;
                    drop(state);
                    self.0.changed.notify_all();
                    return;
                }
                state = self.wait(state);
            }
            if state.up.is_empty() {
                return;
            }
            let n = thread_rng().gen_range(1..=state.up.len());
            got.extend(state.up.drain(..n));
            drop(state);
            self.0.changed.notify_all();
            while let Some(number) = take_query(&mut got) {
                if !self.run(number) {
                    return;
                }
            }
        }
    }

    /// Runs a statement, and answers. `false`: it closed.
    fn run(&self, number: u8) -> bool {
        let mut state = self.lock();
        if state.closes_after == Some(0) && thread_rng().gen_ratio(1, 4) {
            state.closes_after = None;
            state.deaf = true;
        }
        let left = &mut state.closes_after;
        let closes = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        // Before the statement runs, or before it is answered.
        let ran = !closes || thread_rng().r#gen();
        if ran {
            assert!(!state.ran.contains(&number), "{number} ran twice");
            state.ran.push(number);
        }
        if closes {
            state.closed = true;
            let last = match thread_rng().gen_range(0..3) {
                // Why it ends, out of turn.
                0 => b"\x0d\0\0\0\xff\x1d\x04#08S01Down".to_vec(),
                // An answer that breaks off.
                1 if ran => {
                    let mut part = answer(number);
                    part.truncate(thread_rng().gen_range(0..part.len()));
                    part
                }
                _ => Vec::new(),
            };
            state.down.extend(last);
        } else {
            state.down.extend(answer(number));
        }
        drop(state);
        self.0.changed.notify_all();
        !closes
    }

    /// Ends the threads of [`Self::react`] and [`Self::serve`].
    pub(super) fn finish(&self) {
        self.set(|state| state.over = true);
    }

    /// What the server ran.
    pub(super) fn ran(&self) -> Vec<u8> {
        self.lock().ran.clone()
    }
}

/// From this number on a statement has rows, each of the number and its own.
pub(super) const LARGE: u8 = 128;
pub(super) const ROWS: u8 = 3;

fn answer(number: u8) -> Vec<u8> {
    let mut packets = Vec::new();
    // No row affected, the statement's number as the last id, autocommit, no warning.
    let mut ok = vec![0, 0, number, 2, 0, 0, 0];
    if number >= LARGE {
        ok = vec![0xfe, 0, 1, 2, 0, 0, 0];
        packets.push(vec![1]);
        // A column `a`, VARBINARY.
        let mut column = b"\x03def\0\0\0\x01a\0\x0c\x3f\0".to_vec();
        column.extend([9, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
        packets.push(column);
        packets.extend((0..ROWS).map(|row| vec![2, number, row]));
    }
    packets.push(ok);
    let numbered = (1..).zip(packets);
    numbered
        .flat_map(|(seq, packet)| [&[packet.len() as u8, 0, 0, seq], &packet[..]].concat())
        .collect()
}

/// Some bytes of what is there; none at the end.
fn take(from: &mut VecDeque<u8>, into: &mut [MaybeUninit<u8>]) -> usize {
    if from.is_empty() {
        return 0;
    }
    let n = thread_rng().gen_range(1..=from.len().min(into.len()));
    for (to, byte) in into.iter_mut().zip(from.drain(..n)) {
        to.write(byte);
    }
    n
}

/// The number that a `COM_QUERY` consists of. Anything else was garbled on the way.
fn take_query(got: &mut Vec<u8>) -> Option<u8> {
    let packet = got.get(..6)?;
    assert_eq!(packet[..5], [2, 0, 0, 0, 3], "garbled: {got:?}");
    let number = packet[5];
    got.drain(..6);
    Some(number)
}
