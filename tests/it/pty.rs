//! A terminal of the command's own: what the program finds, what its driver reads and types, what
//! does not go together. The programs that live on terminals are in `pty_programs`.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use netrunner_sync::{
    ChildPty, Command, CommandExt as _, Control, Event, Pattern, PtyModes, Reason, Signal, Stdio,
    WinSize,
};
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::PATIENCE;

use crate::harness::*;

const SIZE: WinSize = WinSize::new(24, 80);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).grace(GRACE).pty(SIZE);
    command
}

/// Reads until this was shown, and returns all that was.
#[track_caller]
fn read_until(pty: &ChildPty, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let so_far = String::from_utf8_lossy(&shown).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        match pty.read_deadline(&mut buffer, deadline) {
            Ok(0) => panic!("the end after {so_far:?}, and no {text:?}"),
            Ok(count) => shown.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error} after {so_far:?}, and no {text:?}"),
        }
    }
}

#[test]
fn all_three_streams_are_the_terminal_and_it_is_the_sessions() {
    arena(|| {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo by name >/dev/tty && tty";
        let output = sh(script).run().expect("run");
        let shown = String::from_utf8(output.stdout).expect("text");
        assert!(shown.starts_with("by name\r\n/dev/pts/"), "{shown:?}");
        assert_eq!(output.stderr, b"");
        let mut child = puppet("touch ready sleep forever").pty(SIZE).spawn().expect("spawn");
        wait_file("ready");
        let proc = Proc::get(child.id()).expect("the child");
        assert_eq!((proc.sid, proc.pgid), (child.id(), child.id()));
        let pty = child.pty.as_ref().expect("a terminal");
        assert_eq!(pty.foreground().expect("ask"), Some(child.id()));
        child.stop().expect("stop");
    });
}

#[test]
fn size_and_modes_are_there_before_the_program() {
    arena(|| {
        let stty = |modes| {
            let mut command = Command::new("stty");
            let output = command.arg("-a").pty(WinSize::new(51, 133)).pty_modes(modes).run();
            String::from_utf8(output.expect("run").stdout).expect("text")
        };
        let shown = stty(PtyModes::new());
        let has =
            |shown: &str, word: &str| shown.split([' ', ';', '\r', '\n']).any(|it| it == word);
        assert!(shown.contains("rows 51; columns 133;"), "{shown}");
        assert!(has(&shown, "echo") && has(&shown, "icanon") && has(&shown, "isig"), "{shown}");
        let shown = stty(PtyModes::new().echo(false));
        assert!(has(&shown, "-echo") && has(&shown, "icanon"), "{shown}");
        let shown = stty(PtyModes::raw());
        assert!(has(&shown, "-icanon") && has(&shown, "-opost") && has(&shown, "-isig"), "{shown}");
    });
}

/// A child that is gone before anybody reads, of which the terminal holds all.
#[test]
fn what_a_quick_child_wrote_is_all_there() {
    arena(|| {
        for round in 0..100 {
            let text = format!("{round}{}", "x".repeat(3_000 + round));
            let mut child = Command::new("echo").arg(&text).pty(SIZE).spawn().expect("spawn");
            assert!(child.wait().expect("wait").success());
            let mut shown = String::new();
            let mut pty = child.pty.take().expect("a terminal");
            pty.read_to_string(&mut shown).expect("read");
            assert_eq!(shown, format!("{text}\r\n"));
            assert_eq!(pty.read(&mut [0; 1]).expect("the end stays"), 0);
        }
    });
}

/// A program that closes its terminal is not at its end: it may open it again.
#[test]
fn the_end_is_that_of_the_command() {
    arena(|| {
        let script = "echo one; exec <&- >&- 2>&-; touch closed; \
                      while ! test -e go; do sleep 0.01; done; echo two >/dev/tty";
        let mut child = sh(script).spawn().expect("spawn");
        let mut pty = child.pty.take().expect("a terminal");
        assert_eq!(read_until(&pty, "one\r\n"), "one\r\n");
        wait_file("closed");
        let soon = Instant::now() + Duration::from_millis(50);
        let early = pty.read_deadline(&mut [0; 1], soon).expect_err("nothing yet");
        assert_eq!(early.kind(), std::io::ErrorKind::TimedOut);
        std::fs::write("go", "").expect("go on");
        let mut rest = String::new();
        pty.read_to_string(&mut rest).expect("read");
        assert_eq!(rest, "two\r\n");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn every_way_to_capture_has_the_terminal_as_standard_output() {
    arena(|| {
        let script = "echo one; echo two >&2; exit 3";
        let output = sh(script).output().expect("output");
        assert_eq!(output.stdout, b"one\r\ntwo\r\n");
        assert_eq!((output.status.code(), output.report.io.stdout), (Some(3), 10));
        let error = sh(script).run().expect_err("code 3");
        assert_eq!(error.output().expect("output").stdout, b"one\r\ntwo\r\n");
        assert_eq!(sh(script).status().expect("status").code(), Some(3));
        let child = sh(script).spawn().expect("spawn");
        assert_eq!(child.wait_with_output().expect("wait").stdout, b"one\r\ntwo\r\n");
        let mut lines = sh(script).lines().expect("lines");
        assert_eq!(lines.next().expect("a line").expect("good"), "one");
        assert_eq!(lines.next().expect("a line").expect("good"), "two");
        assert!(lines.next().expect("the end").expect_err("code 3").is_failure());
        let mut shown = Vec::new();
        for event in sh(script).events().expect("events") {
            match event.expect("an event") {
                Event::Stdout(bytes) => shown.extend(bytes),
                Event::Exited(report) => assert_eq!(report.status.code(), Some(3)),
                other @ (Event::Stderr(_) | _) => panic!("{other:?}"),
            }
        }
        assert_eq!(shown, b"one\r\ntwo\r\n");
    });
}

/// Far more than the terminal holds, by a command that nobody drives.
#[test]
fn more_than_a_terminal_holds_is_moved_by_every_way() {
    arena(|| {
        let script = "i=0; while test $i -lt 20000; do echo line $i; i=$((i+1)); done";
        let expected: String = (0..20000).map(|i| format!("line {i}\r\n")).collect();
        assert!(sh(script).run().expect("run").stdout == expected.as_bytes());
        assert!(sh(script).status().expect("status").success());
        assert_eq!(sh(script).lines().expect("lines").count(), 20000);
    });
}

#[test]
fn input_is_typed_and_has_an_end() {
    arena(|| {
        let cat = || {
            let mut command = Command::new("cat");
            command.pty(SIZE).pty_modes(PtyModes::new().echo(false)).timeout(PATIENCE);
            command
        };
        assert_eq!(cat().run().expect("without input").stdout, b"");
        assert_eq!(cat().input("a\nb").run().expect("bytes").stdout, b"a\r\nb");
        let reader = netrunner_sync::Input::reader(&b"from a reader\n"[..]);
        assert_eq!(cat().input(reader).run().expect("reader").stdout, b"from a reader\r\n");
        std::fs::write("input", "from a file").expect("write");
        let file = std::fs::File::open("input").expect("open");
        assert_eq!(cat().input(file).run().expect("file").stdout, b"from a file");
        let child = cat().input("spawned").spawn().expect("spawn");
        assert_eq!(child.wait_with_output().expect("wait").stdout, b"spawned");
        assert_eq!(cat().input("line\n").lines().expect("lines").count(), 1);
        let mut echoed = Command::new("cat");
        let output = echoed.pty(SIZE).input("seen\n").run().expect("run");
        assert_eq!(output.stdout, b"seen\r\nseen\r\n");
        assert_eq!(output.report.io.stdin, 5);
    });
}

/// A line that no terminal holds, twice through it.
#[test]
fn a_line_of_a_mebibyte_comes_back_whole() {
    arena(|| {
        let line: Vec<u8> = (0..1 << 20).map(|n| b'a' + (n % 23) as u8).collect();
        let mut cat = Command::new("cat");
        cat.pty(SIZE).pty_modes(PtyModes::new().echo(false)).timeout(PATIENCE);
        assert!(cat.input(line.clone()).run().expect("run").stdout == line);
        let head = || {
            let mut head = Command::new("head");
            head.args(["-c", "1048576"]).pty(SIZE).pty_modes(PtyModes::raw()).timeout(PATIENCE);
            head
        };
        assert!(head().input(line.clone()).run().expect("run").stdout == line);
        let mut child = head().spawn().expect("spawn");
        let (mut reader, mut writer) = child.pty.take().expect("a terminal").split();
        let typed = line.clone();
        let typist = std::thread::spawn(move || writer.write_all(&typed));
        let mut shown = Vec::new();
        reader.read_to_end(&mut shown).expect("read");
        assert!(shown == line, "{} bytes", shown.len());
        typist.join().expect("no panic").expect("typed");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn errors_go_to_a_pipe_of_their_own_where_that_is_asked_for() {
    arena(|| {
        let script = "test -t 2 || echo not there >&2; echo here; test -t 0 && test -t 1";
        let output = sh(script).stderr(Stdio::piped()).run().expect("run");
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"here\r\n"[..], &b"not there\n"[..])
        );
        let mut child = sh(script).stderr(Stdio::piped()).spawn().expect("spawn");
        let mut errors = String::new();
        child.stderr.as_mut().expect("a pipe").read_to_string(&mut errors).expect("read");
        assert_eq!(errors, "not there\n");
        assert!(child.wait().expect("wait").success());
        let nothing = sh(script).stderr(Stdio::null()).run().expect("run");
        assert_eq!((&nothing.stdout[..], &nothing.stderr[..]), (&b"here\r\n"[..], &b""[..]));
        let merged = sh("echo both >&2; test -t 2").stderr_to_stdout().run().expect("run");
        assert_eq!(merged.stdout, b"both\r\n");
    });
}

#[test]
fn a_new_size_is_told_and_seen_from_everywhere() {
    arena(|| {
        let mut child =
            sh("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done")
                .spawn()
                .expect("spawn");
        let pty = child.pty.as_ref().expect("a terminal");
        read_until(pty, "ready");
        child.handle().resize(WinSize::new(7, 300)).expect("resize");
        assert_eq!(pty.size().expect("ask"), WinSize::new(7, 300));
        read_until(pty, "7 300");
        assert!(child.wait().expect("wait").success());

        let child = puppet("sleep forever").pty(SIZE).spawn().expect("spawn");
        let handle = child.handle();
        child.resize(WinSize::new(1, 1)).expect("resize");
        assert_eq!(child.pty.as_ref().expect("pty").size().expect("ask"), WinSize::new(1, 1));
        for empty in [WinSize::new(0, 80), WinSize::new(24, 0)] {
            assert!(handle.resize(empty).expect_err("no room").is_invalid_input());
            let error = child.pty.as_ref().expect("pty").resize(empty).expect_err("no room");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        drop(child);
        assert_eq!(handle.resize(SIZE).expect_err("hung up").raw_os_error(), Some(libc::EIO));
        let plain = puppet("sleep forever").spawn().expect("spawn");
        assert_eq!(plain.resize(SIZE).expect_err("none").raw_os_error(), Some(libc::ENOTTY));
    });
}

#[test]
fn what_does_not_go_together_is_said_before_anything_starts() {
    arena(|| {
        let refused = |what: &str, command: &mut Command| {
            for error in [
                command.spawn().expect_err("refused"),
                command.output().expect_err("refused"),
                command.status().expect_err("refused"),
            ] {
                assert!(error.is_invalid_input() && error.to_string().contains(what), "{error}");
            }
        };
        let terminal = || {
            let mut command = puppet("touch started");
            command.pty(SIZE);
            command
        };
        refused("`stdin`", terminal().stdin(Stdio::null()));
        refused("`stdin`", terminal().stdin(Stdio::inherit()));
        refused("`stdout`", terminal().stdout(Stdio::piped()));
        refused("`foreground`", terminal().foreground(true));
        refused("`foreground`", terminal().foreground(false));
        refused("0x80", terminal().pty(WinSize::new(0, 80)));
        refused("24x0", terminal().pty(WinSize::new(24, 0)));
        refused("`pty_modes`", puppet("touch started").pty_modes(PtyModes::raw()));
        assert!(others().is_empty(), "something was started");
        assert!(!std::path::Path::new("started").exists());
    });
}

#[test]
fn a_control_character_is_typed_by_its_name() {
    arena(|| {
        let mut child = sh("stty intr ^X; exec cat").spawn().expect("spawn");
        let mut pty = child.pty.as_ref().expect("a terminal");
        // It runs: a shell forgets what is typed while it starts one.
        pty.write_all(b"ready\n").expect("type");
        read_until(pty, "ready\r\nready");
        pty.send(Control::Interrupt).expect("type");
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGINT));
    });
}

#[test]
fn a_manager_can_become_a_plain_descriptor() {
    arena(|| {
        let mut child = sh("echo out; read line; echo got $line").spawn().expect("spawn");
        let pty = child.pty.take().expect("a terminal");
        read_until(&pty, "out\r\n");
        let fd = OwnedFd::from(pty);
        let flags = rustix::fs::fcntl_getfl(fd.as_fd()).expect("ask");
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        let mut file = std::fs::File::from(fd);
        file.write_all(b"it\n").expect("type");
        let mut shown = Vec::new();
        // What a plain descriptor has for an end.
        let end = file.read_to_end(&mut shown).expect_err("EIO");
        assert_eq!(end.raw_os_error(), Some(libc::EIO));
        assert_eq!(shown, b"it\r\ngot it\r\n");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn dropping_the_manager_hangs_the_session_up() {
    arena(|| {
        let mut child = sh("trap 'exit 9' HUP; echo ready; while :; do sleep 0.01; done")
            .spawn()
            .expect("spawn");
        let pty = child.pty.take().expect("a terminal");
        read_until(&pty, "ready");
        let (reader, writer) = pty.split();
        drop(writer);
        assert_eq!(child.wait_timeout(Duration::from_millis(50)).expect("wait"), None);
        drop(reader);
        assert_eq!(child.wait().expect("wait").code(), Some(9));
    });
}

/// To the leader, the members of its group, a job's group and a session of its own; and what outlives the
/// leader is asked in the usual way before it is killed.
#[test]
fn a_stop_hangs_all_up_then_asks_then_kills() {
    arena(|| {
        // They are given half a second for the hang-up.
        let grace = GRACE * 4;
        let names = ["member", "job", "far"];
        let below = names.iter().zip(["", "group", "setsid"]).map(|(name, how)| {
            format!(
                "fork [ {how} note HUP {name} note TERM {name} lock {name}-lock sleep forever ] "
            )
        });
        let script = below.collect::<String>() + "lock leader sleep forever";
        let mut child = puppet(&script).grace(grace).pty(SIZE).spawn().expect("spawn");
        lock("leader").wait_held();
        for name in names {
            lock(&format!("{name}-lock")).wait_held();
        }
        let began = Instant::now();
        assert_eq!(child.stop().expect("stop").signal(), Some(libc::SIGHUP));
        assert!(began.elapsed() >= grace, "killed before their grace");
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
        for name in names {
            lock(&format!("{name}-lock")).assert_free();
            let notes = std::fs::read_to_string(name).expect("notes");
            // The end of a session's leader is one more hang-up, by the kernel.
            let mut notes: Vec<&str> = notes.lines().collect();
            notes.dedup();
            assert_eq!(notes, ["01", "15"], "{name}");
        }
    });
}

#[test]
fn a_leader_that_is_deaf_to_the_hang_up_is_killed_after_its_grace() {
    arena(|| {
        let script = "note HUP notes note TERM notes lock leader sleep forever";
        let mut child = puppet(script).pty(SIZE).spawn().expect("spawn");
        lock("leader").wait_held();
        let began = Instant::now();
        assert_eq!(child.stop().expect("stop").signal(), Some(libc::SIGKILL));
        assert!(began.elapsed() >= GRACE, "killed before its grace");
        assert_eq!(std::fs::read_to_string("notes").expect("notes"), "01\n");
    });
}

#[test]
fn the_next_command_of_the_same_shepherd_has_no_terminal() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        for _ in 0..3 {
            let mut child = puppet("sleep forever").pty(SIZE).spawn().expect("spawn");
            let shepherd = shepherd_of(child.id());
            child.signal(Signal::KILL).expect("kill");
            child.wait().expect("wait");
            let mut next = puppet("sleep forever").spawn().expect("spawn");
            assert_eq!(shepherd_of(next.id()), shepherd, "it was not clean");
            let proc = Proc::get(next.id()).expect("the child");
            assert_eq!((proc.sid, proc.pgid), (shepherd, next.id()));
            next.stop().expect("stop");
        }
    });
}

const SOON: Duration = Duration::from_millis(50);

#[test]
fn what_is_expected_is_taken_and_the_rest_stays() {
    arena(|| {
        let child = sh("printf 'one two three'; read go; printf 'four'").spawn().expect("spawn");
        let pty = child.pty.as_ref().expect("a terminal");
        assert_eq!(pty.expect("two", PATIENCE).expect("two").before, b"one ");
        let mut piece = [0; 3];
        (&*pty).read_exact(&mut piece).expect("read");
        assert_eq!(&piece, b" th");
        pty.expect("ree", PATIENCE).expect("what is left");
        pty.send_eof().expect("type");
        // Read, and not expected: it is part of the output all the same.
        let missing = pty.expect("never", PATIENCE).expect_err("the end");
        assert!(missing.is_end() && !missing.is_timeout());
        assert_eq!(missing.seen(), b"four");
        assert!(missing.to_string().contains("`never`") && missing.to_string().contains("`four`"));
        let output = child.wait_with_output().expect("wait");
        assert_eq!(output.stdout, b"four");
    });
}

#[test]
fn what_is_not_shown_in_time_is_an_error_that_tells_what_was() {
    arena(|| {
        let mut child = sh("printf 'na'; read go; echo me").spawn().expect("spawn");
        let pty = child.pty.as_ref().expect("a terminal");
        pty.expect("na", PATIENCE).expect("it is shown");
        let late = pty.expect("me", SOON).expect_err("it waits");
        assert!(late.is_timeout() && !late.is_end() && late.seen().is_empty());
        let late = pty.expect(Pattern::end(), SOON).expect_err("it runs");
        assert!(late.is_timeout());
        pty.send_eof().expect("type");
        assert_eq!(pty.expect("me", PATIENCE).expect("now").before, b"");
        assert_eq!(pty.expect(Pattern::end(), PATIENCE).expect("the end").before, b"\r\n");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn halves_expect_and_type() {
    arena(|| {
        let mut child = sh("read word; echo got $word").spawn().expect("spawn");
        let (reader, mut writer) = child.pty.take().expect("a terminal").split();
        writer.write_all(b"it\n").expect("type");
        let deadline = Instant::now() + PATIENCE;
        reader.expect_deadline("got it", deadline).expect("it is shown");
        reader.expect_deadline(Pattern::end(), deadline).expect("the end");
        assert!(child.wait().expect("wait").success());
    });
}
