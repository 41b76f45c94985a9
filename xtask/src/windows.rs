//! Building for Windows with mingw, and running under wine what can be run there.
//!
//! The toolchain at hand need not have Windows' standard library, so it is built from the sources
//! in Debian sid's package, with the compiler of the same version.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::servers::{self, Borrowed, Kind, Setup};
use crate::{apt, cargo, run as run_command, sid, target, workspace};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// The checks of the test program: one that ends early must not pass for all of them.
const CHECKS: usize = 28;

/// Far more seconds than the test program takes.
const LIMIT: &str = "300";

/// Builds for Windows and runs what can be run under wine.
pub fn run() -> Result<()> {
    let began = Instant::now();
    apt::install(&["gcc-mingw-w64-x86-64", "wine", "wine64"])?;
    let rust = sid::unpack("rust", &["rustc", "rust-src"])?;
    let folder = target()?.join("windows");
    fs::create_dir_all(&folder)?;
    let rustc = folder.join("rustc");
    write_script(&rustc, &rust)?;

    run_command(
        cargo()
            .args([
                "build",
                "--package",
                "mysql_mux",
                "--package",
                "windows-test",
                "--all-features",
            ])
            .args([
                "--target",
                TARGET,
                "-Zbuild-std=std,panic_abort",
                "--target-dir",
            ])
            .arg(&folder)
            // Elsewhere nobody sees the warnings about what is there on Windows only.
            .args(["-Zwarnings", "--config", "build.warnings='deny'"])
            .env("RUSTC", &rustc)
            // Allows the options that begin with -Z.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env(
                "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER",
                "x86_64-w64-mingw32-gcc",
            ),
    )?;
    let programs = folder.join(TARGET).join("debug");
    run_command(
        Command::new("x86_64-w64-mingw32-gcc")
            .args(["-O2", "-shared", "-o"])
            .arg(programs.join("bcryptprimitives.dll"))
            .arg(workspace().join("xtask/windows-test/bcryptprimitives.c")),
    )?;
    println!("built in {:.1} s", began.elapsed().as_secs_f64());

    let _server = Borrowed::new(Some(Setup::One(Kind::Mariadb)))?;
    test(&programs.join("windows-test.exe"), &folder)
}

/// Writes a script that runs sid's compiler with its own loader and libraries, as cargo wants it.
fn write_script(script: &Path, rust: &Path) -> Result<()> {
    let command = sid::command(rust, "usr/bin/rustc");
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let quoted: Vec<_> = words
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let text = format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" "));
    // Cargo builds everything anew after a compiler that has changed.
    if fs::read_to_string(script).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(script, text)?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Runs the test program and looks at what it printed.
fn test(program: &Path, folder: &Path) -> Result<()> {
    // To a file: wine's helpers live on for a while, and would keep a pipe open.
    let log = folder.join("test.log");
    let file = File::create(&log)?;
    let status = Command::new("timeout")
        .args(["--kill-after=10", LIMIT, "wine"])
        .arg(program)
        .arg(servers::url(Kind::Mariadb)?)
        .env("WINEPREFIX", folder.join("wine"))
        .env("WINEDEBUG", "-all")
        // No offer to install what is not needed here.
        .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
        .env_remove("DISPLAY")
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    print!("{text}");
    ensure!(
        status.success(),
        "the test program under wine: {status} (124: not over after {LIMIT} s)"
    );
    let passed = text.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(passed == CHECKS, "{passed} checks passed, not {CHECKS}");
    Ok(())
}
