//! Where two outcomes part, told so that a person sees it.

use crate::outcome::{Outcome, Reply};

/// What comparing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// The first side said that it can't go on; its handle is compared no more.
    Honest(&'static str),
    /// In words, for both sides.
    Differs(String),
}

/// Compares what the side under test had with what it should have had.
pub fn compare(tested: &Outcome, expected: &Outcome) -> Verdict {
    match (tested, expected) {
        (Outcome::Honest { kind, .. }, _) => Verdict::Honest(kind),
        // A lock was waited for, for as long as the machine took over something else.
        (_, expected) if expected.is_lock_wait() => Verdict::Honest("a lock wait of the reference"),
        // Nothing that a program does is a client's error, not even on both sides.
        (_, Outcome::Replies { replies, .. })
            if replies
                .iter()
                .any(|reply| matches!(reply, Reply::Client(_))) =>
        {
            Verdict::Differs("that the expected side's client failed".into())
        }
        _ if tested == expected => Verdict::Same,
        _ => Verdict::Differs(difference(tested, expected)),
    }
}

fn difference(tested: &Outcome, expected: &Outcome) -> String {
    if let (Outcome::Replies { replies: one, .. }, Outcome::Replies { replies: other, .. }) =
        (tested, expected)
    {
        if one.len() != other.len() {
            return format!("{} results against {}", one.len(), other.len());
        }
        for (one, other) in one.iter().zip(other) {
            if one != other {
                return of_replies(one, other);
            }
        }
        return "what the connection says of the last reply".into();
    }
    "what it came to".into()
}

fn of_replies(one: &Reply, other: &Reply) -> String {
    let (
        Reply::Rows { columns, rows },
        Reply::Rows {
            columns: other_columns,
            rows: other_rows,
        },
    ) = (one, other)
    else {
        return "a reply".into();
    };
    if columns != other_columns {
        let pair = columns.iter().zip(other_columns).find(|(a, b)| a != b);
        return match pair {
            Some((a, b)) => format!("a column: {a:?} against {b:?}"),
            None => format!("{} columns against {}", columns.len(), other_columns.len()),
        };
    }
    let only = |these: &[Vec<_>], those: &[Vec<_>]| -> Vec<String> {
        let only = these.iter().filter(|row| !those.contains(row));
        only.take(8).map(|row| format!("{row:?}")).collect()
    };
    let (here, there) = (only(rows, other_rows), only(other_rows, rows));
    if here.is_empty() && there.is_empty() {
        return "the order or number of rows".into();
    }
    format!("rows: {} against {}", here.join(", "), there.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Cell;

    fn rows(values: &[i64]) -> Outcome {
        Outcome::one(Reply::Rows {
            columns: Vec::new(),
            rows: values.iter().map(|value| vec![Cell::Int(*value)]).collect(),
        })
    }

    #[test]
    fn equal_is_same() {
        assert_eq!(compare(&rows(&[1, 2]), &rows(&[1, 2])), Verdict::Same);
    }

    #[test]
    fn the_row_that_differs_is_named() {
        let Verdict::Differs(text) = compare(&rows(&[1, 2, 3]), &rows(&[1, 5, 3])) else {
            panic!("they differ");
        };
        assert_eq!(text, "rows: [2] against [5]");
        assert!(matches!(
            compare(&rows(&[1, 2]), &rows(&[2, 1])),
            Verdict::Differs(_)
        ));
    }

    #[test]
    fn an_honest_error_is_no_difference() {
        let honest = Outcome::Honest {
            kind: "SessionLost",
            text: String::new(),
        };
        assert_eq!(
            compare(&honest, &rows(&[1])),
            Verdict::Honest("SessionLost")
        );
        // Only the side under test may be so.
        assert!(matches!(compare(&rows(&[1]), &honest), Verdict::Differs(_)));
    }

    #[test]
    fn a_client_that_fails_tells_nothing() {
        let failed = Outcome::one(Reply::Client("out of sync".into()));
        assert!(matches!(compare(&failed, &failed), Verdict::Differs(_)));
    }

    #[test]
    fn errors_compare_by_all_that_they_tell() {
        let error = |code, message: &str| {
            Outcome::one(Reply::Error {
                code,
                state: "HY000".into(),
                message: message.into(),
            })
        };
        assert_eq!(compare(&error(1, "a"), &error(1, "a")), Verdict::Same);
        assert_ne!(compare(&error(1, "a"), &error(2, "a")), Verdict::Same);
        assert_ne!(compare(&error(1, "a"), &error(1, "b")), Verdict::Same);
        assert_ne!(compare(&error(1, "a"), &rows(&[])), Verdict::Same);
    }
}
