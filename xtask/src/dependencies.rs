//! What a user's build takes in besides our own crates: which ones, under which licences, in which versions, and
//! with which of our features. Where a tool or a toolchain is not there this says so, and goes on.

use std::fs;
use std::path::Path;

use crate::manifests;
use crate::package::{Folder, copy};
use crate::step::{self, Result, answers, capture, cargo, cargo_of};

/// All that `cargo add netrunner-sync` brings on Linux, for build scripts too, crates of ours aside.
const BY_DEFAULT: [&str; 8] = [
    "bitflags",
    "cfg-if",
    "crossbeam-channel",
    "crossbeam-utils",
    "libc",
    "linux-raw-sys",
    "polling",
    "rustix",
];

/// The default features bring no other crates, and each set of features builds without a warning.
pub(crate) fn features(root: &Path) -> Result<()> {
    let mut tree = cargo(root);
    tree.args(["tree", "--package", "netrunner-sync", "--prefix", "none"]);
    tree.args(["--edges", "normal,build", "--target", "x86_64-unknown-linux-gnu"]);
    let tree = capture(&mut tree)?;
    let mut found: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    found.retain(|name| !manifests::published().any(|ours| ours == *name));
    found.sort_unstable();
    found.dedup();
    if found != BY_DEFAULT {
        return Err(format!("netrunner-sync brings {found:?}, and not {BY_DEFAULT:?}").into());
    }
    for name in manifests::published() {
        let features =
            manifests::features(&fs::read_to_string(root.join(name).join("Cargo.toml"))?);
        // All of them together is what every other check is about.
        for set in 0..(1_u32 << features.len()) - 1 {
            let chosen = features.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
            let chosen: Vec<_> = chosen.map(|(_, feature)| feature.as_str()).collect();
            let mut clippy = cargo(root);
            clippy.args(["clippy", "--quiet", "--package", name, "--lib", "--bins"]);
            clippy.args(["--no-default-features", "--features", &chosen.join(",")]);
            step::run(clippy.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

/// Licences, bans and sources, by `.cargo/deny.toml`.
pub(crate) fn deny(root: &Path) -> Result<()> {
    if !answers(cargo(root).args(["deny", "--version"])) {
        eprintln!("xtask: SKIPPED: licences and sources of dependencies: cargo install cargo-deny");
        return Ok(());
    }
    step::run(cargo(root).args(["deny", "--all-features", "check", "licenses", "bans", "sources"]))
}

/// The published crates build with the oldest versions that their manifests allow, and with the oldest compiler.
pub(crate) fn oldest(root: &Path, target: &Path) -> Result<()> {
    let folder = Folder::new("oldest")?;
    copy(root, folder.path())?;
    // Of the workspace only what is published: what the others want must not raise a version.
    let manifest = folder.path().join("Cargo.toml");
    let all = fs::read_to_string(&manifest)?;
    let names: Vec<_> = manifests::published().map(|name| format!("\"{name}\"")).collect();
    let members = format!("members = [{}]", names.join(", "));
    let ours = all.lines().map(|line| if line.starts_with("members") { &members } else { line });
    fs::write(&manifest, ours.collect::<Vec<_>>().join("\n"))?;

    let nightly = || cargo_of("nightly", folder.path());
    if answers(nightly().arg("--version")) {
        step::run(nightly().args(["update", "--quiet", "-Zdirect-minimal-versions"]))?;
        let mut check = cargo(folder.path());
        check.args(["check", "--quiet", "--workspace", "--all-features", "--locked"]);
        step::run(check.arg("--target-dir").arg(target.join("oldest")))?;
    } else {
        eprintln!("xtask: SKIPPED: the oldest dependencies: rustup toolchain install nightly");
    }

    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    let compiler = manifests::rust_version(&all).ok_or("no `rust-version` in Cargo.toml")?;
    if answers(cargo_of(compiler, folder.path()).arg("--version")) {
        let mut check = cargo_of(compiler, folder.path());
        check.args(["check", "--quiet", "--workspace", "--all-features", "--all-targets"]);
        step::run(check.arg("--target-dir").arg(target.join(format!("rust-{compiler}"))))
    } else {
        eprintln!("xtask: SKIPPED: the oldest compiler: rustup toolchain install {compiler}");
        Ok(())
    }
}
