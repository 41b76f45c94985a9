//! The model check of the shared link; see `src/link/model`.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, run as run_command, target};

/// The check, built apart from everything else because its locks are others.
pub fn command() -> Result<Command> {
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = cargo();
    command
        .args(["test", "--lib"])
        .env("RUSTFLAGS", format!("{flags} --cfg mysql_mux_model"))
        .env("CARGO_TARGET_DIR", target()?.join("model"))
        .args(["--", "link::model"]);
    Ok(command)
}

/// Tries each scenario in as many schedules, twice: at random, and by changing few priorities.
pub fn run(schedules: Option<usize>, args: &[String]) -> Result<()> {
    let mut command = command()?;
    if let Some(schedules) = schedules {
        command.env("MYSQL_MUX_MODEL_ITERATIONS", schedules.to_string());
    }
    run_command(command.args(args))
}
