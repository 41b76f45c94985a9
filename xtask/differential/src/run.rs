//! The runner: has two sides do a program, step by step or all at the same time, and compares.
//!
//! Step by step the side under test goes first: what it honestly refuses, the other side does not do
//! either, and the handle's session is ended on both, so that the others find the same.

use std::{collections::BTreeMap, fmt, sync::Mutex, thread};

use anyhow::{Context as _, Result, anyhow};
use mysql_mux::Isolation;

use crate::{
    compare::{Verdict, compare},
    final_state,
    outcome::Outcome,
    program::{Action, Mode, Program, Step},
    server::{Admin, Kind, Names, Server},
    sides::{Session, Side, dedicated::Dedicated, mux::Muxed},
};

/// Which side is under test.
#[derive(Clone, Copy, Debug)]
pub enum Tested {
    Mux(Isolation),
    /// Also dedicated connections: proves that programs are deterministic.
    Dedicated,
}

/// Where the sides part.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The step of the program; `None`: a question about the session at its end.
    pub at: Option<usize>,
    pub step: Step,
    pub difference: String,
    pub tested: Outcome,
    pub expected: Outcome,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.at {
            Some(at) => format!("step {at}"),
            None => "at the end".into(),
        };
        writeln!(
            f,
            "{when}, handle {}: {}",
            self.step.handle, self.step.action
        )?;
        writeln!(f, "  they differ in {}", self.difference)?;
        writeln!(f, "  under test: {}", self.tested)?;
        write!(f, "  expected:   {}", self.expected)
    }
}

/// What a program, or many, came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Steps that were run on both sides, by topic.
    pub steps: BTreeMap<&'static str, u64>,
    /// Steps that the server answered with an error.
    pub errors: u64,
    /// Steps after which the handle had a link to itself.
    pub pinned: u64,
    /// Honest errors, by kind.
    pub honest: BTreeMap<&'static str, u64>,
    /// The first difference.
    pub divergence: Option<Divergence>,
    /// What the side under test counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// Print each step and what came of it.
    pub trace: bool,
}

impl Report {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Report) {
        let maps = [
            (&mut self.steps, &other.steps),
            (&mut self.honest, &other.honest),
            (&mut self.counts, &other.counts),
        ];
        for (map, other) in maps {
            for (name, count) in other {
                *map.entry(name).or_default() += count;
            }
        }
        self.errors += other.errors;
        self.pinned += other.pinned;
    }

    /// All steps.
    pub fn total(&self) -> u64 {
        self.steps.values().sum()
    }

    /// Takes note of a step's outcomes. `false`: the handle is compared no more.
    fn note(&mut self, at: Option<usize>, step: &Step, tested: Outcome, expected: Outcome) -> bool {
        if self.trace {
            println!("handle {}: {}\n    {tested}", step.handle, step.action);
        }
        match compare(&tested, &expected) {
            Verdict::Same => {
                *self.steps.entry(step.topic).or_default() += 1;
                self.errors += u64::from(expected.error().is_some());
                true
            }
            Verdict::Honest(kind) => {
                *self.honest.entry(kind).or_default() += 1;
                false
            }
            Verdict::Differs(difference) => {
                self.divergence.get_or_insert(Divergence {
                    at,
                    step: step.clone(),
                    difference,
                    tested,
                    expected,
                });
                false
            }
        }
    }
}

/// Kills a connection, or only its statement.
pub type Killer<'a> = dyn FnMut(u32, bool) -> Result<()> + Send + 'a;

/// Runs programs against a server.
pub struct Runner {
    server: Server,
    admin: Admin,
    tested: Tested,
    next: u32,
    /// Print each step and what came of it.
    pub trace: bool,
}

impl Runner {
    pub fn new(server: &Server, tested: Tested) -> Result<Runner> {
        let mut admin = server.admin()?;
        admin.make_role()?;
        Ok(Runner {
            server: server.clone(),
            admin,
            tested,
            next: 0,
            trace: false,
        })
    }

    /// Runs a program on fresh schemas.
    pub fn run(&mut self, program: &Program) -> Result<Report> {
        self.next += 1;
        let names = ['a', 'b'].map(|side| Names::new(&self.server, self.next, side));
        let made = names
            .iter()
            .try_for_each(|names| self.admin.make(program, names));
        let result = made.and_then(|()| self.run_in(program, &names));
        for names in &names {
            let cleared = self.admin.clear(names);
            if result.is_ok() {
                cleared?;
            }
        }
        result
    }

    fn run_in(&mut self, program: &Program, names: &[Names; 2]) -> Result<Report> {
        let mut tested: Box<dyn Side> = match self.tested {
            Tested::Mux(isolation) => Box::new(Muxed::new(
                &self.server,
                &names[0],
                isolation,
                program.max_links(),
            )),
            Tested::Dedicated => Box::new(Dedicated::new(&self.server, &names[0])),
        };
        let mut expected = Dedicated::new(&self.server, &names[1]);
        let admin = &mut self.admin;
        let mut kill = |id, query| admin.kill(id, query);
        let mut report = Report {
            trace: self.trace,
            ..Report::default()
        };
        drive(
            program,
            self.server.kind,
            &mut *tested,
            &mut expected,
            &mut kill,
            &mut report,
        )?;
        report.counts = tested.summary().into_iter().collect();
        Ok(report)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Nothing depends on it any more.
        let _ = self.admin.drop_role();
    }
}

/// Runs a program on two sides.
pub fn drive(
    program: &Program,
    kind: Kind,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    kill: &mut Killer<'_>,
    report: &mut Report,
) -> Result<()> {
    match program.mode {
        Mode::Sequential => sequential(program, kind, tested, expected, kill, report),
        Mode::Concurrent => concurrent(program, kind, tested, expected, kill, report),
    }
}

/// The sessions of those handles that do something.
fn connect(program: &Program, side: &mut dyn Side) -> Result<Vec<Option<Box<dyn Session>>>> {
    (0..program.handles)
        .map(|handle| {
            let acts = program.steps.iter().any(|step| step.handle == handle);
            acts.then(|| side.connect(program.may_pin(handle)))
                .transpose()
        })
        .collect()
}

fn end(session: &mut Option<Box<dyn Session>>) {
    if let Some(session) = session.take() {
        session.end();
    }
}

fn sequential(
    program: &Program,
    kind: Kind,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    kill: &mut Killer<'_>,
    report: &mut Report,
) -> Result<()> {
    let is_killed = tested.is_killed();
    let mut tested = connect(program, tested)?;
    let mut expected = connect(program, expected)?;
    // One step on both sides.
    let mut both = |at: Option<usize>,
                    step: &Step,
                    tested: &mut [Option<Box<dyn Session>>],
                    report: &mut Report| {
        let (Some(one), Some(other)) = (&mut tested[step.handle], &mut expected[step.handle])
        else {
            return;
        };
        let outcome = one.run(&step.action);
        report.pinned += u64::from(one.is_pinned());
        let is_honest = matches!(outcome, Outcome::Honest { .. });
        let right = match is_honest {
            // It is not compared.
            true => outcome.clone(),
            false => other.run(&step.action),
        };
        if !report.note(at, step, outcome, right) {
            end(&mut tested[step.handle]);
            end(&mut expected[step.handle]);
        }
    };
    for (at, step) in program.steps.iter().enumerate() {
        if let Action::Kill { query } = step.action {
            let id = tested[step.handle]
                .as_ref()
                .map_or(0, |one| one.connection_id());
            if !is_killed || id == 0 {
                continue;
            }
            kill(id, query)?;
            // Whoever was on it tells now whether that hurt, before others see what it has undone.
            let hit: Vec<_> = (0..program.handles)
                .filter(|&handle| {
                    let session = tested[handle].as_ref();
                    session.is_some_and(|session| session.connection_id() == id)
                })
                .collect();
            for handle in hit {
                let probe = Step {
                    handle,
                    topic: step.topic,
                    action: Action::Query("SELECT @v0, @v1, LAST_INSERT_ID()".into()),
                };
                both(Some(at), &probe, &mut tested, report);
            }
        } else {
            both(Some(at), step, &mut tested, report);
        }
        if report.divergence.is_some() {
            break;
        }
    }
    if report.divergence.is_none() {
        'handles: for handle in 0..program.handles {
            for step in final_state::steps(program, kind, handle) {
                both(None, &step, &mut tested, report);
                if report.divergence.is_some() {
                    break 'handles;
                }
            }
        }
    }
    // Transactions that are still open must not hold up that schemas are dropped.
    tested.iter_mut().chain(&mut expected).for_each(end);
    Ok(())
}

fn concurrent(
    program: &Program,
    kind: Kind,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    kill: &mut Killer<'_>,
    report: &mut Report,
) -> Result<()> {
    // What each handle does, with where that stands in the program.
    let plans: Vec<Vec<(Option<usize>, Step)>> = (0..program.handles)
        .map(|handle| {
            let own = program.steps.iter().enumerate();
            let own: Vec<_> = own
                .filter(|(_, step)| step.handle == handle)
                .map(|(at, step)| (Some(at), step.clone()))
                .collect();
            if own.is_empty() {
                return own;
            }
            let last = final_state::steps(program, kind, handle);
            own.into_iter()
                .chain(last.into_iter().map(|step| (None, step)))
                .collect()
        })
        .collect();
    let kill = Mutex::new(kill);
    let of_side = |side: &mut dyn Side| -> Result<Vec<Vec<(Outcome, bool)>>> {
        let is_killed = side.is_killed();
        let sessions = connect(program, side)?;
        let kill = &kill;
        thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .into_iter()
                .zip(&plans)
                .map(|(session, plan)| scope.spawn(move || alone(session, plan, is_killed, kill)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    let panicked = |_| anyhow!("a handle's thread panicked");
                    thread.join().map_err(panicked).and_then(|done| done)
                })
                .collect()
        })
    };
    let tested = of_side(tested)?;
    let expected = of_side(expected)?;
    for ((plan, tested), expected) in plans.iter().zip(tested).zip(expected) {
        let outcomes = tested.into_iter().zip(expected);
        for ((at, step), ((one, pinned), (other, _))) in plan.iter().zip(outcomes) {
            report.pinned += u64::from(pinned);
            if !report.note(*at, step, one, other) {
                break;
            }
        }
    }
    Ok(())
}

/// A handle's steps, up to an honest error.
fn alone(
    session: Option<Box<dyn Session>>,
    plan: &[(Option<usize>, Step)],
    is_killed: bool,
    kill: &Mutex<&mut Killer<'_>>,
) -> Result<Vec<(Outcome, bool)>> {
    let Some(mut session) = session else {
        return Ok(Vec::new());
    };
    let mut outcomes = Vec::with_capacity(plan.len());
    for (_, step) in plan {
        if let Action::Kill { query } = step.action {
            // A statement that is killed may be anybody's here.
            if is_killed && !query && session.connection_id() != 0 {
                let mut kill = kill.lock().expect("no kill panics");
                kill(session.connection_id(), query).context("a kill")?;
            }
            let nothing = Outcome::Replies {
                replies: Vec::new(),
                warnings: None,
            };
            outcomes.push((nothing, false));
            continue;
        }
        let outcome = session.run(&step.action);
        let is_honest = matches!(outcome, Outcome::Honest { .. });
        outcomes.push((outcome, session.is_pinned()));
        if is_honest {
            break;
        }
    }
    session.end();
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::Reply, sides::fake::Fake};

    fn program(mode: Mode, steps: &[(usize, &str)]) -> Program {
        Program {
            seed: 0,
            mode,
            handles: 3,
            links: 1,
            may_pin: Vec::new(),
            steps: steps
                .iter()
                .map(|&(handle, sql)| Step {
                    handle,
                    topic: "plain",
                    action: Action::Query(sql.into()),
                })
                .collect(),
        }
    }

    fn run(program: &Program, tested: Fake) -> Report {
        let mut kill = |_, _| Ok(());
        let mut expected = Fake::default();
        let mut tested = tested;
        let mut report = Report::default();
        drive(
            program,
            Kind::MariaDb,
            &mut tested,
            &mut expected,
            &mut kill,
            &mut report,
        )
        .unwrap();
        report
    }

    #[test]
    fn sides_that_do_the_same_are_the_same() {
        for mode in [Mode::Sequential, Mode::Concurrent] {
            let report = run(
                &program(mode, &[(0, "a"), (1, "b"), (0, "c")]),
                Fake::default(),
            );
            assert!(report.divergence.is_none());
            assert_eq!(report.steps["plain"], 3);
        }
    }

    #[test]
    fn a_lie_is_found_where_it_is() {
        for mode in [Mode::Sequential, Mode::Concurrent] {
            let fake = Fake {
                lies_about: Some("b"),
                ..Fake::default()
            };
            let report = run(&program(mode, &[(0, "a"), (1, "b"), (0, "c")]), fake);
            let divergence = report.divergence.expect("it lied");
            assert_eq!(divergence.at, Some(1));
            assert!(
                matches!(&divergence.expected, Outcome::Replies { replies, .. }
                if matches!(replies[0], Reply::Ok { .. }))
            );
        }
    }

    #[test]
    fn after_an_honest_error_a_handle_is_compared_no_more() {
        for mode in [Mode::Sequential, Mode::Concurrent] {
            let fake = Fake {
                fails_at: Some("b"),
                lies_about: Some("later"),
            };
            let steps = [(0, "a"), (1, "b"), (1, "later"), (0, "c")];
            let report = run(&program(mode, &steps), fake);
            assert!(report.divergence.is_none());
            assert_eq!(report.honest["SessionLost"], 1);
            assert_eq!(report.steps["plain"], 2);
        }
    }
}
