//! Reading results: the two crates name everything alike, so what reads one reads the other.

/// The column flags that are compared: not null, blob, unsigned, zerofill, binary, enum, timestamp,
/// set. Those about keys depend on how the server came by the rows.
pub(super) const OF_THE_TYPE: u16 = 1 | 16 | 32 | 64 | 128 | 256 | 1024 | 2048;

/// A `Cell` of a value.
macro_rules! cell {
    ($krate:ident, $value:expr, $names:expr) => {
        match $value {
            $krate::Value::NULL => Cell::Null,
            $krate::Value::Bytes(bytes) => Cell::Bytes($names.strip_bytes(bytes)),
            $krate::Value::Int(number) => Cell::Int(number),
            $krate::Value::UInt(number) => Cell::UInt(number),
            $krate::Value::Float(number) => Cell::Float(number.to_bits()),
            $krate::Value::Double(number) => Cell::Double(number.to_bits()),
            $krate::Value::Date(y, m, d, h, i, s, u) => Cell::Date([
                y.into(),
                m.into(),
                d.into(),
                h.into(),
                i.into(),
                s.into(),
                u,
            ]),
            $krate::Value::Time(negative, d, h, i, s, u) => {
                Cell::Time(negative, [d, h.into(), i.into(), s.into(), u])
            }
        }
    };
}

/// Columns.
macro_rules! columns {
    ($columns:expr, $names:expr) => {
        $columns
            .iter()
            .map(|column| {
                let column = Column {
                    name: $names.strip(&column.name_str()),
                    table: $names.strip(&column.table_str()),
                    org_table: $names.strip(&column.org_table_str()),
                    org_name: $names.strip(&column.org_name_str()),
                    schema: $names.strip(&column.schema_str()),
                    kind: column.column_type() as u8,
                    flags: column.flags().bits() & OF_THE_TYPE,
                    charset: crate::outcome::character_set(column.character_set()),
                    length: column.column_length(),
                    decimals: column.decimals(),
                };
                column.without_what_a_variable_was()
            })
            .collect::<Vec<Column>>()
    };
}

/// All replies of a result; `$error` makes an outcome, whole or a reply, of an error.
macro_rules! replies {
    ($krate:ident, $result:expr, $names:expr, $error:expr) => {{
        let mut replies = Vec::new();
        let mut result = $result;
        let mut honest = None;
        'sets: while let Some(mut set) = result.iter() {
            let columns = columns!(set.columns().as_ref(), $names);
            if columns.is_empty() {
                let ok = Reply::Ok {
                    affected: set.affected_rows(),
                    last_insert_id: set.last_insert_id(),
                    warnings: set.warnings(),
                    info: $names.strip(&set.info_str()),
                };
                match set.next() {
                    Some(Err(e)) => match $error(e) {
                        Ok(reply) => replies.push(reply),
                        Err(outcome) => {
                            honest = Some(outcome);
                            break 'sets;
                        }
                    },
                    _ => replies.push(ok),
                }
                continue;
            }
            let mut rows = Vec::new();
            let mut failed = None;
            for row in set {
                match row {
                    Ok(row) => rows.push(
                        row.unwrap()
                            .into_iter()
                            .map(|value| cell!($krate, value, $names))
                            .collect::<Vec<Cell>>(),
                    ),
                    Err(e) => match $error(e) {
                        Ok(reply) => failed = Some(reply),
                        Err(outcome) => {
                            honest = Some(outcome);
                            break 'sets;
                        }
                    },
                }
            }
            // How many rows came before an error within a set is no promise of either crate.
            match failed {
                Some(error) => replies.push(error),
                None => replies.push(Reply::Rows { columns, rows }),
            }
        }
        match honest {
            Some(outcome) => Err(outcome),
            None => Ok(replies),
        }
    }};
}

/// Values for parameters.
macro_rules! values {
    ($krate:ident, $params:expr, $names:expr) => {
        match $params.as_slice() {
            [] => $krate::Params::Empty,
            params => $krate::Params::Positional(
                params
                    .iter()
                    .map(|param| match param {
                        Param::Null => $krate::Value::NULL,
                        Param::Int(number) => $krate::Value::Int(*number),
                        Param::Double(number) => $krate::Value::Double(*number),
                        Param::Text(text) => $krate::Value::Bytes($names.put(text).into_bytes()),
                    })
                    .collect(),
            ),
        }
    };
}

/// An outcome of replies that were read; `$conn` had them.
macro_rules! outcome {
    ($conn:expr, $read:expr, $names:expr) => {
        match $read {
            Ok(replies) => {
                let failed = replies.iter().any(|reply| {
                    !matches!(reply, Reply::Ok { .. } | Reply::Rows { .. } | Reply::NoRows)
                });
                Outcome::Replies {
                    replies,
                    last: (!failed).then(|| Last {
                        affected: $conn.affected_rows(),
                        insert_id: $conn.last_insert_id(),
                        warnings: $conn.warnings(),
                        info: $names.strip(&$conn.info_str()),
                    }),
                }
            }
            Err(outcome) => outcome,
        }
    };
}

/// How a side does all that a program asks for; `$conn` is its connection.
macro_rules! act {
    ($krate:ident, $self:ident, $action:ident, $error:expr) => {{
        let names = $self.names.clone();
        let error = $error;
        let done = |result: Result<(), $krate::Error>| match result {
            Ok(()) => Outcome::nothing(),
            Err(e) => error(e).map_or_else(|outcome| outcome, Outcome::one),
        };
        let read = match $action {
            Action::Query(sql) => match $self.conn.query_iter(names.put(sql)) {
                Ok(result) => replies!($krate, result, names, error),
                Err(e) => error(e).map(|reply| vec![reply]),
            },
            Action::Run(sql, params) => {
                match $self
                    .conn
                    .exec_iter(names.put(sql), values!($krate, params, names))
                {
                    Ok(result) => replies!($krate, result, names, error),
                    Err(e) => error(e).map(|reply| vec![reply]),
                }
            }
            Action::Execute(slot, params) => match $self.slots.get(slot) {
                None => Ok(vec![Reply::Unfit]),
                Some(statement) => match $self
                    .conn
                    .exec_iter(statement, values!($krate, params, names))
                {
                    Ok(result) => replies!($krate, result, names, error),
                    Err(e) => error(e).map(|reply| vec![reply]),
                },
            },
            Action::Prepare(slot, sql) => {
                // It may be the first to say that the session is lost.
                if let Some(old) = $self.slots.remove(slot)
                    && let Err(e) = $self.conn.close(old)
                    && let Err(outcome) = error(e)
                {
                    return outcome;
                }
                match $self.conn.prep(names.put(sql)) {
                    Ok(statement) => {
                        let reply = Reply::Prepared {
                            params: statement.num_params().into(),
                            columns: columns!(statement.columns(), names),
                        };
                        $self.slots.insert(*slot, statement);
                        Ok(vec![reply])
                    }
                    Err(e) => error(e).map(|reply| vec![reply]),
                }
            }
            Action::Close(slot) => match $self.slots.remove(slot) {
                None => Ok(vec![Reply::Unfit]),
                Some(statement) => return done($self.conn.close(statement)),
            },
            Action::SelectDb(name) => return done($self.conn.select_db(&names.put(name))),
            Action::Ping => return done($self.conn.ping()),
            Action::Reset => {
                // What was prepared before is not part of what a reset keeps.
                $self.slots.clear();
                return done($self.reset());
            }
            Action::Kill { .. } | Action::Hold(_) | Action::Release => {
                unreachable!("the runner does that")
            }
        };
        outcome!($self.conn, read, names)
    }};
}

pub(super) use {act, cell, columns, outcome, replies, values};
