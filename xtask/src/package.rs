//! Packaging: `cargo add netrunner-sync` must be enough. Packages the published crates, lets cargo verify
//! them, and builds and runs a program that lies outside the workspace against the packages in every way
//! in which a user's build differs from ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::manifests;
use crate::step::{self, Command, Result, capture};
use crate::tidy;

/// The whole program outside. It only says `ok` if a command really ran.
const PROGRAM: &str = r#"
fn main() {
    let status = netrunner_sync::Command::new("true").status().expect("failed to run `true`");
    assert!(status.success(), "{status}");
    println!("ok");
}
"#;

/// Everything happens in a temporary folder with a cargo home of its own, so that neither an earlier run
/// nor a registry can stand in for what is missing in the packages.
pub(crate) fn check(root: &Path) -> Result<()> {
    let lab = Lab(Folder::new("package")?);

    // The user's own `cargo vendor`, for all that we depend on. The only step that may use the network;
    // what follows is offline.
    let source = lab.dir("source")?;
    capture(step::cargo(root).args(["vendor", "--quiet", "--locked"]).arg(&source))?;

    lab.package(root, &source)?;
    lab.replace_registry(&source)?;
    let before = listing(&source)?;

    let published = lab.program("published", "version = \"*\"")?;
    lab.run("the packages, offline", &published, &[], None)?;
    let elsewhere = lab.dir("elsewhere")?;
    lab.run("a target dir elsewhere", &published, &[], Some(&elsewhere))?;
    lab.install(&elsewhere)?;
    let host = host()?;
    lab.run("--target", &published, &["--target", &host], None)?;

    let repository = lab.repository(root)?;
    let git = lab.program("git", &format!("git = \"file://{}\"", repository.display()))?;
    // A git dependency has to be fetched before a build can be offline; the registry is out of reach anyhow.
    step::run(lab.cargo(&git).args(["fetch", "--quiet"]))?;
    lab.run("a git dependency", &git, &[], Some(&published.join("target")))?;

    let vendored = lab.vendor(&git)?;
    fs::remove_dir_all(&repository)?;
    fs::remove_dir_all(lab.dir("home")?)?;
    lab.run("a git dependency, vendored", &git, &[], Some(&elsewhere))?;

    if listing(&source)? != before || listing(&git.join("vendor"))? != vendored {
        return Err("a build wrote into the sources of a dependency".into());
    }
    Ok(())
}

/// A temporary folder; it is gone when the check is over, however it ended.
pub(crate) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the check's own result is worth more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub(crate) fn new(what: &str) -> Result<Folder> {
        let dir = std::env::temp_dir().join(format!("netrunner-{what}-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Folder(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// The workspace as it lies here: a clone of ours would lack what is not committed, and a shallow clone, as CI has
/// it, cannot be fetched from.
pub(crate) fn copy(root: &Path, to: &Path) -> Result<()> {
    let mut paths = BTreeSet::new();
    tidy::walk(root, "", &mut paths)?;
    for path in &paths {
        if root.join(path).is_dir() {
            fs::create_dir_all(to.join(path))?;
        } else {
            fs::copy(root.join(path), to.join(path))?;
        }
    }
    Ok(())
}

/// Where packages are made and taken.
struct Lab(Folder);

impl Lab {
    fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.0.path().join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Cargo as a user would have it: no variable of our own build reaches it.
    fn cargo(&self, dir: &Path) -> Command {
        let mut cargo = step::cargo(dir);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO") || name == "NETRUNNER_SHEPHERD" {
                cargo.env_remove(name);
            }
        }
        cargo.env("CARGO_HOME", self.0.path().join("home")).env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo
    }

    /// Packages and verifies the published crates, and unpacks them into the folder `source`.
    ///
    /// Cargo keeps what it unpacks for the verify step in its home, by a name that depends on the target
    /// dir only, and on the next run takes the old text for the new (seen with 1.95). So this home has only
    /// the index and the downloads in common with the user's.
    fn package(&self, root: &Path, source: &Path) -> Result<()> {
        let home = self.dir("package-home")?;
        let registry = self.dir("package-home/registry")?;
        let users = users_cargo_home()?;
        for (at, name) in
            [(&registry, "registry/index"), (&registry, "registry/cache"), (&home, "config.toml")]
        {
            if let (true, Some(file)) = (users.join(name).exists(), Path::new(name).file_name()) {
                std::os::unix::fs::symlink(users.join(name), at.join(file))?;
            }
        }
        let mut cargo = self.cargo(root);
        cargo.args(["package", "--offline", "--allow-dirty", "--all-features", "--target-dir"]);
        cargo.arg(self.0.path().join("package")).env("CARGO_HOME", &home);
        for name in manifests::published() {
            cargo.args(["--package", name]);
        }
        step::run(&mut cargo)?;
        for entry in fs::read_dir(self.0.path().join("package/package"))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "crate") {
                step::run(Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(source))?;
                let unpacked = source.join(file.file_stem().unwrap_or_default());
                fs::write(unpacked.join(".cargo-checksum.json"), "{\"files\":{}}")?;
            }
        }
        Ok(())
    }

    /// From here on the registry is the folder `source`, and nothing else.
    fn replace_registry(&self, source: &Path) -> Result<()> {
        let config = format!(
            "[source.crates-io]\nreplace-with = \"packages\"\n[source.packages]\ndirectory = \"{}\"\n",
            source.display()
        );
        fs::write(self.dir("home")?.join("config.toml"), config)?;
        Ok(())
    }

    /// A program with one dependency, got in the given way.
    fn program(&self, name: &str, dependency: &str) -> Result<PathBuf> {
        let dir = self.dir(name)?;
        fs::create_dir(dir.join("src"))?;
        fs::write(dir.join("src/main.rs"), PROGRAM)?;
        let package = "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2021\"\n";
        let manifest = format!("{package}[dependencies]\nnetrunner-sync = {{ {dependency} }}\n");
        fs::write(dir.join("Cargo.toml"), manifest)?;
        Ok(dir)
    }

    /// Builds and runs the program and expects its `ok`.
    fn run(
        &self,
        what: &str,
        program: &Path,
        args: &[&str],
        target_dir: Option<&Path>,
    ) -> Result<()> {
        eprintln!("xtask: a program outside the workspace, {what}");
        let mut cargo = self.cargo(program);
        if let Some(dir) = target_dir {
            cargo.env("CARGO_TARGET_DIR", dir);
        }
        let said = capture(cargo.args(["run", "--quiet", "--offline"]).args(args))?;
        if said == "ok\n" {
            Ok(())
        } else {
            Err(format!("the program outside said {said:?}").into())
        }
    }

    /// README.md's `cargo install`, from the packages; and what it installs knows its version, passes an exit code
    /// on, and ends a tree that would not end.
    fn install(&self, target_dir: &Path) -> Result<()> {
        let (here, installed) = (self.dir("install")?, self.dir("installed")?);
        let mut install = self.cargo(&here);
        install.args(["install", "--quiet", "--offline", "--debug", "netrunner-sync"]);
        install.args(["--features", "cli", "--root"]).arg(&installed);
        // What the program outside has built there need not be built again.
        step::run(install.arg("--target-dir").arg(target_dir))?;
        let netrunner = || {
            let mut netrunner = Command::new(installed.join("bin/netrunner"));
            // It must come along with its own.
            netrunner.env_remove("NETRUNNER_SHEPHERD");
            netrunner
        };
        let version = capture(netrunner().arg("--version"))?;
        if !version.starts_with("netrunner ") {
            return Err(format!("the installed command calls itself {version:?}").into());
        }
        for (args, code) in [
            (["--", "sh", "-c", "exit 7"].as_slice(), 7),
            (&["--timeout", "100ms", "--", "sh", "-c", "sleep 600 & sleep 600"], 124),
        ] {
            let status = netrunner().arg("run").args(args).status()?;
            if status.code() != Some(code) {
                let args = args.join(" ");
                return Err(
                    format!("the installed `netrunner run {args}` ended with {status}").into()
                );
            }
        }
        Ok(())
    }

    /// The workspace as it lies here, as a repository.
    fn repository(&self, root: &Path) -> Result<PathBuf> {
        let dir = self.dir("repository")?;
        copy(root, &dir)?;
        let git = || {
            let mut git = Command::new("git");
            git.current_dir(&dir).args(["-c", "user.name=x", "-c", "user.email=x@example.org"]);
            git
        };
        step::run(git().args(["init", "--quiet"]))?;
        step::run(git().args(["add", "."]))?;
        step::run(git().args(["commit", "--quiet", "--message", "As it lies here"]))?;
        Ok(dir)
    }

    /// `cargo vendor` in the program's folder, with the config that it prints (but not under `--quiet`).
    fn vendor(&self, program: &Path) -> Result<Vec<String>> {
        let mut cargo = self.cargo(program);
        let config =
            capture(cargo.args(["vendor", "--offline", "--respect-source-config", "vendor"]))?;
        fs::create_dir(program.join(".cargo"))?;
        fs::write(program.join(".cargo/config.toml"), config)?;
        listing(&program.join("vendor"))
    }
}

/// `cargo publish --dry-run` for all of them, which asks the registry whether they could be taken. That they build
/// is [`check`]'s matter.
pub(crate) fn publish(root: &Path) -> Result<()> {
    let mut publish = step::cargo(root);
    publish.args(["publish", "--dry-run", "--no-verify", "--quiet", "--allow-dirty"]);
    for name in manifests::published() {
        publish.args(["--package", name]);
    }
    step::run(&mut publish)
}

fn users_cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// The target that rustc builds for unless told otherwise.
fn host() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not name its host")?.to_owned())
}

/// Each file below `dir` with its size and time, to see whether somebody wrote there.
fn listing(dir: &Path) -> Result<Vec<String>> {
    let mut paths = BTreeSet::new();
    tidy::walk(dir, "", &mut paths)?;
    let mut listing = Vec::new();
    for path in paths {
        let metadata = fs::metadata(dir.join(&path))?;
        listing.push(format!("{path} {} {:?}", metadata.len(), metadata.modified()?));
    }
    Ok(listing)
}
