//! `mysql_mux`, a handle for each caller.

use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Handle, Mux, Opts, Statement};

use super::run;
use crate::{
    ask::{Ask, ROW, check},
    load::{Caller, Load, Threads},
    way::Way,
};

pub fn load(way: &Way, links: usize, callers: usize) -> Box<dyn Load> {
    load_with(way.mux(), links, callers)
}

/// The same with other options.
pub fn load_with(opts: impl Into<Opts>, links: usize, callers: usize) -> Box<dyn Load> {
    let mux = Mux::builder().max_links(links).build();
    let opts = opts.into();
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

/// One caller, who sends so many statements before it waits.
pub fn pipelined(way: &Way, at_once: usize) -> Box<dyn Load> {
    let mux = Mux::builder().max_links(1).build();
    let mut handle = mux.connect(way.mux()).expect("a handle");
    let statement = handle.prep(ROW).expect("it is prepared");
    let mut ids = Vec::with_capacity(at_once);
    Box::new(Threads(vec![Box::new(move |ask| match ask {
        Ask::Row(id) => {
            ids.push(id);
            if ids.len() == at_once {
                row_each(&mut handle, &statement, &ids);
                ids.clear();
            }
        }
        ask => run!(handle, ask),
    })]))
}

fn row_each(handle: &mut Handle, statement: &Statement, ids: &[u32]) {
    let results = handle.pipeline(|pipe| {
        for id in ids {
            pipe.exec(statement, (id,))?;
        }
        Ok(())
    });
    for (id, result) in ids.iter().zip(results.expect("they run")) {
        let rows = result.and_then(|result| result.rows());
        check(*id, rows.expect("it runs").pop());
    }
}
