//! The differential test for as long as one likes; see `xtask/differential`.

use anyhow::{Result, ensure};

use crate::servers::{self, Borrowed, Setup, env_file};
use crate::{cargo, run as run_command};

/// Has each chosen server its share of the time, in release mode. What diverges on one does not keep
/// the next from its turn.
pub fn run(hours: f64, only: Option<Setup>, args: &[String]) -> Result<()> {
    if let Some(Setup::Several(topology)) = only {
        ensure!(
            topology.has_replicas(),
            "the test knows primaries and replicas only"
        );
    }
    let _servers = Borrowed::new(only)?;
    let setups = servers::chosen(only, Setup::USUAL);
    let minutes = hours * 60.0 / setups.len() as f64;
    let bounded = args
        .iter()
        .any(|arg| arg.starts_with("--programs") || arg.starts_with("--minutes"));
    let mut result = Ok(());
    for setup in setups {
        println!("\n== {}", setup.name());
        let mut command = cargo();
        command
            .args(["run", "--release", "--package", "mysql_mux_differential"])
            .args(["--", setup.option()])
            .arg(env_file(setup.name())?);
        if !bounded {
            command.args(["--minutes", &minutes.to_string()]);
        }
        let outcome = run_command(command.args(args));
        if let Err(error) = &outcome {
            eprintln!("{error:#}");
        }
        result = result.and(outcome);
    }
    result
}
