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

/// One of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kernel {
    name: &'static str,
    release: &'static str,
    /// The package that depends on the newest such kernel of its release, but for `linux-image-`; `ARCH` stands
    /// for the architecture.
    flavour: &'static str,
}

impl Kernel {
    /// What Debian makes for machines like ours: everything they have is built in.
    const fn of(release: &'static str) -> Kernel {
        Kernel { name: release, release, flavour: "cloud-ARCH" }
    }
}

/// The newest release whose kernel is one of ours.
const CURRENT: &str = "trixie";

/// Linux 5.10, 6.1 and 6.12, and the newest that Debian has. Versions drift; releases keep theirs.
const ALL: &[Kernel] =
    &[Kernel::of("bullseye"), Kernel::of("bookworm"), Kernel::of(CURRENT), Kernel::of("sid")];

/// Memory in pages of 16 KiB, which 64-bit ARM has. It has no disks: their driver is a module.
const LARGE_PAGES: Kernel = Kernel { name: "16k", release: CURRENT, flavour: "ARCH-16k" };

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The kernels of this name.
pub(crate) fn named(name: &str) -> Result<Vec<Kernel>> {
    let is_meant = |kernel: &&Kernel| match name {
        "all" => kernel.name != LARGE_PAGES.name,
        "old" => kernel.name == "bullseye",
        "current" => kernel.name == CURRENT,
        _ => kernel.name == name,
    };
    let meant: Vec<Kernel> = ALL.iter().chain([&LARGE_PAGES]).filter(is_meant).copied().collect();
    if meant.is_empty() {
        return Err(format!("no kernel is called `{name}`").into());
    }
    Ok(meant)
}

/// The kernel's file, downloaded if it is not there yet.
pub(crate) fn get(kernel: Kernel, arch: &Arch, dir: &Path) -> Result<PathBuf> {
    let dir = dir.join(kernel.name);
    let file = dir.join("vmlinuz");
    if file.exists() {
        return Ok(file);
    }
    ask(kernel.release, arch, &dir)?;
    let meta = format!("linux-image-{}", kernel.flavour.replace("ARCH", arch.debian));
    let depends =
        |package: &str| step::capture(apt("apt-cache", arch, &dir).args(["depends", package]));
    let named = |depends: &str, prefix: &str| {
        let needed = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        needed.map(str::to_owned).find(|package| package.starts_with(prefix))
    };
    let package = named(&depends(&meta)?, "linux-image-")
        .ok_or_else(|| format!("`{meta}` depends on no kernel"))?;
    // Newer kernels are in a package that this one depends on, beside the modules.
    let file_in = match named(&depends(&package)?, "linux-binary-") {
        Some(binary) => {
            let unpacked = unpack(&binary, arch, &dir)?;
            find(&unpacked.join("usr/lib/modules"), |_| true)?.join("vmlinuz")
        }
        None => {
            let unpacked = unpack(&package, arch, &dir)?;
            find(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?
        }
    };
    fs::rename(file_in, &file)?;
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
    ask(CURRENT, arch, &dir)?;
    let found = unpack("busybox-static", arch, &dir)?.join("usr/bin/busybox");
    fs::rename(found, &file)?;
    forget(&dir)?;
    Ok(file)
}

/// Has apt know the packages of a release.
fn ask(release: &str, arch: &Arch, dir: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_had_by_their_name_alone() {
        let names =
            |which| named(which).map(|all| all.iter().map(|it| it.name).collect::<Vec<_>>());
        assert_eq!(names("all").expect("kernels"), ["bullseye", "bookworm", "trixie", "sid"]);
        assert_eq!(names("16k").expect("a kernel"), ["16k"]);
        assert_eq!(names("current").expect("a kernel"), ["trixie"]);
        assert!(named("none").is_err());
    }
}
