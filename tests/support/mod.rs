//! What the integration tests share: the server under test, names that let tests run side by
//! side, guards that clean up, a relay that misbehaves on request and a server that plays a script.

// Every test file uses its own part of this.
#![allow(dead_code, unused_imports)]

pub mod fake;
pub mod relay;
pub mod talker;
pub mod task;
pub mod topology;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use fake::Fake;
pub use mysql_mux::{
    Error, Handle, Isolation, Mux, MuxBuilder, Opts, OptsBuilder, SslOpts, aio, prelude::*,
};
pub use relay::Relay;

use mysql_mux::Row;

/// Longer than anything that works should take, on a busy machine too.
pub const GENEROUS: Duration = Duration::from_secs(30);

/// The same for what moves hundreds of megabytes, or has many threads do much.
pub const VERY_GENEROUS: Duration = Duration::from_secs(120);

/// Which family the server under test is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    MySql,
}

/// The server under test.
#[derive(Debug)]
pub struct Server {
    pub kind: Kind,
    pub version: String,
    pub host: String,
    pub port: u16,
    pub socket: String,
    pub user: String,
    pub password: String,
    pub database: String,
    pub root: String,
    vars: HashMap<String, String>,
}

/// The server that `MYSQL_MUX_TEST_ENV` names, or else one that `cargo xtask servers up` left running.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        find().unwrap_or_else(|| {
            panic!("no server to test against: run `cargo xtask test`, or `cargo xtask servers up`")
        })
    })
}

fn find() -> Option<Server> {
    if let Some(path) = std::env::var_os("MYSQL_MUX_TEST_ENV") {
        let path = PathBuf::from(path);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("MYSQL_MUX_TEST_ENV={}: {e}", path.display()));
        return Some(Server::parse(&text));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers");
    ["mariadb.env", "mysql.env"].iter().find_map(|name| {
        let server = Server::parse(&fs::read_to_string(folder.join(name)).ok()?);
        Path::new("/proc")
            .join(server.var("PID"))
            .exists()
            .then_some(server)
    })
}

impl Server {
    fn parse(text: &str) -> Server {
        let vars: HashMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| {
                (
                    name.trim().to_owned(),
                    value.trim().trim_matches(['"', '\'']).to_owned(),
                )
            })
            .collect();
        let var = |name: &str| {
            vars.get(name)
                .cloned()
                .unwrap_or_else(|| panic!("the server's env file has no {name}"))
        };
        Server {
            kind: match var("KIND").to_ascii_lowercase().as_str() {
                "mariadb" => Kind::MariaDb,
                "mysql" => Kind::MySql,
                other => panic!("the server's env file has KIND={other}"),
            },
            version: var("VERSION"),
            host: var("HOST"),
            port: var("PORT").parse().expect("PORT"),
            socket: var("SOCKET"),
            user: var("USER"),
            password: var("PASSWORD"),
            database: var("DATABASE"),
            root: var("ROOT"),
            vars,
        }
    }

    /// A line of the env file.
    pub fn var(&self, name: &str) -> &str {
        self.vars
            .get(name)
            .unwrap_or_else(|| panic!("the server's env file has no {name}"))
    }

    /// A file that the env file names: `CA`, `OTHER_CA`, …
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(self.var(name))
    }

    /// The test user's URL over TCP.
    pub fn url(&self) -> String {
        self.var("URL").to_owned()
    }

    /// The test user over TCP.
    pub fn tcp(&self) -> OptsBuilder {
        self.tcp_as(&self.user, &self.password)
    }

    /// The test user over the Unix socket.
    pub fn socket(&self) -> OptsBuilder {
        self.socket_as(&self.user, &self.password)
    }

    /// Somebody over TCP, in the test schema.
    pub fn tcp_as(&self, user: &str, password: &str) -> OptsBuilder {
        OptsBuilder::new()
            .ip_or_hostname(Some(&self.host))
            .tcp_port(self.port)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(&self.database))
            .get_server_public_key(true)
    }

    /// Somebody over the Unix socket, in the test schema.
    pub fn socket_as(&self, user: &str, password: &str) -> OptsBuilder {
        OptsBuilder::new()
            .socket(Some(&self.socket))
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(&self.database))
    }

    /// Root, on a connection of its own that no test's count sees.
    pub fn root(&self) -> Handle {
        let opts = OptsBuilder::new()
            .socket(Some(&self.socket))
            .user(Some(&self.root))
            .isolation(Isolation::Shared);
        mux().connect(opts).expect("root connects over the socket")
    }

    /// The ids of a user's connections, by the server's own list.
    pub fn connections_of(&self, root: &mut Handle, user: &str) -> Vec<u32> {
        let rows: Vec<Row> = root.query("SHOW PROCESSLIST").expect("SHOW PROCESSLIST");
        rows.iter()
            .filter(|row| row.get::<String, _>("User").as_deref() == Some(user))
            .filter(|row| row.get::<String, _>("Command").as_deref() != Some("Killed"))
            .map(|row| row.get("Id").expect("Id"))
            .collect()
    }

    /// Kills a connection and waits until the server has let it go.
    pub fn kill(&self, root: &mut Handle, id: u32) {
        match root.query_drop(format!("KILL {id}")) {
            Ok(()) => {}
            Err(e) if e.code() == Some(1094) => {}
            Err(e) => panic!("KILL {id}: {e}"),
        }
        eventually("the killed connection is gone", || {
            let rows: Vec<Row> = root.query("SHOW PROCESSLIST").expect("SHOW PROCESSLIST");
            rows.iter().all(|row| row.get::<u32, _>("Id") != Some(id))
        });
    }
}

/// A mux of the test's own, so that its counts are the test's.
pub fn mux() -> Mux {
    builder().build()
}

/// The start of a mux with other limits.
pub fn builder() -> MuxBuilder {
    Mux::builder().acquire_timeout(GENEROUS)
}

/// A name that no other test of this or another run uses. At most 32 bytes, as user names are.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static RUN: OnceLock<u32> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        std::process::id().wrapping_mul(2_654_435_761) ^ now.subsec_nanos()
    });
    let name: String = name.chars().take(14).collect();
    format!("{name}_{run:08x}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Tries until it is so; panics with `what` when it does not become so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + GENEROUS;
    while !so() {
        assert!(
            Instant::now() < deadline,
            "it did not come true in {GENEROUS:?}: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Does it in a thread and panics when it has not ended within a generous time. A hang becomes a
/// failure with a name.
#[track_caller]
pub fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let value = f();
        let _ = done.send(());
        value
    });
    match wait.recv_timeout(limit) {
        Ok(()) => thread.join().expect("it sent its value"),
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            panic!("it has not ended within {limit:?}: {what}")
        }
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it dropped the channel without panic"),
        },
    }
}

/// What threads end with, in order. A hang becomes a failure with a name, and a failure of one that
/// of the test.
#[track_caller]
pub fn join<T: Send + 'static>(what: &str, threads: Vec<thread::JoinHandle<T>>) -> Vec<T> {
    within(VERY_GENEROUS, what, || {
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread failed"))
            .collect()
    })
}

/// The same of one thread.
#[track_caller]
pub fn join_one<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    within(VERY_GENEROUS, "a thread", || thread.join()).expect("a thread failed")
}

/// Has each handle do it again and again in a thread of its own, while `meanwhile` is done here.
#[track_caller]
pub fn beside<T>(
    handles: Vec<Handle>,
    again: impl Fn(&mut Handle) + Send + Sync + 'static,
    meanwhile: impl FnOnce() -> T,
) -> T {
    let shared = Arc::new((again, AtomicBool::new(false)));
    let threads = handles.into_iter().map(|mut handle| {
        let shared = shared.clone();
        thread::spawn(move || {
            while !shared.1.load(Ordering::Relaxed) {
                (shared.0)(&mut handle);
            }
        })
    });
    let threads = threads.collect();
    let done = meanwhile();
    shared.1.store(true, Ordering::Relaxed);
    join("the others", threads);
    done
}

/// So many handles with the same options.
#[track_caller]
pub fn handles(mux: &Mux, opts: &OptsBuilder, count: usize) -> Vec<Handle> {
    (0..count)
        .map(|_| mux.connect(opts.clone()).expect("connect"))
        .collect()
}

/// The first column of the first row.
#[track_caller]
pub fn one<T: FromValue>(handle: &mut impl Queryable, sql: &str) -> T {
    first_column(sql, handle.query_first(sql))
}

#[track_caller]
fn first_column<T: FromValue>(sql: &str, row: mysql_mux::Result<Option<Row>>) -> T {
    let shown: String = sql.chars().take(200).collect();
    match row.map(|row| row.map(|mut row| row.take(0))) {
        Ok(Some(Some(value))) => value,
        Ok(Some(None)) => panic!("{shown}: no column"),
        Ok(None) => panic!("{shown}: no row"),
        Err(e) => panic!("{shown}: {e}"),
    }
}

/// The error of something that must not work.
#[track_caller]
pub fn error_of<T>(result: mysql_mux::Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it worked, and should have failed"),
        Err(e) => e,
    }
}

/// A user of the test's own, with all rights; dropped at the end.
#[derive(Debug)]
pub struct User {
    pub name: String,
    pub password: String,
}

impl User {
    /// With a password and the server's default plugin.
    pub fn new(name: &str) -> User {
        let password = "correct-Horse7";
        User::identified(name, password, &format!("IDENTIFIED BY '{password}'"))
    }

    /// With what `CREATE USER … ` says of it.
    pub fn identified(name: &str, password: &str, how: &str) -> User {
        User::try_identified(name, password, how)
            .unwrap_or_else(|e| panic!("CREATE USER {how}: {e}"))
    }

    /// As [`User::identified`], where the server may lack the plugin.
    pub fn try_identified(name: &str, password: &str, how: &str) -> mysql_mux::Result<User> {
        let user = User {
            name: unique(name),
            password: password.to_owned(),
        };
        let mut root = server().root();
        root.query_drop(format!("CREATE USER '{}'@'%' {how}", user.name))?;
        root.query_drop(format!("GRANT ALL ON *.* TO '{}'@'%'", user.name))?;
        Ok(user)
    }

    /// This user over TCP.
    pub fn tcp(&self) -> OptsBuilder {
        server().tcp_as(&self.name, &self.password)
    }

    /// This user over the Unix socket.
    pub fn socket(&self) -> OptsBuilder {
        server().socket_as(&self.name, &self.password)
    }

    /// How many connections it has, by the server's count.
    pub fn connections(&self, root: &mut Handle) -> usize {
        server().connections_of(root, &self.name).len()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // The test has its verdict; a user left behind on a private server does not change it.
        if let Ok(mut root) = mux().connect(
            OptsBuilder::new()
                .socket(Some(&server().socket))
                .user(Some(&server().root)),
        ) {
            let _ = root.query_drop(format!("DROP USER IF EXISTS '{}'@'%'", self.name));
            // Nor does anything that a failed test left running go on.
            for id in server().connections_of(&mut root, &self.name) {
                let _ = root.query_drop(format!("KILL {id}"));
            }
        }
    }
}

/// A schema of the test's own, dropped at the end.
#[derive(Debug)]
pub struct Schema {
    pub name: String,
}

impl Schema {
    pub fn new(name: &str) -> Schema {
        let schema = Schema { name: unique(name) };
        let mut root = server().root();
        root.query_drop(format!(
            "CREATE DATABASE `{}` CHARACTER SET utf8mb4",
            schema.name
        ))
        .expect("CREATE DATABASE");
        schema
    }

    /// The test user over TCP, in this schema.
    pub fn tcp(&self) -> OptsBuilder {
        server().tcp().db_name(Some(&self.name))
    }

    /// The test user over the Unix socket, in this schema.
    pub fn socket(&self) -> OptsBuilder {
        server().socket().db_name(Some(&self.name))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Ok(mut root) = mux().connect(
            OptsBuilder::new()
                .socket(Some(&server().socket))
                .user(Some(&server().root)),
        ) {
            // A metadata lock of a failed test must not hold up the others.
            let _ = root.query_drop("SET lock_wait_timeout = 2");
            let _ = root.query_drop(format!("DROP DATABASE IF EXISTS `{}`", self.name));
        }
    }
}

/// Bytes that don't compress and are the same in every run.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A query for the numbers from 0 up to `count`, which needs no table: `n`, and a text of `width`
/// bytes that `n` is the beginning of. In no order.
pub fn numbers(count: usize, width: usize) -> String {
    const DIGITS: &str = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
                          UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 \
                          UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let places = count.saturating_sub(1).max(1).ilog10() + 1;
    let sum: Vec<String> = (0..places)
        .map(|p| format!("{} * d{p}.d", 10_u64.pow(p)))
        .collect();
    let sum = sum.join(" + ");
    let from: Vec<String> = (0..places).map(|p| format!("{DIGITS} d{p}")).collect();
    let from = from.join(", ");
    format!("SELECT {sum} AS n, RPAD({sum}, {width}, '.') AS t FROM {from} WHERE {sum} < {count}")
}

/// As [`one`], for an async handle.
pub async fn one_async<T: FromValue>(handle: &mut aio::Handle, sql: &str) -> T {
    first_column(sql, handle.query_first(sql).await)
}
