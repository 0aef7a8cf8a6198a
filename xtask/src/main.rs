//! `cargo xtask`: what the workspace does to itself. This file is the table of tasks; each longer task has
//! a file of its own, and every command that a task runs goes through [`step`].

mod api;
mod dependencies;
mod dist;
mod fuzz;
mod manifests;
mod package;
mod program;
mod step;
mod suite;
mod targets;
mod tidy;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use step::{Result, cargo};

const HELP: &str = "\
usage: cargo xtask TASK [ARG…]

  build [ARG…]            build everything; ARGs go to `cargo build`
  test [ARG…]             the whole test suite; ARGs go to `cargo test`. Without any, the promises'
                          tests once more, without what an old kernel or a sandbox may lack
  test --without NAMES    the promises' tests without memfd, pidfd, clone, close_range, children, pipe_size:
                          names with commas, `all` at once, or `each` alone; or without reuse of
                          shepherds: `reuse`; ARGs may follow
  test --portable [ARG…]  the promises' tests of the portable form (docs/PORTABLE.md), on this system
  check [NAME…]           fmt, syntax (MSRV), tidy, clippy, program, doc, api, targets (types, for
                          other systems whose std is installed), features (each set of them), deny
                          (licences and sources, where cargo-deny is installed), package, vm (cgroups on
                          two other kernels, where QEMU is installed); or those named, which may also be
                          oldest (dependencies and compiler), publish (a dry run), deb (a Debian package,
                          built and tried where cargo-deb is installed)
  run [OPTION…] -- CMD…   run CMD under the `netrunner` command; OPTIONs are those of `netrunner run`
  doctor [--json]         what this system offers, by the `netrunner` command
  ci [--full]             what CI does: test, then check; `--full` tests without each of them alone,
                          and whole commands in cgroups on the two other kernels, the machines under
                          Miri, and each target of `fuzz/` for a minute
  bench [OPTION…] [NAME…] measure NetRunner beside its peers: `--quick`, `--full`, `--list`, see `--help`
  chaos [OPTION…]         kill, stop and starve random trees of commands, and count what is left:
                          `--minutes N`, `--rounds N`, `--seed S`; or `--faults N`: have system calls
                          fail, one by one; see `--help`
  vm [OPTION…] [FILTER…]  any of the tests on other kernels, under QEMU: `--kernel current|old|all`,
                          `--arch aarch64`
  api                     write the listings of the public API under docs/api, which `check` compares
  dist                    release binaries, manual pages and completions under target/release/dist
  tidy                    the project's own rules about its files (part of check)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match (task.as_str(), rest.is_empty()) {
        ("build", _) => build(&rest),
        ("test", _) => suite::run(&root(), &rest),
        ("run", false) => run("run", &rest),
        ("doctor", _) => run("doctor", &rest),
        ("check", _) => check(&rest),
        ("ci", true) => suite::run(&root(), &[]).and_then(|()| check(&[])),
        ("ci", false) if rest == ["--full"] => suite::run_in_full(&root())
            .and_then(|()| check(&[]))
            .and_then(|()| fuzz::miri(&root(), &target_dir()?))
            .and_then(|()| fuzz::run(&root(), &target_dir()?))
            .and_then(|()| MORE_CHECKS.iter().try_for_each(|(_, check)| check(&root())))
            .and_then(|()| vm::check_more(&root(), &target_dir()?)),
        ("bench", _) => bench(&rest),
        ("chaos", _) => chaos(&rest),
        ("vm", _) => target_dir().and_then(|target| vm::run(&root(), &target, &rest)),
        ("api", true) => target_dir().and_then(|target| api::write(&root(), &target)),
        ("dist", true) => target_dir().and_then(|target| dist::write(&root(), &target)),
        ("tidy", true) => check(&["tidy".to_owned()]),
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

/// One part of `check`, on the workspace in this folder.
type Check = fn(&Path) -> Result<()>;

/// What `check` does, in this order: what answers soonest first.
const CHECKS: &[(&str, Check)] = &[
    ("fmt", |root| step::run(cargo(root).args(["fmt", "--all", "--check"]))),
    ("syntax", tidy::old_syntax),
    ("tidy", tidy::check),
    ("clippy", |root| {
        let mut clippy = cargo(root);
        clippy.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
        step::run(clippy.args(["--", "-D", "warnings"]))
    }),
    ("program", |root| {
        let lint = |form| program::lint(root, &target_dir()?, None, form);
        lint(program::Form::Linux).and_then(|()| lint(program::Form::Portable))
    }),
    ("doc", |root| {
        let mut doc = cargo(root);
        doc.args(["doc", "--workspace", "--all-features", "--no-deps"]);
        step::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("api", |root| api::check(root, &target_dir()?)),
    ("targets", |root| targets::check(root, &target_dir()?)),
    ("features", dependencies::features),
    ("deny", dependencies::deny),
    ("package", package::check),
    ("vm", |root| vm::check(root, &target_dir()?)),
];

/// What it does only if it is named, and `ci --full` does: the answers depend on what the registry has today, or
/// on tools that are rarely there.
const MORE_CHECKS: &[(&str, Check)] = &[
    ("oldest", |root| dependencies::oldest(root, &target_dir()?)),
    ("publish", package::publish),
    ("deb", |root| dist::deb(root, &target_dir()?)),
];

fn check(names: &[String]) -> Result<()> {
    let all = || CHECKS.iter().chain(MORE_CHECKS);
    let known: Vec<&str> = all().map(|(name, _)| *name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no check `{name}`, only {}", known.join(", ")).into());
    }
    if names.is_empty() {
        return CHECKS.iter().try_for_each(|(_, check)| check(&root()));
    }
    let mut named = all().filter(|(name, _)| names.iter().any(|wanted| wanted == name));
    named.try_for_each(|(_, check)| check(&root()))
}

/// Becomes `netrunner` with this subcommand, so that its terminal, streams, signals and exit code are the command's own.
fn run(subcommand: &str, args: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    step::quietly(
        cargo(&root()).args(["build", "--quiet", "--package", "netrunner-sync"]).args([
            "--features",
            "cli",
            "--bin",
            "netrunner",
        ]),
    )?;
    let netrunner = std::env::current_exe()?.with_file_name("netrunner");
    let error = std::process::Command::new(&netrunner).arg(subcommand).args(args).exec();
    Err(format!("failed to exec `{}`: {error}", netrunner.display()).into())
}

/// Becomes the benchmark, so that nothing of ours stands above its processes.
fn bench(args: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    step::run(cargo(&root()).args(["build", "--release", "--package", "netrunner-bench"]))?;
    let target = target_dir()?;
    dist::build_command(&root())?;
    let mut bench = std::process::Command::new(target.join("release/netrunner-bench"));
    let error = bench.current_dir(root()).arg("--dir").arg(target.join("bench")).args(args).exec();
    Err(format!("failed to exec the benchmark: {error}").into())
}

/// Becomes the referee of the rounds. The tests' programs are built as they are for the suite.
fn chaos(args: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    step::run(cargo(&root()).args(["build", "--package", "netrunner-tests", "--bins"]))?;
    let chaos = std::env::current_exe()?.with_file_name("chaos");
    let error = std::process::Command::new(chaos).args(args).exec();
    Err(format!("failed to exec chaos: {error}").into())
}
