//! A role is its handle's, wherever that runs: others on the same link have theirs, and it is set again
//! on another link.

mod support;

use mysql_mux::{PinReason, Row};
use support::*;

/// A role, dropped at the end.
struct Role(String);

impl Role {
    /// With these rights, for this user.
    fn new(rights: &[&str], user: &User) -> Role {
        let role = Role(unique("role"));
        let mut root = server().root();
        root.query_drop(format!("CREATE ROLE {}", role.0)).unwrap();
        for rights in rights {
            root.query_drop(format!("GRANT {rights} TO {}", role.0))
                .unwrap();
        }
        root.query_drop(format!("GRANT {} TO '{}'@'%'", role.0, user.name))
            .unwrap();
        role
    }

    fn drop_now(&self) {
        let drop = format!("DROP ROLE IF EXISTS {}", self.0);
        server().root().query_drop(drop).unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.drop_now();
    }
}

/// A user who may do nothing but by a role, and use an own schema.
fn nobody(schema: &Schema) -> User {
    let user = User::new("norights");
    let mut root = server().root();
    let name = &user.name;
    root.query_drop(format!(
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{name}'@'%'"
    ))
    .unwrap();
    root.query_drop(format!("GRANT ALL ON `{}`.* TO '{name}'@'%'", schema.name))
        .unwrap();
    user
}

fn one_link() -> Mux {
    builder().max_links(1).build()
}

fn active(handle: &mut Handle) -> String {
    one::<Option<String>>(handle, "SELECT CURRENT_ROLE()").unwrap_or("NONE".into())
}

fn is_refused(e: &Error) -> bool {
    // ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
    matches!(e.code(), Some(1142 | 1227))
}

#[test]
fn it_opens_what_it_opens_to_its_handle_alone() {
    let (own, other) = (Schema::new("role_own"), Schema::new("role_other"));
    let user = nobody(&own);
    let table = format!("`{}`.t", other.name);
    server()
        .root()
        .query_drop(format!("CREATE TABLE {table} (a INT)"))
        .unwrap();
    let reads = format!("SELECT ON `{}`.*", other.name);
    let role = Role::new(&[&reads], &user);
    let mux = one_link();
    let opts = user.tcp().db_name(Some(&own.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    let count = format!("SELECT COUNT(*) FROM {table}");
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    assert_eq!(a.pin(), None);
    for _ in 0..3 {
        assert_eq!(one::<u32>(&mut a, &count), 0);
        let e = error_of(b.query_drop(&count));
        assert!(is_refused(&e), "{e}");
        assert_eq!(active(&mut b), "NONE");
        assert!(active(&mut a).contains(&role.0));
        let prepared: Option<u32> = a.exec_first(&count, ()).unwrap();
        assert_eq!(prepared, Some(0));
        let e = error_of(b.exec_drop(&count, ()));
        assert!(is_refused(&e), "{e}");
    }
    a.query_drop("SET ROLE NONE").unwrap();
    let e = error_of(a.query_drop(&count));
    assert!(is_refused(&e), "{e}");
    assert_eq!(mux.stats().total.resets, 0);
}

#[test]
fn it_is_set_again_where_the_link_was_lost() {
    let schema = Schema::new("role_lost");
    let user = nobody(&schema);
    let role = Role::new(&[], &user);
    let mux = one_link();
    let mut a = mux.connect(user.tcp().db_name(Some(&schema.name))).unwrap();
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    server().kill(&mut server().root(), a.connection_id());
    assert!(active(&mut a).contains(&role.0));
}

#[test]
fn what_it_allowed_to_set_moves_with_it() {
    let schema = Schema::new("role_vars");
    let user = nobody(&schema);
    let sets = match server().kind {
        Kind::MariaDb => "BINLOG ADMIN ON *.*",
        Kind::MySql => "SESSION_VARIABLES_ADMIN ON *.*",
    };
    let role = Role::new(&[sets], &user);
    let mux = one_link();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    let e = error_of(a.query_drop("SET SESSION binlog_row_image = 'MINIMAL'"));
    assert!(is_refused(&e), "{e}");
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    a.query_drop("SET SESSION binlog_row_image = 'MINIMAL'")
        .unwrap();
    const ASK: &str = "SELECT @@session.binlog_row_image";
    for _ in 0..3 {
        assert_eq!(one::<String>(&mut a, ASK), "MINIMAL");
        assert_eq!(one::<String>(&mut b, ASK), "FULL");
    }
    assert_eq!(mux.stats().total.resets, 0);
    // Without the role it stands, but can't be set on another link.
    a.query_drop("SET ROLE NONE").unwrap();
    assert_eq!(one::<String>(&mut b, ASK), "FULL");
    let e = error_of(a.query_drop(ASK));
    assert!(matches!(e, Error::SessionNotRestored { .. }), "{e}");
    assert_eq!(one::<String>(&mut b, ASK), "FULL");
    a.reset().unwrap();
    assert_eq!(one::<String>(&mut a, ASK), "FULL");
}

#[test]
fn one_that_init_statements_set_is_gone_back_to() {
    let schema = Schema::new("role_init");
    let user = nobody(&schema);
    let (first, second) = (Role::new(&[], &user), Role::new(&[], &user));
    let mux = one_link();
    let init = vec![format!("SET ROLE {}", first.0)];
    let opts = user.tcp().db_name(Some(&schema.name)).init(init);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    assert!(active(&mut a).contains(&first.0));
    for sql in [format!("SET ROLE {}", second.0), "SET ROLE NONE".to_owned()] {
        a.query_drop(sql).unwrap();
        assert_eq!(a.pin(), None);
        assert!(active(&mut b).contains(&first.0));
        assert!(!active(&mut a).contains(&first.0));
        assert!(active(&mut b).contains(&first.0));
    }
    a.reset().unwrap();
    assert!(active(&mut a).contains(&first.0));
}

#[test]
fn one_that_is_dropped_is_told_when_it_can_not_be_set_again() {
    let schema = Schema::new("role_dropped");
    let user = nobody(&schema);
    let role = Role::new(&[], &user);
    let mux = one_link();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    assert_eq!(active(&mut b), "NONE");
    role.drop_now();
    let e = error_of(a.query_drop("DO 1"));
    assert!(
        matches!(&e, Error::SessionNotRestored { what, .. } if what.contains(&role.0)),
        "{e}"
    );
    assert_eq!(active(&mut b), "NONE");
    a.reset().unwrap();
    assert_eq!(active(&mut a), "NONE");
}

#[test]
fn one_that_was_set_in_a_transaction_moves_behind_it() {
    let schema = Schema::new("role_trx");
    let user = nobody(&schema);
    let role = Role::new(&[], &user);
    let mux = builder().max_links(2).build();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("START TRANSACTION").unwrap();
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    assert_eq!(a.pin().map(|p| p.reason()), Some(PinReason::Transaction));
    assert!(active(&mut a).contains(&role.0));
    assert_eq!(active(&mut b), "NONE");
    a.query_drop("COMMIT").unwrap();
    assert_eq!(a.pin(), None);
    assert_eq!(active(&mut b), "NONE");
    assert!(active(&mut a).contains(&role.0));
}

#[test]
fn views_that_only_it_shows_are_looked_into() {
    let (own, other) = (Schema::new("role_seen"), Schema::new("role_hidden"));
    let user = nobody(&own);
    let mut root = server().root();
    root.query_drop(format!("CREATE TABLE `{}`.t (a INT)", other.name))
        .unwrap();
    root.query_drop(format!(
        "CREATE VIEW `{}`.last AS SELECT LAST_INSERT_ID() AS id",
        other.name
    ))
    .unwrap();
    let reads = format!("ALL ON `{}`.*", other.name);
    let role = Role::new(&[&reads], &user);
    let mux = one_link();
    let opts = user.tcp().db_name(Some(&own.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
        .unwrap();
    let reads = format!("SELECT id FROM `{}`.last", other.name);
    // Whatever is known of the schemas is known without the role.
    assert!(is_refused(&error_of(b.query_drop(&reads))));
    a.query_drop("INSERT INTO ids (v) VALUES (1)").unwrap();
    a.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    for _ in 0..2 {
        b.query_drop("INSERT INTO ids (v) VALUES (2)").unwrap();
        match a.query::<Row, _>(&reads) {
            Ok(rows) => assert_eq!(rows[0].get::<u32, _>(0), Some(1)),
            Err(e) => assert!(matches!(e, Error::NotKept { .. }), "{e}"),
        }
    }
}

#[test]
fn one_that_definitions_were_looked_at_with_goes_no_further() {
    let (own, other) = (Schema::new("role_next"), Schema::new("role_next_too"));
    let mut root = server().root();
    root.query_drop(format!("CREATE TABLE `{}`.t (a INT)", other.name))
        .unwrap();
    let user = User::new("rolenext");
    let role = Role::new(&[], &user);
    let mux = builder().max_links(2).build();
    let opts = user.tcp().db_name(Some(&own.name));
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("START TRANSACTION").unwrap();
    b.query_drop(format!("SET ROLE {}", role.0)).unwrap();
    b.query_drop("SET TRANSACTION READ ONLY").unwrap();
    a.query_drop("COMMIT").unwrap();
    let mut lease = b.lease().unwrap();
    // It looks on another link, where no session has begun.
    server().kill(&mut root, a.connection_id());
    lease
        .query_drop(format!("SELECT COUNT(*) FROM `{}`.t", other.name))
        .unwrap();
    assert_eq!(active(&mut a), "NONE");
}
