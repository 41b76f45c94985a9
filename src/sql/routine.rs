//! Where a statement ends: a routine's body has semicolons of its own.

use super::{pieces::What, reader::Reader};

const TYPES: &[&str] = &["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "LIBRARY"];
const COMPOUNDS: &[&str] = &["IF", "LOOP", "WHILE", "REPEAT", "FOR"];
const STARTERS: &[&str] = &["BEGIN", "THEN", "ELSE", "DO", "LOOP", "REPEAT", "ROW"];

/// The index of the semicolon that ends the first statement, or of the end.
///
/// If a body's blocks end too early by this, the rest of it is taken for statements: more
/// than is done.
pub(super) fn end(reader: &mut Reader) -> usize {
    let is_routine = is_routine(reader);
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(what) = reader.what(at) {
        match what {
            What::Semicolon if depth == 0 => return at,
            What::Word if is_routine && !reader.is_behind_dot(at) => {
                let (step, by) = block(reader, at);
                depth = depth.saturating_add_signed(by);
                at += step;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    match depth {
        0 => at,
        // The blocks weren't understood: the body's first statement ends it.
        _ => (0..at)
            .find(|at| reader.what(*at) == Some(What::Semicolon))
            .unwrap_or(at),
    }
}

/// How many words open or close how many blocks.
fn block(reader: &Reader, at: usize) -> (usize, isize) {
    let is_at_start = at > 0
        && (matches!(reader.what(at - 1), Some(What::Semicolon | What::Odd))
            || reader.is_any(at - 1, STARTERS));
    if reader.is(at, "END") {
        let is_named = reader.is(at + 1, "CASE") || reader.is_any(at + 1, COMPOUNDS);
        return (1 + is_named as usize, -1);
    }
    // The name of what is created, or of its table, may be `begin`.
    let is_name = at > 0
        && (reader.is_any(at - 1, TYPES) || reader.is_any(at - 1, &["EXISTS", "ON"]))
        || reader.what(at + 1) == Some(What::Open);
    let opens = reader.is(at, "CASE")
        || reader.is(at, "BEGIN") && !is_name
        || is_at_start && reader.is_any(at, COMPOUNDS);
    (1, opens as isize)
}

fn is_routine(reader: &mut Reader) -> bool {
    if !reader.eat_any(&["CREATE", "ALTER"]) {
        return false;
    }
    reader.definition_head();
    reader.is_any(reader.at, TYPES)
}
