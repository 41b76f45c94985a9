//! `mysql_mux`, a handle for each caller.

use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Mux, Opts};

use super::run;
use crate::{
    ask::{Ask, ROW, check},
    load::{Caller, Load, Threads},
    way::Way,
};

pub fn load(way: &Way, links: usize, callers: usize) -> Box<dyn Load> {
    let mux = Mux::builder().max_links(links).build();
    let opts = Opts::from(way.mux());
    let caller = |_| {
        let mut handle = mux.connect(&opts).expect("a handle");
        Box::new(move |ask| run!(handle, ask)) as Caller
    };
    Box::new(Threads((0..callers).map(caller).collect()))
}

/// One caller, with a statement that it prepared by itself.
pub fn prepared(way: &Way) -> Box<dyn Load> {
    let mux = Mux::builder().max_links(1).build();
    let mut handle = mux.connect(way.mux()).expect("a handle");
    let statement = handle.prep(ROW).expect("it is prepared");
    Box::new(Threads(vec![Box::new(move |ask| match ask {
        Ask::Row(id) => check(id, handle.exec_first(&statement, (id,)).expect("it runs")),
        ask => run!(handle, ask),
    })]))
}
