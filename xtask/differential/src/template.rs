//! The small language that the topics' tables are written in.
//!
//! `[a|b]` is one of them (they nest), `{i}` a digit, `{n}` a number, `{s}` a word, `{v}` a user
//! variable, `{tmp}` a temporary table, `{lock}` a lock's name as a literal, `{sp}` a savepoint,
//! `{ps}` a statement of `PREPARE`, `~` the suffix of the tables at hand. A line is a step, and what
//! it does where it is no text to be sent stands behind a `!`; see [`action`]. `{db}`, `{db2}` and
//! `{role}` stay until the step is run.

use crate::{
    program::{Action, Param},
    server::Kind,
};

/// Which servers a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    Any,
    MariaDb,
    MySql,
}

impl Only {
    pub fn is_for(self, kind: Kind) -> bool {
        match self {
            Only::Any => true,
            Only::MariaDb => kind == Kind::MariaDb,
            Only::MySql => kind == Kind::MySql,
        }
    }
}

/// A kind of statement: how often it is chosen, on which servers, and its text.
#[derive(Clone, Copy, Debug)]
pub struct Template(pub u32, pub Only, pub &'static str);

const WORDS: [&str; 10] = [
    "tea",
    "milk",
    "Zebra",
    "éclair",
    "日本",
    "x\\\\y",
    "a''b",
    "",
    "12abc",
    "long long long text",
];

/// The steps that a template comes to.
pub fn expand(text: &str, suffix: &str, rng: &mut fastrand::Rng) -> Vec<Action> {
    let mut text = text.to_owned();
    while let Some(start) = text.rfind('[') {
        let Some(length) = text[start..].find(']') else {
            break;
        };
        let choices: Vec<_> = text[start + 1..start + length].split('|').collect();
        let choice = choices[rng.usize(..choices.len())].to_owned();
        text.replace_range(start..=start + length, &choice);
    }
    let mut parameter = |name: &str, value: &mut dyn FnMut(&mut fastrand::Rng) -> String| {
        while let Some(start) = text.find(name) {
            let value = value(rng);
            text.replace_range(start..start + name.len(), &value);
        }
    };
    parameter("{i}", &mut |rng| rng.u32(0..10).to_string());
    parameter("{n}", &mut |rng| rng.u32(1..1000).to_string());
    parameter("{s}", &mut |rng| WORDS[rng.usize(..WORDS.len())].to_owned());
    parameter("{v}", &mut |rng| format!("@v{}", rng.u32(0..4)));
    parameter("{tmp}", &mut |rng| format!("tmp{}~", rng.u32(0..3)));
    parameter("{lock}", &mut |rng| format!("'{{db}}_l{}~'", rng.u32(0..3)));
    parameter("{sp}", &mut |rng| format!("sp{}", rng.u32(0..3)));
    parameter("{ps}", &mut |rng| format!("ps{}", rng.u32(0..3)));
    let text = text.replace('~', suffix);
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(action)
        .collect()
}

/// A line as what is done: `!prep 0 sql`, `!exec 0 1, 'a'`, `!close 0`, `!run sql <- 1, NULL`,
/// `!db name`, `!ping`, `!reset`, `!kill`, `!killquery`, `!hold`, `!hold 0`, `!release`; anything else is text to
/// be sent.
pub fn action(line: &str) -> Action {
    let Some(line) = line.strip_prefix('!') else {
        return Action::Query(line.to_owned());
    };
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (slot, rest_of_slot) = rest.split_once(' ').unwrap_or((rest, ""));
    let slot = slot.parse().unwrap_or_default();
    match word {
        "prep" => Action::Prepare(slot, rest_of_slot.to_owned()),
        "exec" => Action::Execute(slot, params(rest_of_slot)),
        "close" => Action::Close(slot),
        "run" => {
            let (sql, values) = rest.split_once(" <- ").unwrap_or((rest, ""));
            Action::Run(sql.to_owned(), params(values))
        }
        "db" => Action::SelectDb(rest.to_owned()),
        "ping" => Action::Ping,
        "reset" => Action::Reset,
        "kill" => Action::Kill { query: false },
        "killquery" => Action::Kill { query: true },
        "hold" => Action::Hold(rest.parse().ok()),
        "release" => Action::Release,
        other => panic!("a topic's table has !{other}"),
    }
}

fn params(text: &str) -> Vec<Param> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(|item| match item.parse::<i64>() {
            Ok(number) => Param::Int(number),
            Err(_) if item == "NULL" => Param::Null,
            Err(_) => match item.parse::<f64>() {
                Ok(number) => Param::Double(number),
                Err(_) => Param::Text(item.trim_matches('\'').to_owned()),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_steps() {
        let mut rng = fastrand::Rng::with_seed(1);
        let steps = expand("[A|[A|A]] t~\n!exec 2 7, 'x', NULL", "_1", &mut rng);
        assert_eq!(
            steps,
            [
                Action::Query("A t_1".into()),
                Action::Execute(2, vec![Param::Int(7), Param::Text("x".into()), Param::Null]),
            ]
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        let text = "SELECT {i}, {n}, '{s}', {v}, {tmp}, {lock} FROM [a|b|c]~";
        let one = expand(text, "", &mut fastrand::Rng::with_seed(7));
        let other = expand(text, "", &mut fastrand::Rng::with_seed(7));
        assert_eq!(one, other);
    }
}
