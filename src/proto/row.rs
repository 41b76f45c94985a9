//! Rows: the payload of a row packet becomes values, as the columns of its set say.
//!
//! Does what `mysql_common`'s deserializer does for rows that servers send, with one allocation for
//! the row and one for each string; bytes that are no such row are an error, whatever they are.
//! Knows nothing of packets, of sets or of who wants the values.
//!
//! Sources:
//! - <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html>
//! - <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>
//!   ("Binary Protocol Resultset Row" and "Binary Protocol Value")

use std::fmt;

use mysql_common::{
    constants::{ColumnFlags, ColumnType},
    packets::Column,
    value::Value,
};

/// The values of a row, in the form that [`mysql_common::row::Row`] keeps them in.
pub(crate) type Values = Vec<Option<Value>>;

/// Why a payload is no row of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Where it was found; `None`: before the first value.
    column: Option<usize>,
    what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "column {column}: {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

const CUT: &str = "the row is cut short";

/// A row of a query: each value as text, or NULL.
pub(crate) fn text(payload: &[u8], columns: &[Column]) -> Result<Values, Malformed> {
    let mut rest = Rest(payload);
    let mut values = Vec::with_capacity(columns.len());
    for column in 0..columns.len() {
        match rest.text_value() {
            Ok(value) => values.push(Some(value)),
            Err(what) => return Err(at(column, what)),
        }
    }
    Ok(values)
}

/// A row of a prepared statement: a zero, a bit for each column that is NULL, the other values.
pub(crate) fn binary(payload: &[u8], columns: &[Column]) -> Result<Values, Malformed> {
    /// The bitmap's first two bits are no column's.
    const OFFSET: usize = 2;
    let mut rest = Rest(payload);
    let nulls = rest
        .take(1)
        .and_then(|_| rest.take((columns.len() + OFFSET).div_ceil(8)))
        .map_err(|what| Malformed { column: None, what })?;
    let mut values = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        let bit = i + OFFSET;
        let value = match nulls[bit / 8] >> (bit % 8) & 1 {
            1 => Value::NULL,
            _ => match rest.binary_value(column) {
                Ok(value) => value,
                Err(what) => return Err(at(i, what)),
            },
        };
        values.push(Some(value));
    }
    Ok(values)
}

#[cold]
fn at(column: usize, what: &'static str) -> Malformed {
    Malformed {
        column: Some(column),
        what,
    }
}

type Read<T> = Result<T, &'static str>;

/// What of a payload is not read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline]
    fn byte(&mut self) -> Read<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A length that begins with this byte.
    #[inline]
    fn length(&mut self, first: u8) -> Read<usize> {
        match first {
            0..=0xfa => Ok(usize::from(first)),
            _ => self.long_length(first),
        }
    }

    fn long_length(&mut self, first: u8) -> Read<usize> {
        let len = match first {
            0xfc => u64::from(u16::from_le_bytes(self.array()?)),
            0xfd => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => u64::from_le_bytes(self.array()?),
            _ => return Err("a string's length begins with a byte that none begins with"),
        };
        usize::try_from(len).map_err(|_| CUT)
    }

    #[inline]
    fn bytes(&mut self, first: u8) -> Read<Value> {
        let len = self.length(first)?;
        Ok(Value::Bytes(self.take(len)?.to_vec()))
    }

    #[inline]
    fn text_value(&mut self) -> Read<Value> {
        match self.byte()? {
            0xfb => Ok(Value::NULL),
            first => self.bytes(first),
        }
    }

    #[inline]
    fn binary_value(&mut self, column: &Column) -> Read<Value> {
        use ColumnType::*;
        let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        match column.column_type() {
            MYSQL_TYPE_STRING
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
            | MYSQL_TYPE_BLOB
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_LONG_BLOB
            | MYSQL_TYPE_SET
            | MYSQL_TYPE_ENUM
            | MYSQL_TYPE_DECIMAL
            | MYSQL_TYPE_NEWDECIMAL
            | MYSQL_TYPE_BIT
            | MYSQL_TYPE_GEOMETRY
            | MYSQL_TYPE_VECTOR
            | MYSQL_TYPE_JSON => {
                let first = self.byte()?;
                self.bytes(first)
            }
            MYSQL_TYPE_TINY => self.array().map(|b| match unsigned {
                true => Value::Int(u8::from_le_bytes(b).into()),
                false => Value::Int(i8::from_le_bytes(b).into()),
            }),
            MYSQL_TYPE_SHORT | MYSQL_TYPE_YEAR => self.array().map(|b| match unsigned {
                true => Value::Int(u16::from_le_bytes(b).into()),
                false => Value::Int(i16::from_le_bytes(b).into()),
            }),
            MYSQL_TYPE_LONG | MYSQL_TYPE_INT24 => self.array().map(|b| match unsigned {
                true => Value::Int(u32::from_le_bytes(b).into()),
                false => Value::Int(i32::from_le_bytes(b).into()),
            }),
            MYSQL_TYPE_LONGLONG => self.array().map(|b| match unsigned {
                true => {
                    let n = u64::from_le_bytes(b);
                    i64::try_from(n).map_or(Value::UInt(n), Value::Int)
                }
                false => Value::Int(i64::from_le_bytes(b)),
            }),
            MYSQL_TYPE_FLOAT => self.array().map(|b| Value::Float(f32::from_le_bytes(b))),
            MYSQL_TYPE_DOUBLE => self.array().map(|b| Value::Double(f64::from_le_bytes(b))),
            MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE | MYSQL_TYPE_DATETIME => {
                self.date()
            }
            MYSQL_TYPE_TIME => self.time(),
            MYSQL_TYPE_NULL => Ok(Value::NULL),
            MYSQL_TYPE_TIMESTAMP2
            | MYSQL_TYPE_DATETIME2
            | MYSQL_TYPE_TIME2
            | MYSQL_TYPE_TYPED_ARRAY
            | MYSQL_TYPE_UNKNOWN => Err("a type that is not for clients"),
        }
    }

    /// Trailing parts that are zero are left out.
    fn date(&mut self) -> Read<Value> {
        let len = self.byte()?;
        let parts = self.take(usize::from(len))?;
        let mut parts = Rest(parts);
        let (mut year, mut date, mut time, mut micros) = (0, [0; 2], [0; 3], 0);
        if !matches!(len, 0 | 4 | 7 | 11) {
            return Err("a date of a length that no date has");
        }
        if len >= 4 {
            year = u16::from_le_bytes(parts.array()?);
            date = parts.array()?;
        }
        if len >= 7 {
            time = parts.array()?;
        }
        if len == 11 {
            micros = u32::from_le_bytes(parts.array()?);
        }
        let ([month, day], [hour, minute, second]) = (date, time);
        Ok(Value::Date(year, month, day, hour, minute, second, micros))
    }

    /// Trailing parts that are zero are left out.
    fn time(&mut self) -> Read<Value> {
        let len = self.byte()?;
        let mut parts = Rest(self.take(usize::from(len))?);
        if !matches!(len, 0 | 8 | 12) {
            return Err("a time of a length that no time has");
        }
        let (mut negative, mut days, mut time, mut micros) = (false, 0, [0; 3], 0);
        if len >= 8 {
            negative = parts.byte()? == 1;
            days = u32::from_le_bytes(parts.array()?);
            time = parts.array()?;
        }
        if len == 12 {
            micros = u32::from_le_bytes(parts.array()?);
        }
        let [hours, minutes, seconds] = time;
        Ok(Value::Time(negative, days, hours, minutes, seconds, micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnType::*;
    use mysql_common::{
        io::ParseBuf,
        proto,
        row::{Row, RowDeserializer},
        value::ServerSide,
    };
    use proptest::prelude::*;
    use std::sync::Arc;

    fn theirs(payload: &[u8], columns: Arc<[Column]>, is_text: bool) -> std::io::Result<Values> {
        let row: Row = match is_text {
            true => ParseBuf(payload)
                .parse::<RowDeserializer<ServerSide, proto::Text>>(columns)?
                .into(),
            false => ParseBuf(payload)
                .parse::<RowDeserializer<ServerSide, proto::Binary>>(columns)?
                .into(),
        };
        Ok(row.unwrap_raw())
    }

    fn column(kind: ColumnType, unsigned: bool) -> Column {
        let mut flags = ColumnFlags::empty();
        flags.set(ColumnFlags::UNSIGNED_FLAG, unsigned);
        Column::new(kind).with_flags(flags)
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match bytes.len() {
            n @ 0..=250 => out.push(n as u8),
            n => {
                out.push(0xfc);
                out.extend_from_slice(&(n as u16).to_le_bytes());
            }
        }
        out.extend_from_slice(bytes);
        out
    }

    /// A column, and a value's bytes in a binary row.
    fn cell() -> impl Strategy<Value = (Column, Vec<u8>)> {
        let parts = |lens: &'static [usize]| {
            (proptest::sample::select(lens), any::<[u8; 12]>()).prop_map(|(len, bytes)| {
                let mut out = vec![len as u8];
                out.extend_from_slice(&bytes[..len]);
                out
            })
        };
        let fixed = |len| proptest::collection::vec(any::<u8>(), len).boxed();
        let kinds: Vec<(Vec<ColumnType>, BoxedStrategy<Vec<u8>>)> = vec![
            (vec![MYSQL_TYPE_TINY], fixed(1)),
            (vec![MYSQL_TYPE_SHORT, MYSQL_TYPE_YEAR], fixed(2)),
            (
                vec![MYSQL_TYPE_LONG, MYSQL_TYPE_INT24, MYSQL_TYPE_FLOAT],
                fixed(4),
            ),
            (vec![MYSQL_TYPE_LONGLONG, MYSQL_TYPE_DOUBLE], fixed(8)),
            (vec![MYSQL_TYPE_NULL], fixed(0)),
            (
                vec![
                    MYSQL_TYPE_TIMESTAMP,
                    MYSQL_TYPE_DATE,
                    MYSQL_TYPE_NEWDATE,
                    MYSQL_TYPE_DATETIME,
                ],
                parts(&[0, 4, 7, 11]).boxed(),
            ),
            (vec![MYSQL_TYPE_TIME], parts(&[0, 8, 12]).boxed()),
            (
                vec![
                    MYSQL_TYPE_STRING,
                    MYSQL_TYPE_VAR_STRING,
                    MYSQL_TYPE_VARCHAR,
                    MYSQL_TYPE_BLOB,
                    MYSQL_TYPE_TINY_BLOB,
                    MYSQL_TYPE_MEDIUM_BLOB,
                    MYSQL_TYPE_LONG_BLOB,
                    MYSQL_TYPE_SET,
                    MYSQL_TYPE_ENUM,
                    MYSQL_TYPE_DECIMAL,
                    MYSQL_TYPE_NEWDECIMAL,
                    MYSQL_TYPE_BIT,
                    MYSQL_TYPE_GEOMETRY,
                    MYSQL_TYPE_VECTOR,
                    MYSQL_TYPE_JSON,
                ],
                proptest::collection::vec(any::<u8>(), 0..300)
                    .prop_map(|bytes| string(&bytes))
                    .boxed(),
            ),
        ];
        let kinds = kinds.into_iter().map(|(kinds, bytes)| {
            (proptest::sample::select(kinds), any::<bool>(), bytes)
                .prop_map(|(kind, unsigned, bytes)| (column(kind, unsigned), bytes))
                .boxed()
        });
        proptest::strategy::Union::new(kinds)
    }

    /// Columns and a whole binary row of them.
    fn binary_row() -> impl Strategy<Value = (Arc<[Column]>, Vec<u8>)> {
        proptest::collection::vec((cell(), proptest::bool::weighted(0.2)), 1..20).prop_map(
            |cells| {
                let mut row = vec![0; 1 + (cells.len() + 9) / 8];
                for (i, (_, null)) in cells.iter().enumerate() {
                    row[1 + (i + 2) / 8] |= u8::from(*null) << ((i + 2) % 8);
                }
                for ((_, bytes), _) in cells.iter().filter(|(_, null)| !null) {
                    row.extend_from_slice(bytes);
                }
                let columns = cells.into_iter().map(|((column, _), _)| column);
                (columns.collect(), row)
            },
        )
    }

    /// Equal where floats are compared by their bits.
    fn same(a: &Values, b: &Values) -> bool {
        a.len() == b.len()
            && a.iter().zip(b).all(|pair| match pair {
                (Some(Value::Float(a)), Some(Value::Float(b))) => a.to_bits() == b.to_bits(),
                (Some(Value::Double(a)), Some(Value::Double(b))) => a.to_bits() == b.to_bits(),
                (a, b) => a == b,
            })
    }

    #[test]
    fn a_type_that_no_server_sends_is_an_error() {
        for kind in [
            MYSQL_TYPE_TIMESTAMP2,
            MYSQL_TYPE_DATETIME2,
            MYSQL_TYPE_TIME2,
            MYSQL_TYPE_TYPED_ARRAY,
            MYSQL_TYPE_UNKNOWN,
        ] {
            assert!(binary(&[0; 40], &[column(kind, false)]).is_err());
        }
    }

    #[test]
    fn lengths_that_no_date_and_no_time_has_are_errors() {
        let long = |len| {
            let mut row = vec![0, 0, len];
            row.resize(300, 1);
            row
        };
        for len in (0..=255).filter(|len| ![0, 4, 7, 11].contains(len)) {
            assert!(binary(&long(len), &[column(MYSQL_TYPE_DATE, false)]).is_err());
        }
        for len in (0..=255).filter(|len| ![0, 8, 12].contains(len)) {
            assert!(binary(&long(len), &[column(MYSQL_TYPE_TIME, false)]).is_err());
        }
    }

    #[test]
    fn lengths_of_strings_may_take_nine_bytes_and_must_be_there() {
        let columns = [column(MYSQL_TYPE_STRING, false)];
        for head in [
            &b"\x02"[..],
            b"\xfc\x02\0",
            b"\xfd\x02\0\0",
            b"\xfe\x02\0\0\0\0\0\0\0",
        ] {
            let row = [head, b"ab"].concat();
            let value = Some(Value::Bytes(b"ab".to_vec()));
            assert_eq!(text(&row, &columns).unwrap(), [value]);
            assert!(text(&row[..row.len() - 1], &columns).is_err());
        }
        for row in [&b"\xff\0"[..], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff", b""] {
            assert!(text(row, &columns).is_err());
        }
        assert_eq!(text(b"\xfb", &columns).unwrap(), [Some(Value::NULL)]);
        assert_eq!(
            text(b"", &columns).unwrap_err().to_string(),
            "column 0: the row is cut short"
        );
    }

    proptest! {
        #[test]
        fn binary_rows_are_read_as_mysql_common_reads_them((columns, row) in binary_row()) {
            let ours = binary(&row, &columns).unwrap();
            let theirs = theirs(&row, columns.clone(), false).unwrap();
            prop_assert!(same(&ours, &theirs), "{:?} {:?}", ours, theirs);
            prop_assert_eq!(ours.capacity(), columns.len());
        }

        #[test]
        fn text_rows_are_read_as_mysql_common_reads_them(
            cells in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                1..20,
            ),
        ) {
            let row: Vec<u8> = cells
                .iter()
                .flat_map(|cell| cell.as_deref().map_or(vec![0xfb], string))
                .collect();
            let columns: Arc<[Column]> =
                cells.iter().map(|_| column(MYSQL_TYPE_STRING, false)).collect();
            let ours = text(&row, &columns).unwrap();
            prop_assert_eq!(&ours, &theirs(&row, columns.clone(), true).unwrap());
            prop_assert!(text(&row[..row.len() - 1], &columns).is_err());
        }

        #[test]
        fn a_cut_binary_row_is_an_error((columns, row) in binary_row(), cut: proptest::sample::Index) {
            prop_assert!(binary(&row[..cut.index(row.len())], &columns).is_err());
        }

        #[test]
        fn any_bytes_are_values_or_an_error(
            payload in proptest::collection::vec(any::<u8>(), 0..80),
            kinds in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..8),
        ) {
            let columns: Vec<Column> = kinds
                .into_iter()
                .filter_map(|(kind, unsigned)| Some(column(ColumnType::try_from(kind).ok()?, unsigned)))
                .collect();
            drop(text(&payload, &columns));
            drop(binary(&payload, &columns));
        }
    }
}
