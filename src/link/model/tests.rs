//! Callers of a shared link, of all kinds and at all times, and what each of them must hear.
//!
//! `MYSQL_MUX_MODEL_ITERATIONS` says how many schedules each scenario is tried in, and
//! `MYSQL_MUX_MODEL_SCHEDULE` repeats one that `shuttle` printed, of the one test that is named.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use mysql_common::constants::{CapabilityFlags, MariadbCapabilities, StatusFlags};
use shuttle::{
    Config, Runner,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
    sync::{Condvar, Mutex},
    thread,
};

use super::{
    Pipe,
    pipe::{LARGE, ROWS},
    sync,
};
use crate::{
    error::{Error, Ran},
    link::{
        Answer, Asked, Face, How, Lane, Link, News, Owner, Parts, Place,
        transport::{Stream, Wire},
    },
    mux::stats::Counters,
    opts::{Opts, OptsBuilder},
    proto::{
        frame::{FrameReader, FrameWriter},
        handshake::{Established, ServerInfo},
        pipeline::{Pipeline, Reply},
        result::{OkInfo, Outcome, Rows},
    },
};

/// What a scenario may contain; each schedule draws from it.
#[derive(Clone, Copy)]
struct Scenario {
    /// At most so many callers of each face.
    threads: usize,
    tasks: usize,
    /// Callers may have deadlines, and tasks may be dropped.
    leaving: bool,
    /// The server may close, at any point.
    failing: bool,
}

/// What came of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heard {
    Answer,
    Left,
    Lost(Ran),
}

/// Who placed the callers: waits until the last place was given back.
#[derive(Default)]
struct Watch {
    turn: Mutex<()>,
    changed: Condvar,
    lost: AtomicUsize,
}

impl Owner for Watch {
    fn room(&self) {
        drop(self.turn.lock().unwrap());
        self.changed.notify_all();
    }

    fn took(&self, _: u64, _: Duration) {}

    fn lost(&self, _: &Arc<Lane>, _: bool) {
        assert_eq!(self.lost.fetch_add(1, Ordering::Relaxed), 0, "lost twice");
    }
}

fn link(stream: Stream) -> Link {
    let capabilities = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    let server = ServerInfo {
        version: "1".into(),
        parsed: (1, 0, 0),
        mariadb: false,
        connection_id: 1,
        nonce: Vec::new(),
        default_plugin: Vec::new(),
        capabilities,
        extended: MariadbCapabilities::empty(),
    };
    let ok = OkInfo {
        status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        ..OkInfo::default()
    };
    let established = Established {
        server,
        capabilities,
        extended: MariadbCapabilities::empty(),
        ok,
        compress: None,
    };
    let pipeline = Pipeline::new(
        capabilities,
        FrameReader::new(1 << 10),
        FrameWriter::default(),
    );
    Link::new(
        Opts::from(OptsBuilder::default()).target().clone(),
        Wire::new(stream),
        pipeline,
        established,
        None,
        Arc::new(Counters::default()),
    )
}

/// A future that may be given up whenever its thread has a turn. Each poll comes with another
/// waker, and only the last one wakes.
struct MayLeave<F> {
    future: Pin<Box<F>>,
    leave: Arc<Leave>,
    last: Option<Arc<Once>>,
}

struct Once {
    waker: Waker,
    stale: AtomicBool,
}

impl Wake for Once {
    fn wake(self: Arc<Self>) {
        if !self.stale.load(Ordering::Relaxed) {
            self.waker.wake_by_ref();
        }
    }
}

#[derive(Default)]
struct Leave {
    now: AtomicBool,
    waker: std::sync::Mutex<Option<Waker>>,
}

impl<F: Future> Future for MayLeave<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.leave.now.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        *self.leave.waker.lock().unwrap() = Some(cx.waker().clone());
        let once = Arc::new(Once {
            waker: cx.waker().clone(),
            stale: AtomicBool::new(false),
        });
        if let Some(last) = self.last.replace(once.clone()) {
            last.stale.store(true, Ordering::Relaxed);
        }
        let waker = Waker::from(once);
        let cx = &mut Context::from_waker(&waker);
        self.future.as_mut().poll(cx).map(Some)
    }
}

/// Asks, and looks at the answer, which has rows if they are not all in `parts`.
async fn ask(lane: &Arc<Lane>, how: How<'_>, number: u8) -> (Heard, Option<Rows>) {
    let place = Place::take(lane);
    let asked = Asked::Query(&[number]);
    let answer = match (how.face, how.parts) {
        (Face::Blocking, None) => place.ask_in_thread(asked, &how),
        _ => place.ask(asked, &how).await,
    };
    let heard = match answer {
        Ok(Answer::Reply(Reply::Response(mut response))) => {
            assert_eq!(response.outcomes.len(), 1);
            match response.outcomes.pop_front() {
                Some(Outcome::Ok(ok)) => {
                    assert_eq!(ok.last_insert_id, u64::from(number), "another's answer");
                }
                Some(Outcome::Set(set)) => return (Heard::Answer, Some(set.rows)),
                other => panic!("{other:?}"),
            }
            Heard::Answer
        }
        Ok(Answer::Late) => {
            assert!(how.deadline.is_some(), "late without a deadline");
            Heard::Left
        }
        Err(Error::ConnectionLost(lost)) => Heard::Lost(lost.ran),
        other => panic!("{other:?}"),
    };
    (heard, None)
}

/// One caller, with one or two statements one after the other.
fn call(lane: &Arc<Lane>, face: Face, caller: u8, leaving: bool) -> Vec<(u8, Heard)> {
    let mut heard = Vec::new();
    for turn in 0..thread_rng().gen_range(1..=2) {
        let mut number = 2 * caller + turn + 1;
        let parts = Parts::default();
        let large = thread_rng().gen_ratio(1, 3);
        if large {
            number += LARGE;
        }
        let how = How {
            face,
            asked: sync::now(),
            parts: (large && thread_rng().r#gen()).then_some(&parts),
            digest: 0,
            max_result: usize::MAX,
            deadline: (leaving && thread_rng().r#gen())
                .then(|| sync::now() + Duration::from_micros(thread_rng().gen_range(1..1000))),
            handle: caller.into(),
            careful: thread_rng().r#gen(),
            is_query: false,
            insert_id: crate::session::InsertId::Lost,
            is_first: false,
            under_way: None,
            limited: false,
        };
        let mut taken = Vec::new();
        let asking = ask(lane, how, number);
        let (what, rest) = match face {
            Face::Blocking => in_thread(Box::pin(asking), leaving),
            Face::Async => {
                let asking = parts.take_as_task(asking, |news| taken.push(news));
                in_task(Box::pin(asking), leaving)
            }
        }
        .unwrap_or((Heard::Left, None));
        if what == Heard::Answer && large {
            parts.take_from(async {}, |news| taken.push(news));
            let parts = taken.into_iter().map(|news| match news {
                News::Rows(_, rows) => rows,
                News::Again => unreachable!("nobody begins it again"),
            });
            let mut rows = Vec::new();
            for mut part in parts.chain(rest) {
                while let Some(row) = part.next_with(<[u8]>::to_vec) {
                    rows.push(row);
                }
            }
            let whole: Vec<_> = (0..ROWS).map(|row| vec![2, number, row]).collect();
            assert_eq!(rows, whole, "rows of {number}");
        }
        heard.push((number, what));
    }
    heard
}

/// Runs it in its thread, which may panic over any part of the result: then it unwinds.
fn in_thread<T>(mut asking: Pin<Box<impl Future<Output = T>>>, leaving: bool) -> Option<T> {
    loop {
        match asking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(done) => return Some(done),
            Poll::Pending => thread::yield_now(),
        }
        if leaving && thread_rng().gen_ratio(1, 3) {
            return None;
        }
    }
}

/// Runs it as a task, which may be dropped at any time.
fn in_task<T>(future: Pin<Box<impl Future<Output = T>>>, leaving: bool) -> Option<T> {
    let leave = Arc::new(Leave::default());
    if leaving && thread_rng().r#gen() {
        let leave = leave.clone();
        thread::spawn(move || {
            thread::yield_now();
            leave.now.store(true, Ordering::Relaxed);
            let waker = leave.waker.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }
    let last = None;
    shuttle::future::block_on(MayLeave {
        future,
        leave,
        last,
    })
}

fn run(scenario: Scenario) {
    sync::reset_clock();
    let room = thread_rng().gen_range(4..20);
    let closes_after = match scenario.failing && thread_rng().gen_ratio(3, 4) {
        true => Some(thread_rng().gen_range(0..6)),
        false => None,
    };
    let pipe = Pipe::new(room, closes_after);
    let others: Vec<_> = [Pipe::react, Pipe::serve]
        .into_iter()
        .map(|run| {
            let pipe = pipe.clone();
            thread::spawn(move || run(&pipe))
        })
        .collect();
    let watch = Arc::new(Watch::default());
    let owner: Arc<dyn Owner> = watch.clone();
    let one_session = thread_rng().r#gen();
    let lane = Lane::share(
        link(Stream::Model(pipe.clone())),
        Arc::downgrade(&owner) as Weak<dyn Owner>,
        one_session,
    );

    let mut callers = Vec::new();
    for (face, most) in [
        (Face::Blocking, scenario.threads),
        (Face::Async, scenario.tasks),
    ] {
        for _ in 0..thread_rng().gen_range(most.min(1)..=most) {
            let caller = callers.len() as u8;
            let lane = lane.clone();
            callers.push(thread::spawn(move || {
                call(&lane, face, caller, scenario.leaving)
            }));
        }
    }
    let mut heard = Vec::new();
    for caller in callers {
        heard.extend(caller.join().unwrap());
    }

    // What was left behind comes to its end too, without anybody asking again.
    let mut turn = watch.turn.lock().unwrap();
    while lane.load.taken.load(Ordering::SeqCst) > 0 {
        turn = watch.changed.wait(turn).unwrap();
    }
    drop(turn);
    // Whoever gave the last place back is about to lay down what it holds.
    let mut turns = 0;
    let whole = loop {
        if let Some(link) = lane.take_back() {
            assert!(link.is_usable(), "given back with something left in it");
            break true;
        }
        if lane.times().is_none() {
            break false;
        }
        turns += 1;
        assert!(turns < 1000, "never at rest: {lane:?}");
        thread::yield_now();
    };
    pipe.finish();
    for other in others {
        other.join().unwrap();
    }
    let closed = closes_after.is_some();
    assert!(whole || closed, "the lane ended though nothing ended it");
    let lost = watch.lost.load(Ordering::Relaxed);
    assert_eq!(lost, usize::from(!whole), "the owner was told of the end");
    let ran = pipe.ran();
    for (number, what) in heard {
        let did = ran.contains(&number);
        match what {
            Heard::Answer => assert!(did, "{number} was answered and never ran"),
            Heard::Lost(Ran::No) => assert!(!did, "{number} ran, and was said not to have"),
            Heard::Lost(_) | Heard::Left => {}
        }
        assert!(
            closed || !matches!(what, Heard::Lost(_)),
            "{number}: {what:?}"
        );
        // Unless the server closed, whoever asked was heard, even if it did not stay.
        let dropped_early = what == Heard::Left;
        assert!(closed || did || dropped_early, "{number} never ran");
    }
}

fn check(scenario: Scenario) {
    if let Ok(schedule) = std::env::var("MYSQL_MUX_MODEL_SCHEDULE") {
        return shuttle::replay(move || run(scenario), &schedule);
    }
    let iterations = std::env::var("MYSQL_MUX_MODEL_ITERATIONS")
        .map_or(300, |n| n.parse().expect("MYSQL_MUX_MODEL_ITERATIONS"));
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let random = RandomScheduler::new(iterations);
    Runner::new(random, config.clone()).run(move || run(scenario));
    let ordered = PctScheduler::new(4, iterations);
    Runner::new(ordered, config).run(move || run(scenario));
}

macro_rules! scenarios {
    ($($name:ident: $threads:literal threads, $tasks:literal tasks, $leaving:literal, $failing:literal;)*) => {$(
        #[test]
        fn $name() {
            check(Scenario {
                threads: $threads,
                tasks: $tasks,
                leaving: $leaving,
                failing: $failing,
            });
        }
    )*};
}

// Whether callers may leave, and the server close.
scenarios! {
    threads: 4 threads, 0 tasks, false, false;
    tasks: 0 threads, 4 tasks, false, false;
    both: 3 threads, 3 tasks, false, false;
    threads_that_leave: 4 threads, 0 tasks, true, false;
    tasks_that_leave: 0 threads, 4 tasks, true, false;
    both_that_leave: 3 threads, 3 tasks, true, false;
    threads_of_a_server_that_closes: 4 threads, 0 tasks, false, true;
    tasks_of_a_server_that_closes: 0 threads, 4 tasks, false, true;
    both_of_a_server_that_closes: 3 threads, 3 tasks, false, true;
    everything: 3 threads, 3 tasks, true, true;
}
