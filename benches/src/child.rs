//! The bench's own program once more, for one client alone: its memory and its instructions are
//! nobody else's.

use std::process::Command;

const VARIABLE: &str = "MYSQL_MUX_BENCH_CHILD";

/// What this process was started for; `None`: it is the one that was started by a person.
pub fn task() -> Option<Vec<String>> {
    let words = std::env::var(VARIABLE).ok()?;
    Some(words.split(' ').map(str::to_owned).collect())
}

/// This program for a task, under another program if that is named with its arguments.
pub fn command(under: &[&str], task: &str) -> Command {
    let own = std::env::current_exe().expect("a program has a path");
    let mut command = match under {
        [] => Command::new(&own),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(&own);
            command
        }
    };
    command.env(VARIABLE, task);
    command
}

/// The numbers that a child printed last, in its last line.
pub fn numbers(task: &str) -> Vec<f64> {
    let output = command(&[], task).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    let numbers: Result<_, _> = line.split(' ').map(str::parse).collect();
    match numbers {
        Ok(numbers) if output.status.success() => numbers,
        _ => panic!(
            "{task}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// The processor's time that this process has had for itself and its threads so far, in nanoseconds, where the
/// system tells.
pub fn processor_nanos() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task");
    let of_one = |thread: std::io::Result<std::fs::DirEntry>| -> Option<f64> {
        let times = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok()
    };
    threads.map_or(f64::NAN, |threads| threads.filter_map(of_one).sum())
}
