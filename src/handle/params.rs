//! Parameters as a statement wants them: by position, counted before anything is sent.

use std::borrow::Cow;

use mysql_common::{named_params::ParsedNamedParams, params::Params, value::Value};

use crate::error::{DriverError, Result};

/// Names of a statement's parameters, in the order of their places.
type Names = Vec<Vec<u8>>;

/// A statement's text with `?` for its parameters, and their names where it had names.
pub(super) fn parse(sql: &str) -> Result<(Cow<'_, [u8]>, Option<Names>)> {
    let sql = sql.as_bytes();
    // Most have none, and are not read for them.
    if !sql.contains(&b':') {
        return Ok((sql.into(), None));
    }
    let parsed = ParsedNamedParams::parse(sql).map_err(|_| DriverError::MixedParams)?;
    let names: Names = parsed.params().iter().map(|name| name.to_vec()).collect();
    Ok((
        parsed.query().to_vec().into(),
        (!names.is_empty()).then_some(names),
    ))
}

/// The values in the order of the statement's `?`.
#[inline]
pub(super) fn bind(
    params: Params,
    names: Option<&[Vec<u8>]>,
    required: usize,
) -> Result<Vec<Value>> {
    let values = match (params, names) {
        (Params::Empty, None) => Vec::new(),
        (Params::Positional(values), None) => values,
        (Params::Named(map), None) if map.is_empty() => Vec::new(),
        (Params::Named(_), None) => return Err(DriverError::NamedParamsForPositionalQuery.into()),
        (Params::Positional(_), Some(_)) => {
            return Err(DriverError::PositionalParamsForNamedQuery.into());
        }
        (Params::Empty, Some(names)) => return Err(missing(&names[0]).into()),
        (Params::Named(map), Some(names)) => names
            .iter()
            // A name may stand several times, and each time wants its value.
            .map(|name| map.get(name).cloned().ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?,
    };
    if values.len() != required {
        let required = required as u16;
        return Err(DriverError::MismatchedStmtParams {
            required,
            supplied: values.len(),
        }
        .into());
    }
    Ok(values)
}

fn missing(name: &[u8]) -> DriverError {
    DriverError::MissingNamedParameter(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, params};

    fn fault(params: Params, names: Option<&[Vec<u8>]>, required: usize) -> DriverError {
        match bind(params, names, required) {
            Err(Error::DriverError(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_become_places() {
        let (sql, names) = parse("SELECT :b, :a, :b").unwrap();
        assert_eq!(*sql, *b"SELECT ?, ?, ?");
        let values = bind(params! { "a" => 1, "b" => 2 }, names.as_deref(), 3).unwrap();
        assert_eq!(values, [2.into(), 1.into(), 2.into()]);
    }

    #[test]
    fn a_text_without_names_is_itself() {
        for sql in ["SELECT ?, ?", "", "SELECT ':a', '?'", "SELECT 1 -- ?"] {
            let (same, names) = parse(sql).unwrap();
            assert_eq!((&*same, names), (sql.as_bytes(), None));
        }
    }

    #[test]
    fn what_does_not_fit_is_told_before_anything_is_sent() {
        assert!(matches!(
            parse("SELECT ?, :a"),
            Err(Error::DriverError(DriverError::MixedParams))
        ));
        let names = [b"a".to_vec()];
        assert_eq!(
            fault(Params::Empty, Some(&names), 1),
            DriverError::MissingNamedParameter("a".into())
        );
        assert_eq!(
            fault((1,).into(), Some(&names), 1),
            DriverError::PositionalParamsForNamedQuery
        );
        assert_eq!(
            fault(params! { "a" => 1 }, None, 1),
            DriverError::NamedParamsForPositionalQuery
        );
        assert_eq!(
            fault((1, 2).into(), None, 3),
            DriverError::MismatchedStmtParams {
                required: 3,
                supplied: 2
            }
        );
    }
}
