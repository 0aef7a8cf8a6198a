//! `cargo xtask`: what the workspace does to itself. This file is the table of tasks; each longer task has
//! a file of its own, and every command that a task runs goes through [`step`].

mod manifests;
mod package;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use step::{Result, cargo};

const HELP: &str = "\
usage: cargo xtask TASK [ARG…]

  build [ARG…]            build everything; ARGs go to `cargo build`
  test [ARG…]             the whole test suite; ARGs go to `cargo test`
  check                   fmt, MSRV syntax, clippy, tidy, docs, packages
  run [OPTION…] -- CMD…   run CMD under the `netrunner` command; OPTIONs are those of `netrunner run`
  ci                      what CI does: test, then check
  dist                    release binaries under target/dist
  tidy                    only the project's own rules about its files (part of check)
  package                 only the packaging check (part of check)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match (task.as_str(), rest.is_empty()) {
        ("build", _) => build(&rest),
        ("test", _) => test(&rest),
        ("run", false) => run(&rest),
        ("check", true) => check(),
        ("ci", true) => test(&[]).and_then(|()| check()),
        ("dist", true) => dist(),
        ("tidy", true) => tidy::check(&root()),
        ("package", true) => package::check(&root()),
        ("help" | "--help" | "-h", true) => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(HELP.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Where cargo puts what it builds: this program was built there too.
fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let dir = program.ancestors().nth(2).ok_or("xtask runs from an unknown place")?;
    Ok(dir.to_owned())
}

fn build(args: &[String]) -> Result<()> {
    step::run(cargo(&root()).args(["build", "--workspace", "--all-features"]).args(args))
}

/// Tests start `netrunner` and `puppet` from the folder of the test binaries, and cargo builds a command
/// for the tests of its own package only. So everything is built first.
fn test(args: &[String]) -> Result<()> {
    step::run(cargo(&root()).args(["build", "--workspace", "--all-features", "--bins"]))?;
    step::run(cargo(&root()).args(["test", "--workspace", "--all-features"]).args(args))
}

fn check() -> Result<()> {
    let root = root();
    step::run(cargo(&root).args(["fmt", "--all", "--check"]))?;
    tidy::check(&root)?;
    tidy::old_syntax(&root)?;
    step::run(
        cargo(&root)
            .args(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--", "-D", "warnings"]),
    )?;
    step::run(
        cargo(&root)
            .args(["doc", "--workspace", "--all-features", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    package::check(&root)
}

/// Becomes `netrunner run`, so that its terminal, streams, signals and exit code are the command's own.
fn run(args: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    step::run(cargo(&root()).args(["build", "--quiet", "--package", "netrunner-sync"]).args([
        "--features",
        "cli",
        "--bin",
        "netrunner",
    ]))?;
    let netrunner = std::env::current_exe()?.with_file_name("netrunner");
    let error = std::process::Command::new(&netrunner).arg("run").args(args).exec();
    Err(format!("failed to exec `{}`: {error}", netrunner.display()).into())
}

fn dist() -> Result<()> {
    step::run(cargo(&root()).args(["build", "--release", "--package", "netrunner-sync"]).args([
        "--features",
        "cli",
        "--bin",
        "netrunner",
    ]))?;
    let target = target_dir()?;
    let dist = target.join("dist");
    std::fs::create_dir_all(&dist)?;
    std::fs::copy(target.join("release/netrunner"), dist.join("netrunner"))?;
    println!("{}", dist.display());
    Ok(())
}
