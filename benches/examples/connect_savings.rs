//! What handles save: N connections opened the usual way, with the `mysql` crate, beside N handles
//! through the mux, to the same server, each running a query.
//!
//! ```sh
//! MYSQL_MUX_URL=mysql://user:password@localhost/schema cargo run --release --example connect_savings
//! ```
//! The URL may be the first argument instead; `N` (default 100) sets how many.
//!
//! Every figure is measured. The handles come first: a server keeps memory that connections took,
//! so whoever came second would look cheaper than it is.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable as _;
use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Mux, Opts};
use mysql_mux_benches::{
    mysql_opts,
    show::{bar, kib, percentile, table, time},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const QUERY: &str = "SELECT 1";

const MYSQL_MEMORY: &str = "SELECT CAST(SUM(current_number_of_bytes_used) AS SIGNED) \
     FROM performance_schema.memory_summary_global_by_event_name";

fn main() {
    if let Err(e) = run() {
        eprintln!("connect_savings: {e}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let url = env::args()
        .nth(1)
        .or_else(|| env::var("MYSQL_MUX_URL").ok());
    let url = url.ok_or("set MYSQL_MUX_URL to mysql://user:password@host:3306/schema")?;
    let n = match env::var("N") {
        Ok(n) => n.parse().map_err(|e| format!("N={n}: {e}"))?,
        Err(_) => 100,
    };
    if n == 0 {
        return Err("N must be at least 1".into());
    }
    let opts = Opts::from_url(&url)?;
    let mut observer = Observer::new(&opts)?;
    println!(
        "{} on {}, {n} of each, each runs `{QUERY}`",
        observer.version,
        place(&opts)
    );

    let handles = through_the_mux(&opts, n, &mut observer)?;
    observer.wait_until_as_before()?;
    let usual = the_usual_way(&opts, n, &mut observer)?;

    print(&usual, &handles, n);
    Ok(())
}

fn place(opts: &Opts) -> String {
    match opts.get_socket() {
        Some(path) => format!("socket {}", path.display()),
        None => format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port()),
    }
}

/// What one way of connecting came to.
struct Outcome {
    /// Times to open, in the order in which they were opened.
    opening: Vec<Duration>,
    /// Times of the first query on each.
    querying: Vec<Duration>,
    /// Physical connections that the client opened.
    opened: u64,
    before: Seen,
    during: Seen,
}

fn through_the_mux(opts: &Opts, n: usize, observer: &mut Observer) -> Result<Outcome> {
    let mux = Mux::builder().build();
    let before = observer.look()?;
    let (opening, mut handles) = opened(n, || Ok(mux.connect(opts)?))?;
    let querying = queried(&mut handles, |handle| Ok(handle.query_first(QUERY)?))?;
    let during = observer.look()?;
    let opened = mux.stats().total.connect_success;
    drop(handles);
    mux.shutdown(Duration::from_secs(5));
    Ok(Outcome {
        opening,
        querying,
        opened,
        before,
        during,
    })
}

fn the_usual_way(opts: &Opts, n: usize, observer: &mut Observer) -> Result<Outcome> {
    let opts = mysql_opts(opts);
    let before = observer.look()?;
    let (opening, mut connections) = opened(n, || Ok(mysql::Conn::new(opts.clone())?))?;
    let querying = queried(&mut connections, |conn| Ok(conn.query_first(QUERY)?))?;
    let during = observer.look()?;
    Ok(Outcome {
        opening,
        querying,
        opened: connections.len() as u64,
        before,
        during,
    })
}

fn opened<T>(n: usize, open: impl Fn() -> Result<T>) -> Result<(Vec<Duration>, Vec<T>)> {
    let mut times = Vec::with_capacity(n);
    let mut all = Vec::with_capacity(n);
    for i in 0..n {
        let began = Instant::now();
        let one = open().map_err(|e| format!("opening number {} of {n}: {e}", i + 1))?;
        times.push(began.elapsed());
        all.push(one);
    }
    Ok((times, all))
}

fn queried<T>(
    all: &mut [T],
    query: impl Fn(&mut T) -> Result<Option<u64>>,
) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(all.len());
    for one in all {
        let began = Instant::now();
        query(one)?.ok_or("the query gave no row")?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// The server's own word.
#[derive(Debug, Clone, Copy)]
struct Seen {
    threads_connected: i64,
    connections: i64,
    /// Memory in use by the server's own count, KiB.
    used: Option<i64>,
    /// Resident memory of the server's process, KiB.
    resident: Option<i64>,
}

/// Asks the server, over a connection that both ways find open.
struct Observer {
    conn: mysql::Conn,
    version: String,
    mariadb: bool,
    pid: Option<u32>,
    threads_at_first: i64,
}

impl Observer {
    fn new(opts: &Opts) -> Result<Observer> {
        let mut conn = mysql::Conn::new(mysql_opts(opts))?;
        let version: Option<String> = conn.query_first("SELECT VERSION()")?;
        let version = version.ok_or("the server has no version")?;
        let mariadb = version.contains("MariaDB");
        let name = if mariadb { "MariaDB" } else { "MySQL" };
        let version = format!("{name} {}", version.trim_end_matches("-MariaDB"));
        let pid = server_pid(&mut conn)?;
        let mut observer = Observer {
            conn,
            version,
            mariadb,
            pid,
            threads_at_first: 0,
        };
        observer.threads_at_first = observer.look()?.threads_connected;
        Ok(observer)
    }

    fn look(&mut self) -> Result<Seen> {
        Ok(Seen {
            threads_connected: self.status("Threads_connected")?,
            connections: self.status("Connections")?,
            used: self.used(),
            resident: self.pid.and_then(resident),
        })
    }

    /// `None` where the server doesn't count, or doesn't tell this user.
    fn used(&mut self) -> Option<i64> {
        let bytes = match self.mariadb {
            true => self.status("Memory_used").ok(),
            false => self.conn.query_first(MYSQL_MEMORY).ok().flatten(),
        };
        bytes.map(|bytes| bytes / 1024)
    }

    fn status(&mut self, name: &str) -> Result<i64> {
        let sql = format!("SHOW GLOBAL STATUS WHERE Variable_name = '{name}'");
        let row: Option<(String, i64)> = self.conn.query_first(sql)?;
        Ok(row.ok_or_else(|| format!("the server has no {name}"))?.1)
    }

    /// Lets the server finish with what was closed.
    fn wait_until_as_before(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.status("Threads_connected")? > self.threads_at_first {
            if Instant::now() > deadline {
                println!("(somebody else uses this server: its counts are not ours alone)");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// The server's process, where it is one of this machine.
fn server_pid(conn: &mut mysql::Conn) -> Result<Option<u32>> {
    let names: Option<(String, String)> = conn.query_first("SELECT @@pid_file, @@datadir")?;
    let Some((file, datadir)) = names else {
        return Ok(None);
    };
    let text = fs::read_to_string(Path::new(&datadir).join(file));
    let Some(pid) = text.ok().and_then(|text| text.trim().parse().ok()) else {
        return Ok(None);
    };
    // A file of that name may be another server's, where this one is far away. The command line, not
    // the process's name: a server may be started through its own dynamic linker.
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command);
    let is_one = ["mariadbd", "mysqld"]
        .iter()
        .any(|name| command.contains(name));
    Ok(is_one.then_some(pid))
}

/// Resident memory of a process, KiB.
fn resident(pid: u32) -> Option<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn print(usual: &Outcome, handles: &Outcome, n: usize) {
    let both = [usual, handles];
    let row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells = both.iter().map(|outcome| cell(outcome));
        [name.to_owned()].into_iter().chain(cells).collect()
    };
    let share = |times: &[Duration], share| {
        let mut sorted = times.to_vec();
        sorted.sort();
        time(percentile(&sorted, share))
    };
    let gained = |of: fn(&Seen) -> i64| {
        move |o: &Outcome| {
            let (before, during) = (of(&o.before), of(&o.during));
            format!("{before} → {during} ({:+})", during - before)
        }
    };
    println!();
    table(&[
        vec![
            String::new(),
            format!("{n} connections (mysql)"),
            format!("{n} handles (mysql_mux)"),
        ],
        row("to open, p50", &|o| share(&o.opening, 0.5)),
        row("to open, p99", &|o| share(&o.opening, 0.99)),
        row("to open, the first", &|o| time(o.opening[0])),
        row("to open, all", &|o| time(o.opening.iter().sum())),
        row("first query, p50", &|o| share(&o.querying, 0.5)),
        row("first query, p99", &|o| share(&o.querying, 0.99)),
        row("all of it", &|o| time(whole(o))),
        row("physical connections", &|o| o.opened.to_string()),
        row("Threads_connected", &gained(|s| s.threads_connected)),
        row("Connections", &gained(|s| s.connections)),
        row("server memory, its own count", &|o| more(o, |s| s.used)),
        row("server memory, VmRSS", &|o| more(o, |s| s.resident)),
    ]);
    println!("  (A server keeps what it took once: VmRSS grows only beyond what it had before.)");

    println!();
    let bars = |what: &str, value: &dyn Fn(&Outcome) -> f64, text: &dyn Fn(&Outcome) -> String| {
        let largest = both.iter().map(|o| value(o)).fold(0.0, f64::max);
        println!("  {what}");
        for (name, outcome) in [("connections", usual), ("handles", handles)] {
            let bar = bar(value(outcome), largest, 50);
            println!("    {name:<11} {bar} {}", text(outcome));
        }
    };
    bars(
        "time to open all and run a query on each",
        &|o| whole(o).as_secs_f64(),
        &|o| time(whole(o)),
    );
    bars("physical connections", &|o| o.opened as f64, &|o| {
        o.opened.to_string()
    });
    let of: fn(&Seen) -> Option<i64> = match usual.during.used {
        Some(_) => |seen| seen.used,
        None => |seen| seen.resident,
    };
    let kept = |o: &Outcome| grown(o, of).unwrap_or_default();
    bars("server memory for them", &|o| kept(o) as f64, &|o| {
        more(o, of)
    });
}

fn whole(outcome: &Outcome) -> Duration {
    let all = outcome.opening.iter().chain(&outcome.querying);
    all.sum()
}

fn grown(outcome: &Outcome, of: fn(&Seen) -> Option<i64>) -> Option<i64> {
    Some(of(&outcome.during)? - of(&outcome.before)?)
}

fn more(outcome: &Outcome, of: fn(&Seen) -> Option<i64>) -> String {
    match grown(outcome, of) {
        Some(more @ ..0) => kib(more),
        Some(more) => format!("+{}", kib(more)),
        None => "n/a".to_owned(),
    }
}
