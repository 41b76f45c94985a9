//! The differential test for as long as one likes; see `xtask/differential`.

use anyhow::Result;

use crate::servers::{Borrowed, Kind};
use crate::{cargo, run as run_command};

/// Has each chosen server its share of the time, in release mode. What diverges on one does not keep
/// the next from its turn.
pub fn run(hours: f64, only: Option<Kind>, args: &[String]) -> Result<()> {
    let _servers = Borrowed::new(only)?;
    let kinds = Kind::chosen(only);
    let minutes = hours * 60.0 / kinds.len() as f64;
    let bounded = args
        .iter()
        .any(|arg| arg.starts_with("--programs") || arg.starts_with("--minutes"));
    let mut result = Ok(());
    for &kind in kinds {
        println!("\n== {}", kind.name());
        let mut command = cargo();
        command
            .args(["run", "--release", "--package", "mysql_mux_differential"])
            .args(["--", "--server-env"])
            .arg(kind.env_file()?);
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
