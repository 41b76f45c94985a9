//! HikariCP's spike test: many callers at once where nothing is connected yet and connecting takes
//! long. Who opens many connections waits for them; who opens few makes callers wait in turn.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable as _;
use mysql_async::prelude::Queryable as _;
use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Mux, Opts};

use crate::{
    ask::{NAP, Tables},
    bars::{Bar, Bars, Figures},
    choice::Choice,
    env::Server,
    load::runtime,
    pools::{self, Care, Size},
    show::{digits, median, nanos, table},
    way::Way,
};

const CALLERS: usize = 50;
/// The most links or connections that a client may have.
const MOST: [usize; 3] = [5, 10, 50];
/// Connections that nobody waits for any more may still be on their way.
const SETTLES: Duration = Duration::from_millis(400);

/// A client from nothing with at most so many links: its name, how long until all are answered.
type Case = (&'static str, fn(&Way, usize) -> Duration);

const CASES: [Case; 5] = [
    ("mysql_mux", mux),
    ("mysql_mux: tasks", aio),
    ("mysql: pool", mysql),
    ("mysql_async: pool", mysql_async),
    ("sqlx: pool", sqlx),
];

const PEERS: &[&str] = &["mysql: pool", "mysql_async: pool", "sqlx: pool"];

/// For each limit.
pub fn run(server: &Server, tables: &mut Tables, choice: &Choice, bars: &mut Bars) {
    let way = Way::slow_to_connect(server).expect("a port for the relay");
    for most in MOST {
        println!(
            "\n{kind}/spike: {CALLERS} callers at once, {NAP}, nothing connected before, \
             at most {most} links; {}, {}",
            server.version,
            way.about(),
            kind = server.kind,
        );
        let outcomes = measure(&way, tables, choice, most);
        print(&outcomes);
        let figures = outcomes.iter();
        let figures = Figures(figures.map(|it| (it.name, 1.0 / it.time())).collect());
        let section = format!("{}/spike, at most {most}", server.kind);
        bars.add(&section, &figures, Bar::new("mysql_mux", PEERS));
        bars.add(&section, &figures, Bar::new("mysql_mux: tasks", PEERS));
    }
}

/// What came of one client, spike for spike.
struct Outcome {
    name: &'static str,
    links: Vec<f64>,
    nanos: Vec<f64>,
}

impl Outcome {
    fn time(&self) -> f64 {
        median(self.nanos.iter().copied())
    }
}

fn measure(way: &Way, tables: &mut Tables, choice: &Choice, most: usize) -> Vec<Outcome> {
    let mut cases = CASES.to_vec();
    cases.retain(|(name, _)| choice.wants_client(name));
    let outcome = |&(name, _): &Case| Outcome {
        name,
        links: Vec::new(),
        nanos: Vec::new(),
    };
    let mut outcomes: Vec<_> = cases.iter().map(outcome).collect();
    for _ in 0..choice.or_quick(5, 1) {
        for ((_, spike), outcome) in cases.iter().zip(&mut outcomes) {
            let before = tables.connections();
            let took = spike(way, most);
            thread::sleep(SETTLES);
            outcome.links.push((tables.connections() - before) as f64);
            outcome.nanos.push(took.as_nanos() as f64);
        }
    }
    outcomes
}

fn print(outcomes: &[Outcome]) {
    let head = ["client", "links opened", "all answered", "of the first"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        rows.push(vec![
            outcome.name.to_owned(),
            format!("{:.0}", median(outcome.links.iter().copied())),
            nanos(outcome.time()),
            digits(outcome.time() / outcomes[0].time()),
        ]);
    }
    table(&rows);
}

/// Nothing is opened before it is needed.
fn size(most: usize) -> Size {
    Size { least: 0, most }
}

fn mux(way: &Way, most: usize) -> Duration {
    let mux = Mux::builder().max_links(most).build();
    let opts = Opts::from(way.mux());
    in_threads(|| {
        let mut handle = mux.connect(&opts).expect("a handle");
        handle.query_drop(NAP).expect("it runs");
    })
}

fn mysql(way: &Way, most: usize) -> Duration {
    let pool = pools::mysql(way, &size(most), Care::Usual);
    in_threads(|| {
        let mut conn = pool.get_conn().expect("a checkout");
        conn.query_drop(NAP).expect("it runs");
    })
}

fn in_threads(act: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(CALLERS + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    act();
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        for thread in threads {
            thread.join().expect("a caller's thread");
        }
        began.elapsed()
    })
}

fn aio(way: &Way, most: usize) -> Duration {
    let mux = Mux::builder().max_links(most).build();
    let opts = Opts::from(way.mux());
    runtime().block_on(in_tasks(|| {
        let (mux, opts) = (mux.clone(), opts.clone());
        async move {
            let mut handle = mux.connect_async(&opts).await.expect("a handle");
            handle.query_drop(NAP).await.expect("it runs");
        }
    }))
}

fn mysql_async(way: &Way, most: usize) -> Duration {
    let runtime = runtime();
    // It opens what it needs, and keeps no more than its least.
    let pool = pools::mysql_async(way, &Size::exactly(most), Care::Usual);
    runtime.block_on(async {
        let took = in_tasks(|| {
            let pool = pool.clone();
            async move {
                let mut conn = pool.get_conn().await.expect("a checkout");
                conn.query_drop(NAP).await.expect("it runs");
            }
        });
        let took = took.await;
        pool.disconnect().await.expect("it closes");
        took
    })
}

fn sqlx(way: &Way, most: usize) -> Duration {
    runtime().block_on(async {
        let pool = pools::sqlx(way, &size(most), Care::Usual);
        let took = in_tasks(|| {
            let pool = pool.clone();
            async move {
                let done = sqlx::raw_sql(NAP).execute(&pool).await;
                done.expect("it runs");
            }
        });
        let took = took.await;
        pool.close().await;
        took
    })
}

async fn in_tasks<F: Future<Output = ()> + Send + 'static>(act: impl Fn() -> F) -> Duration {
    let began = Instant::now();
    let tasks: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(act())).collect();
    for task in tasks {
        task.await.expect("a caller's task");
    }
    began.elapsed()
}
