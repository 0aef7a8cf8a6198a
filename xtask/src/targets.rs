//! Type-checks for other systems what is made for them. Nothing is linked, so no linker of theirs is needed;
//! only a standard library, and the check says loudly where there is none.

use std::path::Path;

use crate::manifests;
use crate::program::{self, Form};
use crate::step::{self, Result, cargo};
use crate::vm::arch::has_std;

/// What of the workspace is made for a system.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Extent {
    /// All of it.
    Everything,
    /// The portable form (`docs/PORTABLE.md`): all but the tests, which are made for Linux.
    Portable,
    /// These crates: of the others there is no form for it yet.
    Only(&'static [&'static str]),
}

/// `netrunner-core` knows of no system.
const PURE: Extent = Extent::Only(&["netrunner-core"]);

const TARGETS: &[(&str, Extent)] = &[
    ("x86_64-unknown-linux-gnu", Extent::Everything),
    ("x86_64-unknown-linux-musl", Extent::Everything),
    ("aarch64-unknown-linux-gnu", Extent::Everything),
    ("aarch64-unknown-linux-musl", Extent::Everything),
    ("aarch64-apple-darwin", Extent::Portable),
    ("x86_64-unknown-freebsd", Extent::Portable),
    ("x86_64-unknown-netbsd", PURE),
];

/// Checks the workspace for each target, but not for our own, which all other checks are about.
pub(crate) fn check(root: &Path, target_dir: &Path) -> Result<()> {
    let ours = step::capture(step::Command::new("rustc").args(["--print", "host-tuple"]))?;
    for (target, extent) in TARGETS.iter().filter(|(target, _)| *target != ours.trim()) {
        if !has_std(target)? {
            eprintln!("xtask: SKIPPED: no std for {target}: rustup target add {target}");
            continue;
        }
        match extent {
            Extent::Everything => {
                program::lint(root, target_dir, Some(target), Form::Linux)?;
                let crates: Vec<_> = manifests::published().chain(["netrunner-tests"]).collect();
                clippy(root, target, &["--all-targets"], &crates)?;
            }
            Extent::Portable => {
                program::lint(root, target_dir, Some(target), Form::Portable)?;
                let crates: Vec<_> = manifests::published().collect();
                clippy(root, target, &["--lib", "--bins"], &crates)?;
                // The program's tests compare constants and layouts with those of the libc crate.
                clippy(root, target, &["--tests"], &["netrunner-core", "netrunner-shepherd"])?;
            }
            Extent::Only(crates) => {
                eprintln!("xtask: {target}: only {} is made for it so far", crates.join(", "));
                clippy(root, target, &[], crates)?;
            }
        }
    }
    Ok(())
}

/// The program is linted by itself; to build it would need the target's linker.
fn clippy(root: &Path, target: &str, what: &[&str], crates: &[&str]) -> Result<()> {
    let mut clippy = cargo(root);
    clippy.args(["clippy", "--quiet", "--all-features", "--target", target]).args(what);
    for name in crates {
        clippy.args(["--package", name]);
    }
    clippy.env("NETRUNNER_SHEPHERD_INSTALLED", "/none");
    clippy.env("RUSTFLAGS", "--cfg netrunner_untried");
    step::run(clippy.args(["--", "-D", "warnings"]))
}
