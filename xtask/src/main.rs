//! `cargo xtask`: everything about this project that is more than one cargo command.

mod apt;
mod bench;
mod certs;
mod chart;
mod demo;
mod deny;
mod galera;
mod group;
mod mariadb;
mod miri;
mod model;
mod mysql;
mod node;
mod replication;
mod servers;
mod sid;
mod soak;
mod test;
mod topology;
mod windows;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use servers::Setup;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Development tasks of mysql_mux")]
enum Task {
    /// Private MariaDB and MySQL servers that keep running until they are told to stop
    Servers {
        #[command(subcommand)]
        action: Action,
        /// Just this server, or these servers that replicate
        #[arg(long, global = true)]
        only: Option<Setup>,
    },
    /// All tests, the integration tests once per server
    Test {
        /// Just this server, or these servers that replicate
        #[arg(long)]
        only: Option<Setup>,
        /// Arguments for the test programs, such as a filter
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// The example that counts connections, against MYSQL_MUX_URL or a private MariaDB
    Demo,
    /// The benchmarks, against private servers or those of MYSQL_MUX_TEST_ENV_MARIADB and _MYSQL
    Bench {
        /// Write what comes out into docs/performance.md
        #[arg(long)]
        record: bool,
        /// Just this one; may be given several times
        #[arg(long)]
        bench: Vec<String>,
        /// Arguments for the benchmarks: parts of sections' names, `--quick`, `--client=mysql`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// The unit tests under Miri, which needs nightly Rust
    Miri {
        /// Arguments for the test program, such as a filter
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// The model check of the shared link: its threads in many orders
    Model {
        /// Schedules for each scenario, of each of two kinds
        #[arg(long)]
        schedules: Option<usize>,
        /// Arguments for the test program, such as a filter
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// The differential test: random programs over handles and over connections of their own
    Soak {
        /// For how long, all servers together
        #[arg(long, default_value_t = 1.0)]
        hours: f64,
        /// Just this server, or these servers that replicate
        #[arg(long)]
        server: Option<Setup>,
        /// Arguments for the test, such as `--seed 5 --programs 10`; `--help` tells them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Licences and sources of what comes with the crate, by cargo-deny
    Deny,
    /// Build for Windows and run there what can be run under wine
    Windows,
}

#[derive(Subcommand)]
enum Action {
    /// Start the servers that do not run yet
    Up,
    /// Stop the servers and remove their data
    Down,
    /// Say which servers run, and where
    Status,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Servers { action, only } => match action {
            Action::Up => servers::up(only),
            Action::Down => servers::down(only),
            Action::Status => servers::status(only),
        },
        Task::Test { only, args } => test::run(only, &args),
        Task::Demo => demo::run(),
        Task::Bench {
            record,
            bench,
            args,
        } => bench::run(record, &bench, &args),
        Task::Miri { args } => miri::run(&args),
        Task::Model { schedules, args } => model::run(schedules, &args),
        Task::Soak {
            hours,
            server,
            args,
        } => soak::run(hours, server, &args),
        Task::Deny => deny::run(),
        Task::Windows => windows::run(),
    }
}

/// The root folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a member of the workspace")
}

/// Cargo's target folder, which also holds what the tasks leave behind.
fn target() -> Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder)?,
        None => workspace().join("target"),
    })
}

/// The cargo that runs this task, in the workspace.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Runs a command to its end and expects success.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Runs a command to its end, expects success, and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{errors}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}
