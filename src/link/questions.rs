//! What a server is asked about the session on a link, because it doesn't tell by itself. Whoever
//! asks has the link alone. An ERR packet is an answer; any other error is the link's end.

use std::{sync::Arc, time::Duration};

use mysql_common::{
    collations::{Collation, CollationId},
    packets::Column,
    value::Value,
};

use super::{Link, MANY, connect::first_row, has_warnings};
use crate::{
    error::{Error, LostCause, ProtocolError, Ran, Result},
    proto::{
        command::{Command, execute},
        pipeline::Reply,
        result::{Outcome, Response},
        row,
    },
    session::{
        PinReason, Variables,
        user::{self, Learned},
        variables::{self, ASK_CLIENT, ASK_NAMES, ASK_ROLE, Kind, NAMES, ROLE},
    },
};

const ASKING_NAMES: &str = "asking for the character set";

impl Link {
    /// A statement's response.
    async fn answer_to(&mut self, sql: &str, what: &'static str) -> Result<Response> {
        let asked = Command::Query(sql.as_bytes());
        self.session.is_asked();
        let answer = self.train(&[asked], what).await?.pop().unwrap_or_default();
        if has_warnings(&answer, false) {
            self.session.warnings_of = MANY;
        }
        not_refused(answer)
    }

    /// The first row of a statement's result, as text.
    async fn ask_for(&mut self, sql: &str, what: &'static str) -> Result<Vec<Option<String>>> {
        self.answer_to(sql, what).await.map(super::connect::texts)
    }

    /// Has `LAST_INSERT_ID()` be this.
    pub(crate) async fn set_insert_id(&mut self, id: u64) -> Result<()> {
        let sql = format!("SET SESSION last_insert_id={id}");
        let set = self.ask_for(&sql, "restoring LAST_INSERT_ID()").await;
        set.map(drop)
    }

    /// There are routines that ask for `LAST_INSERT_ID()`, as far as this account sees what is in them.
    pub(crate) async fn routines_ask_for_ids(&mut self) -> Result<bool> {
        const ASK: &str = "SELECT CAST(COUNT(*) AS BINARY) FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA NOT IN ('sys', 'mysql') AND (ROUTINE_DEFINITION IS NULL \
             OR LOWER(ROUTINE_DEFINITION) LIKE '%insert_id%' \
             OR LOWER(ROUTINE_DEFINITION) LIKE '%identity%')";
        let answer = match self.ask_for(ASK, "looking into routines").await {
            Err(Error::MySqlError(_)) => return Ok(true),
            answer => answer?,
        };
        let count = answer.into_iter().next().flatten();
        Ok(count.as_deref() != Some("0"))
    }

    /// How the server is, and what it may be used for. `of_group`: its state in MySQL's group replication
    /// is asked for, too, which an account may not be allowed to see.
    pub(crate) async fn vitals(&mut self, of_group: bool) -> Result<Vitals> {
        const MARIADB: &str = "SELECT CAST(@@global.read_only + 0 AS BINARY), \
             CAST(@@global.log_bin + 0 AS BINARY), CAST(@@global.autocommit + 0 AS BINARY), \
             CAST(@@global.gtid_slave_pos AS BINARY), CAST(@@global.gtid_binlog_pos AS BINARY), \
             CAST(is_on AS BINARY), CAST(ready AS BINARY), CAST(uuid AS BINARY), CAST(last AS BINARY) \
             FROM (SELECT COUNT(*) AS is_on FROM information_schema.GLOBAL_VARIABLES \
             WHERE VARIABLE_NAME = 'WSREP_ON' AND VARIABLE_VALUE = 'ON') v, \
             (SELECT MAX(IF(VARIABLE_NAME = 'WSREP_READY', VARIABLE_VALUE, NULL)) AS ready, \
             MAX(IF(VARIABLE_NAME = 'WSREP_CLUSTER_STATE_UUID', VARIABLE_VALUE, NULL)) AS uuid, \
             MAX(IF(VARIABLE_NAME = 'WSREP_LAST_COMMITTED', VARIABLE_VALUE, NULL)) AS last \
             FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN \
             ('WSREP_READY', 'WSREP_CLUSTER_STATE_UUID', 'WSREP_LAST_COMMITTED')) s";
        const MYSQL: &str = "SELECT CAST(@@global.read_only OR @@global.super_read_only AS BINARY), \
             CAST(@@global.gtid_mode = 'ON' AS BINARY), CAST(@@global.autocommit + 0 AS BINARY), \
             CAST(@@global.gtid_executed AS BINARY)";
        // One that could be of a group, and is of none, is alone.
        const OF_GROUP: &str = ", (SELECT CAST(MEMBER_STATE AS BINARY) \
             FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid \
             AND (MEMBER_STATE <> 'OFFLINE' OR EXISTS (SELECT 1 \
             FROM performance_schema.global_variables WHERE VARIABLE_VALUE <> '' \
             AND VARIABLE_NAME = 'group_replication_group_name')))";
        let mariadb = self.server.mariadb;
        let sql = match (mariadb, of_group) {
            (true, _) => MARIADB,
            (false, false) => MYSQL,
            (false, true) => &format!("{MYSQL}{OF_GROUP}"),
        };
        let answer = self.ask_for(sql, "asking the server how it is").await?;
        let text = |at: usize| answer.get(at).and_then(|text| text.as_deref());
        let tells_gtids = text(1) == Some("1");
        let mut vitals = Vitals {
            read_only: text(0) != Some("0"),
            tells_gtids,
            commits: text(2) == Some("1"),
            reached: text(3).unwrap_or_default().to_owned(),
            // A replica of MariaDB's has what was replicated, whatever it wrote by itself.
            position: tells_gtids.then(|| {
                let own = if mariadb { text(4) } else { None };
                [text(3), own].map(Option::unwrap_or_default).join(",")
            }),
            is_of_cluster: mariadb && text(5) == Some("1"),
            not_ready: None,
        };
        if vitals.is_of_cluster {
            // Of the nodes of a cluster, too, each has what it has committed.
            let [uuid, last] = [text(7), text(8)].map(Option::unwrap_or_default);
            vitals.reached = format!("{uuid}:1-{last}");
            vitals.position = Some(vitals.reached.clone());
            let ready = text(6) == Some("ON");
            vitals.not_ready = (!ready).then(|| "it has not joined its cluster".to_owned());
        } else if let Some(state) = text(4).filter(|state| !mariadb && *state != "ONLINE") {
            vitals.not_ready = Some(format!("in its replication group it is {state}"));
        }
        Ok(vitals)
    }

    /// Waits until this node of a cluster has all that was written anywhere in it: for as long as the
    /// cluster allows (`repl.causal_read_timeout`, 30 s), then it fails.
    pub(crate) async fn syncs(&mut self) -> Result<()> {
        const WAIT: &str = "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1";
        self.ask_for(WAIT, "waiting for what was written")
            .await
            .map(drop)
    }

    /// Waits until the server has these transactions. Whether it has; not, where it doesn't say.
    pub(crate) async fn reaches(&mut self, gtids: &str, time: Duration) -> Result<bool> {
        let wait = match self.server.mariadb {
            true => "MASTER_GTID_WAIT",
            false => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        let seconds = time.as_secs_f64();
        let sql = format!("SELECT CAST({wait}('{gtids}', {seconds:.3}) AS BINARY)");
        let answer = match self.ask_for(&sql, "waiting for what was written").await {
            Err(Error::MySqlError(_)) => return Ok(false),
            answer => answer?,
        };
        Ok(answer.first().and_then(|text| text.as_deref()) == Some("0"))
    }

    /// Sends ahead of a statement what `LAST_INSERT_ID()` is to be where the statement leaves it. The
    /// statement doesn't depend on it, so that nobody waits for it. Whether it has a reply to come.
    pub(super) async fn guard_insert_id(&mut self) -> Result<bool> {
        let Some(id) = self.session.insert_id_next.take() else {
            return Ok(false);
        };
        if !self.pipelining {
            self.set_insert_id(id).await?;
            return Ok(false);
        }
        let sql = format!("SET SESSION last_insert_id={id}");
        self.pipeline.push(Command::Query(sql.as_bytes()))?;
        self.session.guarding = true;
        Ok(true)
    }

    /// Takes the reply to what [`Self::guard_insert_id`] sent.
    pub(super) async fn guarded(&mut self, is_due: bool, what: &'static str) -> Result<()> {
        if !is_due {
            return Ok(());
        }
        let reply = self.reply(what, None).await?;
        self.session.guarding = false;
        if let Reply::Response(response) = reply
            && let Some(Outcome::Err(_)) = response.outcomes.front()
        {
            self.session.forget_insert_id();
        }
        Ok(())
    }

    /// `LAST_INSERT_ID()`.
    pub(crate) async fn insert_id(&mut self) -> Result<u64> {
        const WHAT: &str = "asking for LAST_INSERT_ID()";
        let answer = self
            .ask_for("SELECT CAST(LAST_INSERT_ID() AS BINARY) LIMIT 1", WHAT)
            .await?;
        let id = answer.into_iter().next().flatten();
        let e = || LostCause::Protocol(ProtocolError::new("LAST_INSERT_ID() is no number"));
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| self.lost(WHAT, Ran::Maybe, e()))
    }

    /// Has there be no warnings, and no rows that were found. On MariaDB only a statement that uses
    /// tables does so; this one reads no more rows than the least `max_join_size` allows. The server
    /// may refuse it, as it does with all that use tables behind `XA PREPARE`: then it is false.
    pub(crate) async fn clear_warnings(&mut self) -> Result<bool> {
        const CLEAR: &str = "SELECT 1 FROM (SELECT 1) t WHERE 0";
        match self.ask_for(CLEAR, "clearing warnings").await {
            Err(Error::MySqlError(_)) => Ok(false),
            cleared => cleared.map(|_| true),
        }
    }

    /// Has the server report variables that it did not report as they are. All in one, as some are set
    /// with others.
    pub(crate) async fn learn_variables(&mut self, names: &[&str]) -> Result<()> {
        let mut sql = String::new();
        for name in names {
            if variables::kind(name.as_bytes()) == Kind::Stays {
                self.session.stuck = Some((*name).into());
                continue;
            }
            // What is set for the next transaction would be gone, and no statement sets these for itself.
            if self.session.awaits_transaction() && variables::is_of_transactions(name) {
                continue;
            }
            sql.push_str(if sql.is_empty() { "SET " } else { ", " });
            sql.push_str(&format!("SESSION {name} = @@session.{name}"));
        }
        if sql.is_empty() {
            return Ok(());
        }
        let asked = Command::Query(sql.as_bytes());
        self.session.is_asked();
        // Some are deprecated.
        self.session.warnings_of = MANY;
        let mut refused = false;
        for response in self.train(&[asked], "asking for variables").await? {
            self.session.observe_quietly(&response);
            refused |= matches!(response.outcomes.front(), Some(Outcome::Err(_)));
        }
        if refused && names.len() > 1 {
            // One of them is none.
            for name in names {
                Box::pin(self.learn_variables(&[*name])).await?;
            }
        }
        Ok(())
    }

    /// Asks for the character sets, where not all that became of them was reported.
    pub(crate) async fn learn_names(&mut self) -> Result<()> {
        if !self.session.names_unknown {
            return Ok(());
        }
        let mut all = Variables::default();
        set_names(&mut all, self.answer_to(ASK_NAMES, ASKING_NAMES).await?);
        if self.server.mariadb {
            let own = self.collation_of_client(&all).await?;
            all.set(NAMES[4], own.as_bytes());
        }
        let session = &mut self.session;
        session.names_unknown = false;
        if !variables::has_known_names(&all) {
            session.stuck = Some(NAMES[0].into());
        }
        variables::change(&mut session.vars, |vars| {
            all.iter().for_each(|(name, value)| vars.set(name, value));
        });
        session.vars = session.without_base(&session.vars);
        Ok(())
    }

    /// Asks for the role that is active, where one was set. Whether it can be set elsewhere.
    pub(crate) async fn learn_role(&mut self) -> Result<bool> {
        let told = self.answer_to(ASK_ROLE, "asking for the role").await?;
        let role = role_of(told, self.server.mariadb).filter(|role| role.is_ascii());
        let session = &mut self.session;
        session.pins.unread_role = false;
        let Some(role) = role.filter(|_| session.begins_with_a_known_role()) else {
            return Ok(false);
        };
        session.set_variable(ROLE, role.as_bytes());
        Ok(true)
    }

    /// MariaDB's collation of the client, of which there is no variable. `names`: the others.
    async fn collation_of_client(&mut self, names: &Variables) -> Result<String> {
        let [client, _, connection, ..] = NAMES.map(|name| names.get(name).unwrap_or_default());
        if variables::is_collation_of(connection, client) {
            return self.collation_of_parameters().await;
        }
        // They would be converted, and have the connection's.
        let set = |name: &str, value: &[u8]| {
            let value = String::from_utf8_lossy(value);
            format!("SET SESSION {name} = '{value}'")
        };
        let to_client = set("character_set_connection", client);
        let back = set(NAMES[2], connection);
        self.ask_for(&to_client, ASKING_NAMES).await?;
        let told = self.collation_of_parameters().await;
        if let Err(e) = self.ask_for(&back, ASKING_NAMES).await {
            self.session.changed = true;
            return Err(e);
        }
        told
    }

    async fn collation_of_parameters(&mut self) -> Result<String> {
        let id = self.com_prepare(ASK_CLIENT.as_bytes()).await?.id;
        let text = [Value::Bytes(b"a".to_vec())];
        let (_, payload) = execute(id, &text, self.pipeline.tx.max_packet());
        self.pipeline.push(Command::Execute(&payload))?;
        self.pipeline.push(Command::CloseStmt(id))?;
        let told = match self.round_trip(1, ASKING_NAMES, None).await?.pop() {
            Some(Reply::Response(told)) => not_refused(told)?,
            _ => return Err(self.another_reply(ASKING_NAMES)),
        };
        let told = first_row(told, row::binary).into_iter().next().flatten();
        told.ok_or_else(|| self.another_reply(ASKING_NAMES))
    }

    /// What became of user variables that were set. Nothing, where the server doesn't tell now.
    pub(crate) async fn learn_user_variables(
        &mut self,
        names: &[Arc<str>],
    ) -> Result<Vec<Learned>> {
        let asked = user::ask(names);
        self.session.is_asked();
        let asked = [&asked[0], &asked[1]].map(|sql| Command::Query(sql.as_bytes()));
        let mut answers = self.train(&asked, "asking for user variables").await?;
        let values = answers.pop().map(super::connect::texts).unwrap_or_default();
        let types = answers
            .pop()
            .and_then(|mut types| types.outcomes.pop_front());
        let columns = match types {
            Some(Outcome::Set(set)) => set.columns,
            _ => return Ok(Vec::new()),
        };
        let values = values.chunks_exact(2);
        if columns.len() != names.len() || values.len() != names.len() {
            return Ok(Vec::new());
        }
        let all = names.iter().zip(columns.iter()).zip(values);
        let learned =
            all.map(|((name, c), v)| user::learned(name, c, v[0].as_deref(), v[1].as_deref()));
        Ok(learned.collect())
    }

    /// Ends the pins of user locks that the server says are not this session's. One whose name is
    /// not known stands until all are released.
    pub(crate) async fn learn_locks(&mut self) -> Result<()> {
        let reason = PinReason::UserLock;
        let names = self.session.pins.names(reason).flatten();
        let names: Vec<Arc<str>> = names.map(Into::into).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut sql = String::from("SELECT ");
        for (at, name) in names.iter().enumerate() {
            sql.push_str(if at > 0 { ", " } else { "" });
            sql.push_str("CAST(COALESCE(IS_USED_LOCK(CONVERT(");
            variables::write_hex(&mut sql, name.as_bytes());
            sql.push_str(" USING utf8mb4)) = CONNECTION_ID(), 0) AS BINARY)");
        }
        sql.push_str(" LIMIT 1");
        let held = self.ask_for(&sql, "asking for user locks").await?;
        for (name, held) in names.iter().zip(held) {
            if held.as_deref() == Some("0") {
                self.session.pins.end_one(reason, name);
            }
        }
        Ok(())
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub read_only: bool,
    /// It reports the GTIDs of what is written.
    pub tells_gtids: bool,
    /// Sessions begin with `autocommit`.
    pub commits: bool,
    /// What it has of others.
    pub reached: String,
    /// What it has at all, where that is known.
    pub position: Option<String>,
    /// It is a node of a Galera cluster.
    pub is_of_cluster: bool,
    /// Why it can't be used though it answers.
    pub not_ready: Option<String>,
}

fn not_refused(response: Response) -> Result<Response> {
    match response.outcomes.front() {
        Some(Outcome::Err(e)) => Err(e.clone().into()),
        _ => Ok(response),
    }
}

/// The answer to [`ASK_ROLE`], for `SET ROLE`. `None`: there was none.
pub(super) fn role_of(answer: Response, mariadb: bool) -> Option<String> {
    let [told] = <[_; 1]>::try_from(super::connect::texts(answer)).ok()?;
    Some(variables::role(told, mariadb))
}

/// Takes the answer to [`ASK_NAMES`].
pub(super) fn set_names(vars: &mut Variables, answer: Response) {
    let told = match answer.outcomes.front() {
        Some(Outcome::Set(set)) => set.columns.last().map(Column::character_set),
        _ => None,
    };
    let mut values = super::connect::texts(answer);
    if let [_, results, _, last] = &mut values[..] {
        // Without a character set of results each column has its own.
        let told = told.filter(|_| results.is_some()).map(CollationId::from);
        let told = told.filter(|id| *id != CollationId::UNKNOWN_COLLATION_ID);
        *last = told.map(|id| Collation::resolve(id).collation().to_owned());
    }
    for (name, value) in NAMES.iter().zip(values) {
        vars.set(name, value.as_deref().unwrap_or("").as_bytes());
    }
}
