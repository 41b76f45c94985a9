//! `mysql`, from a pool or with a connection for each caller.

use mysql::Conn;
use mysql::prelude::Queryable as _;

use super::run;
use crate::{
    ask::{Ask, ROW, check},
    load::{Caller, Load, Threads},
    pools::{self, Care, Size},
    way::Way,
};

pub fn pool(way: &Way, size: usize, care: Care, callers: usize) -> Box<dyn Load> {
    let pool = pools::mysql(way, &Size::exactly(size), care);
    let caller = |_| {
        let pool = pool.clone();
        Box::new(move |ask| {
            let mut conn = pool.get_conn().expect("a checkout");
            run!(conn, ask)
        }) as Caller
    };
    Box::new(Threads((0..callers).map(caller).collect()))
}

pub fn dedicated(way: &Way, callers: usize) -> Box<dyn Load> {
    let caller = |_| {
        let mut conn = Conn::new(way.mysql()).expect("mysql connects");
        Box::new(move |ask| run!(conn, ask)) as Caller
    };
    Box::new(Threads((0..callers).map(caller).collect()))
}

/// One caller, with a statement that it prepared by itself.
pub fn prepared(way: &Way) -> Box<dyn Load> {
    let mut conn = Conn::new(way.mysql()).expect("mysql connects");
    let statement = conn.prep(ROW).expect("it is prepared");
    Box::new(Threads(vec![Box::new(move |ask| match ask {
        Ask::Row(id) => check(id, conn.exec_first(&statement, (id,)).expect("it runs")),
        ask => run!(conn, ask),
    })]))
}
