//! The system variables of a session that are not as it began, and the statement that makes those of
//! one session those of another.
//!
//! Both servers report every variable that was set (`session_track_system_variables='*'`), whoever set
//! it, with a value that can be set again. What is reported otherwise, found by trying each variable
//! on MariaDB 10.11 and MySQL 9.7, is in [`kind`].

use std::{fmt::Write, sync::Arc};

use mysql_common::collations::{Collation, CollationId};

/// What the name of a reported variable means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its value can be set on another link.
    Moves,
    /// One of those that `SET NAMES` sets. Not all that changed are reported: they are asked for.
    Names,
    /// What `LAST_INSERT_ID()` gives; the handle follows it by itself.
    InsertId,
    /// What the last transaction was, which MariaDB with a binary log reports behind each one.
    Gtid,
    /// It is no state: MySQL reports the number of each statement.
    Noise,
    /// It can't be read back or set again, or what it did stays when it is set back.
    Stays,
}

/// The names under which [`Variables`] keeps what `SET NAMES` sets. `character_set_connection` follows
/// from the collation. The last two are none: `SET NAMES … COLLATE …` sets the collation of results,
/// too, which only the columns of a result tell, and on MariaDB that of the client, which parameters
/// have (`Item_param` in `sql/item.h`). To set one of the two by its own name is to set its character
/// set's default.
pub(crate) const NAMES: [&str; 5] = [
    "character_set_client",
    "character_set_results",
    "collation_connection",
    "the collation of results",
    "the collation of the client",
];

/// The name under which [`Variables`] keeps what `SET ROLE` made active, as `SET ROLE` takes it. Neither
/// server reports it: it is asked for.
pub(crate) const ROLE: &str = "the active role";

/// The name under which [`Variables`] keeps what `SET TRANSACTION` said of the next transaction, as the
/// transaction tracker reports it: in statements that say the same.
pub(crate) const NEXT: &str = "the next transaction";

/// Begins each of the statements of [`NEXT`].
const SET_TRANSACTION: &str = "SET TRANSACTION ";

/// Undoes [`NEXT`] where no transaction is open, whatever `completion_type` says.
const NO_NEXT: &str = "COMMIT AND NO CHAIN NO RELEASE";

/// Asks for [`ROLE`], as bytes that no character set changes.
pub(crate) const ASK_ROLE: &str = "SELECT CAST(CURRENT_ROLE() AS BINARY) LIMIT 1";

/// What `SET ROLE` takes, by the answer to [`ASK_ROLE`]: MySQL's is that already, MariaDB's is a name or
/// none.
pub(crate) fn role(told: Option<String>, mariadb: bool) -> String {
    match told {
        None => "NONE".to_owned(),
        Some(name) if mariadb => format!("`{}`", name.replace('`', "``")),
        Some(roles) => roles,
    }
}

/// What the tracker says of the transaction is only what the next one is to be.
pub(crate) fn is_of_next(characteristics: &[u8]) -> bool {
    let all = String::from_utf8_lossy(characteristics);
    let all = statements(&all);
    !all.is_empty() && all.iter().all(|sql| sql.starts_with(SET_TRANSACTION))
}

/// Those of [`NEXT`], one by one.
fn statements(characteristics: &str) -> Vec<&str> {
    let all = characteristics.split(';').map(str::trim);
    all.filter(|sql| !sql.is_empty()).collect()
}

/// Asks MariaDB for the last of [`NAMES`], with a text, while the connection's character set is the
/// client's.
pub(crate) const ASK_CLIENT: &str = "SELECT CAST(COLLATION(?) AS BINARY)";

/// Asks for [`NAMES`] but the last, whatever `sql_select_limit` is, as bytes that no character set changes, and for a column of text.
pub(crate) const ASK_NAMES: &str = "SELECT CAST(@@character_set_client AS BINARY), \
     CAST(@@character_set_results AS BINARY), CAST(@@collation_connection AS BINARY), \
     @@character_set_client LIMIT 1";

/// What the servers don't report as it can be set, or what acts beyond its value:
/// - `insert_id`, `gtid_seq_no` and `gtid_next` are for the next statement, and gone after it;
/// - `timestamp` is reported as the time of now when it is set to flow again;
/// - `rand_seed1`, `rand_seed2` change with each `RAND()`, and MySQL reports 0;
/// - with `sql_auto_is_null` a comparison with NULL asks for the last insert id, but only once after an
///   `INSERT` of this connection;
/// - `max_join_size` turns `sql_big_selects` on or off, which is not reported, and is wrong where the
///   one is set back and the other isn't;
/// - `profiling`, `optimizer_trace` gather what `SHOW PROFILES` and `information_schema` show;
/// - `pseudo_thread_id`, `pseudo_slave_mode` rename the session's temporary tables;
/// - `session_track_…` would have us blind;
/// - `character_set_database`, `collation_database` follow the schema, and no `USE` reports them;
/// - some set each other, and not both are reported: `character_set_server` and `collation_server`; MariaDB's
///   `log_slow_disabled_statements` and what is one of its flags, `slow_query_log` and `log_slow_query`,
///   `old_alter_table` and `alter_algorithm`;
/// - MySQL's `default_collation_for_utf8mb4` is what `SET NAMES utf8mb4` then means;
/// - those of debug builds act where they are set.
const STAY: [&str; 36] = [
    "alter_algorithm",
    "binlog_rows_query_log_events",
    "character_set_database",
    "character_set_server",
    "collation_database",
    "collation_server",
    "debug",
    "debug_dbug",
    "debug_sync",
    "default_collation_for_utf8mb4",
    "gtid_next",
    "gtid_seq_no",
    "immediate_server_version",
    "insert_id",
    "log_slow_admin_statements",
    "log_slow_disabled_statements",
    "log_slow_query",
    "log_slow_replica_statements",
    "log_slow_slave_statements",
    "max_join_size",
    "old_alter_table",
    "optimizer_trace",
    "original_commit_timestamp",
    "original_server_version",
    "profiling",
    "pseudo_replica_mode",
    "pseudo_slave_mode",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "resultset_metadata",
    "skip_replication",
    "slow_query_log",
    "sql_auto_is_null",
    "sql_log_bin",
    "timestamp",
];

/// Variables that have no global value. For the others `DEFAULT` should be the same as that, but
/// MySQL 9.7 makes `foreign_key_checks` and `unique_checks` the reverse of it.
const ONLY_SESSION: [&str; 5] = [
    "transaction_allow_batching",
    "use_secondary_engine",
    "default_master_connection",
    "require_row_format",
    "show_create_table_skip_secondary_engine",
];

/// Variables with any of which a text reads the same. To set them in the middle of a transaction, where
/// a statement is prepared as it once was, would end that (`autocommit`) or be refused.
const NOT_OF_TEXTS: [&str; 18] = [
    ROLE,
    NEXT,
    "autocommit",
    "binlog_direct_non_transactional_updates",
    "binlog_format",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "binlog_transaction_compression_level_zstd",
    "explicit_defaults_for_timestamp",
    "group_replication_consistency",
    "gtid_domain_id",
    "server_id",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "wsrep_on",
    "xa_detach_on_prepare",
];

/// What becomes of a variable of this name.
pub(crate) fn kind(name: &[u8]) -> Kind {
    match name {
        b"character_set_client"
        | b"character_set_connection"
        | b"character_set_results"
        | b"collation_connection" => Kind::Names,
        b"statement_id" => Kind::Noise,
        b"last_insert_id" | b"identity" => Kind::InsertId,
        b"last_gtid" => Kind::Gtid,
        _ if name.starts_with(b"session_track_")
            || STAY.iter().any(|stays| stays.as_bytes() == name) =>
        {
            Kind::Stays
        }
        _ => Kind::Moves,
    }
}

/// Values by name, as the server reported them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Variables(Vec<(Arc<str>, Arc<[u8]>)>);

impl Variables {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let at = self.find(name).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        match self.find(name) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (name.into(), value.into())),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.0.remove(at);
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }
}

/// Values that are shared, `None` where none differs.
pub(crate) type Shared = Option<Arc<Variables>>;

/// `None` where nothing is in it.
pub(crate) fn shared(variables: Variables) -> Shared {
    (!variables.is_empty()).then(|| Arc::new(variables))
}

/// Changes what is shared for one that has it.
pub(crate) fn change(variables: &mut Shared, change: impl FnOnce(&mut Variables)) {
    let mut own = variables
        .take()
        .map_or_else(Variables::default, Arc::unwrap_or_clone);
    change(&mut own);
    *variables = shared(own);
}

/// Those of a session that has set a role (for `SET ROLE`), and no more; empty: it has set none.
pub(crate) fn with_role(role: &str) -> Shared {
    let mut variables = Variables::default();
    if !role.is_empty() {
        variables.set(ROLE, role.as_bytes());
    }
    shared(variables)
}

/// Something was said of the next transaction of a session.
pub(crate) fn awaits_transaction(variables: &Shared) -> bool {
    let variables = variables.as_deref();
    variables.is_some_and(|variables| variables.get(NEXT).is_some())
}

/// Whether two sessions have the same.
#[inline]
pub(crate) fn same(one: &Shared, other: &Shared) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        _ => false,
    }
}

/// To set one changes what the next transaction is, too.
pub(crate) fn is_of_transactions(name: &str) -> bool {
    name.starts_with("tx_") || name.starts_with("transaction_")
}

fn is_of_texts(name: &str) -> bool {
    !NOT_OF_TEXTS.contains(&name)
}

/// Those that a text is read with.
pub(crate) fn of_text(variables: &Shared) -> Shared {
    match variables {
        Some(all) if !all.names().all(is_of_texts) => with_text(&None, variables),
        _ => variables.clone(),
    }
}

/// What a session has, but those that a text is read with as `text` has them.
pub(crate) fn with_text(session: &Shared, text: &Shared) -> Shared {
    let mut both = Variables::default();
    for (from, of_texts) in [(session, false), (text, true)] {
        let all = from.as_deref().into_iter().flat_map(Variables::iter);
        for (name, value) in all.filter(|(name, _)| is_of_texts(name) == of_texts) {
            both.set(name, value);
        }
    }
    shared(both)
}

/// Whether two sessions read a text alike.
pub(crate) fn same_for_text(one: &Shared, other: &Shared) -> bool {
    same(one, other) || same(&of_text(one), &of_text(other))
}

/// How a session began, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun<'a> {
    /// What was set then. What is not known to have been set goes back to the server's global value,
    /// as a session that begins has it.
    pub base: &'a Variables,
    /// The `NAMES …` of its `SET`.
    pub names: &'a str,
    /// For `SET ROLE`.
    pub role: &'a str,
}

/// The statements that make the variables `from` those of `to`; none: they are the same.
///
/// A role may be what allows to set a variable: what a session has set goes back while its role is
/// active, and what another has set comes with its own. What was said of the next transaction would be
/// undone by some variables, and comes last.
pub(crate) fn bridge(from: &Shared, to: &Shared, begun: Begun<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if same(from, to) {
        return all;
    }
    let none = Variables::default();
    let from = from.as_deref().unwrap_or(&none);
    let to = to.as_deref().unwrap_or(&none);
    let undone = from.get(NEXT).is_some() && from.get(NEXT) != to.get(NEXT);
    if undone {
        all.push(NO_NEXT.to_owned());
    }
    let role = |of: &Variables| {
        let role = of.get(ROLE).or(begun.base.get(ROLE));
        role.map_or(begun.role.into(), |role| {
            String::from_utf8_lossy(role).into_owned()
        })
    };
    if from.get(ROLE) == to.get(ROLE) {
        all.extend(set(from, to, begun, |_| true));
    } else {
        all.extend(set(from, to, begun, |name| to.get(name).is_none()));
        all.push(format!("SET ROLE {}", role(to)));
        all.extend(set(from, to, begun, |name| to.get(name).is_some()));
    }
    if let Some(next) = to.get(NEXT)
        && (from.get(NEXT) != Some(next) || !all.is_empty())
    {
        let next = String::from_utf8_lossy(next);
        all.extend(statements(&next).into_iter().map(str::to_owned));
    }
    all
}

/// The `SET` of those that are chosen by their names.
fn set(
    from: &Variables,
    to: &Variables,
    begun: Begun<'_>,
    is_chosen: impl Fn(&str) -> bool,
) -> Option<String> {
    let base = begun.base;
    let mut sql = String::new();
    let add = |sql: &mut String| sql.push_str(if sql.is_empty() { "SET " } else { ", " });
    let has_names = |v: &Variables| v.get(NAMES[2]).is_some();
    if is_chosen(NAMES[2]) && NAMES.iter().any(|name| from.get(name) != to.get(name)) {
        if let Some(names) = as_names(to).or_else(|| as_names(base).filter(|_| !has_names(to))) {
            add(&mut sql);
            sql.push_str(&names);
        } else if has_names(to) || has_names(base) {
            for name in &NAMES[..3] {
                add(&mut sql);
                write_value(&mut sql, name, to.get(name).or(base.get(name)));
            }
        } else {
            add(&mut sql);
            sql.push_str(begun.names);
        }
    }
    let mut before = None;
    let is_set = |name: &&str| is_variable(name) && is_chosen(name);
    let mut all: Vec<&str> = from.names().chain(to.names()).filter(is_set).collect();
    all.sort_unstable();
    for name in all {
        if before.replace(name) == Some(name) {
            continue;
        }
        let is = from.get(name).or(base.get(name));
        let want = to.get(name).or(base.get(name));
        if want.is_none() || is != want {
            add(&mut sql);
            write_value(&mut sql, name, want);
        }
    }
    (!sql.is_empty()).then_some(sql)
}

/// It is set and reported by its own name.
pub(crate) fn is_variable(name: &str) -> bool {
    !NAMES.contains(&name) && name != ROLE && name != NEXT
}

/// The values of [`NAMES`], of the last two where they were told.
fn names_of(variables: &Variables) -> [Option<&[u8]>; 5] {
    let [client, results, connection, told, own] = NAMES.map(|name| variables.get(name));
    let [told, own] = [told, own].map(|name| name.filter(|name| !name.is_empty()));
    [client, results, connection, told, own]
}

/// The `NAMES … COLLATE …` that makes what is there, and what differs from it then.
fn as_names(variables: &Variables) -> Option<String> {
    let [client, results, connection, told, own] = names_of(variables);
    let (client, results, connection) = (client?, results?, connection?);
    // What is the default needs not be named.
    let (charset, collation, other) = match (own, told) {
        (Some(own), Some(told)) if told != own && is_default(own) => {
            (results, told, Some((NAMES[0], client)))
        }
        (Some(own), told) if told != Some(own) => (client, own, Some((NAMES[1], results))),
        _ if results != client => return None,
        _ => (client, told.unwrap_or(connection), None),
    };
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let fits = is_collation_of(collation, charset) && collation.iter().all(is_plain);
    fits.then(|| {
        let mut sql = format!(
            "NAMES {} COLLATE {}",
            String::from_utf8_lossy(charset),
            String::from_utf8_lossy(collation)
        );
        let connection = (collation != connection).then_some((NAMES[2], connection));
        for (name, value) in other.into_iter().chain(connection) {
            sql.push_str(", ");
            write_value(&mut sql, name, Some(value));
        }
        sql
    })
}

/// By their names.
pub(crate) fn is_collation_of(collation: &[u8], charset: &[u8]) -> bool {
    let rest = collation.strip_prefix(charset);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"))
}

/// It is what MariaDB has for a character set that is set without one. (The default of utf8mb4 was
/// another before 11.5: <https://mariadb.com/kb/en/setting-character-sets-and-collations/>.)
fn is_default(collation: &[u8]) -> bool {
    const OF_UTF8MB4: [&[u8]; 2] = [b"utf8mb4_general_ci", b"utf8mb4_uca1400_ai_ci"];
    if collation.starts_with(b"utf8mb4_") {
        return OF_UTF8MB4.contains(&collation);
    }
    let mut name = String::from_utf8_lossy(collation).into_owned();
    if let Some(rest) = name.strip_prefix("utf8_") {
        // The older name of the same.
        name = format!("utf8mb3_{rest}");
    }
    Collation::resolve(CollationId::from(&*name)).is_default()
}

/// The collations of the client and of results can be set again, which is not so where it is not known
/// which one is the default.
pub(crate) fn has_known_names(variables: &Variables) -> bool {
    let [client, results, _, Some(told), Some(own)] = names_of(variables) else {
        return true;
    };
    match (is_default(own), is_default(told)) {
        (true, true) => own == told || client != results,
        (false, false) => own == told,
        _ => true,
    }
}

/// The names of those that two sessions don't have in common, for people.
pub(crate) fn difference(one: &Shared, other: &Shared) -> String {
    let none = Variables::default();
    let (one, other) = (
        one.as_deref().unwrap_or(&none),
        other.as_deref().unwrap_or(&none),
    );
    let mut names: Vec<_> = one.names().chain(other.names()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| one.get(name) != other.get(name));
    names.join(", ")
}

/// What a session has that is not as `base` begins it.
pub(crate) fn without(variables: &Shared, base: &Variables) -> Shared {
    let Some(differ) = variables else { return None };
    let is_base = |name: &str, value: &[u8]| {
        base.get(name) == Some(value)
            && (!NAMES.contains(&name) || NAMES.iter().all(|n| differ.get(n) == base.get(n)))
    };
    if !differ.0.iter().any(|(name, value)| is_base(name, value)) {
        return variables.clone();
    }
    let left = differ
        .0
        .iter()
        .filter(|(name, value)| !is_base(name, value));
    shared(Variables(left.cloned().collect()))
}

/// `SESSION name=value`, in letters that mean the same in every character set and SQL mode.
fn write_value(sql: &mut String, name: &str, value: Option<&[u8]>) {
    sql.push_str("SESSION ");
    sql.push_str(name);
    sql.push('=');
    match value {
        None if ONLY_SESSION.contains(&name) => sql.push_str("DEFAULT"),
        None => {
            sql.push_str("@@GLOBAL.");
            sql.push_str(name);
        }
        // Only these can be NULL, which is reported as no bytes.
        Some(b"") if name == NAMES[1] || name.ends_with("_storage_engine") => {
            sql.push_str("NULL");
        }
        Some(value) if is_number(value) => sql.push_str(&String::from_utf8_lossy(value)),
        Some(value)
            if value
                .iter()
                .all(|b| matches!(b, b' '..=b'~') && !b"'\\".contains(b)) =>
        {
            sql.push('\'');
            sql.push_str(&String::from_utf8_lossy(value));
            sql.push('\'');
        }
        Some(value) => {
            sql.push_str("_utf8mb4 ");
            write_hex(sql, value);
        }
    }
}

/// `X'…'`
pub(crate) fn write_hex(sql: &mut String, bytes: &[u8]) {
    sql.push_str("X'");
    for byte in bytes {
        // A string takes everything.
        let _ = write!(sql, "{byte:02X}");
    }
    sql.push('\'');
}

/// Variables of numbers take no strings, and those of strings no numbers.
fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = digits.splitn(2, |b| *b == b'.');
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit)) && !digits.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES_SQL: &str = "NAMES utf8mb4";

    fn of(values: &[(&str, &str)]) -> Shared {
        let mut variables = Variables::default();
        for (name, value) in values {
            variables.set(name, value.as_bytes());
        }
        shared(variables)
    }

    fn begun(base: &Variables) -> Begun<'_> {
        Begun {
            base,
            names: NAMES_SQL,
            role: "DEFAULT",
        }
    }

    fn bridged(from: &[(&str, &str)], to: &[(&str, &str)], base: &[(&str, &str)]) -> String {
        let base = of(base).map(|b| (*b).clone()).unwrap_or_default();
        bridge(&of(from), &of(to), begun(&base)).join("; ")
    }

    #[test]
    fn nothing_is_sent_for_the_same() {
        assert_eq!(bridged(&[], &[], &[]), "");
        let zone = [("time_zone", "+03:00")];
        assert_eq!(bridged(&zone, &zone, &[]), "");
    }

    #[test]
    fn what_differs_is_set_in_one_statement() {
        assert_eq!(
            bridged(
                &[("sql_mode", "ANSI"), ("sort_buffer_size", "300000")],
                &[("sort_buffer_size", "300000"), ("time_zone", "+03:00")],
                &[]
            ),
            "SET SESSION sql_mode=@@GLOBAL.sql_mode, SESSION time_zone='+03:00'"
        );
    }

    #[test]
    fn what_the_session_began_with_comes_back() {
        assert_eq!(
            bridged(&[("time_zone", "+03:00")], &[], &[("time_zone", "UTC")]),
            "SET SESSION time_zone='UTC'"
        );
    }

    #[test]
    fn what_is_as_the_session_began_needs_nothing() {
        let base = [("foreign_key_checks", "ON")];
        assert_eq!(bridged(&[], &base, &base), "");
        assert_eq!(without(&of(&base), &of(&base).unwrap()), None);
    }

    #[test]
    fn character_sets_move_together() {
        let latin1 = [
            ("character_set_client", "latin1"),
            ("character_set_results", ""),
            ("collation_connection", "latin1_bin"),
        ];
        assert_eq!(
            bridged(&[], &latin1, &[]),
            "SET SESSION character_set_client='latin1', SESSION character_set_results=NULL, \
             SESSION collation_connection='latin1_bin'"
        );
        assert_eq!(bridged(&latin1, &[], &[]), "SET NAMES utf8mb4");
        let plain =
            latin1.map(|(name, value)| (name, if value.is_empty() { "latin1" } else { value }));
        assert_eq!(
            bridged(&[], &plain, &[]),
            "SET NAMES latin1 COLLATE latin1_bin"
        );
        assert_eq!(
            bridged(
                &latin1,
                &[],
                &latin1.map(|(n, v)| (n, if v.is_empty() { "utf8mb4" } else { v }))
            ),
            "SET SESSION character_set_client='latin1', SESSION character_set_results='utf8mb4', \
             SESSION collation_connection='latin1_bin'"
        );
    }

    #[test]
    fn the_collations_of_results_and_of_the_client_are_those_of_set_names() {
        let names = |names: [&str; 5]| {
            let all: Vec<_> = NAMES.into_iter().zip(names).collect();
            bridged(&[], &all, &[])
        };
        let utf8mb4 = |connection, told, own| names(["utf8mb4", "utf8mb4", connection, told, own]);
        // MySQL doesn't tell the client's.
        for own in ["", "utf8mb4_bin"] {
            assert_eq!(
                utf8mb4("utf8mb4_bin", "utf8mb4_bin", own),
                "SET NAMES utf8mb4 COLLATE utf8mb4_bin"
            );
        }
        assert_eq!(
            utf8mb4("utf8mb4_bin", "utf8mb4_general_ci", ""),
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, SESSION collation_connection='utf8mb4_bin'"
        );
        assert_eq!(
            utf8mb4("utf8mb4_bin", "", ""),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin"
        );
        assert_eq!(
            utf8mb4("utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_bin"),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION character_set_results='utf8mb4'"
        );
        assert_eq!(
            utf8mb4("utf8mb4_bin", "utf8mb4_bin", "utf8mb4_general_ci"),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION character_set_client='utf8mb4'"
        );
        let mixed = |results, told, own| names(["utf8mb4", results, "latin1_bin", told, own]);
        assert_eq!(
            mixed("", "", "utf8mb4_bin"),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION character_set_results=NULL, \
             SESSION collation_connection='latin1_bin'"
        );
        assert_eq!(
            mixed("latin1", "latin1_swedish_ci", "utf8mb4_bin"),
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION character_set_results='latin1', \
             SESSION collation_connection='latin1_bin'"
        );
        assert_eq!(
            mixed("latin1", "latin1_bin", "utf8mb4_general_ci"),
            "SET NAMES latin1 COLLATE latin1_bin, SESSION character_set_client='utf8mb4'"
        );
    }

    #[test]
    fn names_are_known_where_one_of_them_is_the_default() {
        let known = |told: &str, own: &str| {
            let charset = |collation: &str| collation.split('_').next().unwrap().to_owned();
            let mut all = Variables::default();
            let values = [
                charset(own),
                charset(told),
                "".into(),
                told.into(),
                own.into(),
            ];
            for (name, value) in NAMES.into_iter().zip(values) {
                all.set(name, value.as_bytes());
            }
            has_known_names(&all)
        };
        assert!(known("utf8mb4_bin", "utf8mb4_bin"));
        assert!(known("utf8mb4_bin", "utf8mb4_general_ci"));
        assert!(known("", "latin1_bin"));
        assert!(known("latin1_swedish_ci", "utf8mb3_bin"));
        assert!(known("latin1_swedish_ci", "utf8mb4_general_ci"));
        assert!(known("utf8mb3_general_ci", "utf8mb4_bin"));
        assert!(!known("utf8mb4_general_ci", "utf8mb4_uca1400_ai_ci"));
        assert!(!known("utf8mb4_bin", "latin1_bin"));
    }

    #[test]
    fn a_role_allows_what_is_set_with_it() {
        let role = (ROLE, "`r`");
        assert_eq!(bridged(&[], &[role], &[]), "SET ROLE `r`");
        assert_eq!(bridged(&[role], &[], &[]), "SET ROLE DEFAULT");
        assert_eq!(bridged(&[role], &[], &[(ROLE, "NONE")]), "SET ROLE NONE");
        let set = [role, ("binlog_format", "ROW")];
        assert_eq!(
            bridged(&[], &set, &[]),
            "SET ROLE `r`; SET SESSION binlog_format='ROW'"
        );
        assert_eq!(
            bridged(&set, &[(ROLE, "`s`"), ("sql_mode", "ANSI")], &[]),
            "SET SESSION binlog_format=@@GLOBAL.binlog_format; SET ROLE `s`; \
             SET SESSION sql_mode='ANSI'"
        );
    }

    #[test]
    fn the_next_transaction_is_said_last() {
        let next = (
            NEXT,
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY;",
        );
        let both = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY";
        assert_eq!(bridged(&[], &[next], &[]), both);
        assert_eq!(bridged(&[next], &[], &[]), NO_NEXT);
        let zone = ("time_zone", "UTC");
        assert_eq!(
            bridged(&[next], &[next, zone], &[]),
            format!("SET SESSION time_zone='UTC'; {both}")
        );
        assert_eq!(
            bridged(&[(NEXT, "SET TRANSACTION READ WRITE;")], &[next], &[]),
            format!("{NO_NEXT}; {both}")
        );
    }

    #[test]
    fn what_is_said_of_a_transaction_that_has_begun_is_not_of_the_next() {
        assert!(is_of_next(b"SET TRANSACTION READ ONLY;"));
        assert!(!is_of_next(b""));
        assert!(!is_of_next(
            b"SET TRANSACTION READ ONLY; START TRANSACTION;"
        ));
        assert!(!is_of_next(b"START TRANSACTION READ ONLY;"));
    }

    #[test]
    fn a_role_is_told_as_it_can_be_set() {
        assert_eq!(role(None, true), "NONE");
        assert_eq!(role(Some("a`b".into()), true), "`a``b`");
        assert_eq!(role(Some("`a`@`%`".into()), false), "`a`@`%`");
    }

    #[test]
    fn values_mean_the_same_in_every_sql_mode() {
        let value = |value: &str| bridged(&[], &[("x", value)], &[]);
        assert_eq!(value("1.5"), "SET SESSION x=1.5");
        assert_eq!(value("-1"), "SET SESSION x=-1");
        assert_eq!(value("1."), "SET SESSION x='1.'");
        assert_eq!(value("it's"), "SET SESSION x=_utf8mb4 X'69742773'");
        assert_eq!(value("a\\"), "SET SESSION x=_utf8mb4 X'615C'");
        assert_eq!(value(""), "SET SESSION x=''");
        assert_eq!(
            bridged(&[], &[("default_tmp_storage_engine", "")], &[]),
            "SET SESSION default_tmp_storage_engine=NULL"
        );
    }

    #[test]
    fn a_text_is_read_without_what_is_of_transactions() {
        let ansi = [("sql_mode", "ANSI")];
        let with = of(&[("autocommit", "OFF"), ("sql_mode", "ANSI")]);
        assert_eq!(of_text(&with), of(&ansi));
        assert_eq!(of_text(&of(&[("autocommit", "OFF")])), None);
        assert!(same_for_text(&with, &of(&ansi)) && !same_for_text(&with, &None));
        // To prepare what was read in another mode, a transaction goes on.
        let current = of(&[("autocommit", "OFF"), ("sql_mode", "TRADITIONAL")]);
        let prepares = with_text(&current, &of(&ansi));
        assert_eq!(prepares, with);
        assert_eq!(
            bridge(&current, &prepares, begun(&Variables::default())),
            ["SET SESSION sql_mode='ANSI'"]
        );
    }

    #[test]
    fn some_variables_stay() {
        assert_eq!(kind(b"session_track_schema"), Kind::Stays);
        assert_eq!(kind(b"insert_id"), Kind::Stays);
        assert_eq!(kind(b"identity"), Kind::InsertId);
        assert_eq!(kind(b"last_gtid"), Kind::Gtid);
        assert_eq!(kind(b"time_zone"), Kind::Moves);
    }
}
