//! Handles by themselves: opening them from one thread and from many, and what they hold.
//!
//! | section | what |
//! | --- | --- |
//! | `open` | threads that open handles of one mux, without I/O, and drop them: many, and one at a time |
//! | `idle` | the heap that handles hold: a million that ran nothing, and some that ran a statement |
//!
//! ```sh
//! cargo xtask bench --bench handles -- mariadb/open
//! ```

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use mysql_mux::prelude::*;
use mysql_mux::{Handle, Mux, Opts};
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env;
use mysql_mux_benches::heap::{Counting, Taken, counting};
use mysql_mux_benches::show::{digits, median, nanos, table};
use mysql_mux_benches::way::Way;

#[global_allocator]
static HEAP: Counting = Counting;

const THREADS: [usize; 3] = [1, 2, 16];

fn main() {
    let choice = Choice::from_args();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("Handles of mysql_mux, on {cores} cores");
    for server in env::servers() {
        let way = Way::socket(&server);
        let about = format!("{} {}", server.kind, server.version);
        let name = |section| format!("{}/{section}", server.kind);
        if choice.wants(&name("open")) {
            println!("\n{}: opening handles; {about}", name("open"));
            open(&way, &choice);
        }
        if choice.wants(&name("idle")) {
            println!("\n{}: what handles hold; {about}", name("idle"));
            idle(&way, &choice);
        }
    }
}

/// A mux of one link that is open, and stays so.
fn warm(way: &Way) -> (Mux, Opts, Handle) {
    let mux = Mux::builder().max_links(1).build();
    let opts = Opts::from(way.mux());
    let mut first = mux.connect(&opts).expect("mysql_mux connects");
    first.query_drop("DO 1").expect("it runs");
    (mux, opts, first)
}

/// What some threads took together, and one of them for one handle.
#[derive(Default)]
struct Opened {
    opened_per_second: Vec<f64>,
    dropped_per_second: Vec<f64>,
    in_turn_per_second: Vec<f64>,
}

fn open(way: &Way, choice: &Choice) {
    let (mux, opts, _first) = warm(way);
    let each = choice.or_quick(100_000, 10_000);
    let mut outcomes = THREADS.map(|_| Opened::default());
    for _ in 0..choice.or_quick(15, 3) {
        for (threads, outcome) in THREADS.into_iter().zip(&mut outcomes) {
            let [opening, dropping, in_turn] = open_once(&mux, &opts, threads, each / threads);
            let count = (each / threads * threads) as f64;
            let per_second = |took: Duration| count / took.as_secs_f64();
            outcome.opened_per_second.push(per_second(opening));
            outcome.dropped_per_second.push(per_second(dropping));
            outcome.in_turn_per_second.push(per_second(in_turn));
        }
    }
    let head = [
        "threads",
        "open, each",
        "all together/s",
        "times one thread's",
        "drop, each",
        "all together/s",
        "times one thread's",
        "one at a time, each",
        "all together/s",
        "times one thread's",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let opened = |outcome: &Opened| median(outcome.opened_per_second.iter().copied());
    let dropped = |outcome: &Opened| median(outcome.dropped_per_second.iter().copied());
    let in_turn = |outcome: &Opened| median(outcome.in_turn_per_second.iter().copied());
    for (threads, outcome) in THREADS.into_iter().zip(&outcomes) {
        let mut row = vec![threads.to_string()];
        for rate in [opened, dropped, in_turn] {
            let per_second = rate(outcome);
            row.extend([
                nanos(1e9 / per_second * threads as f64),
                format!("{per_second:.0}"),
                digits(per_second / rate(&outcomes[0])),
            ]);
        }
        rows.push(row);
    }
    table(&rows);
}

/// How long threads took until the last had opened so many, until the last had dropped them, and until the
/// last had opened and dropped as many one at a time.
fn open_once(mux: &Mux, opts: &Opts, threads: usize, each: usize) -> [Duration; 3] {
    let step = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut handles = Vec::with_capacity(each);
                let open = || black_box(mux.connect(opts).expect("a handle"));
                step.wait();
                handles.extend((0..each).map(|_| open()));
                step.wait();
                drop(handles);
                step.wait();
                (0..each).for_each(|_| drop(open()));
                step.wait();
            });
        }
        step.wait();
        let began = Instant::now();
        step.wait();
        let opened = Instant::now();
        step.wait();
        let dropped = Instant::now();
        step.wait();
        [opened - began, dropped - opened, dropped.elapsed()]
    })
}

fn idle(way: &Way, choice: &Choice) {
    let (mux, opts, _first) = warm(way);
    let head = [
        "handles",
        "count",
        "in place",
        "on the heap",
        "blocks",
        "both",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];

    let count = choice.or_quick(1_000_000, 100_000);
    let handle = || mux.connect(&opts).expect("a handle");
    rows.push(held("ran nothing", count, handle));

    let count = choice.or_quick(20_000, 1_000);
    let used = || {
        let mut handle = handle();
        handle.query_drop("DO 1").expect("it runs");
        handle
    };
    rows.push(held("ran a statement", count, used));

    let runtime = mysql_mux_benches::load::runtime();
    let count = choice.or_quick(1_000_000, 100_000);
    let handle = || {
        let handle = runtime.block_on(mux.connect_async(&opts));
        handle.expect("a handle")
    };
    rows.push(held("async, ran nothing", count, handle));
    table(&rows);
}

/// Bytes of each of many that are open at once.
fn held<T>(name: &str, count: usize, open: impl Fn() -> T) -> Vec<String> {
    let mut handles = Vec::with_capacity(count);
    let ((), Taken { bytes, blocks, .. }) = counting(|| handles.extend((0..count).map(|_| open())));
    let each = |taken: i64| taken as f64 / count as f64;
    let in_place = size_of::<T>();
    vec![
        name.to_owned(),
        count.to_string(),
        format!("{in_place} bytes"),
        format!("{:.1} bytes", each(bytes)),
        format!("{:.2}", each(blocks)),
        format!("{:.0} bytes", each(bytes) + in_place as f64),
    ]
}
