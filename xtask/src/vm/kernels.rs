//! Debian's kernels, by the machine's own apt with lists and sources of their own, so that the
//! machine's stay as they are. A kernel that was once had is kept.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arch::Arch;
use crate::step::{self, Command, Result};

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long one call of apt may take.
const DOWNLOAD: Duration = Duration::from_secs(5 * 60);

/// A release of Debian, as the name of its kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kernel(&'static str);

/// Linux 5.10, 6.1 and 6.12. Versions drift; releases keep theirs.
const ALL: &[Kernel] = &[Kernel("bullseye"), Kernel("bookworm"), Kernel("trixie")];

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The kernels of this name.
pub(crate) fn named(name: &str) -> Result<Vec<Kernel>> {
    match name {
        "all" => Ok(ALL.to_vec()),
        "old" => Ok(vec![Kernel("bullseye")]),
        "current" => Ok(vec![Kernel("trixie")]),
        _ => match ALL.iter().find(|kernel| kernel.0 == name) {
            Some(kernel) => Ok(vec![*kernel]),
            None => Err(format!("no kernel is called `{name}`").into()),
        },
    }
}

/// The kernel's file, downloaded if it is not there yet.
pub(crate) fn get(kernel: Kernel, arch: &Arch, dir: &Path) -> Result<PathBuf> {
    let dir = dir.join(kernel.0);
    let file = dir.join("vmlinuz");
    if file.exists() {
        return Ok(file);
    }
    ask(kernel, arch, &dir)?;
    // The package that depends on the newest kernel of its release.
    let meta = format!("linux-image-cloud-{}", arch.debian);
    let depends = step::capture(apt("apt-cache", arch, &dir).args(["depends", &meta]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| format!("`{meta}` depends on no kernel"))?;
    let unpacked = unpack(package, arch, &dir)?;
    let found = find(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    fs::rename(found, &file)?;
    forget(&dir)?;
    Ok(file)
}

/// A static busybox for a machine of another kind than ours, downloaded if it is not there yet.
pub(super) fn busybox(arch: &Arch, dir: &Path) -> Result<PathBuf> {
    let dir = dir.join("busybox");
    let file = dir.join("busybox");
    if file.exists() {
        return Ok(file);
    }
    ask(Kernel("trixie"), arch, &dir)?;
    let found = unpack("busybox-static", arch, &dir)?.join("usr/bin/busybox");
    fs::rename(found, &file)?;
    forget(&dir)?;
    Ok(file)
}

/// Has apt know the packages of a release.
fn ask(Kernel(release): Kernel, arch: &Arch, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("lists/partial"))?;
    fs::create_dir_all(dir.join("cache/archives/partial"))?;
    let source = format!("deb [signed-by={KEYS}] {MIRROR} {release} main\n");
    fs::write(dir.join("sources.list"), source)?;
    step::run(apt("apt-get", arch, dir).args(["-q", "update"]))
}

/// Downloads a package; returns the folder with its files.
fn unpack(package: &str, arch: &Arch, dir: &Path) -> Result<PathBuf> {
    step::run(apt("apt-get", arch, dir).args(["-q", "download", package]))?;
    let deb = find(dir, |name| name.starts_with(package) && name.ends_with(".deb"))?;
    let unpacked = dir.join("unpacked");
    step::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked))?;
    Ok(unpacked)
}

/// Modules and lists are many megabytes; nothing of them is needed again.
fn forget(dir: &Path) -> Result<()> {
    ["unpacked", "lists", "cache"]
        .into_iter()
        .try_for_each(|rest| fs::remove_dir_all(dir.join(rest)))?;
    Ok(())
}

/// An apt that knows only what is in this folder.
fn apt(program: &str, arch: &Arch, dir: &Path) -> Command {
    let mut apt = Command::new(program);
    apt.current_dir(dir);
    let places = [
        ("Dir::Etc::sourcelist", dir.join("sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("-")),
        ("Dir::State::lists", dir.join("lists")),
        ("Dir::Cache", dir.join("cache")),
    ];
    for (option, place) in places {
        apt.arg("-o").arg(format!("{option}={}", place.display()));
    }
    for option in ["APT::Architecture", "APT::Architectures"] {
        apt.arg("-o").arg(format!("{option}={}", arch.debian));
    }
    // The folder may be one that apt's own user cannot enter.
    apt.args(["-o", "APT::Sandbox::User=root"]);
    // A mirror that says nothing is no mirror, and holds nobody up.
    apt.args(["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=2"]);
    apt.timeout(DOWNLOAD);
    apt
}

fn find(dir: &Path, fits: impl Fn(&str) -> bool) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&fits) {
            return Ok(entry.path());
        }
    }
    Err(format!("not what was looked for in `{}`", dir.display()).into())
}
