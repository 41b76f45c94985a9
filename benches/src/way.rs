//! The ways to a server, and the options that take each client there.

use std::{io, time::Duration};

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::{
    env::Server,
    relay::{self, Counter, Delay},
};

/// How a connection goes.
#[derive(Debug, Clone)]
pub struct Way {
    pub name: &'static str,
    pub server: Server,
    port: u16,
    socket: bool,
    tls: bool,
}

impl Way {
    fn new(name: &'static str, server: &Server) -> Way {
        Way {
            name,
            server: server.clone(),
            port: server.port,
            socket: false,
            tls: false,
        }
    }

    pub fn socket(server: &Server) -> Way {
        Way {
            socket: true,
            ..Way::new("socket", server)
        }
    }

    pub fn tcp(server: &Server) -> Way {
        Way::new("tcp", server)
    }

    pub fn tls(server: &Server) -> Way {
        Way {
            tls: true,
            ..Way::new("tls", server)
        }
    }

    /// TCP, half a millisecond away.
    pub fn relayed(server: &Server) -> io::Result<Way> {
        let delay = Delay::All(Duration::from_micros(500));
        Way::delayed("relay", server, delay)
    }

    /// TCP, 150 ms to connect, and no distance after that.
    pub fn slow_to_connect(server: &Server) -> io::Result<Way> {
        let delay = Delay::Greeting(Duration::from_millis(150));
        Way::delayed("slow connect", server, delay)
    }

    /// TCP, with round trips counted.
    pub fn counted(server: &Server) -> io::Result<(Way, Counter)> {
        let counter = Counter::default();
        let delay = Delay::All(Duration::ZERO);
        let way = Way::through("counted", server, delay, counter.clone())?;
        Ok((way, counter))
    }

    fn delayed(name: &'static str, server: &Server, delay: Delay) -> io::Result<Way> {
        Way::through(name, server, delay, Counter::default())
    }

    fn through(
        name: &'static str,
        server: &Server,
        delay: Delay,
        counter: Counter,
    ) -> io::Result<Way> {
        Ok(Way {
            port: relay::start(&server.host, server.port, delay, counter)?,
            ..Way::new(name, server)
        })
    }

    /// What it is, for people.
    pub fn about(&self) -> &'static str {
        match self.name {
            "socket" => "Unix socket",
            "tcp" => "TCP on the loopback",
            "tls" => "TLS over TCP on the loopback",
            "slow connect" => "TCP, 150 ms to connect",
            _ => "TCP behind a relay of 1 ms (0.5 ms each way)",
        }
    }

    pub fn mux(&self) -> mysql_mux::OptsBuilder {
        self.mux_as(&self.server.user, &self.server.password)
    }

    pub fn mux_as(&self, user: &str, password: &str) -> mysql_mux::OptsBuilder {
        let server = &self.server;
        let ssl = self
            .tls
            .then(|| mysql_mux::SslOpts::default().with_root_cert_path(Some(&server.ca)));
        mysql_mux::OptsBuilder::new()
            .ip_or_hostname(Some(&server.host))
            .tcp_port(self.port)
            .socket(self.socket.then_some(&server.socket))
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(&server.database))
            .ssl_opts(ssl)
            .get_server_public_key(true)
    }

    /// The same as a URL.
    pub fn mux_url(&self) -> String {
        let server = &self.server;
        let parameters = match (self.socket, self.tls) {
            (true, _) => format!("socket={}", server.socket),
            (_, true) => format!("require_ssl=true&ssl_ca={}", server.ca.display()),
            _ => "get_server_public_key=true".to_owned(),
        };
        format!(
            "mysql://{}:{}@{}:{}/{}?{parameters}",
            server.user, server.password, server.host, self.port, server.database
        )
    }

    pub fn mysql(&self) -> mysql::Opts {
        crate::mysql_opts(&self.mux().into())
    }

    pub fn mysql_async(&self) -> mysql_async::Opts {
        let server = &self.server;
        let ssl = self.tls.then(|| {
            mysql_async::SslOpts::default()
                .with_root_certs(vec![server.ca.clone().into()])
                .with_disable_built_in_roots(true)
        });
        let one = mysql_async::PoolConstraints::new(1, 1);
        mysql_async::OptsBuilder::default()
            .ip_or_hostname(&server.host)
            .tcp_port(self.port)
            .prefer_socket(self.socket)
            .socket(self.socket.then_some(&server.socket))
            .user(Some(&server.user))
            .pass(Some(&server.password))
            .db_name(Some(&server.database))
            .ssl_opts(ssl)
            .pool_opts(
                mysql_async::PoolOpts::default().with_constraints(one.expect("1 is not over 1")),
            )
            .into()
    }

    pub fn sqlx(&self) -> MySqlConnectOptions {
        let server = &self.server;
        let opts = MySqlConnectOptions::new()
            .host(&server.host)
            .port(self.port)
            .username(&server.user)
            .password(&server.password)
            .database(&server.database);
        match (self.socket, self.tls) {
            (true, _) => opts.socket(&server.socket).ssl_mode(MySqlSslMode::Disabled),
            (_, true) => opts
                .ssl_mode(MySqlSslMode::VerifyIdentity)
                .ssl_ca(&server.ca),
            _ => opts.ssl_mode(MySqlSslMode::Disabled),
        }
    }
}
