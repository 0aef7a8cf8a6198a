//! `--pty`: a terminal of the command's own, with one outside and without.

use std::process::Stdio;

use crate::harness::{Live, end, netrunner, script, signal, state, until};
use crate::tty::{CTRL_Z, PROMPT, Tty};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// Runs a script on a terminal, with this as standard input.
fn fed(options: &[&str], text: &str, input: &str) -> String {
    let mut command = script(options, text);
    command.stdin(Stdio::piped());
    let mut live = Live::start_with_stdin(command);
    live.write(input);
    live.close_stdin();
    live.end().expect(0).stdout
}

#[test]
fn without_a_terminal_outside_there_is_one_inside() {
    let ended = end(script(&["--pty"], "test -t 0 && test -t 1 && test -t 2 && stty size; tty"));
    let shown = ended.expect(0).stdout;
    assert!(shown.starts_with("24 80\r\n/dev/pts/"), "{shown:?}");
    let sized = end(script(&["--pty=30x65535"], "stty size >/dev/tty"));
    assert_eq!(sized.expect(0).stdout, "30 65535\r\n");
}

#[test]
fn a_size_is_read_strictly() {
    for size in ["", "24", "24x", "0x80", "24x0", "24x65536", "+24x80", "24X80"] {
        let ended = end(script(&[&format!("--pty={size}")], "echo ran")).expect(125);
        assert_eq!(ended.stdout, "");
        ended.says(&["--pty"]);
    }
}

#[test]
fn exit_codes_and_reports_are_the_commands() {
    assert_eq!(end(script(&["--pty"], "exit 7")).code(), 7);
    assert_eq!(end(script(&["--pty"], "kill -9 $$")).code(), 137);
    assert_eq!(end(script(&["--pty", "--timeout=0.2", "--grace=5m"], "sleep 1000")).code(), 124);
    let ended = end(netrunner(["run", "--pty", "--", "/no/such"])).expect(127);
    ended.says(&["/no/such"]);
    let ended = end(script(&["--pty", "--report=json"], "echo shown; echo too >&2")).expect(0);
    assert_eq!(ended.stdout, "shown\r\ntoo\r\n");
    assert!(ended.stderr.starts_with('{'), "the report alone: {ended:?}");
}

#[test]
fn limits_are_measured_on_the_terminal() {
    let ended = end(script(&["--pty", "--max-output=6"], "printf 123456789; sleep 1000"));
    assert_eq!(ended.expect(124).stdout, "123456");
    let ended = end(script(&["--pty", "--idle-timeout=0.2"], "echo up; sleep 1000"));
    assert_eq!(ended.expect(124).stdout, "up\r\n");
}

#[test]
fn all_that_is_shown_is_passed_on() {
    let all: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
    assert!(end(script(&["--pty"], "seq 50000")).expect(0).stdout == all);
}

#[test]
fn colours_and_progress_bars_come_through_as_they_are() {
    let text = "if test -t 1; then printf '\\033[1;31mred\\033[0m\\n 10%%\\r100%%\\033[K\\n'; else echo plain; fi";
    let shown = end(script(&["--pty"], text)).expect(0).stdout;
    assert_eq!(shown, "\x1b[1;31mred\x1b[0m\r\n 10%\r100%\x1b[K\r\n");
    assert_eq!(end(script(&[], text)).expect(0).stdout, "plain\n");
}

#[test]
fn what_is_read_is_typed_and_ends() {
    let silent = "stty -echo; echo ready; cat";
    assert_eq!(fed(&["--pty"], silent, ""), "ready\r\n");
    // After a partial line the end is typed twice.
    for input in ["line\n", "line\npart", "part"] {
        let shown = fed(&["--pty"], silent, input);
        let (_, shown) = shown.split_once("ready\r\n").expect("ready");
        assert_eq!(shown, input.replace('\n', "\r\n"));
    }
    assert_eq!(end(script(&["--pty"], "cat; echo over")).expect(0).stdout, "over\r\n");
}

/// No terminal holds it.
#[test]
fn a_line_of_a_mebibyte_is_typed() {
    let line = "x".repeat(1 << 20);
    let count = fed(&["--pty"], "stty -echo; cat | wc -c", &line);
    // It may have been typed before there was no echo.
    assert!(count.ends_with("1048576\r\n"), "{} bytes", count.len());
}

#[test]
fn a_file_is_typed() {
    let folder = crate::harness::Folder::new();
    let file = folder.write("input", "from a file\n");
    let ended = end(script(&["--pty", "--stdin", &file], "stty -echo; cat"));
    let shown = ended.expect(0).stdout;
    assert!(shown.ends_with("from a file\r\n"), "{shown:?}");
}

/// A shell's line editor throws away what was typed before it was ready, the end included.
#[test]
fn an_interactive_shell_ends_with_its_input() {
    let words = ["run", "--pty", "--timeout=1m", "--", "bash", "--norc", "--noprofile", "-i"];
    end(netrunner(words)).expect(0);
}

#[test]
fn keys_go_through_and_the_modes_come_back() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --pty -- sh -c 'stty size; echo up; exec cat'");
    tty.expect("up\r\n");
    until("the terminal outside is raw", || !tty.is_cooked());
    // Shown once: by the terminal inside.
    tty.type_in("key\n");
    tty.expect("key\r\nkey\r\n");
    tty.type_in(CTRL_D);
    tty.expect_code(0);
    tty.line("$NETRUNNER run --pty -- sh -c 'echo up; exec cat'");
    tty.expect("up\r\n");
    until("the terminal outside is raw", || !tty.is_cooked());
    tty.type_in(CTRL_C);
    tty.expect_code(130);
    tty.end();
}

#[test]
fn the_modes_come_back_on_every_way_out() {
    let mut tty = Tty::shell();
    let starts = |tty: &mut Tty, options: &str| {
        tty.line(&format!("$NETRUNNER run --pty {options} -- sh -c 'echo up; exec sleep 1000'"));
        tty.expect("up\r\n");
    };
    starts(&mut tty, "--timeout=1 --grace=0");
    tty.expect_code(124);
    for (name, number, code) in [("sleep", 9, 137), ("sleep", 15, 143), ("netrunner", 15, 143)] {
        starts(&mut tty, "");
        until("the terminal outside is raw", || !tty.is_cooked());
        let pid = tty.process("netrunner");
        let pid = if name == "sleep" { child_of(pid, name) } else { pid };
        signal(pid, number);
        tty.expect_code(code);
    }
    // The shepherd, whose client would put the terminal right.
    starts(&mut tty, "");
    until("the terminal outside is raw", || !tty.is_cooked());
    let sleep = child_of(tty.process("netrunner"), "sleep");
    signal(parent_of(sleep), 9);
    tty.expect_code(125);
    tty.line("$NETRUNNER run --pty -- /no/such");
    tty.expect_code(127);
    tty.end();
}

#[test]
fn window_changes_are_followed_unless_there_is_a_size() {
    let mut tty = Tty::start(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
    tty.expect(PROMPT);
    tty.resize(33, 101);
    let text = "trap \"stty size; exit\" WINCH; stty size; echo up; while :; do sleep 0.01; done";
    tty.line(&format!("$NETRUNNER run --pty -- sh -c '{text}'"));
    tty.expect("33 101\r\nup\r\n");
    tty.resize(50, 132);
    tty.expect("50 132\r\n");
    tty.expect_code(0);
    tty.line("$NETRUNNER run --pty=7x9 -- sh -c 'echo up; read go; stty size'");
    tty.expect("up\r\n");
    tty.resize(24, 80);
    tty.type_in("go\n");
    tty.expect("7 9\r\n");
    tty.expect_code(0);
    tty.end();
}

/// Job control is that of the shell inside.
#[test]
fn a_shell_inside_suspends_its_jobs() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --pty -- env PS1='inner> ' bash --norc --noprofile --noediting -i");
    tty.expect("inner> ");
    tty.type_in("sleep 1000\n");
    tty.expect("sleep 1000\r\n");
    let netrunner = tty.process("netrunner");
    let sleep = child_of(netrunner, "sleep");
    until("the job is in the foreground", || foreground_of(sleep) == sleep);
    tty.type_in(CTRL_Z);
    tty.expect("Stopped");
    tty.expect("inner> ");
    assert_ne!(state(netrunner), Some('T'), "not ours");
    tty.type_in("exit\nexit 0\n");
    tty.expect_code(0);
    until("the job is swept", || matches!(state(sleep), None | Some('Z')));
    tty.end();
}

#[test]
fn netrunner_is_stopped_and_goes_on_with_its_modes() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --pty -- sh -c 'echo up; exec cat'");
    tty.expect("up\r\n");
    for round in ["one", "two"] {
        until("the terminal outside is raw", || !tty.is_cooked());
        tty.signal("netrunner", libc::SIGTSTP);
        tty.expect("Stopped");
        tty.expect(PROMPT);
        assert!(tty.is_cooked(), "the shell's modes are back");
        tty.type_in("fg\n");
        until("the terminal outside is raw", || !tty.is_cooked());
        tty.type_in(&format!("{round}\n"));
        tty.expect(&format!("{round}\r\n{round}\r\n"));
    }
    tty.type_in(CTRL_D);
    tty.expect_code(0);
    tty.end();
}

#[test]
fn in_the_background_the_terminal_is_the_shells() {
    let mut tty = Tty::shell();
    tty.line("$NETRUNNER run --pty -- sh -c 'echo up; read line; echo got $line' &");
    // The shell's terminal has line ends of its own.
    tty.expect("up\r");
    assert!(tty.is_cooked() && tty.foreground() == tty.leader());
    // What is typed is the shell's, and the job is not stopped for it.
    tty.line("echo sh''ell");
    tty.expect("shell\r\n");
    assert!(tty.is_cooked());
    tty.type_in("fg\n");
    until("the terminal outside is raw", || !tty.is_cooked());
    tty.type_in("mine\n");
    tty.expect("got mine\r\n");
    tty.expect_code(0);
    tty.end();
}

#[test]
fn a_terminal_that_is_taken_away_hangs_the_inner_one_up() {
    let mut tty = Tty::start(&[
        crate::harness::NETRUNNER,
        "run",
        "--pty",
        "--",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    tty.expect("up\r\n");
    let sleep = child_of(tty.leader(), "sleep");
    tty.hang_up();
    until("the command ends", || matches!(state(sleep), None | Some('Z')));
}

/// The process of this name that a `netrunner` runs.
#[track_caller]
fn child_of(netrunner: u32, name: &str) -> u32 {
    let mut found = None;
    until(&format!("a {name} of {netrunner}"), || {
        let all = std::fs::read_dir("/proc").unwrap();
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        found = pids.into_iter().find(|&pid: &u32| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim_end() == name && is_of(pid, netrunner)
        });
        found.is_some()
    });
    found.unwrap()
}

/// What `netrunner` runs is in sessions of its own; but the environment is that of the test.
fn is_of(pid: u32, netrunner: u32) -> bool {
    let mark = |pid: u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environ.split(|&byte| byte == 0);
        variables.find(|variable| variable.starts_with(b"NETRUNNER_TEST=")).map(<[u8]>::to_vec)
    };
    mark(pid).is_some_and(|of| mark(netrunner) == Some(of))
}

/// Field 8 of `/proc/PID/stat`: the group in the foreground of its terminal.
fn foreground_of(pid: u32) -> u32 {
    field(pid, 5)
}

fn parent_of(pid: u32) -> u32 {
    field(pid, 1)
}

/// A field of `/proc/PID/stat`, counted from the state on.
fn field(pid: u32, number: usize) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    after.split(' ').nth(number).and_then(|field| field.parse().ok()).unwrap_or(0)
}
