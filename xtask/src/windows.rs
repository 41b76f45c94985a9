//! Building for Windows, and running under wine what can be run there.

use anyhow::{Result, bail};

/// Builds for Windows and runs what can be run under wine.
pub fn run() -> Result<()> {
    bail!("`cargo xtask windows` is not written yet")
}
