//! `sqlx`, from a pool.

use sqlx::{Row as _, mysql::MySqlPool};

use crate::{
    ask::{Ask, ROW, SLOW, WRITE, check, text},
    load::{AsyncCaller, Load, Tasks, runtime},
    pools::{self, Care, Size},
    way::Way,
};

struct FromPool(MySqlPool);

impl AsyncCaller for FromPool {
    async fn ask(&mut self, ask: Ask) {
        let pool = &self.0;
        match ask {
            Ask::Row(id) => {
                let name = sqlx::query_scalar(ROW).bind(id).fetch_optional(pool).await;
                check(id, name.expect("it runs"));
            }
            Ask::Text(id) => {
                let sql = sqlx::AssertSqlSafe(text(id));
                let row = sqlx::raw_sql(sql).fetch_optional(pool).await;
                check(id, row.expect("it runs").map(|row| row.get(0)));
            }
            Ask::Write(number) => {
                let done = sqlx::query(WRITE).bind(number).execute(pool).await;
                done.expect("it runs");
            }
            Ask::Slow => {
                let done = sqlx::raw_sql(SLOW).execute(pool).await;
                done.expect("it runs");
            }
        }
    }
}

pub fn pool(way: &Way, size: usize, care: Care, callers: usize) -> Box<dyn Load> {
    let runtime = runtime();
    let inside = runtime.enter();
    let pool = pools::sqlx(way, &Size::exactly(size), care);
    drop(inside);
    let callers = (0..callers).map(|_| FromPool(pool.clone())).collect();
    Box::new(Tasks::new(runtime, callers))
}
