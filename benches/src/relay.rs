//! A distance: a TCP relay that holds every byte back for a while.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Relays connections to `host:port` until the program ends, each direction late by `delay`. Returns
/// the port on 127.0.0.1. TCP's own handshake is not held back.
pub fn start(host: &str, port: u16, delay: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?.port();
    let host = host.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            // A connection that can't be relayed is closed; whoever opened it finds out.
            drop(
                client.and_then(|client| join(client, TcpStream::connect((&*host, port))?, delay)),
            );
        }
    });
    Ok(own)
}

fn join(client: TcpStream, server: TcpStream, delay: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    one_way(client.try_clone()?, server.try_clone()?, delay);
    one_way(server, client, delay);
    Ok(())
}

fn one_way(from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = channel();
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || give(to, &receiver));
}

type Late = (Instant, Vec<u8>);

fn take(mut from: TcpStream, sender: &Sender<Late>, delay: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + delay;
        if sender.send((due, buffer[..read].to_vec())).is_err() {
            return;
        }
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
