//! A distance: a TCP relay that holds every byte back for a while, or just the first ones.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How long bytes are held back. TCP's own handshake never is.
#[derive(Debug, Clone, Copy)]
pub enum Delay {
    /// All of them, in each direction.
    All(Duration),
    /// What a server says first: the connect is slow, what comes after it isn't.
    Greeting(Duration),
}

/// Counts what clients wait for: bytes of a client that come after bytes of its server.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn round_trips(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One side of a connection, for its counter.
struct Side {
    is_client: bool,
    /// The server spoke last; both sides know.
    answered: Arc<AtomicBool>,
    counter: Counter,
}

impl Side {
    fn both(counter: &Counter) -> [Side; 2] {
        let answered = Arc::<AtomicBool>::default();
        [true, false].map(|is_client| Side {
            is_client,
            answered: answered.clone(),
            counter: counter.clone(),
        })
    }

    fn speaks(&self) {
        let answered = self.answered.swap(!self.is_client, Ordering::Relaxed);
        if self.is_client && answered {
            self.counter.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Relays connections to `host:port` until the program ends. Returns the port on 127.0.0.1.
pub fn start(host: &str, port: u16, delay: Delay, counter: Counter) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?.port();
    let host = host.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            // A connection that can't be relayed is closed; whoever opened it finds out.
            let joined = client.and_then(|client| {
                let server = TcpStream::connect((&*host, port))?;
                join(client, server, delay, &counter)
            });
            drop(joined);
        }
    });
    Ok(own)
}

fn join(client: TcpStream, server: TcpStream, delay: Delay, counter: &Counter) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (there, back, later) = match delay {
        Delay::All(time) => (time, time, time),
        Delay::Greeting(time) => (Duration::ZERO, time, Duration::ZERO),
    };
    let [asks, answers] = Side::both(counter);
    one_way(client.try_clone()?, server.try_clone()?, asks, there, later);
    one_way(server, client, answers, back, later);
    Ok(())
}

fn one_way(from: TcpStream, to: TcpStream, side: Side, first: Duration, later: Duration) {
    let (sender, receiver) = channel();
    thread::spawn(move || take(from, &sender, &side, first, later));
    thread::spawn(move || give(to, &receiver));
}

type Late = (Instant, Vec<u8>);

fn take(mut from: TcpStream, sender: &Sender<Late>, side: &Side, first: Duration, later: Duration) {
    let mut delay = first;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        side.speaks();
        let due = Instant::now() + delay;
        if sender.send((due, buffer[..read].to_vec())).is_err() {
            return;
        }
        delay = later;
    }
}

fn give(mut to: TcpStream, receiver: &Receiver<Late>) {
    while let Ok((due, bytes)) = receiver.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Both ends learn that it is over, whichever of them closed.
    drop(to.shutdown(Shutdown::Both));
}
