//! What the mux counts is what happened, as the server and a relay saw it.

mod support;

use support::{relay::Way, *};

#[test]
fn a_new_mux_has_counted_nothing() {
    let stats = mux().stats();
    assert_eq!(stats.total.handles, 0);
    assert_eq!(stats.total.active_connections, 0);
    assert_eq!(stats.total.statements, 0);
    assert!(stats.groups.is_empty());
}

#[test]
fn handles_links_and_saved_connects_are_counted() {
    let mux = mux();
    let handles: Vec<Handle> = (0..10)
        .map(|_| mux.connect(server().tcp()).unwrap())
        .collect();
    let total = mux.stats().total;
    assert_eq!(total.handles, 10);
    assert_eq!(total.handles_opened, 10);
    assert_eq!(total.connect_success, 1);
    assert_eq!(total.connects_saved, 9);
    assert_eq!(total.active_connections, 1);
    assert_eq!(total.idle_connections, 1);
    drop(handles);
    let total = mux.stats().total;
    assert_eq!((total.handles, total.handles_opened), (0, 10));
}

#[test]
fn failed_connects_are_counted() {
    let mux = mux();
    error_of(mux.connect(server().tcp_as("nobody_of_that_name", "x")));
    let total = mux.stats().total;
    assert_eq!((total.connect_failure, total.connect_success), (1, 0));
    assert_eq!((total.handles, total.active_connections), (0, 0));
}

#[test]
fn statements_and_prepares_are_counted() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let before = mux.stats().total;
    for _ in 0..5 {
        handle.query_drop("DO 1").unwrap();
        handle.exec_drop("DO ?", (1,)).unwrap();
    }
    let after = mux.stats().total;
    assert_eq!(after.statements - before.statements, 10);
    assert_eq!(after.prepares - before.prepares, 1);
}

#[test]
fn resets_and_init_statements_are_counted() {
    let mux = builder().max_links(1).build();
    let opts = server().tcp().isolation(Isolation::Reset);
    let opts = opts.init(vec!["SET @a = 1", "SET @b = 2"]);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("DO 1").unwrap();
    let first = mux.stats().total;
    assert_eq!(first.init_command_executed_count, 2);
    b.query_drop("DO 1").unwrap();
    a.query_drop("DO 1").unwrap();
    let then = mux.stats().total;
    assert_eq!(then.resets - first.resets, 2);
    assert_eq!(then.init_command_executed_count, 6);
}

#[test]
fn bytes_are_counted_as_the_network_sees_them() {
    let relay = Relay::new();
    let mux = mux();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    handle.query_drop("DO 1").unwrap();
    let before = mux.stats().total;
    let (up, down) = (relay.passed(Way::Up), relay.passed(Way::Down));
    let text: String = one(&mut handle, &format!("SELECT '{}'", "x".repeat(5000)));
    assert_eq!(text.len(), 5000);
    let after = mux.stats().total;
    assert_eq!(
        after.bytes_sent - before.bytes_sent,
        relay.passed(Way::Up) - up
    );
    assert_eq!(
        after.bytes_received - before.bytes_received,
        relay.passed(Way::Down) - down
    );
}

#[test]
fn each_key_has_a_line_and_the_display_is_for_people() {
    let mux = mux();
    let _tcp = mux.connect(server().tcp()).unwrap();
    let _socket = mux.connect(server().socket()).unwrap();
    let stats = mux.stats();
    assert_eq!(stats.groups.len(), 2);
    assert_eq!(stats.total.handles, 2);
    let text = stats.to_string();
    assert!(
        text.contains(&format!("{}:{}", server().host, server().port)),
        "{text}"
    );
    assert!(text.contains(&server().socket), "{text}");
    assert!(text.contains("connects_saved"), "{text}");
    assert!(!text.contains(&server().password), "{text}");
}
