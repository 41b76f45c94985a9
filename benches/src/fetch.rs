//! Every client as one that has all rows of a table.

use futures_util::TryStreamExt as _;
use mysql_async::prelude::Queryable as _;
use sqlx::{ConnectOptions as _, mysql::MySqlConnection};
use tokio::runtime::Runtime;

use crate::{
    env::Server,
    way::Way,
    wide::{ALL, Item, Tuple},
};

/// Has all rows, says how many.
pub trait Fetch {
    fn tuples(&mut self) -> usize;
    fn structs(&mut self) -> usize;
    fn stream(&mut self) -> usize;
}

/// A client that is connected over the socket, for text or for prepared statements.
pub fn connect(client: &str, server: &Server, binary: bool) -> Box<dyn Fetch> {
    let way = Way::socket(server);
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a tokio runtime")
    };
    match client {
        "mysql_mux" => Box::new(Mux {
            handle: mysql_mux::connect(way.mux()).expect("mysql_mux connects"),
            binary,
        }),
        "mysql" => Box::new(Mysql {
            conn: mysql::Conn::new(way.mysql()).expect("mysql connects"),
            binary,
        }),
        "mysql_async" => {
            let runtime = runtime();
            let conn = runtime.block_on(mysql_async::Conn::new(way.mysql_async()));
            let conn = conn.expect("mysql_async connects");
            Box::new(Async {
                runtime,
                conn,
                binary,
            })
        }
        _ => {
            let runtime = runtime();
            let conn = runtime
                .block_on(way.sqlx().connect())
                .expect("sqlx connects");
            Box::new(Sqlx {
                runtime,
                conn,
                binary,
            })
        }
    }
}

fn count(rows: impl Iterator<Item = Tuple>) -> usize {
    rows.fold(0, |count, _| count + 1)
}

/// Both ways to have all rows at once.
macro_rules! all_at_once {
    () => {
        fn tuples(&mut self) -> usize {
            self.all::<Tuple>()
        }

        fn structs(&mut self) -> usize {
            self.all::<Item>()
        }
    };
}

struct Mux {
    handle: mysql_mux::Handle,
    binary: bool,
}

struct Mysql {
    conn: mysql::Conn,
    binary: bool,
}

struct Async {
    runtime: Runtime,
    conn: mysql_async::Conn,
    binary: bool,
}

struct Sqlx {
    runtime: Runtime,
    conn: MySqlConnection,
    binary: bool,
}

impl Mux {
    fn all<T: mysql_mux::prelude::FromRow>(&mut self) -> usize {
        use mysql_mux::prelude::Queryable as _;
        let rows: Result<Vec<T>, _> = match self.binary {
            true => self.handle.exec(ALL, ()),
            false => self.handle.query(ALL),
        };
        rows.expect("rows").len()
    }
}

impl Fetch for Mux {
    all_at_once!();

    fn stream(&mut self) -> usize {
        let row = |row: mysql_mux::Result<Tuple>| row.expect("a row");
        match self.binary {
            true => count(self.handle.exec_stream(ALL, ()).expect("rows").map(row)),
            false => count(self.handle.query_stream(ALL).expect("rows").map(row)),
        }
    }
}

impl Mysql {
    fn all<T: mysql::prelude::FromRow>(&mut self) -> usize {
        use mysql::prelude::Queryable as _;
        let rows: Result<Vec<T>, _> = match self.binary {
            true => self.conn.exec(ALL, ()),
            false => self.conn.query(ALL),
        };
        rows.expect("rows").len()
    }
}

impl Fetch for Mysql {
    all_at_once!();

    fn stream(&mut self) -> usize {
        use mysql::prelude::Queryable as _;
        let row = |row: mysql::Result<mysql::Row>| mysql::from_row::<Tuple>(row.expect("a row"));
        match self.binary {
            true => count(self.conn.exec_iter(ALL, ()).expect("rows").map(row)),
            false => count(self.conn.query_iter(ALL).expect("rows").map(row)),
        }
    }
}

impl Async {
    fn all<T: mysql::prelude::FromRow + Send + 'static>(&mut self) -> usize {
        let conn = &mut self.conn;
        let rows: Result<Vec<T>, _> = self.runtime.block_on(async {
            match self.binary {
                true => conn.exec(ALL, ()).await,
                false => conn.query(ALL).await,
            }
        });
        rows.expect("rows").len()
    }
}

impl Fetch for Async {
    all_at_once!();

    fn stream(&mut self) -> usize {
        let conn = &mut self.conn;
        let mut count = 0;
        let row = |row| {
            mysql_async::from_row::<Tuple>(row);
            count += 1;
        };
        let done = self.runtime.block_on(async {
            match self.binary {
                true => conn.exec_iter(ALL, ()).await?.for_each_and_drop(row).await,
                false => conn.query_iter(ALL).await?.for_each_and_drop(row).await,
            }
        });
        done.expect("rows");
        count
    }
}

impl Sqlx {
    fn all<T>(&mut self) -> usize
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::mysql::MySqlRow> + Send + Unpin,
    {
        let conn = &mut self.conn;
        let rows: sqlx::Result<Vec<T>> = self.runtime.block_on(async {
            match self.binary {
                true => sqlx::query_as(ALL).fetch_all(conn).await,
                false => {
                    let rows = sqlx::raw_sql(ALL).fetch_all(conn).await?;
                    rows.iter().map(T::from_row).collect()
                }
            }
        });
        rows.expect("rows").len()
    }
}

impl Fetch for Sqlx {
    all_at_once!();

    fn stream(&mut self) -> usize {
        use sqlx::FromRow as _;
        let conn = &mut self.conn;
        let count = self.runtime.block_on(async {
            let mut rows = match self.binary {
                true => sqlx::query(ALL).fetch(conn),
                false => sqlx::raw_sql(ALL).fetch(conn),
            };
            let mut count = 0;
            while let Some(row) = rows.try_next().await? {
                Tuple::from_row(&row)?;
                count += 1;
            }
            Ok::<usize, sqlx::Error>(count)
        });
        count.expect("rows")
    }
}
