//! The unit tests under Miri: what needs no system, and where the callers of a shared link wait.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{run as run_command, target, workspace};

/// What takes it many minutes: logins calculate, and many rows are made and compared.
const SLOW: [&str; 3] = ["proto::auth", "proto::handshake", "binary_rows_are_read"];

/// Runs them with nightly Rust, which is the one that has Miri.
pub fn run(args: &[String]) -> Result<()> {
    let rustup = |args: &[&str]| {
        let mut rustup = Command::new("rustup");
        rustup.args(["run", "nightly"]).args(args);
        rustup
    };
    let found = rustup(&["cargo", "miri", "--version"])
        .output()
        .context("cannot run rustup")?;
    ensure!(
        found.status.success(),
        "Miri is not installed: rustup toolchain install nightly --component miri,rust-src"
    );
    let mut command = rustup(&["cargo", "miri", "test"]);
    command
        .current_dir(workspace())
        // What is left out is C, or somebody else's.
        .args(["--lib", "--no-default-features", "--features", "derive"])
        .arg("--")
        .args(SLOW.iter().flat_map(|name| ["--skip", name]))
        .args(args)
        .env("CARGO_TARGET_DIR", target()?.join("miri"))
        // Time is looked at.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        // It is a thousand times slower.
        .env("PROPTEST_CASES", "2");
    // Those of the toolchain that runs this.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    run_command(&mut command)
}
