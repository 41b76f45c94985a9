//! How far a server is: of each source of transactions the number of the last one. Pure; it reads what
//! both families write, and knows no server.
//!
//! A replica is taken to commit in the order of its source, as MySQL's do by default since 8.0.27
//! (`replica_preserve_commit_order`) and MariaDB's do: who has a transaction has those before it.

use std::{borrow::Cow, fmt, sync::Arc};

/// The last transaction of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gtids(Vec<Last>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    /// MySQL's `uuid` or `uuid:tag`, MariaDB's domain.
    source: Arc<str>,
    /// What stands between that and the number, where it is written: MariaDB names a server, too.
    between: Arc<str>,
    number: u64,
}

impl Gtids {
    pub(crate) const NONE: Gtids = Gtids(Vec::new());

    /// What is reported of transactions: MySQL's `uuid:5` or `uuid:tag:5`, MariaDB's `0-1-5`.
    pub(crate) fn reported(text: &str) -> Gtids {
        let mut all = Gtids::default();
        all.add_reported(text);
        all
    }

    /// What is reported as well. Whether anything of it is new.
    pub(crate) fn add_reported(&mut self, text: &str) -> bool {
        let mut is_new = false;
        for part in parts(text) {
            match part.contains(':') {
                true => mysql(part, |source, _, end| is_new |= self.last(source, ":", end)),
                false => is_new |= self.mariadb(part),
            }
        }
        is_new
    }

    /// What a server has executed. Of what has gaps, as MySQL writes it, only what is before the first.
    pub(crate) fn executed(text: &str) -> Gtids {
        let mut all = Gtids::default();
        for part in parts(text) {
            match part.contains(':') {
                true => mysql(part, |source, begin, end| {
                    if begin == 1 {
                        all.last(source, ":", end);
                    }
                }),
                false => {
                    all.mariadb(part);
                }
            }
        }
        all
    }

    fn mariadb(&mut self, part: &str) -> bool {
        let mut fields = part.splitn(3, '-');
        let (Some(domain), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        let Ok(number) = number.parse() else {
            return false;
        };
        let between = &part[domain.len()..part.len() - fields_len(part)];
        self.last(domain, between, number)
    }

    /// Whether that is new.
    fn last(&mut self, source: &str, between: &str, number: u64) -> bool {
        match self.0.iter_mut().find(|last| *last.source == *source) {
            Some(last) if last.number >= number => return false,
            Some(last) => {
                last.number = number;
                if *last.between != *between {
                    last.between = between.into();
                }
            }
            None => self.0.push(Last {
                source: source.into(),
                between: between.into(),
                number,
            }),
        }
        true
    }

    /// These as well.
    pub(crate) fn add(&mut self, other: &Gtids) {
        for last in &other.0 {
            self.last(&last.source, &last.between, last.number);
        }
    }

    /// Nothing of the other is missing.
    pub(crate) fn has(&self, other: &Gtids) -> bool {
        let has = |wanted: &Last| {
            let known = self.0.iter().find(|last| last.source == wanted.source);
            known.is_some_and(|last| last.number >= wanted.number)
        };
        other.0.iter().all(has)
    }
}

/// As the server's functions that wait take them.
impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, last) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}{}{}", last.source, last.between, last.number)?;
        }
        Ok(())
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// The length of what is behind the last hyphen.
fn fields_len(part: &str) -> usize {
    part.rsplit('-').next().map_or(0, str::len)
}

/// `uuid:1-5:7:tag:1-3`: each interval with its source.
fn mysql(part: &str, mut each: impl FnMut(&str, u64, u64)) {
    let mut fields = part.split(':').map(str::trim);
    let Some(uuid) = fields.next() else { return };
    let mut source = Cow::Borrowed(uuid);
    for field in fields {
        let (begin, end) = field.split_once('-').unwrap_or((field, field));
        match (begin.parse(), end.parse()) {
            (Ok(begin), Ok(end)) => each(&source, begin, end),
            // A tag has no digit in front.
            _ => source = format!("{uuid}:{field}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "3E11FA47-71CA-11E1-9E33-C80AA9429562";

    fn mysql_set(rest: &str) -> String {
        format!("{UUID}:{rest}")
    }

    #[test]
    fn what_is_reported_is_the_last_of_each_source() {
        assert_eq!(Gtids::reported("0-1-5,1-7-9").to_string(), "0-1-5,1-7-9");
        assert_eq!(Gtids::reported("0-1-5,0-2-9").to_string(), "0-2-9");
        let two = format!("{}, {}", mysql_set("5"), mysql_set("tag:3"));
        let read = Gtids::reported(&two);
        assert_eq!(read.to_string(), two.replace(", ", ","));
    }

    #[test]
    fn who_has_the_last_has_those_before_it() {
        let executed = Gtids::executed(&mysql_set("1-100:105"));
        for (number, has) in [(1, true), (100, true), (101, false), (105, false)] {
            let wanted = Gtids::reported(&mysql_set(&number.to_string()));
            assert_eq!(executed.has(&wanted), has, "{number}");
        }
        let tagged = Gtids::reported(&mysql_set("tag:1"));
        assert!(!executed.has(&tagged));
        assert!(Gtids::executed(&mysql_set("1-3:tag:1-2")).has(&tagged));
        let replica = Gtids::executed("0-1-5,1-1-2");
        assert!(replica.has(&Gtids::reported("0-3-5")));
        assert!(!replica.has(&Gtids::reported("0-1-6")));
        assert!(!replica.has(&Gtids::reported("2-1-1")));
        assert!(replica.has(&Gtids::default()));
    }

    #[test]
    fn what_is_added_never_goes_back() {
        let mut all = Gtids::reported("0-1-5");
        all.add(&Gtids::reported("0-1-3,1-1-1"));
        assert_eq!(all.to_string(), "0-1-5,1-1-1");
        assert!(!all.add_reported("0-2-5,1-1-1"));
        assert!(all.add_reported("0-2-5,1-2-2"));
        assert_eq!(all.to_string(), "0-1-5,1-2-2");
        let mut all = Gtids::reported(&mysql_set("5"));
        assert!(!all.add_reported(&mysql_set("4")));
        assert!(all.add_reported(&mysql_set("4:tag:1")));
        assert!(all.add_reported(&mysql_set("6")));
        assert!(all.has(&Gtids::reported(&mysql_set("6:tag:1"))));
    }

    proptest! {
        #[test]
        fn anything_can_be_read(text in "[0-9a-f:,\\- ]{0,60}") {
            let read = Gtids::reported(&text);
            prop_assert!(read.has(&read));
            let again = Gtids::reported(&read.to_string());
            prop_assert_eq!(again.to_string(), read.to_string());
            Gtids::executed(&text);
        }
    }
}
