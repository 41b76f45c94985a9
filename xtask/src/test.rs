//! Runs the tests with the servers they need.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::servers::{Borrowed, Kind};
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

/// Runs all tests: those without a server once, the integration tests once per server.
pub fn run(only: Option<Kind>, args: &[String]) -> Result<()> {
    let _servers = Borrowed::new(only)?;
    let mut summary = Summary::default();

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
    if has_integration_tests()? {
        for &kind in Kind::chosen(only) {
            summary.step(
                &format!("integration tests, {}", kind.name()),
                cargo()
                    .arg("test")
                    .args(MEMBERS)
                    .args(["--no-fail-fast", "--test", "*", "--"])
                    .args(args)
                    .env("MYSQL_MUX_TEST_SERVER", kind.name())
                    .env("MYSQL_MUX_TEST_ENV", kind.env_file()?),
            );
        }
    }
    if args.is_empty() {
        for &kind in Kind::chosen(only) {
            summary.step(
                &format!("differential test, {}", kind.name()),
                cargo()
                    .args(["run", "--package", "mysql_mux_differential", "--"])
                    .args(["--seed", "1", "--programs", DIFFERENTIAL, "--server-env"])
                    .arg(kind.env_file()?),
            );
        }
    }
    summary.print()
}

/// Cargo takes it for a mistake when `--test '*'` names nothing.
fn has_integration_tests() -> Result<bool> {
    let folder = workspace().join("tests");
    if !folder.exists() {
        return Ok(false);
    }
    for entry in folder.read_dir()? {
        if entry?
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            return Ok(true);
        }
    }
    Ok(false)
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
            println!("{name:<30} {verdict:<6} {:>7.1} s", time.as_secs_f64());
        }
        let failed = self.0.iter().filter(|(_, passed, _)| !passed).count();
        ensure!(failed == 0, "{failed} of {} steps failed", self.0.len());
        Ok(())
    }
}
