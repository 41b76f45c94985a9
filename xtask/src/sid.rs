//! Programs of Debian sid on an older Debian: their packages and all libraries of these are unpacked into a
//! folder of their own and run with the loader found there. Nothing of the system is changed.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, output, run, target};

/// Where packages keep libraries.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib/mysql/private"];

/// Unpacks `packages` and the libraries they need, once; returns the folder that is their root.
pub fn unpack(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = target()?.join("cache/sid").join(name);
    let root = folder.join("root");
    // Written last, so that what was interrupted is done again.
    let marker = folder.join("done");
    let wanted = packages.join(" ");
    if fs::read_to_string(&marker).is_ok_and(|done| done == wanted) {
        return Ok(root);
    }
    println!("unpacking {wanted} of Debian sid");
    let debs = folder.join("debs");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&debs)?;
    fs::create_dir_all(&root)?;

    let apt = Apt::new(folder.join("apt"))?;
    run(apt.command("apt-get").arg("update"))?;
    let closure = apt.closure(packages)?;
    run(apt
        .command("apt-get")
        .arg("download")
        .args(&closure)
        .current_dir(&debs))?;
    for deb in fs::read_dir(&debs)? {
        run(Command::new("dpkg").arg("-x").arg(deb?.path()).arg(&root))?;
    }
    fs::remove_dir_all(&debs)?;
    fs::remove_dir_all(&apt.folder)?;
    fs::write(marker, wanted)?;
    Ok(root)
}

/// The command that runs `program`, a path below `root`, with the loader and the libraries of `root`.
pub fn command(root: &Path, program: &str) -> Command {
    let libraries = LIBRARIES.map(|folder| root.join(folder).display().to_string());
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(libraries.join(":"))
        .arg(root.join(program));
    command
}

/// An apt that knows nothing but sid, and of no installed package.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: PathBuf) -> Result<Self> {
        apt::install(&["ca-certificates", "debian-archive-keyring"])?;
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        fs::write(folder.join("status"), "")?;
        let source = format!(
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} sid main\n",
            mirror()?
        );
        fs::write(folder.join("sources.list"), source)?;
        Ok(Self { folder })
    }

    fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
            // The user apt changes to when run by root may not be able to reach the folder.
            "APT::Sandbox::User=root".into(),
            "quiet=1".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// `packages`, and every library reached from them through libraries.
    fn closure(&self, packages: &[&str]) -> Result<BTreeSet<String>> {
        let listing = output(
            self.command("apt-cache")
                .args(["depends", "--recurse", "--important"])
                .args(packages),
        )?;
        let depends = parse_depends(&listing);
        let mut closure = BTreeSet::new();
        let mut ahead: Vec<&str> = packages.to_vec();
        while let Some(package) = ahead.pop() {
            if closure.insert(package.to_owned()) {
                let next = depends.get(package).into_iter().flatten();
                ahead.extend(
                    next.filter(|name| name.starts_with("lib") || name.starts_with("zlib")),
                );
            }
        }
        Ok(closure)
    }
}

/// Reads `apt-cache depends`: a package stands at the start of a line, what it depends on is indented after a
/// colon. `|` marks all alternatives but the last; a virtual package stands in `<>` and has its providers below.
fn parse_depends(listing: &str) -> HashMap<&str, Vec<&str>> {
    let mut depends: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut package = "";
    let mut alternative = false;
    let mut wants_provider = false;
    for line in listing.lines() {
        let name = match line.split_once("epends: ") {
            Some((kind, name)) => {
                // The first alternative is enough.
                let skip = alternative;
                alternative = kind.trim_start().starts_with('|');
                wants_provider = !skip && name.starts_with('<');
                if skip || wants_provider {
                    continue;
                }
                name
            }
            None if !line.starts_with(' ') => {
                package = line;
                continue;
            }
            None if wants_provider => line.trim(),
            None => continue,
        };
        wants_provider = false;
        depends.entry(package).or_default().push(name);
    }
    depends
}

/// The Debian mirror this system is set up to use.
fn mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    for file in fs::read_dir("/etc/apt/sources.list.d").context("this is no Debian")? {
        files.push(file?.path());
    }
    let text: String = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect();
    let mirror = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"));
    Ok(mirror.unwrap_or("http://deb.debian.org/debian").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alternative_and_one_provider_are_taken() {
        let listing = "tool\n  PreDepends: libc6\n |Depends: liba1\n  Depends: liba2\n  Depends: <libvirtual>\n    \
                       libp1\n    libp2\n  Depends: debconf\nliba1\n  Depends: libc6\n<libvirtual>\n";
        let depends = parse_depends(listing);
        assert_eq!(depends["tool"], ["libc6", "liba1", "libp1", "debconf"]);
        assert_eq!(depends["liba1"], ["libc6"]);
    }
}
