//! Many threads and tasks over few links, for a while, on a network that delays and cuts; some of
//! them leave before they are answered. At the end every answer was its question's, and every write
//! is there as often as its caller was told.
//!
//! `MYSQL_MUX_SOAK_SECONDS` makes it long; `MYSQL_MUX_SOAK_THREADS` and `MYSQL_MUX_SOAK_TASKS` say
//! how many ask. `MYSQL_MUX_SOAK_SEED` makes the same choices again, which a failure prints; what
//! meets what is still up to the scheduler.

mod support;

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mysql_mux::{Ran, Result, aio};
use support::{relay::Way, *};

/// Links for all of them.
const LINKS: usize = 6;

/// A row of this many bytes comes in parts.
const LARGE: usize = 80_000;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|e| panic!("{name}={value}: {e}"))
    })
}

/// xorshift64*: the same choices for the same seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, who: u64) -> Dice {
        let mut dice = Dice((seed ^ who.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Mostly short, sometimes up to `most`.
    fn time(&mut self, most: Duration) -> Duration {
        let most = most.as_micros() as u64 + 1;
        let part = self.below(most);
        Duration::from_micros(self.below(part + 1))
    }
}

/// What a caller knows of its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ran,
    DidNotRun,
    Unknown,
}

#[derive(Debug)]
enum Question {
    Text(String),
    Prepared(String),
    Large(String),
    Write(String),
}

impl Question {
    fn new(dice: &mut Dice, what: String) -> Question {
        match dice.below(100) {
            0..55 => Question::Text(what),
            55..73 => Question::Prepared(what),
            73..75 => Question::Large(what),
            _ => Question::Write(what),
        }
    }

    fn sql(&self) -> String {
        match self {
            Question::Text(what) => format!("SELECT '{what}'"),
            Question::Prepared(_) => "SELECT CONCAT('', ?)".into(),
            Question::Large(what) => format!("SELECT RPAD('{what}', {LARGE}, '{what}')"),
            Question::Write(what) => format!("INSERT INTO said (what) VALUES ('{what}')"),
        }
    }

    /// Panics where the answer is another's.
    fn check(&self, answer: Option<String>) {
        match self {
            Question::Text(what) | Question::Prepared(what) => {
                assert_eq!(answer.as_deref(), Some(what.as_str()), "another's answer");
            }
            Question::Large(what) => {
                let answer = answer.expect("a row");
                assert_eq!(answer.len(), LARGE);
                assert!(
                    answer
                        .as_bytes()
                        .chunks(what.len())
                        .all(|part| what.as_bytes().starts_with(part)),
                    "another's answer to {what}: {:.100}…",
                    answer
                );
            }
            Question::Write(_) => assert_eq!(answer, None),
        }
    }
}

/// What one caller asked, and was told.
#[derive(Default)]
struct Diary {
    writes: Vec<(String, Fate)>,
}

/// What all of them share.
struct Soak {
    seed: u64,
    stop: AtomicBool,
    answered: AtomicU64,
    lost: AtomicU64,
    left: AtomicU64,
    /// Who has not ended yet.
    busy: AtomicUsize,
}

impl Soak {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Takes what came of a statement; `None`: nobody waited for it.
    fn note(
        &self,
        diary: &mut Diary,
        question: Question,
        answer: Option<Result<Option<String>>>,
        timed: bool,
    ) {
        let fate = match answer {
            Some(Ok(answer)) => {
                question.check(answer);
                self.answered.fetch_add(1, Ordering::Relaxed);
                Fate::Ran
            }
            Some(Err(e)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                fate_of(&e, timed)
                    .unwrap_or_else(|| panic!("{question:?}, with a deadline: {timed}: {e}"))
            }
            None => {
                self.left.fetch_add(1, Ordering::Relaxed);
                Fate::Unknown
            }
        };
        if let Question::Write(what) = question {
            diary.writes.push((what, fate));
        }
    }
}

/// `None`: an error that nothing here explains.
fn fate_of(e: &Error, timed: bool) -> Option<Fate> {
    let ran = match e {
        Error::ConnectionLost(e) => e.ran,
        Error::StatementTimeout(e) if timed => e.ran,
        // The server's own word that time was up.
        Error::MySqlError(e) if timed && matches!(e.code, 1317 | 1969 | 3024) => Ran::Maybe,
        Error::ConnectError(_) | Error::AcquireTimeout(_) => Ran::No,
        _ => return None,
    };
    Some(match ran {
        Ran::No => Fate::DidNotRun,
        _ => Fate::Unknown,
    })
}

fn in_thread(soak: &Soak, mux: &Mux, opts: &OptsBuilder, who: u64) -> Diary {
    let mut dice = Dice::new(soak.seed, who);
    let mut diary = Diary::default();
    let Some(mut handle) = connected(soak, || mux.connect(opts.clone())) else {
        return diary;
    };
    for n in 0.. {
        if !soak.goes_on() {
            break;
        }
        let question = Question::new(&mut dice, format!("thread-{who}-statement-{n}"));
        let timed = dice.percent(10);
        let answer = if timed {
            let time = dice.time(Duration::from_millis(60)) + Duration::from_micros(100);
            ask(&mut handle.within(time), &question)
        } else {
            ask(&mut handle, &question)
        };
        soak.note(&mut diary, question, Some(answer), timed);
        thread::sleep(dice.time(Duration::from_millis(100)));
    }
    diary
}

fn ask(handle: &mut impl Queryable, question: &Question) -> Result<Option<String>> {
    match question {
        Question::Prepared(what) => handle.exec_first(question.sql(), (what,)),
        Question::Write(_) => handle.query_drop(question.sql()).map(|()| None),
        _ => handle.query_first(question.sql()),
    }
}

async fn in_task(soak: Arc<Soak>, mux: Mux, opts: OptsBuilder, who: u64) -> Diary {
    let mut dice = Dice::new(soak.seed, who);
    let mut diary = Diary::default();
    let mut handle = loop {
        match mux.connect_async(opts.clone()).await {
            Ok(handle) => break handle,
            Err(e) => assert_eq!(fate_of(&e, false), Some(Fate::DidNotRun), "{e}"),
        }
        if !soak.goes_on() {
            return diary;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for n in 0.. {
        if !soak.goes_on() {
            break;
        }
        let question = Question::new(&mut dice, format!("task-{who}-statement-{n}"));
        let timed = dice.percent(10);
        let time = dice.time(Duration::from_millis(60)) + Duration::from_micros(100);
        handle.set_statement_timeout(timed.then_some(time));
        let asking = ask_as_task(&mut handle, &question);
        let answer = match dice.percent(10) {
            true => {
                let leaves = dice.time(Duration::from_millis(20));
                tokio::time::timeout(leaves, asking).await.ok()
            }
            false => Some(asking.await),
        };
        soak.note(&mut diary, question, answer, timed);
        tokio::time::sleep(dice.time(Duration::from_millis(1000))).await;
    }
    diary
}

async fn ask_as_task(handle: &mut aio::Handle, question: &Question) -> Result<Option<String>> {
    match question {
        Question::Prepared(what) => handle.exec_first(question.sql(), (what,)).await,
        Question::Write(_) => handle.query_drop(question.sql()).await.map(|()| None),
        _ => handle.query_first(question.sql()).await,
    }
}

/// Tries until the network lets it.
fn connected<T>(soak: &Soak, mut connect: impl FnMut() -> Result<T>) -> Option<T> {
    while soak.goes_on() {
        match connect() {
            Ok(handle) => return Some(handle),
            Err(e) => assert_eq!(fate_of(&e, false), Some(Fate::DidNotRun), "{e}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Does to the network what comes to mind, and leaves it well.
fn disturb(soak: &Soak, relay: &Relay) {
    let mut dice = Dice::new(soak.seed, u64::MAX);
    while soak.goes_on() {
        let way = match dice.percent(50) {
            true => Way::Up,
            false => Way::Down,
        };
        match dice.below(10) {
            0 => relay.close_all(),
            1..3 => relay.cut_after(way, dice.below(200_000)),
            3 => {
                relay.stall(way);
                thread::sleep(dice.time(Duration::from_millis(100)));
                if dice.percent(50) {
                    relay.close_all();
                }
                relay.heal();
            }
            4..7 => relay.delay(way, dice.time(Duration::from_millis(5))),
            _ => relay.heal(),
        }
        thread::sleep(dice.time(Duration::from_millis(400)));
    }
    relay.heal();
}

#[test]
fn every_caller_is_told_what_became_of_its_own_statement() {
    let seconds = setting("MYSQL_MUX_SOAK_SECONDS", 8);
    let threads = setting("MYSQL_MUX_SOAK_THREADS", 500);
    let tasks = setting("MYSQL_MUX_SOAK_TASKS", 4000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting("MYSQL_MUX_SOAK_SEED", now.as_nanos() as u64);
    println!("MYSQL_MUX_SOAK_SEED={seed}");

    let schema = Schema::new("soak");
    let user = User::new("soak");
    let mut root = server().root();
    root.query_drop(format!(
        "CREATE TABLE `{}`.said (id BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(64) NOT NULL)",
        schema.name
    ))
    .unwrap();
    let relay = Arc::new(Relay::new());
    let opts = relay.tcp(user.tcp()).db_name(Some(&schema.name));
    let mux = builder().max_links(LINKS).build();
    let soak = Arc::new(Soak {
        seed,
        stop: AtomicBool::new(false),
        answered: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        left: AtomicU64::new(0),
        busy: AtomicUsize::new((threads + tasks) as usize),
    });

    let (tell, told) = std::sync::mpsc::channel();
    for who in 0..threads {
        let (soak, mux, opts, tell) = (soak.clone(), mux.clone(), opts.clone(), tell.clone());
        thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(move || {
                let diary = in_thread(&soak, &mux, &opts, who);
                soak.busy.fetch_sub(1, Ordering::Relaxed);
                drop(tell.send(diary));
            })
            .unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    for who in threads..threads + tasks {
        let (soak, mux, opts, tell) = (soak.clone(), mux.clone(), opts.clone(), tell.clone());
        runtime.spawn(async move {
            let diary = in_task(soak.clone(), mux, opts, who).await;
            soak.busy.fetch_sub(1, Ordering::Relaxed);
            drop(tell.send(diary));
        });
    }
    drop(tell);
    let network = {
        let (soak, relay) = (soak.clone(), relay.clone());
        thread::spawn(move || disturb(&soak, &relay))
    };

    thread::sleep(Duration::from_secs(seconds));
    soak.stop.store(true, Ordering::Relaxed);
    network.join().unwrap();
    // Everyone ends by themselves: who does not, waits for an answer that never comes.
    let deadline = Instant::now() + GENEROUS;
    let mut writes = HashMap::new();
    for ended in 0..threads + tasks {
        let left = deadline.saturating_duration_since(Instant::now());
        let diary = told.recv_timeout(left).unwrap_or_else(|e| {
            let busy = soak.busy.load(Ordering::Relaxed);
            panic!(
                "{ended} ended, {busy} did not, or failed: {e}\n{:#?}",
                mux.stats()
            )
        });
        writes.extend(diary.writes);
    }
    drop(runtime);
    let counts = mux.stats().total;
    drop(mux);
    drop(relay);

    // The server may still run what was cut off.
    eventually("the server has let all connections go", || {
        user.connections(&mut root) == 0
    });
    let rows: Vec<(String, u64)> = root
        .query(format!(
            "SELECT what, COUNT(*) FROM `{}`.said GROUP BY what",
            schema.name
        ))
        .unwrap();
    let mut there: HashMap<String, u64> = rows.into_iter().collect();
    let mut fates = HashMap::new();
    for (what, fate) in &writes {
        let times = there.remove(what).unwrap_or(0);
        match fate {
            Fate::Ran => assert_eq!(times, 1, "{what} was answered"),
            Fate::DidNotRun => assert_eq!(times, 0, "{what} was said not to have run"),
            Fate::Unknown => assert!(times <= 1, "{what} is there {times} times"),
        }
        *fates.entry(format!("{fate:?}")).or_insert(0_u64) += 1;
    }
    assert!(there.is_empty(), "nobody wrote {there:?}");

    let answered = soak.answered.load(Ordering::Relaxed);
    println!(
        "{answered} statements answered, {} not, {} left; writes: {fates:?}; {} links lost",
        soak.lost.load(Ordering::Relaxed),
        soak.left.load(Ordering::Relaxed),
        counts.lost_connections,
    );
    assert!(answered > threads + tasks, "hardly anything was asked");
    assert!(counts.lost_connections > 0, "the network was too kind");
}
