//! Clippy for the shepherd's program. Cargo knows it only as a test; what `build.rs` compiles is `no_std`,
//! and cargo's clippy never sees that form.

use std::fs;
use std::path::Path;

use crate::step::{self, Command, Result};

/// Which form of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Linux,
    /// For any system with libc (`docs/PORTABLE.md`).
    Portable,
}

/// Lints the program with the lints of the workspace, as `netrunner-shepherd/build.rs` compiles it: for
/// our own machine, or for a target that has a standard library.
pub(crate) fn lint(root: &Path, target_dir: &Path, target: Option<&str>, form: Form) -> Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let out = target_dir.join("xtask").join(target.unwrap_or_default());
    let cfg: &[&str] = match form {
        Form::Linux => &[],
        Form::Portable => &["--cfg", "netrunner_portable"],
    };
    fs::create_dir_all(&out)?;
    let rustc = |program: &str| {
        let mut rustc = rustc(program, &out);
        if let Some(target) = target {
            rustc.args(["--target", target]);
        }
        rustc
    };
    let core = root.join("netrunner-core");
    step::run(
        rustc("rustc")
            .args(["--crate-type=rlib", "--crate-name=netrunner_core"])
            .arg(core.join("src/lib.rs"))
            .env("CARGO_MANIFEST_DIR", &core),
    )?;
    step::run(
        rustc("clippy-driver")
            .args([
                "--crate-type=bin",
                "--crate-name=netrunner_shepherd",
                "--extern=netrunner_core",
            ])
            .args(lints(&manifest))
            .args(cfg)
            .arg(root.join("netrunner-shepherd/src/main.rs"))
            // Where clippy looks for the MSRV.
            .env("CARGO_PKG_RUST_VERSION", value(&manifest, "rust-version").unwrap_or_default()),
    )
}

/// Type checking only: whether the program links, its build script shows.
fn rustc(program: &str, out: &Path) -> Command {
    let mut rustc = Command::new(program);
    rustc.args(["--edition=2024", "--emit=metadata", "-Cpanic=abort"]).arg("-L").arg(out);
    rustc.arg("--out-dir").arg(out);
    rustc
}

/// The `[workspace.lints]` as arguments; every warning is an error.
fn lints(manifest: &str) -> Vec<String> {
    let mut lints = vec!["-Dwarnings".to_owned()];
    let mut prefix = None;
    for line in manifest.lines() {
        if line.starts_with('[') {
            prefix = match line {
                "[workspace.lints.rust]" => Some(""),
                "[workspace.lints.clippy]" => Some("clippy::"),
                _ => None,
            };
        } else if let (Some(prefix), Some((name, _))) = (prefix, line.split_once('=')) {
            lints.push(format!("-D{prefix}{}", name.trim()));
        }
    }
    lints
}

fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix(key))?;
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_of_the_workspace_are_taken_over() {
        let manifest = "[a]\nx = 1\nrust-version = \"1.85\"\n[workspace.lints.rust]\nunsafe_op = \"deny\"\n\
            [workspace.lints.clippy]\ntodo = { level = \"warn\", priority = -1 }\n\n[b]\ny = 2\n";
        assert_eq!(lints(manifest), ["-Dwarnings", "-Dunsafe_op", "-Dclippy::todo"]);
        assert_eq!(value(manifest, "rust-version"), Some("1.85"));
    }
}
