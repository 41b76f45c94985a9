//! Installs the system packages a task needs, where they are missing.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// Makes sure that these packages are installed.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {missing:?}");
    // One broken third-party source fails the whole update; whether that matters shows when installing.
    if let Err(error) = run(apt_get()?.arg("update")) {
        eprintln!("{error:#}");
    }
    run(apt_get()?
        .args(["install", "--yes", "--no-install-recommends"])
        .args(missing))
    .context("cannot install packages: run this as root, or where sudo asks no password")
}

/// Whether this process runs as root.
pub fn root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get() -> Result<Command> {
    // `env` comes after sudo, which would drop the variable.
    let words: &[_] = if root()? { &["env"] } else { &["sudo", "env"] };
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    Ok(command)
}
