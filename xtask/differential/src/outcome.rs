//! What a client sees of a step, in a form that compares, whichever crate it came from.

use std::fmt;

/// Characters of a value that are shown.
const LONG: usize = 100;

/// A value of a row.
#[derive(Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Bytes(Vec<u8>),
    Int(i64),
    UInt(u64),
    /// By its bits, for `NaN` is what it is.
    Float(u32),
    Double(u64),
    Date([u32; 7]),
    Time(bool, [u32; 5]),
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => write!(f, "NULL"),
            Cell::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if text.chars().count() > LONG => {
                    let start: String = text.chars().take(LONG).collect();
                    write!(f, "{start:?}… of {} bytes", bytes.len())
                }
                Ok(text) => write!(f, "{text:?}"),
                Err(_) => write!(f, "{bytes:02x?}"),
            },
            Cell::Int(number) => write!(f, "{number}"),
            Cell::UInt(number) => write!(f, "{number}u"),
            Cell::Float(bits) => write!(f, "{:?}f", f32::from_bits(*bits)),
            Cell::Double(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Cell::Date(parts) => write!(f, "date {parts:?}"),
            Cell::Time(negative, parts) => {
                write!(f, "{}time {parts:?}", if *negative { "-" } else { "" })
            }
        }
    }
}

/// The character set of a collation, by one of its collations.
pub fn character_set(collation: u16) -> u16 {
    match collation {
        5 | 8 | 15 | 31 | 47..=49 | 94 => 8,
        33 | 76 | 83 | 192..=215 | 223 => 33,
        45 | 46 | 224..=247 | 255..=323 => 45,
        28 | 87 => 28,
        other => other,
    }
}

/// What the server tells of a column.
#[derive(Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub table: String,
    pub org_table: String,
    pub org_name: String,
    pub schema: String,
    pub kind: u8,
    pub flags: u16,
    /// The character set, by one of its collations. Of `SET NAMES … COLLATE` the collation is told with
    /// columns, and there is no variable for it: it is not the session's to restore.
    pub charset: u16,
    pub length: u32,
    pub decimals: u8,
}

impl Column {
    /// Of a user variable that was never set the servers tell by its column whether it was asked for
    /// before, on that connection. What it is otherwise is asked for by `CHARSET()` and `COLLATION()`.
    pub fn without_what_a_variable_was(mut self) -> Column {
        if self.name.starts_with('@') && !self.name.starts_with("@@") {
            (
                self.kind,
                self.flags,
                self.charset,
                self.length,
                self.decimals,
            ) = (0, 0, 0, 0, 0);
        }
        self
    }
}

impl Outcome {
    /// One of its replies is ER_LOCK_WAIT_TIMEOUT.
    pub fn is_lock_wait(&self) -> bool {
        match self {
            Outcome::Replies { replies, .. } => replies
                .iter()
                .any(|reply| matches!(reply, Reply::Error { code: 1205, .. })),
            _ => false,
        }
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (type {}, flags {:#x}, charset {}, length {}, decimals {}, {}.{}.{} as {})",
            self.name,
            self.kind,
            self.flags,
            self.charset,
            self.length,
            self.decimals,
            self.schema,
            self.org_table,
            self.org_name,
            self.table
        )
    }
}

/// One of a step's replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok {
        affected: u64,
        last_insert_id: Option<u64>,
        warnings: u16,
        info: String,
    },
    Rows {
        columns: Vec<Column>,
        rows: Vec<Vec<Cell>>,
    },
    Prepared {
        params: usize,
        columns: Vec<Column>,
    },
    /// No row, of an empty set or of none; see [`crate::way::Way::tells`].
    NoRows,
    /// The server's error.
    Error {
        code: u16,
        state: String,
        message: String,
    },
    /// The parameters don't fit, or the slot is empty: nothing was sent.
    Unfit,
    /// Anything else that went wrong on the client's side.
    Client(String),
}

/// What a connection says of the last reply, whichever that was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    pub affected: u64,
    pub insert_id: u64,
    pub warnings: u16,
    pub info: String,
}

/// All of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Replies {
        replies: Vec<Reply>,
        /// Where none was an error.
        last: Option<Last>,
    },
    /// The mux said that it can't, by one of the errors that it documents for that.
    Honest { kind: &'static str, text: String },
}

impl Outcome {
    /// The only thing that came of it.
    pub fn one(reply: Reply) -> Outcome {
        Outcome::Replies {
            replies: vec![reply],
            last: None,
        }
    }

    /// That of a step that has no replies and didn't fail.
    pub fn nothing() -> Outcome {
        Outcome::Replies {
            replies: Vec::new(),
            last: None,
        }
    }

    /// A connection tells this of the last of several steps that it did together, not of those before.
    pub fn without_last(self) -> Outcome {
        match self {
            Outcome::Replies { replies, .. } => Outcome::Replies {
                replies,
                last: None,
            },
            honest => honest,
        }
    }

    /// The same, whatever character sets its columns have.
    pub fn without_character_sets(mut self) -> Outcome {
        if let Outcome::Replies { replies, .. } = &mut self {
            for reply in replies {
                if let Reply::Rows { columns, .. } = reply {
                    for column in columns {
                        (column.charset, column.length) = (0, 0);
                    }
                }
            }
        }
        self
    }

    pub fn is_honest(&self) -> bool {
        matches!(self, Outcome::Honest { .. })
    }

    /// It may have been done all the same.
    pub fn may_have_run(&self) -> bool {
        matches!(self, Outcome::Honest { kind, .. } if *kind == "ConnectionLost")
    }

    /// There was no link for it.
    pub fn is_wait_in_vain(&self) -> bool {
        matches!(self, Outcome::Honest { kind, .. } if *kind == "AcquireTimeout")
    }

    /// The server's error codes in it.
    pub fn error(&self) -> Option<u16> {
        match self {
            Outcome::Replies { replies, .. } => replies.iter().find_map(|reply| match reply {
                Reply::Error { code, .. } => Some(*code),
                _ => None,
            }),
            Outcome::Honest { .. } => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MANY: usize = 12;
        let (replies, last) = match self {
            Outcome::Honest { kind, text } => return write!(f, "honest error {kind}: {text}"),
            Outcome::Replies { replies, last } => (replies, last),
        };
        for (at, reply) in replies.iter().enumerate() {
            if at > 0 {
                write!(f, "; ")?;
            }
            match reply {
                Reply::Ok {
                    affected,
                    last_insert_id,
                    warnings,
                    info,
                } => write!(
                    f,
                    "ok, {affected} affected, insert id {last_insert_id:?}, {warnings} warnings, {info:?}"
                )?,
                Reply::Rows { columns, rows } => {
                    let names: Vec<_> = columns.iter().map(|column| &column.name).collect();
                    write!(f, "{} rows of {names:?}", rows.len())?;
                    // Of many, those that differ are told apart.
                    if rows.len() <= MANY {
                        for row in rows {
                            write!(f, " {row:?}")?;
                        }
                    }
                }
                Reply::Prepared { params, columns } => {
                    write!(f, "prepared, {params} parameters, {columns:?}")?;
                }
                Reply::Error {
                    code,
                    state,
                    message,
                } => write!(f, "error {code} ({state}): {message}")?,
                Reply::NoRows => write!(f, "no rows")?,
                Reply::Unfit => write!(f, "nothing was sent")?,
                Reply::Client(text) => write!(f, "client error: {text}")?,
            }
        }
        if let Some(last) = last {
            write!(
                f,
                " (last: {} affected, insert id {}, {} warnings, {:?})",
                last.affected, last.insert_id, last.warnings, last.info
            )?;
        }
        Ok(())
    }
}
