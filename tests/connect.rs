//! Ways to a server, and what stands on a link when a handle first speaks.

mod support;

use std::{collections::HashMap, time::Duration};

use mysql_mux::error::{ConnectCause, ConnectPhase};
use support::{fake, relay::Way, *};

/// The connect error, or a panic that says what came instead.
#[track_caller]
fn connect_error(error: &Error) -> &mysql_mux::error::ConnectError {
    match error {
        Error::ConnectError(e) => e,
        other => panic!("a connect error was expected, and it is: {other}"),
    }
}

#[test]
fn a_url_over_tcp_connects_and_selects_its_schema() {
    let mut handle = mux().connect(server().url().as_str()).unwrap();
    assert_eq!(
        one::<String>(&mut handle, "SELECT DATABASE()"),
        server().database
    );
    assert!(one::<String>(&mut handle, "SELECT USER()").starts_with(&server().user));
}

#[test]
fn a_host_name_is_looked_up_and_each_of_its_addresses_tried() {
    // `localhost` may have addresses of both families of which the server has only one.
    let opts = server().tcp().ip_or_hostname(Some("localhost"));
    let mut handle = mux().connect(opts).unwrap();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_ipv4_address_connects() {
    let mut handle = mux()
        .connect(server().tcp().ip_or_hostname(Some("127.0.0.1")))
        .unwrap();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_ipv6_address_connects_or_is_refused_as_such() {
    match mux().connect(server().tcp().ip_or_hostname(Some("::1"))) {
        Ok(mut handle) => assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1),
        // The server under test may listen on IPv4 only; then the error names the address.
        Err(e) => {
            assert_eq!(connect_error(&e).phase, ConnectPhase::Open, "{e}");
            assert!(e.to_string().contains("[::1]"), "{e}");
        }
    }
}

#[test]
fn a_unix_socket_connects() {
    let mut handle = mux().connect(server().socket()).unwrap();
    assert!(one::<String>(&mut handle, "SELECT USER()").ends_with("@localhost"));
}

#[test]
fn nobody_listening_is_told_at_once_with_the_address() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let opts = server()
        .tcp()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(port);
    let e = within(GENEROUS, "a refused connect", move || {
        error_of(mux().connect(opts))
    });
    let connect = connect_error(&e);
    assert_eq!(connect.phase, ConnectPhase::Open, "{e}");
    assert!(matches!(connect.cause, ConnectCause::Io(_)), "{e}");
    assert!(e.to_string().contains(&format!("127.0.0.1:{port}")), "{e}");
    assert!(e.to_string().contains("is the server up"), "{e}");
}

#[test]
fn a_missing_socket_is_told_with_its_path() {
    let opts = server().socket().socket(Some("/nowhere/at/all.sock"));
    let e = error_of(mux().connect(opts));
    assert_eq!(connect_error(&e).phase, ConnectPhase::Open, "{e}");
    assert!(e.to_string().contains("/nowhere/at/all.sock"), "{e}");
}

#[test]
fn an_unknown_host_is_told_by_name() {
    let opts = server().tcp().ip_or_hostname(Some("no-such-host.invalid"));
    let e = within(GENEROUS, "an unknown host", move || {
        error_of(mux().connect(opts))
    });
    assert_eq!(connect_error(&e).phase, ConnectPhase::Resolve, "{e}");
    assert!(e.to_string().contains("no-such-host.invalid"), "{e}");
}

#[test]
fn an_unknown_schema_is_the_servers_error_and_no_link_stays() {
    let mux = mux();
    let e = error_of(mux.connect(server().tcp().db_name(Some("no_such_schema"))));
    assert_eq!(e.code(), Some(1049), "{e}");
    assert_eq!(e.sql_state(), Some("42000"), "{e}");
    assert_eq!(mux.stats().total.handles, 0);
    eventually("the refused link is closed", || {
        mux.stats().total.active_connections == 0
    });
}

#[test]
fn no_schema_is_none() {
    let mut handle = mux()
        .connect(server().tcp().db_name(None::<String>))
        .unwrap();
    assert_eq!(
        one::<Option<String>>(&mut handle, "SELECT DATABASE()"),
        None
    );
}

#[test]
fn a_deaf_server_costs_the_connect_timeout_and_no_more() {
    let relay = Relay::new();
    relay.deaf();
    let opts = relay
        .tcp(server().tcp())
        .tcp_connect_timeout(Some(Duration::from_millis(300)));
    let e = within(GENEROUS, "a silent server", move || {
        error_of(mux().connect(opts))
    });
    let connect = connect_error(&e);
    assert_eq!(connect.phase, ConnectPhase::Greeting, "{e}");
    assert!(matches!(connect.cause, ConnectCause::Timeout(_)), "{e}");
}

#[test]
fn a_deaf_server_costs_no_more_than_the_acquire_timeout_and_that_is_what_the_error_says() {
    let relay = Relay::new();
    relay.deaf();
    let opts = relay.tcp(server().tcp());
    let time = Duration::from_millis(300);
    let e = within(GENEROUS, "a silent server", move || {
        let mux = builder().acquire_timeout(time).build();
        error_of(mux.connect(opts))
    });
    let Error::AcquireTimeout(timeout) = &e else {
        panic!("{e}");
    };
    let connect = timeout.last_connect.as_ref().unwrap();
    assert_eq!(connect.phase, ConnectPhase::Greeting, "{e}");
    // Not the ten seconds that the connect would have had.
    assert!(
        matches!(connect.cause, ConnectCause::Timeout(t) if t <= time),
        "{e}"
    );
}

#[test]
fn a_server_that_stops_amid_the_login_costs_the_connect_timeout_and_no_more() {
    let relay = Relay::new();
    relay.stall(Way::Up);
    let opts = relay
        .tcp(server().tcp())
        .tcp_connect_timeout(Some(Duration::from_millis(300)));
    let e = within(GENEROUS, "a stalled login", move || {
        error_of(mux().connect(opts))
    });
    assert!(
        matches!(connect_error(&e).cause, ConnectCause::Timeout(_)),
        "{e}"
    );
}

fn with_collation(collation: &str) -> OptsBuilder {
    let parameters = HashMap::from([("collation".to_owned(), collation.to_owned())]);
    server().tcp().from_hash_map(&parameters).unwrap()
}

#[test]
fn the_connection_speaks_utf8mb4_unless_another_collation_is_asked_for() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    assert_eq!(
        one::<String>(&mut handle, "SELECT @@character_set_client"),
        "utf8mb4"
    );
    assert_eq!(
        one::<String>(&mut handle, "SELECT @@character_set_results"),
        "utf8mb4"
    );
    assert_eq!(
        one::<String>(&mut handle, "SELECT '\u{1F980}é'"),
        "\u{1F980}é"
    );

    let opts = with_collation("utf8mb4_bin");
    let mut handle = mux().connect(opts).unwrap();
    assert_eq!(
        one::<String>(&mut handle, "SELECT @@collation_connection"),
        "utf8mb4_bin"
    );
}

#[test]
fn the_collation_outlives_a_reset_of_the_link() {
    let mux = builder().max_links(1).build();
    let opts = with_collation("utf8mb4_bin");
    for _ in 0..3 {
        let mut handle = mux.connect(opts.clone()).unwrap();
        assert_eq!(
            one::<String>(&mut handle, "SELECT @@collation_connection"),
            "utf8mb4_bin"
        );
        assert_eq!(
            one::<String>(&mut handle, "SELECT @@character_set_results"),
            "utf8mb4"
        );
        handle.query_drop("SET NAMES latin1").unwrap();
    }
    assert_eq!(mux.stats().total.connect_success, 1);
}

#[test]
fn connect_attributes_are_seen_by_the_server() {
    if server().kind != Kind::MySql {
        // MariaDB's performance schema is off by default and can't be switched on while it runs.
        return;
    }
    let attrs = HashMap::from([("who_am_i", "the attribute test")]);
    let mut handle = mux()
        .connect(server().tcp().connect_attrs(Some(attrs)))
        .unwrap();
    let seen: HashMap<String, String> = handle
        .query(
            "SELECT ATTR_NAME, ATTR_VALUE FROM performance_schema.session_connect_attrs \
             WHERE PROCESSLIST_ID = CONNECTION_ID()",
        )
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(
        seen.get("who_am_i").map(String::as_str),
        Some("the attribute test"),
        "{seen:?}"
    );
    assert_eq!(
        seen.get("_client_name").map(String::as_str),
        Some("mysql_mux"),
        "{seen:?}"
    );
    assert!(seen.contains_key("_client_version"), "{seen:?}");
    assert_eq!(
        seen.get("_pid"),
        Some(&std::process::id().to_string()),
        "{seen:?}"
    );
}

#[test]
fn what_the_handle_says_of_the_server_is_true() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    let (major, minor, patch) = handle.server_version();
    let version = one::<String>(&mut handle, "SELECT VERSION()");
    assert!(
        version.starts_with(&format!("{major}.{minor}.{patch}")),
        "{version}"
    );
    assert_eq!(
        one::<u32>(&mut handle, "SELECT CONNECTION_ID()"),
        handle.connection_id()
    );
    handle.ping().unwrap();
}

#[test]
fn an_unknown_url_parameter_names_the_nearest_known_one() {
    let e = Opts::from_url("mysql://u@h/db?stmt_cache_sise=3").unwrap_err();
    assert!(e.to_string().contains("stmt_cache_sise"), "{e}");
    assert!(e.to_string().contains("stmt_cache_size"), "{e}");
}

#[test]
fn no_secret_is_shown_by_options_or_handles_or_errors() {
    let secret = "hunter2-very-secret";
    let opts = Opts::from(server().tcp_as("nobody_at_all", secret));
    assert!(!format!("{opts:?}").contains(secret), "{opts:?}");
    let e = error_of(mux().connect(opts));
    assert!(!format!("{e} {e:?}").contains(secret), "{e:?}");
    let url = format!("mysql://somebody:{secret}@127.0.0.1:1/db?no_such=1");
    let e = Opts::from_url(&url).unwrap_err();
    assert!(!format!("{e} {e:?}").contains(secret), "{e:?}");
    let handle = mux().connect(server().tcp()).unwrap();
    assert!(!format!("{handle:?}").contains(&server().password));
}

#[test]
fn a_named_pipe_is_refused_where_there_are_none() {
    let url = format!(
        "{}?protocol=pipe&pipe_name=mysql",
        server().url().split('?').next().unwrap()
    );
    let e = error_of(
        Opts::from_url(&url)
            .map_err(Error::from)
            .and_then(|opts| mux().connect(opts)),
    );
    assert!(e.to_string().contains("pipe"), "{e}");
}

#[test]
fn a_server_that_is_full_is_waited_for_while_links_of_ours_may_end() {
    let user = User::identified(
        "full",
        "correct-Horse7",
        "IDENTIFIED BY 'correct-Horse7' WITH MAX_USER_CONNECTIONS 1",
    );
    let mux = builder()
        // Connects on a busy machine are to be done in it.
        .acquire_timeout(Duration::from_secs(2))
        .max_links(4)
        .build();
    let mut first = mux.connect(user.tcp()).unwrap();
    let mut second = mux.connect(user.tcp()).unwrap();
    first.query_drop("START TRANSACTION").unwrap();
    // The first one's link is its own now, and the server takes no other.
    let e = error_of(second.query_drop("DO 1"));
    assert!(
        matches!(&e, Error::AcquireTimeout(_)) || matches!(e.code(), Some(1203 | 1226)),
        "{e}"
    );
    first.query_drop("COMMIT").unwrap();
    second.query_drop("DO 1").unwrap();
}

#[cfg(feature = "rustls-tls")]
mod tls {
    use super::*;

    fn trusting(ca: &str) -> SslOpts {
        SslOpts::default().with_root_cert_path(Some(server().file(ca)))
    }

    fn cipher(handle: &mut Handle) -> String {
        let (_, cipher): (String, String) = handle
            .query_first("SHOW STATUS LIKE 'Ssl_cipher'")
            .unwrap()
            .unwrap();
        cipher
    }

    #[test]
    fn a_server_that_the_ca_vouches_for_is_spoken_to_in_secret() {
        let opts = server()
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(trusting("CA"));
        let mut handle = mux().connect(opts).unwrap();
        assert_ne!(cipher(&mut handle), "");
    }

    #[test]
    fn plain_tcp_is_what_its_name_says() {
        let mut handle = mux().connect(server().tcp()).unwrap();
        assert_eq!(cipher(&mut handle), "");
    }

    #[test]
    fn a_large_result_and_a_large_statement_pass_through_tls() {
        let opts = server()
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(trusting("CA"));
        let mut handle = mux().connect(opts).unwrap();
        let text = "x".repeat(3_000_000);
        assert_eq!(
            one::<String>(&mut handle, &format!("SELECT '{text}'")),
            text
        );
    }

    #[test]
    fn a_server_that_another_ca_vouches_for_is_refused() {
        let opts = server()
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(trusting("OTHER_CA"));
        let e = error_of(mux().connect(opts));
        assert_eq!(connect_error(&e).phase, ConnectPhase::Tls, "{e}");
    }

    #[test]
    fn the_public_cas_do_not_vouch_for_the_test_server() {
        let opts = server()
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(SslOpts::default());
        let e = error_of(mux().connect(opts));
        assert_eq!(connect_error(&e).phase, ConnectPhase::Tls, "{e}");
    }

    #[test]
    fn a_certificate_for_another_name_is_refused_unless_the_user_says_otherwise() {
        // 127.0.0.2 reaches a relay to the server, whose certificate knows no such name.
        let relay = Relay::new();
        let opts = relay.tcp(server().tcp()).ip_or_hostname(Some("127.0.0.1"));
        let named = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
        let wrong = named.clone().with_server_name(Some("elsewhere.example"));
        let e = error_of(mux().connect(opts.clone().ssl_opts(wrong.clone())));
        assert_eq!(connect_error(&e).phase, ConnectPhase::Tls, "{e}");

        let wrong = wrong.with_danger_skip_domain_validation(true);
        let mut handle = mux().connect(opts.ssl_opts(wrong)).unwrap();
        assert_ne!(cipher(&mut handle), "");
    }

    #[test]
    fn tls_that_the_server_does_not_offer_is_an_error_and_no_password_leaves() {
        let fake = Fake::new(vec![
            fake::Step::Send(fake::greeting()),
            fake::Step::Read,
            fake::Step::Silence,
        ]);
        let opts = fake.tcp().ssl_opts(trusting("CA"));
        let e = within(GENEROUS, "TLS that is not offered", move || {
            error_of(mux().connect(opts))
        });
        assert!(
            matches!(connect_error(&e).cause, ConnectCause::Unsupported(_)),
            "{e}"
        );
        assert!(fake.heard().is_empty(), "{:?}", fake.heard());
    }

    #[test]
    fn an_account_that_needs_tls_is_refused_without_it() {
        let user = User::identified(
            "tlsonly",
            "correct-Horse7",
            "IDENTIFIED BY 'correct-Horse7' REQUIRE SSL",
        );
        let e = error_of(mux().connect(user.tcp()));
        assert!(matches!(e.code(), Some(1045 | 3159)), "{e}");
        let opts = user
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .ssl_opts(trusting("CA"));
        let mut handle = mux().connect(opts).unwrap();
        assert_ne!(cipher(&mut handle), "");
    }

    #[test]
    fn a_client_certificate_opens_an_account_that_asks_for_one() {
        let user = User::identified(
            "x509",
            "correct-Horse7",
            "IDENTIFIED BY 'correct-Horse7' REQUIRE X509",
        );
        let opts = user.tcp().ip_or_hostname(Some("localhost"));
        let e = error_of(mux().connect(opts.clone().ssl_opts(trusting("CA"))));
        assert_eq!(e.code(), Some(1045), "{e}");

        let identity = mysql_mux::ClientIdentity::new(
            server().file("CLIENT_CERT"),
            server().file("CLIENT_KEY"),
        );
        let ssl = trusting("CA").with_client_identity(Some(identity));
        let mut handle = mux().connect(opts.ssl_opts(ssl)).unwrap();
        assert_ne!(cipher(&mut handle), "");
    }

    #[test]
    fn handles_with_and_without_tls_never_share_a_link() {
        let user = User::new("tlsshare");
        let mux = mux();
        let plain = user.tcp().ip_or_hostname(Some("localhost"));
        let secret = plain.clone().ssl_opts(trusting("CA"));
        let mut a = mux.connect(plain).unwrap();
        let mut b = mux.connect(secret).unwrap();
        assert_eq!(cipher(&mut a), "");
        assert_ne!(cipher(&mut b), "");
        assert_eq!(user.connections(&mut server().root()), 2);
    }
}

#[cfg(feature = "compress")]
mod compress {
    use super::*;

    fn compressed() -> OptsBuilder {
        server()
            .tcp()
            .compress(Some(mysql_mux::Compression::default()))
    }

    #[test]
    fn a_compressed_connection_carries_small_and_large_packets_both_ways() {
        let relay = Relay::new();
        let mut handle = mux().connect(relay.tcp(compressed())).unwrap();
        assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
        let (_, on): (String, String) = handle
            .query_first("SHOW STATUS LIKE 'Compression'")
            .unwrap()
            .unwrap();
        assert_eq!(on, "ON");

        let before = relay.passed(Way::Down);
        let text: String = handle
            .query_first("SELECT REPEAT('abc', 1000000)")
            .unwrap()
            .unwrap();
        assert_eq!(text, "abc".repeat(1_000_000));
        assert!(
            relay.passed(Way::Down) - before < 300_000,
            "it was compressed"
        );

        // What can't be compressed, larger than one packet.
        let bytes = noise(500_000);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            one::<Vec<u8>>(&mut handle, &format!("SELECT X'{hex}'")),
            bytes
        );
    }

    #[test]
    fn a_packet_over_sixteen_megabytes_passes_compressed() {
        let mut handle = mux().connect(compressed()).unwrap();
        let max: usize = one(&mut handle, "SELECT @@max_allowed_packet");
        let size = 20_000_000.min(max - 1000);
        let back: Option<(usize, Vec<u8>)> = handle
            .exec_first("SELECT LENGTH(?), ?", (noise(size / 2), noise(size / 2)))
            .unwrap();
        let (len, bytes) = back.unwrap();
        assert_eq!(len, size / 2);
        assert_eq!(bytes, noise(size / 2));
    }

    #[test]
    fn compressed_and_plain_handles_never_share_a_link() {
        let user = User::new("zip");
        let mux = mux();
        let _a = mux.connect(user.tcp()).unwrap();
        let _b = mux
            .connect(user.tcp().compress(Some(mysql_mux::Compression::default())))
            .unwrap();
        assert_eq!(user.connections(&mut server().root()), 2);
    }
}
