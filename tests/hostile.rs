//! Servers that are none, are broken or mean harm: an error within the timeout, no panic, no
//! memory without bound.

mod support;

use std::time::Duration;

use mysql_mux::error::{ConnectCause, ConnectError, ConnectPhase};
use support::{
    fake::{Step, column, column_of_type, eof, err, greeting, greeting_with, ok, packet},
    *,
};

const SOON: Duration = Duration::from_secs(1);

/// Connects and runs one statement; whatever happens, it happens soon.
#[track_caller]
fn attempt(fake: &Fake, sql: &'static str) -> mysql_mux::Result<()> {
    let opts = fake
        .tcp()
        .tcp_connect_timeout(Some(SOON))
        .read_timeout(Some(SOON))
        .max_result_size(1 << 20);
    within(GENEROUS, "a hostile server", move || {
        let mux = builder().acquire_timeout(Duration::from_secs(2)).build();
        let mut handle = mux.connect(opts)?;
        handle.query_drop(sql)
    })
}

#[track_caller]
fn refused(fake: &Fake) -> std::sync::Arc<ConnectError> {
    match error_of(attempt(fake, "SELECT 1")) {
        Error::ConnectError(e) => e,
        other => panic!("a connect error was expected, and it is: {other}"),
    }
}

/// A server that takes the login and whatever prepares the session, then answers with `answer`.
/// How many statements prepare the session is the library's affair: each gets an OK.
fn answers(answer: Vec<u8>) -> Fake {
    answers_then(answer, Step::Silence, [])
}

fn answers_then(answer: Vec<u8>, then: Step, more: impl IntoIterator<Item = Step>) -> Fake {
    let mut script = Vec::new();
    for _ in 0..setup_commands() {
        script.push(Step::Read);
        script.push(Step::Send(ok(1)));
    }
    script.extend([Step::Read, Step::Send(answer), then]);
    script.extend(more);
    Fake::logged_in(script)
}

/// How many commands the library sends between the login and the first statement, as a fake server
/// that says yes to everything hears them.
fn setup_commands() -> usize {
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *COUNT.get_or_init(|| {
        let mut script = Vec::new();
        for _ in 0..20 {
            script.extend([Step::Read, Step::Send(ok(1))]);
        }
        let fake = Fake::logged_in(script);
        attempt(&fake, "DO 'marker'").expect("a server that says yes");
        let heard = fake.heard();
        // The first one is the login.
        let at = heard
            .iter()
            .position(|p| p.ends_with(b"DO 'marker'"))
            .expect("the marker");
        at - 1
    })
}

#[test]
fn a_server_that_says_yes_to_everything_is_a_server() {
    attempt(&answers(ok(1)), "DO 1").unwrap();
}

#[test]
fn a_greeting_that_is_cut_at_any_byte_is_an_error_that_names_the_greeting() {
    let whole = greeting();
    for len in 0..whole.len() {
        let fake = Fake::new(vec![Step::Send(whole[..len].to_vec())]);
        let e = refused(&fake);
        assert_eq!(e.phase, ConnectPhase::Greeting, "cut at {len}: {e}");
    }
}

#[test]
fn a_greeting_that_claims_less_than_it_should_hold_is_refused_at_any_length() {
    let whole = greeting();
    for len in 0..whole.len() - 4 {
        let fake = Fake::new(vec![
            Step::Send(packet(0, &whole[4..4 + len])),
            Step::Read,
            Step::Send(err(2, 1045, b"no")),
        ]);
        // A shorter greeting may be one of an older server; an error it is in any case.
        drop(refused(&fake));
    }
}

#[test]
fn a_web_server_is_told_for_what_it_is_not() {
    let fake = Fake::new(vec![
        Step::Send(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>no</html>".to_vec(),
        ),
        Step::Silence,
    ]);
    let e = refused(&fake);
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
    assert!(matches!(e.cause, ConnectCause::Protocol(_)), "{e}");
    assert!(e.to_string().contains("MySQL"), "{e}");
}

#[test]
fn an_ssh_server_is_told_for_what_it_is_not() {
    let fake = Fake::new(vec![
        Step::Send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
        Step::Silence,
    ]);
    let e = refused(&fake);
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
    assert!(matches!(e.cause, ConnectCause::Protocol(_)), "{e}");
}

#[test]
fn an_smtp_server_is_told_for_what_it_is_not() {
    let fake = Fake::new(vec![
        Step::Send(b"220 mail.example ESMTP\r\n".to_vec()),
        Step::Silence,
    ]);
    let e = refused(&fake);
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
}

#[test]
fn a_server_that_closes_at_once_and_one_that_stays_silent_are_errors() {
    let e = refused(&Fake::new(vec![]));
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
    let e = refused(&Fake::new(vec![Step::Silence]));
    assert!(matches!(e.cause, ConnectCause::Timeout(_)), "{e}");
    let e = refused(&Fake::new(vec![
        Step::Send(greeting()),
        Step::Read,
        Step::Silence,
    ]));
    assert!(matches!(e.cause, ConnectCause::Timeout(_)), "{e}");
}

#[test]
fn a_server_that_refuses_instead_of_greeting_is_heard() {
    // As MySQL does at max_connections: no SQLSTATE yet.
    let mut payload = vec![0xff];
    payload.extend_from_slice(&1040_u16.to_le_bytes());
    payload.extend_from_slice(b"Too many connections");
    let e = refused(&Fake::new(vec![Step::Send(packet(0, &payload))]));
    assert_eq!(e.code(), Some(1040), "{e}");
    assert!(e.to_string().contains("max_connections"), "{e}");
    // And for a host that is blocked.
    let mut payload = vec![0xff];
    payload.extend_from_slice(&1129_u16.to_le_bytes());
    payload.extend_from_slice(b"#HY000Host is blocked");
    let e = refused(&Fake::new(vec![Step::Send(packet(0, &payload))]));
    assert_eq!(e.code(), Some(1129), "{e}");
    assert!(e.to_string().contains("FLUSH HOSTS"), "{e}");
}

#[test]
fn a_protocol_of_another_age_is_refused() {
    for version in [0, 9, 11, 0xfe] {
        let mut bytes = greeting();
        bytes[4] = version;
        let e = refused(&Fake::new(vec![
            Step::Send(bytes),
            Step::Read,
            Step::Silence,
        ]));
        assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
    }
}

#[test]
fn a_greeting_of_sixteen_megabytes_takes_no_such_memory_and_ends() {
    // The length is claimed and never comes.
    let fake = Fake::new(vec![
        Step::Send(vec![0xff, 0xff, 0xff, 0, 10]),
        Step::Silence,
    ]);
    let e = refused(&fake);
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
    // It comes, and so do as many more as one would take.
    let mut bytes = vec![0xff, 0xff, 0xff, 0];
    bytes.resize(64 * 1024, b'8');
    let e = refused(&Fake::new(vec![Step::Forever(bytes)]));
    assert_eq!(e.phase, ConnectPhase::Greeting, "{e}");
}

#[test]
fn packets_out_of_order_are_refused() {
    let fake = Fake::new(vec![
        Step::Send(greeting()),
        Step::Read,
        Step::Send(ok(9)),
        Step::Silence,
    ]);
    let e = refused(&fake);
    assert!(matches!(e.cause, ConnectCause::Protocol(_)), "{e}");
    let e = error_of(attempt(&answers(ok(7)), "SELECT 1"));
    assert!(matches!(e, Error::ConnectionLost(_)), "{e}");
}

#[test]
fn an_authentication_that_never_ends_ends() {
    // AuthMoreData without end.
    let more = packet(2, &[1, 3]);
    let fake = Fake::new(vec![
        Step::Send(greeting()),
        Step::Read,
        Step::Forever(more),
    ]);
    drop(refused(&fake));
    // An auth switch after each answer.
    let mut script = vec![Step::Send(greeting()), Step::Read];
    for i in 0..100_u8 {
        let switch = b"\xfemysql_native_password\0abcdefghijklmnopqrst\0";
        script.extend([Step::Send(packet(2 + i * 2, switch)), Step::Read]);
    }
    drop(refused(&Fake::new(script)));
}

#[test]
fn an_auth_switch_that_is_cut_anywhere_is_an_error() {
    let switch = b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0";
    for len in 1..switch.len() {
        let fake = Fake::new(vec![
            Step::Send(greeting()),
            Step::Read,
            Step::Send(packet(2, &switch[..len])),
            Step::Read,
            Step::Send(err(4, 1045, b"no")),
        ]);
        drop(refused(&fake));
    }
}

#[test]
fn a_server_key_that_is_none_is_refused_and_no_password_leaves() {
    let fake = Fake::new(vec![
        Step::Send(greeting_with("8.0.99-fake", "caching_sha2_password", 0)),
        Step::Read,
        Step::Send(packet(2, &[1, 4])),
        Step::Read,
        Step::Send(packet(
            4,
            b"\x01-----BEGIN PUBLIC KEY-----\nbm9uZQ==\n-----END PUBLIC KEY-----\n",
        )),
        Step::Read,
        Step::Silence,
    ]);
    let opts = fake
        .tcp()
        .get_server_public_key(true)
        .tcp_connect_timeout(Some(SOON));
    let e = within(GENEROUS, "a key that is none", move || {
        error_of(mux().connect(opts))
    });
    assert!(matches!(e, Error::ConnectError(_)), "{e}");
    assert!(!fake.heard_password());
}

#[test]
fn an_error_whose_text_is_no_utf8_is_readable() {
    let e = error_of(attempt(
        &answers(err(1, 1064, b"bad \xff\xfe bytes \xc3")),
        "SELECT 1",
    ));
    match &e {
        Error::MySqlError(e) => {
            assert_eq!(e.code, 1064);
            assert!(
                e.message.starts_with("bad ") && e.message.contains(" bytes "),
                "{e}"
            );
        }
        other => panic!("a server's error was expected, and it is: {other}"),
    }
    // And in the refusal of a login.
    let fake = Fake::new(vec![
        Step::Send(greeting()),
        Step::Read,
        Step::Send(err(2, 1045, b"who? \xff")),
    ]);
    assert_eq!(refused(&fake).code(), Some(1045));
}

#[test]
fn an_error_packet_that_is_cut_anywhere_is_an_error() {
    let whole = [0xff, 0x28, 0x04, b'#', b'4', b'2', b'0', b'0', b'0', b'x'];
    for len in 1..whole.len() {
        drop(error_of(attempt(
            &answers(packet(1, &whole[..len])),
            "SELECT 1",
        )));
    }
}

#[test]
fn an_endless_count_of_columns_takes_no_such_memory_and_ends() {
    // 2^64 - 1 columns, and then columns without end.
    let mut answer = packet(1, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let e = error_of(attempt(&answers(answer.clone()), "SELECT 1"));
    assert!(
        matches!(e, Error::ConnectionLost(_) | Error::ResultTooLarge { .. }),
        "{e}"
    );

    answer = packet(1, &[0xfd, 0xff, 0xff, 0xff]);
    let mut columns = Vec::new();
    for i in 0..=255_u8 {
        columns.extend(packet(i.wrapping_add(2), &column("c")));
    }
    let e = error_of(attempt(
        &answers_then(answer, Step::Forever(columns), []),
        "SELECT 1",
    ));
    assert!(
        matches!(e, Error::ConnectionLost(_) | Error::ResultTooLarge { .. }),
        "{e}"
    );
}

/// The definition of a text column.
#[test]
fn rows_without_end_are_ended_by_the_limit_of_the_result() {
    let mut answer = packet(1, &[1]);
    answer.extend(packet(2, &column("c")));
    answer.extend(eof(3));
    let mut rows = Vec::new();
    for i in 0..=255_u8 {
        let mut row = vec![200];
        row.extend_from_slice(&[b'x'; 200]);
        rows.extend(packet(i.wrapping_add(4), &row));
    }
    let e = error_of(attempt(
        &answers_then(answer, Step::Forever(rows), []),
        "SELECT 1",
    ));
    assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
}

#[test]
fn a_value_that_claims_more_than_its_packet_holds_is_an_error() {
    for value in [
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'x'][..],
        &[0xfd, 0xff, 0xff, 0xff, b'x'],
        &[0xfc, 0xff, 0xff],
        &[250, b'x'],
        &[0xfc],
        &[],
    ] {
        let mut answer = packet(1, &[1]);
        answer.extend(packet(2, &column("c")));
        answer.extend(eof(3));
        answer.extend(packet(4, value));
        answer.extend(eof(5));
        let fake = answers(answer);
        let opts = fake.tcp().read_timeout(Some(SOON));
        let got = within(GENEROUS, "a value that is too long", move || {
            mux().connect(opts).unwrap().query::<String, _>("SELECT 1")
        });
        assert!(got.is_err(), "{value:?} gave {got:?}");
    }
}

#[test]
fn every_type_that_a_column_may_claim_is_a_value_or_an_error() {
    for kind in 0..=255_u8 {
        let mut columns = packet(1, &[1]);
        columns.extend(packet(2, &column_of_type("c", kind)));
        columns.extend(eof(3));

        let mut text = columns.clone();
        text.extend(packet(4, b"\x03abc"));
        text.extend(eof(5));
        let fake = answers(text);
        let opts = fake.tcp().read_timeout(Some(SOON));
        within(GENEROUS, "a text row of any type", move || {
            drop(
                mux()
                    .connect(opts)
                    .unwrap()
                    .query::<mysql_mux::Row, _>("SELECT 1"),
            );
        });

        let mut prepared = packet(1, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        prepared.extend(packet(2, &column_of_type("c", kind)));
        prepared.extend(eof(3));
        let mut binary = columns;
        binary.extend(packet(4, &[0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0]));
        binary.extend(eof(5));
        let fake = answers_then(prepared, Step::Read, [Step::Send(binary), Step::Silence]);
        let opts = fake.tcp().read_timeout(Some(SOON));
        within(GENEROUS, "a binary row of any type", move || {
            let got = mux()
                .connect(opts)
                .unwrap()
                .exec::<mysql_mux::Row, _, _>("SELECT 1", ());
            if kind == 0xfd {
                let rows = got.unwrap();
                assert_eq!(rows[0].get::<String, _>(0).as_deref(), Some("abc"));
            }
        });
    }
}

#[test]
fn column_definitions_that_are_cut_anywhere_are_errors() {
    let whole = column("name");
    for len in 0..whole.len() {
        let mut answer = packet(1, &[1]);
        answer.extend(packet(2, &whole[..len]));
        answer.extend(eof(3));
        answer.extend(packet(4, b"\x01a"));
        answer.extend(eof(5));
        // What the client does not need of a definition may be missing; no panic is what counts,
        // and that the whole is over soon.
        drop(attempt(&answers(answer), "SELECT 1"));
    }
}

#[test]
fn more_rows_than_were_asked_for_do_not_reach_the_next_statement() {
    // A second OK that nobody asked for.
    let mut answer = ok(1);
    answer.extend(err(1, 1064, b"unasked"));
    let fake = answers(answer);
    let opts = fake.tcp().read_timeout(Some(SOON));
    within(GENEROUS, "an unasked answer", move || {
        let mux = builder().acquire_timeout(Duration::from_secs(2)).build();
        let mut handle = mux.connect(opts).unwrap();
        handle.query_drop("DO 1").unwrap();
        // The link is not trusted any more: this goes to another one, or fails, but it never takes
        // the unasked answer for its own.
        if let Err(e) = handle.query_drop("DO 2") {
            assert_ne!(e.code(), Some(1064), "{e}");
        }
    });
}

#[test]
fn an_ok_packet_with_broken_trackers_is_no_panic() {
    // SESSION_STATE_CHANGED with a length that is not there.
    for changes in [&[0xfe_u8, 1, 2][..], &[4, 0, 200, 1, b'x'], &[2, 9, 9], &[]] {
        let mut payload = vec![0, 0, 0, 2, 0x40, 0, 0, 0];
        payload.extend_from_slice(changes);
        drop(attempt(&answers(packet(1, &payload)), "DO 1"));
    }
}

#[test]
fn a_file_that_is_asked_for_behind_a_plain_read_is_the_end_of_the_link_and_not_sent() {
    let fake = answers(packet(1, b"\xfb/etc/passwd"));
    let e = error_of(attempt(&fake, "SELECT 1"));
    assert!(
        e.to_string().contains("a file is asked for"),
        "another error: {e}"
    );
    let heard = fake.heard();
    let last = heard.last().map(Vec::as_slice);
    assert_eq!(
        last,
        Some(&b"\x03SELECT 1"[..]),
        "nothing was sent behind it"
    );
}

#[test]
fn a_file_that_is_asked_for_unasked_is_not_sent() {
    let fake = Fake::logged_in({
        let mut script = Vec::new();
        for _ in 0..setup_commands() {
            script.extend([Step::Read, Step::Send(ok(1))]);
        }
        script.extend([
            Step::Read,
            Step::Send(packet(1, b"\xfb/etc/passwd")),
            Step::Read,
            Step::Send(ok(3)),
            Step::Silence,
        ]);
        script
    });
    let e = error_of(attempt(&fake, "DO 1"));
    assert!(
        matches!(
            &e,
            Error::DriverError(mysql_mux::error::DriverError::LocalInfileRefused(file)) if file == "/etc/passwd"
        ),
        "{e}"
    );
    let heard = fake.heard();
    assert_eq!(
        heard.last().map(Vec::as_slice),
        Some(&[][..]),
        "an empty answer and nothing else"
    );
}

#[test]
fn a_prepared_statement_with_absurd_counts_is_an_error() {
    for reply in [
        packet(1, &[0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]),
        packet(1, &[0, 1, 0]),
        packet(1, &[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]),
        packet(1, &[]),
    ] {
        let fake = answers(reply);
        let opts = fake.tcp().read_timeout(Some(SOON));
        let got = within(GENEROUS, "an absurd statement", move || {
            mux().connect(opts).unwrap().prep("SELECT ?")
        });
        assert!(got.is_err(), "{got:?}");
    }
}

#[test]
fn random_bytes_at_each_point_are_no_hang_and_no_panic() {
    let noise = noise(2000);
    // Many of them end by a time limit: side by side.
    std::thread::scope(|scope| {
        for seed in 0..60 {
            let bytes = noise[seed * 30..seed * 30 + 200].to_vec();
            scope.spawn(move || {
                let greeted = |step| vec![Step::Send(greeting()), Step::Read, step];
                drop(error_of(attempt(
                    &Fake::new(vec![Step::Send(bytes.clone())]),
                    "SELECT 1",
                )));
                drop(error_of(attempt(
                    &Fake::new(greeted(Step::Send(bytes.clone()))),
                    "SELECT 1",
                )));
                drop(error_of(attempt(
                    &answers_then(bytes, Step::Read, []),
                    "SELECT 1",
                )));
            });
        }
    });
}
