//! What may stand between a program and its server: proxies that can't take commands before the last
//! one is answered, and such as are far away.

mod support;

use std::{thread, time::Duration};

use mysql_mux::{
    ConnectCause, Pipelining,
    error::{ConnectError, ConnectPhase},
};
use support::{
    relay::Way,
    talker::{Manner, Taking, Talker},
    *,
};

const CAN_NOT: [Taking; 3] = [Taking::TheFirst, Taking::NothingMore, Taking::Closing];

fn talker(taking: Taking) -> Talker {
    Talker::new(Manner {
        taking,
        ..Manner::default()
    })
}

#[track_caller]
fn connect_error(e: &Error) -> &ConnectError {
    match e {
        Error::ConnectError(e) => e,
        e => panic!("not a connect error: {e}"),
    }
}

/// Reads by many, transactions and hand-overs in between, and many statements in one go.
#[track_caller]
fn use_it(mux: &Mux, opts: &OptsBuilder) {
    let threads: Vec<_> = (0..8_u64)
        .map(|number| {
            let mut handle = mux.connect(opts.clone()).unwrap();
            thread::spawn(move || {
                for round in 0..20 {
                    let n = number * 1000 + round;
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                    if round % 5 == 0 {
                        handle.query_drop("DO 1").unwrap();
                    }
                }
                let results = handle.pipeline(|pipe| {
                    for n in 0..30 {
                        pipe.query(format!("SELECT {n}"));
                    }
                    Ok(())
                });
                for (n, result) in (0_u64..).zip(results.unwrap()) {
                    assert_eq!(result.unwrap().rows::<u64>().unwrap(), [n]);
                }
            })
        })
        .collect();
    join("statements through a proxy", threads);
}

#[test]
fn a_proxy_that_takes_one_command_at_a_time_is_found_out_and_never_gets_two_again() {
    let threads = CAN_NOT.map(|taking| {
        thread::spawn(move || {
            let talker = talker(taking);
            let mux = builder().max_links(1).build();
            use_it(&mux, &talker.tcp());
            let most = talker.most_at_once();
            assert_eq!(
                most.len(),
                2,
                "{taking:?}: the one that failed, and another"
            );
            assert!(most[0] > 1, "{taking:?}: it was tried");
            assert_eq!(most[1], 1, "{taking:?}");
        })
    });
    join("proxies of all kinds", threads.into());
}

#[test]
fn what_was_found_out_of_a_proxy_holds_for_all_further_links() {
    let talker = talker(Taking::Closing);
    let mux = builder().max_links(4).build();
    let mut handles: Vec<Handle> = (0..4).map(|_| mux.connect(talker.tcp()).unwrap()).collect();
    for handle in &mut handles {
        handle.query_drop("START TRANSACTION").unwrap();
    }
    assert_eq!(talker.accepted(), 5);
    for handle in &mut handles {
        handle.query_drop("COMMIT").unwrap();
    }
    use_it(&mux, &talker.tcp());
    let most = talker.most_at_once();
    assert!(most[0] > 1);
    assert_eq!(most[1..], [1, 1, 1, 1]);
}

#[test]
fn with_pipelining_off_no_command_is_sent_before_the_last_is_answered() {
    for taking in CAN_NOT {
        let talker = talker(taking);
        let mux = builder().max_links(2).build();
        use_it(&mux, &talker.tcp().pipelining(Pipelining::Off));
        let most = talker.most_at_once();
        assert!(most.len() <= 2, "{taking:?}: {most:?}");
        assert!(most.iter().all(|&n| n == 1), "{taking:?}: {most:?}");
    }
}

#[test]
fn with_pipelining_on_commands_are_sent_together_and_nothing_else_is_tried() {
    let able = talker(Taking::All);
    let mux = builder().max_links(1).build();
    use_it(&mux, &able.tcp().pipelining(Pipelining::On));
    let most = able.most_at_once();
    assert_eq!(most.len(), 1);
    assert!(most[0] > 1);

    let unable = talker(Taking::Closing);
    let e = error_of(mux.connect(unable.tcp().pipelining(Pipelining::On)));
    assert_eq!(connect_error(&e).phase, ConnectPhase::Setup, "{e}");
    assert_eq!(unable.accepted(), 1);
}

#[test]
fn what_can_take_many_commands_at_a_time_gets_them() {
    let talker = talker(Taking::All);
    let mux = builder().max_links(1).build();
    use_it(&mux, &talker.tcp());
    let most = talker.most_at_once();
    assert_eq!(most.len(), 1, "there was no need for a second connect");
    assert!(most[0] > 1);
}

/// Writes that one read takes behind another handle's session.
fn writes_of_a_hand_over(mux: &Mux, opts: &OptsBuilder) -> u64 {
    let opts = opts.clone().isolation(Isolation::Reset);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("DO 1").unwrap();
    let before = mux.stats().total.writes;
    assert_eq!(one::<u64>(&mut b, "SELECT 1"), 1);
    mux.stats().total.writes - before
}

#[test]
fn a_server_behind_a_relay_is_found_able() {
    let relay = Relay::new();
    let mux = builder().max_links(1).build();
    let opts = relay.tcp(server().tcp()).init(vec!["SET @a = 1"]);
    assert_eq!(writes_of_a_hand_over(&mux, &opts), 1);
    use_it(&mux, &opts);
    assert_eq!(relay.accepted(), 1);

    let off = opts.pipelining(Pipelining::Off);
    assert!(writes_of_a_hand_over(&mux, &off) > 2);
    use_it(&mux, &off);
    assert_eq!(relay.accepted(), 2);
}

#[test]
fn a_server_that_is_far_away_is_found_able_too() {
    let relay = Relay::new();
    relay.delay(Way::Up, Duration::from_millis(150));
    relay.delay(Way::Down, Duration::from_millis(150));
    let mux = builder().max_links(1).build();
    let opts = relay.tcp(server().tcp()).init(vec!["SET @a = 1"]);
    assert_eq!(writes_of_a_hand_over(&mux, &opts), 1);
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn what_does_not_come_up_at_all_is_an_error_whatever_is_tried() {
    for pipelining in [Pipelining::Auto, Pipelining::On, Pipelining::Off] {
        let fake = Fake::logged_in(vec![]);
        let opts = fake.tcp().pipelining(pipelining);
        let e = within(GENEROUS, "a server that hangs up", move || {
            error_of(mux().connect(opts))
        });
        assert_eq!(connect_error(&e).phase, ConnectPhase::Setup, "{e}");
        let tries = if pipelining == Pipelining::Auto { 2 } else { 1 };
        assert_eq!(fake.accepted(), tries, "{pipelining:?}");
    }
}

#[cfg(feature = "rustls-tls")]
#[test]
fn tls_that_is_asked_for_is_never_done_without_whatever_is_tried() {
    for pipelining in [Pipelining::Auto, Pipelining::On, Pipelining::Off] {
        // One that would take any login, without TLS too.
        let fake = Fake::new(vec![
            fake::Step::Send(fake::greeting()),
            fake::Step::Read,
            fake::Step::Send(fake::ok(2)),
            fake::Step::Silence,
        ]);
        let ssl = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
        let opts = fake.tcp().ssl_opts(ssl).pipelining(pipelining);
        let mux = mux();
        for tries in 1..=2 {
            let (mux, opts) = (mux.clone(), opts.clone());
            let e = within(GENEROUS, "TLS that is not offered", move || {
                error_of(mux.connect(opts))
            });
            let e = connect_error(&e);
            assert_eq!(e.phase, ConnectPhase::Tls, "{e}");
            assert!(matches!(e.cause, ConnectCause::Unsupported(_)), "{e}");
            assert_eq!(fake.accepted(), tries);
        }
        assert!(fake.heard().is_empty(), "{:?}", fake.heard());
    }
}

#[cfg(feature = "rustls-tls")]
#[test]
fn tls_is_used_on_each_link_whatever_is_tried() {
    let user = User::identified(
        "proxytls",
        "correct-Horse7",
        "IDENTIFIED BY 'correct-Horse7' REQUIRE SSL",
    );
    for pipelining in [Pipelining::Auto, Pipelining::On, Pipelining::Off] {
        let ssl = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
        let opts = user
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(ssl)
            .pipelining(pipelining);
        let mux = builder().max_links(2).build();
        use_it(&mux, &opts);
        let mut handles = handles(&mux, &opts, 2);
        for handle in &mut handles {
            handle.query_drop("START TRANSACTION").unwrap();
        }
        for handle in &mut handles {
            let row: Option<(String, String)> =
                handle.query_first("SHOW STATUS LIKE 'Ssl_cipher'").unwrap();
            assert_ne!(row.unwrap().1, "");
        }
    }
}
