//! What it costs that a session is one's own: one statement (`DO 1`) in four situations.
//!
//! | situation | before the statement |
//! | --- | --- |
//! | nothing | the link's session is this handle's already |
//! | reset | another handle of the same identity had the link: `COM_RESET_CONNECTION` |
//! | change user | another identity had the link: `COM_CHANGE_USER` |
//! | fresh | there is no link: connect and log in |
//!
//! The mux has one link, so two handles in turn can't avoid each other.

use std::time::{Duration, Instant};

use mysql_mux::prelude::*;
use mysql_mux::{Counts, Handle, Isolation, Mux, OptsBuilder};
use mysql_mux_benches::clock::{Clock, Run, doing, opening_one};
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::show::{digits, nanos, table};
use mysql_mux_benches::way::Way;

const STATEMENT: &str = "DO 1";

fn main() {
    let servers = env::servers();
    let mut clock = Clock::new();
    let mut tables = Vec::new();
    for server in &servers {
        let user = User::new(server);
        let relayed = Way::relayed(server).expect("a port for the relay");
        for way in [Way::socket(server), Way::tcp(server), relayed] {
            let group = format!("reset/{}/{}", server.kind, way.name);
            let mut measure =
                |name, prepare: &dyn Fn() -> Run| clock.measure(&group, name, prepare);
            let ours = || way.mux().isolation(Isolation::Reset);
            let theirs = || way.mux_as(&user.name, PASSWORD).isolation(Isolation::Reset);
            let times = [
                ("fresh connect", measure("fresh", &|| fresh(ours()))),
                (
                    "COM_CHANGE_USER",
                    measure("change user", &|| {
                        in_turn(ours(), theirs(), |c| c.user_changes)
                    }),
                ),
                (
                    "COM_RESET_CONNECTION",
                    measure("reset", &|| in_turn(ours(), ours(), |c| c.resets)),
                ),
                ("nothing", measure("nothing", &|| alone(ours()))),
            ];
            let about = format!("{} {}, {}", server.kind, server.version, way.about());
            tables.push((about, times));
        }
    }
    clock.finish();
    for (about, times) in tables {
        print(&about, &times);
    }
}

fn print(about: &str, times: &[(&str, Option<f64>)]) {
    let nothing = match times.last() {
        Some((_, Some(time))) => *time,
        _ => return,
    };
    println!("\n{about}: one statement, and what comes before it");
    let head = ["before it", "median", "its price", "times the statement"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, time) in times {
        if let Some(time) = *time {
            rows.push(vec![
                (*name).to_owned(),
                nanos(time),
                price(time - nothing),
                digits(time / nothing),
            ]);
        }
    }
    table(&rows);
}

fn price(nanoseconds: f64) -> String {
    match nanoseconds {
        0.0 => "-".to_owned(),
        _ => nanos(nanoseconds),
    }
}

fn run(handle: &mut Handle) {
    handle.query_drop(STATEMENT).expect("it runs");
}

fn one_link() -> Mux {
    Mux::builder().max_links(1).build()
}

fn alone(opts: OptsBuilder) -> Run {
    let mut handle = one_link().connect(opts).expect("a handle");
    doing(move || run(&mut handle))
}

/// Two handles; each statement is the other's. `count` must show it.
fn in_turn(a: OptsBuilder, b: OptsBuilder, count: fn(&Counts) -> u64) -> Run {
    let mux = one_link();
    let mut handles = [a, b].map(|opts| mux.connect(opts).expect("a handle"));
    handles.iter_mut().for_each(run);
    Box::new(move |times| {
        let before = count(&mux.stats().total);
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let began = Instant::now();
            run(&mut handles[0]);
            took += began.elapsed();
            handles.rotate_left(1);
        }
        assert_eq!(count(&mux.stats().total) - before, times, "each time");
        took
    })
}

fn fresh(opts: OptsBuilder) -> Run {
    let opts = mysql_mux::Opts::from(opts);
    let mux = Mux::builder().linger(Duration::ZERO).build();
    opening_one(move || {
        let mut handle = mux.connect(&opts).expect("a handle");
        run(&mut handle);
        handle
    })
}

const PASSWORD: &str = "bench-Pw7";

/// A second user, as long as it is needed.
struct User {
    name: String,
    root: Handle,
}

impl User {
    fn new(server: &Server) -> User {
        let opts = OptsBuilder::new()
            .socket(Some(&server.socket))
            .user(Some(&server.root));
        let mut root = one_link().connect(opts).expect("root over the socket");
        let name = format!("mux_bench_{}", std::process::id());
        let database = &server.database;
        for sql in [
            format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT ALL ON `{database}`.* TO '{name}'@'%'"),
        ] {
            root.query_drop(sql).expect("root may make users");
        }
        // MySQL then knows the password's hash, and takes it over TCP in the short way too.
        let opts = Way::socket(server).mux_as(&name, PASSWORD);
        drop(one_link().connect(opts).expect("the new user connects"));
        User { name, root }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let sql = format!("DROP USER '{}'@'%'", self.name);
        if let Err(e) = self.root.query_drop(sql) {
            eprintln!("the user {} stays behind: {e}", self.name);
        }
    }
}
