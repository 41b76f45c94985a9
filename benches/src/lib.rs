//! What the benchmarks and the examples share: which servers, which ways to them, how long things
//! took, how that is shown.

#[cfg(feature = "peers")]
pub mod ask;
pub mod bars;
#[cfg(feature = "peers")]
pub mod callers;
pub mod child;
pub mod choice;
#[cfg(feature = "peers")]
pub mod clock;
pub mod counted;
pub mod env;
#[cfg(feature = "peers")]
pub mod fetch;
pub mod heap;
#[cfg(feature = "peers")]
pub mod load;
#[cfg(feature = "peers")]
pub mod pools;
#[cfg(feature = "peers")]
pub mod raw;
pub mod relay;
pub mod show;
#[cfg(feature = "peers")]
pub mod spike;
#[cfg(feature = "peers")]
pub mod way;
#[cfg(feature = "peers")]
pub mod wide;

/// The options of the `mysql` crate that say the same as these.
pub fn mysql_opts(opts: &mysql_mux::Opts) -> mysql::Opts {
    let ssl = opts.get_ssl_opts().map(|ssl| {
        let root = ssl.root_cert_path().map(|path| path.to_owned());
        mysql::SslOpts::default()
            .with_root_cert_path(root)
            .with_danger_skip_domain_validation(ssl.skip_domain_validation())
            .with_danger_accept_invalid_certs(ssl.accept_invalid_certs())
    });
    let socket = opts.get_socket().map(|path| path.to_string_lossy());
    mysql::OptsBuilder::new()
        .ip_or_hostname(Some(opts.get_ip_or_hostname()))
        .tcp_port(opts.get_tcp_port())
        // It would connect twice to be on a socket where TCP was asked for.
        .prefer_socket(socket.is_some())
        .socket(socket)
        .user(opts.get_user())
        .pass(opts.get_pass())
        .db_name(opts.get_db_name())
        .ssl_opts(ssl)
        .into()
}
