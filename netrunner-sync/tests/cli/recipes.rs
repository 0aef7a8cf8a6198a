//! The recipes of docs/RECIPES.md, with the real tools.

use std::process::Command;

use crate::harness::{Folder, NETRUNNER, end, fresh, state, until};
use crate::jobs::number_in;

/// A command that leaves something behind, outside its group, and tells its number.
fn leaves(folder: &Folder) -> String {
    format!("setsid sleep 1000 > /dev/null 2>&1 & echo $$! > {}", folder.path("left"))
}

/// It is gone when the tool is.
#[track_caller]
fn nothing_is_left(folder: &Folder) {
    let left = number_in(folder, "left");
    until("it is gone", || matches!(state(left), None | Some('Z')));
}

/// A tool with `netrunner` in its path, and without what a make around the tests has said.
fn tool(name: &str, folder: &Folder) -> Command {
    let programs = std::path::Path::new(NETRUNNER).parent().unwrap().to_str().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut tool = fresh(name);
    tool.current_dir(folder.path("")).env("PATH", path);
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS", "MAKELEVEL"] {
        tool.env_remove(name);
    }
    tool
}

#[test]
fn make_runs_each_line_under_a_shepherd() {
    let folder = Folder::new();
    let line = leaves(&folder);
    folder.write(
        "makefile",
        &format!("SHELL = netrunner\n.SHELLFLAGS = run -- sh -c\nall:\n\t@{line}\n"),
    );
    end(tool("make", &folder)).expect(0);
    nothing_is_left(&folder);

    // For one run, with a failure and a make below.
    folder.write("makefile", "all:\n\t+@$(MAKE) -f inner\n");
    folder.write("inner", "all: a b\na b:\n\t@echo $@; exit 3\n");
    let mut make = tool("make", &folder);
    make.args(["-k", "-j2", "SHELL=netrunner", ".SHELLFLAGS=run -- sh -c"]);
    let ended = end(make).expect(2);
    assert!(ended.stderr.contains("Error 3") && !ended.stderr.contains("jobserver"), "{ended:?}");
    assert!(ended.stdout.contains("a\n") && ended.stdout.contains("b\n"), "{ended:?}");
}

/// A package whose program, and whose one test, leave something behind.
fn package() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("src")).unwrap();
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"leaves\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    let program = format!(
        "fn main() {{ leave(); }}\nfn leave() {{\n    let script = {:?};\n    \
         std::process::Command::new(\"sh\").args([\"-c\", script]).status().unwrap();\n}}\n\
         #[test]\nfn leaves() {{\n    leave();\n    while std::env::var_os(\"LINGER\").is_some() {{ std::thread::park(); }}\n}}\n",
        leaves(&folder).replace("$$", "$")
    );
    folder.write("src/main.rs", &program);
    folder
}

/// cargo for that package, which asks no registry.
fn cargo(folder: &Folder, words: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = tool(&cargo, folder);
    command.args(words).arg("--offline").env("CARGO_TARGET_DIR", folder.path("target"));
    command
}

#[test]
fn cargo_runs_programs_and_tests_under_a_shepherd() {
    let folder = package();
    for task in ["run", "test"] {
        let mut command = cargo(&folder, &[task, "-q"]);
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "netrunner run --");
        end(command).expect(0);
        nothing_is_left(&folder);
        std::fs::remove_file(folder.path("left")).unwrap();
    }
}

const NEXTEST: &str = r#"experimental = ["wrapper-scripts"]

[scripts.wrapper.netrunner]
command = "netrunner run --"

[[profile.default.scripts]]
filter = "all()"
run-wrapper = "netrunner"
"#;

#[test]
fn nextest_runs_each_test_under_a_shepherd() {
    let folder = package();
    if !cargo(&folder, &["nextest", "--version"]).output().unwrap().status.success() {
        eprintln!("SKIPPED: needs cargo-nextest");
        return;
    }
    // As it runs whatever it runs, and for the tests that a filter names.
    let mut command = cargo(&folder, &["nextest", "run"]);
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "netrunner run --");
    let ended = end(command).expect(0);
    assert!(ended.stderr.contains("1 test run: 1 passed"), "{ended:?}");
    nothing_is_left(&folder);
    std::fs::remove_file(folder.path("left")).unwrap();

    std::fs::create_dir(folder.path(".config")).unwrap();
    folder.write(".config/nextest.toml", NEXTEST);
    let ended = end(cargo(&folder, &["nextest", "run"])).expect(0);
    assert!(ended.stderr.contains("1 test run: 1 passed"), "{ended:?}");
    nothing_is_left(&folder);
    std::fs::remove_file(folder.path("left")).unwrap();

    // By SIGKILL at once, for its group, in which the test itself is not.
    let slow = "[profile.default]\n\
                slow-timeout = { period = \"1s\", terminate-after = 1, grace-period = \"0s\" }\n";
    folder.write(".config/nextest.toml", &format!("{NEXTEST}\n{slow}"));
    let mut command = cargo(&folder, &["nextest", "run"]);
    command.env("LINGER", "1");
    let ended = end(command).expect(100);
    assert!(ended.stderr.contains("1 timed out"), "{ended:?}");
    nothing_is_left(&folder);
    let recipes = include_str!("../../../docs/RECIPES.md");
    assert!(recipes.contains(NEXTEST), "the recipe is another");
}

#[test]
fn ninja_runs_a_rule_under_a_shepherd() {
    let found = Command::new("sh").args(["-c", "command -v ninja"]).output().unwrap();
    if !found.status.success() {
        eprintln!("SKIPPED: needs ninja");
        return;
    }
    let folder = Folder::new();
    let line = leaves(&folder);
    folder.write(
        "build.ninja",
        &format!("rule leave\n  command = netrunner run -- sh -c '{line}; touch $out'\nbuild done: leave\n"),
    );
    end(tool("ninja", &folder)).expect(0);
    assert!(folder.has("done"));
    nothing_is_left(&folder);
}

/// A build that warns and fails, with what its programs do about colours on a terminal.
fn colourful(name: &str, folder: &Folder) -> Command {
    let mut command = tool(name, folder);
    command.env("TERM", "xterm").env("LC_ALL", "C");
    for name in ["GCC_COLORS", "COLUMNS", "NO_COLOR", "CARGO_TERM_COLOR", "CI"] {
        command.env_remove(name);
    }
    command
}

/// Beside script(1), which gives the same build a terminal.
#[test]
fn the_log_of_a_build_has_the_colours_that_script_records() {
    let folder = Folder::new();
    folder.write("makefile", "all:\n\t@cc -Wall -c warns.c\n\t@cc -c fails.c\n");
    folder.write("warns.c", "int main(void) { int nobody_needs_it; return 0; }\n");
    folder.write("fails.c", "int main(void) { return undeclared; }\n");
    let make = ["run", "--pty=24x120", "--", "make"];
    let log = |words: &[&str]| {
        let mut command = colourful(NETRUNNER, &folder);
        command.args(words);
        end(command).expect(2)
    };
    let recorded = log(&make);
    assert_eq!(recorded.stderr, "");
    for part in ["\x1b[", "nobody_needs_it", "undeclared", "Error 1\r\n"] {
        assert!(recorded.stdout.contains(part), "{part:?}: {recorded:?}");
    }
    let plain = log(&["run", "--", "make"]);
    assert_eq!(plain.stdout, "");
    assert!(!plain.stderr.contains('\x1b') && plain.stderr.contains("undeclared"), "{plain:?}");

    let found = Command::new("script").arg("--version").output();
    if !found.is_ok_and(|found| found.status.success()) {
        eprintln!("SKIPPED: needs script");
        return;
    }
    let mut script = colourful("script", &folder);
    // It knows no size where there is no terminal outside.
    script.args(["-qec", "stty rows 24 cols 120; exec make", "/dev/null"]);
    assert_eq!(end(script).expect(2).stdout, recorded.stdout);
}

#[test]
fn the_log_of_a_cargo_build_has_its_colours() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("src")).unwrap();
    let manifest = "[package]\nname = \"fails\"\nversion = \"0.0.0\"\n[workspace]\n";
    folder.write("Cargo.toml", manifest);
    folder.write("src/main.rs", "fn main() { undeclared }\n");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = |options: &[&str]| {
        let mut command = colourful(NETRUNNER, &folder);
        command.arg("run").args(options).args(["--", &cargo, "check", "--offline"]);
        command.env("CARGO_TARGET_DIR", folder.path("target"));
        end(command).expect(101)
    };
    let recorded = build(&["--pty=24x120"]);
    // Both cargo's own and the compiler's, which cargo asks for them.
    for part in ["\x1b[", "Checking", "undeclared", "could not compile"] {
        assert!(recorded.stdout.contains(part), "{part:?}: {recorded:?}");
    }
    assert_eq!(recorded.stderr, "");
    assert!(!build(&[]).stderr.contains('\x1b'));
}
