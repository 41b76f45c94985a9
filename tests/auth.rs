//! Every way to prove who one is, on the server that has it, and every way to fail.

mod support;

use mysql_mux::{
    ChangeUserOpts,
    error::{AuthError, ConnectCause},
};
use support::{
    fake::{Step, packet},
    *,
};

const PASSWORD: &str = "correct-Horse7";

#[track_caller]
fn auth_error(error: &Error) -> &AuthError {
    match error {
        Error::ConnectError(e) => match &e.cause {
            ConnectCause::Auth(e) => e,
            other => panic!("an authentication error was expected, and it is: {other:?}"),
        },
        other => panic!("a connect error was expected, and it is: {other}"),
    }
}

#[track_caller]
fn logs_in(opts: OptsBuilder, user: &User) {
    let mut handle = mux()
        .connect(opts)
        .unwrap_or_else(|e| panic!("{}: {e}", user.name));
    let me = one::<String>(&mut handle, "SELECT CURRENT_USER()");
    assert_eq!(me, format!("{}@%", user.name));
}

#[test]
fn mysql_native_password_logs_in_and_refuses_a_wrong_password() {
    if server().kind != Kind::MariaDb {
        return; // MySQL 9 has no such plugin any more.
    }
    let how = format!("IDENTIFIED VIA mysql_native_password USING PASSWORD('{PASSWORD}')");
    let user = User::identified("native", PASSWORD, &how);
    logs_in(user.tcp(), &user);
    logs_in(user.socket(), &user);
    let e = error_of(mux().connect(server().tcp_as(&user.name, "wrong")));
    assert_eq!(e.code(), Some(1045), "{e}");
}

#[test]
fn client_ed25519_logs_in_and_refuses_a_wrong_password() {
    if server().kind != Kind::MariaDb {
        return;
    }
    // Loaded already, or loaded now.
    drop(server().root().query_drop("INSTALL SONAME 'auth_ed25519'"));
    let how = format!("IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')");
    let user = User::identified("ed25519", PASSWORD, &how);
    logs_in(user.tcp(), &user);
    logs_in(user.socket(), &user);
    let e = error_of(mux().connect(server().tcp_as(&user.name, "wrong")));
    assert_eq!(e.code(), Some(1045), "{e}");
}

mod caching_sha2 {
    use super::*;

    fn user(name: &str) -> User {
        let how = format!("IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}'");
        User::identified(name, PASSWORD, &how)
    }

    #[test]
    fn full_authentication_over_plain_tcp_uses_the_servers_rsa_key_and_the_next_login_is_fast() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2full");
        // The server's cache does not know the user yet: full authentication.
        logs_in(user.tcp().get_server_public_key(true), &user);
        // Now it does: no key is needed.
        logs_in(user.tcp().get_server_public_key(false), &user);
    }

    #[test]
    fn a_given_rsa_key_serves_and_none_is_asked_for() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2key");
        let key = server().file("RSA_PUBLIC_KEY");
        let opts = user
            .tcp()
            .get_server_public_key(false)
            .server_key_path(Some(key));
        logs_in(opts, &user);
    }

    #[test]
    fn without_a_key_and_without_leave_to_ask_for_it_the_error_says_what_to_do() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2nokey");
        let e = error_of(mux().connect(user.tcp().get_server_public_key(false)));
        assert_eq!(*auth_error(&e), AuthError::PublicKeyRequired, "{e}");
    }

    #[test]
    fn full_authentication_over_the_socket_needs_no_key() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2sock");
        logs_in(user.socket(), &user);
    }

    #[cfg(feature = "rustls-tls")]
    #[test]
    fn full_authentication_over_tls_needs_no_key() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2tls");
        let ssl = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
        let opts = user
            .tcp()
            .ip_or_hostname(Some("localhost"))
            .get_server_public_key(false)
            .ssl_opts(ssl);
        logs_in(opts, &user);
    }

    #[test]
    fn a_wrong_password_is_refused_by_the_fast_and_the_full_path() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2wrong");
        let wrong = || server().tcp_as(&user.name, "wrong");
        let e = error_of(mux().connect(wrong()));
        assert_eq!(e.code(), Some(1045), "{e}");
        logs_in(user.tcp(), &user);
        let e = error_of(mux().connect(wrong()));
        assert_eq!(e.code(), Some(1045), "{e}");
        let e = error_of(mux().connect(server().socket_as(&user.name, "wrong")));
        assert_eq!(e.code(), Some(1045), "{e}");
    }

    #[test]
    fn a_key_that_is_no_key_is_told_as_such() {
        if server().kind != Kind::MySql {
            return;
        }
        let user = user("sha2badkey");
        let opts = user
            .tcp()
            .get_server_public_key(false)
            .server_key_path(Some(server().file("SERVER_CERT")));
        let e = error_of(mux().connect(opts));
        assert!(e.to_string().contains("key"), "{e}");
    }
}

#[test]
fn sha256_password_logs_in_by_rsa_key_and_over_the_socket() {
    if server().kind != Kind::MySql {
        return;
    }
    let how = format!("IDENTIFIED WITH sha256_password BY '{PASSWORD}'");
    let user = User::identified("sha256", PASSWORD, &how);
    logs_in(user.tcp().get_server_public_key(true), &user);
    let key = server().file("RSA_PUBLIC_KEY");
    logs_in(
        user.tcp()
            .get_server_public_key(false)
            .server_key_path(Some(key)),
        &user,
    );
    logs_in(user.socket(), &user);
    let e = error_of(mux().connect(server().tcp_as(&user.name, "wrong")));
    assert_eq!(e.code(), Some(1045), "{e}");
}

#[test]
fn the_socket_itself_proves_who_one_is() {
    // The user of the operating system who runs the tests.
    let output = std::process::Command::new("id")
        .arg("-un")
        .output()
        .expect("id");
    let me = String::from_utf8(output.stdout)
        .expect("a name")
        .trim()
        .to_owned();
    let mut root = server().root();
    let how = match server().kind {
        Kind::MariaDb => {
            drop(root.query_drop("INSTALL SONAME 'auth_socket'"));
            "IDENTIFIED VIA unix_socket".to_owned()
        }
        Kind::MySql => {
            drop(root.query_drop("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'"));
            format!("IDENTIFIED WITH auth_socket AS '{me}'")
        }
    };
    if server().kind == Kind::MariaDb {
        // The account's name must be the system user's, which is the administrator's here.
        let stranger = User::identified("stranger", "", &how);
        let e = error_of(mux().connect(stranger.socket()));
        assert!(matches!(e.code(), Some(1045 | 1698)), "{e}");
        let known = User::identified(
            "bysocket",
            PASSWORD,
            &format!(
                "IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('{PASSWORD}')"
            ),
        );
        // The socket does not prove it; the server switches to the next plugin.
        logs_in(known.socket(), &known);
        return;
    }
    let user = User::identified("bysocket", "", &how);
    logs_in(user.socket(), &user);
    let other = User::identified(
        "notme",
        "",
        "IDENTIFIED WITH auth_socket AS 'somebody-else'",
    );
    let e = error_of(mux().connect(other.socket()));
    assert!(matches!(e.code(), Some(1045 | 1698)), "{e}");
}

#[test]
fn a_wrong_password_is_the_servers_error_with_a_hint() {
    let user = User::new("wrongpw");
    let e = error_of(mux().connect(server().tcp_as(&user.name, "not-it")));
    assert_eq!(e.code(), Some(1045), "{e}");
    assert_eq!(e.sql_state(), Some("28000"), "{e}");
    assert!(e.to_string().contains("Check user, password"), "{e}");
    assert!(!e.to_string().contains("not-it"), "{e}");
}

#[test]
fn an_unknown_user_is_refused() {
    let e = error_of(mux().connect(server().tcp_as("nobody_of_that_name", PASSWORD)));
    assert_eq!(e.code(), Some(1045), "{e}");
    let e = error_of(mux().connect(server().socket_as("nobody_of_that_name", PASSWORD)));
    assert_eq!(e.code(), Some(1045), "{e}");
}

#[test]
fn an_empty_password_is_a_password_too() {
    let user = User::identified("nopw", "", "");
    logs_in(user.tcp(), &user);
    logs_in(user.tcp().pass(None::<String>), &user);
    logs_in(user.socket(), &user);
    let e = error_of(mux().connect(server().tcp_as(&user.name, "something")));
    assert_eq!(e.code(), Some(1045), "{e}");
    // And no password does not open an account that has one.
    let user = User::new("haspw");
    let e = error_of(mux().connect(server().tcp_as(&user.name, "")));
    assert_eq!(e.code(), Some(1045), "{e}");
}

#[test]
fn a_password_with_every_kind_of_character_logs_in() {
    let password = "ä \u{1F980}:@/?#%&\"\\ end";
    let quoted = password.replace('\\', "\\\\");
    let user = User::identified("strange", password, &format!("IDENTIFIED BY '{quoted}'"));
    logs_in(user.tcp(), &user);
    let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
    let url = format!(
        "mysql://{}:{encoded}@{}:{}/{}",
        user.name,
        server().host,
        server().port,
        server().database
    );
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).unwrap()).get_server_public_key(true);
    logs_in(opts, &user);
}

#[test]
fn a_locked_account_is_refused_with_the_servers_words() {
    let how = format!("IDENTIFIED BY '{PASSWORD}' ACCOUNT LOCK");
    let user = User::identified("locked", PASSWORD, &how);
    let e = error_of(mux().connect(user.tcp()));
    assert!(matches!(e.code(), Some(3118 | 4151)), "{e}");
    assert!(e.to_string().contains("ACCOUNT UNLOCK"), "{e}");
}

#[test]
fn an_expired_password_is_an_error_that_says_so() {
    let how = format!("IDENTIFIED BY '{PASSWORD}' PASSWORD EXPIRE");
    let user = User::identified("expired", PASSWORD, &how);
    // The login itself is refused, or every statement until the password is changed.
    let e = error_of(
        mux()
            .connect(user.tcp())
            .and_then(|mut handle| handle.query_drop("SELECT 1")),
    );
    assert!(matches!(e.code(), Some(1820 | 1862)), "{e}");
    assert!(
        e.to_string().contains("ALTER USER") || e.to_string().contains("SET PASSWORD"),
        "{e}"
    );
}

/// A server that greets and then asks for another plugin.
fn asks_for(plugin: &str) -> Fake {
    let mut switch = vec![0xfe];
    switch.extend_from_slice(plugin.as_bytes());
    switch.extend_from_slice(b"\0abcdefghijklmnopqrst\0");
    Fake::new(vec![
        Step::Send(fake::greeting()),
        Step::Read,
        Step::Send(packet(2, &switch)),
        Step::Read,
        Step::Silence,
    ])
}

#[test]
fn a_cleartext_password_is_refused_unless_allowed_and_over_an_open_network_always() {
    let fake = asks_for("mysql_clear_password");
    let e = error_of(mux().connect(fake.tcp()));
    assert_eq!(*auth_error(&e), AuthError::CleartextNotEnabled, "{e}");

    let e = error_of(mux().connect(fake.tcp().enable_cleartext_plugin(true)));
    assert!(
        matches!(auth_error(&e), AuthError::InsecureTransport(_)),
        "{e}"
    );

    assert!(!fake.heard_password());
}

#[test]
fn the_scramble_of_mysql_3_23_is_refused_by_name() {
    let fake = asks_for("mysql_old_password");
    let e = error_of(mux().connect(fake.tcp()));
    assert_eq!(*auth_error(&e), AuthError::OldPassword, "{e}");
    // The short form of the switch that such servers send.
    let fake = Fake::new(vec![
        Step::Send(fake::greeting()),
        Step::Read,
        Step::Send(packet(2, &[0xfe])),
        Step::Read,
        Step::Silence,
    ]);
    let e = error_of(mux().connect(fake.tcp()));
    assert_eq!(*auth_error(&e), AuthError::OldPassword, "{e}");
}

#[test]
fn a_plugin_that_is_not_known_is_named() {
    let fake = asks_for("authentication_kerberos_client");
    let e = error_of(mux().connect(fake.tcp()));
    assert_eq!(
        *auth_error(&e),
        AuthError::UnsupportedPlugin("authentication_kerberos_client".into()),
        "{e}"
    );
}

#[test]
fn a_handle_becomes_another_user_and_stays_itself_when_that_fails() {
    let user = User::new("becomes");
    let mut handle = mux().connect(server().tcp()).unwrap();
    let change = ChangeUserOpts::new()
        .with_user(Some(user.name.clone()))
        .with_pass(Some("not-it".to_owned()));
    handle
        .query_drop("SET @a = 1, time_zone = '+01:00'")
        .unwrap();
    let e = error_of(handle.change_user(change));
    assert_eq!(e.code(), Some(1045), "{e}");
    let (a, zone): (Option<u32>, String) = handle
        .query_first("SELECT @a, @@time_zone")
        .unwrap()
        .unwrap();
    assert_eq!((a, &*zone), (None, "SYSTEM"), "its session is new");
    assert!(one::<String>(&mut handle, "SELECT CURRENT_USER()").starts_with(&server().user));

    let change = ChangeUserOpts::new()
        .with_user(Some(user.name.clone()))
        .with_pass(Some(user.password.clone()));
    handle.change_user(change).unwrap();
    assert_eq!(
        one::<String>(&mut handle, "SELECT CURRENT_USER()"),
        format!("{}@%", user.name)
    );
}
