//! Runs checks, each with a limit of its own, and counts them.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

/// What a check ends with: why it failed.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Far more than any check takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Fails a check that doesn't see what it has to.
macro_rules! ensure {
    ($seen:expr, $($why:tt)+) => {
        if !$seen {
            return Err(format!($($why)+).into());
        }
    };
}
pub(crate) use ensure;

/// The checks so far.
#[derive(Default)]
pub struct Run {
    passed: usize,
    failed: usize,
}

impl Run {
    /// Runs one check in a thread of its own: one that hangs fails, and the others follow.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Outcome + Send + 'static) {
        let began = Instant::now();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(check()));
        let failed = match end.recv_timeout(LIMIT) {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(mpsc::RecvTimeoutError::Timeout) => Some(format!("no end within {LIMIT:?}")),
            Err(mpsc::RecvTimeoutError::Disconnected) => Some("it panicked".into()),
        };
        match failed {
            None => {
                self.passed += 1;
                println!("ok {name} ({} ms)", began.elapsed().as_millis());
            }
            Some(why) => {
                self.failed += 1;
                println!("FAILED {name}: {why}");
            }
        }
    }

    /// Tells the count, and ends the process whatever threads there still are.
    pub fn end(self) -> ! {
        println!("{} passed, {} failed", self.passed, self.failed);
        std::process::exit(i32::from(self.failed > 0 || self.passed == 0));
    }
}

/// Fails unless `time` is between the two, in milliseconds. The upper one leaves room for a slow
/// machine.
pub fn took(began: Instant, least: u64, most: u64) -> Outcome {
    let took = began.elapsed().as_millis() as u64;
    ensure!(
        (least..=most).contains(&took),
        "it took {took} ms, not {least} to {most}"
    );
    Ok(())
}
