//! `netrunner run` on a terminal, under a shell with job control and without one.

use crate::harness::{Folder, NETRUNNER, state, until};
use crate::tty::{CTRL_Z, PROMPT, Tty};

/// Ends a cooked-mode reader.
const END_OF_FILE: &str = "\x04";
const CTRL_C: &str = "\x03";

#[test]
fn the_command_is_in_the_foreground_from_its_first_instruction() {
    let mut tty = Tty::shell();
    // As it sees them itself: pid, name, state, parent, group, session, terminal, foreground.
    tty.line("$NETRUNNER run -- sh -c 'read s </proc/$$/stat; echo stat $s'");
    tty.expect("stat ");
    tty.expect("\r\n");
    let line = tty.seen_line();
    let fields: Vec<&str> = line.split(' ').skip(1).collect();
    assert_eq!((fields[4], fields[7]), (fields[0], fields[0]), "{line}");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn ctrl_c_reaches_the_command_alone() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- sleep 1000");
    let sleep = tty.process("sleep");
    until("the command is in the foreground", || tty.foreground() == sleep);
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    // Any number of them, and no ladder begins.
    tty.line("$NETRUNNER run -- sh -c 'trap \"echo g\"ot INT; trap \"exit 3\" QUIT; echo up; while :; do sleep 0.1; done'");
    tty.expect("up\r\n");
    for _ in 0..5 {
        tty.type_in(CTRL_C);
        tty.expect("got");
    }
    tty.type_in("\x1c");
    tty.expect_code(3);
    tty.end();
}

#[test]
fn ctrl_z_stops_the_job_and_fg_goes_on_with_its_modes() {
    stop_and_go_on("");
}

#[test]
fn ctrl_z_stops_a_job_in_a_namespace_and_fg_goes_on_with_its_modes() {
    stop_and_go_on("--pid-namespace --if-available");
}

fn stop_and_go_on(options: &str) {
    let mut tty = Tty::shell();
    tty.line(&format!("$NETRUNNER run {options} -- sh -c 'stty -echo; echo up; cat'"));
    tty.expect("up\r\n");
    assert!(!tty.is_cooked());
    tty.type_in("one\n");
    tty.expect("one\r\n");
    tty.suspend();
    assert_eq!(tty.foreground(), tty.leader());
    assert!(tty.is_cooked(), "the shell's modes are back");
    let cat = tty.process("cat");
    // A shell waits for its own child alone: what is below it may read the next line before it stops.
    until("all of the command is stopped", || state(cat) == Some('T'));
    tty.line("fg");
    until("the command has the terminal", || {
        tty.foreground() == group(cat) && !tty.is_cooked() && state(cat) == Some('S')
    });
    tty.type_in("two\n");
    tty.expect("two\r\n");
    // And once more: nothing of the first time is in the way.
    tty.suspend();
    until("all of the command is stopped", || state(cat) == Some('T'));
    tty.line("fg");
    until("the command has the terminal", || tty.foreground() == group(cat) && !tty.is_cooked());
    tty.type_in(END_OF_FILE);
    tty.expect_code(0);
    tty.end();
}

#[test]
fn what_a_command_that_ends_by_itself_has_set_stays_set() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- stty -echo");
    tty.expect(PROMPT);
    assert!(!tty.is_cooked(), "as without netrunner");
    tty.type_in("$NETRUNNER run -- stty echo\n");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn a_job_that_goes_on_in_the_background_is_stopped_when_it_reads_and_says_so() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- cat");
    let cat = tty.process("cat");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.suspend();
    tty.line("bg");
    tty.expect("netrunner: `cat` is stopped (SIGTTIN)");
    let netrunner = tty.process("netrunner");
    until("both are stopped", || state(cat) == Some('T') && state(netrunner) == Some('T'));
    tty.line("fg");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.line("back");
    tty.expect("back\r\n");
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    tty.end();
}

#[test]
fn a_job_started_in_the_background_is_stopped_when_it_reads_and_says_so() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- cat &");
    tty.expect("netrunner: `cat` is stopped (SIGTTIN)");
    assert_eq!(tty.foreground(), tty.leader());
    let netrunner = tty.process("netrunner");
    until("netrunner is stopped", || state(netrunner) == Some('T'));
    tty.expect_notice("Stopped");
    tty.line("fg");
    let cat = tty.process("cat");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.line("here");
    tty.expect("here\r\n");
    tty.type_in(END_OF_FILE);
    tty.expect_code(0);
    tty.end();
}

#[test]
fn a_job_that_only_runs_in_the_background_is_left_alone() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- sh -c 'echo w\"\"rites; exec sleep 1000' &");
    tty.expect("writes\r\n");
    assert_eq!(tty.foreground(), tty.leader());
    tty.line("fg");
    // The shell sends no SIGCONT to a job that runs: Ctrl-C comes to netrunner, and goes on.
    until("netrunner is in the foreground", || tty.foreground() != tty.leader());
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    tty.end();
}

#[test]
fn a_shell_inside_has_job_control_of_its_own() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- bash --norc --noprofile --noediting -i");
    tty.expect(PROMPT);
    let inner = tty.foreground();
    assert_ne!(inner, tty.leader());
    tty.line("sleep 1000");
    let sleep = tty.process("sleep");
    until("the inner job is in the foreground", || tty.foreground() == sleep);
    tty.suspend();
    assert_eq!(tty.foreground(), inner, "the outer shell does not notice");
    tty.line("fg");
    until("the inner job is in the foreground", || tty.foreground() == sleep);
    tty.type_in(CTRL_C);
    tty.expect(PROMPT);
    // The inner shell is a job of the outer one.
    tty.line("suspend");
    tty.expect("Stopped");
    tty.expect(PROMPT);
    assert_eq!(tty.foreground(), tty.leader());
    tty.line("fg");
    until("the inner shell is in the foreground", || tty.foreground() == inner);
    // Its own next prompt, not the outer's.
    tty.type_in("echo in\"\"side; exit 7\n");
    tty.expect("inside\r\n");
    tty.expect_code(7);
    tty.end();
}

#[test]
fn the_terminal_comes_back_from_an_inner_shell_that_is_killed_with_a_job_in_the_foreground() {
    let mut tty = Tty::shell();
    tty.line("sh -c '$NETRUNNER run --grace 1s -- bash --norc --noprofile --noediting -i; read x; echo \"got $x\"'");
    tty.expect(PROMPT);
    let inner = tty.foreground();
    tty.line("sh -c 'stty raw -echo; exec sleep 1000'");
    let sleep = tty.process("sleep");
    until("the inner job has the terminal", || tty.foreground() == sleep && !tty.is_cooked());
    crate::harness::signal(inner, libc::SIGKILL);
    until("the script has the terminal", || {
        ![inner, sleep, tty.leader()].contains(&tty.foreground()) && tty.is_cooked()
    });
    tty.line("again");
    tty.expect("got again");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn modes_are_put_right_after_a_command_that_is_killed() {
    let mut tty = Tty::shell();
    // A shell script does not do it, so that it is our doing.
    tty.line("sh -c '$NETRUNNER run -- sh -c \"stty -echo; echo Pass\"\"word; exec cat </dev/tty\"; echo code=$?; read x; echo \"got $x\"'");
    tty.expect("Password\r\n");
    let cat = tty.process("cat");
    assert!(!tty.is_cooked());
    crate::harness::signal(cat, libc::SIGKILL);
    tty.expect("code=137\r\n");
    assert!(tty.is_cooked(), "the modes are back before the script goes on");
    tty.line("again");
    tty.expect("got again");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn modes_are_put_right_after_a_timeout() {
    let mut tty = Tty::shell();
    tty.line("sh -c '$NETRUNNER run --timeout 300ms -- sh -c \"trap \\\"exit 0\\\" TERM; stty raw -echo; echo up; while :; do read x; done\"; echo code=$?; read x; echo \"got $x\"'");
    tty.expect("up");
    tty.expect("code=124\r\n");
    assert!(tty.is_cooked());
    tty.line("again");
    tty.expect("got again");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn terminal_and_modes_are_the_clients_again_after_a_killed_shepherd() {
    let mut tty = Tty::shell();
    tty.line("sh -c '$NETRUNNER run -- sh -c \"stty raw -echo; echo up; exec sleep 1000\"; echo code=$?; read x; echo \"got $x\"'");
    tty.expect("up");
    until("the command is in the foreground", || tty.foreground() == tty.process("sleep"));
    tty.signal("nr-shepherd", libc::SIGKILL);
    tty.expect("netrunner: ");
    tty.expect("code=125\r\n");
    assert!(tty.is_cooked());
    tty.line("again");
    tty.expect("got again");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn a_script_goes_on_with_the_terminal_after_netrunner_was_killed() {
    let folder = Folder::new();
    let go = folder.path("go");
    let mut tty = Tty::shell();
    // Who reads before the shepherd has brought the terminal back may be stopped by the kernel.
    let command = "$NETRUNNER run -- sh -c \"stty raw -echo; echo up; exec sleep 1000\"";
    let then = format!("while [ ! -e {go} ]; do sleep 0.01; done; read x; echo \"got $x\"");
    tty.line(&format!("sh -c '{command}; echo code=$?; {then}'"));
    tty.expect("up");
    let sleep = tty.process("sleep");
    until("the command is in the foreground", || tty.foreground() == sleep);
    tty.signal("netrunner", libc::SIGKILL);
    tty.expect("code=137");
    until("the script has the terminal", || {
        ![sleep, tty.leader()].contains(&tty.foreground()) && tty.is_cooked()
    });
    until("the command is gone", || state(sleep).is_none());
    folder.write("go", "");
    tty.line("again");
    tty.expect("got again");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn a_shell_keeps_its_terminal_when_netrunner_is_killed_before_a_stubborn_command() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --grace 500ms -- sh -c 'trap \"\" TERM; stty raw -echo; echo up; while :; do sleep 1000; done'");
    tty.expect("up");
    let sleep = tty.process("sleep");
    tty.signal("netrunner", libc::SIGKILL);
    tty.expect("Killed");
    tty.expect_code(137);
    until("the command is gone", || tty.processes("sleep").is_empty());
    until("the shepherd is gone", || tty.processes("nr-shepherd").is_empty());
    assert_eq!(tty.foreground(), tty.leader());
    assert!(tty.is_cooked());
    assert_ne!(state(sleep), Some('T'));
    tty.line("echo a\"\"live");
    tty.expect("alive\r\n");
    tty.end();
}

#[test]
fn a_suspended_job_that_is_killed_as_a_whole_leaves_nothing() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- sh -c 'setsid sleep 1000 & exec cat'");
    let cat = tty.process("cat");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.suspend();
    // The shepherd is in that group while it waits for the shell's word.
    tty.line("kill -KILL %1");
    until("all of it is gone", || {
        ["cat", "nr-shepherd", "netrunner"].iter().all(|name| tty.processes(name).is_empty())
    });
    assert_eq!(tty.foreground(), tty.leader());
    // Not by `exit`: that fails while the shell still has the job for a stopped one.
    crate::harness::signal(tty.leader(), libc::SIGHUP);
    tty.wait_end();
}

#[test]
fn a_suspended_job_whose_shell_is_killed_goes_with_it() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run -- sh -c 'setsid sleep 1000 & exec cat'");
    let cat = tty.process("cat");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.suspend();
    until("the command is stopped", || state(cat) == Some('T'));
    let netrunner = tty.process("netrunner");
    crate::harness::signal(tty.leader(), libc::SIGKILL);
    until("the job is gone", || state(netrunner).is_none() && state(cat).is_none());
    tty.wait_end();
}

#[test]
fn a_pipeline_shares_the_terminal() {
    let mut tty = Tty::shell();
    // The pager at its end reads from the terminal while the command runs.
    tty.line("$NETRUNNER run -- sh -c 'echo text; exec sleep 1000' | sh -c 'read x; echo \"$x\"; read y </dev/tty; echo \"typed $y\"; cat'");
    tty.expect("text\r\n");
    tty.line("keys");
    tty.expect("typed keys\r\n");
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    // The command itself can have it, too.
    tty.line("$NETRUNNER run -- sh -c 'read x; echo \"read $x\"' | cat");
    tty.line("line");
    tty.expect("read line\r\n");
    tty.expect_code(0);
    // And so it is stopped and goes on as a whole.
    tty.line("$NETRUNNER run -- sleep 1000 | cat");
    let sleep = tty.process("sleep");
    until("the pipeline runs", || tty.processes("cat").len() == 1);
    tty.suspend();
    until("the command is stopped", || state(sleep) == Some('T'));
    tty.line("fg");
    until("the command goes on", || state(sleep) == Some('S'));
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    tty.end();
}

#[test]
fn limits_on_the_output_do_not_cost_the_terminal() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --max-output 1M --idle-timeout 1h -- sh -c 'echo up; exec cat'");
    tty.expect("up\r\n");
    let cat = tty.process("cat");
    assert_eq!(tty.foreground(), cat);
    tty.line("text");
    tty.expect("text\r\n");
    tty.suspend();
    tty.line("fg");
    until("the command is in the foreground", || tty.foreground() == cat);
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    tty.end();
}

#[test]
fn a_command_whose_input_is_a_pipe_can_ask_on_the_terminal() {
    let mut tty = Tty::shell();
    let ask = "stty -echo </dev/tty; printf \"Pass\"\"word: \" >/dev/tty; read x </dev/tty; stty echo </dev/tty; echo \"<$x>\"";
    tty.line(&format!("echo data | $NETRUNNER run -- sh -c '{ask}'"));
    tty.expect("Password: ");
    tty.type_in("secret\n");
    tty.expect("<secret>\r\n");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn ctrl_z_does_nothing_where_no_shell_would_continue() {
    // As in `xterm -e`: netrunner leads the session, and no shell is there.
    let mut tty = Tty::start(&[NETRUNNER, "run", "--", "sh", "-c", "echo up; exec cat"]);
    tty.expect("up\r\n");
    for word in ["one", "two"] {
        tty.type_in(CTRL_Z);
        tty.line(word);
        tty.expect(&format!("{word}\r\n"));
    }
    tty.type_in(END_OF_FILE);
    tty.wait_end();
    assert_eq!(tty.code(), Some(0));
}

#[test]
fn the_commands_size_follows_the_terminals() {
    let mut tty = Tty::shell();
    tty.line(
        "$NETRUNNER run -- bash -c 'trap \"stty size; exit 5\" WINCH; echo up; while :; do sleep 0.1 & wait; done'",
    );
    tty.expect("up\r\n");
    tty.resize(33, 99);
    tty.expect("33 99\r\n");
    tty.expect_code(5);
    tty.end();
}

#[test]
fn a_hung_up_terminal_ends_all_of_it() {
    let folder = Folder::new();
    let path = folder.path("pids");
    let text = format!("echo $$ >{path}; echo up; exec cat");
    let mut tty = Tty::start(&[NETRUNNER, "run", "--", "sh", "-c", &text]);
    tty.expect("up\r\n");
    let cat: u32 = folder.read("pids").trim().parse().unwrap();
    tty.hang_up();
    until("the command is gone", || state(cat).is_none_or(|state| state == 'Z'));
}

/// The group of a process.
fn group(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    after.split(' ').nth(2).and_then(|group| group.parse().ok()).unwrap_or(0)
}
