//! A server that talks: it takes any login and answers each command as a test says, for as long as
//! the client likes. It notes what it heard, and how many commands lay before it unanswered.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    OptsBuilder,
    fake::{column, eof, greeting, ok, packet, somebody_at},
};

/// How it takes commands that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// As a server does.
    All,
    /// Of what one read brings, the first is answered and the others are forgotten.
    TheFirst,
    /// When two come in one read, it says nothing more and keeps the connection open.
    NothingMore,
    /// When two come in one read, it closes the connection.
    Closing,
}

/// What is said to a query.
pub type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// What a test has it do.
#[derive(Clone)]
pub struct Manner {
    pub taking: Taking,
    /// Bytes that it reads at once, and how long it rests before each read.
    pub read: usize,
    pub rest: Duration,
    /// The answer to a query. May take its time: the connection waits.
    pub answer: Answer,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            taking: Taking::All,
            read: 1 << 16,
            rest: Duration::ZERO,
            answer: Arc::new(says_it),
        }
    }
}

/// `SELECT 7` is a row with 7, a transaction begins and ends; all else is OK.
pub fn says_it(sql: &str) -> Vec<u8> {
    match sql.strip_prefix("SELECT ") {
        Some(value) => row(value),
        None if sql == "START TRANSACTION" => packet(1, &[0, 0, 0, 3, 0, 0, 0]),
        None => ok(1),
    }
}

/// The answer of a query with one value.
pub fn row(value: &str) -> Vec<u8> {
    let mut payload = match value.len() {
        len @ 0..251 => vec![len as u8],
        len @ 251..0x1_0000 => [&[0xfc][..], &(len as u16).to_le_bytes()].concat(),
        len => [&[0xfd][..], &(len as u32).to_le_bytes()[..3]].concat(),
    };
    payload.extend_from_slice(value.as_bytes());
    let mut answer = packet(1, &[1]);
    answer.extend(packet(2, &column("c")));
    answer.extend(eof(3));
    answer.extend(packet(4, &payload));
    answer.extend(eof(5));
    answer
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    /// Of each connection the most commands that lay unanswered.
    most: Mutex<Vec<usize>>,
    heard: Mutex<Vec<String>>,
}

/// The server; stops when dropped.
pub struct Talker {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Talker {
    pub fn new(manner: Manner) -> Talker {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("local_addr");
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if for_thread.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let number = for_thread.accepted.fetch_add(1, Ordering::SeqCst);
                for_thread.most.lock().unwrap().push(0);
                let (manner, shared) = (manner.clone(), Arc::clone(&for_thread));
                thread::spawn(move || Talk::new(client, number, manner, shared).run());
            }
        });
        Talker { addr, shared }
    }

    /// Options that go to it.
    pub fn tcp(&self) -> OptsBuilder {
        somebody_at(self.addr)
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Of each connection the most commands that lay unanswered at once, so far.
    pub fn most_at_once(&self) -> Vec<usize> {
        self.shared.most.lock().unwrap().clone()
    }

    /// The queries that begin so, in the order in which they came.
    pub fn heard(&self, beginning: &str) -> Vec<String> {
        let heard = self.shared.heard.lock().unwrap();
        heard
            .iter()
            .filter(|sql| sql.starts_with(beginning))
            .cloned()
            .collect()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

struct Talk {
    client: TcpStream,
    number: usize,
    manner: Manner,
    shared: Arc<Shared>,
    /// Bytes that came and are not a whole packet yet, and whole ones not yet taken.
    bytes: Vec<u8>,
}

impl Talk {
    fn new(client: TcpStream, number: usize, manner: Manner, shared: Arc<Shared>) -> Talk {
        let _ = client.set_nodelay(true);
        let _ = client.set_write_timeout(Some(Duration::from_secs(30)));
        Talk {
            client,
            number,
            manner,
            shared,
            bytes: Vec::new(),
        }
    }

    fn run(mut self) -> Option<()> {
        self.client.write_all(&greeting()).ok()?;
        while self.complete() == 0 {
            self.read(true)?;
        }
        self.take()?;
        self.client.write_all(&ok(2)).ok()?;
        loop {
            while self.complete() == 0 {
                self.read(true)?;
            }
            self.note();
            if self.complete() > 1 {
                match self.manner.taking {
                    Taking::Closing => return None,
                    Taking::NothingMore => loop {
                        self.bytes.clear();
                        self.read(true)?;
                    },
                    Taking::TheFirst | Taking::All => {}
                }
            }
            // Whoever sends another command before this one is answered is to be caught.
            if self.manner.taking != Taking::All {
                thread::sleep(Duration::from_millis(1));
            }
            self.read(false)?;
            self.note();
            let command = self.take()?;
            if self.manner.taking == Taking::TheFirst {
                self.bytes.clear();
            }
            let answer = self.answer(&command)?;
            self.client.write_all(&answer).ok()?;
        }
    }

    fn note(&self) {
        let most = &mut self.shared.most.lock().unwrap()[self.number];
        *most = self.complete().max(*most);
    }

    fn answer(&self, command: &[u8]) -> Option<Vec<u8>> {
        let (kind, text) = command.split_first()?;
        if *kind == 1 {
            return None;
        }
        if *kind != 3 {
            return Some(ok(1));
        }
        let sql = String::from_utf8_lossy(text);
        self.shared.heard.lock().unwrap().push(sql.to_string());
        Some(match &*sql {
            "SELECT @@max_allowed_packet" => row("67108864"),
            "SELECT NULL" => row(""),
            sql => (self.manner.answer)(sql),
        })
    }

    /// One read. `None`: the connection is over.
    fn read(&mut self, wait: bool) -> Option<()> {
        if wait {
            thread::sleep(self.manner.rest);
        }
        let mut buffer = vec![0; self.manner.read];
        self.client.set_nonblocking(!wait).ok()?;
        let read = self.client.read(&mut buffer);
        self.client.set_nonblocking(false).ok()?;
        match read {
            Ok(0) => None,
            Ok(n) => {
                self.bytes.extend_from_slice(&buffer[..n]);
                Some(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Some(()),
            Err(_) => None,
        }
    }

    /// How many whole packets there are.
    fn complete(&self) -> usize {
        let (mut at, mut count) = (0, 0);
        while let Some(len) = length(&self.bytes[at..]) {
            at += 4 + len;
            if at > self.bytes.len() {
                break;
            }
            count += 1;
        }
        count
    }

    /// The first packet's payload.
    fn take(&mut self) -> Option<Vec<u8>> {
        let len = length(&self.bytes)?;
        let rest = self.bytes.split_off(4 + len);
        Some(std::mem::replace(&mut self.bytes, rest).split_off(4))
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..4)?;
    Some(u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize)
}

/// Holds up who comes to it until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Gate {
    /// Waits until it is open.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        while !state.1 {
            state = changed.wait(state).unwrap();
        }
    }

    /// How many came so far.
    pub fn came(&self) -> usize {
        self.0.0.lock().unwrap().0
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}
