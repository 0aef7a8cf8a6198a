//! What is handed out without cargo: the command with its manual pages and completions, also as a Debian package,
//! which is installed, used and removed again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::package::Folder;
use crate::step::{self, Command, Result, answers, capture, cargo};
use crate::tidy;

/// What the package has to bring, beside the command itself.
const FILES: &[&str] = &[
    "usr/share/man/man1/netrunner.1",
    "usr/share/man/man1/netrunner-run.1",
    "usr/share/bash-completion/completions/netrunner",
    "usr/share/fish/vendor_completions.d/netrunner.fish",
    "usr/share/zsh/vendor-completions/_netrunner",
    "usr/share/doc/netrunner/copyright",
];

/// The command `netrunner`, as users have it.
pub(crate) fn build_command(root: &Path) -> Result<()> {
    let package = ["--package", "netrunner-sync", "--features", "cli", "--bin", "netrunner"];
    step::run(cargo(root).args(["build", "--release"]).args(package))
}

/// Puts all of it into one folder, from where cargo-deb takes it.
pub(crate) fn write(root: &Path, target: &Path) -> Result<()> {
    build_command(root)?;
    let dist = target.join("release/dist");
    fs::create_dir_all(dist.join("completions"))?;
    let netrunner = dist.join("netrunner");
    fs::copy(target.join("release/netrunner"), &netrunner)?;
    step::run(Command::new(&netrunner).arg("man").arg(dist.join("man1")))?;
    for (shell, file) in [("bash", "netrunner"), ("fish", "netrunner.fish"), ("zsh", "_netrunner")]
    {
        let script = capture(Command::new(&netrunner).args(["completions", shell]))?;
        fs::write(dist.join("completions").join(file), script)?;
    }
    // The same bytes in every profile. `NETRUNNER_SHEPHERD` can name this file.
    let shepherd = dist.join("netrunner-shepherd");
    fs::write(&shepherd, netrunner_shepherd::BYTES)?;
    fs::set_permissions(&shepherd, PermissionsExt::from_mode(0o755))?;
    println!("{}", dist.display());
    Ok(())
}

/// Builds the Debian package and tries it.
pub(crate) fn deb(root: &Path, target: &Path) -> Result<()> {
    let has_deb = answers(cargo(root).args(["deb", "--version"]));
    if !has_deb || !answers(Command::new("dpkg").arg("--version")) {
        eprintln!(
            "xtask: SKIPPED: no Debian package: cargo install cargo-deb, and a system with dpkg"
        );
        return Ok(());
    }
    write(root, target)?;
    let package = target.join("netrunner.deb");
    let mut deb = cargo(root);
    deb.args(["deb", "--quiet", "--no-build", "--package", "netrunner-sync", "--output"]);
    step::run(deb.arg(&package).env("CARGO_TARGET_DIR", target))?;
    check(&package)?;
    println!("{}", package.display());
    Ok(())
}

/// Installs it below a folder, where it needs no right and changes nothing of this system.
fn check(package: &Path) -> Result<()> {
    let folder = Folder::new("deb")?;
    let (system, database) = (folder.path(), folder.path().join("var/lib/dpkg"));
    for name in ["info", "updates", "triggers"] {
        fs::create_dir_all(database.join(name))?;
    }
    fs::write(database.join("status"), "")?;
    let dpkg = || {
        let mut dpkg = Command::new("dpkg");
        // What it depends on is in this system, and so not in that one.
        dpkg.args(["--force-not-root", "--force-depends", "--force-script-chrootless"]);
        dpkg.arg("--root").arg(system).arg("--log=/dev/null");
        dpkg
    };
    step::run(dpkg().arg("--install").arg(package))?;
    if let Some(missing) = FILES.iter().find(|file| !system.join(file).is_file()) {
        return Err(format!("the Debian package has no `{missing}`").into());
    }
    let said = capture(Command::new(system.join("usr/bin/netrunner")).args([
        "run",
        "--",
        "echo",
        "from the package",
    ]))?;
    if said != "from the package\n" {
        return Err(format!("the installed command said {said:?}").into());
    }
    step::run(dpkg().args(["--remove", "netrunner"]))?;
    let mut left = BTreeSet::new();
    tidy::walk(system, "", &mut left)?;
    left.retain(|path| !path.starts_with("var") && path != "usr");
    if left.is_empty() { Ok(()) } else { Err(format!("dpkg has left {left:?}").into()) }
}
