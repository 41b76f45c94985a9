//! A TCP relay in front of a server that does to the bytes what networks do: delays them, cuts
//! them off, swallows them, garbles them.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::OptsBuilder;

/// A direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What is done to the bytes of one direction. Offsets count from the start of a connection, or
/// from when the behaviour was set on one that was open.
#[derive(Clone, Copy, Debug, Default)]
struct Behaviour {
    delay: Duration,
    cut_after: Option<u64>,
    corrupt_at: Option<u64>,
    stall: bool,
}

#[derive(Debug, Default)]
struct State {
    up: Behaviour,
    down: Behaviour,
    /// Accept, then neither connect on nor say anything for as long.
    deaf: bool,
    /// Close what comes at once.
    refuse: bool,
    accepted: usize,
    open: Vec<(u64, TcpStream)>,
    next: u64,
    /// Raised whenever a behaviour is set: offsets begin anew.
    epoch: u64,
    passed_up: u64,
    passed_down: u64,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The relay; stops when dropped.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// In front of the server under test.
    pub fn new() -> Relay {
        let server = super::server();
        Relay::to((server.host.as_str(), server.port))
    }

    /// In front of any address.
    pub fn to(target: impl ToSocketAddrs) -> Relay {
        let target = target
            .to_socket_addrs()
            .expect("an address")
            .next()
            .expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("local_addr");
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, target, &for_thread));
        Relay { addr, shared }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends options through the relay.
    pub fn tcp(&self, opts: OptsBuilder) -> OptsBuilder {
        opts.ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(self.addr.port())
    }

    /// Every byte of a direction arrives this much later.
    pub fn delay(&self, way: Way, delay: Duration) {
        self.set(|s| s.way(way).delay = delay);
    }

    /// Closes a connection after `bytes` more bytes of a direction. They are delivered.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.set(|s| s.way(way).cut_after = Some(bytes));
    }

    /// Turns over the bits of the byte that is `offset` bytes ahead in a direction.
    pub fn corrupt(&self, way: Way, offset: u64) {
        self.set(|s| s.way(way).corrupt_at = Some(offset));
    }

    /// Forwards nothing more in a direction and keeps the connections open.
    pub fn stall(&self, way: Way) {
        self.set(|s| s.way(way).stall = true);
    }

    /// New connections are accepted and hear nothing, until it heals.
    pub fn deaf(&self) {
        self.set(|s| s.deaf = true);
    }

    /// New connections are closed at once.
    pub fn refuse(&self) {
        self.set(|s| s.refuse = true);
    }

    /// Behaves well from now on, for new connections and those that are open.
    pub fn heal(&self) {
        self.set(|s| {
            s.up = Behaviour::default();
            s.down = Behaviour::default();
            s.deaf = false;
            s.refuse = false;
        });
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.set(State::close_all);
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.state.lock().unwrap().accepted
    }

    /// Bytes that were forwarded in a direction so far.
    pub fn passed(&self, way: Way) -> u64 {
        let state = self.shared.state.lock().unwrap();
        match way {
            Way::Up => state.passed_up,
            Way::Down => state.passed_down,
        }
    }

    fn set(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.shared.state.lock().unwrap();
        f(&mut state);
        state.epoch += 1;
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(|s| {
            s.stopped = true;
            s.close_all();
        });
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(self.addr);
    }
}

impl State {
    fn way(&mut self, way: Way) -> &mut Behaviour {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn keep(&mut self, stream: &TcpStream) -> u64 {
        self.next += 1;
        if let Ok(stream) = stream.try_clone() {
            self.open.push((self.next, stream));
        }
        self.next
    }

    fn forget(&mut self, id: u64) {
        self.open.retain(|(other, _)| *other != id);
    }

    fn close_all(&mut self) {
        for (_, stream) in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let mut state = shared.state.lock().unwrap();
        if state.stopped {
            return;
        }
        state.accepted += 1;
        if state.refuse {
            continue;
        }
        let client_id = state.keep(&client);
        let deaf = state.deaf;
        drop(state);
        if deaf {
            let shared = shared.clone();
            thread::spawn(move || {
                let state = shared.state.lock().unwrap();
                let deaf = |state: &mut State| state.deaf && !state.stopped;
                drop(shared.changed.wait_while(state, deaf).unwrap());
                connect_on(&client, client_id, target, &shared);
            });
        } else {
            connect_on(&client, client_id, target, shared);
        }
    }
}

fn connect_on(client: &TcpStream, client_id: u64, target: SocketAddr, shared: &Arc<Shared>) {
    let Ok(upstream) = TcpStream::connect(target) else {
        let _ = client.shutdown(Shutdown::Both);
        shared.state.lock().unwrap().forget(client_id);
        return;
    };
    let upstream_id = shared.state.lock().unwrap().keep(&upstream);
    let _ = client.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    let ids = [client_id, upstream_id];
    spawn_pump(client, &upstream, Way::Up, shared, ids);
    spawn_pump(&upstream, client, Way::Down, shared, ids);
}

fn spawn_pump(from: &TcpStream, to: &TcpStream, way: Way, shared: &Arc<Shared>, ids: [u64; 2]) {
    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        pump(&from, &to, way, &shared);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        let mut state = shared.state.lock().unwrap();
        ids.iter().for_each(|id| state.forget(*id));
    });
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, way: Way, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    let mut epoch = 0;
    let mut at = 0_u64;
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer) else {
            return;
        };
        let arrived = Instant::now();
        let mut bytes = &mut buffer[..n];

        let mut state = shared.state.lock().unwrap();
        while state.way(way).stall && !state.stopped {
            state = shared.changed.wait(state).unwrap();
        }
        if state.stopped {
            return;
        }
        if state.epoch != epoch {
            epoch = state.epoch;
            at = 0;
        }
        let behaviour = *state.way(way);
        let mut last = false;
        if let Some(limit) = behaviour.cut_after {
            let left = limit.saturating_sub(at);
            if bytes.len() as u64 >= left {
                bytes = &mut bytes[..left as usize];
                last = true;
            }
        }
        if let Some(offset) = behaviour.corrupt_at
            && let Some(byte) = offset
                .checked_sub(at)
                .and_then(|i| bytes.get_mut(i as usize))
        {
            *byte = !*byte;
        }
        at += bytes.len() as u64;
        match way {
            Way::Up => state.passed_up += bytes.len() as u64,
            Way::Down => state.passed_down += bytes.len() as u64,
        }
        drop(state);

        if let Some(wait) = (arrived + behaviour.delay).checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        if to.write_all(bytes).is_err() || last {
            return;
        }
    }
}
