//! What the definition of a view, a trigger, a routine or a column's default does to the session of
//! whoever reaches it.
//!
//! It is judged by its words, without a grammar: what touches a session has to be named there, or
//! is done by something that is named there. Most bodies do neither, and have no facts.
//!
//! # What it doesn't tell
//! - What is behind the names: who asks knows the other definitions.
//! - Which branch is run.
//!
//! An `INSERT` in a trigger or a function, and `LAST_INSERT_ID(…)` there, leave the caller's
//! `LAST_INSERT_ID()` alone, on both servers.

use super::{
    expressions::{CONNECTION_IDS, DIAGNOSTICS, GTIDS, INSERT_IDS, user_variable},
    facts::{Act, Facts, Name},
    functions,
    mentions::name_of,
    pieces::{self, Modes, Piece, Pieces, What, unescaped, unquoted},
    words::{self, Call},
};
use crate::sql::token::hash;

/// Whose definition it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// It is as if its text stood in the statement; both servers print it in their own words.
    View,
    /// The default of a column, or what it is computed from.
    Column,
    /// A trigger, a function, a procedure.
    Routine,
}

/// What a definition does by itself, and whom it may have do something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Body {
    pub facts: Facts,
    /// It sets a system variable as `@@name`, which MariaDB doesn't report.
    pub sets_unscoped: bool,
    /// A routine that writes rows, locks them, or writes files.
    pub writes: bool,
    /// All names in it in lower case: of tables and views, but also of columns and the like.
    pub names: Vec<Name>,
    /// Of them those that it may write to.
    pub written: Vec<Name>,
    pub calls: Vec<Called>,
}

/// What may be a call of a routine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Called {
    /// In lower case.
    pub name: Name,
    /// Where no routine has this name it is a built-in function, or no call at all.
    pub is_known: bool,
}

/// Reads a definition, in all SQL modes that it may have been made in.
pub(crate) fn body(text: &[u8], of: Of) -> Body {
    let mut body = Body::default();
    let mut is_read = false;
    for modes in pieces::modes(text) {
        let Pieces {
            all,
            doubtful,
            refused,
        } = pieces::pieces(text, modes);
        if refused {
            continue;
        }
        is_read = true;
        body.facts.unknown |= doubtful;
        let mut scan = Scan {
            text,
            modes,
            all: &all,
            of,
            updates: Vec::new(),
        };
        scan.updates = scan.updates();
        scan.all(&mut body);
    }
    body.facts.unknown |= !is_read;
    body
}

/// Functions and types of one of the servers, or of some versions: unless a routine has the name,
/// it is one of these. All of them leave the session alone.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    // Types
    "bigint", "bit", "blob", "bool", "boolean", "character", "dec", "enum", "fixed", "int", "integer",
    "longblob", "longtext", "mediumblob", "mediumint", "mediumtext", "national", "number", "numeric",
    "nvarchar", "raw", "real", "set", "smallint", "text", "tinyblob", "tinyint", "tinytext",
    "varchar2", "varying", "vector", "double_precision", "precision",
    // Keywords
    "as", "begin", "close", "columns", "cursor", "do", "elseif", "end", "except", "fetch", "intersect",
    "is", "iterate", "key", "leave", "limit", "loop", "of", "offset", "open", "primary", "return",
    "returns", "row", "rows", "select", "set", "some", "table", "then", "to", "unique", "until", "use",
    "value", "values", "while", "window", "foreign", "references", "call", "force", "ignore", "update",
    "lateral", "signal", "member", "array", "within", "group", "order", "default", "distinctrow",
    // Functions
    "any_value", "add_months", "area", "asbinary", "astext", "aswkb", "aswkt", "bin_to_uuid",
    "buffer", "centroid", "chr", "column_add", "column_check", "column_create",
    "column_delete", "column_exists", "column_get", "column_json", "column_list", "contains",
    "convexhull", "crc32c", "crosses", "current_role", "cume_dist", "decode", "decode_histogram",
    "decode_oracle", "dense_rank", "des_decrypt", "des_encrypt", "dimension", "disjoint",
    "distance_sphere", "encode", "encrypt", "endpoint", "envelope", "equals", "exteriorring",
    "first_value", "format_bytes", "format_pico_time", "geometrycollection", "geometryn",
    "geometrytype", "glength", "grouping", "interiorringn", "intersects", "is_free_lock",
    "is_used_lock", "is_uuid", "isclosed", "isempty", "issimple", "json_array_intersect",
    "json_compact", "json_detailed", "json_equals", "json_exists", "json_key_value", "json_loose",
    "json_merge", "json_normalize", "json_object_filter_keys", "json_object_to_array", "json_overlaps",
    "json_pretty", "json_query", "json_schema_valid", "json_schema_validation_report",
    "json_storage_free", "json_storage_size", "json_table", "json_unquote", "json_value", "kdf", "lag",
    "last_value", "lead", "lengthb", "linestring", "load_file", "lpad_oracle",
    "ltrim_oracle", "master_gtid_wait", "master_pos_wait", "mbrcoveredby", "mbrcovers", "mbrequal",
    "mbrequals", "md5", "median", "mult", "multilinestring", "multipoint", "multipolygon",
    "name_const", "natural_sort_key", "nth_value", "ntile", "numgeometries", "numinteriorrings",
    "numpoints", "nvl", "nvl2", "old_password", "overlaps", "password", "percent_rank",
    "percentile_cont", "percentile_disc", "point", "pointfromtext", "pointn", "polygon",
    "random_bytes", "rank", "regexp_instr", "regexp_like", "regexp_replace",
    "regexp_substr", "replace_oracle", "roles_graphml", "row_number", "rpad_oracle", "rtrim_oracle",
    "sformat", "sha", "sha1", "source_pos_wait", "srid", "st_boundary", "st_collect",
    "st_frechetdistance", "st_geohash", "st_hausdorffdistance", "st_isring", "st_isvalid",
    "st_latfromgeohash", "st_latitude", "st_lineinterpolatepoint", "st_lineinterpolatepoints",
    "st_linefromtext", "st_linefromwkb", "st_linestringfromtext", "st_longfromgeohash", "st_longitude",
    "st_makeenvelope", "st_mlinefromtext", "st_mpointfromtext", "st_mpolyfromtext",
    "st_geometryfromtext", "st_geomfromwkb", "st_pointatdistance", "st_pointfromgeohash",
    "st_pointfromwkb", "st_pointonsurface", "st_polyfromtext", "st_polyfromwkb", "st_polygonfromtext",
    "st_relate", "st_simplify", "st_swapxy", "st_transform", "st_validate", "startpoint",
    "statement_digest", "statement_digest_text", "substr_oracle", "sys_guid", "to_char", "to_date",
    "to_number", "touches", "trim_oracle", "trunc", "uuid_to_bin", "uuid_v4", "uuid_v7",
    "validate_password_strength", "vec_distance", "vec_distance_cosine", "vec_distance_euclidean",
    "vec_fromtext", "vec_totext", "wait_for_executed_gtid_set", "wsrep_last_seen_gtid",
    "wsrep_last_written_gtid", "wsrep_sync_wait_upto", "x", "y",
];

/// What stands before the table of an `INSERT`.
const BEFORE_TARGET: &[&str] = &[
    "INTO",
    "INSERT",
    "REPLACE",
    "IGNORE",
    "DELAYED",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
];

/// What has columns behind its name, and is no call.
const BEFORE_COLUMNS: &[&str] = &[
    "INTO",
    "AS",
    "TABLE",
    "INSERT",
    "REPLACE",
    "IGNORE",
    "INDEX",
    "KEY",
    "WITH",
    "RECURSIVE",
    "JOIN",
];

struct Scan<'a> {
    text: &'a [u8],
    modes: Modes,
    all: &'a [Piece],
    of: Of,
    /// Of each piece whether its statement updates or deletes.
    updates: Vec<bool>,
}

impl<'a> Scan<'a> {
    fn all(&self, body: &mut Body) {
        for (at, piece) in self.all.iter().enumerate() {
            match piece.what {
                What::UserVariable => {
                    body.facts.reads_user_variables = true;
                    // Who calls has it set nowhere else. One that is only read may be NULL from then on.
                    body.facts.other_user_variables = true;
                    if let Some(name) = user_variable(self.text(at)) {
                        body.facts.mention(name);
                    }
                    body.facts.sets_user_variables |= self.sets_user_variable(at);
                }
                What::AtAt => self.system_variable(at, body),
                What::Word | What::Name => {
                    self.name(at, body);
                    if piece.what == What::Word && !self.is_behind_dot(at) {
                        self.word(at, body);
                    }
                    if self.what(at + 1) == Some(What::Open) {
                        self.open(at, body);
                    }
                }
                _ => {}
            }
        }
    }

    fn what(&self, at: usize) -> Option<What> {
        self.all.get(at).map(|piece| piece.what)
    }

    fn text(&self, at: usize) -> &'a [u8] {
        let piece = self.all.get(at);
        piece.map_or(&[], |piece| &self.text[piece.start..piece.end])
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.what(at) == Some(What::Word) && self.text(at).eq_ignore_ascii_case(word.as_bytes())
    }

    fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn is_before(&self, at: usize, words: &[&str]) -> bool {
        at > 0 && self.is_any(at - 1, words)
    }

    fn is_behind_dot(&self, at: usize) -> bool {
        at > 0 && self.what(at - 1) == Some(What::Dot)
    }

    fn is_equals(&self, at: usize) -> bool {
        self.what(at) == Some(What::Assign) || self.text(at) == b"="
    }

    /// By `:=`, `INTO`, `SET`, as a condition's item, or as an argument of a procedure.
    fn sets_user_variable(&self, at: usize) -> bool {
        if self.what(at + 1) == Some(What::Assign) {
            return true;
        }
        let begin = (0..at).rev();
        let begin = begin
            .take_while(|at| self.what(*at) != Some(What::Semicolon))
            .last();
        let begin = begin.unwrap_or(at);
        let has = |words: &[&str]| (begin..at).any(|at| self.is_any(at, words));
        let is_target = self.is_equals(at + 1) && has(&["SET", "DIAGNOSTICS"]);
        is_target || has(&["INTO", "CALL"])
    }

    /// At `@@`.
    fn system_variable(&self, at: usize, body: &mut Body) {
        let mut name = at + 1;
        let is_scoped = self.what(name + 1) == Some(What::Dot);
        let is_global = self.is_any(name, &["GLOBAL", "PERSIST", "PERSIST_ONLY"]);
        if is_scoped {
            name += 2;
        }
        let text = unquoted(self.text(name)).to_ascii_lowercase();
        let is = |names: &[&[u8]]| names.contains(&text.as_slice());
        let facts = &mut body.facts;
        facts.needs_insert_id |= is(INSERT_IDS);
        facts.needs_diagnostics |= is(DIAGNOSTICS) && self.of != Of::Routine;
        facts.needs_gtid |= is(GTIDS);
        facts.needs_connection_id |= is(CONNECTION_IDS);
        if !self.is_equals(name + 1) {
            return;
        }
        match is_global {
            true => facts.sets_global = true,
            false => {
                add(facts, Act::SetVariables);
                body.sets_unscoped |= !is_scoped;
            }
        }
    }

    fn name(&self, at: usize, body: &mut Body) {
        let name = name_of(self.text(at));
        let has_schema = self.is_behind_dot(at) && at > 1 && self.is_name(at - 2);
        let schema = has_schema.then(|| name_of(self.text(at - 2)));
        if self.what(at + 1) == Some(What::Dot) && !self.is_behind_dot(at) {
            body.facts.needs_insert_id |=
                words::is_of_sessions(&name, &unquoted(self.text(at + 2)));
        }
        let name = Name { schema, name };
        let first = if has_schema { at - 2 } else { at };
        let is_written = self.of == Of::View
            || self.is_before(first, BEFORE_TARGET)
            || self.updates.get(at) == Some(&true);
        if is_written && !body.written.contains(&name) {
            body.written.push(name.clone());
        }
        if !body.names.contains(&name) {
            body.names.push(name);
        }
    }

    fn updates(&self) -> Vec<bool> {
        let mut updates = Vec::with_capacity(self.all.len());
        let statements = self.all.split_inclusive(|p| p.what == What::Semicolon);
        for statement in statements {
            let all = updates.len()..updates.len() + statement.len();
            // `FOR UPDATE` locks, `ON DUPLICATE KEY UPDATE` is an insert's.
            let is_update = |at| self.is(at, "UPDATE") && !self.is_before(at, &["FOR", "KEY"]);
            let is_so = all.clone().any(|at| is_update(at) || self.is(at, "DELETE"));
            updates.extend(all.map(|_| is_so));
        }
        updates
    }

    fn is_name(&self, at: usize) -> bool {
        matches!(self.what(at), Some(What::Word | What::Name))
    }

    fn word(&self, at: usize, body: &mut Body) {
        body.writes |= self.of == Of::Routine && self.writes(at);
        let facts = &mut body.facts;
        let is_first = self.is_first(at);
        if self.is(at, "SET") {
            facts.sets_role |= self.is(at + 1, "ROLE");
            facts.unknown |= self.is(at + 1, "RESOURCE") || self.is(at + 1, "STATEMENT");
            facts.sets_global |= self.is_any(at + 1, &["GLOBAL", "PERSIST", "PERSIST_ONLY"]);
        }
        let is_scope = self.is_any(at, &["SESSION", "LOCAL"])
            && (self.is_before(at, &["SET"]) || at > 0 && self.what(at - 1) == Some(What::Comma));
        if is_scope && self.is_name(at + 1) || self.sets_plain_variable(at) {
            add(facts, Act::SetVariables);
        }
        let runs_text = self.is_any(
            at,
            &["PREPARE", "EXECUTE", "DEALLOCATE", "HANDLER", "BINLOG"],
        );
        facts.unknown |= is_first && runs_text || self.is(at, "TEMPORARY");
        let is_value = self.is(at + 1, "VALUE") && self.is(at + 2, "FOR");
        facts.uses_sequence |= is_value && self.is_any(at, &["NEXT", "PREVIOUS"]);
        facts.counts_found_rows |= self.is(at, "SQL_CALC_FOUND_ROWS") && self.of != Of::Routine;
        facts.needs_diagnostics |=
            self.is(at, "DIAGNOSTICS") && !self.has_statement_before(at, None);
        if self.is(at, "CALL") {
            self.call_of_procedure(at + 1, body);
        }
    }

    fn is_first(&self, at: usize) -> bool {
        at == 0
            || self.what(at - 1) == Some(What::Semicolon)
            || self.is_before(at, &["BEGIN", "THEN", "ELSE", "DO", "LOOP", "REPEAT"])
    }

    /// `SET name = …`, of a name that nothing declares there.
    fn sets_plain_variable(&self, at: usize) -> bool {
        let is_item =
            self.is_before(at, &["SET"]) || at > 0 && self.what(at - 1) == Some(What::Comma);
        if !is_item || !self.is_name(at) || !self.is_equals(at + 1) {
            return false;
        }
        let mut before = (0..at).rev();
        let of_one =
            before.find(|at| self.what(*at) == Some(What::Semicolon) || self.is(*at, "SET"));
        // Else it is a column's, of an `UPDATE`.
        let is_set = of_one.is_some_and(|at| self.is(at, "SET") && self.is_first(at));
        is_set && !self.is_declared(self.text(at))
    }

    fn is_declared(&self, name: &[u8]) -> bool {
        let mut within = false;
        (0..self.all.len()).any(|at| {
            within |= self.is(at, "DECLARE");
            within &= self.what(at) != Some(What::Semicolon);
            within && self.text(at).eq_ignore_ascii_case(name)
        })
    }

    /// A statement that does, or a read that locks. `REPLACE(…)` and `INSERT(…)` are functions.
    fn writes(&self, at: usize) -> bool {
        let is_function = self.what(at + 1) == Some(What::Open);
        self.is_any(
            at,
            &["UPDATE", "DELETE", "LOCK", "SHARE", "OUTFILE", "DUMPFILE"],
        ) || self.is_any(at, &["INSERT", "REPLACE", "LOAD"]) && !is_function
    }

    /// Behind `CALL`: parentheses need not follow.
    fn call_of_procedure(&self, at: usize, body: &mut Body) {
        let last = match self.what(at + 1) {
            Some(What::Dot) => at + 2,
            _ => at,
        };
        if self.is_name(last) {
            body.call(self.full_name(last), false);
        }
    }

    fn full_name(&self, at: usize) -> Name {
        let schema = (self.is_behind_dot(at) && at > 1).then(|| name_of(self.text(at - 2)));
        let name = name_of(self.text(at));
        Name { schema, name }
    }

    /// A name with a parenthesis behind it.
    fn open(&self, at: usize, body: &mut Body) {
        let first = match self.is_behind_dot(at) && at > 1 {
            true => at - 2,
            false => at,
        };
        if self.is_before(first, &["CALL"]) {
            return;
        }
        let full = self.full_name(at);
        let is_sequence = self.is_any(at, &["NEXTVAL", "LASTVAL", "SETVAL"]);
        if self.what(at) == Some(What::Name) || full.schema.is_some() {
            // The columns of a table, or of what has a name here.
            let is_table = self.is_before(first, BEFORE_COLUMNS) || self.is_alias(at + 1);
            if !is_table {
                body.call(full, false);
            }
            return;
        }
        let word = words::find(&full.name, hash(&full.name));
        if matches!(word.call, Call::Builtin | Call::Keyword) {
            return;
        }
        if !is_sequence && self.touches(&full.name, at, body) {
            return;
        }
        body.facts.uses_sequence |= is_sequence;
        let is_table = self.is_before(first, BEFORE_COLUMNS) || self.is_alias(at + 1);
        // The servers put a stored function's name in quotes.
        let is_printed = self.of != Of::Routine;
        let is_known = is_table
            || is_sequence
            || is_printed
            || word.call != Call::Unknown
            || is_other(&full.name);
        body.call(full, is_known);
    }

    /// `(…) AS (`: a common table expression's columns.
    fn is_alias(&self, open: usize) -> bool {
        let mut depth = 0usize;
        for at in open..self.all.len() {
            match self.what(at) {
                Some(What::Open) => depth += 1,
                Some(What::Close) if depth <= 1 => {
                    return self.is(at + 1, "AS") && self.what(at + 2) == Some(What::Open);
                }
                Some(What::Close) => depth -= 1,
                _ => {}
            }
        }
        false
    }

    /// A built-in function that touches the session. Whether it is one.
    fn touches(&self, name: &[u8], at: usize, body: &mut Body) -> bool {
        let facts = &mut body.facts;
        let is_empty = self.what(at + 2) == Some(What::Close);
        match name {
            b"last_insert_id" if is_empty => facts.needs_insert_id = true,
            b"last_insert_id" => facts.sets_insert_id |= self.of != Of::Routine,
            b"row_count" => {
                let own = ["INSERT", "UPDATE", "DELETE", "REPLACE"];
                facts.needs_row_count |= !self.has_statement_before(at, Some(&own));
            }
            b"found_rows" => {
                facts.needs_found_rows |= !self.has_statement_before(at, Some(&["SELECT", "INTO"]));
            }
            b"connection_id" | b"ps_current_thread_id" | b"ps_thread_id" => {
                facts.needs_connection_id = true;
            }
            b"get_lock" => add(facts, Act::TakeLock(self.lock(at + 2, What::Comma))),
            b"release_lock" => add(facts, Act::ReleaseLock(self.lock(at + 2, What::Close))),
            b"release_all_locks" => add(facts, Act::ReleaseAllLocks),
            // An XPath may name them.
            b"extractvalue" | b"updatexml" => {
                facts.reads_user_variables = true;
                facts.other_user_variables = true;
            }
            _ => return false,
        }
        true
    }

    /// A statement of the body's own stands before this one: what that left is found here.
    fn has_statement_before(&self, at: usize, verbs: Option<&[&str]>) -> bool {
        if self.of != Of::Routine {
            return false;
        }
        let Some(end) = (0..at).rfind(|at| self.what(*at) == Some(What::Semicolon)) else {
            return false;
        };
        let any = [
            "INSERT", "UPDATE", "DELETE", "REPLACE", "SELECT", "HANDLER", "CALL", "FETCH",
        ];
        let verbs = verbs.unwrap_or(&any);
        (0..end).any(|at| self.is_any(at, verbs) && self.what(at + 1) != Some(What::Open))
    }

    fn lock(&self, at: usize, behind: What) -> Option<Vec<u8>> {
        let is_plain = self.what(at) == Some(What::Text) && self.what(at + 1) == Some(behind);
        let name = is_plain.then(|| unescaped(self.text(at), self.modes));
        name.filter(|name| name.is_ascii())
    }
}

impl Body {
    /// Of what can't be seen.
    pub(crate) fn unknown() -> Body {
        Body {
            facts: Facts::unknown(),
            ..Body::default()
        }
    }

    fn call(&mut self, name: Name, is_known: bool) {
        match self.calls.iter_mut().find(|call| call.name == name) {
            Some(call) => call.is_known &= is_known,
            None => self.calls.push(Called { name, is_known }),
        }
    }
}

fn add(facts: &mut Facts, act: Act) {
    if !facts.acts.contains(&act) {
        facts.acts.push(act);
    }
}

fn is_other(name: &[u8]) -> bool {
    OTHERS.iter().any(|other| other.as_bytes() == name)
        || functions::BUILTIN.iter().any(|f| f.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routine(text: &str) -> Body {
        body(text.as_bytes(), Of::Routine)
    }

    /// Nothing is called that isn't built in.
    fn is_harmless(text: &str) -> bool {
        let body = routine(text);
        body.facts == Facts::default() && body.calls.iter().all(|call| call.is_known)
    }

    #[test]
    fn most_triggers_are_harmless() {
        for text in [
            "SET NEW.v = NEW.v + 1",
            "SET NEW.v = UPPER(TRIM(NEW.v)), NEW.changed = NOW()",
            "INSERT INTO audit (a, b) VALUES (OLD.a, NEW.b)",
            "INSERT INTO `log`.`audit` (a) VALUES (MD5(CONCAT(NEW.a, 'x@y')))",
            "BEGIN IF NEW.v < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END",
            "BEGIN DECLARE n DECIMAL(10, 2) DEFAULT 0; DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; \
             SELECT COUNT(*) INTO n FROM t WHERE a IN (1, 2); SET n := n + 1; \
             WHILE (n < 5) DO SET n = n + 1; END WHILE; END",
            "BEGIN UPDATE t SET a = 1; IF ROW_COUNT() = 0 THEN INSERT INTO t VALUES (1); END IF; END",
            "all_of: BEGIN IF JSON_VALID(NEW.j) THEN LEAVE all_of; END IF; END all_of",
            "BEGIN INSERT INTO t (a) VALUES (LAST_INSERT_ID(7)); END",
            "WITH c (a) AS (SELECT 1) SELECT a INTO v FROM c",
        ] {
            assert!(is_harmless(text), "{text}: {:?}", routine(text));
        }
    }

    #[test]
    fn what_touches_the_session_is_found() {
        let facts = |text| routine(text).facts;
        assert_eq!(*facts("SET NEW.v = @`X`").user_variables, ["x".into()]);
        assert!(facts("SELECT NEW.v INTO @x").sets_user_variables);
        assert!(facts("SELECT NEW.v, 2 INTO v, @x").sets_user_variables);
        assert!(facts("SET NEW.v = (@x := 1)").sets_user_variables);
        assert!(facts("BEGIN SET @x = 1; END").sets_user_variables);
        assert!(facts("CALL p(@x)").sets_user_variables);
        let reads = facts("BEGIN SET v = 1; IF @x = 1 THEN SET NEW.v = 2; END IF; END");
        assert!(reads.reads_user_variables && !reads.sets_user_variables);
        assert!(facts("SET NEW.v = LAST_INSERT_ID()").needs_insert_id);
        assert!(facts("SET NEW.v = @@SESSION.identity").needs_insert_id);
        assert!(facts("SET NEW.v = ROW_COUNT()").needs_row_count);
        assert!(facts("SET NEW.v = CONNECTION_ID ( )").needs_connection_id);
        assert!(facts("SET NEW.v = NEXT VALUE FOR s").uses_sequence);
        assert!(facts("SET NEW.v = NEXTVAL(s)").uses_sequence);
        assert!(facts("SET ROLE r").sets_role);
        assert_eq!(
            facts("DO GET_LOCK('a', 0)").acts,
            [Act::TakeLock(Some(b"a".to_vec()))]
        );
        let set = routine("SET @@time_zone = '+01:00'");
        assert!(set.sets_unscoped && set.facts.acts == [Act::SetVariables]);
        assert!(!routine("SET SESSION time_zone = '+01:00'").sets_unscoped);
        let view = body(b"select last_insert_id(7) AS `a`", Of::View);
        assert!(view.facts.sets_insert_id && view.calls.is_empty());
    }

    #[test]
    fn what_is_called_has_to_be_known() {
        let unknown = |text| {
            let calls = routine(text).calls;
            let calls = calls.into_iter().filter(|call| !call.is_known);
            calls.map(|call| call.name).collect::<Vec<_>>()
        };
        let name = |schema: Option<&str>, name: &str| Name {
            schema: schema.map(|s| s.as_bytes().to_vec()),
            name: name.as_bytes().to_vec(),
        };
        assert_eq!(unknown("SET NEW.v = F(1)"), [name(None, "f")]);
        assert_eq!(unknown("SET NEW.v = `upper`(1)"), [name(None, "upper")]);
        assert_eq!(unknown("SET NEW.v = s.f(1)"), [name(Some("s"), "f")]);
        assert_eq!(unknown("CALL p"), [name(None, "p")]);
        assert_eq!(unknown("CALL s.p(1)"), [name(Some("s"), "p")]);
        let view = body(
            b"select `f`() AS `a`,`s`.`g`() AS `b`,uuid_v9() AS `c`",
            Of::View,
        );
        let calls: Vec<_> = view.calls.iter().filter(|c| !c.is_known).collect();
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn what_is_written_to_is_known() {
        let written = |text| {
            let written = routine(text).written.into_iter();
            let names = written.map(|name| String::from_utf8(name.name).unwrap());
            names.collect::<Vec<_>>()
        };
        let has = |text, name: &str| written(text).contains(&name.to_owned());
        for text in [
            "INSERT INTO s.t SELECT a FROM u",
            "BEGIN REPLACE t VALUES (1); SELECT a FROM u; END",
            "INSERT IGNORE t SELECT a FROM u ON DUPLICATE KEY UPDATE a = 1",
        ] {
            assert!(has(text, "t") && !has(text, "u"), "{text}");
        }
        assert!(!has("SELECT a FROM u FOR UPDATE", "u"));
        assert!(has("UPDATE a JOIN b SET x = 1", "b"));
        assert!(has("DELETE a FROM a JOIN b", "a"));
    }

    #[test]
    fn a_routine_that_writes_is_known() {
        for text in [
            "BEGIN INSERT INTO t VALUES (1); RETURN 1; END",
            "BEGIN IF v THEN REPLACE t VALUES (1); END IF; RETURN 1; END",
            "BEGIN DELETE FROM t; RETURN 1; END",
            "RETURN (SELECT v FROM t FOR UPDATE)",
            "RETURN (SELECT v FROM t LOCK IN SHARE MODE)",
        ] {
            assert!(routine(text).writes, "{text}");
        }
        for text in [
            "RETURN REPLACE(v, 'update', INSERT('a', 1, 1, 'b'))",
            "BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM `update`; RETURN n; END",
        ] {
            assert!(!routine(text).writes, "{text}");
        }
    }

    #[test]
    fn names_have_their_schema() {
        let names = body(b"select `s`.`T`.`a` AS `a` from `s`.`T`", Of::View).names;
        let has = |schema: &[u8], name: &[u8]| {
            names
                .iter()
                .any(|n| n.schema.as_deref() == Some(schema) && n.name == name)
        };
        assert!(has(b"s", b"t"));
    }
}
