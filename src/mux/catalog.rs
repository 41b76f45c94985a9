//! What a schema's views, triggers and column defaults do to the session of whoever reaches them: by
//! their own definitions, and by those of all that these name. Pure: who loads definitions, and when,
//! is no matter here.
//!
//! Names are compared in lower case, and a name is taken for what it may be: a column that is called
//! as a view counts as that view. What can't be seen (a definition that isn't the account's to see)
//! does nothing; a routine that is called and can't be seen may do anything.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    link::{Definition, Kind, Part},
    sql::{self, Body, Effect, Facts, Name, Of},
};

/// Statements that are remembered to reach nothing that matters.
const PLACES: usize = 1 << 9;

/// Schemas that one schema's definitions may lead to.
const SCHEMAS: usize = 32;

/// The schemas of a server by their names in lower case, with the names as written.
pub(super) type Schemas = HashMap<Vec<u8>, Vec<String>>;

/// A schema, and the role with which it is looked at: others see more, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight<'a> {
    pub schema: &'a str,
    /// For `SET ROLE`; empty: the one that sessions begin with.
    pub role: &'a str,
}

/// What is known of one schema.
pub(super) struct Catalog {
    /// Empty where there is none.
    pub schema: Box<str>,
    /// With which it was looked at; empty: that which sessions begin with.
    pub role: Box<str>,
    /// Views and tables that touch the session; those whose names need quotes also by a part of it.
    entries: HashMap<Vec<u8>, Entry>,
    /// There are names of which nothing could be a part of a word.
    has_odd: bool,
    /// There are names that another character set writes in other bytes.
    has_foreign: bool,
    /// The other schemas.
    schemas: Arc<Schemas>,
    harmless: Box<[AtomicU64; PLACES]>,
    /// Of definitions that this program changed, as far as they were when this was asked for.
    pub generation: u64,
    pub loaded: Instant,
    /// Others may have changed something since.
    old: AtomicBool,
}

/// What reaching a name does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    by_reading: Facts,
    by_writing: Facts,
}

/// What a statement mentions.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub facts: Option<Facts>,
    /// Schemas besides the own one, in lower case.
    pub schemas: Vec<Vec<u8>>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("schema", &self.schema)
            .field(
                "entries",
                &self
                    .entries
                    .keys()
                    .map(|name| String::from_utf8_lossy(name)),
            )
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Of a schema of which nothing can be known.
    pub(super) fn blind(schema: &str, role: &str, generation: u64) -> Catalog {
        Catalog {
            schema: schema.into(),
            role: role.into(),
            entries: HashMap::new(),
            has_odd: false,
            has_foreign: false,
            schemas: Arc::default(),
            harmless: Box::new([const { AtomicU64::new(0) }; PLACES]),
            generation,
            loaded: Instant::now(),
            old: AtomicBool::new(false),
        }
    }

    pub(super) fn sight(&self) -> Sight<'_> {
        Sight {
            schema: &self.schema,
            role: &self.role,
        }
    }

    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    pub(super) fn grow_old(&self) {
        self.old.store(true, Ordering::Relaxed);
    }

    /// Nothing that a statement with this digest mentions touches the session.
    pub(super) fn is_harmless(&self, digest: u64) -> bool {
        self.harmless[digest as usize % PLACES].load(Ordering::Relaxed) == digest && digest != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.schemas.is_empty()
    }

    /// As written.
    pub(super) fn names_of(&self, schema: &[u8]) -> &[String] {
        self.schemas.get(schema).map_or(&[], |names| names)
    }

    /// Looks up what a statement mentions.
    pub(super) fn find(&self, text: &[u8], statement: &sql::Statement) -> Found {
        let own = sql::lower(self.schema.as_bytes());
        let mut found = Found::default();
        let mut seen = Vec::new();
        sql::mentions(text, statement.effect, |name, has_dot| {
            if has_dot && *name != *own && self.schemas.contains_key(name) {
                found.schemas.push(name.to_vec());
            }
            if let Some(entry) = self.entries.get(name) {
                seen.push(entry);
            }
        });
        if self.has_odd && statement.effect == Effect::Other {
            seen.extend(self.entries.values());
        }
        if self.has_foreign && !text.is_ascii() {
            let foreign = self.entries.iter().filter(|(name, _)| !name.is_ascii());
            seen.extend(foreign.map(|(_, entry)| entry));
        }
        found.schemas.sort_unstable();
        found.schemas.dedup();
        let reads = match statement.effect {
            Effect::Read => true,
            Effect::Write => false,
            Effect::Other => !seen.is_empty() && sql::facts(text).reads_only,
        };
        for entry in seen {
            let facts = if reads {
                &entry.by_reading
            } else {
                &entry.by_writing
            };
            if *facts != Facts::default() {
                found.facts.get_or_insert_default().merge(facts);
            }
        }
        let is_harmless = found.facts.is_none() && found.schemas.is_empty();
        if is_harmless && statement.effect != Effect::Other && sql::is_told_by_digest(text) {
            let digest = statement.digest;
            self.harmless[digest as usize % PLACES].store(digest, Ordering::Relaxed);
        }
        found
    }
}

/// Definitions as far as they are loaded, from which a catalog is made.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    mariadb: bool,
    schemas: Arc<Schemas>,
    nodes: HashMap<Kind, Nodes>,
    loaded: HashSet<(Vec<u8>, Part)>,
}

/// By schema and name.
type Nodes = HashMap<Vec<u8>, HashMap<Vec<u8>, Vec<Body>>>;

/// Something that is reached, and whether by writing.
type Step<'a> = (Kind, &'a [u8], &'a [u8], bool);

impl Definitions {
    pub(super) fn new(schemas: Arc<Schemas>, mariadb: bool) -> Definitions {
        Definitions {
            schemas,
            mariadb,
            ..Definitions::default()
        }
    }

    /// What was asked for; a schema by its name in lower case.
    pub(super) fn add(&mut self, schema: &[u8], part: Part, definitions: Vec<Definition>) {
        self.loaded.insert((schema.to_vec(), part));
        for definition in definitions {
            let of = match definition.kind {
                Kind::View => Of::View,
                Kind::Default | Kind::Computed => Of::Column,
                Kind::Trigger | Kind::Routine => Of::Routine,
            };
            let mut body = match (&definition.text, definition.kind) {
                (Some(text), _) => sql::body(text, of),
                (None, Kind::Routine) => Body::unknown(),
                (None, _) => continue,
            };
            body.facts.unknown |= body.sets_unscoped && self.mariadb;
            let nodes = self.nodes.entry(definition.kind).or_default();
            let schema = nodes.entry(schema.to_vec()).or_default();
            schema.entry(definition.name).or_default().push(body);
        }
    }

    /// What has to be loaded yet to tell what the definitions of a schema do.
    pub(super) fn wants(&self, schema: &[u8]) -> Option<(Vec<u8>, Part)> {
        let want = |schema: &[u8], part| {
            let want = (schema.to_vec(), part);
            (!self.loaded.contains(&want)).then_some(want)
        };
        if let Some(want) = want(schema, Part::Tables) {
            return Some(want);
        }
        let mut calls = HashSet::new();
        for (_, home, _, body) in self.bodies() {
            // The one before a point may also be a table.
            let named = body.names.iter().filter_map(|name| name.schema.as_deref());
            for home in named.filter(|home| self.schemas.contains_key(*home)) {
                if self.loaded.len() < 2 * SCHEMAS
                    && let Some(want) = want(home, Part::Tables)
                {
                    return Some(want);
                }
            }
            for call in &body.calls {
                calls.insert(call.name.schema.as_deref().unwrap_or(home));
            }
        }
        let calls = calls
            .into_iter()
            .filter(|home| self.schemas.contains_key(*home) || *home == schema);
        let mut wanted = calls.filter_map(|home| want(home, Part::Routines));
        wanted.next().filter(|_| self.loaded.len() < 2 * SCHEMAS)
    }

    fn bodies(&self) -> impl Iterator<Item = (Kind, &[u8], &[u8], &Body)> {
        self.nodes.iter().flat_map(|(kind, nodes)| {
            nodes.iter().flat_map(move |(schema, names)| {
                names.iter().flat_map(move |(name, bodies)| {
                    let body = move |body| (*kind, schema.as_slice(), name.as_slice(), body);
                    bodies.iter().map(body)
                })
            })
        })
    }

    fn at(&self, kind: Kind, schema: &[u8], name: &[u8]) -> Option<(&[u8], &[u8], &[Body])> {
        let nodes = self.nodes.get(&kind)?;
        let (schema, names) = nodes.get_key_value(schema)?;
        let (name, bodies) = names.get_key_value(name)?;
        Some((schema, name, bodies))
    }

    /// There were too many schemas to look into.
    fn is_unseen(&self, schema: &[u8]) -> bool {
        self.schemas.contains_key(schema) && !self.loaded.contains(&(schema.to_vec(), Part::Tables))
    }

    /// All that a table or view stands for.
    fn reached<'a>(&'a self, schema: &[u8], name: &[u8], writes: bool, to: &mut Vec<Step<'a>>) {
        // Defaults are used by writing only.
        let kinds: &[Kind] = match writes {
            true => &[Kind::View, Kind::Computed, Kind::Trigger, Kind::Default],
            false => &[Kind::View, Kind::Computed],
        };
        for kind in kinds {
            if let Some((schema, name, _)) = self.at(*kind, schema, name) {
                to.push((*kind, schema, name, writes));
            }
        }
    }

    /// What reaching a table or view does, by all that it leads to.
    fn facts(&self, schema: &[u8], name: &[u8], writes: bool) -> Facts {
        let mut facts = Facts::default();
        let mut steps = Vec::new();
        // Who writes is known to.
        let is_read = !writes;
        self.reached(schema, name, writes, &mut steps);
        let mut seen: HashSet<Step<'_>> = HashSet::new();
        while let Some(step) = steps.pop() {
            if !seen.insert(step) {
                continue;
            }
            let (kind, home, name, writes) = step;
            let Some((_, _, bodies)) = self.at(kind, home, name) else {
                continue;
            };
            // A trigger or a routine may write to what it names.
            let writes =
                writes && kind == Kind::View || matches!(kind, Kind::Trigger | Kind::Routine);
            for body in bodies {
                if body.facts != Facts::default() {
                    facts.merge(&body.facts);
                }
                facts.writes |= is_read && body.writes;
                for full in &body.names {
                    let Name { schema, name } = full;
                    let home = schema.as_deref().unwrap_or(home);
                    facts.unknown |= self.is_unseen(home);
                    let writes = writes && body.written.contains(full);
                    self.reached(home, name, writes, &mut steps);
                }
                for call in &body.calls {
                    let home = call.name.schema.as_deref().unwrap_or(home);
                    match self.at(Kind::Routine, home, &call.name.name) {
                        Some((home, name, _)) => steps.push((Kind::Routine, home, name, true)),
                        None => facts.unknown |= !call.is_known,
                    }
                }
            }
        }
        facts
    }

    /// The catalog of a schema, of which everything is loaded.
    pub(super) fn catalog(&self, schema: &str, role: &str, generation: u64) -> Catalog {
        let mut catalog = Catalog::blind(schema, role, generation);
        catalog.schemas = self.schemas.clone();
        let home = sql::lower(schema.as_bytes());
        let bodies = self.bodies();
        let names: HashSet<&[u8]> = bodies
            .filter(|(kind, schema, ..)| *schema == home && *kind != Kind::Routine)
            .map(|(_, _, name, _)| name)
            .collect();
        for name in names {
            let entry = Entry {
                by_reading: self.facts(&home, name, false),
                by_writing: self.facts(&home, name, true),
            };
            if entry == Entry::default() {
                continue;
            }
            let part = sql::part_of(name);
            catalog.has_odd |= part.is_empty();
            catalog.has_foreign |= !name.is_ascii();
            if part != name {
                let by_part = catalog.entries.entry(part).or_default();
                by_part.by_reading.merge(&entry.by_reading);
                by_part.by_writing.merge(&entry.by_writing);
            }
            let by_name = catalog.entries.entry(name.to_vec()).or_default();
            by_name.by_reading.merge(&entry.by_reading);
            by_name.by_writing.merge(&entry.by_writing);
        }
        catalog
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: Kind, name: &str, text: &str) -> Definition {
        let text = (!text.is_empty()).then(|| text.as_bytes().to_vec());
        let name = name.as_bytes().to_vec();
        Definition { kind, name, text }
    }

    fn schemas() -> Arc<Schemas> {
        let names = ["s", "other"];
        let all = names.map(|name| (name.as_bytes().to_vec(), vec![name.to_owned()]));
        Arc::new(all.into_iter().collect())
    }

    fn loaded(all: &[(&str, Kind, &str, &str)]) -> Definitions {
        let mut definitions = Definitions::new(schemas(), true);
        for (part, is_routine) in [(Part::Tables, false), (Part::Routines, true)] {
            for schema in ["s", "other"] {
                let here = all.iter().filter(|(home, kind, ..)| {
                    *home == schema && (*kind == Kind::Routine) == is_routine
                });
                let here = here.map(|(_, kind, name, text)| definition(*kind, name, text));
                definitions.add(schema.as_bytes(), part, here.collect());
            }
        }
        definitions
    }

    fn found(definitions: &Definitions, sql: &str) -> Option<Facts> {
        let catalog = definitions.catalog("s", "", 0);
        let statement = sql::read(sql.as_bytes());
        let found = catalog.find(sql.as_bytes(), &statement);
        let is_plain = found.facts.is_none() && found.schemas.is_empty();
        assert_eq!(
            catalog.is_harmless(statement.digest),
            is_plain && statement.effect != Effect::Other
        );
        found.facts
    }

    #[test]
    fn what_a_view_does_is_done_by_those_over_it() {
        let definitions = loaded(&[
            ("s", Kind::View, "ids", "select last_insert_id() AS `id`"),
            (
                "s",
                Kind::View,
                "over_it",
                "select `ids`.`id` AS `id` from `s`.`ids`",
            ),
            (
                "s",
                Kind::View,
                "plain",
                "select `t`.`a` AS `a` from `s`.`t`",
            ),
        ]);
        assert!(
            found(&definitions, "SELECT * FROM ids")
                .unwrap()
                .needs_insert_id
        );
        assert!(
            found(&definitions, "SELECT * FROM `Over_It`")
                .unwrap()
                .needs_insert_id
        );
        assert_eq!(found(&definitions, "SELECT * FROM plain"), None);
        assert_eq!(found(&definitions, "SELECT 'ids' FROM plain"), None);
        let other = "SET @x = (SELECT id FROM ids)";
        assert!(found(&definitions, other).unwrap().needs_insert_id);
    }

    #[test]
    fn a_trigger_is_of_those_who_write() {
        let definitions = loaded(&[
            (
                "s",
                Kind::Trigger,
                "t",
                "BEGIN SET NEW.a = f(1); INSERT INTO u VALUES (1); END",
            ),
            ("s", Kind::Trigger, "u", "SELECT GET_LOCK('a', 0) INTO v"),
            ("s", Kind::View, "v", "select `t`.`a` AS `a` from `s`.`t`"),
            ("s", Kind::Routine, "f", "RETURN @x"),
        ]);
        assert_eq!(found(&definitions, "SELECT * FROM t"), None);
        assert_eq!(found(&definitions, "SELECT * FROM v"), None);
        for sql in ["INSERT INTO t VALUES (1)", "INSERT INTO v VALUES (1)"] {
            let facts = found(&definitions, sql).unwrap();
            assert!(facts.reads_user_variables && facts.acts.len() == 1, "{sql}");
            assert!(!facts.unknown, "{sql}");
        }
    }

    #[test]
    fn a_view_that_has_something_written_is_no_read() {
        let definitions = loaded(&[
            ("s", Kind::View, "v", "select `f`() AS `a`"),
            ("s", Kind::Routine, "f", "RETURN g()"),
            (
                "s",
                Kind::Routine,
                "g",
                "BEGIN DELETE FROM t; RETURN 1; END",
            ),
            ("s", Kind::View, "w", "select `h`() AS `a`"),
            ("s", Kind::Routine, "h", "RETURN 1"),
            ("s", Kind::Trigger, "t", "INSERT INTO u VALUES (1)"),
        ]);
        assert!(found(&definitions, "SELECT * FROM v").unwrap().writes);
        assert_eq!(found(&definitions, "SELECT * FROM w"), None);
        // The trigger does no more than its statement.
        assert_eq!(found(&definitions, "INSERT INTO t VALUES (1)"), None);
    }

    #[test]
    fn who_calls_what_cannot_be_seen_may_do_anything() {
        let definitions = loaded(&[
            ("s", Kind::View, "a", "select `hidden`() AS `a`"),
            ("s", Kind::View, "b", "select `missing`() AS `a`"),
            ("s", Kind::View, "c", ""),
            ("s", Kind::Routine, "hidden", ""),
        ]);
        assert!(found(&definitions, "SELECT * FROM a").unwrap().unknown);
        assert!(found(&definitions, "SELECT * FROM b").unwrap().unknown);
        assert_eq!(found(&definitions, "SELECT * FROM c"), None);
    }

    #[test]
    fn other_schemas_are_wanted_where_they_are_named() {
        let mut definitions = Definitions::new(schemas(), false);
        assert_eq!(definitions.wants(b"s"), Some((b"s".to_vec(), Part::Tables)));
        let view = "select `x`.`a` AS `a`,`other`.`f`() AS `b` from `other`.`x`";
        definitions.add(b"s", Part::Tables, vec![definition(Kind::View, "v", view)]);
        assert_eq!(
            definitions.wants(b"s"),
            Some((b"other".to_vec(), Part::Tables))
        );
        let ids = definition(Kind::View, "x", "select last_insert_id() AS `a`");
        definitions.add(b"other", Part::Tables, vec![ids]);
        assert_eq!(
            definitions.wants(b"s"),
            Some((b"other".to_vec(), Part::Routines))
        );
        definitions.add(
            b"other",
            Part::Routines,
            vec![definition(Kind::Routine, "f", "RETURN 1")],
        );
        assert_eq!(definitions.wants(b"s"), None);
        let facts = found(&definitions, "SELECT * FROM v").unwrap();
        assert!(facts.needs_insert_id && !facts.unknown);
        let catalog = definitions.catalog("s", "", 0);
        let sql = b"SELECT * FROM other.x";
        assert_eq!(
            catalog.find(sql, &sql::read(sql)).schemas,
            [b"other".to_vec()]
        );
    }

    #[test]
    fn defaults_are_used_by_writing() {
        let definitions = loaded(&[("s", Kind::Default, "t", "nextval(`s`.`q`)")]);
        assert!(
            found(&definitions, "INSERT INTO t () VALUES ()")
                .unwrap()
                .uses_sequence
        );
        assert_eq!(found(&definitions, "SELECT * FROM t"), None);
    }

    #[test]
    fn names_in_other_bytes_may_be_any_of_those() {
        let view = definition(
            Kind::View,
            "\u{e9}t\u{e9}",
            "select last_insert_id() AS `a`",
        );
        let mut definitions = Definitions::new(schemas(), false);
        definitions.add(b"s", Part::Tables, vec![view]);
        let catalog = definitions.catalog("s", "", 0);
        let latin1 = b"SELECT * FROM \xe9t\xe9";
        assert!(catalog.find(latin1, &sql::read(latin1)).facts.is_some());
        let ascii = b"SELECT * FROM ete";
        assert!(catalog.find(ascii, &sql::read(ascii)).facts.is_none());
    }

    #[test]
    fn names_that_need_quotes_are_found_in_any_statement() {
        let definitions = loaded(&[(
            "s",
            Kind::View,
            "my view",
            "select last_insert_id() AS `id`",
        )]);
        assert!(found(&definitions, "SELECT * FROM `my view`").is_some());
        assert!(found(&definitions, "SET @x = (SELECT id FROM `my view`)").is_some());
    }
}
