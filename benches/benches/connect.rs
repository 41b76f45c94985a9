//! What it costs to open a handle, beside a connection and a checkout from a warm pool.
//!
//! Two questions, each for every way to every server:
//! - *open*: until there is something to run statements on. What closes it again is not measured.
//! - *unit*: open, one statement (`DO 1`), close, where a pool has one connection and a mux one
//!   link: nothing that is done behind somebody's back is left out.
//!
//! All clients run with their defaults: the `mysql` crate's and `sqlx`'s pools ping what they give
//! out, `mysql`'s and `mysql_async`'s pools reset what they get back. A handle is opened without
//! I/O; the reset that keeps its session its own comes with its first statement.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql_async::prelude::Queryable as _;
use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Isolation, Mux, Opts};
use mysql_mux_benches::clock::{Clock, Run, doing, opening, opening_one};
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::show::{digits, nanos, table};
use mysql_mux_benches::way::Way;
use sqlx::mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::{Builder, Runtime};

const STATEMENT: &str = "DO 1";

const HANDLE: &str = "mysql_mux: next handle";
const HANDLE_URL: &str = "mysql_mux: next handle, by URL";
const HANDLE_SHARED: &str = "mysql_mux: next handle, Shared";
const FRESH_MUX: &str = "mysql_mux: first handle";
const FRESH: [&str; 3] = [
    "mysql: fresh connect",
    "mysql_async: fresh connect",
    "sqlx: fresh connect",
];
const POOL: [&str; 3] = [
    "mysql: warm pool",
    "mysql_async: warm pool",
    "sqlx: warm pool",
];

/// A measured thing: its name, what is prepared for it.
type Case = (&'static str, fn(&Way) -> Run);

const OPEN: [Case; 9] = [
    (HANDLE, open::handle),
    (HANDLE_URL, open::handle_by_url),
    (FRESH_MUX, open::first_handle),
    (FRESH[0], open::mysql),
    (FRESH[1], open::mysql_async),
    (FRESH[2], open::sqlx),
    (POOL[0], open::mysql_pool),
    (POOL[1], open::mysql_async_pool),
    (POOL[2], open::sqlx_pool),
];

const UNIT: [Case; 9] = [
    (HANDLE, unit::handle),
    (HANDLE_SHARED, unit::handle_shared),
    (FRESH_MUX, unit::first_handle),
    (FRESH[0], unit::mysql),
    (FRESH[1], unit::mysql_async),
    (FRESH[2], unit::sqlx),
    (POOL[0], unit::mysql_pool),
    (POOL[1], unit::mysql_async_pool),
    (POOL[2], unit::sqlx_pool),
];

/// What came out for one way to one server.
struct Outcome {
    about: String,
    question: &'static str,
    times: Vec<(&'static str, f64)>,
}

fn main() {
    let servers = env::servers();
    println!("Opening a handle, beside mysql 28, mysql_async 0.37 and sqlx 0.9, on");
    for server in &servers {
        println!("  {} {}", server.kind, server.version);
    }
    let mut clock = Clock::new();
    let mut outcomes = Vec::new();
    for server in &servers {
        for way in ways(server) {
            for (question, cases) in [("open", OPEN), ("unit", UNIT)] {
                let group = format!("connect/{}/{}/{question}", server.kind, way.name);
                let times: Vec<_> = cases
                    .into_iter()
                    .filter_map(|(name, prepare)| {
                        let time = clock.measure(&group, name, || prepare(&way))?;
                        Some((name, time))
                    })
                    .collect();
                let about = format!("{} {}, {}", server.kind, server.version, way.about());
                outcomes.push(Outcome {
                    about,
                    question,
                    times,
                });
            }
        }
    }
    clock.finish();
    outcomes.retain(|outcome| !outcome.times.is_empty());
    outcomes.iter().for_each(print);
    verdict(&outcomes);
}

fn ways(server: &Server) -> [Way; 4] {
    let relayed = Way::relayed(server).expect("a port for the relay");
    [
        // First: without a cached password MySQL wants it in the clear, which a socket may carry.
        Way::socket(server),
        Way::tcp(server),
        Way::tls(server),
        relayed,
    ]
}

fn print(outcome: &Outcome) {
    let question = match outcome.question {
        "open" => "open",
        _ => "open, one statement, close",
    };
    println!("\n{}: {question}", outcome.about);
    let base = outcome.times.iter().find(|(name, _)| *name == HANDLE);
    let mut rows = vec![vec![
        "what".to_owned(),
        "median".to_owned(),
        "times a handle's".to_owned(),
    ]];
    rows.extend(outcome.times.iter().map(|&(name, time)| {
        let ratio = base.map_or(String::new(), |(_, base)| digits(time / base));
        vec![name.to_owned(), nanos(time), ratio]
    }));
    table(&rows);
}

/// The two figures that a handle is held to.
fn verdict(outcomes: &[Outcome]) {
    println!("\nA handle beside the cheapest fresh connect and the cheapest checkout:");
    let mut rows = vec![
        [
            "way",
            "handle",
            "cheapest connect",
            "ratio",
            "cheapest checkout",
            "ratio",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for outcome in outcomes.iter().filter(|o| o.question == "open") {
        let time = |wanted: &[&str]| {
            let times = outcome
                .times
                .iter()
                .filter(|(name, _)| wanted.contains(name));
            times.map(|&(_, time)| time).min_by(f64::total_cmp)
        };
        let (Some(handle), Some(fresh), Some(pool)) = (time(&[HANDLE]), time(&FRESH), time(&POOL))
        else {
            continue;
        };
        rows.push(vec![
            outcome.about.clone(),
            nanos(handle),
            nanos(fresh),
            digits(fresh / handle),
            nanos(pool),
            digits(pool / handle),
        ]);
    }
    table(&rows);
}

/// A runtime in the thread that measures: no hop to another thread is added.
fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a tokio runtime")
}

fn mysql_pool(way: &Way) -> mysql::Pool {
    let one = mysql::PoolConstraints::new(1, 1).expect("1 is not over 1");
    let opts = mysql::PoolOpts::default().with_constraints(one);
    let opts = mysql::OptsBuilder::from_opts(way.mysql()).pool_opts(opts);
    mysql::Pool::new(opts).expect("mysql connects")
}

async fn mysql_async_conn(opts: &mysql_async::Opts) -> mysql_async::Conn {
    let conn = mysql_async::Conn::new(opts.clone()).await;
    conn.expect("mysql_async connects")
}

async fn sqlx_pool(way: &Way) -> MySqlPool {
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect_with(way.sqlx()).await;
    pool.expect("sqlx connects")
}

async fn sqlx_conn(opts: &sqlx::mysql::MySqlConnectOptions) -> MySqlConnection {
    opts.connect().await.expect("sqlx connects")
}

/// A mux of one link, which is open.
fn warm_mux(opts: &Opts) -> Mux {
    let mux = Mux::builder().max_links(1).build();
    let mut first = mux.connect(opts).expect("mysql_mux connects");
    first.query_drop(STATEMENT).expect("it runs");
    mux
}

/// A mux whose links close with their last handle.
fn cold_mux() -> Mux {
    Mux::builder().linger(Duration::ZERO).build()
}

mod open {
    use super::*;

    pub fn handle(way: &Way) -> Run {
        let opts = Opts::from(way.mux());
        let mux = warm_mux(&opts);
        opening(move || mux.connect(&opts).expect("a handle"))
    }

    pub fn handle_by_url(way: &Way) -> Run {
        let url = way.mux_url();
        let mux = warm_mux(&Opts::from_url(&url).expect("a URL"));
        opening(move || mux.connect(&url).expect("a handle"))
    }

    pub fn first_handle(way: &Way) -> Run {
        let opts = Opts::from(way.mux());
        let mux = cold_mux();
        opening_one(move || mux.connect(&opts).expect("mysql_mux connects"))
    }

    pub fn mysql(way: &Way) -> Run {
        let opts = way.mysql();
        opening_one(move || mysql::Conn::new(opts.clone()).expect("mysql connects"))
    }

    pub fn mysql_async(way: &Way) -> Run {
        let opts = way.mysql_async();
        let runtime = runtime();
        Box::new(move |times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let began = Instant::now();
                    let conn = mysql_async_conn(&opts).await;
                    took += began.elapsed();
                    conn.disconnect().await.expect("it closes");
                }
                took
            })
        })
    }

    pub fn sqlx(way: &Way) -> Run {
        let opts = way.sqlx();
        let runtime = runtime();
        Box::new(move |times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let began = Instant::now();
                    let conn = sqlx_conn(&opts).await;
                    took += began.elapsed();
                    conn.close().await.expect("it closes");
                }
                took
            })
        })
    }

    pub fn mysql_pool(way: &Way) -> Run {
        let pool = super::mysql_pool(way);
        opening_one(move || pool.get_conn().expect("a checkout"))
    }

    pub fn mysql_async_pool(way: &Way) -> Run {
        let runtime = runtime();
        let pool = mysql_async::Pool::new(way.mysql_async());
        Box::new(move |times| {
            runtime.block_on(async {
                let metrics = pool.metrics();
                let mut took = Duration::ZERO;
                drop(pool.get_conn().await.expect("a checkout"));
                for _ in 0..times {
                    // What was given back is being reset; that is not part of a checkout.
                    while metrics.connections_in_pool.load(Ordering::Relaxed) == 0 {
                        tokio::task::yield_now().await;
                    }
                    let began = Instant::now();
                    let conn = pool.get_conn().await.expect("a checkout");
                    took += began.elapsed();
                    drop(conn);
                }
                took
            })
        })
    }

    pub fn sqlx_pool(way: &Way) -> Run {
        let runtime = runtime();
        let pool = runtime.block_on(super::sqlx_pool(way));
        Box::new(move |times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    while pool.num_idle() == 0 {
                        tokio::task::yield_now().await;
                    }
                    let began = Instant::now();
                    let conn = pool.acquire().await.expect("a checkout");
                    took += began.elapsed();
                    drop(conn);
                }
                took
            })
        })
    }
}

mod unit {
    use super::*;

    fn through(mux: Mux, opts: Opts) -> Run {
        doing(move || {
            let mut handle = mux.connect(&opts).expect("a handle");
            handle.query_drop(STATEMENT).expect("it runs");
        })
    }

    pub fn handle(way: &Way) -> Run {
        let opts = Opts::from(way.mux());
        through(warm_mux(&opts), opts)
    }

    pub fn handle_shared(way: &Way) -> Run {
        let opts = Opts::from(way.mux().isolation(Isolation::Shared));
        through(warm_mux(&opts), opts)
    }

    pub fn first_handle(way: &Way) -> Run {
        through(cold_mux(), way.mux().into())
    }

    pub fn mysql(way: &Way) -> Run {
        let opts = way.mysql();
        doing(move || {
            let mut conn = mysql::Conn::new(opts.clone()).expect("mysql connects");
            conn.query_drop(STATEMENT).expect("it runs");
        })
    }

    pub fn mysql_async(way: &Way) -> Run {
        let opts = way.mysql_async();
        let runtime = runtime();
        doing(move || {
            runtime.block_on(async {
                let mut conn = mysql_async_conn(&opts).await;
                conn.query_drop(STATEMENT).await.expect("it runs");
                conn.disconnect().await.expect("it closes");
            });
        })
    }

    pub fn sqlx(way: &Way) -> Run {
        let opts = way.sqlx();
        let runtime = runtime();
        doing(move || {
            runtime.block_on(async {
                let mut conn = sqlx_conn(&opts).await;
                let run = sqlx::raw_sql(STATEMENT).execute(&mut conn).await;
                run.expect("it runs");
                conn.close().await.expect("it closes");
            });
        })
    }

    pub fn mysql_pool(way: &Way) -> Run {
        let pool = super::mysql_pool(way);
        doing(move || {
            let mut conn = pool.get_conn().expect("a checkout");
            conn.query_drop(STATEMENT).expect("it runs");
        })
    }

    pub fn mysql_async_pool(way: &Way) -> Run {
        let runtime = runtime();
        let pool = mysql_async::Pool::new(way.mysql_async());
        doing(move || {
            runtime.block_on(async {
                let mut conn = pool.get_conn().await.expect("a checkout");
                conn.query_drop(STATEMENT).await.expect("it runs");
            });
        })
    }

    pub fn sqlx_pool(way: &Way) -> Run {
        let runtime = runtime();
        let pool = runtime.block_on(super::sqlx_pool(way));
        doing(move || {
            runtime.block_on(async {
                let mut conn = pool.acquire().await.expect("a checkout");
                let run = sqlx::raw_sql(STATEMENT).execute(&mut *conn).await;
                run.expect("it runs");
            });
        })
    }
}
