//! Measures by criterion and remembers what came out, for the tables at the end.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode};

const SAMPLES: usize = 10;
/// Things opened before they are dropped, outside of the time that is measured.
const AT_ONCE: u64 = 1000;

/// Runs something so often and says how long that took.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

/// Criterion, set to be quick.
pub struct Clock(Criterion);

impl Clock {
    pub fn new() -> Clock {
        let criterion = Criterion::default()
            .sample_size(SAMPLES)
            .warm_up_time(Duration::from_millis(150))
            .measurement_time(Duration::from_secs(1))
            .nresamples(5000)
            .without_plots()
            .configure_from_args();
        Clock(criterion)
    }

    /// The median of the samples, in nanoseconds for one run. `None`: it was not chosen on the
    /// command line, and nothing was prepared for it.
    pub fn measure(&mut self, group: &str, name: &str, prepare: impl Fn() -> Run) -> Option<f64> {
        let mut samples = Vec::new();
        let mut run: Option<Run> = None;
        let mut group = self.0.benchmark_group(group);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(name, |bencher| {
            let run = run.get_or_insert_with(&prepare);
            bencher.iter_custom(|times| {
                let took = run(times);
                samples.push(took.as_nanos() as f64 / times as f64);
                took
            });
        });
        group.finish();
        // The first ones were for warming up.
        let mut samples = samples.split_off(samples.len().saturating_sub(SAMPLES));
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }

    pub fn finish(&mut self) {
        self.0.final_summary();
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

/// Opens many, drops them when the clock stands still.
pub fn opening<T: 'static>(mut open: impl FnMut() -> T + 'static) -> Run {
    let mut opened = Vec::with_capacity(AT_ONCE as usize);
    Box::new(move |times| {
        let mut took = Duration::ZERO;
        let mut left = times;
        while left > 0 {
            let now = left.min(AT_ONCE);
            let began = Instant::now();
            opened.extend((0..now).map(|_| black_box(open())));
            took += began.elapsed();
            opened.clear();
            left -= now;
        }
        took
    })
}

/// Opens one after another, each dropped when the clock stands still.
pub fn opening_one<T>(mut open: impl FnMut() -> T + 'static) -> Run {
    Box::new(move |times| {
        (0..times)
            .map(|_| {
                let began = Instant::now();
                let opened = black_box(open());
                let took = began.elapsed();
                drop(opened);
                took
            })
            .sum()
    })
}

/// Does it again and again, all of it measured.
pub fn doing(mut act: impl FnMut() + 'static) -> Run {
    Box::new(move |times| {
        let began = Instant::now();
        (0..times).for_each(|_| act());
        began.elapsed()
    })
}
