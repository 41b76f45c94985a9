//! Options from a URL: its parts, and the table of its parameters.

use std::{path::PathBuf, time::Duration};

use mysql_common::proto::codec::Compression;
use percent_encoding::percent_decode_str;

use super::{
    Backend, Balance, Consistency, Isolation, OptsBuilder, Prefer, SslOpts, builder::Transport,
    ssl::ClientIdentity, target::Pipelining,
};

/// What is wrong with a URL or with options. Never names a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not a URL.
    #[error(
        "the database URL can't be read: {0}. It should look like mysql://user:password@host:3306/schema"
    )]
    Parse(String),
    /// Another scheme than `mysql` or `mysql+mux`.
    #[error("URL scheme '{0}' is not known; use mysql://")]
    UnsupportedScheme(String),
    /// A part that is no UTF-8 once it is decoded.
    #[error("the URL's {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A parameter that doesn't exist.
    #[error("unknown parameter '{parameter}'{}", nearest.map(|n| format!("; did you mean '{n}'?")).unwrap_or_default())]
    UnknownParameter {
        /// As it was given.
        parameter: String,
        /// The parameter that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value that is not allowed.
    #[error("'{value}' is not allowed for '{parameter}': {allowed}")]
    InvalidValue {
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A parameter that stands twice.
    #[error("parameter '{0}' is given more than once")]
    Duplicate(&'static str),
    /// Parameters that need each other.
    #[error("'{parameter}' needs '{needs}'")]
    Needs {
        /// The parameter.
        parameter: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The crate was built without a feature that a parameter needs.
    #[error("'{parameter}' needs the cargo feature '{feature}'")]
    FeatureRequired {
        /// The parameter.
        parameter: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A file that can't be read.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

type Set = fn(OptsBuilder, &'static str, &str) -> Result<OptsBuilder, UrlError>;

/// Every parameter and what it does.
const PARAMETERS: &[(&str, Set)] = &[
    ("protocol", |mut b, name, v| {
        b.transport = match (v, b.transport) {
            ("tcp", _) => Transport::Tcp,
            ("socket", Transport::Socket(path)) => Transport::Socket(path),
            ("socket", _) => {
                return Err(UrlError::Needs {
                    parameter: "protocol=socket",
                    needs: "socket",
                });
            }
            ("pipe", Transport::Pipe(pipe)) => Transport::Pipe(pipe),
            ("pipe", _) => Transport::Pipe("MySQL".into()),
            _ => return invalid(name, v, "tcp, socket or pipe"),
        };
        Ok(b)
    }),
    ("socket", |b, _, v| Ok(b.socket(Some(v)))),
    ("pipe_name", |b, _, v| Ok(b.pipe_name(Some(v)))),
    ("prefer_socket", |b, name, v| {
        Ok(b.prefer_socket(flag(name, v)?))
    }),
    ("isolation", |b, name, v| {
        Ok(b.isolation(match v {
            "shared" => Isolation::Shared,
            "reset" => Isolation::Reset,
            "session" => Isolation::Session,
            _ => return invalid(name, v, "shared, reset or session"),
        }))
    }),
    ("prefer", |b, name, v| {
        Ok(b.prefer(match v {
            "primary" => Prefer::Primary,
            "replica" => Prefer::Replica,
            "any" => Prefer::Any,
            _ => return invalid(name, v, "primary, replica or any"),
        }))
    }),
    ("consistency", |b, name, v| {
        let time = v.strip_prefix("primary_for_ms:").map(str::parse);
        Ok(b.consistency(match (v, time) {
            ("none", _) => Consistency::None,
            ("session", _) => Consistency::Session,
            (_, Some(Ok(ms))) => Consistency::PrimaryFor(Duration::from_millis(ms)),
            _ => return invalid(name, v, "none, session or primary_for_ms: and a number"),
        }))
    }),
    ("balance", |b, name, v| {
        Ok(b.balance(match v {
            "power_of_two" => Balance::PowerOfTwo,
            "shortest_queue" => Balance::ShortestQueue,
            "in_order" => Balance::InOrder,
            _ => return invalid(name, v, "power_of_two, shortest_queue or in_order"),
        }))
    }),
    ("max_lag_ms", |b, name, v| {
        Ok(b.max_lag(Some(millis(name, v)?)))
    }),
    ("max_links", |b, name, v| Ok(b.max_links(number(name, v)?))),
    ("min_idle_links", |b, name, v| {
        Ok(b.min_idle_links(number(name, v)?))
    }),
    ("max_idle_links", |b, name, v| {
        Ok(b.max_idle_links(number(name, v)?))
    }),
    ("keep_diagnostics", |b, name, v| {
        Ok(b.keep_diagnostics(flag(name, v)?))
    }),
    ("keep_insert_id", |b, name, v| {
        Ok(b.keep_insert_id(flag(name, v)?))
    }),
    ("init", |mut b, _, v| {
        b.session.init.push(v.to_owned());
        Ok(b)
    }),
    ("charset", |mut b, _, v| {
        b.fixed.charset = v.to_owned();
        Ok(b)
    }),
    ("collation", |mut b, _, v| {
        b.fixed.collation = Some(v.to_owned());
        Ok(b)
    }),
    ("found_rows", |b, name, v| Ok(b.found_rows(flag(name, v)?))),
    ("ignore_space", |mut b, name, v| {
        b.fixed.ignore_space = flag(name, v)?;
        Ok(b)
    }),
    ("interactive", |mut b, name, v| {
        b.fixed.interactive = flag(name, v)?;
        Ok(b)
    }),
    ("multi_statements", |b, name, v| {
        Ok(b.multi_statements(flag(name, v)?))
    }),
    ("no_schema", |mut b, name, v| {
        b.fixed.no_schema = flag(name, v)?;
        Ok(b)
    }),
    ("program_name", |mut b, _, v| {
        b.fixed
            .connect_attrs
            .get_or_insert_default()
            .insert("program_name".into(), v.to_owned());
        Ok(b)
    }),
    ("compress", |b, name, v| {
        let level = match v {
            "false" => None,
            "true" => Some(Compression::default()),
            "fast" => Some(Compression::fast()),
            "best" => Some(Compression::best()),
            digit => match digit.parse() {
                Ok(level @ 0..=9) => Some(Compression::new(level)),
                _ => return invalid(name, v, "true, false, fast, best or 0 to 9"),
            },
        };
        if level.is_some() && !cfg!(feature = "compress") {
            return Err(UrlError::FeatureRequired {
                parameter: name,
                feature: "compress",
            });
        }
        Ok(b.compress(level))
    }),
    ("max_allowed_packet", |b, name, v| {
        Ok(b.max_allowed_packet(Some(number(name, v)?)))
    }),
    ("max_result_size", |b, name, v| {
        Ok(b.max_result_size(number(name, v)?))
    }),
    ("stmt_cache_size", |b, name, v| {
        Ok(b.stmt_cache_size(number::<usize>(name, v)?))
    }),
    ("statement_timeout_ms", |b, name, v| {
        Ok(b.statement_timeout(Some(millis(name, v)?)))
    }),
    ("pipelining", |b, name, v| match v {
        "auto" => Ok(b.pipelining(Pipelining::Auto)),
        "on" => Ok(b.pipelining(Pipelining::On)),
        "off" => Ok(b.pipelining(Pipelining::Off)),
        _ => invalid(name, v, "auto, on or off"),
    }),
    (
        "tcp_nodelay",
        |b, name, v| Ok(b.tcp_nodelay(flag(name, v)?)),
    ),
    ("tcp_keepalive_time_ms", |b, name, v| {
        Ok(b.tcp_keepalive_time_ms(Some(number(name, v)?)))
    }),
    ("tcp_keepalive_probe_interval_secs", |b, name, v| {
        Ok(b.tcp_keepalive_probe_interval_secs(Some(number(name, v)?)))
    }),
    ("tcp_keepalive_probe_count", |b, name, v| {
        Ok(b.tcp_keepalive_probe_count(Some(number(name, v)?)))
    }),
    ("tcp_user_timeout_ms", |b, name, v| {
        Ok(b.tcp_user_timeout_ms(Some(number(name, v)?)))
    }),
    ("tcp_connect_timeout_ms", |b, name, v| {
        Ok(b.tcp_connect_timeout(Some(millis(name, v)?)))
    }),
    ("read_timeout_ms", |b, name, v| {
        Ok(b.read_timeout(Some(millis(name, v)?)))
    }),
    ("write_timeout_ms", |b, name, v| {
        Ok(b.write_timeout(Some(millis(name, v)?)))
    }),
    ("bind_address", |b, name, v| {
        let address = v.parse::<std::net::SocketAddr>().ok();
        let address =
            address.or_else(|| v.parse::<std::net::IpAddr>().ok().map(|ip| (ip, 0).into()));
        match address {
            Some(address) => Ok(b.bind_address(Some(address))),
            None => invalid(name, v, "an address, or address:port"),
        }
    }),
    ("send_buffer", |mut b, name, v| {
        b.net.send_buffer = Some(number(name, v)?);
        Ok(b)
    }),
    ("recv_buffer", |mut b, name, v| {
        b.net.recv_buffer = Some(number(name, v)?);
        Ok(b)
    }),
    ("require_ssl", |b, name, v| match flag(name, v)? {
        true if !cfg!(feature = "rustls-tls") => Err(UrlError::FeatureRequired {
            parameter: name,
            feature: "rustls-tls",
        }),
        true => {
            let ssl = b.ssl.clone().unwrap_or_default();
            Ok(b.ssl_opts(ssl))
        }
        false => Ok(b.ssl_opts(None)),
    }),
    ("ssl_ca", |b, name, v| {
        ssl(b, name, |ssl| ssl.with_root_cert_path(Some(v)))
    }),
    ("ssl_cert", |b, name, v| {
        ssl(b, name, |ssl| {
            let identity = ssl
                .client_identity()
                .cloned()
                .unwrap_or(ClientIdentity::new("", ""));
            ssl.with_client_identity(Some(identity.with_cert(v.into())))
        })
    }),
    ("ssl_key", |b, name, v| {
        ssl(b, name, |ssl| {
            let identity = ssl
                .client_identity()
                .cloned()
                .unwrap_or(ClientIdentity::new("", ""));
            ssl.with_client_identity(Some(identity.with_key(v.into())))
        })
    }),
    ("ssl_server_name", |b, name, v| {
        ssl(b, name, |ssl| ssl.with_server_name(Some(v)))
    }),
    ("verify_ca", |b, name, v| {
        let verify = flag(name, v)?;
        ssl(b, name, |ssl| ssl.with_danger_accept_invalid_certs(!verify))
    }),
    ("verify_identity", |b, name, v| {
        let verify = flag(name, v)?;
        ssl(b, name, |ssl| {
            ssl.with_danger_skip_domain_validation(!verify)
        })
    }),
    ("enable_cleartext_plugin", |b, name, v| {
        Ok(b.enable_cleartext_plugin(flag(name, v)?))
    }),
    ("secure_auth", |b, name, v| match flag(name, v)? {
        true => Ok(b),
        false => invalid(
            name,
            v,
            "true: the scramble of MySQL before 4.1 is never used",
        ),
    }),
    ("server_public_key_path", |b, _, v| {
        Ok(b.server_key_path(Some(v)))
    }),
    ("get_server_public_key", |b, name, v| {
        Ok(b.get_server_public_key(flag(name, v)?))
    }),
    ("password2", |b, _, v| Ok(b.pass2(Some(v)))),
    ("password3", |b, _, v| Ok(b.pass3(Some(v)))),
];

/// In this order, whatever the URL's: `protocol` looks at what `socket` and `pipe_name` gave, and
/// what belongs to TLS needs `require_ssl`.
fn rank(name: &str) -> u8 {
    match name {
        "require_ssl" => 0,
        "protocol" => 2,
        _ => 1,
    }
}

fn invalid<T>(parameter: &'static str, value: &str, allowed: &'static str) -> Result<T, UrlError> {
    Err(UrlError::InvalidValue {
        parameter,
        value: value.to_owned(),
        allowed,
    })
}

fn flag(parameter: &'static str, value: &str) -> Result<bool, UrlError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => invalid(parameter, value, "true or false"),
    }
}

fn number<T: std::str::FromStr>(parameter: &'static str, value: &str) -> Result<T, UrlError> {
    value
        .parse()
        .or_else(|_| invalid(parameter, value, "a whole number that fits"))
}

fn millis(parameter: &'static str, value: &str) -> Result<Duration, UrlError> {
    match number(parameter, value)? {
        0 => invalid(parameter, value, "milliseconds, at least 1"),
        ms => Ok(Duration::from_millis(ms)),
    }
}

fn ssl(
    b: OptsBuilder,
    parameter: &'static str,
    change: impl FnOnce(SslOpts) -> SslOpts,
) -> Result<OptsBuilder, UrlError> {
    match b.ssl.clone() {
        Some(ssl) => Ok(b.ssl_opts(change(ssl))),
        None => Err(UrlError::Needs {
            parameter,
            needs: "require_ssl=true",
        }),
    }
}

/// Sets one parameter.
pub(super) fn set(builder: OptsBuilder, name: &str, value: &str) -> Result<OptsBuilder, UrlError> {
    match PARAMETERS.iter().find(|(known, _)| *known == name) {
        Some((known, set)) => set(builder, known, value),
        None => Err(UrlError::UnknownParameter {
            parameter: name.to_owned(),
            nearest: nearest(name),
        }),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    let (best, _) = PARAMETERS
        .iter()
        .max_by(|(a, _), (b, _)| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.7).then_some(best)
}

fn decode(part: &str, what: &'static str) -> Result<String, UrlError> {
    match percent_decode_str(part).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(UrlError::NotUtf8(what)),
    }
}

/// A URL with the first of its hosts, and the others: no URL has more than one.
fn without_others(text: &str) -> (String, Vec<&str>) {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(begin);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let hosts = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, hosts) = authority.split_at(hosts);
    let mut hosts = hosts.split(',');
    let first = hosts.next().unwrap_or_default();
    (format!("{scheme}{user}{first}{path}"), hosts.collect())
}

/// Reads a URL.
pub(super) fn parse(text: &str) -> Result<OptsBuilder, UrlError> {
    let (text, others) = without_others(text);
    let parsed = |text: &str| ::url::Url::parse(text).map_err(|e| UrlError::Parse(e.to_string()));
    let url = parsed(&text)?;
    if !matches!(url.scheme(), "mysql" | "mysql+mux") {
        return Err(UrlError::UnsupportedScheme(url.scheme().to_owned()));
    }
    if url.cannot_be_a_base() {
        return Err(UrlError::Parse("no host".into()));
    }
    let mut builder = OptsBuilder::new();
    if let Some(host) = url.host_str().filter(|h| !h.is_empty()) {
        let host = decode(host, "host")?;
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .map(str::to_owned);
        builder = builder.ip_or_hostname(Some(bare.unwrap_or(host)));
    }
    if let Some(port) = url.port() {
        builder = builder.tcp_port(port);
    }
    for other in others {
        // Read as a URL of its own, so that it is read alike.
        let other = parsed(&format!("mysql://{other}/"))?;
        let host = decode(other.host_str().unwrap_or_default(), "host")?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(&host).to_owned();
        if host.is_empty() || !other.username().is_empty() {
            return Err(UrlError::Parse("a host is missing between commas".into()));
        }
        builder = builder.backend(Backend::new(host, other.port().unwrap_or(3306)));
    }
    if !url.username().is_empty() {
        builder = builder.user(Some(decode(url.username(), "user")?));
    }
    if let Some(password) = url.password() {
        builder = builder.pass(Some(decode(password, "password")?));
    }
    let schema = decode(url.path().trim_start_matches('/'), "schema")?;
    if !schema.is_empty() {
        builder = builder.db_name(Some(schema));
    }
    let mut parameters: Vec<(String, String)> = url
        .query_pairs()
        .map(|(n, v)| (n.into_owned(), v.into_owned()))
        .collect();
    parameters.sort_by_key(|(name, _)| rank(name));
    for (i, (name, value)) in parameters.iter().enumerate() {
        let twice = name != "init" && parameters[..i].iter().any(|(before, _)| before == name);
        if twice && let Some((known, _)) = PARAMETERS.iter().find(|(known, _)| known == name) {
            return Err(UrlError::Duplicate(known));
        }
        builder = set(builder, name, value)?;
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opts::{Opts, target::Endpoint};
    use proptest::prelude::*;

    fn opts(url: &str) -> Opts {
        Opts::from_url(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    fn fault(url: &str) -> UrlError {
        Opts::from_url(url).unwrap_err()
    }

    #[test]
    fn every_part_is_decoded() {
        let opts = opts("mysql://us%40er:p%2Fw%C3%A4@db.example:3307/sh%20op");
        assert_eq!(opts.get_user(), Some("us@er"));
        assert_eq!(opts.get_pass(), Some("p/wä"));
        assert_eq!(
            (opts.get_ip_or_hostname(), opts.get_tcp_port()),
            ("db.example", 3307)
        );
        assert_eq!(opts.get_db_name(), Some("sh op"));
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let opts = opts("mysql://u@[::1]:3308/");
        assert_eq!(
            (opts.get_ip_or_hostname(), opts.get_tcp_port()),
            ("::1", 3308)
        );
        assert_eq!(opts.target().endpoint.to_string(), "[::1]:3308");
    }

    #[test]
    fn several_hosts_are_several_servers() {
        let all =
            opts("mysql+mux://u:p@one:3307,[::1]:3308,three/db?consistency=primary_for_ms:50");
        let names = all
            .backends()
            .iter()
            .map(|(opts, weight)| (opts.target().endpoint.to_string(), *weight));
        let names: Vec<_> = names.collect();
        assert_eq!(
            names,
            [
                ("one:3307".into(), 1),
                ("[::1]:3308".into(), 1),
                ("three:3306".to_owned(), 1)
            ]
        );
        assert_eq!(
            all.get_consistency(),
            Consistency::PrimaryFor(Duration::from_millis(50))
        );
        assert!(
            all.backends()
                .iter()
                .all(|(opts, _)| opts.get_user() == Some("u"))
        );
        assert_eq!(Opts::from(OptsBuilder::from_opts(all.clone())), all);
        // Limits are those of all, also where they are said later.
        let fewer = OptsBuilder::from_opts(opts("mysql://u@one,two/?max_links=9")).max_links(2);
        let fewer = Opts::from(fewer);
        assert_eq!(fewer, opts("mysql://u@one,two/?max_links=2"));
        assert!(opts("mysql://u@one/").backends().is_empty());
        for url in ["mysql://one,,two/", "mysql://one,/"] {
            assert!(matches!(fault(url), UrlError::Parse(_)), "{url}");
        }
        assert!(matches!(
            fault("mysql://one,two/?isolation=shared"),
            UrlError::InvalidValue {
                parameter: "isolation",
                ..
            }
        ));
        assert!(matches!(
            fault("mysql://one/?consistency=primary_for_ms:x"),
            UrlError::InvalidValue {
                parameter: "consistency",
                ..
            }
        ));
    }

    #[test]
    fn transports() {
        let socket = opts("mysql://u@localhost/?socket=/run/my.sock");
        assert_eq!(socket.get_socket(), Some("/run/my.sock".as_ref()));
        assert_eq!(
            opts("mysql://u@h/?socket=/s&prefer_socket=false").get_socket(),
            None
        );
        let pipe = opts("mysql://u@localhost/?protocol=pipe&pipe_name=db");
        let Endpoint::Pipe { server, name } = &pipe.target().endpoint else {
            panic!()
        };
        assert_eq!((&**server, &**name), (".", "db"));
        assert_eq!(
            opts("mysql://u@h/?protocol=pipe").get_pipe_name(),
            Some("MySQL")
        );
        assert!(matches!(
            fault("mysql://u@h/?protocol=socket"),
            UrlError::Needs { .. }
        ));
        assert!(matches!(
            fault("mysql://u@h/?protocol=shm"),
            UrlError::InvalidValue { .. }
        ));
    }

    #[test]
    fn an_unknown_parameter_names_the_nearest() {
        assert_eq!(
            fault("mysql://u@h/?stmt_cach_size=3"),
            UrlError::UnknownParameter {
                parameter: "stmt_cach_size".into(),
                nearest: Some("stmt_cache_size")
            }
        );
        let text = fault("mysql://u@h/?qqqq=3").to_string();
        assert_eq!(text, "unknown parameter 'qqqq'");
    }

    #[test]
    fn a_parameter_twice_is_an_error_but_init_statements_add_up() {
        assert_eq!(
            fault("mysql://u@h/?found_rows=1&found_rows=0"),
            UrlError::Duplicate("found_rows")
        );
        assert_eq!(
            opts("mysql://u@h/?init=SET%20a&init=SET%20b").get_init(),
            ["SET a", "SET b"]
        );
    }

    #[test]
    fn values_that_are_not_allowed_say_what_is() {
        for url in [
            "mysql://h/?found_rows=maybe",
            "mysql://h/?read_timeout_ms=0",
            "mysql://h/?stmt_cache_size=-1",
            "mysql://h/?charset=utf8mb4%3BDROP",
            "mysql://h/?secure_auth=false",
            "mysql://h/?isolation=none",
            "mysql://h/?bind_address=nowhere",
        ] {
            assert!(
                matches!(fault(url), UrlError::InvalidValue { .. }),
                "{url}: {}",
                fault(url)
            );
        }
        assert!(matches!(
            fault("postgres://h/"),
            UrlError::UnsupportedScheme(_)
        ));
        assert!(matches!(
            fault("mysql://h/?ssl_ca=x"),
            UrlError::Needs { .. }
        ));
        assert!(matches!(
            fault("mysql://h/?server_public_key_path=/no/such"),
            UrlError::File { .. }
        ));
    }

    #[test]
    fn no_secret_shows() {
        let url = "mysql://u:hush@h/?password2=hush&password3=hush";
        assert!(!format!("{:?}", opts(url)).contains("hush"));
        for bad in ["&x=1", "&password2=again", "&found_rows=2"] {
            let e = fault(&format!("{url}{bad}"));
            assert!(!format!("{e} {e:?}").contains("hush"), "{e}");
        }
    }

    #[test]
    fn what_decides_which_links_fit_is_kept_apart() {
        let base = opts("mysql://u:p@h/db");
        let same_key = [
            "mysql://v:p@h/db",
            "mysql://u:q@h/db",
            "mysql://u:p@h/other",
            "mysql://u:p@h/db?init=x",
        ];
        for url in same_key {
            let other = opts(url);
            assert_eq!(other.target(), base.target(), "{url}");
            assert_eq!(other.target_hash(), base.target_hash(), "{url}");
        }
        assert_ne!(opts("mysql://u:q@h/db").identity(), base.identity());
        assert_ne!(
            opts("mysql://u:p@h/db?enable_cleartext_plugin=1").identity(),
            base.identity()
        );
        for url in [
            "mysql://u:p@i/db",
            "mysql://u:p@h:1/db",
            "mysql://u:p@h/db?found_rows=1",
            "mysql://u:p@h/db?interactive=1",
            "mysql://u:p@h/db?charset=latin1",
            "mysql://u:p@h/db?program_name=x",
            "mysql://u:p@h/db?socket=/s",
        ] {
            assert_ne!(opts(url).target(), base.target(), "{url}");
        }
    }

    #[cfg(feature = "rustls-tls")]
    #[test]
    fn tls_parameters_in_any_order() {
        let opts = opts("mysql://u@h/?verify_identity=false&ssl_ca=/ca.pem&require_ssl=true");
        let ssl = opts.get_ssl_opts().unwrap();
        assert!(ssl.skip_domain_validation() && !ssl.accept_invalid_certs());
        assert_eq!(ssl.root_cert_path(), Some("/ca.pem".as_ref()));
    }

    proptest! {
        #[test]
        fn any_text_is_options_or_an_error(text in "\\PC*", query in "[a-z_]{0,12}=\\PC{0,9}") {
            drop(Opts::from_url(&text));
            drop(Opts::from_url(&format!("mysql://{text}")));
            drop(Opts::from_url(&format!("mysql://u:p@h/d?{query}")));
        }
    }
}
