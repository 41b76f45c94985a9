//! More than fits: large statements, large results, peers that are slow or take nothing for a while.
//! Everything comes to its end, and every answer is right.

mod support;

use std::{
    pin::Pin,
    sync::Arc,
    task::Poll,
    thread::{self, JoinHandle},
    time::Duration,
};

use mysql_mux::{Pipelining, aio};
use support::{
    relay::Way,
    talker::{Gate, Manner, Talker, row, says_it},
    task::{block_on, poll_once},
    *,
};

const MB: usize = 1_000_000;

/// A mux of one link, which is waited for as long as it takes.
fn one_link() -> Mux {
    builder()
        .max_links(1)
        .acquire_timeout(VERY_GENEROUS)
        .build()
}

/// Text that says whose it is wherever one looks.
fn text(me: u64, len: usize) -> String {
    let mut text = format!("{me}.").repeat(len / 2);
    text.truncate(len);
    text
}

/// Sends text and wants it back.
fn echo(handle: &mut Handle, me: u64, len: usize) {
    let sent = text(me, len);
    let back: String = one(handle, &format!("SELECT '{sent}'"));
    assert!(back == sent, "{me}: {} of {len} bytes came", back.len());
}

/// Threads that ask small things until the others have ended.
fn small(mux: &Mux, opts: &OptsBuilder, threads: u64, rounds: u64) -> Vec<JoinHandle<()>> {
    (0..threads)
        .map(|number| {
            let mut handle = mux.connect(opts.clone()).unwrap();
            thread::spawn(move || {
                for round in 0..rounds {
                    let n = number * 100_000 + round;
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                    let back: Option<u64> = handle.exec_first("SELECT ?", (n,)).unwrap();
                    assert_eq!(back, Some(n));
                }
            })
        })
        .collect()
}

#[test]
fn statements_of_sixty_megabytes_and_small_ones_share_a_link() {
    let user = User::new("backbig");
    let mux = one_link();
    let mut threads = small(&mux, &user.tcp(), 6, 200);
    for number in 1..=2 {
        let mut handle = mux.connect(user.tcp()).unwrap();
        threads.push(thread::spawn(move || {
            let sql = format!("SELECT LENGTH('{}'), {number}", text(number, 60 * MB));
            for _ in 0..2 {
                let row: Option<(usize, u64)> = handle.query_first(&sql).unwrap();
                assert_eq!(row, Some((60 * MB, number)));
            }
        }));
    }
    join("large statements among small ones", threads);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_statement_that_is_too_large_fails_alone() {
    let user = User::new("backtoobig");
    let mux = one_link();
    let mut threads = small(&mux, &user.tcp(), 6, 200);
    let mut handle = mux.connect(user.tcp()).unwrap();
    threads.push(thread::spawn(move || {
        let sql = format!("SELECT LENGTH('{}')", text(1, 70 * MB));
        for _ in 0..3 {
            let e = error_of(handle.query_drop(&sql));
            assert!(matches!(e, Error::PacketTooLarge { .. }), "{e}");
            assert_eq!(one::<u64>(&mut handle, "SELECT 1"), 1);
        }
    }));
    join("a statement that is too large", threads);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn small_results_come_behind_hundreds_of_megabytes() {
    let user = User::new("backresult");
    let mux = one_link();
    let mut threads = small(&mux, &user.tcp(), 6, 200);
    for letter in [b'x', b'y'] {
        let mut handle = mux.connect(user.tcp()).unwrap();
        threads.push(thread::spawn(move || {
            let sql = format!("SELECT REPEAT('{}', 50000000)", char::from(letter));
            for _ in 0..3 {
                let bytes: Vec<u8> = handle.query_first(&sql).unwrap().expect("a row");
                assert_eq!(bytes.len(), 50_000_000);
                assert!(bytes.iter().all(|&b| b == letter));
            }
        }));
    }
    join("large results among small ones", threads);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn threads_that_send_and_get_more_than_all_buffers_hold_do_not_lock_up() {
    let user = User::new("backecho");
    let mux = one_link();
    // One is to be pipelined behind the other, and the server to write while it is written to.
    let threads = (0..32)
        .map(|number| {
            let mut handle = mux.connect(user.tcp()).unwrap();
            thread::spawn(move || {
                for round in 0..12 {
                    echo(&mut handle, number * 1000 + round, 300_000);
                }
            })
        })
        .collect();
    join("threads that echo", threads);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

/// A statement of a task, begun.
type Asked<'a> = Pin<Box<dyn Future<Output = mysql_mux::Result<Option<String>>> + 'a>>;

#[track_caller]
fn tasks_that_nobody_goes_on_with(opts: OptsBuilder, tasks: u64, len: usize) {
    within(VERY_GENEROUS, "tasks that echo", move || {
        let mux = one_link();
        let mut handles: Vec<aio::Handle> = (0..tasks)
            .map(|_| block_on(mux.connect_async(opts.clone())).unwrap())
            .collect();
        let first: Option<u64> = block_on(handles[0].query_first("SELECT 1")).unwrap();
        assert_eq!(first, Some(1));
        let mut asked: Vec<Asked> = (0..)
            .zip(&mut handles)
            .map(|(n, handle)| -> Asked {
                let sql = format!("SELECT '{}'", text(n, len));
                Box::pin(async move { handle.query_first(sql).await })
            })
            .collect();
        // All of it is asked, and a part of it sent, before anybody looks for an answer.
        let mut answered = Vec::new();
        for asked in &mut asked {
            answered.push(match poll_once(asked.as_mut()) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            });
        }
        for (n, (asked, answered)) in (0..).zip(asked.into_iter().zip(answered)) {
            let back = answered.unwrap_or_else(|| block_on(asked)).unwrap();
            assert!(back == Some(text(n, len)), "{n} got another answer");
        }
        assert_eq!(mux.stats().total.lost_connections, 0);
        assert_eq!(mux.stats().total.connect_success, 1);
    });
}

#[test]
fn thousands_of_tasks_with_small_statements_that_nobody_goes_on_with_do_not_lock_up() {
    tasks_that_nobody_goes_on_with(server().tcp(), 3000, 100);
}

#[test]
fn tasks_with_large_statements_and_results_that_nobody_goes_on_with_do_not_lock_up() {
    tasks_that_nobody_goes_on_with(server().tcp(), 400, 100_000);
}

#[test]
fn tasks_over_the_unix_socket_that_nobody_goes_on_with_do_not_lock_up() {
    tasks_that_nobody_goes_on_with(server().socket(), 400, 100_000);
}

#[cfg(all(feature = "rustls-tls", feature = "compress"))]
#[test]
fn tasks_over_tls_and_compression_that_nobody_goes_on_with_do_not_lock_up() {
    let ssl = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
    let opts = server()
        .tcp()
        .ip_or_hostname(Some("localhost"))
        .ssl_opts(ssl)
        .compress(Some(mysql_mux::Compression::fast()));
    tasks_that_nobody_goes_on_with(opts, 100, 50_000);
}

#[test]
fn thousands_of_statements_of_one_handle_do_not_lock_up() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    within(VERY_GENEROUS, "many statements of one", move || {
        for (count, len) in [(3000, 10_000), (20, 3 * MB)] {
            let results = handle.pipeline(|pipe| {
                for n in 0..count {
                    pipe.query(format!("SELECT '{}'", text(n, len)));
                }
                Ok(())
            });
            let results = results.unwrap();
            assert_eq!(results.len() as u64, count);
            for (n, result) in (0..).zip(results) {
                let rows: Vec<String> = result.unwrap().rows().unwrap();
                assert!(rows == [text(n, len)], "{n} got another answer");
            }
        }
    });
}

#[test]
fn everything_comes_over_a_slow_network() {
    let relay = Relay::new();
    let mux = one_link();
    let opts = relay.tcp(server().tcp());
    let mut threads = small(&mux, &opts, 8, 10);
    for way in [Way::Up, Way::Down] {
        relay.delay(way, Duration::from_millis(5));
    }
    for number in 0..8 {
        let mut handle = mux.connect(opts.clone()).unwrap();
        threads.push(thread::spawn(move || {
            for round in 0..3 {
                echo(&mut handle, number * 10 + round, 500_000);
            }
        }));
    }
    join("echoes over a slow network", threads);
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn a_network_that_stands_still_for_a_while_loses_nothing() {
    let relay = Relay::new();
    let mux = one_link();
    let opts = relay.tcp(server().tcp());
    let mut first = mux.connect(opts.clone()).unwrap();
    assert_eq!(one::<u64>(&mut first, "SELECT 1"), 1);
    for way in [Way::Up, Way::Down] {
        relay.stall(way);
        let before = mux.stats().total.statements;
        let threads: Vec<_> = (0..20)
            .map(|number| {
                let mut handle = mux.connect(opts.clone()).unwrap();
                thread::spawn(move || echo(&mut handle, number, 400_000))
            })
            .collect();
        eventually("all are asked or wait", || {
            let total = mux.stats().total;
            total.statements - before + total.waiting == 20
        });
        relay.heal();
        join("echoes behind a standstill", threads);
    }
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn a_server_that_reads_slowly_gets_everything() {
    let talker = Talker::new(Manner {
        read: 16 << 10,
        rest: Duration::from_millis(1),
        answer: Arc::new(|sql| match sql.strip_prefix("SELECT '") {
            Some(text) => row(text.trim_end_matches('\'')),
            None => says_it(sql),
        }),
        ..Manner::default()
    });
    let mux = one_link();
    let threads = (0..16)
        .map(|number| {
            let mut handle = mux.connect(talker.tcp()).unwrap();
            thread::spawn(move || {
                for round in 0..2 {
                    echo(&mut handle, number * 10 + round, 200_000);
                    let n = 100 + number;
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                }
            })
        })
        .collect();
    join("echoes of a slow reader", threads);
    assert_eq!(talker.accepted(), 1);
}

/// A server that answers `SELECT 0` when the gate is opened.
fn gated(gate: &Gate) -> Talker {
    let gate = gate.clone();
    Talker::new(Manner {
        answer: Arc::new(move |sql| {
            if sql == "SELECT 0" {
                gate.pass();
            }
            says_it(sql)
        }),
        ..Manner::default()
    })
}

#[test]
fn what_does_not_fit_on_a_link_waits_and_is_answered_too() {
    let gate = Gate::default();
    let talker = gated(&gate);
    let mux = one_link();
    let mut first = mux.connect(talker.tcp()).unwrap();
    assert_eq!(one::<u64>(&mut first, "SELECT 1"), 1);
    let mut threads = vec![thread::spawn(move || one::<u64>(&mut first, "SELECT 0"))];
    eventually("the first one is there", || gate.came() == 1);
    let before = mux.stats().total.statements;
    for n in 1..=200 {
        let mut handle = mux.connect(talker.tcp()).unwrap();
        threads.push(thread::spawn(move || {
            one::<u64>(&mut handle, &format!("SELECT {n}"))
        }));
        eventually("it is asked or waits", || {
            let total = mux.stats().total;
            total.statements - before + total.waiting == n
        });
    }
    // Nobody is put behind one that takes so long.
    assert!(mux.stats().total.waiting > 100);
    gate.open();
    let answers = join("those who wait behind one", threads);
    assert_eq!(answers, (0..=200).collect::<Vec<_>>());
    assert_eq!(mux.stats().total.waiting, 0);
    assert_eq!(talker.accepted(), 1);
}

#[test]
fn one_at_a_time_nobody_overtakes_those_who_wait() {
    let gate = Gate::default();
    let talker = gated(&gate);
    let opts = talker.tcp().pipelining(Pipelining::Off);
    let mux = one_link();
    let mut first = mux.connect(opts.clone()).unwrap();
    assert_eq!(one::<u64>(&mut first, "SELECT 1"), 1);
    let mut threads = vec![thread::spawn(move || one::<u64>(&mut first, "SELECT 0"))];
    eventually("the first one is there", || gate.came() == 1);
    for n in 100..130 {
        let mut handle = mux.connect(opts.clone()).unwrap();
        threads.push(thread::spawn(move || {
            let n = one::<u64>(&mut handle, &format!("SELECT {n}"));
            // Whoever is served asks again, and comes behind all who wait already.
            let again = one::<u64>(&mut handle, &format!("SELECT {}", n + 100));
            assert_eq!(again, n + 100);
            n
        }));
        eventually("it waits", || mux.stats().total.waiting == n - 99);
    }
    gate.open();
    join("those who wait behind one", threads);
    // All of the first round, in order, before any of the second.
    let heard = talker.heard("SELECT ");
    let begin = heard.iter().position(|sql| sql == "SELECT 0").unwrap() + 1;
    let wanted: Vec<String> = (100..130).map(|n| format!("SELECT {n}")).collect();
    assert_eq!(heard[begin..begin + 30], wanted);
    assert_eq!(heard.len(), begin + 60);
    assert_eq!(talker.most_at_once(), [1]);
}
