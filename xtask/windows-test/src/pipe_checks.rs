//! The library's client of a pipe by itself.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    checks::{Outcome, Run, ensure, took},
    pipe::Pipe,
    server::Instance,
};

pub fn all(run: &mut Run) {
    run.check("pipe: bytes both ways at a time", both_ways);
    run.check("pipe: a missing pipe is told at once", missing);
    run.check("pipe: what is no name of a pipe is not opened", no_name);
    run.check("pipe: a busy pipe is waited for", busy_then_free);
    run.check(
        "pipe: a busy pipe is not waited for beyond the deadline",
        busy_for_good,
    );
    run.check(
        "pipe: a read ends in time, and the next one works",
        read_timeout,
    );
    run.check("pipe: a write ends in time", write_timeout);
    run.check("pipe: readable bytes are counted", readable);
    run.check("pipe: what was sent before a close is read", close);
    run.check("pipe: a server that throws the client out", disconnect);
    run.check("pipe: a shutdown wakes a read", shutdown_read);
    run.check("pipe: a shutdown wakes a write", shutdown_write);
    run.check("pipe: a shutdown that races with reads", shutdown_race);
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn in_ms(after: u64) -> Instant {
    Instant::now() + ms(after)
}

/// Both ends of a new pipe.
fn pair(name: &str) -> io::Result<(Instance, Pipe)> {
    let server = Instance::new(name, 1)?;
    let client = Pipe::connect(".", name, in_ms(5000))?;
    server.accept()?;
    Ok((server, client))
}

fn kind<T: std::fmt::Debug>(outcome: io::Result<T>, want: io::ErrorKind) -> Outcome {
    match outcome {
        Err(e) if e.kind() == want => Ok(()),
        other => Err(format!("{want:?} was expected, not {other:?}").into()),
    }
}

fn both_ways() -> Outcome {
    const LENGTH: usize = 3_000_000;
    let (server, client) = pair("mux-both")?;
    // Sends back whatever comes.
    thread::spawn(move || {
        let mut buf = [0; 5000];
        while let Ok(n @ 1..) = server.read(&mut buf) {
            if server.write_all(&buf[..n]).is_err() {
                break;
            }
        }
    });
    let client = Arc::new(client);
    let byte = |i: usize| (i % 251) as u8;
    let writer = {
        let client = client.clone();
        thread::spawn(move || -> io::Result<()> {
            let bytes: Vec<u8> = (0..LENGTH).map(byte).collect();
            let mut left = bytes.as_slice();
            while !left.is_empty() {
                left = &left[client.write(left, Some(ms(5000)))?..];
            }
            Ok(())
        })
    };
    let (mut got, mut buf) = (0, [0; 7000]);
    while got < LENGTH {
        let n = client.read(&mut buf, Some(ms(5000)))?;
        ensure!(n > 0, "the pipe ended after {got} bytes");
        ensure!(
            buf[..n]
                .iter()
                .enumerate()
                .all(|(i, b)| *b == byte(got + i)),
            "other bytes came back"
        );
        got += n;
    }
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(())
}

fn missing() -> Outcome {
    let began = Instant::now();
    kind(
        Pipe::connect(".", "mux-missing", in_ms(10_000)),
        io::ErrorKind::NotFound,
    )?;
    took(began, 0, 1000)
}

fn no_name() -> Outcome {
    for (server, name) in [
        ("", "x"),
        (".", ""),
        (".", r"..\C:"),
        (".", "a/../../C:/x"),
        (r"a\b", "x"),
        (".", r"\x"),
        (".", "x\0y"),
    ] {
        kind(
            Pipe::connect(server, name, in_ms(10_000)),
            io::ErrorKind::InvalidInput,
        )
        .map_err(|e| format!("{server:?} {name:?}: {e}"))?;
    }
    Ok(())
}

fn busy_then_free() -> Outcome {
    let (server, client) = pair("mux-busy")?;
    let began = Instant::now();
    let other = thread::spawn(|| Pipe::connect(".", "mux-busy", in_ms(10_000)));
    thread::sleep(ms(400));
    drop(client);
    server.disconnect();
    server.accept()?;
    let other = other.join().map_err(|_| "the client panicked")??;
    took(began, 390, 5000)?;
    server.write_all(b"hello")?;
    let mut buf = [0; 10];
    ensure!(
        other.read(&mut buf, Some(ms(1000)))? == 5,
        "other bytes came"
    );
    Ok(())
}

fn busy_for_good() -> Outcome {
    let (_server, _client) = pair("mux-busy-2")?;
    let began = Instant::now();
    kind(
        Pipe::connect(".", "mux-busy-2", in_ms(400)),
        io::ErrorKind::TimedOut,
    )?;
    took(began, 390, 3000)
}

fn read_timeout() -> Outcome {
    let (server, client) = pair("mux-read-timeout")?;
    let mut buf = [0; 10];
    for _ in 0..3 {
        let began = Instant::now();
        kind(
            client.read(&mut buf, Some(ms(200))),
            io::ErrorKind::TimedOut,
        )?;
        took(began, 190, 2000)?;
    }
    server.write_all(b"hello")?;
    ensure!(
        client.read(&mut buf, Some(ms(1000)))? == 5 && &buf[..5] == b"hello",
        "other bytes came"
    );
    // And with none, a read waits as long as it takes.
    thread::spawn(move || {
        thread::sleep(ms(300));
        server.write_all(b"late").map(|()| thread::sleep(ms(1000)))
    });
    ensure!(client.read(&mut buf, None)? == 4, "other bytes came");
    Ok(())
}

fn write_timeout() -> Outcome {
    let (_server, client) = pair("mux-write-timeout")?;
    let began = Instant::now();
    let bytes = vec![0; 1 << 20];
    let mut sent = 0;
    let end = loop {
        match client.write(&bytes, Some(ms(200))) {
            Ok(n) => sent += n,
            Err(e) => break e,
        }
        ensure!(
            sent < 100 << 20,
            "nobody reads, and still the pipe takes bytes"
        );
    };
    kind::<()>(Err(end), io::ErrorKind::TimedOut)?;
    took(began, 190, 3000)
}

fn readable() -> Outcome {
    let (server, client) = pair("mux-readable")?;
    ensure!(client.readable()? == 0, "bytes from nowhere");
    server.write_all(b"hello")?;
    ensure!(client.readable()? == 5, "not the five bytes");
    let mut buf = [0; 2];
    client.read(&mut buf, Some(ms(1000)))?;
    ensure!(client.readable()? == 3, "not the three bytes");
    client.read(&mut [0; 3], Some(ms(1000)))?;
    ensure!(client.readable()? == 0, "more bytes than were sent");
    drop(server);
    ensure!(client.readable().is_err(), "a dead pipe is not told");
    Ok(())
}

fn close() -> Outcome {
    let (server, client) = pair("mux-close")?;
    let closer = thread::spawn(move || {
        thread::sleep(ms(200));
        server.write_all(b"bye")
    });
    let mut buf = [0; 10];
    ensure!(client.read(&mut buf, None)? == 3, "the last bytes are lost");
    closer.join().map_err(|_| "the server panicked")??;
    ensure!(client.read(&mut buf, None)? == 0, "no end");
    ensure!(client.read(&mut buf, None)? == 0, "no end the second time");
    ensure!(
        client.write(b"x", Some(ms(1000))).is_err(),
        "a dead pipe takes bytes"
    );
    Ok(())
}

fn disconnect() -> Outcome {
    let (server, client) = pair("mux-disconnect")?;
    thread::spawn(move || {
        thread::sleep(ms(200));
        server.disconnect();
        thread::sleep(ms(2000));
    });
    let began = Instant::now();
    ensure!(client.read(&mut [0; 10], None)? == 0, "no end");
    took(began, 0, 1500)?;
    ensure!(
        client.write(b"x", Some(ms(1000))).is_err(),
        "a dead pipe takes bytes"
    );
    ensure!(client.readable().is_err(), "a dead pipe is not told");
    Ok(())
}

/// Shuts `client` down while `blocked` is in a call on it.
fn shut_down_during(client: Pipe, blocked: fn(&Pipe) -> io::Result<usize>) -> Outcome {
    let client = Arc::new(client);
    let other = {
        let client = client.clone();
        thread::spawn(move || blocked(&client))
    };
    thread::sleep(ms(300));
    ensure!(!other.is_finished(), "it did not wait");
    let began = Instant::now();
    client.shutdown();
    let end = other.join().map_err(|_| "the client panicked")?;
    took(began, 0, 1000)?;
    kind(end, io::ErrorKind::ConnectionAborted)?;
    kind(
        client.read(&mut [0], None),
        io::ErrorKind::ConnectionAborted,
    )?;
    kind(client.write(&[0], None), io::ErrorKind::ConnectionAborted)?;
    kind(client.readable(), io::ErrorKind::ConnectionAborted)
}

fn shutdown_read() -> Outcome {
    let (_server, client) = pair("mux-shutdown-read")?;
    shut_down_during(client, |pipe| pipe.read(&mut [0; 10], None))
}

fn shutdown_write() -> Outcome {
    let (_server, client) = pair("mux-shutdown-write")?;
    shut_down_during(client, |pipe| {
        loop {
            pipe.write(&[0; 10_000], None)?;
        }
    })
}

fn shutdown_race() -> Outcome {
    for _ in 0..100 {
        let (_server, client) = pair("mux-shutdown-race")?;
        let client = Arc::new(client);
        let other = {
            let client = client.clone();
            thread::spawn(move || client.read(&mut [0; 10], Some(ms(5000))))
        };
        thread::yield_now();
        client.shutdown();
        kind(
            other.join().map_err(|_| "the client panicked")?,
            io::ErrorKind::ConnectionAborted,
        )?;
    }
    Ok(())
}
