//! The library, by its public interface, over a pipe that leads to a real server.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use mysql_mux::{ConnectCause, ConnectPhase, Error, Handle, Mux, Opts, OptsBuilder, prelude::*};

use crate::{
    checks::{Outcome, Run, ensure, took},
    server::{Instance, Relay},
};

/// The server and who logs in.
pub struct Server {
    addr: SocketAddr,
    user: String,
    password: String,
}

impl Server {
    /// What a URL tells.
    pub fn new(url: &str) -> Option<Server> {
        let opts = Opts::from_url(url).ok()?;
        Some(Server {
            addr: SocketAddr::new(opts.get_ip_or_hostname().parse().ok()?, opts.get_tcp_port()),
            user: opts.get_user()?.into(),
            password: opts.get_pass()?.into(),
        })
    }

    fn opts(&self, pipe: &str) -> OptsBuilder {
        OptsBuilder::new()
            .pipe_name(Some(pipe))
            .user(Some(&*self.user))
            .pass(Some(&*self.password))
            .tcp_connect_timeout(Some(Duration::from_secs(10)))
    }
}

pub fn all(run: &mut Run, server: Server) {
    let server = Arc::new(server);
    let mut check = |name, check: fn(&Server) -> Outcome| {
        let server = server.clone();
        run.check(name, move || check(&server));
    };
    check("library: login and query", login_and_query);
    check("library: a URL", url);
    check("library: a wrong password", wrong_password);
    check("library: prepared statements", prepared);
    check("library: large packets", large);
    check("library: handles share one link", handles_share);
    check("library: handles of several threads", threads);
    check(
        "library: a pipe that dies under a statement",
        dies_under_statement,
    );
    check("library: a pipe that dies while idle", dies_idle);
    check("library: a pipe that dies before the greeting", dies_early);
    check("library: a read timeout", read_timeout);
    check("library: a missing pipe", missing);
    check("library: a busy pipe is waited for", busy_then_free);
    check(
        "library: a busy pipe is not waited for beyond the timeout",
        busy_for_good,
    );
    check("library: a shutdown ends a statement that runs", shutdown);
}

/// A mux of its own, with so many links.
fn mux(links: usize) -> Mux {
    Mux::builder().max_links(links).build()
}

fn answer(handle: &mut Handle) -> Outcome {
    let answer: Option<u32> = handle.query_first("SELECT 6 * 7")?;
    ensure!(answer == Some(42), "the answer is {answer:?}");
    Ok(())
}

fn login_and_query(server: &Server) -> Outcome {
    let relay = Relay::start("mux-login", 2, server.addr)?;
    let mut handle = mysql_mux::connect(server.opts("mux-login"))?;
    answer(&mut handle)?;
    let rows: Vec<(u8, String)> = handle.query("SELECT 1, 'one' UNION SELECT 2, 'zwölf'")?;
    ensure!(
        rows == [(1, "one".into()), (2, "zwölf".into())],
        "other rows: {rows:?}"
    );
    ensure!(
        relay.clients() == 1,
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn url(server: &Server) -> Outcome {
    let relay = Relay::start("mux-url", 2, server.addr)?;
    let url = format!(
        "mysql://{}:{}@localhost/information_schema?protocol=pipe&pipe_name=mux-url",
        server.user, server.password
    );
    let mut handle = mux(1).connect(url.as_str())?;
    let schema: Option<String> = handle.query_first("SELECT DATABASE()")?;
    ensure!(
        schema.as_deref() == Some("information_schema"),
        "the schema is {schema:?}"
    );
    ensure!(
        relay.clients() == 1,
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn wrong_password(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-wrong", 2, server.addr)?;
    let e = mux(1)
        .connect(server.opts("mux-wrong").pass(Some("wrong")))
        .err();
    ensure!(
        e.as_ref().and_then(Error::code) == Some(1045),
        "error 1045 was expected, not {e:?}"
    );
    Ok(())
}

fn prepared(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-prepared", 2, server.addr)?;
    let mut handle = mux(1).connect(server.opts("mux-prepared"))?;
    for i in 0..10u32 {
        let sum: Option<u32> = handle.exec_first("SELECT ? + ?", (i, 10u32))?;
        ensure!(sum == Some(i + 10), "{i} + 10 is {sum:?}");
    }
    Ok(())
}

fn large(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-large", 2, server.addr)?;
    let mut handle = mux(1).connect(server.opts("mux-large"))?;
    let text = "0123456789abcdef".repeat(3 << 16);
    let back: Option<String> = handle.exec_first("SELECT ?", (&text,))?;
    ensure!(
        back.as_ref() == Some(&text),
        "{:?} other bytes came back",
        back.map(|b| b.len())
    );
    Ok(())
}

fn handles_share(server: &Server) -> Outcome {
    let relay = Relay::start("mux-share", 4, server.addr)?;
    let mux = mux(4);
    let mut handles: Vec<Handle> = (0..50)
        .map(|_| mux.connect(server.opts("mux-share")))
        .collect::<Result<_, _>>()?;
    let mut ids: Vec<u32> = Vec::new();
    for handle in &mut handles {
        handle.query_drop("DO 1")?;
        ids.push(handle.connection_id());
    }
    ids.dedup();
    ensure!(
        ids.len() == 1,
        "50 handles, one after the other, used links {ids:?}"
    );
    ensure!(
        relay.clients() == 1,
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn threads(server: &Server) -> Outcome {
    let relay = Relay::start("mux-threads", 3, server.addr)?;
    let mux = mux(3);
    let threads: Vec<_> = (0..12u32)
        .map(|i| {
            let (mux, opts) = (mux.clone(), server.opts("mux-threads"));
            thread::spawn(move || -> Outcome {
                let mut handle = mux.connect(opts)?;
                for round in 0..10 {
                    let got: Option<u32> =
                        handle.query_first(format!("SELECT {i} * 100 + {round}"))?;
                    ensure!(got == Some(i * 100 + round), "thread {i} got {got:?}");
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    ensure!(
        (1..=3).contains(&relay.clients()),
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn dies_under_statement(server: &Server) -> Outcome {
    let relay = Relay::start("mux-dies", 2, server.addr)?;
    let mut handle = mux(1).connect(server.opts("mux-dies"))?;
    answer(&mut handle)?;
    let began = Instant::now();
    let cut = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        relay.cut();
    });
    let e = handle.query_drop("SELECT SLEEP(20)").err();
    took(began, 490, 5000)?;
    ensure!(
        matches!(&e, Some(Error::ConnectionLost(_))),
        "a lost connection was expected, not {e:?}"
    );
    ensure!(
        e.is_some_and(|e| e.may_have_run()),
        "the statement may have run"
    );
    cut.join().map_err(|_| "a thread panicked")?;
    answer(&mut handle)
}

fn dies_idle(server: &Server) -> Outcome {
    let relay = Relay::start("mux-dies-idle", 2, server.addr)?;
    let mut handle = mux(1).connect(server.opts("mux-dies-idle"))?;
    answer(&mut handle)?;
    relay.cut();
    thread::sleep(Duration::from_millis(500));
    answer(&mut handle)?;
    ensure!(
        relay.clients() == 2,
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn dies_early(server: &Server) -> Outcome {
    let instance = Instance::new("mux-dies-early", 1)?;
    thread::spawn(move || {
        while instance.accept().is_ok() {
            instance.disconnect();
        }
    });
    let began = Instant::now();
    let e = mux(1).connect(server.opts("mux-dies-early")).err();
    took(began, 0, 5000)?;
    ensure!(
        matches!(e, Some(Error::ConnectError(_))),
        "a failed connect was expected, not {e:?}"
    );
    Ok(())
}

fn read_timeout(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-timeout", 2, server.addr)?;
    let opts = server
        .opts("mux-timeout")
        .read_timeout(Some(Duration::from_millis(700)));
    let mut handle = mux(1).connect(opts)?;
    let began = Instant::now();
    let e = handle.query_drop("SELECT SLEEP(20)").err();
    took(began, 690, 5000)?;
    ensure!(
        matches!(e, Some(Error::ConnectionLost(_))),
        "a lost connection was expected, not {e:?}"
    );
    Ok(())
}

fn missing(server: &Server) -> Outcome {
    let began = Instant::now();
    let e = mux(1).connect(server.opts("mux-nowhere")).err();
    took(began, 0, 1000)?;
    let Some(Error::ConnectError(e)) = e else {
        return Err(format!("a failed connect was expected, not {e:?}").into());
    };
    ensure!(e.phase == ConnectPhase::Open, "it failed in {:?}", e.phase);
    let io = match &e.cause {
        ConnectCause::Io(io) => io.kind(),
        other => return Err(format!("an I/O error was expected, not {other:?}").into()),
    };
    ensure!(io == std::io::ErrorKind::NotFound, "the cause is {io:?}");
    ensure!(
        e.to_string().contains(r"\\.\pipe\mux-nowhere"),
        "the pipe is not named: {e}"
    );
    Ok(())
}

fn busy_then_free(server: &Server) -> Outcome {
    let relay = Relay::start("mux-one", 1, server.addr)?;
    let mut first = mux(1).connect(server.opts("mux-one"))?;
    answer(&mut first)?;
    let began = Instant::now();
    let opts = server.opts("mux-one");
    let second = thread::spawn(move || -> Outcome { answer(&mut mux(1).connect(opts)?) });
    thread::sleep(Duration::from_millis(500));
    ensure!(
        !second.is_finished(),
        "the only instance was taken, and there was another"
    );
    // Its mux has gone already; with the handle the link goes.
    drop(first);
    second.join().map_err(|_| "a thread panicked")??;
    took(began, 490, 8000)?;
    ensure!(
        relay.clients() == 2,
        "{} clients came through the pipe",
        relay.clients()
    );
    Ok(())
}

fn busy_for_good(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-one-2", 1, server.addr)?;
    let mut first = mux(1).connect(server.opts("mux-one-2"))?;
    let began = Instant::now();
    let opts = server
        .opts("mux-one-2")
        .tcp_connect_timeout(Some(Duration::from_millis(700)));
    let e = mux(1).connect(opts).err();
    took(began, 690, 4000)?;
    let Some(Error::ConnectError(e)) = e else {
        return Err(format!("a failed connect was expected, not {e:?}").into());
    };
    ensure!(
        matches!(e.cause, ConnectCause::Timeout(_)),
        "a timeout was expected, not {:?}",
        e.cause
    );
    answer(&mut first)
}

fn shutdown(server: &Server) -> Outcome {
    let _relay = Relay::start("mux-shutdown", 2, server.addr)?;
    let mux = mux(1);
    let mut handle = mux.connect(server.opts("mux-shutdown"))?;
    let running = thread::spawn(move || handle.query_drop("SELECT SLEEP(20)"));
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let ended = mux.shutdown(Duration::from_millis(200));
    let end = running.join().map_err(|_| "a thread panicked")?;
    took(began, 190, 5000)?;
    ensure!(ended == 1, "{ended} links were ended");
    ensure!(
        matches!(end, Err(Error::ConnectionLost(_))),
        "a lost connection was expected, not {end:?}"
    );
    Ok(())
}
