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
    way::Way,
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
    /// The last step that was sent with it.
    pub sent_to: Option<usize>,
    pub step: Step,
    pub way: Way,
    pub difference: String,
    pub tested: Outcome,
    pub expected: Outcome,
}

impl Divergence {
    /// The steps that it took: all, where it was seen at the end.
    pub fn steps(&self, program: &Program) -> usize {
        self.sent_to.map_or(program.steps.len(), |to| to + 1)
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.at {
            Some(at) => format!("step {at}"),
            None => "at the end".into(),
        };
        writeln!(
            f,
            "{when}, handle {} ({}): {}",
            self.step.handle,
            self.way.name(),
            self.step.action
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
    /// The same, by how they were sent.
    pub ways: BTreeMap<Way, u64>,
    /// Steps that went together with another.
    pub together: u64,
    /// Steps that the server answered with an error.
    pub errors: u64,
    /// Steps after which the handle had a link to itself.
    pub pinned: u64,
    /// Honest errors, by kind and way.
    pub honest: BTreeMap<(&'static str, Way), u64>,
    /// The first difference.
    pub divergence: Option<Divergence>,
    /// What the side under test counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// Print each step and what came of it.
    pub trace: bool,
    /// MariaDB does not tell of the columns of a statement that it prepared while it believes them to be
    /// the same, and the expected side has those of before.
    pub is_brief: bool,
}

impl Report {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Report) {
        fn add<K: Copy + Ord>(map: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
            for (key, count) in other {
                *map.entry(*key).or_default() += count;
            }
        }
        add(&mut self.steps, &other.steps);
        add(&mut self.ways, &other.ways);
        add(&mut self.honest, &other.honest);
        add(&mut self.counts, &other.counts);
        self.together += other.together;
        self.errors += other.errors;
        self.pinned += other.pinned;
    }

    /// All steps.
    pub fn total(&self) -> u64 {
        self.steps.values().sum()
    }

    /// Takes note of a step's outcomes. `false`: the handle is compared no more.
    fn note(&mut self, sent: Sent, step: &Step, tested: Outcome, expected: Outcome) -> bool {
        let way = sent.way;
        if self.trace {
            let (handle, way) = (step.handle, way.name());
            println!("handle {handle} ({way}): {}\n    {tested}", step.action);
        }
        let tested = way.tells(tested);
        let expected = way.tells(expected);
        let (tested, expected) = match sent.is_last {
            true => (tested, expected),
            false => (tested.without_last(), expected.without_last()),
        };
        let is_brief = self.is_brief && matches!(step.action, Action::Execute(..));
        let (tested, expected) = match is_brief {
            true => (
                tested.without_character_sets(),
                expected.without_character_sets(),
            ),
            false => (tested, expected),
        };
        match compare(&tested, &expected) {
            Verdict::Same => {
                *self.steps.entry(step.topic).or_default() += 1;
                *self.ways.entry(way).or_default() += 1;
                self.together += u64::from(sent.is_together);
                self.errors += u64::from(expected.error().is_some());
                true
            }
            Verdict::Honest(kind) => {
                *self.honest.entry((kind, way)).or_default() += 1;
                false
            }
            Verdict::Differs(difference) => {
                self.divergence.get_or_insert(Divergence {
                    at: sent.at,
                    sent_to: sent.to,
                    step: step.clone(),
                    way,
                    difference,
                    tested,
                    expected,
                });
                false
            }
        }
    }
}

/// How a step was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Its place in the program; `None`: at the end.
    at: Option<usize>,
    /// The place of the last one that went with it.
    to: Option<usize>,
    way: Way,
    is_together: bool,
    is_last: bool,
}

/// A step with its place in the program, if it has one.
type Placed = (Option<usize>, Step);

/// Steps that are sent together: one, or two neighbours of a handle that sends in pipelines.
fn together<'a>(program: &Program, steps: &'a [Placed]) -> (&'a [Placed], &'a [Placed]) {
    let goes = match steps {
        [(_, one), (_, next), ..] => {
            program.way(one.handle).pipelines()
                && one.handle == next.handle
                && one.action.is_piped()
                && next.action.is_piped()
        }
        _ => false,
    };
    steps.split_at(if goes { 2 } else { steps.len().min(1) })
}

/// How each of them was sent.
fn sent<'a>(program: &Program, batch: &'a [Placed]) -> impl Iterator<Item = (Sent, &'a Step)> {
    let to = batch.last().and_then(|(at, _)| *at);
    let way = batch
        .first()
        .map_or(Way::Plain, |(_, step)| program.way(step.handle));
    batch.iter().enumerate().map(move |(number, (at, step))| {
        let sent = Sent {
            at: *at,
            to,
            way,
            is_together: batch.len() > 1,
            is_last: number + 1 == batch.len(),
        };
        (sent, step)
    })
}

/// What befalls the side under test from outside.
pub trait Outside: Send {
    /// Kills a connection, or only its statement.
    fn kill(&mut self, id: u32, statement_only: bool) -> Result<()>;

    /// Waits until replicas have all that the primary has. Those that were held go on.
    fn settle(&mut self) -> Result<()>;

    /// Has one replica, or all, do nothing of what the primary does.
    fn hold(&mut self, replica: Option<usize>) -> Result<()>;

    fn release(&mut self) -> Result<()>;
}

/// What programs run on.
#[derive(Clone, Debug)]
pub struct Place {
    pub kind: Kind,
    /// The variables that tell several servers apart: a session on one of them has that one's.
    pub apart: Vec<String>,
}

/// Runs programs against a server, or several.
pub struct Runner {
    server: Server,
    replicas: Vec<Server>,
    place: Place,
    admin: Admin,
    tested: Tested,
    next: u32,
    /// Print each step and what came of it.
    pub trace: bool,
}

impl Runner {
    /// `replicas`: those of the server.
    pub fn new(server: &Server, replicas: &[Server], tested: Tested) -> Result<Runner> {
        let mut admin = server.admin(replicas)?;
        admin.make_role()?;
        Ok(Runner {
            server: server.clone(),
            replicas: replicas.to_vec(),
            place: Place {
                kind: server.kind,
                apart: admin.replicas.apart(server)?,
            },
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
        let settled = made.and_then(|()| self.admin.settle());
        let result = settled.and_then(|()| self.run_in(program, &names));
        for names in &names {
            let cleared = self.admin.clear(names);
            if result.is_ok() {
                cleared?;
            }
        }
        let mut report = result?;
        // Replicas do all of it, or say why they stopped.
        self.admin.settle()?;
        if let Some(difference) = self.admin.replicas.written_to()? {
            let nothing = Outcome::nothing();
            report.divergence.get_or_insert(Divergence {
                at: None,
                sent_to: None,
                step: Step {
                    handle: 0,
                    topic: final_state::TOPIC,
                    action: Action::Release,
                },
                way: Way::Plain,
                difference,
                tested: nothing.clone(),
                expected: nothing,
            });
        }
        Ok(report)
    }

    fn run_in(&mut self, program: &Program, names: &[Names; 2]) -> Result<Report> {
        let mut tested: Box<dyn Side> = match self.tested {
            Tested::Mux(isolation) => Box::new(Muxed::new(
                &self.server,
                &self.replicas,
                &names[0],
                isolation,
                program,
            )),
            Tested::Dedicated => Box::new(Dedicated::new(&self.server, &names[0])),
        };
        let mut expected = Dedicated::new(&self.server, &names[1]);
        let mut report = Report {
            trace: self.trace,
            is_brief: self.server.kind == Kind::MariaDb,
            ..Report::default()
        };
        drive(
            program,
            &self.place,
            &mut *tested,
            &mut expected,
            &mut self.admin,
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
    place: &Place,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    outside: &mut dyn Outside,
    report: &mut Report,
) -> Result<()> {
    match program.mode {
        Mode::Sequential => sequential(program, place, tested, expected, outside, report),
        Mode::Concurrent => concurrent(program, place, tested, expected, outside, report),
    }
}

/// The sessions of those handles that do something.
fn connect(program: &Program, side: &mut dyn Side) -> Result<Vec<Option<Box<dyn Session>>>> {
    (0..program.handles)
        .map(|handle| {
            let acts = program.steps.iter().any(|step| step.handle == handle);
            acts.then(|| side.connect(program, handle)).transpose()
        })
        .collect()
}

fn end(session: &mut Option<Box<dyn Session>>) {
    if let Some(session) = session.take() {
        session.end();
    }
}

/// Both sides of a program that is done step by step.
struct Both<'a> {
    program: &'a Program,
    /// The one under test, and the one that tells what is right.
    sides: [&'a mut dyn Side; 2],
    sessions: [Vec<Option<Box<dyn Session>>>; 2],
    outside: &'a mut dyn Outside,
    /// Whose step was the last one.
    last: Option<usize>,
    /// Which handles' sessions know nothing of what the handle wrote before.
    is_new: Vec<bool>,
    /// One side may have done what the other has not: nothing that follows says anything.
    is_over: bool,
}

impl<'a> Both<'a> {
    fn connect(
        program: &'a Program,
        mut sides: [&'a mut dyn Side; 2],
        outside: &'a mut dyn Outside,
    ) -> Result<Both<'a>> {
        let [tested, expected] = &mut sides;
        let sessions = [connect(program, *tested)?, connect(program, *expected)?];
        Ok(Both {
            program,
            sides,
            sessions,
            outside,
            last: None,
            is_new: vec![false; program.handles],
            is_over: false,
        })
    }

    /// Has replicas get all that the handle's next step may read and that it did not write itself.
    fn settle(&mut self, handle: usize) -> Result<()> {
        let is_others = !self.program.own_tables && self.last != Some(handle);
        self.last = Some(handle);
        match std::mem::take(&mut self.is_new[handle]) || is_others {
            true => self.outside.settle(),
            false => Ok(()),
        }
    }

    /// Steps that go together.
    fn run(&mut self, batch: &[Placed], report: &mut Report) -> Result<()> {
        let Some((_, Step { handle, .. })) = batch.first() else {
            return Ok(());
        };
        let handle = *handle;
        self.settle(handle)?;
        let [tested, expected] = &mut self.sessions;
        let (Some(one), Some(other)) = (&mut tested[handle], &mut expected[handle]) else {
            return Ok(());
        };
        let actions: Vec<_> = batch.iter().map(|(_, step)| &step.action).collect();
        let outcomes = one.run_all(&actions);
        report.pinned += u64::from(one.is_pinned());
        for ((sent, step), outcome) in sent(self.program, batch).zip(outcomes) {
            let waits = outcome.is_wait_in_vain();
            let (is_honest, may_have_run) = (outcome.is_honest(), outcome.may_have_run());
            let right = match is_honest {
                // It is not compared.
                true => outcome.clone(),
                false => other.run(&step.action),
            };
            if !report.note(sent, step, outcome, right) {
                // A lock that only one side had to wait for, or an end of the link in the middle.
                self.is_over |= !is_honest || may_have_run;
                // Who has no link may have none for long.
                return self.part(handle, !waits && report.divergence.is_none());
            }
        }
        Ok(())
    }

    /// Ends a handle's sessions; new ones may take their place.
    fn part(&mut self, handle: usize, again: bool) -> Result<()> {
        for (side, sessions) in self.sides.iter_mut().zip(&mut self.sessions) {
            end(&mut sessions[handle]);
            if again {
                sessions[handle] = Some(side.connect(self.program, handle)?);
            }
        }
        self.is_new[handle] = true;
        Ok(())
    }

    /// The handles whose last connection is this.
    fn on(&self, id: u32) -> Vec<usize> {
        let is_it = |session: &Option<Box<dyn Session>>| {
            let session = session.as_ref();
            session.is_some_and(|session| session.connection_id() == id)
        };
        let handles = self.sessions[0].iter().enumerate();
        let these = handles.filter(|(_, session)| is_it(session));
        these.map(|(handle, _)| handle).collect()
    }
}

fn sequential(
    program: &Program,
    place: &Place,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    outside: &mut dyn Outside,
    report: &mut Report,
) -> Result<()> {
    let is_killed = tested.is_killed();
    let mut both = Both::connect(program, [tested, expected], outside)?;
    let steps = program.steps.iter().cloned().enumerate();
    let steps: Vec<Placed> = steps.map(|(at, step)| (Some(at), step)).collect();
    let mut left = &steps[..];
    while report.divergence.is_none() && !both.is_over && !left.is_empty() {
        let (batch, rest) = together(program, left);
        left = rest;
        let [(at, step)] = batch else {
            both.run(batch, report)?;
            continue;
        };
        let query = match step.action {
            Action::Kill { query } => query,
            Action::Hold(replica) => {
                both.outside.hold(replica)?;
                continue;
            }
            Action::Release => {
                both.outside.release()?;
                continue;
            }
            _ => {
                both.run(batch, report)?;
                continue;
            }
        };
        let session = both.sessions[0][step.handle].as_ref();
        let id = session.map_or(0, |one| one.connection_id());
        if !is_killed || id == 0 {
            continue;
        }
        both.outside.kill(id, query)?;
        // Whoever was on it tells now whether that hurt, before others see what it has undone.
        for handle in both.on(id) {
            let probe = Step {
                handle,
                topic: step.topic,
                action: Action::Query("SELECT @v0, @v1, LAST_INSERT_ID()".into()),
            };
            both.run(&[(*at, probe)], report)?;
        }
    }
    for handle in 0..program.handles {
        let steps = final_state::steps(program, place.kind, &place.apart, handle);
        let steps: Vec<Placed> = steps.into_iter().map(|step| (None, step)).collect();
        let mut left = &steps[..];
        while report.divergence.is_none() && !both.is_over && !left.is_empty() {
            let (batch, rest) = together(program, left);
            both.run(batch, report)?;
            left = rest;
        }
    }
    // Transactions that are still open must not hold up that schemas are dropped.
    both.sessions.iter_mut().flatten().for_each(end);
    Ok(())
}

fn concurrent(
    program: &Program,
    place: &Place,
    tested: &mut dyn Side,
    expected: &mut dyn Side,
    outside: &mut dyn Outside,
    report: &mut Report,
) -> Result<()> {
    // What each handle does, with where that stands in the program.
    let plans: Vec<Vec<Placed>> = (0..program.handles)
        .map(|handle| {
            let own = program.steps.iter().enumerate();
            let own: Vec<_> = own
                .filter(|(_, step)| step.handle == handle)
                .map(|(at, step)| (Some(at), step.clone()))
                .collect();
            if own.is_empty() {
                return own;
            }
            let last = final_state::steps(program, place.kind, &place.apart, handle);
            own.into_iter()
                .chain(last.into_iter().map(|step| (None, step)))
                .collect()
        })
        .collect();
    let outside = Mutex::new(outside);
    let of_side = |side: &mut dyn Side| -> Result<Vec<Vec<(Outcome, bool)>>> {
        let is_killed = side.is_killed();
        let sessions = connect(program, side)?;
        let outside = &outside;
        thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .into_iter()
                .zip(&plans)
                .map(|(session, plan)| {
                    scope.spawn(move || alone(program, session, plan, is_killed, outside))
                })
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
        let mut left = &plan[..];
        let mut outcomes = tested.into_iter().zip(expected);
        'plan: while !left.is_empty() {
            let (batch, rest) = together(program, left);
            left = rest;
            for (sent, step) in sent(program, batch) {
                let Some(((one, pinned), (other, _))) = outcomes.next() else {
                    break 'plan;
                };
                report.pinned += u64::from(pinned);
                if !report.note(sent, step, one, other) {
                    break 'plan;
                }
            }
        }
    }
    Ok(())
}

/// A handle's steps, up to an honest error.
fn alone(
    program: &Program,
    session: Option<Box<dyn Session>>,
    plan: &[Placed],
    is_killed: bool,
    outside: &Mutex<&mut dyn Outside>,
) -> Result<Vec<(Outcome, bool)>> {
    let Some(mut session) = session else {
        return Ok(Vec::new());
    };
    let mut outcomes = Vec::with_capacity(plan.len());
    let mut left = plan;
    while !left.is_empty() {
        let (batch, rest) = together(program, left);
        left = rest;
        if let [(_, step)] = batch
            && let Action::Kill { .. } | Action::Hold(_) | Action::Release = step.action
        {
            let mut outside = outside.lock().expect("nothing panics with it");
            match step.action {
                // A statement that is killed may be anybody's here.
                Action::Kill { query } if query || session.connection_id() == 0 => {}
                Action::Kill { query } if is_killed => {
                    outside
                        .kill(session.connection_id(), query)
                        .context("a kill")?;
                }
                Action::Hold(replica) if is_killed => outside.hold(replica)?,
                Action::Release if is_killed => outside.release()?,
                _ => {}
            }
            outcomes.push((Outcome::nothing(), false));
            continue;
        }
        let actions: Vec<_> = batch.iter().map(|(_, step)| &step.action).collect();
        let done = session.run_all(&actions);
        // Fewer than were asked for where one can't be gone on from.
        let is_over = done.len() < batch.len() || done.iter().any(Outcome::is_honest);
        if is_killed && actions.contains(&&Action::Reset) {
            let mut outside = outside.lock().expect("nothing panics with it");
            outside.settle()?;
        }
        let is_pinned = session.is_pinned();
        outcomes.extend(done.into_iter().map(|outcome| (outcome, is_pinned)));
        if is_over {
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
            keeps: Vec::new(),
            ways: Vec::new(),
            prefers: Vec::new(),
            own_tables: mode == Mode::Concurrent,
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

    /// How often replicas were waited for.
    #[derive(Default)]
    struct Waits(usize);

    impl Outside for Waits {
        fn kill(&mut self, _: u32, _: bool) -> Result<()> {
            Ok(())
        }

        fn settle(&mut self) -> Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn hold(&mut self, _: Option<usize>) -> Result<()> {
            Ok(())
        }

        fn release(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn run(program: &Program, tested: Fake) -> Report {
        run_with(program, tested, &mut Waits::default())
    }

    fn run_with(program: &Program, tested: Fake, outside: &mut Waits) -> Report {
        let place = Place {
            kind: Kind::MariaDb,
            apart: Vec::new(),
        };
        let mut expected = Fake::default();
        let mut tested = tested;
        let mut report = Report::default();
        drive(
            program,
            &place,
            &mut tested,
            &mut expected,
            outside,
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

    fn honest() -> (Program, Fake) {
        let fake = Fake {
            fails_at: Some("b"),
            lies_about: Some("later"),
        };
        let steps = [(0, "a"), (1, "b"), (1, "later"), (0, "c")];
        (program(Mode::Concurrent, &steps), fake)
    }

    #[test]
    fn after_an_honest_error_a_handle_at_work_with_others_is_compared_no_more() {
        let (program, fake) = honest();
        let report = run(&program, fake);
        assert!(report.divergence.is_none());
        assert_eq!(report.honest[&("SessionLost", Way::Plain)], 1);
        assert_eq!(report.steps["plain"], 2);
    }

    #[test]
    fn step_by_step_it_begins_anew_on_both_sides() {
        let (program, fake) = honest();
        let program = Program {
            mode: Mode::Sequential,
            ..program
        };
        let report = run(&program, fake);
        assert_eq!(report.divergence.and_then(|found| found.at), Some(2));
        assert_eq!(report.steps["plain"], 1);
    }

    #[test]
    fn what_others_wrote_is_waited_for() {
        let mut program = program(Mode::Sequential, &[(0, "a"), (0, "b"), (1, "c"), (0, "d")]);
        let waits = |program: &Program| {
            let mut outside = Waits::default();
            run_with(program, Fake::default(), &mut outside);
            outside.0
        };
        let count = waits(&program);
        program.steps.remove(1);
        assert_eq!(waits(&program), count);
        program.steps.remove(1);
        assert!(waits(&program) < count);
        program.own_tables = true;
        assert_eq!(waits(&program), 0);
    }
}
