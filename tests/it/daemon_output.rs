//! What becomes of a `Daemon`'s output: it is always read, whoever wants it, and whatever they do.

use std::fs;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netrunner_sync::{Command, Daemon, LogFile, Ready, Restart, Stdio, Stream};
use netrunner_tests::wait::{PATIENCE, scaled, wait_until};
use netrunner_tests::{pattern, sys};

use crate::daemon::{eager, start};
use crate::harness::*;

/// Far more than pipes hold, and than is kept.
const MUCH: usize = 3_000_000;

#[test]
fn output_that_nobody_wants_holds_nothing_up() {
    arena(|| {
        let command = puppet(&format!("both {MUCH} print done exit 0"));
        let daemon = Daemon::builder(command).keep_last(0).start().expect("start");
        assert!(daemon.wait().expect("wait").success());
        assert!(daemon.recent().is_empty());
        let io = daemon.health().last.expect("told").io;
        assert_eq!((io.stdout, io.stderr), (MUCH as u64 + 5, MUCH as u64));
    });
}

#[test]
fn the_last_bytes_are_kept_to_the_very_end() {
    arena(|| {
        let command = puppet(&format!("spew {MUCH} exit 0"));
        let daemon = Daemon::builder(command).keep_last(10_000).start().expect("start");
        daemon.wait().expect("wait");
        let last: Vec<u8> = (MUCH as u64 - 10_000..MUCH as u64).map(pattern::byte_at).collect();
        assert!(daemon.recent() == last);
        // 8 KiB if nothing is said.
        let daemon = start(&format!("spew {MUCH} exit 0"));
        daemon.wait().expect("wait");
        assert!(daemon.recent() == last[10_000 - (8 << 10)..]);
    });
}

#[test]
fn a_callback_gets_every_line_of_each_stream_and_wait_waits_for_it() {
    arena(|| {
        let (sent, received) = channel();
        let script = "print one eprint two write three exit 0";
        let thread = std::thread::current().id();
        let daemon = Daemon::builder(puppet(script))
            .on_line(move |stream, line| {
                assert_ne!(std::thread::current().id(), thread);
                std::thread::sleep(Duration::from_millis(20));
                sent.send((stream, line.to_vec())).expect("send");
            })
            .start()
            .expect("start");
        daemon.wait().expect("wait");
        let mut lines: Vec<_> = received.try_iter().collect();
        lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let all = [
            (Stream::Stdout, b"one\n".to_vec()),
            (Stream::Stdout, b"three".to_vec()),
            (Stream::Stderr, b"two\n".to_vec()),
        ];
        assert_eq!(lines, all);
    });
}

#[test]
fn a_callback_that_blocks_or_panics_holds_neither_its_daemon_up_nor_others() {
    arena(|| {
        let (go, gate) = channel::<()>();
        let blocked = Daemon::builder(puppet(&format!("spew {MUCH} print done sleep forever")))
            .on_line(move |_, _| {
                // Until the other end is dropped.
                let _ = gate.recv();
            })
            .start()
            .expect("start");
        let panics =
            Daemon::builder(puppet(&format!("print line spew {MUCH} print done sleep forever")))
                .on_line(|_, _| std::panic::resume_unwind(Box::new("as the test wants")))
                .start()
                .expect("start");
        for daemon in [&blocked, &panics] {
            wait_until("all output to be read", PATIENCE, || daemon.recent().ends_with(b"done\n"));
        }
        wait_until("the panic", PATIENCE, || panics.health().log_error.is_some());
        assert_eq!(panics.health().log_error.as_deref(), Some("the callback has panicked"));
        assert!(panics.health().lost > 0);
        assert!(blocked.health().lost >= MUCH as u64 - (2 << 20));
        // Neither is waited for any longer than a second.
        blocked.stop().expect("stop");
        panics.stop().expect("stop");
        drop(go);
    });
}

#[test]
fn a_callback_may_stop_its_own_daemon() {
    arena(|| {
        let place: Arc<OnceLock<Daemon>> = Arc::default();
        let (stopped, told) = channel();
        let seen = Arc::clone(&place);
        let daemon = Daemon::builder(puppet("print up sleep forever"))
            .on_line(move |_, _| {
                wait_until("the handle", PATIENCE, || seen.get().is_some());
                let daemon = seen.get().expect("it is set");
                stopped.send(daemon.stop().expect("stop").success()).expect("send");
            })
            .start()
            .expect("start");
        place.set(daemon).expect("once");
        assert_eq!(told.recv_timeout(scaled(PATIENCE)), Ok(false));
    });
}

/// The lines of the log and of what was rotated out of it, the oldest first.
fn lines_of_all(name: &str, keep: u32) -> Vec<String> {
    let mut names: Vec<String> = (1..=keep).rev().map(|n| format!("{name}.{n}")).collect();
    names.push(name.to_owned());
    let text = |name: &String| fs::read_to_string(name).unwrap_or_default();
    names.iter().map(text).collect::<String>().lines().map(str::to_owned).collect()
}

fn counting(to: u32) -> Command {
    let mut seq = Command::new("seq");
    seq.args(["1", &to.to_string()]);
    seq
}

#[test]
fn a_log_is_rotated_without_a_line_lost_or_cut() {
    arena(|| {
        let log = LogFile::new("log").rotate(10_000, 100);
        let daemon = Daemon::builder(counting(50_000)).log_file(log).start().expect("start");
        assert!(daemon.wait().expect("wait").success());
        let wanted: Vec<String> = (1..=50_000).map(|n| n.to_string()).collect();
        assert!(lines_of_all("log", 100) == wanted);
        for entry in fs::read_dir(".").expect("the directory") {
            let entry = entry.expect("an entry");
            assert!(entry.metadata().expect("its size").len() <= 10_000, "{entry:?}");
        }
        assert_eq!((daemon.health().lost, daemon.health().log_error), (0, None));
    });
}

#[test]
fn a_log_goes_on_over_restarts_and_rotation_keeps_as_many_as_it_may() {
    arena(|| {
        let log = LogFile::new("log").rotate(100, 2);
        let mut command = counting(20);
        command.arg("no-number");
        let mut fails = Command::new("sh");
        fails.args(["-c", "seq 1 20; write=unfinished; printf unfinished; exit 1"]);
        let daemon = Daemon::builder(fails).log_file(log).restart(eager().give_up_after(9)).start();
        daemon.expect("start").wait().expect("wait");
        let lines = lines_of_all("log", 2);
        assert_eq!(lines.last().map(String::as_str), Some("unfinished"));
        assert!(!fs::exists("log.3").expect("look"));
        // Each line is one of those that were written, whole.
        let known: Vec<String> =
            (1..=20).map(|n: u32| n.to_string()).chain(["unfinished".to_owned()]).collect();
        assert!(lines.iter().all(|line| known.contains(line)), "{lines:?}");
        assert!(lines.len() > 20, "{lines:?}");
    });
}

#[test]
fn a_client_that_is_killed_while_it_rotates_leaves_a_log_that_the_next_one_goes_on_with() {
    arena(|| {
        let all = || {
            let log = LogFile::new("log").rotate(1_000, 1_000);
            let daemon = Daemon::builder(counting(10_000)).log_file(log).start().expect("start");
            daemon.wait().expect("wait");
        };
        match sys::fork().expect("fork") {
            sys::Forked::Copy => {
                all();
                sys::exit_now(0);
            }
            sys::Forked::Origin(copy) => {
                wait_until("some rotations", PATIENCE, || fs::exists("log.5").expect("look"));
                signal(copy, libc::SIGKILL);
                while !matches!(sys::wait_any(true), sys::Waited::Reaped(pid, _) if pid == copy) {}
            }
        }
        let before = lines_of_all("log", 1_000);
        assert!(before.len() > 500, "{}", before.len());
        all();
        let after = lines_of_all("log", 1_000);
        // A kill leaves at most one line without its end, to which the next is appended.
        assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
        assert!(after.len() >= before.len() + 9_999);
    });
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    arena(|| {
        if !is_root() {
            return;
        }
        fs::create_dir("small").expect("make a directory");
        if let Err(error) = sys::mount_small("small") {
            return skip(&format!("a small file system: {error}"));
        }
        let mut command = Command::new("sh");
        let script = "seq 1 20000; while ! [ -e go ]; do sleep 0.01; done; echo again; sleep 60";
        command.args(["-c", script]).grace(GRACE);
        let builder = Daemon::builder(command).log_file(LogFile::new("small/log"));
        let daemon = builder.start().expect("start");
        wait_until("all output to be read", PATIENCE, || daemon.recent().ends_with(b"20000\n"));
        let health = daemon.health();
        let error = health.log_error.expect("the disk is full");
        assert!(error.contains("small/log: No space left on device"), "{error}");
        let len = fs::metadata("small/log").expect("the log").len();
        assert_eq!(health.lost + len, 108_894, "each byte is there or told");
        // Somebody makes room, and the next line stands alone.
        fs::rename("small/log", "small/old").expect("rename the log");
        fs::OpenOptions::new()
            .write(true)
            .open("small/old")
            .and_then(|file| file.set_len(10))
            .expect("make room");
        fs::write("go", "").expect("let it go on");
        wait_until("the next line", PATIENCE, || {
            fs::read_to_string("small/log").is_ok_and(|text| text == "again\n")
        });
        daemon.stop().expect("stop");
    });
}

#[test]
fn a_log_that_somebody_else_renames_is_begun_anew() {
    arena(|| {
        let script = "print one await go print two await go-on print three sleep forever";
        let builder = Daemon::builder(puppet(script)).log_file(LogFile::new("log"));
        let daemon = builder.start().expect("start");
        let is = |name: &'static str, text: &'static str| {
            wait_until(text, PATIENCE, || fs::read_to_string(name).is_ok_and(|is| is == text));
        };
        is("log", "one\n");
        fs::rename("log", "log.old").expect("rename it");
        fs::write("go", "").expect("let it go on");
        is("log", "two\n");
        fs::File::create("log").expect("truncate it");
        fs::write("go-on", "").expect("let it go on");
        is("log", "three\n");
        is("log.old", "one\n");
        daemon.stop().expect("stop");
    });
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_of_the_start() {
    arena(|| {
        for path in ["no/such/folder/log", "/dev/null", "."] {
            let builder = Daemon::builder(puppet("lock never sleep forever"));
            let error = builder.log_file(LogFile::new(path)).start().unwrap_err();
            assert!(error.to_string().contains("failed to open the log file of"), "{error}");
        }
        assert_no_puppets();
    });
}

#[test]
fn the_words_of_a_stop_are_in_the_log() {
    arena(|| {
        let mut command = Command::new("sh");
        let script = "trap 'echo goodbye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        command.args(["-c", script]);
        let builder = Daemon::builder(command).ready(Ready::line("up"));
        let builder = builder.log_file(LogFile::new("log")).restart(Restart::always());
        let daemon = builder.start().expect("start");
        daemon.wait_ready().expect("ready");
        assert!(daemon.stop().expect("stop").success());
        let log = fs::read_to_string("log").expect("the log");
        assert!(log.starts_with("up\n") && log.ends_with("goodbye\n"), "{log}");
    });
}

#[test]
fn outputs_that_go_elsewhere_are_left_there() {
    arena(|| {
        let mut command = puppet("print to-the-file eprint read exit 0");
        command.stdout(Stdio::from(fs::File::create("out").expect("a file")));
        let daemon = Daemon::builder(command).start().expect("start");
        daemon.wait().expect("wait");
        assert_eq!(fs::read_to_string("out").expect("out"), "to-the-file\n");
        assert_eq!(daemon.recent(), b"read\n");
    });
}

#[test]
fn ten_daemons_cost_one_thread_and_nothing_when_they_are_over() {
    arena(|| {
        start("exit 0").wait().expect("warm up");
        let (threads, descriptors) = (thread_names(), fd_count());
        assert_eq!(threads.iter().filter(|name| *name == "netrunner-daemo").count(), 1);
        let daemons: Vec<_> = (0..10)
            .map(|_| {
                let builder = Daemon::builder(puppet("print up sleep forever"));
                builder.ready(Ready::line("up")).stdin_queue(100).start().expect("start")
            })
            .collect();
        daemons.iter().for_each(|daemon| daemon.wait_ready().expect("ready"));
        assert_eq!(thread_names(), threads);
        daemons.iter().for_each(|daemon| assert!(!daemon.stop().expect("stop").success()));
        drop(daemons);
        // The shepherds stay for a while; each has a lane and two descriptors more.
        wait_until("the idle shepherds to go", PATIENCE, || fd_count() <= descriptors);
    });
}

fn thread_names() -> Vec<String> {
    let tasks = format!("/proc/{}/task", std::process::id());
    let mut names: Vec<String> = fs::read_dir(tasks)
        .expect("the threads")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}
