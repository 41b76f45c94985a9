//! The words that say something of a statement's effect: keywords and built-in functions, found
//! by their hash. It doesn't know where in a statement they stand.
//!
//! Source: <https://dev.mysql.com/doc/refman/8.4/en/keywords.html>,
//! <https://mariadb.com/kb/en/reserved-words/>

use super::{functions, token::hash};

/// What a word is that has a parenthesis behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A stored function, for all we know.
    Unknown,
    Builtin,
    /// A built-in function, if there is nothing between it and the parenthesis.
    Attached,
    /// A built-in function, if `OVER` follows.
    Windowed,
    /// Reserved in all servers, so that no function can have its name without quotes.
    Keyword,
    /// A data type, behind `AS`.
    Type,
    /// A keyword, if the parenthesis is a subquery's.
    Subquery,
    /// A keyword, if it stands behind a closing parenthesis, where no call can be.
    BehindClose,
}

/// What a word is wherever it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    None,
    Select,
    /// `INSERT`, `REPLACE`
    Insert,
    Update,
    Delete,
    With,
    Recursive,
    Into,
    /// May stand between `INSERT` and its table.
    Modifier,
    As,
    For,
    Lock,
    Share,
    Over,
    Value,
    /// `NOWAIT`, `WAIT`: how long a lock is waited for.
    Wait,
    InformationSchema,
    /// A table of `information_schema` about which no session matters.
    Metadata,
    /// The schema `sys`, or a word like any other.
    Sys,
    /// Nothing can be said of a statement with this word.
    Forbidden,
}

/// What is known of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub call: Call,
    pub role: Role,
}

#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    word: Word,
}

impl Word {
    /// A word of which nothing is known.
    pub(super) const UNKNOWN: Word = Word {
        call: Call::Unknown,
        role: Role::None,
    };

    /// The same in quotes: a name, and no keyword.
    pub(super) fn in_quotes(self) -> Word {
        let role = match self.role {
            Role::InformationSchema | Role::Metadata | Role::Sys | Role::Forbidden => self.role,
            _ => Role::None,
        };
        let call = Call::Unknown;
        Word { role, call }
    }
}

const fn word(name: &'static str, call: Call, role: Role) -> Entry {
    let word = Word { call, role };
    Entry { name, word }
}

const WITH_ROLE: &[Entry] = &[
    word("as", Call::Keyword, Role::As),
    word("delete", Call::Unknown, Role::Delete),
    word("for", Call::Unknown, Role::For),
    word("high_priority", Call::Unknown, Role::Modifier),
    word("ignore", Call::Unknown, Role::Modifier),
    word("information_schema", Call::Unknown, Role::InformationSchema),
    word("insert", Call::Builtin, Role::Insert),
    word("into", Call::Unknown, Role::Into),
    word("lock", Call::Unknown, Role::Lock),
    word("low_priority", Call::Unknown, Role::Modifier),
    word("nowait", Call::Unknown, Role::Wait),
    word("over", Call::BehindClose, Role::Over),
    word("recursive", Call::Unknown, Role::Recursive),
    word("replace", Call::Builtin, Role::Insert),
    word("select", Call::Keyword, Role::Select),
    word("share", Call::Unknown, Role::Share),
    word("sys", Call::Unknown, Role::Sys),
    word("update", Call::Keyword, Role::Update),
    word("value", Call::BehindClose, Role::Value),
    word("wait", Call::Unknown, Role::Wait),
    word("with", Call::Unknown, Role::With),
];

/// Reserved since MySQL 5.7 and MariaDB 10.5.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "and", "between", "binary", "by", "case", "decimal", "distinct", "distinctrow", "div",
    "double", "else", "exists", "float", "from", "having", "in", "index", "join", "key", "like",
    "not", "on", "or", "partition", "regexp", "rlike", "straight_join", "then", "union", "using",
    "varbinary", "varchar", "when", "where", "xor",
];

const TYPES: &[&str] = &["datetime", "nchar"];

const SUBQUERIES: &[&str] = &["any", "except", "intersect", "lateral", "some"];

const BEHIND_CLOSE: &[&str] = &["against"];

#[rustfmt::skip]
const METADATA: &[&str] = &[
    "character_sets", "collations", "columns", "engines", "events", "key_column_usage",
    "parameters", "partitions", "referential_constraints", "routines", "schemata", "statistics",
    "table_constraints", "tables", "triggers", "views",
];

/// `rowcount` is of MariaDB's `SQL%ROWCOUNT`, `nextval` and `currval` are of its sequences, in
/// Oracle mode without parentheses. A delayed `INSERT` is run by another session, later.
#[rustfmt::skip]
const FORBIDDEN: &[&str] = &[
    "currval", "delayed", "dumpfile", "nextval", "outfile", "performance_schema", "procedure",
    "rowcount", "sql_calc_found_rows",
];

const COUNT: usize = WITH_ROLE.len()
    + KEYWORDS.len()
    + TYPES.len()
    + SUBQUERIES.len()
    + BEHIND_CLOSE.len()
    + METADATA.len()
    + FORBIDDEN.len()
    + functions::BUILTIN.len()
    + functions::ATTACHED.len()
    + functions::WINDOWED.len();

struct Filling {
    words: [Entry; COUNT],
    used: usize,
}

impl Filling {
    const fn add(mut self, names: &[&'static str], call: Call, role: Role) -> Self {
        let mut at = 0;
        while at < names.len() {
            self.words[self.used] = word(names[at], call, role);
            self.used += 1;
            at += 1;
        }
        self
    }

    const fn add_words(mut self, words: &[Entry]) -> Self {
        let mut at = 0;
        while at < words.len() {
            self.words[self.used] = words[at];
            self.used += 1;
            at += 1;
        }
        self
    }
}

const fn all() -> [Entry; COUNT] {
    let empty = Filling {
        words: [word("", Call::Unknown, Role::None); COUNT],
        used: 0,
    };
    empty
        .add_words(WITH_ROLE)
        .add(KEYWORDS, Call::Keyword, Role::None)
        .add(TYPES, Call::Type, Role::None)
        .add(SUBQUERIES, Call::Subquery, Role::None)
        .add(BEHIND_CLOSE, Call::BehindClose, Role::None)
        .add(METADATA, Call::Unknown, Role::Metadata)
        .add(FORBIDDEN, Call::Unknown, Role::Forbidden)
        .add(functions::BUILTIN, Call::Builtin, Role::None)
        .add(functions::ATTACHED, Call::Attached, Role::None)
        .add(functions::WINDOWED, Call::Windowed, Role::None)
        .words
}

static WORDS: [Entry; COUNT] = all();

/// At least four places for each word, so that most others are told by one look.
const PLACES: usize = (4 * COUNT).next_power_of_two();

/// Indices of words plus one, each behind the place of its hash.
static TABLE: [u16; PLACES] = table();

const fn place(hash: u64) -> usize {
    (hash ^ (hash >> 32)) as usize % PLACES
}

const fn table() -> [u16; PLACES] {
    let words = all();
    let mut table = [0; PLACES];
    let mut at = 0;
    while at < COUNT {
        let mut place = place(hash(words[at].name.as_bytes()));
        while table[place] != 0 {
            place = (place + 1) % PLACES;
        }
        at += 1;
        table[place] = at as u16;
    }
    table
}

/// What is known of a word, whose [`hash`] this is.
pub(super) fn find(text: &[u8], hash: u64) -> Word {
    let mut place = place(hash);
    loop {
        let index = TABLE[place] as usize;
        if index == 0 {
            return Word::UNKNOWN;
        }
        let entry = &WORDS[index - 1];
        if entry.name.as_bytes().eq_ignore_ascii_case(text) {
            return entry.word;
        }
        place = (place + 1) % PLACES;
    }
}

/// Whether a view of a schema, whose name is in lower case, is of the session, or of others by their
/// connection.
pub(super) fn is_of_sessions(schema: &[u8], view: &[u8]) -> bool {
    match schema {
        b"performance_schema" | b"sys" => true,
        b"information_schema" => find(view, hash(view)).role != Role::Metadata,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_and_there_once() {
        for Entry { name, word } in &WORDS {
            let text = name.to_ascii_uppercase();
            assert_eq!(find(text.as_bytes(), hash(text.as_bytes())), *word);
            assert_eq!(WORDS.iter().filter(|w| w.name == *name).count(), 1);
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn other_words_are_unknown() {
        for text in ["", "LAST_INSERT_ID", "selec", "selects", "\u{e9}"] {
            assert_eq!(find(text.as_bytes(), hash(text.as_bytes())), Word::UNKNOWN);
        }
    }
}
