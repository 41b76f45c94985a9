//! `mysql_mux`, an async handle for each caller.

use mysql_mux::aio::Handle;
use mysql_mux::{Mux, Opts};

use super::run;
use crate::{
    ask::Ask,
    load::{AsyncCaller, Load, Tasks, runtime},
    way::Way,
};

struct Own(Handle);

impl AsyncCaller for Own {
    async fn ask(&mut self, ask: Ask) {
        let handle = &mut self.0;
        run!(handle, ask, await)
    }
}

pub fn load(way: &Way, links: usize, callers: usize) -> Box<dyn Load> {
    let mux = Mux::builder().max_links(links).build();
    let opts = Opts::from(way.mux());
    let runtime = runtime();
    let callers = runtime.block_on(async {
        let mut handles = Vec::with_capacity(callers);
        for _ in 0..callers {
            handles.push(Own(mux.connect_async(&opts).await.expect("a handle")));
        }
        handles
    });
    Box::new(Tasks::new(runtime, callers))
}
