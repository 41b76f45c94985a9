//! Every kind of state that a session has, one row each: what makes it, how it is followed, until
//! when, and what proves that the handle still has it after others used its link, and that nobody
//! else does. `docs/sessions.md` is written from the same rows.
//!
//! What is right is what a connection of its own answers: each row is run on one first.

mod support;

#[path = "states/rows.rs"]
mod rows;

#[path = "states/page.rs"]
mod page;

use std::sync::{Mutex, MutexGuard, PoisonError};

use mysql_mux::{ChangeUserOpts, PinPolicy, PinReason, Row, Value};
use rows::*;
use support::*;

/// What rows find on the server.
const GROUND: &[(Servers, &str)] = &[
    (
        Both,
        "CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE)",
    ),
    (
        Both,
        "CREATE TABLE other_ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
    ),
    (Both, "CREATE TABLE items (id INT PRIMARY KEY, v INT)"),
    (Both, "INSERT INTO items VALUES (1, 1), (2, 2), (3, 3)"),
    (Both, "CREATE TABLE told (v INT)"),
    (
        Both,
        "CREATE TRIGGER tells BEFORE INSERT ON told FOR EACH ROW SET @told = NEW.v",
    ),
    (Both, "CREATE TABLE untold (v INT)"),
    (
        Both,
        "CREATE TRIGGER tells_not BEFORE INSERT ON untold FOR EACH ROW SELECT NEW.v INTO @untold",
    ),
    (Both, "CREATE TABLE zoned (v INT)"),
    (
        Both,
        "CREATE TRIGGER zones BEFORE INSERT ON zoned FOR EACH ROW SET SESSION time_zone = '+07:00'",
    ),
    (Both, "CREATE TABLE unzoned (v INT)"),
    (
        Both,
        "CREATE TRIGGER zones_at BEFORE INSERT ON unzoned FOR EACH ROW SET @@time_zone = '+07:00'",
    ),
    (Both, "CREATE TABLE locking (v INT)"),
    (
        Both,
        "CREATE TRIGGER locks BEFORE INSERT ON locking FOR EACH ROW SET NEW.v = GET_LOCK('states', 0)",
    ),
    (Both, "CREATE TABLE copies (v INT)"),
    (
        Both,
        "CREATE TRIGGER copies_id BEFORE INSERT ON copies FOR EACH ROW SET NEW.v = LAST_INSERT_ID()",
    ),
    (
        Both,
        "CREATE FUNCTION sets_variable() RETURNS INT NO SQL BEGIN SET @in_function = 7; RETURN 1; END",
    ),
    (
        Both,
        "CREATE FUNCTION sets_into() RETURNS INT NO SQL BEGIN SELECT 7 INTO @into; RETURN 1; END",
    ),
    (
        Both,
        "CREATE FUNCTION sets_zone() RETURNS INT NO SQL BEGIN SET SESSION time_zone = '+04:00'; RETURN 1; END",
    ),
    (
        Both,
        "CREATE FUNCTION takes_a_lock() RETURNS INT NO SQL RETURN GET_LOCK('states', 0)",
    ),
    (
        Both,
        "CREATE PROCEDURE takes_lock() DO GET_LOCK('states', 0)",
    ),
    (Both, "CREATE VIEW last_id AS SELECT LAST_INSERT_ID() AS id"),
    (Both, "CREATE VIEW sets AS SELECT sets_variable() AS one"),
    (Both, "CREATE VIEW sets_unseen AS SELECT sets_into() AS one"),
    (Both, "CREATE PROCEDURE gives(OUT given INT) SET given = 9"),
    (
        Both,
        "CREATE PROCEDURE makes_table() CREATE TEMPORARY TABLE mine (a INT)",
    ),
    (
        Both,
        "CREATE PROCEDURE sets_zone() SET SESSION time_zone = '+04:00'",
    ),
    (
        Both,
        "CREATE PROCEDURE inserts() INSERT INTO ids (v) VALUES (50)",
    ),
    (
        MySql,
        "CREATE PROCEDURE sets_group() SET RESOURCE GROUP states_group",
    ),
    (MariaDb, "CREATE SEQUENCE numbers"),
    (
        MariaDb,
        "CREATE TABLE numbered (id BIGINT DEFAULT NEXTVAL(numbers), v INT)",
    ),
];

/// Before each time: as if nothing had been done yet.
const AFRESH: &[(Servers, &str)] = &[
    (Both, "TRUNCATE TABLE ids"),
    (Both, "TRUNCATE TABLE other_ids"),
    (Both, "DELETE FROM items WHERE id > 3"),
    (Both, "UPDATE items SET v = id"),
    (MariaDb, "ALTER SEQUENCE numbers RESTART 1"),
];

/// What others do to a link before its handle asks what its last statement left.
const DISTURBING: &[&str] = &[
    "INSERT INTO other_ids (v) VALUES (1), (2), (3), (4), (5)",
    "DROP TABLE IF EXISTS other_1, other_2, other_3",
    "SELECT 1 UNION SELECT 2",
];

fn is_here(servers: Servers) -> bool {
    match servers {
        Both => true,
        MariaDb => server().kind == Kind::MariaDb,
        MySql => server().kind == Kind::MySql,
    }
}

/// Some states are the server's as well, as locks are: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How statements of a row are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Text,
    /// Where the server can prepare them.
    Prepared,
    /// All in one text.
    One,
}

/// Where the rows are tried.
struct Ground {
    by: By,
    schema: Schema,
    user: User,
    other: User,
    root: Handle,
    tidy: Handle,
}

impl Ground {
    fn new(by: By) -> Ground {
        let schema = Schema::new("states");
        let (user, other) = (User::new("states"), User::new("states_other"));
        let mut root = server().root();
        let more = [
            "CREATE DATABASE IF NOT EXISTS states_latin1 CHARACTER SET latin1".to_owned(),
            "CREATE ROLE IF NOT EXISTS states_role".to_owned(),
            format!("GRANT states_role TO '{}'@'%'", user.name),
        ];
        for sql in more {
            root.query_drop(sql).unwrap();
        }
        if is_here(MySql) {
            // There is no IF NOT EXISTS.
            let _ = root.query_drop("CREATE RESOURCE GROUP states_group TYPE = USER");
        }
        let tidy = schema.socket().user(Some("root")).pass(None::<&str>);
        let tidy = tidy.isolation(Isolation::Shared);
        let mut tidy = mux().connect(tidy).unwrap();
        tidy.query_drop("SET SESSION innodb_lock_wait_timeout = 1")
            .unwrap();
        for (servers, sql) in GROUND {
            if is_here(*servers) {
                tidy.query_drop(sql)
                    .unwrap_or_else(|e| panic!("{sql}: {e}"));
            }
        }
        Ground {
            by,
            schema,
            user,
            other,
            root,
            tidy,
        }
    }

    fn afresh(&mut self) {
        const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
        let _ = self.root.query_drop("DROP DATABASE IF EXISTS states_gone");
        for (servers, sql) in AFRESH {
            if !is_here(*servers) {
                continue;
            }
            eventually("the rows are free", || match self.tidy.query_drop(sql) {
                Ok(()) => true,
                Err(e) if e.code() == Some(ER_LOCK_WAIT_TIMEOUT) => {
                    // It stays when the handle that prepared it is gone.
                    let _ = self.root.query_drop("XA ROLLBACK 'states'");
                    false
                }
                Err(e) => panic!("{sql}: {e}"),
            });
        }
        let _ = self.root.query_drop("XA ROLLBACK 'states'");
    }

    fn opts(&self) -> OptsBuilder {
        let opts = self.user.tcp().db_name(Some(&self.schema.name));
        opts.multi_statements(self.by == By::One)
    }

    /// Ends what would outlive its connection: MariaDB 10.11 loses the locks of a prepared XA
    /// transaction that is rolled back while its connection is closed.
    fn end(&self, state: &State, handle: &mut Handle) {
        if let (Until::Statement(ends), Kept::Pins(PinReason::Xa)) = (state.until, state.kept) {
            run_all(handle, ends);
        }
    }

    /// Runs what makes a row's state.
    fn make(&self, handle: &mut Handle, all: &[&str]) -> Vec<String> {
        match self.by {
            By::Text => run_all(handle, all),
            By::Prepared => all.iter().map(|sql| prepared(handle, sql)).collect(),
            By::One => vec![told(handle.query_drop(all.join("; ")))],
        }
    }

    /// A connection of its own, on which nobody else runs anything.
    fn plain(&self) -> Handle {
        mux()
            .connect(self.opts().isolation(Isolation::Shared))
            .unwrap()
    }
}

/// Does what a row says: a statement, or something of the API.
fn run(handle: &mut Handle, what: &str) -> String {
    match what.strip_prefix("Handle::") {
        None => see(handle, what),
        Some("select_db(\"mysql\")") => told(handle.select_db("mysql")),
        Some("prep(\"SELECT 'a'\")") => told(handle.prep("SELECT 'a'").map(drop)),
        Some(other) => panic!("not known: {other}"),
    }
}

fn run_all(handle: &mut Handle, all: &[&str]) -> Vec<String> {
    all.iter().map(|sql| run(handle, sql)).collect()
}

/// The same by a prepared statement.
fn prepared(handle: &mut Handle, sql: &str) -> String {
    const ER_UNSUPPORTED_PS: u16 = 1295;
    match handle.exec::<Row, _, _>(sql, ()) {
        Err(e) if e.code() == Some(ER_UNSUPPORTED_PS) => run(handle, sql),
        rows => answer(rows),
    }
}

fn told(done: mysql_mux::Result<()>) -> String {
    match done {
        Ok(()) => String::new(),
        Err(e) => error(&e),
    }
}

fn error(e: &Error) -> String {
    match e {
        Error::MySqlError(e) => format!("error {}", e.code),
        Error::NotKept { .. } => "not kept".to_owned(),
        Error::PinDenied { .. } => "denied".to_owned(),
        e => format!("{e}"),
    }
}

/// All that a statement answers.
fn see(handle: &mut Handle, sql: &str) -> String {
    answer(handle.query(sql))
}

fn answer(rows: mysql_mux::Result<Vec<Row>>) -> String {
    let rows = match rows {
        Ok(rows) => rows,
        Err(e) => return error(&e),
    };
    let row = |row: Row| {
        let values = row.unwrap().into_iter().map(|value| match value {
            Value::NULL => "NULL".to_owned(),
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            value => value.as_sql(true),
        });
        values.collect::<Vec<_>>().join(" ")
    };
    rows.into_iter().map(row).collect::<Vec<_>>().join("; ")
}

fn reason(handle: &Handle) -> Option<PinReason> {
    handle.pin().map(|pin| pin.reason())
}

/// What a connection of its own answers.
struct Right {
    made: Vec<String>,
    /// To the probe.
    seen: String,
    /// To what ends the state, and to the probe behind it.
    ended: Vec<String>,
    after: String,
    /// To the probe of a session in which nothing was done.
    begun: String,
}

/// One row that is tried, with what is wrong.
struct Trial<'a> {
    state: &'a State,
    ground: &'a mut Ground,
    right: Right,
    wrong: Vec<String>,
}

impl Trial<'_> {
    fn same(&mut self, what: &str, is: impl PartialEq<String> + std::fmt::Debug, want: String) {
        if is != want {
            let name = self.state.name;
            self.wrong
                .push(format!("{name}: {what}: {is:?}, not {want:?}"));
        }
    }

    fn holds(&mut self, what: impl std::fmt::Display, so: bool) {
        if !so {
            self.wrong.push(format!("{}: {what}", self.state.name));
        }
    }

    fn reason(&mut self, when: &str, handle: &Handle, want: Option<PinReason>) {
        let is = reason(handle);
        self.holds(
            format!("{when}: the pin is {is:?}, not {want:?}"),
            is == want,
        );
    }

    /// Has a handle make the state.
    fn made(&mut self, mux: &Mux, opts: OptsBuilder) -> Handle {
        self.ground.afresh();
        let mut handle = mux.connect(opts).unwrap();
        let made = self.ground.make(&mut handle, self.state.sql);
        let right = self.right.made.clone();
        self.holds(format!("made: {made:?}, not {right:?}"), made == right);
        handle
    }

    /// What another handle sees has to be as if the state were not there.
    fn unseen(&mut self, who: &str, other: &mut Handle) {
        let (probe, begun) = (self.state.probe, self.right.begun.clone());
        if probe.is_empty() {
            return;
        }
        match self.state.others {
            Others::AsBegun => {
                let seen = see(other, probe);
                self.same(who, seen, begun);
            }
            Others::See(probe, want) => {
                let seen = see(other, probe);
                self.same(who, seen, want.to_owned());
            }
            Others::SeeOther => {
                let (seen, mine) = (see(other, probe), self.right.seen.clone());
                self.holds(format!("{who}: sees {seen}"), seen != mine);
            }
            Others::Wait => {}
        }
    }

    fn probe(&mut self, when: &str, handle: &mut Handle) {
        if !self.state.probe.is_empty() {
            let seen = see(handle, self.state.probe);
            self.same(when, seen, self.right.seen.clone());
        }
    }

    /// The state goes along, whoever uses the link meanwhile.
    fn moves(&mut self) {
        let opts = self.ground.opts();
        let mux = builder().max_links(1).build();
        let mut b = mux.connect(opts.clone()).unwrap();
        let mut a = self.made(&mux, opts.clone());
        self.reason("made", &a, None);
        for _ in 0..2 {
            self.unseen("another on the same link", &mut b);
            self.probe("after another", &mut a);
        }
        self.reason("probed", &a, None);
        drop((a, b));
        let mux = builder().max_links(2).build();
        let mut b = mux.connect(opts.clone()).unwrap();
        let mut a = self.made(&mux, opts);
        b.query_drop("BEGIN").unwrap();
        self.probe("where its link is another's", &mut a);
        b.query_drop("ROLLBACK").unwrap();
    }

    /// The link stays with the handle; others use another.
    fn pins(&mut self, reason: PinReason) {
        let opts = self.ground.opts();
        let mux = builder().max_links(2).build();
        let mut b = mux.connect(opts.clone()).unwrap();
        let mut a = self.made(&mux, opts);
        self.reason("made", &a, Some(reason));
        let counted = mux.stats().total.pins(reason);
        self.holds("it is not counted", counted > 0);
        self.unseen("another", &mut b);
        self.probe("after another", &mut a);
        self.unseen("another, later", &mut b);
        self.ground.end(self.state, &mut a);
    }

    /// Where the options deny it, what makes it is not sent, as far as the text tells.
    fn denied(&mut self, reason: PinReason) {
        use PinReason::*;
        let told_later = matches!(
            reason,
            Transaction | NextTransaction | SystemVariable | Diagnostics
        );
        if told_later || self.state.note.starts_with(TOLD) {
            return;
        }
        self.ground.afresh();
        let opts = self.ground.opts().pin_policy(reason, PinPolicy::Deny);
        let mut a = builder().max_links(1).build().connect(opts).unwrap();
        let made = self.ground.make(&mut a, self.state.sql);
        let denied = made.iter().any(|answer| answer == "denied");
        self.holds(format!("denied: {made:?}"), denied);
    }

    /// What a statement left is the handle's or an error.
    fn left(&mut self, keep: fn(OptsBuilder) -> OptsBuilder) {
        let opts = self.ground.opts();
        let right = self.right.seen.clone();
        let probe = self.state.probe;
        let mux = builder().max_links(1).build();
        let mut a = self.made(&mux, opts.clone());
        self.reason("made", &a, None);
        self.probe("at once", &mut a);
        drop(a);
        let mux = builder().max_links(1).build();
        let a = self.made(&mux, opts.clone());
        let mut b = mux.connect(opts.clone()).unwrap();
        self.unseen("another on the same link", &mut b);
        drop((a, b));
        let mux = builder().max_links(2).build();
        let mut others = handles(&mux, &opts, 2);
        let mut a = self.made(&mux, opts.clone());
        for other in &mut others {
            run_all(other, DISTURBING);
        }
        let seen = see(&mut a, probe);
        let so = seen == right || seen == "not kept";
        self.holds(format!("after others: {seen}, not {right}"), so);
        // From here on it is known that it is asked for; of many statements, which of them made it
        // may take another time.
        let times = if self.state.sql.len() > 1 { 2 } else { 1 };
        let mut seen = String::new();
        for _ in 0..times {
            self.ground.afresh();
            self.ground.make(&mut a, self.state.sql);
            for other in &mut others {
                run_all(other, DISTURBING);
            }
            seen = see(&mut a, probe);
            if seen != "not kept" {
                break;
            }
        }
        self.same("asked for before", seen, right);
        drop((a, others));
        let mux = builder().max_links(2).build();
        let mut others = handles(&mux, &opts, 2);
        let mut a = self.made(&mux, keep(opts));
        for other in &mut others {
            run_all(other, DISTURBING);
        }
        self.probe("with the option", &mut a);
    }

    /// Its end, by the statement that ends it or by a reset.
    fn ends(&mut self) {
        let opts = self.ground.opts();
        let mux = builder().max_links(1).build();
        let mut a = self.made(&mux, opts.clone());
        match self.state.until {
            Until::Statement(ends) => {
                let ended = run_all(&mut a, ends);
                let right = self.right.ended.clone();
                self.holds(format!("ended: {ended:?}, not {right:?}"), ended == right);
            }
            Until::Reset => told(a.reset()).clear(),
            Until::ItsOwn => return,
        }
        self.reason("ended", &a, None);
        // Somebody else can have the link.
        let mut b = mux.connect(opts).unwrap();
        let done = told(b.query_drop("DO 1"));
        self.same("another, when it has ended", done, String::new());
        drop(b);
        if !self.state.probe.is_empty() {
            let right = match self.state.until {
                Until::Reset => self.right.begun.clone(),
                _ => self.right.after.clone(),
            };
            let seen = see(&mut a, self.state.probe);
            match self.state.others {
                Others::SeeOther => self.holds("it is there still", seen != self.right.seen),
                // Another ran behind it.
                _ if seen == "not kept" => {}
                _ => self.same("when it has ended", seen, right),
            }
        }
    }

    /// Neither a later handle nor another user finds it on the link.
    fn dropped(&mut self) {
        if self.state.probe.is_empty() || matches!(self.state.others, Others::Wait) {
            return;
        }
        let opts = self.ground.opts();
        let other = self
            .ground
            .other
            .tcp()
            .db_name(Some(&self.ground.schema.name));
        for (who, opts) in [("a later one", opts), ("another user", other)] {
            let mux = builder().max_links(1).build();
            let a = self.made(&mux, self.ground.opts());
            drop(a);
            let mut later = mux.connect(opts).unwrap();
            let seen = see(&mut later, self.state.probe);
            match self.state.others {
                Others::SeeOther => self.holds(format!("{who}: {seen}"), seen != self.right.seen),
                // All see it until the server has seen the end of the session.
                Others::See(..) => eventually(who, || {
                    see(&mut later, self.state.probe) == self.right.begun
                }),
                _ => self.same(who, seen, self.right.begun.clone()),
            }
        }
    }

    /// What becomes of it when its connection is killed.
    fn killed(&mut self) {
        if self.state.probe.is_empty() {
            return;
        }
        let mux = builder().max_links(1).build();
        let mut a = self.made(&mux, self.ground.opts());
        let ground = &mut *self.ground;
        for id in server().connections_of(&mut ground.root, &ground.user.name) {
            server().kill(&mut ground.root, id);
        }
        match self.state.kept {
            Kept::Moves => self.probe("after a kill", &mut a),
            Kept::Pins(reason) if is_missed(reason) => {
                let first = a.query_drop(self.state.probe);
                let may = [&self.right.begun, "not kept", &self.right.seen];
                // What moves does so after a loss of the rest.
                let may =
                    may.map(str::to_owned)[..if self.state.survives { 3 } else { 2 }].to_vec();
                match first {
                    Err(e @ (Error::SessionLost { .. } | Error::ConnectionLost(_))) => {
                        let text = e.to_string();
                        let named = text.contains(reason.text());
                        self.holds(format!("after a kill: {text}"), named);
                    }
                    other => self.holds(format!("after a kill: {other:?}"), false),
                }
                self.reason("after a kill", &a, None);
                if !matches!(self.state.others, Others::SeeOther) {
                    let seen = see(&mut a, self.state.probe);
                    self.holds(
                        format!("after the loss: {seen}, not {may:?}"),
                        may.contains(&seen),
                    );
                }
            }
            _ => {}
        }
    }

    /// A change of user begins anew.
    fn left_by_a_change(&mut self) {
        if matches!(self.state.others, Others::Wait | Others::See(..)) {
            return;
        }
        let mux = builder().max_links(1).build();
        let mut a = self.made(&mux, self.ground.opts());
        let other = &self.ground.other;
        let change = ChangeUserOpts::new()
            .with_user(Some(other.name.clone()))
            .with_pass(Some(other.password.clone()));
        let changed = told(a.change_user(change));
        self.same("a change of user", changed, String::new());
        self.reason("behind a change of user", &a, None);
        if !self.state.probe.is_empty() {
            let seen = see(&mut a, self.state.probe);
            match self.state.others {
                Others::SeeOther => self.holds("it is there still", seen != self.right.seen),
                _ => self.same("behind a change of user", seen, self.right.begun.clone()),
            }
        }
    }

    fn all(&mut self) {
        match self.state.kept {
            Kept::Moves => {
                self.moves();
                self.ends();
                self.dropped();
                self.left_by_a_change();
                self.killed();
            }
            Kept::Pins(reason) => {
                self.pins(reason);
                self.denied(reason);
                self.ends();
                self.dropped();
                self.left_by_a_change();
                self.killed();
            }
            Kept::InsertId => self.left(|opts| opts.keep_insert_id(true)),
            Kept::Diagnostics => self.left(|opts| opts.keep_diagnostics(true)),
            Kept::Nothing => self.moves(),
            Kept::Connections | Kept::Servers => {
                let mux = builder().max_links(1).build();
                self.ground.afresh();
                let mut a = mux.connect(self.ground.opts()).unwrap();
                self.ground.make(&mut a, self.state.sql);
                self.reason("made", &a, None);
            }
        }
    }
}

/// A loss of it is told.
fn is_missed(reason: PinReason) -> bool {
    use PinReason::*;
    !matches!(reason, FoundRows | Diagnostics | ConnectionId)
}

fn try_row(state: &State, ground: &mut Ground) -> Vec<String> {
    ground.afresh();
    let mut plain = ground.plain();
    let made = ground.make(&mut plain, state.sql);
    let failed = made.iter().any(|answer| answer.starts_with("error"));
    let probe = |handle: &mut Handle| match state.probe {
        "" => String::new(),
        probe => see(handle, probe),
    };
    let seen = probe(&mut plain);
    let mut ended = Vec::new();
    let mut after = String::new();
    if let Until::Statement(ends) = state.until {
        ground.end(state, &mut plain);
        drop(plain);
        ground.afresh();
        plain = ground.plain();
        ground.make(&mut plain, state.sql);
        ended = run_all(&mut plain, ends);
        after = probe(&mut plain);
    }
    ground.end(state, &mut plain);
    drop(plain);
    ground.afresh();
    let begun = probe(&mut ground.plain());
    let right = Right {
        made,
        seen,
        ended,
        after,
        begun,
    };
    let mut trial = Trial {
        state,
        ground,
        right,
        wrong: Vec::new(),
    };
    if matches!(state.kept, Kept::Moves | Kept::Pins(_)) && !state.probe.is_empty() {
        let shows = trial.right.seen != trial.right.begun;
        trial.holds(
            format!("the probe does not show it: {}", trial.right.seen),
            shows || state.is_back,
        );
    }
    let made = format!("made: {:?}", trial.right.made);
    trial.holds(made, failed == state.fails);
    trial.all();
    trial.wrong
}

fn try_all(by: By) {
    let _alone = alone();
    let mut ground = Ground::new(by);
    // One row at a time while something is looked for.
    let only = std::env::var("MYSQL_MUX_STATE").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut count = 0;
    for state in STATES.iter().flat_map(|(_, states)| states.iter()) {
        let api = state.sql.iter().any(|sql| sql.starts_with("Handle::"));
        let tried = state.tested_by.is_empty() && (by == By::Text || !api);
        if is_here(state.servers) && tried && state.name.contains(&only) {
            let mut state = *state;
            if let (By::Prepared, Some(reason)) = (by, state.prepared) {
                state.kept = Kept::Pins(reason);
            }
            wrong.extend(try_row(&state, &mut ground));
            count += 1;
        }
    }
    let found = wrong.join("\n");
    assert!(wrong.is_empty(), "of {count} states, {by:?}:\n{found}");
    assert!(count > 100 || !only.is_empty(), "{count} states were tried");
}

#[test]
fn every_state_is_its_handles_alone() {
    try_all(By::Text);
}

#[test]
fn so_is_it_by_prepared_statements() {
    try_all(By::Prepared);
}

#[test]
fn so_is_it_by_many_statements_in_one_text() {
    try_all(By::One);
}

mod what_no_row_can_say {
    use super::*;

    fn two(mux: &Mux, opts: &OptsBuilder) -> (Handle, Handle) {
        (
            mux.connect(opts.clone()).unwrap(),
            mux.connect(opts.clone()).unwrap(),
        )
    }

    fn links(count: usize) -> Mux {
        builder().max_links(count).build()
    }

    #[test]
    fn statements_of_the_api_are_prepared_wherever_they_run() {
        let mux = links(2);
        let (mut a, mut b) = two(&mux, &server().tcp());
        let quoted = a.prep("SELECT \"a\"").unwrap();
        let schema = a.prep("SELECT DATABASE()").unwrap();
        a.query_drop("SET sql_mode = 'ANSI_QUOTES'").unwrap();
        a.query_drop("USE mysql").unwrap();
        assert_eq!(a.pin(), None);
        // Wherever the others' transactions leave room.
        for _ in 0..2 {
            b.query_drop("BEGIN").unwrap();
            for _ in 0..2 {
                let text: Option<String> = a.exec_first(&quoted, ()).unwrap();
                assert_eq!(text.as_deref(), Some("a"));
                let name: Option<String> = a.exec_first(&schema, ()).unwrap();
                assert_eq!(name.as_deref(), Some(&*server().database));
            }
            b.query_drop("ROLLBACK").unwrap();
            assert_eq!(
                one::<String>(&mut b, "SELECT @@sql_mode = @@GLOBAL.sql_mode"),
                "1"
            );
        }
        assert_eq!(one::<String>(&mut a, "SELECT @@sql_mode"), "ANSI_QUOTES");
    }

    #[test]
    fn what_the_api_keeps_a_link_for() {
        let mux = links(1);
        let (mut a, mut b) = two(&mux, &server().tcp());
        {
            let mut lease = a.lease().unwrap();
            lease.query_drop("DO 1").unwrap();
            assert_eq!(reason(&lease), Some(PinReason::Lease));
        }
        assert_eq!(a.pin(), None);
        b.query_drop("DO 1").unwrap();
        {
            let mut transaction = a.start_transaction(Default::default()).unwrap();
            transaction.query_drop("DO 1").unwrap();
            assert!(mux.stats().total.pins(PinReason::Transaction) > 0);
        }
        assert_eq!(one::<u32>(&mut b, "SELECT 1"), 1);
        {
            let rows = a.query_iter(numbers(100, 10)).unwrap();
            assert_eq!(rows.count(), 100);
        }
        assert_eq!(a.pin(), None);
        b.query_drop("DO 1").unwrap();
        {
            // Left in the middle.
            let mut rows = a.query_iter(numbers(1000, 10)).unwrap();
            assert!(rows.next().is_some());
        }
        b.query_drop("DO 1").unwrap();
        assert_eq!(one::<u32>(&mut a, "SELECT 1"), 1);
        assert_eq!(a.pin(), None);
    }

    #[test]
    fn get_diagnostics_has_the_handles_own() {
        let mux = links(2);
        let (mut a, mut b) = two(&mux, &server().tcp());
        a.query_drop("DROP TABLE IF EXISTS states_1").unwrap();
        a.query_drop("GET DIAGNOSTICS @n = NUMBER").unwrap();
        assert_eq!(one::<u32>(&mut a, "SELECT @n"), 1);
        b.query_drop("GET DIAGNOSTICS @n = NUMBER").unwrap();
        assert_eq!(one::<u32>(&mut b, "SELECT @n"), 0);
    }

    #[test]
    fn a_session_that_was_reset_has_left_nothing_and_keeps_nothing() {
        let mux = links(1);
        let (mut a, mut b) = two(&mux, &server().tcp());
        for _ in 0..2 {
            a.query_drop("DROP TABLE IF EXISTS states_1").unwrap();
            assert_eq!(see(&mut a, "SHOW COUNT(*) WARNINGS"), "1");
            assert_eq!(reason(&a), Some(PinReason::Diagnostics));
            a.reset().unwrap();
            assert_eq!(a.pin(), None);
            b.query_drop("DROP TABLE IF EXISTS states_1, states_2")
                .unwrap();
            assert_eq!(see(&mut a, "SHOW COUNT(*) WARNINGS"), "0");
            a.reset().unwrap();
        }
        b.query_drop("SELECT 1 UNION SELECT 2").unwrap();
        assert_eq!(see(&mut a, "SELECT FOUND_ROWS()"), "0");
        a.reset().unwrap();
        assert_eq!(see(&mut a, "SELECT LAST_INSERT_ID()"), "0");
    }

    #[test]
    fn a_lock_that_another_has_pins_nothing() {
        let _alone = alone();
        let lock = unique("states");
        let mux = links(2);
        let (mut a, mut b) = two(&mux, &server().tcp());
        let (take, release) = (
            format!("SELECT GET_LOCK('{lock}', 0)"),
            format!("SELECT RELEASE_LOCK('{lock}')"),
        );
        assert_eq!(see(&mut a, &take), "1");
        assert_eq!(see(&mut b, &take), "0");
        assert_eq!(b.pin(), None);
        // Taken twice, it is there until it was released twice.
        assert_eq!(see(&mut a, &take), "1");
        assert_eq!(see(&mut a, &release), "1");
        assert_eq!(reason(&a), Some(PinReason::UserLock));
        assert_eq!(see(&mut b, &take), "0");
        assert_eq!(see(&mut a, &release), "1");
        assert_eq!(a.pin(), None);
        assert_eq!(see(&mut b, &take), "1");
        assert_eq!(see(&mut b, "DO RELEASE_ALL_LOCKS()"), "");
        assert_eq!(b.pin(), None);
    }

    #[test]
    fn the_connection_id_stays_the_handles() {
        let mux = links(2);
        let (mut a, mut b) = two(&mux, &server().tcp());
        let id: u32 = one(&mut a, "SELECT CONNECTION_ID()");
        assert_eq!(reason(&a), Some(PinReason::ConnectionId));
        for _ in 0..3 {
            b.query_drop("DO 1").unwrap();
            b.query_drop("SET time_zone = '+03:00'").unwrap();
            assert_eq!(one::<u32>(&mut a, "SELECT CONNECTION_ID()"), id);
            assert_eq!(one::<u32>(&mut a, "SELECT @@pseudo_thread_id"), id);
        }
        assert_ne!(one::<u32>(&mut b, "SELECT CONNECTION_ID()"), id);
        a.reset().unwrap();
        assert_eq!(a.pin(), None);
    }

    /// As on a connection of its own, whose session begins once.
    #[test]
    fn a_global_value_is_that_of_when_the_links_session_began() {
        const NAME: &str = "max_length_for_sort_data";
        let _alone = alone();
        let mux = links(1);
        let mut root = server().root();
        let ask = format!("SELECT @@SESSION.{NAME}");
        let before: u64 = one(&mut root, &format!("SELECT @@GLOBAL.{NAME}"));
        let mut a = mux.connect(server().tcp()).unwrap();
        assert_eq!(one::<u64>(&mut a, &ask), before);
        root.query_drop(format!("SET GLOBAL {NAME} = {}", before + 8))
            .unwrap();
        let mut b = mux.connect(server().tcp()).unwrap();
        let stale: u64 = one(&mut b, &ask);
        b.reset().unwrap();
        let reset: u64 = one(&mut b, &ask);
        root.query_drop(format!("SET GLOBAL {NAME} = {before}"))
            .unwrap();
        assert_eq!(stale, before, "the link's session began before");
        assert_eq!(reset, before + 8);
    }

    #[test]
    fn a_resource_group_is_left_with_the_session_whatever_the_isolation() {
        const ASK: &str = "SELECT resource_group FROM performance_schema.threads \
             WHERE processlist_id = CONNECTION_ID()";
        if !is_here(MySql) {
            return;
        }
        let _alone = alone();
        let ground = Ground::new(By::Text);
        for isolation in [Isolation::Session, Isolation::Reset] {
            for opts in [ground.opts(), ground.other.tcp()] {
                let mux = links(1);
                let mut a = mux.connect(ground.opts().isolation(isolation)).unwrap();
                a.query_drop("SET /* */ RESOURCE  GROUP states_group")
                    .unwrap();
                drop(a);
                let mut b = mux.connect(opts.isolation(isolation)).unwrap();
                assert_eq!(one::<String>(&mut b, ASK), "USR_default", "{isolation:?}");
            }
        }
    }
}

#[test]
fn the_page_is_what_the_rows_say() {
    page::check();
}
