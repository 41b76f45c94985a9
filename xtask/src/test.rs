//! Runs the tests with the servers they need.

use std::process::Command;
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::servers::{Borrowed, Kind, Setup, env_file};
use crate::topology::Topology;
use crate::{cargo, model, run as run_command, workspace};

/// The same for all tests, because cargo builds dependencies anew for another choice of features.
const MEMBERS: [&str; 4] = [
    "--workspace",
    "--exclude",
    "mysql_mux_benches",
    "--all-features",
];

/// Random programs on each server, the same in every run, for about two minutes; `cargo xtask soak` runs
/// others, for longer.
const DIFFERENTIAL: &str = "12";

/// The same on a primary with replicas, for less than a minute each.
const REPLICATED: &str = "24";

/// Tests whose files' names begin so need several servers that replicate.
const BACKENDS: &str = "backends";

/// Runs all tests: those without a server once, the integration tests once per server or per topology.
pub fn run(only: Option<Setup>, args: &[String]) -> Result<()> {
    let (kinds, topologies) = match &only {
        None => (Kind::chosen(None), &Topology::ALL[..]),
        Some(Setup::One(kind)) => (slice::from_ref(kind), &[][..]),
        Some(Setup::Several(topology)) => (&[][..], slice::from_ref(topology)),
    };
    let mut summary = Summary::default();
    {
        let _servers = kinds
            .iter()
            .map(|&kind| Borrowed::new(Some(Setup::One(kind))))
            .collect::<Result<Vec<_>>>()?;
        without_server(&mut summary, args)?;
        for &kind in kinds {
            on_server(&mut summary, kind, args)?;
        }
        if args.is_empty() {
            for &kind in kinds {
                differential(&mut summary, Setup::One(kind), DIFFERENTIAL)?;
            }
        }
    }
    for &topology in topologies {
        on_topology(&mut summary, topology, args)?;
    }
    summary.print()
}

fn without_server(summary: &mut Summary, args: &[String]) -> Result<()> {
    summary.step(
        "build without features",
        cargo().args(["build", "--no-default-features"]),
    );
    for (name, targets) in [
        ("unit tests", &["--lib", "--bins"][..]),
        ("doc tests", &["--doc"]),
    ] {
        summary.step(
            name,
            cargo()
                .arg("test")
                .args(MEMBERS)
                .args(targets)
                .arg("--")
                .args(args),
        );
    }
    if args.is_empty() {
        summary.step("model check", &mut model::command()?);
    }
    Ok(())
}

fn on_server(summary: &mut Summary, kind: Kind, args: &[String]) -> Result<()> {
    let Some(mut tests) = integration_tests(|name| !name.starts_with(BACKENDS), args)? else {
        return Ok(());
    };
    summary.step(
        &format!("integration tests, {}", kind.name()),
        tests
            .env("MYSQL_MUX_TEST_SERVER", kind.name())
            .env("MYSQL_MUX_TEST_ENV", kind.env_file()?),
    );
    Ok(())
}

fn differential(summary: &mut Summary, setup: Setup, programs: &str) -> Result<()> {
    summary.step(
        &format!("differential test, {}", setup.name()),
        cargo()
            .args(["run", "--package", "mysql_mux_differential", "--"])
            .args(["--seed", "1", "--programs", programs, setup.option()])
            .arg(env_file(setup.name())?),
    );
    Ok(())
}

/// The topology runs for its tests alone, because all of them together are many servers.
fn on_topology(summary: &mut Summary, topology: Topology, args: &[String]) -> Result<()> {
    let Some(mut tests) = integration_tests(|name| name.starts_with(BACKENDS), args)? else {
        return Ok(());
    };
    let _servers = Borrowed::new(Some(Setup::Several(topology)))?;
    // Behind the tests the servers are not as they were.
    if args.is_empty() && topology.has_replicas() {
        differential(summary, Setup::Several(topology), REPLICATED)?;
    }
    summary.step(
        &format!("backends, {}", topology.name()),
        tests
            .env("MYSQL_MUX_TEST_TOPOLOGY", topology.env_file()?)
            .env("MYSQL_MUX_TEST_ENV", env_file(&topology.nodes()[0])?),
    );
    Ok(())
}

/// The command that runs the chosen files of `tests`, if there are any: cargo takes it for a mistake when none is
/// named.
fn integration_tests(chosen: impl Fn(&str) -> bool, args: &[String]) -> Result<Option<Command>> {
    let folder = workspace().join("tests");
    let mut names = Vec::new();
    if folder.exists() {
        for entry in folder.read_dir()? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".rs"));
            names.extend(name.filter(|name| chosen(name)).map(str::to_owned));
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    let mut command = cargo();
    command.arg("test").args(MEMBERS).arg("--no-fail-fast");
    for name in names {
        command.args(["--test", &name]);
    }
    command.arg("--").args(args);
    Ok(Some(command))
}

/// What the steps came to; one that fails does not keep the next from running.
#[derive(Default)]
struct Summary(Vec<(String, bool, Duration)>);

impl Summary {
    fn step(&mut self, name: &str, command: &mut Command) {
        println!("\n== {name}");
        let began = Instant::now();
        let result = run_command(command);
        if let Err(error) = &result {
            eprintln!("{error:#}");
        }
        self.0.push((name.into(), result.is_ok(), began.elapsed()));
    }

    fn print(&self) -> Result<()> {
        println!();
        for (name, passed, time) in &self.0 {
            let verdict = if *passed { "ok" } else { "FAILED" };
            println!("{name:<40} {verdict:<6} {:>7.1} s", time.as_secs_f64());
        }
        let failed = self.0.iter().filter(|(_, passed, _)| !passed).count();
        ensure!(failed == 0, "{failed} of {} steps failed", self.0.len());
        Ok(())
    }
}
