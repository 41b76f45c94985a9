//! The peers' pools.

use sqlx::mysql::{MySqlPool, MySqlPoolOptions};

use crate::way::Way;

/// What a pool does for whoever takes a connection from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Nothing: a session may be as the last one left it.
    Nothing,
    /// What it does unless it is told not to: `mysql` pings what it gives out and resets what it
    /// gets back, `mysql_async` resets, `sqlx` pings.
    Usual,
}

/// Connections a pool may have.
pub struct Size {
    /// Opened, or kept, whether they are needed or not.
    pub least: usize,
    pub most: usize,
}

impl Size {
    pub fn exactly(size: usize) -> Size {
        Size {
            least: size,
            most: size,
        }
    }
}

pub fn mysql(way: &Way, size: &Size, care: Care) -> mysql::Pool {
    let size = mysql::PoolConstraints::new(size.least, size.most);
    let pool = mysql::PoolOpts::default()
        .with_constraints(size.expect("a size"))
        .with_reset_connection(care == Care::Usual)
        .with_check_health(care == Care::Usual);
    let opts = mysql::OptsBuilder::from_opts(way.mysql()).pool_opts(pool);
    mysql::Pool::new(opts).expect("mysql connects")
}

/// It opens nothing before it is needed.
pub fn mysql_async(way: &Way, size: &Size, care: Care) -> mysql_async::Pool {
    let size = mysql_async::PoolConstraints::new(size.least, size.most);
    let pool = mysql_async::PoolOpts::default()
        .with_constraints(size.expect("a size"))
        .with_reset_connection(care == Care::Usual);
    let opts = mysql_async::OptsBuilder::from_opts(way.mysql_async()).pool_opts(pool);
    mysql_async::Pool::new(opts)
}

/// It opens nothing before it is needed. To be called in a runtime.
pub fn sqlx(way: &Way, size: &Size, care: Care) -> MySqlPool {
    MySqlPoolOptions::new()
        .min_connections(size.least as u32)
        .max_connections(size.most as u32)
        .test_before_acquire(care == Care::Usual)
        .connect_lazy_with(way.sqlx())
}
