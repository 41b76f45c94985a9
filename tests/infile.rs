//! `LOAD DATA LOCAL INFILE`: the handler's bytes reach the server, and nothing else does.

mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use mysql_mux::{LocalInfileHandler, error::DriverError};
use support::*;

fn table(name: &str) -> (Schema, Handle) {
    // Off by default on MySQL.
    server()
        .root()
        .query_drop("SET GLOBAL local_infile = 1")
        .unwrap();
    let schema = Schema::new(name);
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(20))")
        .unwrap();
    (schema, handle)
}

const LOAD: &str = "LOAD DATA LOCAL INFILE 'the file' INTO TABLE t FIELDS TERMINATED BY ','";

#[test]
fn what_the_handler_writes_is_loaded() {
    let (_schema, mut handle) = table("infile");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    handle.set_local_infile_handler(Some(LocalInfileHandler::new(move |name, writer| {
        seen.lock().unwrap().push(name.to_vec());
        writer.write_all(b"1,one\n2,")?;
        writer.write_all(b"two\n")
    })));
    handle.query_drop(LOAD).unwrap();
    assert_eq!(handle.affected_rows(), 2);
    assert_eq!(*asked.lock().unwrap(), [b"the file".to_vec()]);
    let rows: Vec<(i32, String)> = handle.query("SELECT * FROM t ORDER BY a").unwrap();
    assert_eq!(rows, [(1, "one".to_owned()), (2, "two".to_owned())]);
}

#[test]
fn without_a_handler_the_server_gets_nothing_and_the_caller_an_error() {
    let (_schema, mut handle) = table("nohandler");
    let id = handle.connection_id();
    let e = error_of(handle.query_drop(LOAD));
    assert!(
        matches!(&e, Error::DriverError(DriverError::LocalInfileRefused(file)) if file == "the file"),
        "{e}"
    );
    assert_eq!(one::<u64>(&mut handle, "SELECT COUNT(*) FROM t"), 0);
    handle.ping().unwrap();
    assert_eq!(
        one::<u32>(&mut handle, "SELECT CONNECTION_ID()"),
        id,
        "the link lives"
    );
}

#[test]
fn a_handler_that_fails_is_the_callers_error_and_the_link_lives() {
    let (_schema, mut handle) = table("failing");
    handle.set_local_infile_handler(Some(LocalInfileHandler::new(|_, _| {
        Err(io::Error::other("the dog ate it"))
    })));
    let e = error_of(handle.query_drop(LOAD));
    assert!(
        matches!(e, Error::DriverError(DriverError::LocalInfileFailed { .. })),
        "{e}"
    );
    assert!(e.to_string().contains("the dog ate it"), "{e}");
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_empty_file_loads_nothing_and_is_no_error() {
    let (_schema, mut handle) = table("emptyfile");
    handle.set_local_infile_handler(Some(LocalInfileHandler::new(|_, _| Ok(()))));
    handle.query_drop(LOAD).unwrap();
    assert_eq!(handle.affected_rows(), 0);
}

#[test]
fn a_file_of_many_megabytes_is_loaded_whole() {
    let (_schema, mut handle) = table("bigfile");
    handle.set_local_infile_handler(Some(LocalInfileHandler::new(|_, writer| {
        for i in 0..400_000 {
            writeln!(writer, "{i},{}", "x".repeat(20))?;
        }
        Ok(())
    })));
    handle.query_drop(LOAD).unwrap();
    assert_eq!(handle.affected_rows(), 400_000);
    assert_eq!(
        one::<u64>(&mut handle, "SELECT SUM(LENGTH(b)) FROM t"),
        8_000_000
    );
}

#[test]
fn an_error_of_the_load_itself_is_the_servers() {
    let (_schema, mut handle) = table("badload");
    handle.set_local_infile_handler(Some(LocalInfileHandler::new(|_, writer| {
        writer.write_all(b"1,one\n")
    })));
    let e = error_of(handle.query_drop("LOAD DATA LOCAL INFILE 'f' INTO TABLE no_such_table"));
    assert_eq!(e.code(), Some(1146), "{e}");
    handle.query_drop(LOAD).unwrap();
    assert_eq!(handle.affected_rows(), 1);
}

#[test]
fn the_options_may_bring_the_handler_and_it_is_the_handles_own() {
    let (schema, _) = table("optsfile");
    let mux = builder().max_links(1).build();
    let with = schema
        .tcp()
        .local_infile_handler(Some(LocalInfileHandler::new(|_, writer| {
            writer.write_all(b"7,seven\n")
        })));
    let mut a = mux.connect(with).unwrap();
    let mut b = mux.connect(schema.tcp()).unwrap();
    a.query_drop(LOAD).unwrap();
    let e = error_of(b.query_drop(LOAD));
    assert!(
        matches!(e, Error::DriverError(DriverError::LocalInfileRefused(_))),
        "{e}"
    );
    assert_eq!(one::<u64>(&mut a, "SELECT COUNT(*) FROM t"), 1);
}
