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
    choice::Choice,
    env::Server,
    load::runtime,
    pools::{self, Care, Size},
    show::{digits, median, nanos, table},
    way::Way,
};

const CALLERS: usize = 50;
const MOST: usize = 10;
/// Connections that nobody waits for any more may still be on their way.
const SETTLES: Duration = Duration::from_millis(400);

/// A client from nothing: its name, how long until all are answered.
type Case = (&'static str, fn(&Way) -> Duration);

pub fn run(server: &Server, tables: &mut Tables, choice: &Choice) {
    let way = Way::slow_to_connect(server).expect("a port for the relay");
    println!(
        "\n{kind}/spike: {CALLERS} callers at once, {NAP}, nothing connected before, \
         at most {MOST} links; {kind} {}, {}",
        server.version,
        way.about(),
        kind = server.kind,
    );
    let cases: Vec<Case> = vec![
        ("mysql_mux", mux),
        #[cfg(feature = "aio")]
        ("mysql_mux: tasks", aio),
        ("mysql: pool", mysql),
        ("mysql_async: pool", mysql_async),
        ("sqlx: pool", sqlx),
    ];
    let mut outcomes: Vec<Vec<(f64, f64)>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..choice.or_quick(7, 1) {
        for ((_, spike), outcome) in cases.iter().zip(&mut outcomes) {
            let before = tables.connections();
            let took = spike(&way);
            thread::sleep(SETTLES);
            let links = tables.connections() - before;
            outcome.push((links as f64, took.as_nanos() as f64));
        }
    }
    let head = ["client", "links opened", "all answered", "of the first"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let time = |outcome: &[(f64, f64)]| median(outcome.iter().map(|&(_, time)| time));
    for ((name, _), outcome) in cases.iter().zip(&outcomes) {
        let links = median(outcome.iter().map(|&(links, _)| links));
        rows.push(vec![
            (*name).to_owned(),
            format!("{links:.0}"),
            nanos(time(outcome)),
            digits(time(outcome) / time(&outcomes[0])),
        ]);
    }
    table(&rows);
}

const EMPTY: Size = Size {
    least: 0,
    most: MOST,
};

fn mux(way: &Way) -> Duration {
    let mux = Mux::builder().max_links(MOST).build();
    let opts = Opts::from(way.mux());
    in_threads(|| {
        let mut handle = mux.connect(&opts).expect("a handle");
        handle.query_drop(NAP).expect("it runs");
    })
}

fn mysql(way: &Way) -> Duration {
    let pool = pools::mysql(way, &EMPTY, Care::Usual);
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

#[cfg(feature = "aio")]
fn aio(way: &Way) -> Duration {
    let mux = Mux::builder().max_links(MOST).build();
    let opts = Opts::from(way.mux());
    runtime().block_on(in_tasks(|| {
        let (mux, opts) = (mux.clone(), opts.clone());
        async move {
            let mut handle = mux.connect_async(&opts).await.expect("a handle");
            handle.query_drop(NAP).await.expect("it runs");
        }
    }))
}

fn mysql_async(way: &Way) -> Duration {
    let runtime = runtime();
    // It opens what it needs, and keeps no more than its least.
    let pool = pools::mysql_async(way, &Size::exactly(MOST), Care::Usual);
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

fn sqlx(way: &Way) -> Duration {
    runtime().block_on(async {
        let pool = pools::sqlx(way, &EMPTY, Care::Usual);
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
