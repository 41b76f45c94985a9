//! A statement for people: without its literals, in which secrets are.

use super::pieces::{self, Piece, Pieces, What};

/// In characters.
const LIMIT: usize = 120;

/// The statement with a `?` for each literal, without comments, and not longer than a line or two.
///
/// Where SQL modes would find literals in different places, it ends; where not even the modes
/// tell, it is the first word only.
pub(crate) fn outline(sql: &[u8]) -> String {
    let mut readings = pieces::modes(sql).map(|modes| pieces::pieces(sql, modes));
    // There is at least one.
    let Some(Pieces {
        mut all,
        mut doubtful,
        mut refused,
    }) = readings.next()
    else {
        return String::new();
    };
    let mut cut = false;
    for reading in readings {
        doubtful |= reading.doubtful;
        refused |= reading.refused;
        let same = all.iter().zip(&reading.all);
        let same = same.take_while(|(one, other)| is_same(one, other)).count();
        cut |= same < all.len() || same < reading.all.len();
        all.truncate(same);
    }
    // What the server refuses may be the rest of a literal that was begun elsewhere.
    if doubtful || refused && !cut {
        let first = all.first().filter(|piece| piece.what == What::Word);
        cut |= all.len() > 1 || first.is_none();
        all = first.copied().into_iter().collect();
    }
    shorten(text(sql, &all, LIMIT + 1), cut)
}

fn is_same(one: &Piece, other: &Piece) -> bool {
    (one.start, one.end) == (other.start, other.end)
}

fn text(sql: &[u8], pieces: &[Piece], limit: usize) -> String {
    let mut text = String::new();
    let mut end = None;
    for piece in pieces {
        if text.chars().count() > limit {
            break;
        }
        if end.is_some_and(|end| end < piece.start) {
            text.push(' ');
        }
        end = Some(piece.end);
        let bytes = &sql[piece.start..piece.end];
        let is_double = bytes.first() == Some(&b'"');
        match piece.what {
            What::Text | What::Literal => text.push('?'),
            What::Name if is_double => text.push('?'),
            What::UserVariable if matches!(bytes.get(1), Some(b'\'' | b'"')) => {
                text.push_str("@?");
            }
            What::Name => {
                let name = String::from_utf8_lossy(bytes);
                let name = name.split_whitespace().collect::<Vec<_>>();
                text.push_str(&name.join(" "));
            }
            _ => text.push_str(&String::from_utf8_lossy(bytes)),
        }
    }
    text
}

fn shorten(text: String, cut: bool) -> String {
    let is_long = text.chars().count() + cut as usize > LIMIT;
    if !is_long && !cut {
        return text;
    }
    let mut short: String = text.chars().take(LIMIT - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('\u{2026}');
    short
}
