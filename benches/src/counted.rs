//! Instructions, counted by callgrind in a child. Of two runs of different length the difference counts.

use crate::child;

const CALLGRIND: [&str; 3] = [
    "valgrind",
    "--tool=callgrind",
    "--callgrind-out-file=/dev/null",
];

/// Statements of the shorter run.
const FEW: u64 = 500;

/// Those of each statement, where `task` is what has a child run so many; `None`: valgrind is not there, or
/// counts nothing.
pub fn each(more: u64, task: impl Fn(u64) -> String) -> Option<f64> {
    let (short, long) = (count(&task(FEW))?, count(&task(FEW + more))?);
    Some((long - short) as f64 / more as f64)
}

/// What callgrind counts in a child.
fn count(task: &str) -> Option<u64> {
    let output = child::command(&CALLGRIND, task).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{task}: {text}");
    let counted = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    counted?.1.trim().parse().ok()
}
