//! Programs that live on terminals, driven through one of NetRunner's: a shell with job control, an
//! interpreter, a pager, a prompt for a password.

use std::time::Duration;

use netrunner_sync::{Child, Command, Control, Reason, Stdio, WinSize};
use netrunner_tests::lock::Locks;
use netrunner_tests::wait::PATIENCE;

use crate::driver::{Driver, SIZE};
use crate::harness::*;

const PROMPT: &str = "ready> ";

/// A shell as a user has it, but for what this machine's files say.
fn bash() -> Command {
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]).grace(Duration::from_secs(30));
    bash.env("PS1", PROMPT).env("TERM", "dumb").env("HISTFILE", "").env("INPUTRC", "/dev/null");
    bash
}

/// A command line that runs a puppet.
fn job(script: &str) -> String {
    format!("{} {script}", program(PUPPET).display())
}

#[test]
fn a_shell_controls_its_jobs() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        let mut shell = Driver::start(&mut bash());
        shell.expect(PROMPT);
        shell.line(&job("lock job sleep forever"));
        lock("job").wait_held();
        shell.wait_for_job(true);
        shell.send(Control::Suspend);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.wait_for_job(false);
        shell.line("jobs");
        shell.expect("[1]+  Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
        shell.wait_for_job(true);
        shell.send(Control::Interrupt);
        shell.expect(PROMPT);
        lock("job").wait_free(PATIENCE);
        shell.line("echo code $?");
        shell.expect("code 130");
        shell.expect(PROMPT);
        shell.send(Control::EndOfFile);
        shell.expect_end();
        assert!(shell.child.wait().expect("wait").success());
        assert_eq!(shell.child.report().expect("report").reason, Reason::Exited);
    });
}

/// A shell with a job of each kind: in the foreground, in the background, stopped, disowned, deaf to
/// the hang-up, and in a session of its own.
fn shell_with_jobs() -> Driver {
    let shell = Driver::start(bash().grace(GRACE));
    shell.expect(PROMPT);
    for script in ["lock-in jobs sleep forever &", "ignore TERM lock-in jobs sleep forever &"] {
        shell.line(&job(script));
        shell.expect(PROMPT);
    }
    shell.line(&format!("setsid {}", job("ignore TERM lock-in jobs sleep forever &")));
    shell.expect(PROMPT);
    shell.line(&format!("nohup {} >/dev/null 2>&1 & disown", job("lock-in jobs sleep forever")));
    shell.expect(PROMPT);
    shell.line(&job("lock-in jobs stop sleep forever"));
    shell.expect("Stopped");
    shell.expect(PROMPT);
    shell.line(&job("lock-in jobs touch all sleep forever"));
    wait_file("all");
    shell.wait_for_job(true);
    shell
}

fn swept(end: impl FnOnce(Child)) {
    let jobs = Locks::new("jobs");
    let mut canary = Canary::new();
    let shell = shell_with_jobs();
    jobs.wait_held(6);
    end(shell.child);
    jobs.assert_free();
    assert_no_puppets();
    canary.assert_unharmed();
}

#[test]
fn a_stop_ends_a_shell_and_all_its_jobs() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        swept(|mut child| {
            child.stop().expect("stop");
            assert_eq!(child.report().expect("report").reason, Reason::Stopped);
        });
    });
}

#[test]
fn a_kill_ends_a_shell_and_all_its_jobs() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        swept(|mut child| {
            child.kill().expect("kill");
            child.wait().expect("wait");
            assert_eq!(child.report().expect("report").reason, Reason::Killed);
        });
    });
}

#[test]
fn dropping_a_shell_ends_all_its_jobs() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        let jobs = Locks::new("jobs");
        let shell = shell_with_jobs();
        jobs.wait_held(6);
        drop(shell);
        jobs.wait_free(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
    });
}

/// As when the window of a terminal emulator is closed: the shell is told, tells its jobs and ends,
/// and what is deaf to that is left over.
#[test]
fn hanging_up_ends_a_shell_and_all_its_jobs() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        swept(|mut child| {
            drop(child.pty.take());
            assert!(!child.wait().expect("wait").success());
            let report = child.report().expect("report");
            assert_eq!(report.reason, Reason::Exited);
            assert!(!report.leftovers.is_empty(), "{report:?}");
        });
    });
}

/// What is deaf to the hang-up is asked in the usual way once the shell is gone, and does not cost the
/// whole grace.
#[test]
fn a_job_that_is_deaf_to_the_hang_up_obeys_the_stop() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        let mut command = bash();
        let mut shell = Driver::start(command.grace(Duration::from_secs(600)));
        shell.expect(PROMPT);
        shell.line(&job("ignore HUP lock job sleep forever &"));
        lock("job").wait_held();
        shell.child.stop().expect("stop");
        lock("job").assert_free();
    });
}

/// An interactive shell ignores SIGTERM; it has obeyed long before its grace is over.
#[test]
fn a_shell_obeys_the_stop() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        let mut command = bash();
        let mut shell = Driver::start(command.grace(Duration::from_secs(600)));
        shell.expect(PROMPT);
        shell.line(&job("lock job sleep forever"));
        lock("job").wait_held();
        shell.child.stop().expect("stop");
        assert_eq!(shell.child.report().expect("report").reason, Reason::Stopped);
    });
}

fn python(arguments: &[&str]) -> Option<Command> {
    let there = Command::new("python3").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        skip("there is no python3");
        return None;
    }
    let mut python = Command::new("python3");
    python.args(arguments).env("TERM", "dumb").env("PYTHON_HISTORY", "").grace(GRACE);
    Some(python)
}

#[test]
fn an_interpreter_answers_and_ends_at_the_end_of_its_input() {
    arena(|| {
        let Some(mut command) = python(&["-q", "-i"]) else { return };
        let mut python = Driver::start(&mut command);
        python.expect(">>> ");
        python.line("print(6 * 7)");
        python.expect("42\r\n");
        python.expect(">>> ");
        python.child.resize(WinSize::new(33, 101)).expect("resize");
        python.line("import os; print(tuple(os.get_terminal_size()))");
        python.expect("(101, 33)\r\n");
        python.expect(">>> ");
        python.line("import time; print('sl' + 'eep'); time.sleep(600)");
        python.expect("sleep\r\n");
        python.send(Control::Interrupt);
        python.expect("KeyboardInterrupt");
        python.expect(">>> ");
        python.pty().send_eof().expect("type");
        python.expect_end();
        // After an interrupt it says so by its status.
        python.child.wait().expect("wait");
        assert_eq!(python.child.report().expect("report").reason, Reason::Exited);
    });
}

#[test]
fn a_pager_fills_the_screen_that_it_has() {
    arena(|| {
        let text: String = (1..=200).map(|line| format!("line {line}.\n")).collect();
        std::fs::write("text", text).expect("write");
        let mut less = Command::new("less");
        less.arg("text").env("TERM", "xterm").env("LESS", "").env("LESSHISTFILE", "-");
        let mut pager = Driver::start(less.grace(GRACE));
        pager.expect("line 23.");
        // It waits for a key, and does not miss the signal on the way there.
        pager.expect("text");
        wait_state(pager.child.id(), 'S');
        pager.child.resize(WinSize::new(50, 80)).expect("resize");
        pager.expect("line 49.");
        pager.line("q");
        pager.expect_end();
        assert!(pager.child.wait().expect("wait").success());
    });
}

#[test]
fn a_program_that_asks_its_terminal_gets_its_size_and_hears_of_another() {
    arena(|| {
        if lacks_programs(&["tput"]) {
            return;
        }
        let script = "trap 'tput cols; tput lines; exit' WINCH; tput cols; tput lines; \
                      echo ready; while :; do sleep 0.01; done";
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).env("TERM", "xterm").grace(GRACE);
        let mut asking = Driver::start(sh.env_remove("COLUMNS").env_remove("LINES"));
        assert_eq!(asking.expect("ready\r\n"), "80\r\n24\r\n");
        asking.child.resize(WinSize::new(51, 123)).expect("resize");
        asking.expect("123\r\n51\r\n");
        asking.expect_end();
        assert!(asking.child.wait().expect("wait").success());
    });
}

/// As ssh and sudo do it: by the name of the terminal, with the echo off, throwing away what was
/// typed before.
#[test]
fn a_prompt_for_a_password_does_not_show_it() {
    arena(|| {
        let script = "import getpass; print('got', getpass.getpass('Password: '))";
        let Some(mut command) = python(&["-c", script]) else { return };
        let mut prompt = Driver::start(&mut command);
        prompt.expect("Password: ");
        prompt.wait_for_echo(false);
        prompt.line("open sesame");
        assert_eq!(prompt.expect("got"), "\r\n");
        prompt.expect(" open sesame\r\n");
        prompt.expect_end();
        assert!(prompt.child.wait().expect("wait").success());
    });
}

/// Nobody is there to answer: the prompt meets the end of the input, although it throws away what was
/// typed before it was ready.
#[test]
fn a_prompt_that_nobody_answers_fails() {
    arena(|| {
        let script = "import getpass; getpass.getpass('Password: ')";
        let Some(mut command) = python(&["-c", script]) else { return };
        let output = command.pty(SIZE).timeout(PATIENCE).output().expect("output");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.report.reason, Reason::Exited, "{shown}");
        assert!(shown.contains("Password: ") && shown.contains("EOFError"), "{shown}");
        let Some(mut command) = python(&["-c", script]) else { return };
        command.pty(SIZE).timeout(PATIENCE);
        let lines: Vec<_> = command.lines().expect("lines").collect();
        assert!(lines.last().expect("an end").as_ref().expect_err("code 1").is_failure());
    });
}

/// The same for a shell, whose line editor has a way of its own to read.
#[test]
fn a_shell_without_input_ends() {
    arena(|| {
        if lacks_programs(&["bash"]) {
            return;
        }
        let output = bash().pty(SIZE).timeout(PATIENCE).output().expect("output");
        assert_eq!(output.report.reason, Reason::Exited);
        assert!(String::from_utf8_lossy(&output.stdout).contains(PROMPT));
        let mut command = bash();
        let output =
            command.input("echo $((6 * 7))\nexit 5\n").pty(SIZE).timeout(PATIENCE).output();
        let output = output.expect("output");
        assert_eq!((output.report.reason, output.status.code()), (Reason::Exited, Some(5)));
        assert!(String::from_utf8_lossy(&output.stdout).contains("42\r\n"));
        let mut command = bash();
        let output = command.input("echo $((6 * 7))\n").pty(SIZE).timeout(PATIENCE).output();
        let output = output.expect("output");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            (output.report.reason, output.status.code()),
            (Reason::Exited, Some(0)),
            "{shown:?}"
        );
    });
}

#[test]
fn what_has_colours_on_a_terminal_has_them_here() {
    arena(|| {
        if lacks_programs(&["grep"]) {
            return;
        }
        let mut grep = Command::new("grep");
        grep.args(["--color=auto", "middle"]).env("TERM", "xterm").input("the middle one\n");
        let plain = grep.run().expect("run").stdout;
        assert_eq!(plain, b"the middle one\n");
        let shown = grep.pty(SIZE).run().expect("run").stdout;
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains("\x1b[01;31m"), "{shown:?}");
    });
}

/// A build whose log has the colours that its compiler has on a terminal, byte by byte: `script(1)`'s
/// work.
#[test]
fn the_log_of_a_build_is_recorded_with_its_colours() {
    arena(|| {
        if lacks_programs(&["cc"]) {
            return;
        }
        std::fs::write("bad.c", "int main(void) { return undeclared; }\n").expect("write");
        let mut cc = Command::new("cc");
        cc.args(["-c", "bad.c"]).env("TERM", "xterm").env("LC_ALL", "C").env_remove("GCC_COLORS");
        let plain = cc.output().expect("output");
        assert!(!plain.stderr.contains(&b'\x1b') && !plain.status.success());
        let recorded = cc.pty(SIZE).output().expect("output");
        assert_eq!(recorded.status, plain.status);
        let shown = String::from_utf8_lossy(&recorded.stdout).into_owned();
        assert!(shown.contains("\x1b[") && shown.contains("undeclared"), "{shown:?}");
        // What is shown is what was said, with colours and a terminal's line ends.
        let mut text = String::new();
        let mut rest = shown.replace("\r\n", "\n");
        while let Some(at) = rest.find('\x1b') {
            text.push_str(&rest[..at]);
            let end = rest[at..].find(['m', 'K']).expect("a sequence");
            rest.drain(..at + end + 1);
        }
        assert_eq!(text + &rest, String::from_utf8_lossy(&plain.stderr));
        // Errors that go elsewhere are no terminal's, and plain.
        let apart = cc.stderr(Stdio::piped()).output().expect("output");
        assert_eq!((apart.stdout, apart.stderr), (Vec::new(), plain.stderr));
    });
}
