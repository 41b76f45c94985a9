//! Runs the differential test; see the library's head.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use mysql_mux::Isolation;
use mysql_mux_differential::{
    program::{Mode, Program, Shape},
    run::{Divergence, Report, Runner, Tested},
    server::{Kind, Server},
    shrink::shrink,
    sides::mux::ON_REPLICAS,
    topics::TOPICS,
    way::Way,
};

/// A program that takes longer hangs.
const HANG: Duration = Duration::from_secs(300);

/// How often a run tells how far it is.
const TELL: Duration = Duration::from_secs(60);

/// Random programs over mysql_mux and over dedicated connections, which must look the same
#[derive(Parser)]
struct Args {
    /// The server's env file; default: that of MYSQL_MUX_TEST_ENV, or of `cargo xtask servers up`
    #[arg(long)]
    server_env: Option<PathBuf>,
    /// Which of the servers of `cargo xtask servers up`
    #[arg(long, value_enum)]
    server: Option<ServerKind>,
    /// Several servers that replicate, behind each handle under test: their file of `cargo xtask servers
    /// up --only mariadb-replication`; default: that of MYSQL_MUX_TEST_TOPOLOGY, if no server is named
    #[arg(long, conflicts_with_all = ["server_env", "server"])]
    topology: Option<PathBuf>,
    /// The first program's seed; the next programs' are those behind it. Default: by the clock
    #[arg(long)]
    seed: Option<u64>,
    /// How many programs; default 100
    #[arg(long, conflicts_with = "minutes")]
    programs: Option<u64>,
    /// For how long, instead
    #[arg(long)]
    minutes: Option<f64>,
    /// Steps of a program; each handle of a concurrent one has half as many
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// Handles; default: by the seed, up to 32
    #[arg(long)]
    handles: Option<usize>,
    /// Links beside those of handles that may keep one; default: by the seed, 1 to 4
    #[arg(long)]
    links: Option<usize>,
    #[arg(long, value_enum, default_value = "both")]
    mode: ModeArg,
    /// How isolated handles are
    #[arg(long, value_enum, default_value = "session")]
    isolation: IsolationArg,
    /// What is tested; `dedicated` tests the test
    #[arg(long, value_enum, default_value = "mux")]
    against: Against,
    /// Only these topics
    #[arg(long, value_delimiter = ',')]
    topics: Vec<String>,
    /// How handles send: each in one of these ways, by the seed; default: all
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Way>,
    /// No connection is killed
    #[arg(long)]
    no_kills: bool,
    /// Honest errors fail the run, too
    #[arg(long)]
    strict: bool,
    /// Print each step and what came of it
    #[arg(long)]
    trace: bool,
    /// Programs that may diverge before the run ends
    #[arg(long, default_value_t = 1)]
    failures: u64,
    /// Runs for making a program short; 0: leave it
    #[arg(long, default_value_t = 200)]
    shrink: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum ServerKind {
    Mariadb,
    Mysql,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ModeArg {
    Sequential,
    Concurrent,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum IsolationArg {
    Session,
    Reset,
    Shared,
}

#[derive(Clone, Copy, ValueEnum)]
enum Against {
    Mux,
    Dedicated,
}

/// What is tested against.
struct Servers {
    /// The file of several, and those of them behind the first.
    topology: Option<(PathBuf, Vec<Server>)>,
    first: Server,
}

impl Servers {
    fn replicas(&self) -> &[Server] {
        self.topology.as_ref().map_or(&[], |(_, replicas)| replicas)
    }
}

impl Args {
    fn servers(&self) -> Result<Servers> {
        let is_named = self.server_env.is_some() || self.server.is_some();
        let topology = match &self.topology {
            None if is_named => None,
            None => std::env::var_os("MYSQL_MUX_TEST_TOPOLOGY").map(PathBuf::from),
            file => file.clone(),
        };
        let Some(file) = topology else {
            return Ok(Servers {
                topology: None,
                first: self.server()?,
            });
        };
        let mut servers = Server::read_topology(&file)?;
        Ok(Servers {
            first: servers.remove(0),
            topology: Some((file, servers)),
        })
    }

    fn server(&self) -> Result<Server> {
        let file = match (&self.server_env, self.server) {
            (Some(file), _) => file.clone(),
            (None, Some(ServerKind::Mariadb)) => Server::usual_file(Kind::MariaDb),
            (None, Some(ServerKind::Mysql)) => Server::usual_file(Kind::MySql),
            (None, None) => match std::env::var_os("MYSQL_MUX_TEST_ENV") {
                Some(file) => file.into(),
                None => Server::usual_file(Kind::MariaDb),
            },
        };
        Server::read(&file)
    }

    fn mode(&self, seed: u64) -> Mode {
        match self.mode {
            ModeArg::Sequential => Mode::Sequential,
            ModeArg::Concurrent => Mode::Concurrent,
            ModeArg::Both if seed % 3 == 2 => Mode::Concurrent,
            ModeArg::Both => Mode::Sequential,
        }
    }

    fn tested(&self) -> Tested {
        match (self.against, self.isolation) {
            (Against::Dedicated, _) => Tested::Dedicated,
            (Against::Mux, IsolationArg::Session) => Tested::Mux(Isolation::Session),
            (Against::Mux, IsolationArg::Reset) => Tested::Mux(Isolation::Reset),
            (Against::Mux, IsolationArg::Shared) => Tested::Mux(Isolation::Shared),
        }
    }

    /// What makes this program again.
    fn line(&self, servers: &Servers, program: &Program) -> String {
        let server = match &servers.topology {
            None => format!("--server {}", servers.first.kind.name()),
            Some((file, _)) => format!("--topology {}", file.display()),
        };
        let mut line = format!(
            "{server} --seed {} --handles {} --links {} --steps {} --mode {} --programs 1",
            program.seed,
            program.handles,
            program.links,
            self.steps,
            program.mode.name(),
        );
        match self.tested() {
            Tested::Dedicated => line += " --against dedicated",
            Tested::Mux(isolation) => {
                line += &format!(" --isolation {isolation:?}").to_lowercase();
            }
        }
        let ways = match self.ways.is_empty() {
            true => &Way::ALL[..],
            false => &self.ways,
        };
        let ways: Vec<_> = ways.iter().map(|way| way.name()).collect();
        line += &format!(" --ways {}", ways.join(","));
        if !self.topics.is_empty() {
            line += &format!(" --topics {}", self.topics.join(","));
        }
        if self.no_kills {
            line += " --no-kills";
        }
        line
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the test could not be run: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let names: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
    for topic in &args.topics {
        let is_known = names.contains(&topic.as_str());
        ensure!(is_known, "the topics are {}", names.join(", "));
    }
    let servers = args.servers()?;
    let (server, replicas) = (&servers.first, servers.replicas());
    let is_shared = matches!(args.tested(), Tested::Mux(Isolation::Shared));
    ensure!(
        replicas.is_empty() || !is_shared,
        "a session that is shared has one server"
    );
    let mut runner = Runner::new(server, replicas, args.tested())?;
    runner.trace = args.trace;
    let shape = Shape {
        handles: args.handles,
        links: args.links,
        steps: args.steps,
        topics: args.topics.clone(),
        no_kills: args.no_kills,
        ways: args.ways.clone(),
        replicas: !replicas.is_empty(),
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let first = args.seed.unwrap_or(now.as_secs() % 1_000_000 * 1000);
    println!(
        "{} {}, {} replicas, seeds from {first}",
        server.kind.name(),
        server.version,
        replicas.len()
    );

    let watch = Watch::start();
    let began = Instant::now();
    let mut told = began;
    let mut total = Report::default();
    let (mut programs, mut failures, mut waits) = (0, 0, 0);
    for seed in first.. {
        let is_over = match args.minutes {
            Some(minutes) => began.elapsed().as_secs_f64() >= minutes * 60.0,
            None => programs >= args.programs.unwrap_or(100),
        };
        if is_over || failures >= args.failures {
            break;
        }
        let program = Program::generate(seed, args.mode(seed), server.kind, &shape);
        let line = args.line(&servers, &program);
        watch.begin(&line);
        let report = runner.run(&program).context(line.clone())?;
        total.add(&report);
        programs += 1;
        if told.elapsed() >= TELL {
            told = Instant::now();
            println!(
                "… {programs} programs, {} statements, {failures} programs diverge",
                total.total()
            );
        }
        if let Some(divergence) = &report.divergence {
            if divergence.tested.is_lock_wait() && !is_met_again(&mut runner, &watch, &program)? {
                println!("\nA LOCK WAIT, NOT MET AGAIN: {line}\n{divergence}");
                waits += 1;
                continue;
            }
            failures += 1;
            println!("\nDIVERGES: {line}\n{divergence}");
            let count = divergence.steps(&program);
            shorten(args, &mut runner, &watch, &program, count, divergence)?;
        }
    }
    watch.end();
    print(&total, programs, failures, began.elapsed());
    println!("  {:<20} {waits:>9}", "waits not met again");
    let honest: u64 = total.honest.values().sum();
    if args.strict && honest > 0 {
        println!("{honest} honest errors, which a strict run doesn't allow");
    }
    let is_mux = matches!(args.tested(), Tested::Mux(_));
    let on_replicas = total.counts.get(ON_REPLICAS).copied().unwrap_or_default();
    let nowhere = is_mux && !replicas.is_empty() && on_replicas == 0;
    if nowhere && programs > 0 {
        println!("nothing was sent to a replica, so that nothing is proven of them");
    }
    Ok(failures == 0 && !nowhere && !(args.strict && honest > 0))
}

/// Whether the side under test waits for a row in vain in each of a few more runs.
///
/// Behind a row that was deleted, the row next to it is locked, too, until the first is purged, which
/// InnoDB does when it finds the time: two sessions that do the same to the same rows may wait or not. A
/// lock that is wrongly held is held each time.
fn is_met_again(runner: &mut Runner, watch: &Watch, program: &Program) -> Result<bool> {
    const RUNS: usize = 3;
    for _ in 0..RUNS {
        watch.begin("while a lock wait was tried again");
        if runner.run(program)?.divergence.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a program that diverged short and prints it as a script.
fn shorten(
    args: &Args,
    runner: &mut Runner,
    watch: &Watch,
    program: &Program,
    count: usize,
    found: &Divergence,
) -> Result<()> {
    let mut program = program.clone();
    program.steps.truncate(count);
    runner.trace = false;
    let mut last = None;
    let mut broken = Ok(());
    let short = shrink(&program, args.shrink, |program| {
        watch.begin("while a program was made short");
        match runner.run(program) {
            Ok(report) => {
                // Another statement that differs would be another story.
                let divergence = report
                    .divergence
                    .filter(|divergence| divergence.step.action == found.step.action)?;
                let count = divergence.steps(program);
                last = Some(divergence);
                Some(count)
            }
            Err(error) => {
                broken = Err(error);
                None
            }
        }
    });
    runner.trace = args.trace;
    broken?;
    if let Some(divergence) = last {
        println!("shortened to {} steps:", short.steps.len());
        for step in &short.steps {
            let way = short.way(step.handle).name();
            println!("  handle {} ({way}): {}", step.handle, step.action);
        }
        println!("{divergence}\n");
    }
    Ok(())
}

fn print(total: &Report, programs: u64, failures: u64, took: Duration) {
    let statements = total.total();
    println!(
        "\n{programs} programs, {statements} statements equal on both sides ({} of them errors of \
         the server), {:.0} statements/s, {failures} programs diverge",
        total.errors,
        statements as f64 / took.as_secs_f64(),
    );
    for (topic, count) in &total.steps {
        println!("  {topic:<20} {count:>9}");
    }
    println!("  {:<20} {:>9}", "with a link to itself", total.pinned);
    for (way, count) in &total.ways {
        println!("  sent: {:<14} {count:>9}", way.name());
    }
    println!("  {:<20} {:>9}", "two at once", total.together);
    for (name, count) in &total.counts {
        println!("  {name:<20} {count:>9}");
    }
    for ((kind, way), count) in &total.honest {
        println!("  honest: {kind}, {} {count}", way.name());
    }
}

/// Ends the process where a program hangs, and says which.
struct Watch(Arc<Mutex<Option<(Instant, String)>>>);

impl Watch {
    fn start() -> Watch {
        let state = Arc::new(Mutex::new(None::<(Instant, String)>));
        let watched = state.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                let state = watched.lock().expect("nobody panics with it");
                if let Some((began, line)) = &*state
                    && began.elapsed() > HANG
                {
                    println!("\nHANGS for {HANG:?}: {line}");
                    std::process::exit(3);
                }
            }
        });
        Watch(state)
    }

    fn begin(&self, line: &str) {
        *self.0.lock().expect("nobody panics with it") = Some((Instant::now(), line.to_owned()));
    }

    fn end(&self) {
        *self.0.lock().expect("nobody panics with it") = None;
    }
}
