//! What comes with this crate: licences, sources and versions, by cargo-deny.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{run as run_command, target, workspace};

const VERSION: &str = "0.20.2";

/// Installs it beside what is built, if it is not there yet, and has it check what needs no list of
/// advisories: that is somewhere else and changes every day.
pub fn run() -> Result<()> {
    let root = target()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = Command::new("cargo");
        install
            .args(["install", "cargo-deny", "--locked", "--version", VERSION])
            .arg("--root")
            .arg(&root)
            // It is run once: to build it costs more than to run it.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run_command(&mut install).context("cannot install cargo-deny")?;
    }
    let mut deny = Command::new(program);
    deny.current_dir(workspace())
        .args(["check", "bans", "licenses", "sources"]);
    run_command(&mut deny)
}
