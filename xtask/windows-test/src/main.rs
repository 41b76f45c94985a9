//! Checks what only Windows has: the library over a named pipe. A server thread relays the pipe
//! to a real server's TCP port. `cargo xtask windows` builds this and runs it under wine.
//!
//! `MYSQL_MUX_TEST_ADDR`, `_USER` and `_PASSWORD` tell the server. One line per check; fails if
//! one fails or doesn't end.

#[cfg(windows)]
mod checks;
#[cfg(windows)]
mod pipe_checks;
#[cfg(windows)]
mod server;

// The library's own file: its deadlines and its shutdown can't be seen well from outside.
#[cfg(windows)]
#[path = "../../../src/link/transport/pipe.rs"]
mod pipe;

#[cfg(windows)]
fn main() {
    let mut run = checks::Run::default();
    pipe_checks::all(&mut run);
    run.end();
}

#[cfg(not(windows))]
fn main() {
    println!("nothing to check here: run `cargo xtask windows`");
    std::process::exit(2);
}
