//! Runs the benchmarks with the servers they need, and, where that is asked for, writes what they
//! print into docs/performance.md, with a picture of each table of rates.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::chart;
use crate::servers::{self, Borrowed, Kind, Setup};
use crate::topology::Topology;
use crate::{cargo, workspace};

/// In the order of the document.
const BENCHES: [&str; 10] = [
    "throughput",
    "instructions",
    "texts",
    "connect",
    "handles",
    "reset",
    "turns",
    "sessions",
    "backends",
    "rows",
];

/// The one for which servers have to replicate.
const SEVERAL: &str = "backends";

/// A table as it was printed.
pub struct Table {
    pub title: String,
    /// The head, a line, and the rows.
    lines: Vec<String>,
}

/// Runs them, those that are named or all.
pub fn run(record: bool, benches: &[String], args: &[String]) -> Result<()> {
    let servers = Servers::find()?;
    let chosen = BENCHES
        .iter()
        .filter(|name| benches.is_empty() || benches.iter().any(|bench| bench == *name));
    let mut count = 0;
    for bench in chosen {
        let mut command = cargo();
        command
            .args([
                "bench",
                "--package",
                "mysql_mux_benches",
                "--bench",
                bench,
                "--",
            ])
            .args(args);
        servers.tell(&mut command)?;
        let _several = match *bench {
            SEVERAL => Some(several(&mut command)?),
            _ => None,
        };
        let printed = follow(&mut command)?;
        if record {
            write_down(bench, &tables(&printed))?;
        }
        count += 1;
    }
    ensure!(count > 0, "the benches are {}", BENCHES.join(", "));
    Ok(())
}

/// Those that the environment names, or private ones.
enum Servers {
    Named,
    Private { _borrowed: Borrowed },
}

impl Servers {
    fn variable(kind: Kind) -> String {
        format!("MYSQL_MUX_TEST_ENV_{}", kind.name().to_uppercase())
    }

    fn find() -> Result<Servers> {
        let kinds = Kind::chosen(None);
        let is_named = |&kind| std::env::var_os(Servers::variable(kind)).is_some();
        Ok(match kinds.iter().any(is_named) {
            true => Servers::Named,
            false => Servers::Private {
                _borrowed: Borrowed::new(None)?,
            },
        })
    }

    fn tell(&self, command: &mut Command) -> Result<()> {
        if let Servers::Named = self {
            return Ok(());
        }
        for &kind in Kind::chosen(None) {
            let url = format!("MYSQL_MUX_URL_{}", kind.name().to_uppercase());
            command.env(url, servers::url(kind)?);
            command.env(Servers::variable(kind), kind.env_file()?);
        }
        Ok(())
    }
}

/// Has the servers run that replicate, and tells where they are.
fn several(command: &mut Command) -> Result<Vec<Borrowed>> {
    let all = [Topology::MariadbReplication, Topology::MysqlReplication];
    let borrowed = all.map(|topology| Borrowed::new(Some(Setup::Several(topology))));
    let files = all.map(Topology::env_file);
    let files = files.into_iter().collect::<Result<Vec<_>>>()?;
    command.env("MYSQL_MUX_TEST_TOPOLOGIES", std::env::join_paths(files)?);
    borrowed.into_iter().collect()
}

/// Shows what a command prints while it runs, and returns it.
fn follow(command: &mut Command) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("it was piped")?;
    let mut printed = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        printed += &line;
        printed.push('\n');
    }
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(printed)
}

/// All tables: a title, a head, a line of dashes, rows up to an empty line.
fn tables(printed: &str) -> Vec<Table> {
    let lines: Vec<_> = printed.lines().collect();
    let is_rule = |line: &str| line.starts_with("  ─");
    let starts = (2..lines.len()).filter(|&at| is_rule(lines[at]));
    starts
        .map(|at| {
            let rows = lines[at..].iter().take_while(|line| line.starts_with("  "));
            Table {
                title: lines[at - 2].to_owned(),
                lines: [lines[at - 1]]
                    .iter()
                    .chain(rows)
                    .map(|line| (*line).to_owned())
                    .collect(),
            }
        })
        .collect()
}

impl Table {
    fn cells(line: &str) -> Vec<&str> {
        let cells = line.split("  ").map(str::trim);
        cells.filter(|cell| !cell.is_empty()).collect()
    }

    /// What it is about, as a file's name.
    fn file_name(&self) -> String {
        let section = self.title.split(':').next().unwrap_or_default();
        format!("{}.svg", section.replace('/', "-"))
    }

    /// Clients and what they do a second, where that is what it tells.
    fn rates(&self) -> Option<Vec<(String, f64)>> {
        let head = Table::cells(self.lines.first()?);
        if head.get(1) != Some(&"statements/s") {
            return None;
        }
        let rows = self.lines.iter().skip(2).map(|line| Table::cells(line));
        rows.map(|cells| Some(((*cells.first()?).to_owned(), cells.get(1)?.parse().ok()?)))
            .collect()
    }
}

/// Puts a bench's tables between its marks.
fn write_down(bench: &str, tables: &[Table]) -> Result<()> {
    let mut text = String::new();
    for table in tables {
        writeln!(text, "\n{}\n", table.title)?;
        if let Some(rates) = table.rates() {
            let name = table.file_name();
            fs::create_dir_all(docs().join("performance"))?;
            let chart = chart::bars(&table.title, &rates);
            fs::write(docs().join("performance").join(&name), chart)?;
            writeln!(text, "![{}](performance/{name})\n", table.title)?;
        }
        writeln!(text, "```text\n{}\n```", table.lines.join("\n"))?;
    }
    let path = docs().join("performance.md");
    let page = fs::read_to_string(&path)?;
    let page = between(&page, bench, &text)
        .with_context(|| format!("{} has no marks for {bench}", path.display()))?;
    fs::write(&path, page)?;
    Ok(())
}

fn docs() -> PathBuf {
    workspace().join("docs")
}

/// The page with other text between the marks of a bench.
fn between(page: &str, bench: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {bench} -->\n"), format!("<!-- /{bench} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{text}\n{end}{after}"))
}
