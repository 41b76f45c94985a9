//! Private database servers for tests, on free ports and in folders of their own. They outlive the command that
//! starts them; a file per server in `target/servers` says where it is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{apt, certs, mariadb, mysql, output, run, target};

const STEP: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(20);

/// The account and the schema the tests use. Both servers read it as one statement per line.
const SQL: &str = "\
CREATE DATABASE mux_test;
CREATE USER 'mux'@'%' IDENTIFIED BY 'mux-pw';
GRANT ALL PRIVILEGES ON *.* TO 'mux'@'%' WITH GRANT OPTION;
";

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Kind {
    Mariadb,
    Mysql,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mariadb => "mariadb",
            Kind::Mysql => "mysql",
        }
    }

    /// One kind, or all of them.
    pub fn chosen(only: Option<Kind>) -> &'static [Kind] {
        match only {
            None => &[Kind::Mariadb, Kind::Mysql],
            Some(Kind::Mariadb) => &[Kind::Mariadb],
            Some(Kind::Mysql) => &[Kind::Mysql],
        }
    }

    /// The file that says where this server is.
    pub fn env_file(self) -> Result<PathBuf> {
        Ok(target()?
            .join("servers")
            .join(self.name())
            .with_extension("env"))
    }
}

/// What an env file says.
struct State(HashMap<String, String>);

impl State {
    fn read(kind: Kind) -> Result<Option<Self>> {
        let file = kind.env_file()?;
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Some(Self(
            pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )))
    }

    fn get(&self, key: &str) -> Result<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .with_context(|| format!("no {key} in the env file of a server"))
    }

    /// Whether the process is still there, and is this server rather than a later process with its number.
    /// A process that ended has no command line, even when nobody has waited for it.
    fn alive(&self) -> Result<bool> {
        let words =
            fs::read_to_string(format!("/proc/{}/cmdline", self.get("PID")?)).unwrap_or_default();
        Ok(words.contains(self.get("DATADIR")?))
    }

    /// Stops the server if it runs, and removes its folder.
    fn stop(&self) -> Result<()> {
        for signal in ["TERM", "KILL"] {
            if self.alive()? {
                kill(self.get("PID")?, signal)?;
            }
            let started = Instant::now();
            while self.alive()? && started.elapsed() < STOP {
                sleep(STEP);
            }
        }
        ensure!(!self.alive()?, "process {} does not end", self.get("PID")?);
        let folder = Path::new(self.get("DATADIR")?)
            .parent()
            .context("a data folder lies in the server's folder")?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    }
}

/// Starts the chosen servers that do not run yet.
pub fn up(only: Option<Kind>) -> Result<()> {
    start_missing(only)?;
    status(only)
}

/// Stops the chosen servers and removes what they left.
pub fn down(only: Option<Kind>) -> Result<()> {
    let _lock = lock()?;
    for &kind in Kind::chosen(only) {
        if let Some(state) = State::read(kind)? {
            state.stop()?;
            fs::remove_file(kind.env_file()?)?;
            println!("{}: stopped", kind.name());
        }
    }
    Ok(())
}

/// Prints which of the chosen servers run, and where.
pub fn status(only: Option<Kind>) -> Result<()> {
    for &kind in Kind::chosen(only) {
        let name = kind.name();
        match State::read(kind)? {
            Some(state) if state.alive()? => {
                let (version, url, pid) =
                    (state.get("VERSION")?, state.get("URL")?, state.get("PID")?);
                println!(
                    "{name}: {version}, {url}, process {pid}, {}",
                    kind.env_file()?.display()
                );
            }
            Some(_) => println!("{name}: its process is gone; `up` starts it anew"),
            None => println!("{name}: not running"),
        }
    }
    Ok(())
}

/// The URL of a server that runs.
pub fn url(kind: Kind) -> Result<String> {
    let state = State::read(kind)?.context("the server does not run")?;
    Ok(state.get("URL")?.to_owned())
}

/// Servers needed for the time of a task: those that did not run before are stopped at its end.
pub struct Borrowed(Vec<Kind>);

impl Borrowed {
    pub fn new(only: Option<Kind>) -> Result<Self> {
        start_missing(only).map(Self)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        for &kind in &self.0 {
            if let Err(error) = down(Some(kind)) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Starts the chosen servers that do not run, and returns which these are.
fn start_missing(only: Option<Kind>) -> Result<Vec<Kind>> {
    let _lock = lock()?;
    let mut started = Vec::new();
    for &kind in Kind::chosen(only) {
        if let Some(state) = State::read(kind)? {
            if state.alive()? {
                continue;
            }
            println!("{}: its process is gone, starting anew", kind.name());
            state.stop()?;
        }
        start(kind).with_context(|| format!("cannot start {}", kind.name()))?;
        started.push(kind);
    }
    Ok(started)
}

/// Keeps two commands from starting the same server; held until the file is closed.
fn lock() -> Result<File> {
    let folder = target()?.join("servers");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn start(kind: Kind) -> Result<()> {
    let began = Instant::now();
    // A socket's path has 107 bytes at most, so it is not below target/. TMPDIR may be in memory.
    let template = std::env::temp_dir().join(format!("mysql_mux-{}-XXXXXX", kind.name()));
    let folder = PathBuf::from(output(Command::new("mktemp").arg("-d").arg(&template))?.trim_end());
    let result = serve(kind, &folder);
    if result.is_err() {
        fs::remove_dir_all(&folder)?;
    } else {
        println!(
            "{}: started in {:.1} s",
            kind.name(),
            began.elapsed().as_secs_f64()
        );
    }
    result
}

/// Makes a server in `folder`, starts it, and writes its env file.
fn serve(kind: Kind, folder: &Path) -> Result<()> {
    let at = |name: &str| folder.join(name).display().to_string();
    certs::write(&folder.join("certs"))?;
    let (server, sql) = match kind {
        Kind::Mariadb => (mariadb::prepare(&folder.join("data"))?, mariadb::SQL),
        Kind::Mysql => (mysql::prepare(&folder.join("data"))?, ""),
    };
    fs::write(folder.join("init.sql"), format!("{sql}{SQL}"))?;
    let (port, addresses) = free_port()?;
    let socket = at("sock");

    // With setsid the server lives on when the terminal closes; it keeps the process number.
    let log = File::create(folder.join("log"))?;
    let mut child = Command::new("setsid")
        .arg(server.get_program())
        .args(server.get_args())
        .args(apt::root()?.then_some("--user=root"))
        .args([
            format!("--datadir={}", at("data")),
            format!("--socket={socket}"),
            format!("--pid-file={}", at("pid")),
            format!("--init-file={}", at("init.sql")),
            format!("--port={port}"),
            format!("--bind-address={addresses}"),
            format!("--ssl-ca={}", at("certs/ca.pem")),
            format!("--ssl-cert={}", at("certs/server-cert.pem")),
            format!("--ssl-key={}", at("certs/server-key.pem")),
        ])
        .args([
            "--local-infile=1",
            "--max-connections=500",
            "--max-allowed-packet=64M",
            // Tests break off handshakes, which would get the address blocked.
            "--max-connect-errors=1000000",
            // Nobody needs this data after a crash.
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=64M",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let pid = child.id().to_string();

    let deadline = Instant::now() + START;
    let version = loop {
        if let Some(version) = greeting(&socket) {
            break version;
        }
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            // Without effect on one that ended.
            child.kill()?;
            child.wait()?;
            bail!(
                "the server does not answer:\n{}",
                tail(&folder.join("log"))?
            );
        }
        sleep(STEP);
    };

    let rsa = match kind {
        Kind::Mariadb => String::new(),
        Kind::Mysql => at("data/public_key.pem"),
    };
    let env = [
        ("KIND", kind.name().into()),
        ("VERSION", version),
        ("HOST", "127.0.0.1".into()),
        ("PORT", port.to_string()),
        ("SOCKET", socket),
        ("USER", "mux".into()),
        ("PASSWORD", "mux-pw".into()),
        ("DATABASE", "mux_test".into()),
        ("ROOT", "root".into()),
        ("PID", pid),
        ("DATADIR", at("data")),
        ("CA", at("certs/ca.pem")),
        ("SERVER_CERT", at("certs/server-cert.pem")),
        ("OTHER_CA", at("certs/other-ca.pem")),
        ("CLIENT_CERT", at("certs/client-cert.pem")),
        ("CLIENT_KEY", at("certs/client-key.pem")),
        ("RSA_PUBLIC_KEY", rsa),
        (
            "URL",
            format!("mysql://mux:mux-pw@127.0.0.1:{port}/mux_test"),
        ),
    ];
    let text: String = env
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    fs::write(kind.env_file()?, text)?;
    Ok(())
}

/// A port that is free on all loopback addresses of this machine, and these addresses.
fn free_port() -> Result<(u16, &'static str)> {
    // Some containers have no IPv6.
    let Ok(six) = TcpListener::bind("[::1]:0") else {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        return Ok((port, "127.0.0.1"));
    };
    let port = six.local_addr()?.port();
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok((port, "127.0.0.1,::1")),
        Err(_) => free_port(),
    }
}

/// The version in the first packet a server sends, if it listens: three bytes of length, a sequence number, the
/// protocol's version 10, then text up to a zero byte. By then it has read its init file.
fn greeting(socket: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut packet = [0; 128];
    let length = stream.read(&mut packet).ok()?;
    let text = packet[..length].get(5..)?.split(|&byte| byte == 0).next()?;
    let version = String::from_utf8(text.to_vec()).ok()?;
    // MariaDB's prefix that makes old replicas accept it.
    Some(
        version
            .strip_prefix("5.5.5-")
            .unwrap_or(&version)
            .to_owned(),
    )
}

fn kill(pid: &str, signal: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]))
}

/// The end of a log file.
fn tail(log: &Path) -> Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4000)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
