//! What a program is: who does what in which order, and how one comes out of a seed.

use std::{collections::VecDeque, fmt, time::Duration};

use mysql_mux::Prefer;

use crate::{
    server::Kind,
    template::{Template, expand},
    topics::{self, TOPICS, Topic},
    way::Way,
};

/// How a program's steps meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One after the other, mostly on tables that handles share.
    Sequential,
    /// Each handle in a thread, on tables of its own.
    Concurrent,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Sequential => "sequential",
            Mode::Concurrent => "concurrent",
        }
    }
}

/// A value for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    Null,
    Int(i64),
    Double(f64),
    Text(String),
}

/// What a handle does in a step. Text holds `{db}` and the like; see [`crate::server::Names`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends text (`COM_QUERY`).
    Query(String),
    /// Prepares text into a slot.
    Prepare(u8, String),
    /// Executes what is in a slot.
    Execute(u8, Vec<Param>),
    /// Closes what is in a slot.
    Close(u8),
    /// Prepares and executes at once.
    Run(String, Vec<Param>),
    /// Changes the schema (`COM_INIT_DB`).
    SelectDb(String),
    Ping,
    Reset,
    /// Somebody kills the connection, or what runs on it.
    Kill {
        query: bool,
    },
    /// Replicas, all or one, do nothing of what the primary does.
    Hold(Option<usize>),
    /// They go on.
    Release,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Query(sql) => write!(f, "{sql}"),
            Action::Prepare(slot, sql) => write!(f, "prepare #{slot}: {sql}"),
            Action::Execute(slot, params) => write!(f, "execute #{slot} with {params:?}"),
            Action::Close(slot) => write!(f, "close #{slot}"),
            Action::Run(sql, params) => write!(f, "prepare and execute: {sql} with {params:?}"),
            Action::SelectDb(name) => write!(f, "select_db {name}"),
            Action::Ping => write!(f, "ping"),
            Action::Reset => write!(f, "reset"),
            Action::Kill { query: false } => write!(f, "(its connection is killed)"),
            Action::Kill { query: true } => write!(f, "(its connection gets a KILL QUERY)"),
            Action::Hold(None) => write!(f, "(the replicas stand still)"),
            Action::Hold(Some(replica)) => write!(f, "(replica {replica} stands still)"),
            Action::Release => write!(f, "(the replicas go on)"),
        }
    }
}

impl Action {
    /// It is one of those that go into a pipeline together.
    pub fn is_piped(&self) -> bool {
        matches!(self, Action::Query(_) | Action::Execute(..))
    }

    /// It may ask for what the statement before it left, but for its insert id.
    fn asks_for_diagnostics(&self) -> bool {
        const WORDS: [&str; 6] = [
            "WARNING",
            "ERROR",
            "FOUND_ROWS",
            "ROW_COUNT",
            "DIAGNOSTICS",
            "RESIGNAL",
        ];
        let text = self.to_string().to_uppercase();
        WORDS.iter().any(|word| text.contains(word))
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub handle: usize,
    pub topic: &'static str,
    pub action: Action,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    pub seed: u64,
    pub mode: Mode,
    pub handles: usize,
    /// Links beside those that handles may keep to themselves.
    pub links: usize,
    /// Which handles may keep a link to themselves.
    pub may_pin: Vec<bool>,
    /// Which of these keep what each statement leaves: those that ask for it. That alone keeps a link, so that of
    /// the others it shows whether they keep one for what they hold.
    pub keeps: Vec<bool>,
    /// How each handle under test sends.
    pub ways: Vec<Way>,
    /// Where each handle's reads go, where there are replicas.
    pub prefers: Vec<Prefer>,
    /// Each handle has tables of its own, and so sees nothing of what others write.
    pub own_tables: bool,
    pub steps: Vec<Step>,
}

/// What the user fixes of a program; the rest comes out of the seed.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub handles: Option<usize>,
    pub links: Option<usize>,
    pub steps: usize,
    /// Empty: all.
    pub topics: Vec<String>,
    /// No step kills a connection.
    pub no_kills: bool,
    /// Of which each handle has one; empty: all.
    pub ways: Vec<Way>,
    /// There are replicas.
    pub replicas: bool,
}

/// Sets of tables that handles of a sequential program share.
const SETS: usize = 3;

impl Program {
    /// The program of a seed.
    pub fn generate(seed: u64, mode: Mode, kind: Kind, shape: &Shape) -> Program {
        // What the shape fixes must not change what comes out of the seed for the rest.
        let mut outer = fastrand::Rng::with_seed(seed ^ 0x5eed_0f5a_fe00_d1ff);
        let usual = match mode {
            // Mostly few handles, where much happens between them.
            Mode::Sequential => [2, 3, 3, 4, 5, 6, 8, 12, 20, 32][outer.usize(..10)],
            Mode::Concurrent => [2, 3, 4, 4, 6, 8][outer.usize(..6)],
        };
        let links = outer.usize(1..=4);
        let own_tables = mode == Mode::Concurrent || shape.replicas && outer.bool();
        let usual = match own_tables {
            // Each has all that there is.
            true => usual.min(8),
            false => usual,
        };
        let handles = shape.handles.unwrap_or(usual).max(1);
        let links = shape.links.unwrap_or(links).max(1);

        // Nor does how statements are sent change which they are.
        let mut sending = fastrand::Rng::with_seed(seed ^ 0x0a11_0f7e_3aa7_5000);
        let choice = match shape.ways.is_empty() {
            true => &Way::ALL[..],
            false => &shape.ways,
        };
        let ways = (0..handles)
            .filter_map(|_| weighted(&mut sending, choice, |way| way.weight()).copied())
            .collect();

        let prefers = (0..handles)
            .map(|_| match sending.u32(..4) {
                0 => Prefer::Any,
                _ => Prefer::Replica,
            })
            .collect();

        let is_fit = |template: &&Template| {
            let is_apart = shape.replicas && topics::parts_servers(template.2);
            template.1.is_for(kind) && !is_apart
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let may_pin: Vec<bool> = (0..handles).map(|_| rng.u32(..10) < 4).collect();
        let topics: Vec<&Topic> = TOPICS
            .iter()
            .filter(|topic| {
                shape.topics.is_empty() || shape.topics.iter().any(|name| name == topic.name)
            })
            .filter(|topic| topic.templates.iter().any(|template| is_fit(&template)))
            .filter(|topic| !(shape.no_kills && topic.name == "outside"))
            .filter(|topic| shape.replicas || topic.name != "replicas")
            .collect();
        let mut ahead = vec![VecDeque::<(&'static str, Action)>::new(); handles];
        let mut steps = Vec::with_capacity(shape.steps);
        let wanted = match mode {
            Mode::Sequential => shape.steps,
            Mode::Concurrent => shape.steps * handles / 2,
        };
        // What a connection's first statement finds of those before it is its client's.
        for handle in 0..handles {
            steps.push(Step {
                handle,
                topic: "plain",
                action: Action::Query("SELECT 1".into()),
            });
        }
        let wanted = wanted + handles;
        let mut misses = 0;
        while steps.len() < wanted && misses < 1000 {
            let handle = rng.usize(..handles);
            if ahead[handle].is_empty() {
                let fits: Vec<_> = topics
                    .iter()
                    .filter(|topic| may_pin[handle] || !topic.pins)
                    .collect();
                let Some(topic) = weighted(&mut rng, &fits, |topic| topic.weight) else {
                    misses += 1;
                    continue;
                };
                let templates: Vec<_> = topic.templates.iter().filter(is_fit).collect();
                let Some(template) = weighted(&mut rng, &templates, |template| template.0) else {
                    misses += 1;
                    continue;
                };
                let suffix = match own_tables {
                    true => format!("_h{handle}"),
                    false if rng.u32(..10) == 0 => format!("_s{}", rng.usize(..SETS)),
                    false => format!("_s{}", handle % SETS),
                };
                let actions = expand(template.2, &suffix, &mut rng);
                ahead[handle].extend(actions.into_iter().map(|action| (topic.name, action)));
            }
            if let Some((topic, action)) = ahead[handle].pop_front() {
                steps.push(Step {
                    handle,
                    topic,
                    action,
                });
            }
        }
        let keeps = |handle: usize| {
            let mut own = steps.iter().filter(|step| step.handle == handle);
            may_pin[handle] && own.any(|step| step.action.asks_for_diagnostics())
        };
        Program {
            seed,
            mode,
            handles,
            links,
            keeps: (0..handles).map(keeps).collect(),
            may_pin,
            ways,
            prefers,
            own_tables,
            steps,
        }
    }

    /// The suffixes of the sets of tables that it may use.
    pub fn suffixes(&self) -> Vec<String> {
        match self.own_tables {
            false => (0..SETS).map(|set| format!("_s{set}")).collect(),
            true => (0..self.handles).map(|h| format!("_h{h}")).collect(),
        }
    }

    /// For how long what is defined is believed: in every other program it is looked up all the time.
    pub fn definitions_age(&self) -> Duration {
        match self.seed % 2 {
            0 => Duration::from_secs(60),
            _ => Duration::from_millis(50),
        }
    }

    /// The limit of links that leaves each handle that may keep one room to do so.
    pub fn max_links(&self) -> usize {
        self.may_pin.iter().filter(|may| **may).count() + self.links
    }

    pub fn keeps(&self, handle: usize) -> bool {
        self.keeps.get(handle).copied().unwrap_or(false)
    }

    pub fn way(&self, handle: usize) -> Way {
        self.ways.get(handle).copied().unwrap_or(Way::Plain)
    }

    pub fn prefer(&self, handle: usize) -> Prefer {
        self.prefers.get(handle).copied().unwrap_or_default()
    }
}

fn weighted<'a, T>(
    rng: &mut fastrand::Rng,
    items: &'a [T],
    weight: impl Fn(&T) -> u32,
) -> Option<&'a T> {
    let total: u32 = items.iter().map(&weight).sum();
    if total == 0 {
        return None;
    }
    let mut at = rng.u32(..total);
    items.iter().find(|item| {
        let weight = weight(item);
        let found = at < weight;
        at = at.saturating_sub(weight);
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_program() {
        let shape = Shape {
            steps: 200,
            ..Shape::default()
        };
        for mode in [Mode::Sequential, Mode::Concurrent] {
            let one = Program::generate(5, mode, Kind::MariaDb, &shape);
            let other = Program::generate(5, mode, Kind::MariaDb, &shape);
            assert_eq!(one.steps, other.steps);
            let fixed = Shape {
                handles: Some(one.handles),
                links: Some(one.links),
                ..shape.clone()
            };
            let again = Program::generate(5, mode, Kind::MariaDb, &fixed);
            assert_eq!(one.steps, again.steps);
            assert_eq!(one.ways, again.ways);
            assert_eq!(one.ways.len(), one.handles);
            assert!(one.steps.len() >= 200);
            let plain = Shape {
                ways: vec![Way::Plain],
                ..shape.clone()
            };
            let plain = Program::generate(5, mode, Kind::MariaDb, &plain);
            assert_eq!(one.steps, plain.steps);
            assert!(plain.ways.iter().all(|way| *way == Way::Plain));
        }
    }

    #[test]
    fn no_choice_or_parameter_is_left_in_a_text() {
        let shape = Shape {
            steps: 20_000,
            ..Shape::default()
        };
        for kind in [Kind::MariaDb, Kind::MySql] {
            let program = Program::generate(1, Mode::Sequential, kind, &shape);
            for step in program.steps {
                let text = step.action.to_string();
                let text = ["{db}", "{db2}", "{role}"]
                    .iter()
                    .fold(text, |text, name| text.replace(name, ""));
                assert!(!text.contains(['{', '}', '~']), "{text}");
            }
        }
    }
}
