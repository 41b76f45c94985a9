//! One server: a process, the folder that has all it needs, and an env file that says where it is. A script in
//! the folder starts the process, so that whoever killed it can start it again.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom};
use std::iter::Cycle;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::servers::{self, Kind};
use crate::{apt, certs, mariadb, mysql, output, run};

const STEP: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(20);

/// What a server is to be.
pub struct Plan {
    /// What its env file and its folder are called.
    pub name: String,
    pub kind: Kind,
    pub role: &'static str,
    /// What it has beyond the options of every server.
    pub options: Vec<String>,
    /// The same for its first start alone.
    pub first: Vec<String>,
    /// Who it runs as where root starts it, if that is not root.
    pub account: Option<&'static str>,
    /// Where certificates are that others have too; without, it gets its own.
    pub certs: Option<PathBuf>,
}

/// A server that was started.
pub struct Node {
    file: PathBuf,
    vars: Vec<(String, String)>,
}

impl Node {
    /// The one of this name, if it was started and not stopped.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let file = servers::env_file(name)?;
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let vars = pairs
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        Ok(Some(Self { file, vars }))
    }

    /// Makes a server and starts it. Its env file is there when `ready` has done with it what else is to be done.
    pub fn start(plan: &Plan, ready: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        // A socket's path has 107 bytes at most, so it is not below target/. TMPDIR may be in memory.
        let template = std::env::temp_dir().join(format!("mysql_mux-{}-XXXXXX", plan.name));
        let folder = output(Command::new("mktemp").arg("-d").arg(&template))?;
        let folder = Path::new(folder.trim_end());
        let result = serve(plan, folder).and_then(|node| {
            ready(&node)
                .with_context(|| tail(&folder.join("log")).unwrap_or_default())
                .with_context(|| format!("{} runs, but cannot be used", plan.name))?;
            node.write()?;
            Ok(node)
        });
        if result.is_err() {
            Process(folder).end()?;
            fs::remove_dir_all(folder)?;
        }
        result
    }

    pub fn get(&self, key: &str) -> Result<&str> {
        self.vars
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .with_context(|| format!("no {key} in the env file of a server"))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where it keeps its certificates.
    pub fn certs(&self) -> Result<PathBuf> {
        Ok(parent(self.get("CA")?)?.to_owned())
    }

    pub fn pid(&self) -> Result<String> {
        Ok(self.process()?.pid())
    }

    pub fn alive(&self) -> Result<bool> {
        Ok(self.process()?.alive())
    }

    /// Runs statements as the administrator and returns what they print.
    pub fn query(&self, sql: &str) -> Result<String> {
        let mut client = match self.get("KIND")? {
            "mariadb" => mariadb::client()?,
            _ => mysql::client()?,
        };
        client
            .args([
                "--no-defaults",
                "--user=root",
                "--batch",
                "--skip-column-names",
            ])
            .arg(format!("--socket={}", self.get("SOCKET")?))
            .arg(format!("--execute={sql}"));
        Ok(output(&mut client)?.trim_end().to_owned())
    }

    /// Asks again until the answer is the one that is wanted.
    pub fn wait_for(&self, sql: &str, wanted: &str) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.query(sql)?;
            if answer == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{sql}: {answer} and not {wanted} after {START:?}"
            );
            sleep(STEP);
        }
    }

    /// Stops the server if it runs, and removes its folder.
    pub fn stop(&self) -> Result<()> {
        self.process()?.end()?;
        let folder = parent(self.get("DATADIR")?)?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::remove_file(&self.file)?;
        Ok(())
    }

    fn process(&self) -> Result<Process<'_>> {
        Ok(Process(parent(self.get("DATADIR")?)?))
    }

    fn write(&self) -> Result<()> {
        let text: String = self
            .vars
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        fs::write(&self.file, text)?;
        Ok(())
    }
}

fn parent(path: &str) -> Result<&Path> {
    Path::new(path)
        .parent()
        .with_context(|| format!("{path} lies in no folder"))
}

/// The process of the server in this folder. It is another one after each start.
struct Process<'a>(&'a Path);

impl Process<'_> {
    fn pid(&self) -> String {
        let pid = fs::read_to_string(self.0.join("pid")).unwrap_or_default();
        pid.trim_end().to_owned()
    }

    /// Whether the process is still there, and is this server rather than a later process with its number: it
    /// works in its folder. A process that ended works nowhere, even when nobody has waited for it.
    fn alive(&self) -> bool {
        self.has(&self.pid())
    }

    fn has(&self, pid: &str) -> bool {
        let folder = self.0.canonicalize();
        let works_in = fs::read_link(format!("/proc/{pid}/cwd"));
        folder.is_ok_and(|folder| works_in.is_ok_and(|path| path.starts_with(folder)))
    }

    /// Stops it if it runs, and what is left of its helpers, such as those that copy data between nodes.
    fn end(&self) -> Result<()> {
        if self.alive() {
            kill(&self.pid(), "TERM")?;
            self.wait();
        }
        for process in fs::read_dir("/proc")? {
            let pid = process?.file_name().to_string_lossy().into_owned();
            if self.has(&pid) {
                kill(&pid, "KILL")?;
            }
        }
        self.wait();
        ensure!(!self.alive(), "process {} does not end", self.pid());
        Ok(())
    }

    fn wait(&self) {
        let began = Instant::now();
        while self.alive() && began.elapsed() < STOP {
            sleep(STEP);
        }
    }
}

/// Sends a signal to a process, which may end by itself meanwhile.
fn kill(pid: &str, signal: &str) -> Result<()> {
    let script = format!("kill -{signal} {pid} 2>/dev/null || ! kill -0 {pid} 2>/dev/null");
    run(Command::new("sh").args(["-c", &script]))
}

/// Makes a server in `folder` and starts it.
fn serve(plan: &Plan, folder: &Path) -> Result<Node> {
    let at = |name: &str| folder.join(name).display().to_string();
    let certs = match &plan.certs {
        Some(certs) => certs.clone(),
        None => {
            certs::write(&folder.join("certs"))?;
            folder.join("certs")
        }
    };
    let cert = |name: &str| certs.join(name).display().to_string();
    let data = folder.join("data");
    let mut server = match plan.kind {
        Kind::Mariadb => mariadb::prepare(&data)?,
        Kind::Mysql => mysql::prepare(&data)?,
    };
    let (port, addresses) = free_port()?;
    let socket = at("sock");
    if apt::root()? {
        let account = plan.account.unwrap_or("root");
        run(Command::new("chown").args(["-R", account]).arg(folder))?;
        server.arg(format!("--user={account}"));
    }
    server
        .args([
            format!("--datadir={}", at("data")),
            format!("--socket={socket}"),
            format!("--port={port}"),
            format!("--bind-address={addresses}"),
            format!("--ssl-ca={}", cert("ca.pem")),
            format!("--ssl-cert={}", cert("server-cert.pem")),
            format!("--ssl-key={}", cert("server-key.pem")),
        ])
        .args([
            "--local-infile=1",
            "--max-connections=500",
            "--max-allowed-packet=64M",
            // Tests break off handshakes, which would get the address blocked.
            "--max-connect-errors=1000000",
            // Nobody needs this data after a crash of the machine.
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=128M",
        ])
        .args(&plan.options);
    write_script(&server, folder)?;
    run(Command::new(folder.join("start")).args(&plan.first))?;
    let version = wait(folder, &socket)?;

    let rsa = match plan.kind {
        Kind::Mariadb => String::new(),
        Kind::Mysql => at("data/public_key.pem"),
    };
    let vars = [
        ("KIND", plan.kind.name().into()),
        ("ROLE", plan.role.into()),
        ("VERSION", version),
        ("HOST", "127.0.0.1".into()),
        ("PORT", port.to_string()),
        ("SOCKET", socket),
        ("USER", "mux".into()),
        ("PASSWORD", "mux-pw".into()),
        ("DATABASE", "mux_test".into()),
        ("ROOT", "root".into()),
        ("PID", Process(folder).pid()),
        ("PIDFILE", at("pid")),
        ("START", at("start")),
        ("DATADIR", at("data")),
        ("CA", cert("ca.pem")),
        ("SERVER_CERT", cert("server-cert.pem")),
        ("OTHER_CA", cert("other-ca.pem")),
        ("CLIENT_CERT", cert("client-cert.pem")),
        ("CLIENT_KEY", cert("client-key.pem")),
        ("RSA_PUBLIC_KEY", rsa),
        (
            "URL",
            format!("mysql://mux:mux-pw@127.0.0.1:{port}/mux_test"),
        ),
    ];
    Ok(Node {
        file: servers::env_file(&plan.name)?,
        vars: vars
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect(),
    })
}

/// Writes the script that starts the server. With setsid the server lives on when the terminal closes; it keeps
/// the number of the process that the script made.
fn write_script(server: &Command, folder: &Path) -> Result<()> {
    let words: Vec<_> = [server.get_program()]
        .into_iter()
        .chain(server.get_args())
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    let script = format!(
        r#"#!/bin/sh
# Starts this server in the background, with the data that it has; arguments are further options.
cd {folder} || exit
# One that was killed just now may take a moment to go.
tries=100
while [ -s pid ] && readlink "/proc/$(cat pid)/cwd" | grep -qF "$(pwd -P)"; do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then
        echo "it runs: process $(cat pid)" >&2
        exit 1
    fi
    sleep 0.1
done
# The number in a lock that was left may be that of another process, or of one that nobody has waited for.
rm -f sock.lock
setsid {words} "$@" </dev/null >>log 2>&1 &
echo $! >pid
"#,
        folder = quoted(&folder.to_string_lossy()),
        words = words.join(" "),
    );
    let file = folder.join("start");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A word of a shell's command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Waits until a server that was started answers, and returns its version.
fn wait(folder: &Path, socket: &str) -> Result<String> {
    let deadline = Instant::now() + START;
    while Process(folder).alive() && Instant::now() < deadline {
        if let Some(version) = greeting(socket) {
            return Ok(version);
        }
        sleep(STEP);
    }
    bail!(
        "the server does not answer:\n{}",
        tail(&folder.join("log"))?
    );
}

/// A port that is free on all loopback addresses of this machine, and these addresses. It is below those that the
/// system gives to connections, so that a server that is started again finds its port free.
pub fn free_port() -> Result<(u16, &'static str)> {
    const PORTS: RangeInclusive<u16> = 12_000..=32_000;
    /// Counted on, so that no port is given twice before a server uses it.
    static NEXT: LazyLock<Mutex<Cycle<RangeInclusive<u16>>>> = LazyLock::new(|| {
        let mut ports = PORTS.cycle();
        // Elsewhere than other processes that start servers now.
        ports.nth(RandomState::new().hash_one(()) as usize % PORTS.len());
        Mutex::new(ports)
    });
    // Some containers have no IPv6.
    let six = TcpListener::bind("[::1]:0").is_ok();
    let is_free = |address, port| TcpListener::bind((address, port)).is_ok();
    let mut ports = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let port = ports
        .by_ref()
        .take(PORTS.len())
        .find(|&port| is_free("127.0.0.1", port) && (!six || is_free("::1", port)))
        .context("no port is free")?;
    Ok((port, if six { "127.0.0.1,::1" } else { "127.0.0.1" }))
}

/// The version in the first packet a server sends, if it listens: three bytes of length, a sequence number, the
/// protocol's version 10, then text up to a zero byte.
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

/// The end of a log file.
fn tail(log: &Path) -> Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4000)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
