//! Who shares a physical connection with whom, by the server's own count.

mod support;

use std::time::Duration;

use mysql_mux::{ChangeUserOpts, LocalInfileHandler};
use support::{relay::Way, *};

#[test]
fn a_thousand_handles_are_one_connection_and_still_one_after_a_thousand_more() {
    let user = User::new("thousand");
    let mut root = server().root();
    let mux = mux();
    let mut handles: Vec<Handle> = (0..1000)
        .map(|_| mux.connect(user.tcp()).unwrap())
        .collect();
    assert_eq!(user.connections(&mut root), 1);
    for (i, handle) in handles.iter_mut().enumerate() {
        assert_eq!(one::<usize>(handle, &format!("SELECT {i}")), i);
    }
    assert_eq!(user.connections(&mut root), 1);
    let id = server().connections_of(&mut root, &user.name);

    for _ in 0..1000 {
        let mut handle = mux.connect(user.tcp()).unwrap();
        handle.query_drop("DO 1").unwrap();
    }
    assert_eq!(server().connections_of(&mut root, &user.name), id);

    let total = mux.stats().total;
    assert_eq!(total.handles, 1000);
    assert_eq!(total.connect_success, 1);
    assert_eq!(total.handles_opened, 2000);
    assert_eq!(total.connects_saved, 1999);
}

#[test]
fn the_server_sees_one_login_for_many_handles() {
    let user = User::new("logins");
    let mut root = server().root();
    let mux = mux();
    let handles: Vec<Handle> = (0..50)
        .map(|_| mux.connect(user.socket()).unwrap())
        .collect();
    let ids = server().connections_of(&mut root, &user.name);
    assert_eq!(ids.len(), 1);
    drop(handles);
    let mut again = mux.connect(user.socket()).unwrap();
    assert_eq!(
        one::<u32>(&mut again, "SELECT CONNECTION_ID()"),
        ids[0],
        "the link lingered"
    );
}

#[test]
fn the_first_handle_connects_and_the_second_does_no_input_or_output_at_all() {
    let relay = Relay::new();
    let mux = mux();
    let mut first = mux.connect(relay.tcp(server().tcp())).unwrap();
    first.query_drop("DO 1").unwrap();
    let up = relay.passed(Way::Up);
    // From here on the network is dead; whoever asks it anything hangs.
    relay.stall(Way::Up);
    relay.stall(Way::Down);
    relay.deaf();

    let opts = relay.tcp(server().tcp());
    let (mut handles, mux) = within(GENEROUS, "opening handles over a dead network", move || {
        let handles: Vec<Handle> = (0..100)
            .map(|_| mux.connect(opts.clone()).unwrap())
            .collect();
        (handles, mux)
    });
    assert_eq!(relay.accepted(), 1);
    assert_eq!(relay.passed(Way::Up), up);
    assert_eq!(mux.stats().total.handles, 101);

    relay.heal();
    for handle in &mut handles {
        assert_eq!(one::<u8>(handle, "SELECT 1"), 1);
    }
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn a_handle_with_another_password_never_gets_a_link_that_it_did_not_prove_itself_for() {
    let user = User::new("otherpw");
    let mux = mux();
    let mut right = mux.connect(user.tcp()).unwrap();
    let e = error_of(mux.connect(server().tcp_as(&user.name, "wrong")));
    assert_eq!(e.code(), Some(1045), "{e}");
    let e = error_of(mux.connect(server().tcp_as(&user.name, "")));
    assert_eq!(e.code(), Some(1045), "{e}");
    // Nor does one whose password begins with the right one, or ends a byte early.
    for almost in [format!("{}x", user.password), user.password[1..].to_owned()] {
        let e = error_of(mux.connect(server().tcp_as(&user.name, &almost)));
        assert_eq!(e.code(), Some(1045), "{e}");
    }
    assert_eq!(one::<u8>(&mut right, "SELECT 1"), 1);
    assert_eq!(mux.stats().total.handles, 1);
}

#[test]
fn a_changed_password_is_asked_for_when_the_next_link_is_opened() {
    let user = User::new("changedpw");
    let mut root = server().root();
    let mux = mux();
    let mut handle = mux.connect(user.tcp()).unwrap();
    root.query_drop(format!(
        "ALTER USER '{}'@'%' IDENTIFIED BY 'another-Word9'",
        user.name
    ))
    .unwrap();
    // The link that proved itself goes on.
    handle.query_drop("DO 1").unwrap();
    // The new password is another identity, which proves itself anew.
    let mut new = mux
        .connect(server().tcp_as(&user.name, "another-Word9"))
        .unwrap();
    assert_eq!(one::<u8>(&mut new, "SELECT 1"), 1);
    assert_eq!(user.connections(&mut root), 2);
}

#[test]
fn two_users_never_share() {
    let (a, b) = (User::new("one"), User::new("other"));
    let mux = mux();
    let mut handle_a = mux.connect(a.tcp()).unwrap();
    let mut handle_b = mux.connect(b.tcp()).unwrap();
    for _ in 0..3 {
        let me: String = one(&mut handle_a, "SELECT CURRENT_USER()");
        assert_eq!(me, format!("{}@%", a.name));
        let me: String = one(&mut handle_b, "SELECT CURRENT_USER()");
        assert_eq!(me, format!("{}@%", b.name));
    }
}

#[test]
fn handles_that_count_found_rows_never_share_with_those_that_count_changed_ones() {
    let user = User::new("foundrows");
    let schema = Schema::new("foundrows");
    let mux = mux();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut changed = mux.connect(opts.clone()).unwrap();
    changed.query_drop("CREATE TABLE t (a INT)").unwrap();
    changed.query_drop("INSERT INTO t VALUES (1), (2)").unwrap();
    let mut found = mux.connect(opts.found_rows(true)).unwrap();
    for _ in 0..2 {
        changed.query_drop("UPDATE t SET a = a").unwrap();
        assert_eq!(changed.affected_rows(), 0);
        found.query_drop("UPDATE t SET a = a").unwrap();
        assert_eq!(found.affected_rows(), 2);
    }
    assert_eq!(user.connections(&mut server().root()), 2);
}

#[test]
fn handles_with_and_without_multi_statements_never_share() {
    let user = User::new("multi");
    let mux = mux();
    let mut with = mux.connect(user.tcp().multi_statements(true)).unwrap();
    let mut without = mux.connect(user.tcp().multi_statements(false)).unwrap();
    with.query_drop("DO 1; DO 2").unwrap();
    let e = error_of(without.query_drop("DO 1; DO 2"));
    assert_eq!(e.code(), Some(1064), "{e}");
    assert_eq!(user.connections(&mut server().root()), 2);
}

#[test]
fn the_schema_and_the_init_statements_do_not_keep_handles_apart() {
    let user = User::new("sameLink");
    let schema = Schema::new("sameLink");
    let mux = mux();
    let mut a = mux.connect(user.tcp()).unwrap();
    let mut b = mux.connect(user.tcp().db_name(Some(&schema.name))).unwrap();
    let mut c = mux.connect(user.tcp().init(vec!["SET @x = 3"])).unwrap();
    assert_eq!(
        one::<String>(&mut a, "SELECT DATABASE()"),
        server().database
    );
    assert_eq!(one::<String>(&mut b, "SELECT DATABASE()"), schema.name);
    assert_eq!(one::<i64>(&mut c, "SELECT @x"), 3);
    assert_eq!(one::<Option<i64>>(&mut a, "SELECT @x"), None);
    assert_eq!(user.connections(&mut server().root()), 1);
}

#[test]
fn socket_and_tcp_are_two_keys() {
    let user = User::new("twokeys");
    let mux = mux();
    let _tcp = mux.connect(user.tcp()).unwrap();
    let _socket = mux.connect(user.socket()).unwrap();
    assert_eq!(user.connections(&mut server().root()), 2);
    assert_eq!(mux.stats().groups.len(), 2);
}

#[test]
fn two_muxes_share_nothing() {
    let user = User::new("twomux");
    let (mux_a, mux_b) = (mux(), mux());
    let _a = mux_a.connect(user.tcp()).unwrap();
    let _b = mux_b.connect(user.tcp()).unwrap();
    assert_eq!(user.connections(&mut server().root()), 2);
}

#[test]
fn the_global_mux_serves_those_who_name_none() {
    let user = User::new("global");
    let _a = mysql_mux::connect(user.tcp()).unwrap();
    let _b = mysql_mux::connect(user.tcp()).unwrap();
    let _c = Mux::global().connect(user.tcp()).unwrap();
    assert_eq!(user.connections(&mut server().root()), 1);
    let e = error_of(Mux::builder().install());
    assert!(
        matches!(
            e,
            Error::DriverError(mysql_mux::error::DriverError::GlobalMuxInUse)
        ),
        "{e}"
    );
}

#[test]
fn without_linger_the_last_handle_closes_the_link() {
    let user = User::new("nolinger");
    let mut root = server().root();
    let mux = builder().linger(Duration::ZERO).build();
    let mut first = mux.connect(user.tcp()).unwrap();
    let second = mux.connect(user.tcp()).unwrap();
    first.query_drop("DO 1").unwrap();
    drop(first);
    assert_eq!(
        user.connections(&mut root),
        1,
        "the second handle is still there"
    );
    drop(second);
    eventually("the server sees the link closed", || {
        user.connections(&mut root) == 0
    });
    assert_eq!(mux.stats().total.active_connections, 0);
    assert_eq!(mux.stats().total.explicit_close, 1);
}

#[test]
fn without_linger_it_is_the_last_handle_whichever_thread_opened_or_drops_it() {
    let user = User::new("nolingerth");
    let mut root = server().root();
    let mux = builder().linger(Duration::ZERO).build();
    let [one, same, another] = [user.tcp(), user.tcp(), user.tcp().stmt_cache_size(7)];
    let all = [one, same, another].map(Opts::from);
    let open = || {
        // Some with the options of the thread's last one, some not.
        let opts = all.iter().cycle().flat_map(|opts| [opts; 3]).take(30);
        let handles: Vec<Handle> = opts.map(|opts| mux.connect(opts).unwrap()).collect();
        handles
    };
    let mut handles: Vec<Handle> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        let opened = threads.into_iter().map(|thread| thread.join().unwrap());
        opened.flatten().collect()
    });
    assert_eq!(mux.stats().total.handles, 120);
    while handles.len() > 1 {
        let left = handles.split_off(handles.len() / 2);
        std::thread::spawn(|| drop(handles)).join().unwrap();
        assert_eq!(mux.stats().total.handles, left.len() as u64);
        handles = left;
    }
    handles[0].query_drop("DO 1").unwrap();
    drop(handles);
    eventually("the server sees the links closed", || {
        user.connections(&mut root) == 0
    });
    let total = mux.stats().total;
    assert_eq!((total.handles, total.active_connections), (0, 0));
    assert_eq!(total.explicit_close, 1);
}

#[test]
fn without_linger_a_handle_that_goes_another_way_is_one_of_them() {
    let user = User::new("nolingerwa");
    let mut root = server().root();
    let mux = builder().linger(Duration::ZERO).build();
    let opts = Opts::from(user.tcp());
    let mut handles: Vec<Handle> = (0..3).map(|_| mux.connect(&opts).unwrap()).collect();
    handles[0].set_local_infile_handler(Some(LocalInfileHandler::new(|_, _| Ok(()))));
    handles[1].change_user(ChangeUserOpts::default()).unwrap();
    let one_more = mux.connect(&opts).unwrap();
    assert_eq!(mux.stats().total.handles, 4);
    drop(one_more);
    for left in [2, 1, 0] {
        let mut last = handles.swap_remove(0);
        assert_eq!(one::<u8>(&mut last, "SELECT 7"), 7);
        assert_eq!(user.connections(&mut root), 1);
        drop(last);
        assert_eq!(mux.stats().total.handles, left);
    }
    eventually("the server sees the link closed", || {
        user.connections(&mut root) == 0
    });
    assert_eq!(mux.stats().total.explicit_close, 1);
}

#[test]
fn a_thread_that_has_one_handle_at_a_time_opens_all_but_the_first_without_input_or_output() {
    let user = User::new("inturn");
    let mux = builder().linger(Duration::ZERO).build();
    let opts = Opts::from(user.tcp());
    let kept = mux.connect(&opts).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..100_u32 {
                    let mut handle = mux.connect(&opts).unwrap();
                    assert_eq!(one::<u32>(&mut handle, &format!("SELECT {n}")), n);
                }
            });
        }
    });
    let total = mux.stats().total;
    assert_eq!((total.handles, total.handles_opened), (1, 401));
    assert_eq!(total.connects_saved, 400);
    drop(kept);
    assert_eq!(mux.stats().total.handles, 0);
    eventually("the links are closed", || {
        mux.stats().total.active_connections == 0
    });
}

#[test]
fn without_linger_a_shared_link_closes_too() {
    let user = User::new("nolingersh");
    let mut root = server().root();
    let mux = builder().linger(Duration::ZERO).build();
    let handle = mux
        .connect(user.tcp().isolation(Isolation::Shared))
        .unwrap();
    assert_eq!(user.connections(&mut root), 1);
    drop(handle);
    eventually("the server sees the link closed", || {
        user.connections(&mut root) == 0
    });
}

#[test]
fn a_link_that_lingers_closes_when_its_time_is_over() {
    let user = User::new("linger");
    let mut root = server().root();
    let mux = builder().linger(Duration::from_millis(200)).build();
    drop(mux.connect(user.tcp()).unwrap());
    eventually("the link's time is over", || {
        user.connections(&mut root) == 0
    });
    assert_eq!(mux.stats().total.implicit_close, 1);
}

#[test]
fn a_link_that_is_idle_for_too_long_closes_and_another_serves_its_handle() {
    let user = User::new("idle");
    let mut root = server().root();
    let mux = builder().idle_timeout(Duration::from_millis(100)).build();
    let mut handle = mux.connect(user.tcp()).unwrap();
    eventually("the idle link is closed", || {
        user.connections(&mut root) == 0
    });
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
    assert_eq!(mux.stats().total.connect_success, 2);
}

#[test]
fn a_link_that_is_too_old_closes_and_another_serves_its_handle() {
    let user = User::new("old");
    let mux = builder().max_lifetime(Duration::from_millis(100)).build();
    let mut handle = mux.connect(user.tcp()).unwrap();
    handle.query_drop("DO 1").unwrap();
    let first = handle.connection_id();
    eventually("another link serves", || {
        handle.query_drop("DO 1").unwrap();
        handle.connection_id() != first
    });
    assert!(mux.stats().total.implicit_close >= 1);
}

#[test]
fn idle_links_are_held_ready_and_no_more_than_wanted() {
    let user = User::new("minidle");
    let mut root = server().root();
    let mux = builder()
        .min_idle_links(3)
        .max_idle_links(3)
        .idle_timeout(Duration::from_millis(200))
        .build();
    let _handle = mux.connect(user.tcp()).unwrap();
    eventually("three links are ready", || user.connections(&mut root) == 3);

    let mux = builder().max_idle_links(1).build();
    let user = User::new("maxidle");
    let mut handles: Vec<Handle> = (0..4).map(|_| mux.connect(user.tcp()).unwrap()).collect();
    for handle in &mut handles {
        handle.query_drop("START TRANSACTION").unwrap();
    }
    assert_eq!(user.connections(&mut root), 4);
    for handle in &mut handles {
        handle.query_drop("COMMIT").unwrap();
    }
    eventually("one idle link is left", || user.connections(&mut root) == 1);
}

#[test]
fn the_last_clone_of_a_mux_closes_its_links() {
    let user = User::new("lastmux");
    let mut root = server().root();
    let mux = mux();
    let handle = mux.connect(user.tcp()).unwrap();
    drop(mux);
    assert_eq!(user.connections(&mut root), 1, "the handle keeps the mux");
    drop(handle);
    eventually("the links are closed", || user.connections(&mut root) == 0);
}

#[test]
fn a_handle_may_move_to_another_thread() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    let seven = within(GENEROUS, "a handle in a thread", move || {
        one::<u8>(&mut handle, "SELECT 7")
    });
    assert_eq!(seven, 7);
}

#[test]
fn handles_of_many_threads_get_their_own_answers() {
    let user = User::new("threads");
    let mux = builder().max_links(2).build();
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let mut handle = mux.connect(user.tcp()).unwrap();
            std::thread::spawn(move || {
                for i in 0..200_u64 {
                    let n = thread * 1000 + i;
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                    let back: Option<u64> = handle.exec_first("SELECT ? + 1", (n,)).unwrap();
                    assert_eq!(back, Some(n + 1));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(user.connections(&mut server().root()) <= 2);
}
