//! Checks what only Windows has: the library over a named pipe, which leads to a real server's
//! TCP port. `cargo xtask windows` builds this and runs it under wine.
//!
//! Argument: the server's URL, with TCP. Prints a line for each check; fails if one of them fails or
//! doesn't end.

#[cfg(windows)]
mod checks;
#[cfg(windows)]
mod library_checks;
#[cfg(windows)]
mod pipe_checks;
#[cfg(windows)]
mod server;

// The library's own file: its deadlines and its shutdown can't all be seen from outside.
#[cfg(windows)]
#[path = "../../../src/link/transport/pipe.rs"]
mod pipe;

#[cfg(windows)]
fn main() {
    let Some(server) = std::env::args()
        .nth(1)
        .and_then(|url| library_checks::Server::new(&url))
    else {
        eprintln!("usage: windows-test mysql://USER:PASSWORD@ADDRESS:PORT/SCHEMA");
        std::process::exit(2);
    };
    let mut run = checks::Run::default();
    pipe_checks::all(&mut run);
    library_checks::all(&mut run, server);
    run.end();
}

#[cfg(not(windows))]
fn main() {
    eprintln!("nothing to check on this system: run `cargo xtask windows`");
    std::process::exit(2);
}
