//! The programs in `examples/`, run as their users would: by their words, exit codes, and what is left.
//!
//! Each runs under an outer command that is over only when the last descendant has ended by itself, so a
//! process that an example leaves behind runs into that command's time limit and fails the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netrunner_sync::{Child, Command, Leftovers, Output, Reason, Stdio};
use rustix::fs::{Mode, OFlags};

/// Far above what anything here takes, so that a loaded machine does not fail a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// The example of this name, which `cargo test` has built.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "build the examples first: `cargo build --examples`");
    let mut command = Command::new(program);
    command.leftovers(Leftovers::Wait).timeout(PATIENCE);
    command
}

/// Runs it to its end, and to that of all it has started.
#[track_caller]
fn end(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_over(&output, &format!("{stdout}\n{stderr}"));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    (stdout, stderr)
}

/// It came to its end by itself, and so did all below it.
#[track_caller]
fn assert_over(output: &Output, said: &str) {
    assert_eq!(
        output.report.reason,
        Reason::Exited,
        "something is left, or hangs; it said: {said}"
    );
}

/// Kills the example alone with SIGKILL, and waits until all that it has started is gone.
#[track_caller]
fn kill_and_see_all_gone(mut child: Child) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_over(&output, &String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netrunner-cookbook-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    /// A shell script, to be executed by its path.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Leaves a process running that is out of reach of the shell's group, and is `sleep` by then.
const LEAVES_SLEEP: &str = "setsid sleep 1000 > /dev/null 2>&1 &
until [ $(cat /proc/$!/comm) = sleep ]; do :; done";

const MAIN: &str = "int answer(void);\nint main(void) { return answer() == 42 ? 0 : 1; }\n";

#[test]
fn parallel_build_makes_a_program() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.write("answer.c", "int answer(void) { return 42; }\n");
    let (stdout, _) = end(example("parallel_build").arg(folder.path()), 0);
    assert_eq!(stdout, format!("{}\n", folder.path().join("program").display()));
    assert!(Command::new(folder.path().join("program")).status().unwrap().success());
}

#[test]
fn parallel_build_stops_at_the_first_error() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.write("answer.c", "int answer(void) { return x; }\n");
    // One whose compiler would be at work for longer than this test is patient.
    let endless = folder.path().join("endless.c");
    assert!(Command::new("mkfifo").arg(&endless).status().unwrap().success());
    let (stdout, stderr) = end(example("parallel_build").arg(folder.path()), 1);
    assert!(stdout.contains("answer.c: exit status: 1 (Exited)"), "{stdout}");
    assert!(stderr.contains("error") && stderr.contains("answer.c"), "{stderr}");
    assert!(!folder.path().join("program").exists());
}

#[test]
fn parallel_build_leaves_no_compiler_when_it_is_killed() {
    let folder = Folder::new();
    let fifo = folder.path().join("endless.c");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut build = example("parallel_build");
    let child = build.arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    // A FIFO that nobody reads can't be opened so; the compiler reads it for as long as this is held.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut held = None;
    until("a compiler reads", || {
        held = rustix::fs::open(&fifo, flags, Mode::empty()).ok();
        held.is_some()
    });
    kill_and_see_all_gone(child.unwrap());
}

#[test]
fn test_runner_tells_the_kinds_of_failure_apart() {
    let folder = Folder::new();
    let good = folder.script("good", "echo fine");
    let bad = folder.script("bad", "echo why; exit 3");
    let leaky = folder.script("leaky", LEAVES_SLEEP);
    let absent = "/nonexistent/test".to_owned();
    let mut runner = example("test_runner");
    let (stdout, _) = end(runner.arg("100").args([&good, &bad, &leaky, &absent]), 1);
    let verdicts: Vec<&str> = stdout.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [("ok ", &good), ("FAILED ", &bad), ("LEAKED ", &leaky), ("FAILED ", &absent)];
    for (line, (verdict, name)) in verdicts.iter().zip(expected) {
        assert!(line.starts_with(verdict) && line.contains(name.as_str()), "{stdout}");
    }
    assert_eq!(verdicts[4], "4 tests, 3 bad");
    assert!(stdout.contains("    | why") && !stdout.contains("| fine"), "{stdout}");
    assert!(stdout.contains("left running: sleep ("), "{stdout}");

    let (stdout, _) = end(example("test_runner").args(["100", &good]), 0);
    assert!(stdout.ends_with("1 tests, 0 bad\n"), "{stdout}");
}

#[test]
fn test_runner_ends_what_takes_too_long() {
    let folder = Folder::new();
    let slow = folder.script("slow", "setsid sleep 1000 & sleep 1000");
    let (stdout, _) = end(example("test_runner").args(["0.5", &slow]), 1);
    assert!(stdout.starts_with("TIMED OUT ") && stdout.ends_with("1 bad\n"), "{stdout}");
}

#[test]
fn repl_gets_answers_from_a_prompt() {
    let (stdout, _) = end(example("repl").args(["6 * 7", "2 ** 100"]), 0);
    assert_eq!(stdout, "6 * 7 = 42\n2 ** 100 = 1267650600228229401496703205376\n");
}

/// A running server, its address, and what else it says.
fn serve(folder: &Folder) -> (Child, String, impl BufRead + use<>) {
    folder.write("page", "the page");
    let mut server = example("dev_server");
    server.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = server.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
    let address = address.unwrap_or_else(|| panic!("no address: {first}")).to_owned();
    (child, address, lines)
}

#[test]
fn dev_server_serves_until_the_end_of_its_input() {
    let folder = Folder::new();
    let (mut child, address, mut lines) = serve(&folder);

    let mut page = String::new();
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    connection.read_to_string(&mut page).unwrap();
    assert!(page.ends_with("the page"), "{page}");

    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut health = String::new();
    lines.read_line(&mut health).unwrap();
    assert!(health.starts_with("Ready, run 1, process Some("), "{health}");

    drop(child.stdin.take());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("stopped: signal: 15"), "{rest}");
    assert!(child.wait().unwrap().success());
    assert_eq!(child.report().unwrap().reason, Reason::Exited);
    assert!(TcpStream::connect(&address).is_err(), "somebody still serves");
}

#[test]
fn dev_server_starts_again_after_a_crash_and_dies_with_its_user() {
    let folder = Folder::new();
    let (mut child, address, mut lines) = serve(&folder);
    let mut health = || {
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line
    };
    let first = health();
    let pid = first.rsplit_once("Some(").unwrap().1.trim_end_matches(")\n").parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it serves again", || health().starts_with("Ready, run 2"));
    assert!(TcpStream::connect(&address).is_ok());
    kill_and_see_all_gone(child);
}

#[test]
fn ci_step_passes_output_and_code_on() {
    let script = format!("echo out; echo err >&2; {LEAVES_SLEEP}; exit 3");
    let (stdout, stderr) = end(example("ci_step").args(["100", "sh", "-c", &script]), 3);
    assert_eq!(stdout, "out\n");
    assert!(stderr.contains("err\n") && stderr.contains("== Exited, exit status: 3\n"), "{stderr}");
    assert!(stderr.contains("== left running and stopped: sleep"), "{stderr}");
}

#[test]
fn ci_step_stops_what_hangs() {
    let script = "setsid sleep 1000 & sleep 1000";
    let (_, stderr) = end(example("ci_step").args(["1", "sh", "-c", script]), 124);
    assert!(stderr.contains("== IdleTimeout, signal: 15"), "{stderr}");

    let busy = ["-c", "while echo on; do sleep 0.01; done"];
    let (_, stderr) = end(example("ci_step").args(["1", "sh"]).args(busy), 124);
    // On a slow machine it may well be silent for a third of its time.
    assert!(stderr.contains("Timeout, signal: 15"), "{stderr}");

    let (_, stderr) = end(example("ci_step").args(["3", "/nonexistent"]), 125);
    assert!(stderr.contains("/nonexistent"), "{stderr}");
}

#[test]
fn log_filter_stops_an_endless_command_when_it_has_seen_enough() {
    let script = "setsid sleep 1000 & while echo an error; do echo nothing; done";
    let (stdout, _) = end(example("log_filter").args(["2", "error", "sh", "-c", script]), 0);
    assert_eq!(stdout, "an error\nan error\n");

    let (stdout, stderr) = end(example("log_filter").args(["2", "a", "echo", "a"]), 1);
    assert_eq!(stdout, "a\n");
    assert!(stderr.contains("after 1 of 2 lines"), "{stderr}");
}

#[test]
fn limited_job_limits_each_process_and_says_by_what_it_is_held() {
    let script = format!("ulimit -c; ulimit -f; {LEAVES_SLEEP}");
    let (stdout, stderr) = end(example("limited_job").args(["sh", "-c", &script]), 0);
    assert_eq!(stdout, "0\n131072\n"); // in blocks of 512 bytes
    assert!(stderr.contains("== Exited, exit status: 0"), "{stderr}");
    assert!(stderr.contains("== a cgroup: ") != stderr.contains("== no cgroup"), "{stderr}");

    let (stdout, stderr) = end(example("limited_job").arg("yes"), 1);
    assert_eq!(stdout.len(), 1 << 20);
    assert!(stderr.contains("== OutputLimit"), "{stderr}");
}

/// A cargo project whose only test runs this shell script, and fails where that does.
fn project(script: &str) -> Folder {
    let folder = Folder::new();
    folder.write("Cargo.toml", "[package]\nname = \"tested\"\nversion = \"0.0.0\"\n[workspace]\n");
    std::fs::create_dir(folder.path().join("src")).unwrap();
    let test = "#[test]\nfn script() {\n    let mut sh = std::process::Command::new(\"sh\");\n    \
        assert!(sh.args([\"-c\", SCRIPT]).status().unwrap().success());\n}\n";
    folder.write("src/lib.rs", &format!("#[cfg(test)]\nconst SCRIPT: &str = {script:?};\n{test}"));
    folder
}

fn xtask_test(project: &Folder, code: i32) -> String {
    let mut xtask = example("xtask");
    xtask.arg("test").current_dir(project.path()).env_remove("CARGO_TARGET_DIR");
    end(&mut xtask, code).1
}

#[test]
fn xtask_fails_for_a_test_that_fails_or_leaves_something_running() {
    xtask_test(&project("true"), 0);

    let stderr = xtask_test(&project("false"), 1);
    assert!(stderr.contains("exit status: 101 (Exited)"), "{stderr}");

    let stderr = xtask_test(&project(LEAVES_SLEEP), 1);
    assert!(stderr.ends_with(" left sleep running\n"), "{stderr}");
}

#[test]
fn xtask_leaves_no_test_when_it_is_killed() {
    let project = project("setsid sleep 1000 & touch here; wait");
    let mut xtask = example("xtask");
    xtask.arg("test").current_dir(project.path()).env_remove("CARGO_TARGET_DIR");
    let child = xtask.stderr(Stdio::piped()).spawn().unwrap();
    until("the test runs", || project.path().join("here").exists());
    kill_and_see_all_gone(child);
}

#[test]
fn xtask_has_a_server_for_as_long_as_its_test_takes() {
    let folder = Folder::new();
    let served = folder.path().join("served").display().to_string();
    let server = folder.script(
        "server",
        &format!("trap 'rm {served}; exit' TERM\ntouch {served}\necho ready\nsleep 1000 & wait"),
    );
    let test = folder.script("test", &format!("test -e {served}"));
    let (_, stderr) = end(example("xtask").args(["e2e", &server, &test]), 0);
    assert!(stderr.contains(&test), "{stderr}");
    assert!(!Path::new(&served).exists(), "the server was not asked to end");

    let fails = folder.script("fails", "exit 3");
    let (_, stderr) = end(example("xtask").args(["e2e", &server, &fails]), 1);
    assert!(stderr.contains("exit status: 3 (Exited)"), "{stderr}");
    assert!(stderr.contains("the server wrote: ready"), "{stderr}");

    let dies = folder.script("dies", "echo no disk >&2; exit 1");
    let (_, stderr) = end(example("xtask").args(["e2e", &dies, &test]), 1);
    assert!(stderr.contains("no disk"), "{stderr}");
}
