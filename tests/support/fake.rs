//! A server that plays a script: bytes to say, bytes to wait for. For servers that no real server
//! would be.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::OptsBuilder;

const PASSWORD: &str = "very-secret-word";

/// Options that go to a server which takes anybody.
pub fn somebody_at(addr: SocketAddr) -> OptsBuilder {
    OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(addr.port())
        .user(Some("somebody"))
        .pass(Some(PASSWORD))
}

/// One line of the script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send these bytes as they are.
    Send(Vec<u8>),
    /// Read one packet, whatever it is.
    Read,
    /// Send these bytes again and again until the client has enough.
    Forever(Vec<u8>),
    /// Say nothing more and keep the connection open until the client closes it.
    Silence,
}

/// The server; each connection gets the same script and is closed at its end.
#[derive(Debug)]
pub struct Fake {
    addr: SocketAddr,
    stopped: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Fake {
    pub fn new(script: Vec<Step>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let fake = Fake {
            addr: listener.local_addr().expect("local_addr"),
            stopped: Arc::default(),
            accepted: Arc::default(),
            heard: Arc::default(),
        };
        let (stopped, accepted, heard) = (
            Arc::clone(&fake.stopped),
            Arc::clone(&fake.accepted),
            Arc::clone(&fake.heard),
        );
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                accepted.fetch_add(1, Ordering::SeqCst);
                let (script, stopped, heard) =
                    (script.clone(), Arc::clone(&stopped), Arc::clone(&heard));
                thread::spawn(move || play(client, &script, &stopped, &heard));
            }
        });
        fake
    }

    /// Greets, takes any login, then plays the script.
    pub fn logged_in(script: Vec<Step>) -> Fake {
        let mut steps = vec![Step::Send(greeting()), Step::Read, Step::Send(ok(2))];
        steps.extend(script);
        Fake::new(steps)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Options that go to it.
    pub fn tcp(&self) -> OptsBuilder {
        somebody_at(self.addr)
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The packets that `Read` steps took, payloads only.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    /// The password came as it is.
    pub fn heard_password(&self) -> bool {
        let heard = self.heard().concat();
        heard
            .windows(PASSWORD.len())
            .any(|w| w == PASSWORD.as_bytes())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn play(mut client: TcpStream, script: &[Step], stopped: &AtomicBool, heard: &Mutex<Vec<Vec<u8>>>) {
    let _ = client.set_nodelay(true);
    // A client that neither reads nor closes must not keep this thread for ever.
    let _ = client.set_write_timeout(Some(Duration::from_secs(30)));
    let _ = client.set_read_timeout(Some(Duration::from_millis(100)));
    for step in script {
        match step {
            Step::Send(bytes) => {
                if client.write_all(bytes).is_err() {
                    return;
                }
            }
            Step::Read => match read_packet(&mut client, stopped) {
                Some(payload) => heard.lock().unwrap().push(payload),
                None => return,
            },
            Step::Forever(bytes) => {
                while !stopped.load(Ordering::SeqCst) {
                    if client.write_all(bytes).is_err() {
                        return;
                    }
                }
            }
            Step::Silence => {
                let mut byte = [0];
                while read_exact(&mut client, &mut byte, stopped) {}
            }
        }
    }
}

fn read_packet(client: &mut TcpStream, stopped: &AtomicBool) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    if !read_exact(client, &mut header, stopped) {
        return None;
    }
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    read_exact(client, &mut payload, stopped).then_some(payload)
}

fn read_exact(client: &mut TcpStream, buffer: &mut [u8], stopped: &AtomicBool) -> bool {
    let mut at = 0;
    while at < buffer.len() {
        match client.read(&mut buffer[at..]) {
            Ok(0) => return false,
            Ok(n) => at += n,
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) && !stopped.load(Ordering::SeqCst) => {}
            Err(_) => return false,
        }
    }
    true
}

/// A packet with its header.
pub fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_le_bytes();
    let mut bytes = vec![len[0], len[1], len[2], seq];
    bytes.extend_from_slice(payload);
    bytes
}

/// An OK packet without anything.
pub fn ok(seq: u8) -> Vec<u8> {
    packet(seq, &[0, 0, 0, 2, 0, 0, 0])
}

/// An ERR packet with any bytes as message.
pub fn err(seq: u8, code: u16, message: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend_from_slice(&code.to_le_bytes());
    payload.extend_from_slice(b"#HY000");
    payload.extend_from_slice(message);
    packet(seq, &payload)
}

/// A column definition of text.
pub fn column(name: &str) -> Vec<u8> {
    column_of_type(name, 0xfd)
}

/// A column definition.
pub fn column_of_type(name: &str, kind: u8) -> Vec<u8> {
    let mut payload = b"\x03def\0\0\0".to_vec();
    payload.push(name.len() as u8);
    payload.extend_from_slice(name.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&[0x0c, 45, 0, 9, 0, 0, 0, kind, 0, 0, 0, 0, 0]);
    payload
}

/// The end of columns or rows.
pub fn eof(seq: u8) -> Vec<u8> {
    packet(seq, &[0xfe, 0, 0, 2, 0])
}

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const LOCAL_FILES: u32 = 1 << 7;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const MULTI_STATEMENTS: u32 = 1 << 16;
const MULTI_RESULTS: u32 = 1 << 17;
const PS_MULTI_RESULTS: u32 = 1 << 18;
const PLUGIN_AUTH: u32 = 1 << 19;
const CONNECT_ATTRS: u32 = 1 << 20;
const LENENC_AUTH: u32 = 1 << 21;

/// The greeting of a MySQL 8-like server without TLS, session tracking and `DEPRECATE_EOF`.
pub fn greeting() -> Vec<u8> {
    greeting_with("8.0.99-fake", "mysql_native_password", 0)
}

/// A greeting with further capabilities.
pub fn greeting_with(version: &str, plugin: &str, more: u32) -> Vec<u8> {
    let capabilities = LONG_PASSWORD
        | CONNECT_WITH_DB
        | LOCAL_FILES
        | PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH
        | CONNECT_ATTRS
        | LENENC_AUTH
        | more;
    let [low0, low1, high0, high1] = capabilities.to_le_bytes();
    let mut payload = vec![10];
    payload.extend_from_slice(version.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&7_u32.to_le_bytes());
    payload.extend_from_slice(b"abcdefgh\0");
    payload.extend_from_slice(&[low0, low1, 45, 2, 0, high0, high1, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"ijklmnopqrst\0");
    payload.extend_from_slice(plugin.as_bytes());
    payload.push(0);
    packet(0, &payload)
}
