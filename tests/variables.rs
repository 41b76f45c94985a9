//! Every system variable of the server that a session can set: set by one handle it is set for that
//! handle alone, on whatever link, as on a connection of its own.

mod support;

use std::collections::BTreeMap;

use support::*;

type Values = BTreeMap<String, String>;

/// What belongs to the connection or to the moment.
const NOT_COMPARED: &[&str] = &[
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "timestamp",
    "statement_id",
    "last_gtid",
    // Of a replication connection, whatever MariaDB says.
    "max_relay_log_size",
    "sql_slave_skip_counter",
    // The statement that looks begins a transaction.
    "autocommit",
];

fn all(handle: &mut Handle) -> mysql_mux::Result<Values> {
    let all: Vec<(String, Option<String>)> = handle.query("SHOW SESSION VARIABLES")?;
    let all = all
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()));
    Ok(all
        .filter(|(name, _)| !NOT_COMPARED.contains(&&**name))
        .collect())
}

/// Values that a variable might be set to.
fn candidates(name: &str, value: &str) -> Vec<String> {
    let quoted = |values: &[&str]| values.iter().map(|v| format!("'{v}'")).collect::<Vec<_>>();
    if let Ok(number) = value.parse::<u64>() {
        let more = [
            number.wrapping_add(1),
            number / 2,
            number.saturating_mul(2),
            1,
            0,
            4096,
            65536,
        ];
        return more.iter().map(u64::to_string).collect();
    }
    if value.parse::<f64>().is_ok() {
        return vec!["1.5".into(), "2".into(), "0".into()];
    }
    match value {
        "ON" => return vec!["OFF".into(), "0".into()],
        "OFF" => return vec!["ON".into(), "1".into()],
        _ => {}
    }
    if name.starts_with("collation") {
        return quoted(&["latin1_bin", "utf8mb4_bin"]);
    }
    if name.starts_with("character_set") {
        return quoted(&["latin1", "utf8mb4", "binary"]);
    }
    quoted(&[
        "",
        "+03:00",
        "de_DE",
        "ANSI,NO_BACKSLASH_ESCAPES",
        "SERIALIZABLE",
        "MyISAM",
        "index_merge=off",
        "NO",
        "YES",
        "NONE",
        "ALL",
        "ROW",
        "STATEMENT",
        "FULL",
        "MINIMAL",
        "TRADITIONAL",
        "DEFAULT",
        "1",
        "a\\'b",
        "CRC32",
        "OWN_GTID",
        "STATE",
        "AUTO",
        "UTC",
        "1x",
        "enabled=on",
        "LAX",
        "nothing",
        "BEFORE_ON_PRIMARY_FAILOVER",
        "PREFER_CONFLICT",
        "ERROR",
        "XML",
        "FORCED",
        "2020-01-01 00:00:00",
        "COMMIT",
        "EACH_ROW",
    ])
}

fn sets(handle: &mut Handle, name: &str, value: &str, before: &Values) -> Option<Values> {
    handle
        .query_drop(format!("SET SESSION {name} = {value}"))
        .ok()?;
    let Ok(after) = all(handle) else {
        handle.reset().unwrap();
        return None;
    };
    (after != *before).then_some(after)
}

#[test]
fn every_variable_that_can_be_set_is_set_for_its_handle_alone() {
    let opts = || server().tcp().isolation(Isolation::Session);
    let mux = builder().max_links(1).build();
    let alone = builder().max_links(1).build();
    let mut own = alone.connect(opts()).unwrap();
    let mut a = mux.connect(opts()).unwrap();
    let mut b = mux.connect(opts()).unwrap();
    let begun = all(&mut own).unwrap();
    assert_eq!(all(&mut b).unwrap(), begun);
    let (mut moved, mut pinned, mut untried) = (0, Vec::new(), Vec::new());
    let mut wrong = Vec::new();
    for (name, value) in &begun {
        own.reset().unwrap();
        let found = candidates(name, value)
            .into_iter()
            .find_map(|v| sets(&mut own, name, &v, &begun).map(|after| (v, after)));
        let Some((value, after)) = found else {
            untried.push(&**name);
            continue;
        };
        a.query_drop(format!("SET SESSION {name} = {value}"))
            .unwrap();
        if let Some(pin) = a.pin() {
            pinned.push(format!("{name}: {pin}"));
            if all(&mut a).ok().as_ref() != Some(&after) {
                wrong.push(format!("{name} = {value}: pinned, and differs"));
            }
            a.reset().unwrap();
            continue;
        }
        for _ in 0..2 {
            for (handle, want) in [(&mut b, &begun), (&mut a, &after)] {
                match all(handle) {
                    Ok(seen) if seen == *want => {}
                    Ok(seen) => wrong.push(format!("{name} = {value}: {:?}", differ(&seen, want))),
                    Err(e) => wrong.push(format!("{name} = {value}: {e}")),
                }
            }
        }
        moved += 1;
        a.reset().unwrap();
    }
    println!("{moved} moved\npinned: {pinned:#?}\nread only, or no value found: {untried:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(moved > 110, "{moved} variables were tried");
}

fn differ(one: &Values, other: &Values) -> Vec<String> {
    let named = one
        .iter()
        .filter(|(name, value)| other.get(*name) != Some(value));
    named
        .map(|(name, value)| format!("{name} is {value:?}, not {:?}", other.get(name)))
        .collect()
}
