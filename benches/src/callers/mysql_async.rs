//! `mysql_async`, from a pool.

use mysql_async::Pool;
use mysql_async::prelude::Queryable as _;

use super::run;
use crate::{
    ask::Ask,
    load::{AsyncCaller, Load, Tasks, runtime},
    pools::{self, Care, Size},
    way::Way,
};

struct FromPool(Pool);

impl AsyncCaller for FromPool {
    async fn ask(&mut self, ask: Ask) {
        let mut conn = self.0.get_conn().await.expect("a checkout");
        run!(conn, ask, await)
    }
}

pub fn pool(way: &Way, size: usize, care: Care, callers: usize) -> Box<dyn Load> {
    let pool = pools::mysql_async(way, &Size::exactly(size), care);
    let callers = (0..callers).map(|_| FromPool(pool.clone())).collect();
    Box::new(Tasks::new(runtime(), callers))
}
