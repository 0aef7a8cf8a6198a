//! The promises' tests on other kernels: `cargo xtask vm` boots Debian's under QEMU, without KVM, and
//! runs the tests as a machine's first program. This file says what is run where; where the kernels come
//! from is [`kernels`]' matter, what the machine is made of [`image`]'s, and what it says [`machine`]'s.

pub(crate) mod arch;
mod image;
mod kernels;
mod machine;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::step::Result;
use arch::Arch;
use kernels::Kernel;
use machine::{Console, Machine, Seen};

const HELP: &str = "\
usage: cargo xtask vm [OPTION…] [FILTER…]

  --arch NAME        x86_64 or aarch64 (default: this machine's)
  --kernel WHICH     current (default), old (before Linux 5.14), all, one of Debian's releases, or
                     16k (pages of that size, on aarch64)
  --package NAME     only the tests of this package
  --cpus N           processors of the machine (default 1)
  --minutes N        the machine is stopped after so long (default 30)

Tests whose names contain a FILTER are run, all of them without one.";

/// A package whose tests ask something of the kernel, and which of them are wanted: all without a filter.
struct Selection {
    package: &'static str,
    filters: Vec<String>,
}

struct Wanted {
    kernels: Vec<Kernel>,
    machine: Machine,
    selections: Vec<Selection>,
}

/// The packages that a machine can test.
const PACKAGES: &[&str] =
    &["netrunner-tests", "netrunner-cgroup", "netrunner-pty", "netrunner-shepherd"];

/// What `cargo xtask check` boots: what only real controllers and old kernels can show, and no more, since
/// all is several times slower there.
const SHORT: &[(&str, &[&str])] = &[("netrunner-cgroup", &[])];

/// The oldest kernel and the newest.
const OLD_AND_CURRENT: &[&str] = &["old", "current"];

/// What `cargo xtask ci --full` boots as well: whole commands in groups, and what stands in for what an old
/// kernel lacks.
const LONG: &[(&str, &[&str])] = &[("netrunner-tests", &["cgroups::", "fallbacks::"])];

/// What `cargo xtask ci --full` boots on a machine of another kind: the kernel's numbers and layouts there, and
/// that nothing outlives a client, a handle or a shepherd.
const FOREIGN: &[(&str, &[&str])] = &[
    ("netrunner-shepherd", &[]),
    ("netrunner-tests", &["sigkill_takes_along", "p2_handle_drop", "p3_shepherd_death"]),
];

/// These tests on the kernels of these names. A machine that hangs is stopped long before CI would be.
fn wanted(
    arch: Option<&str>,
    names: &[&str],
    selected: &[(&'static str, &[&str])],
) -> Result<Wanted> {
    let select = |&(package, filters): &(&'static str, &[&str])| Selection {
        package,
        filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
    };
    let kernels: Result<Vec<_>> = names.iter().map(|name| kernels::named(name)).collect();
    Ok(Wanted {
        kernels: kernels?.concat(),
        machine: Machine {
            arch: Arch::named(arch)?,
            cpus: 1,
            limit: Duration::from_secs(15 * 60),
            console: Console::ShownIfItFails,
        },
        selections: selected.iter().map(select).collect(),
    })
}

/// The short form, as one of the checks.
pub(crate) fn check(root: &Path, target: &Path) -> Result<()> {
    run_wanted(root, target, &wanted(None, OLD_AND_CURRENT, SHORT)?)
}

/// The long form, which takes many minutes.
pub(crate) fn check_more(root: &Path, target: &Path) -> Result<()> {
    run_wanted(root, target, &wanted(None, OLD_AND_CURRENT, LONG)?)?;
    run_wanted(root, target, &wanted(Some("aarch64"), &["current"], FOREIGN)?)
}

/// Runs the tests that the arguments name.
pub(crate) fn run(root: &Path, target: &Path, args: &[String]) -> Result<()> {
    run_wanted(root, target, &parse(args)?)
}

/// Runs the tests on each of the kernels, or says loudly why it can't.
fn run_wanted(root: &Path, target: &Path, wanted: &Wanted) -> Result<()> {
    let arch = wanted.machine.arch;
    if let Some(missing) = missing(arch)? {
        // Not an error: it says nothing about NetRunner.
        eprintln!("xtask: SKIPPED: no virtual machine of the kind {arch} without {missing}");
        return Ok(());
    }
    let mut dir = target.join("vm");
    if !arch.is_ours() {
        dir.push(arch.to_string());
    }
    let had: Vec<(Kernel, PathBuf)> = wanted
        .kernels
        .iter()
        .filter_map(|&kernel| match kernels::get(kernel, arch, &dir) {
            Ok(file) => Some((kernel, file)),
            Err(error) => {
                eprintln!("xtask: SKIPPED: Debian's kernel {kernel} can't be had: {error}");
                None
            }
        })
        .collect();
    if had.is_empty() {
        return Ok(());
    }
    let image = image::build(root, &dir, arch, &wanted.selections)?;
    let processors = thread::available_parallelism()?.get() as u32;
    let at_once = (processors / wanted.machine.cpus.max(1)).max(1) as usize;
    let mut failed = Vec::new();
    for some in had.chunks(at_once) {
        for (kernel, seen) in boot_together(some, &image, &wanted.machine) {
            let seen = seen?;
            eprintln!("xtask: Debian {kernel}, {arch}: {seen}");
            if let Err(why) = seen.verdict() {
                failed.push(format!("Debian {kernel}: {why}"));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// A machine for each of the kernels, at the same time.
fn boot_together(
    kernels: &[(Kernel, PathBuf)],
    image: &Path,
    machine: &Machine,
) -> Vec<(Kernel, std::result::Result<Seen, String>)> {
    thread::scope(|scope| {
        let boot = |(kernel, file): &(Kernel, PathBuf)| {
            machine::boot(*kernel, file, image, machine).map_err(|error| error.to_string())
        };
        let running: Vec<_> =
            kernels.iter().map(|some| (some.0, scope.spawn(move || boot(some)))).collect();
        let end = |(kernel, thread): (Kernel, thread::ScopedJoinHandle<'_, _>)| {
            let panicked = Err("its thread has panicked".to_owned());
            (kernel, thread.join().unwrap_or(panicked))
        };
        running.into_iter().map(end).collect()
    })
}

/// What a machine of this kind would need and is not here, and how to have it on Debian.
fn missing(arch: &Arch) -> Result<Option<String>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let busybox_or_linker = if arch.is_ours() { "busybox" } else { arch.linker };
    let tools = [arch.qemu, "cpio", "apt-get", "dpkg-deb", busybox_or_linker];
    if let Some(tool) = tools.into_iter().find(|tool| !found(tool)) {
        let system = if arch.debian == "amd64" { "x86" } else { "arm" };
        let other = if arch.is_ours() {
            "busybox-static".to_owned()
        } else {
            format!(
                "gcc-{}-linux-gnu libc6-dev-{}-cross",
                arch.to_string().replace('_', "-"),
                arch.debian
            )
        };
        return Ok(Some(format!(
            "`{tool}`;\nxtask: on Debian: apt-get install --no-install-recommends qemu-system-{system} cpio {other}"
        )));
    }
    if !arch.has_std()? {
        return Ok(Some(format!("a std;\nxtask: rustup target add {}", arch.target)));
    }
    Ok(None)
}

fn parse(args: &[String]) -> Result<Wanted> {
    let mut kernels = kernels::named("current")?;
    let limit = Duration::from_secs(30 * 60);
    let arch = Arch::named(None)?;
    let mut machine = Machine { arch, cpus: 1, limit, console: Console::Shown };
    let mut packages = PACKAGES.to_vec();
    let mut filters = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` wants a value"));
        match arg.as_str() {
            "--arch" => machine.arch = Arch::named(Some(value()?))?,
            "--kernel" => kernels = kernels::named(value()?)?,
            "--package" => {
                let name = value()?;
                packages.retain(|package| package == name);
                if packages.is_empty() {
                    return Err(format!("no package `{name}` is tested in a machine").into());
                }
            }
            "--cpus" => machine.cpus = value()?.parse()?,
            "--minutes" => machine.limit = Duration::from_secs(60 * value()?.parse::<u64>()?),
            option if option.starts_with('-') => return Err(HELP.into()),
            filter if filter.chars().all(|c| c.is_alphanumeric() || "_:".contains(c)) => {
                filters.push(filter.to_owned());
            }
            _ => return Err(format!("`{arg}` is no part of a test's name").into()),
        }
    }
    let select = |package| Selection { package, filters: filters.clone() };
    let selections = packages.into_iter().map(select).collect();
    Ok(Wanted { kernels, machine, selections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_can_say_nothing_to_the_shell() {
        assert!(parse(&["p1_client::dies".to_owned()]).is_ok());
        assert!(parse(&["x; reboot".to_owned()]).is_err());
        assert!(parse(&["--kernel".to_owned(), "none".to_owned()]).is_err());
        assert!(parse(&["--arch".to_owned(), "none".to_owned()]).is_err());
    }

    #[test]
    fn the_checks_boot_an_old_kernel_and_a_current_one() {
        for form in [SHORT, LONG, FOREIGN] {
            let wanted = wanted(None, OLD_AND_CURRENT, form).expect("it is well-formed");
            assert_eq!(wanted.kernels.len(), 2);
            assert!(wanted.selections.iter().all(|it| PACKAGES.contains(&it.package)));
        }
    }
}
