//! Many callers at once, for a while, in turns with others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use crate::{
    ask::{Ask, Dice},
    choice::Choice,
    show::median,
};

/// Has statements run in a thread, one after another.
pub type Caller = Box<dyn FnMut(Ask) + Send>;

/// Has statements run in a task, one after another.
pub trait AsyncCaller: Send + 'static {
    fn ask(&mut self, ask: Ask) -> impl Future<Output = ()> + Send;
}

/// What callers do, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub ask: fn(&mut Dice) -> Ask,
    /// Whether it is of interest how long each statement took.
    pub timed: bool,
    warm_up: Duration,
    time: Duration,
    rounds: usize,
}

impl Plan {
    pub fn new(choice: &Choice, ask: fn(&mut Dice) -> Ask) -> Plan {
        let millis = |long, quick| Duration::from_millis(choice.or_quick(long, quick));
        Plan {
            ask,
            timed: false,
            warm_up: millis(300, 50),
            time: millis(1000, 150),
            rounds: choice.or_quick(5, 1),
        }
    }

    /// More of them for a bar that is close, unless it is just to see that it works.
    pub fn rounds(mut self, choice: &Choice, rounds: usize) -> Plan {
        self.rounds = choice.or_quick(rounds, self.rounds);
        self
    }
}

/// What one round came to.
#[derive(Debug, Default)]
pub struct Round {
    pub per_second: f64,
    /// Nanoseconds of all statements but the slow ones, where they were timed.
    pub times: Option<Histogram<u64>>,
}

/// What a statement takes, all callers together, in nanoseconds.
pub fn time(rounds: &[Round]) -> f64 {
    1e9 / median(rounds.iter().map(|round| round.per_second))
}

/// Callers that are ready.
pub trait Load {
    fn round(&mut self, plan: &Plan) -> Round;

    /// Has the first caller run one statement.
    fn once(&mut self, ask: Ask);
}

/// The rounds of each load. They take turns, so that noise hits all alike.
pub fn in_turns(plan: &Plan, loads: &mut [Box<dyn Load>]) -> Vec<Vec<Round>> {
    let mut outcomes: Vec<Vec<Round>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (load, rounds) in loads.iter_mut().zip(&mut outcomes) {
            rounds.push(load.round(plan));
        }
    }
    outcomes
}

/// A thread for each caller.
pub struct Threads(pub Vec<Caller>);

impl Load for Threads {
    fn round(&mut self, plan: &Plan) -> Round {
        let stage = Arc::new(Stage::default());
        thread::scope(|scope| {
            let callers = self.0.iter_mut().enumerate();
            let threads: Vec<_> = callers
                .map(|(number, caller)| {
                    let mut clerk = Clerk::new(number, plan, &stage);
                    scope.spawn(move || {
                        while let Some(ask) = clerk.next() {
                            caller(ask);
                            clerk.done(ask);
                        }
                        clerk
                    })
                })
                .collect();
            let took = stage.run(plan);
            let clerks = threads.into_iter().map(|thread| thread.join());
            total(took, clerks.map(|clerk| clerk.expect("a caller's thread")))
        })
    }

    fn once(&mut self, ask: Ask) {
        self.0[0](ask);
    }
}

/// A task for each caller.
pub struct Tasks<C> {
    runtime: Runtime,
    callers: Vec<C>,
}

impl<C: AsyncCaller> Tasks<C> {
    pub fn new(runtime: Runtime, callers: Vec<C>) -> Tasks<C> {
        Tasks { runtime, callers }
    }
}

impl<C: AsyncCaller> Load for Tasks<C> {
    fn round(&mut self, plan: &Plan) -> Round {
        let stage = Arc::new(Stage::default());
        let callers = self.callers.drain(..).enumerate();
        let tasks: Vec<_> = callers
            .map(|(number, mut caller)| {
                let mut clerk = Clerk::new(number, plan, &stage);
                self.runtime.spawn(async move {
                    while let Some(ask) = clerk.next() {
                        caller.ask(ask).await;
                        clerk.done(ask);
                    }
                    (caller, clerk)
                })
            })
            .collect();
        let took = stage.run(plan);
        let mut clerks = Vec::new();
        for task in tasks {
            let (caller, clerk) = self.runtime.block_on(task).expect("a caller's task");
            self.callers.push(caller);
            clerks.push(clerk);
        }
        total(took, clerks)
    }

    fn once(&mut self, ask: Ask) {
        self.runtime.block_on(self.callers[0].ask(ask));
    }
}

impl<C> Drop for Tasks<C> {
    fn drop(&mut self) {
        // Some connections close in a task of their own.
        let _inside = self.runtime.enter();
        self.callers.clear();
    }
}

/// A worker thread for each core, as is usual.
pub fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.expect("a tokio runtime")
}

/// Before it, callers warm up.
const COUNTS: u8 = 1;
const OVER: u8 = 2;

/// How far a round is, known to all.
#[derive(Default)]
struct Stage(AtomicU8);

impl Stage {
    /// How long the time was that counts.
    fn run(&self, plan: &Plan) -> Duration {
        thread::sleep(plan.warm_up);
        let began = Instant::now();
        self.0.store(COUNTS, Ordering::Relaxed);
        thread::sleep(plan.time);
        self.0.store(OVER, Ordering::Relaxed);
        began.elapsed()
    }
}

/// Keeps one caller's books.
struct Clerk {
    stage: Arc<Stage>,
    ask: fn(&mut Dice) -> Ask,
    dice: Dice,
    done: u64,
    began: Instant,
    times: Option<Histogram<u64>>,
}

impl Clerk {
    fn new(number: usize, plan: &Plan, stage: &Arc<Stage>) -> Clerk {
        Clerk {
            stage: stage.clone(),
            ask: plan.ask,
            dice: Dice::new(number),
            done: 0,
            began: Instant::now(),
            times: plan.timed.then(histogram),
        }
    }

    fn next(&mut self) -> Option<Ask> {
        if self.stage.0.load(Ordering::Relaxed) == OVER {
            return None;
        }
        if self.times.is_some() {
            self.began = Instant::now();
        }
        Some((self.ask)(&mut self.dice))
    }

    fn done(&mut self, ask: Ask) {
        if self.stage.0.load(Ordering::Relaxed) != COUNTS {
            return;
        }
        self.done += 1;
        if let (Some(times), false) = (&mut self.times, matches!(ask, Ask::Slow)) {
            times.saturating_record(self.began.elapsed().as_nanos() as u64);
        }
    }
}

/// Three digits of anything up to a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("bounds in order")
}

fn total(took: Duration, clerks: impl IntoIterator<Item = Clerk>) -> Round {
    let mut done = 0;
    let mut times: Option<Histogram<u64>> = None;
    for clerk in clerks {
        done += clerk.done;
        if let Some(more) = clerk.times {
            let sum = times.get_or_insert_with(histogram);
            sum.add(more).expect("the same bounds");
        }
    }
    Round {
        per_second: done as f64 / took.as_secs_f64(),
        times,
    }
}
