//! Every client as a load: so many callers that share what the client shares.

pub mod aio;
pub mod mux;
pub mod mysql;
pub mod mysql_async;
pub mod sqlx;

/// Has a statement run by a client whose methods are called as those of `mysql`; one whose methods
/// are async says so with a last `await`.
macro_rules! run {
    ($conn:expr, $ask:expr $(, $await:tt)?) => {
        match $ask {
            $crate::ask::Ask::Row(id) => {
                let name = $conn.exec_first($crate::ask::ROW, (id,))$(.$await)?;
                $crate::ask::check(id, name.expect("it runs"));
            }
            $crate::ask::Ask::Text(id) => {
                let name = $conn.query_first($crate::ask::text(id))$(.$await)?;
                $crate::ask::check(id, name.expect("it runs"));
            }
            $crate::ask::Ask::Write(number) => {
                let done = $conn.exec_drop($crate::ask::WRITE, (number,))$(.$await)?;
                done.expect("it runs");
            }
            $crate::ask::Ask::Slow => {
                let done = $conn.query_drop($crate::ask::SLOW)$(.$await)?;
                done.expect("it runs");
            }
        }
    };
}
use run;
