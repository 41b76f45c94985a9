//! User variables: how they are read back from a link and set again on another, with type, collation
//! and NULL kept. Each is kept as the expression that makes it.
//!
//! What a variable has besides its value is told by the column of a result that shows it, and by
//! `COLLATION()`. Sources: <https://dev.mysql.com/doc/refman/8.4/en/user-variables.html>,
//! `Item_func_get_user_var` and `update_hash` in `sql/item_func.cc` of both servers; that all of it
//! comes back is tried on both by `tests/variables.rs`.

use std::{fmt::Write, sync::Arc};

use mysql_common::{
    constants::{ColumnFlags, ColumnType},
    packets::Column,
};

use super::variables::{self, Shared};

/// The bytes of a value that is moved; one that is larger stays.
const LARGEST: usize = 16 << 10;

/// No more are moved than these.
const MOST: usize = 64;

/// The character set that binary strings have.
const BINARY: u16 = 63;

/// What became of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learned {
    /// This expression makes it.
    Value(Vec<u8>),
    /// It doesn't exist.
    Nothing,
    /// It is too large, or of a type that isn't known.
    Stays,
}

/// The two statements that ask for variables: one for their types, one for what is in them.
pub(crate) fn ask(names: &[Arc<str>]) -> [String; 2] {
    let mut types = String::from("SELECT ");
    let mut values = String::from("SELECT ");
    for (i, name) in names.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        // A string takes everything.
        let _ = write!(types, "{comma}@`{name}`");
        let _ = write!(
            values,
            "{comma}CAST(HEX(LEFT(CAST(@`{name}` AS BINARY), {})) AS BINARY), \
             CAST(COLLATION(@`{name}`) AS BINARY)",
            LARGEST + 1
        );
    }
    types.push_str(" LIMIT 0");
    // Whatever `sql_select_limit` is.
    values.push_str(" LIMIT 1");
    [types, values]
}

/// What one of them is, by its column in the first answer, and the value and collation in the second.
pub(crate) fn learned(
    name: &str,
    column: &Column,
    value: Option<&str>,
    collation: Option<&str>,
) -> Learned {
    let value = match value.map(unhex) {
        Some(None) => return Learned::Stays,
        Some(Some(bytes)) if bytes.len() > LARGEST => return Learned::Stays,
        Some(Some(bytes)) => Some(bytes),
        None => None,
    };
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let number = value.as_deref().map(|bytes| String::from_utf8_lossy(bytes));
    let is_number = number.as_deref().is_none_or(is_number);
    let expression = match column.column_type() {
        // A NULL that is set is as unsigned as what was there before.
        ColumnType::MYSQL_TYPE_LONGLONG if number.is_none() && is_unsigned => {
            format!("CAST(0 AS UNSIGNED), @`{name}`=NULL")
        }
        ColumnType::MYSQL_TYPE_LONGLONG if is_number => {
            let kind = if is_unsigned { "UNSIGNED" } else { "SIGNED" };
            let number = number.as_deref().unwrap_or("NULL");
            format!("CAST({number} AS {kind})")
        }
        ColumnType::MYSQL_TYPE_NEWDECIMAL if is_number => match number.as_deref() {
            Some(number) if number.contains('.') => number.to_owned(),
            Some(number) => format!("CAST({number} AS DECIMAL(65,0))"),
            None => "CAST(NULL AS DECIMAL(65,30))".to_owned(),
        },
        ColumnType::MYSQL_TYPE_DOUBLE if is_number => match number.as_deref() {
            Some(number) if number.contains('e') => number.to_owned(),
            Some(number) => format!("{number}e0"),
            None => "0e0+NULL".to_owned(),
        },
        // So MySQL tells of one that was never set, and MariaDB by a length that no other has.
        ColumnType::MYSQL_TYPE_VAR_STRING => return Learned::Nothing,
        kind if is_text(kind) && column.character_set() == BINARY && is_unset(column) => {
            return Learned::Nothing;
        }
        kind if is_text(kind) => match text(value.as_deref(), collation) {
            Some(text) => text,
            None => return Learned::Stays,
        },
        _ => return Learned::Stays,
    };
    Learned::Value(expression.into_bytes())
}

fn is_text(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
    )
}

/// `MAX_BLOB_WIDTH`; a variable has one less.
fn is_unset(column: &Column) -> bool {
    column.column_length() == 1 << 24
}

fn is_number(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e')) && !text.is_empty()
}

/// A string of a collation; its name begins with that of the character set.
fn text(value: Option<&[u8]>, collation: Option<&str>) -> Option<String> {
    let collation = collation?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if collation.is_empty() || !collation.bytes().all(is_name) {
        return None;
    }
    let charset = collation.split('_').next().unwrap_or(collation);
    let hex = value.map(|bytes| {
        let mut hex = String::with_capacity(2 * bytes.len() + 3);
        variables::write_hex(&mut hex, bytes);
        hex
    });
    Some(match (hex, charset) {
        (Some(hex), "binary") => hex,
        (None, "binary") => "CAST(NULL AS BINARY)".to_owned(),
        (Some(hex), _) => format!("_{charset} {hex} COLLATE {collation}"),
        (None, _) => format!("CONVERT(NULL USING {charset}) COLLATE {collation}"),
    })
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// There are variables on a link that aren't the handle's. Nothing but a reset makes them unset.
pub(crate) fn are_others(there: &Shared, own: &Shared) -> bool {
    let Some(there) = there.as_deref() else {
        return false;
    };
    let own = own.as_deref();
    there
        .iter()
        .any(|(name, value)| own.and_then(|own| own.get(name)) != Some(value))
}

/// The `SET` that makes the variables on a link those of a handle, where none is another's.
pub(crate) fn bridge(there: &Shared, own: &Shared) -> Option<String> {
    let there = there.as_deref();
    let mut sql = String::new();
    for (name, value) in own.as_deref()?.iter() {
        if there.and_then(|there| there.get(name)) == Some(value) {
            continue;
        }
        sql.push_str(if sql.is_empty() { "SET " } else { ", " });
        let _ = write!(sql, "@`{name}`={}", String::from_utf8_lossy(value));
    }
    (!sql.is_empty()).then_some(sql)
}

/// Takes note of what was learned. Whether it can be moved.
pub(crate) fn learn(variables: &mut Shared, name: &str, learned: &Learned) -> bool {
    let is_full = variables.as_deref().is_some_and(|v| v.len() >= MOST);
    variables::change(variables, |variables| match learned {
        Learned::Value(value) if !is_full || variables.get(name).is_some() => {
            variables.set(name, value);
        }
        _ => variables.remove(name),
    });
    match learned {
        Learned::Value(_) => variables.as_deref().is_some_and(|v| v.get(name).is_some()),
        Learned::Nothing => true,
        Learned::Stays => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType, flags: ColumnFlags, charset: u16) -> Column {
        Column::new(kind)
            .with_flags(flags)
            .with_character_set(charset)
    }

    fn value(column: &Column, value: Option<&str>, collation: &str) -> String {
        let hex = value.map(|text| text.bytes().map(|b| format!("{b:02X}")).collect::<String>());
        match learned("v", column, hex.as_deref(), Some(collation)) {
            Learned::Value(value) => String::from_utf8(value).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_type_has_an_expression_that_makes_it() {
        use ColumnType::*;
        let none = ColumnFlags::empty();
        let int = column(MYSQL_TYPE_LONGLONG, none, BINARY);
        let unsigned = column(MYSQL_TYPE_LONGLONG, ColumnFlags::UNSIGNED_FLAG, BINARY);
        let decimal = column(MYSQL_TYPE_NEWDECIMAL, none, BINARY);
        let double = column(MYSQL_TYPE_DOUBLE, none, BINARY);
        let text = column(MYSQL_TYPE_LONG_BLOB, none, 255);
        let rows = [
            (&int, Some("-5"), "binary", "CAST(-5 AS SIGNED)"),
            (&int, None, "binary", "CAST(NULL AS SIGNED)"),
            (&unsigned, Some("5"), "binary", "CAST(5 AS UNSIGNED)"),
            (&unsigned, None, "binary", "CAST(0 AS UNSIGNED), @`v`=NULL"),
            (&decimal, Some("1.50"), "binary", "1.50"),
            (&decimal, Some("7"), "binary", "CAST(7 AS DECIMAL(65,0))"),
            (&double, Some("1.5"), "binary", "1.5e0"),
            (&double, Some("1e300"), "binary", "1e300"),
            (&double, Some("nan"), "binary", "Stays"),
            (
                &text,
                Some("a'"),
                "latin1_bin",
                "_latin1 X'6127' COLLATE latin1_bin",
            ),
            (&text, Some("a"), "binary", "X'61'"),
            (
                &text,
                None,
                "latin1_bin",
                "CONVERT(NULL USING latin1) COLLATE latin1_bin",
            ),
            (&text, Some("a"), "it's", "Stays"),
        ];
        for (column, text, collation, expected) in rows {
            assert_eq!(value(column, text, collation), expected, "{text:?}");
        }
    }

    #[test]
    fn what_was_never_set_and_what_is_large_is_not_kept() {
        let unset = column(
            ColumnType::MYSQL_TYPE_VAR_STRING,
            ColumnFlags::empty(),
            BINARY,
        );
        assert_eq!(learned("v", &unset, None, None), Learned::Nothing);
        let text = column(ColumnType::MYSQL_TYPE_LONG_BLOB, ColumnFlags::empty(), 255);
        let large = "61".repeat(LARGEST + 1);
        assert_eq!(
            learned("v", &text, Some(&large), Some("latin1_bin")),
            Learned::Stays
        );
        assert_eq!(
            learned("v", &text, Some("zz"), Some("latin1_bin")),
            Learned::Stays
        );
    }

    fn of(values: &[(&str, &str)]) -> Shared {
        let mut all = None;
        variables::change(&mut all, |all| {
            for (name, value) in values {
                all.set(name, value.as_bytes());
            }
        });
        all
    }

    #[test]
    fn only_what_differs_is_set() {
        let own = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = of(&[("a", "1")]);
        assert_eq!(bridge(&there, &own).unwrap(), "SET @`b`=2, @`c`=3");
        assert!(bridge(&own, &own).is_none());
        assert!(bridge(&there, &None).is_none());
    }

    #[test]
    fn others_are_those_that_the_handle_has_not() {
        let own = of(&[("a", "1"), ("b", "2")]);
        assert!(!are_others(&of(&[("a", "1")]), &own));
        assert!(are_others(&of(&[("a", "2")]), &own));
        assert!(are_others(&of(&[("x", "9")]), &own));
        assert!(are_others(&own, &None));
        assert!(!are_others(&None, &own));
    }

    #[test]
    fn no_more_are_moved_than_fit() {
        let mut all = None;
        let one = Learned::Value(b"1".to_vec());
        for i in 0..MOST {
            assert!(learn(&mut all, &format!("v{i}"), &one));
        }
        assert!(!learn(&mut all, "one_more", &one));
        assert!(learn(&mut all, "v1", &Learned::Value(b"2".to_vec())));
        assert!(learn(&mut all, "v1", &Learned::Nothing));
        assert!(learn(&mut all, "one_more", &one));
        assert!(!learn(&mut all, "one_more", &Learned::Stays));
        assert_eq!(all.as_deref().map(|all| all.len()), Some(MOST - 1));
    }
}
