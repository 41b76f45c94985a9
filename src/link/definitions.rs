//! What a server is asked about the views, triggers, routines and column defaults of a schema. It
//! knows nothing of what they mean. Who asks has the link alone.

use mysql_common::{constants::StatusFlags, value::Value};

use super::{Link, MANY, has_warnings};
use crate::{
    error::{Error, Result},
    proto::{
        command::Command,
        result::{Outcome, Response},
        row,
    },
    session::variables::write_hex,
    sql,
};

/// What has a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    View,
    /// Of a table; there may be several.
    Trigger,
    /// The default of a column of a table.
    Default,
    /// What a column of a table is computed from.
    Computed,
    Routine,
}

/// A definition as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub kind: Kind,
    /// In lower case, as all names here: of the view, of the table, of the routine.
    pub name: Vec<u8>,
    /// `None`: the account may not see it.
    pub text: Option<Vec<u8>>,
}

/// What is asked for of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Views, triggers and columns.
    Tables,
    Routines,
}

/// What is asked for a kind of definitions.
type Question = (Kind, String);

type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// Names and texts come as the bytes of UTF-8, whatever the session's character set; and all of them,
/// whatever its `sql_select_limit`.
const ALL: &str = "LIMIT 18446744073709551615";

/// What a query begins with, on a link whose session is to stay as it is: whatever that has set, MySQL
/// neither refuses nor takes long. To MariaDB the second word is a comment. (`max_join_size` would turn
/// `sql_big_selects` on or off for good.)
const SELECT: &str = "SELECT /*+ SET_VAR(sql_big_selects = 1) \
     SET_VAR(optimizer_search_depth = 62) MAX_EXECUTION_TIME(10000) */";

impl Link {
    /// The schemas that this account sees, as written, but those of the server's own; and what is defined
    /// in one of them, or nothing where it has no name. In one round trip.
    pub(crate) async fn schemas_and_definitions(
        &mut self,
        schema: &str,
    ) -> Result<(Vec<String>, Vec<Definition>)> {
        let mut asked = match schema.is_empty() {
            true => Vec::new(),
            false => questions(schema, Part::Tables, self.server.mariadb),
        };
        let names = "CAST(SCHEMA_NAME AS BINARY) FROM information_schema.SCHEMATA";
        asked.push((Kind::View, format!("{SELECT} {names} {ALL}")));
        let mut rows = self.rows_of(&asked).await?;
        let names = rows.pop().unwrap_or_default();
        let names = names.into_iter().filter_map(|row| row.into_iter().next()?);
        let names = names.filter_map(|name| String::from_utf8(name).ok());
        const OWN: [&str; 4] = ["information_schema", "performance_schema", "sys", "mysql"];
        let is_own = |name: &String| OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
        let names = names.filter(|name| !is_own(name)).collect();
        Ok((names, definitions(&asked, rows)))
    }

    /// What is defined in a schema, as far as this account sees it.
    pub(crate) async fn definitions(
        &mut self,
        schema: &str,
        part: Part,
    ) -> Result<Vec<Definition>> {
        let asked = questions(schema, part, self.server.mariadb);
        let rows = self.rows_of(&asked).await?;
        Ok(definitions(&asked, rows))
    }

    /// The rows of each query, in one round trip.
    async fn rows_of(&mut self, questions: &[Question]) -> Result<Vec<Rows>> {
        let commands = questions
            .iter()
            .map(|(_, sql)| Command::Query(sql.as_bytes()));
        let mut asked: Vec<_> = commands.collect();
        // MySQL would leave a transaction open.
        let is_begun = !self
            .session
            .status
            .contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT)
            && !self.session.in_transaction();
        if is_begun {
            asked.push(Command::Query(b"COMMIT"));
        }
        let what = "looking for views and triggers";
        self.session.is_asked();
        let responses = self.train(&asked, what).await?;
        let session = &mut self.session;
        // MySQL reports the hints as if they stayed.
        let vars = session.vars.clone();
        for response in &responses {
            session.observe_quietly(response);
            if has_warnings(response, false) {
                session.warnings_of = MANY;
            }
        }
        session.vars = vars;
        let mut all = Vec::new();
        for response in responses.into_iter().take(questions.len()) {
            all.push(rows(response)?);
        }
        Ok(all)
    }
}

fn questions(schema: &str, part: Part, mariadb: bool) -> Vec<Question> {
    let is = literal(schema);
    let mut asked = Vec::new();
    let mut ask = |kind, name: &str, text: &str, from: &str, of: &str, only: &str| {
        let sql = format!(
            "{SELECT} CAST({name} AS BINARY), CAST({text} AS BINARY) \
             FROM information_schema.{from} WHERE {of} = {is}{only} {ALL}"
        );
        asked.push((kind, sql));
    };
    if part == Part::Routines {
        let (name, text) = ("ROUTINE_NAME", "ROUTINE_DEFINITION");
        ask(Kind::Routine, name, text, "ROUTINES", "ROUTINE_SCHEMA", "");
        return asked;
    }
    let (name, text) = ("TABLE_NAME", "VIEW_DEFINITION");
    ask(Kind::View, name, text, "VIEWS", "TABLE_SCHEMA", "");
    let (name, text) = ("EVENT_OBJECT_TABLE", "ACTION_STATEMENT");
    let of = "EVENT_OBJECT_SCHEMA";
    ask(Kind::Trigger, name, text, "TRIGGERS", of, "");
    // MySQL allows nothing of the session there but `CONNECTION_ID()`.
    if mariadb {
        let touches = |text: &str| {
            format!(
                "{text} LIKE '%@%' OR {text} LIKE '%connection_id(%' \
                 OR {text} LIKE '%val(%' OR {text} LIKE '%value for%'"
            )
        };
        let [default, computed] = ["COLUMN_DEFAULT", "GENERATION_EXPRESSION"];
        let only = format!(" AND ({} OR {})", touches(default), touches(computed));
        let both = format!("{default} AS BINARY), CAST({computed}");
        let of = "TABLE_SCHEMA";
        ask(Kind::Default, "TABLE_NAME", &both, "COLUMNS", of, &only);
    }
    asked
}

fn definitions(asked: &[Question], answers: Vec<Rows>) -> Vec<Definition> {
    let mut all = Vec::new();
    for ((kind, _), rows) in asked.iter().zip(answers) {
        for row in rows {
            let mut row = row.into_iter();
            let Some(Some(name)) = row.next() else {
                continue;
            };
            // A column has two texts, of which one is none.
            for (text, kind) in row.zip([*kind, Kind::Computed]) {
                all.push(Definition {
                    kind,
                    name: sql::lower(&name),
                    // Both servers show an empty view where they show none.
                    text: text.filter(|text| !text.is_empty()),
                });
            }
        }
    }
    all
}

/// The values of all rows of a text result.
fn rows(mut response: Response) -> Result<Rows> {
    let mut set = match response.outcomes.pop_front() {
        Some(Outcome::Set(set)) => set,
        Some(Outcome::Err(e)) => return Err(e.into()),
        _ => return Ok(Vec::new()),
    };
    let mut all = Vec::new();
    while let Some(row) = set.rows.next_with(|row| row::text(row, &set.columns)) {
        let values = row.map(|row| row.into_iter().map(bytes).collect());
        all.push(values.unwrap_or_default());
    }
    Ok(all)
}

fn bytes(value: Option<Value>) -> Option<Vec<u8>> {
    match value {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// A name as a string, whatever the session's character set and SQL mode.
fn literal(name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$' | b'.');
    if name.bytes().all(is_plain) {
        return format!("'{name}'");
    }
    let mut sql = String::from("CONVERT(");
    write_hex(&mut sql, name.as_bytes());
    sql.push_str(" USING utf8mb4)");
    sql
}

/// The server won't tell, and will not in a moment either.
pub(crate) fn is_refusal(e: &Error) -> bool {
    /// Too big a select, out of memory, lock wait timeout, deadlock, interrupted, too long on MariaDB
    /// and on MySQL: by the session's settings, or by somebody.
    const PASSING: [u16; 8] = [1037, 1038, 1104, 1205, 1213, 1317, 1969, 3024];
    match e {
        Error::MySqlError(e) => !PASSING.contains(&e.code),
        _ => false,
    }
}
