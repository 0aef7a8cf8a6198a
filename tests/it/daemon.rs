//! `Daemon`: when it is ready, when it is started again and when it is given up, and what its input gets.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use netrunner_sync::{
    Daemon, DaemonState, Error, Leftovers, Ready, Reason, Restart, Signal, Stdio, WinSize,
};
use netrunner_tests::wait::{PATIENCE, scaled, wait_until};

use crate::harness::*;

/// At once, as far as a policy can say it, and without end.
pub(crate) fn eager() -> Restart {
    Restart::on_failure().pause(Duration::from_millis(1)).give_up_after(u32::MAX)
}

#[track_caller]
pub(crate) fn start(script: &str) -> Daemon {
    Daemon::builder(puppet(script)).start().expect("start")
}

fn state(daemon: &Daemon) -> DaemonState {
    daemon.health().state
}

/// Runs until it is not ready in so little time.
#[track_caller]
fn is_never_ready(script: &str, ready: Ready) -> Error {
    let ready = ready.within(Duration::from_millis(200));
    let daemon = Daemon::builder(puppet(script)).ready(ready).start().expect("start");
    let error = daemon.wait_ready().expect_err("it is not ready");
    assert!(error.is_not_ready(), "{error}");
    assert_eq!(state(&daemon), DaemonState::Over);
    assert_no_puppets();
    error
}

#[test]
fn without_a_sign_it_is_ready_when_it_runs() {
    arena(|| {
        let daemon = start("sleep forever");
        daemon.wait_ready().expect("ready");
        assert_eq!(state(&daemon), DaemonState::Ready);
        assert_eq!(daemon.id(), Some(puppets()[0].pid));
        daemon.stop().expect("stop");
    });
}

#[test]
fn it_is_ready_when_either_output_has_the_line_and_not_before() {
    arena(|| {
        for output in ["print", "eprint"] {
            let script =
                format!("print not-yet await go-{output} {output} now-it-is-up sleep forever");
            let ready = Ready::line("it-is");
            let daemon = Daemon::builder(puppet(&script)).ready(ready).start().expect("start");
            wait_until("its first line", PATIENCE, || daemon.recent() == b"not-yet\n");
            assert_eq!(state(&daemon), DaemonState::Starting);
            assert!(!daemon.wait_ready_timeout(Duration::ZERO).expect("wait"));
            fs::write(format!("go-{output}"), "").expect("let it go");
            daemon.wait_ready().expect("ready");
            assert_eq!(state(&daemon), DaemonState::Ready);
        }
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn it_is_ready_when_the_port_accepts() {
    arena(|| {
        let address = free_address();
        let ready = Ready::port(address).within(scaled(PATIENCE));
        let daemon = Daemon::builder(puppet("sleep forever")).ready(ready).start().expect("start");
        // It is refused some times at first, or connected to itself: neither counts.
        assert!(!daemon.wait_ready_timeout(Duration::from_millis(300)).expect("wait"));
        let _listener = TcpListener::bind(address).expect("nobody else has it");
        daemon.wait_ready().expect("ready");
    });
}

/// A port of the range from which connections get their own, which therefore may meet themselves.
fn free_address() -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    listener.local_addr().expect("its address")
}

#[test]
fn it_is_ready_when_the_file_is_there_and_new() {
    arena(|| {
        fs::write("sign", "of an earlier run").expect("an old file");
        let script = "print up await go touch sign sleep forever";
        let daemon =
            Daemon::builder(puppet(script)).ready(Ready::file("sign")).start().expect("start");
        wait_until("its first line", PATIENCE, || daemon.recent() == b"up\n");
        assert!(!daemon.wait_ready_timeout(Duration::from_millis(100)).expect("wait"));
        fs::write("go", "").expect("let it go");
        daemon.wait_ready().expect("ready");
    });
}

#[test]
fn it_is_ready_when_the_probe_succeeds_and_nothing_is_left_of_the_probes() {
    arena(|| {
        let probe = puppet("fork [ setsid lock below sleep forever ] await never");
        let mut fails_at_first = netrunner_sync::Command::new("test");
        fails_at_first.args(["-e", "go"]);
        let serve = || puppet("sleep forever");
        let daemon = Daemon::builder(serve()).ready(Ready::probe(fails_at_first)).start();
        let daemon = daemon.expect("start");
        assert!(!daemon.wait_ready_timeout(Duration::from_millis(100)).expect("wait"));
        fs::write("go", "").expect("let it succeed");
        daemon.wait_ready().expect("ready");

        // One that hangs ends with the daemon, and so does what it has started.
        let hangs = Daemon::builder(serve()).ready(Ready::probe(probe)).start().expect("start");
        lock("below").wait_held();
        drop(hangs);
        wait_until("the end of both", GRACE_AND_2S, || puppets().len() == 1);
        lock("below").assert_free();
    });
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_the_error_says_what_was_missing() {
    arena(|| {
        let script = "ignore TERM print last-words fork [ setsid sleep forever ] sleep forever";
        let error = is_never_ready(script, Ready::line("ready"));
        let text = error.to_string();
        assert!(
            text.ends_with("is not ready: it wrote no line with `ready` within 200ms"),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let output = error.output().expect("what it wrote");
        assert_eq!(output.stdout, b"last-words\n");
        assert_eq!(output.report.reason, Reason::Stopped);
        let text = is_never_ready("sleep forever", Ready::file("no-such")).to_string();
        assert!(text.contains("there was no new `"), "{text}");
        let address = free_address();
        let text = is_never_ready("sleep forever", Ready::port(address)).to_string();
        assert!(text.contains(&format!("{address} did not accept")), "{text}");
        let probe = netrunner_sync::Command::new("false");
        let text = is_never_ready("sleep forever", Ready::probe(probe)).to_string();
        assert!(text.contains("`false` did not succeed"), "{text}");
        let probe = netrunner_sync::Command::new("no-such-program");
        is_never_ready("sleep forever", Ready::probe(probe));
    });
}

#[test]
fn one_that_ends_before_it_is_ready_says_how() {
    arena(|| {
        let builder = Daemon::builder(puppet("eprint no-such-config exit 3"));
        let daemon = builder.ready(Ready::line("up")).start().expect("start");
        let error = daemon.wait_ready().expect_err("it has ended");
        assert!(error.is_not_ready());
        assert!(error.to_string().ends_with("is not ready: it exited with code 3"), "{error}");
        assert_eq!(error.output().expect("told").stdout, b"no-such-config\n");
        assert_eq!(daemon.wait().expect("its status").code(), Some(3));
        // What has no line end is no line.
        let daemon = Daemon::builder(puppet("write up exit 3")).ready(Ready::line("up")).start();
        assert!(daemon.expect("start").wait_ready().unwrap_err().is_not_ready());
    });
}

#[test]
fn one_that_is_killed_is_started_again_with_a_new_process() {
    arena(|| {
        let builder = Daemon::builder(puppet("lock serving print up sleep forever"));
        let daemon = builder.restart(eager()).ready(Ready::line("up")).start().expect("start");
        let mut seen = Vec::new();
        for run in 1..=4 {
            assert!(daemon.wait_run(run, scaled(PATIENCE)).expect("ready"));
            let health = daemon.health();
            assert_eq!((health.state, health.run), (DaemonState::Ready, run));
            let pid = health.pid.expect("it runs");
            assert_eq!(lock("serving").wait_held(), pid);
            assert!(!seen.contains(&pid));
            seen.push(pid);
            assert_eq!(health.restarts_in_a_row, run - 1);
            signal(pid, libc::SIGKILL);
        }
        assert!(daemon.wait_run(5, scaled(PATIENCE)).expect("ready"));
        let last = daemon.health().last.expect("a report");
        assert_eq!((last.reason, last.status.signal()), (Reason::Exited, Some(libc::SIGKILL)));
        assert_eq!(last.pid, seen[3]);
        assert_eq!(daemon.recent(), b"up\n".repeat(5));
        assert_eq!(puppets().len(), 1);
    });
}

#[test]
fn a_shepherd_that_is_killed_is_a_crash_as_well() {
    arena(|| {
        let builder = Daemon::builder(puppet("lock serving sleep forever"));
        let daemon = builder.restart(eager()).start().expect("start");
        let pid = lock("serving").wait_held();
        let began = Instant::now();
        signal(shepherd_of(pid), libc::SIGKILL);
        assert!(daemon.wait_run(2, scaled(PATIENCE)).expect("ready"));
        // What the lost one has left has had time to go.
        assert!(began.elapsed() >= Duration::from_secs(1));
        wait_until("the new process", PATIENCE, || {
            lock("serving").holder().is_some_and(|holder| holder != pid)
        });
        assert_eq!(daemon.health().last.expect("a report").reason, Reason::ShepherdLost);
    });
}

#[test]
fn what_a_run_has_left_is_gone_before_the_next_one_begins() {
    arena(|| {
        let script = "fork [ setsid lock below sleep forever ] await below die KILL";
        let restart = eager().give_up_after(3);
        let daemon = Daemon::builder(puppet(script)).restart(restart).start().expect("start");
        // The lock can be had only by one at a time.
        assert_eq!(daemon.wait().expect("wait").signal(), Some(libc::SIGKILL));
        let health = daemon.health();
        assert_eq!((health.run, health.last.expect("told").leftovers.len()), (4, 1));
        assert_no_puppets();
    });
}

#[test]
fn it_is_given_up_after_so_many_short_runs_in_a_row() {
    arena(|| {
        let pause = Duration::from_millis(20);
        let restart = Restart::on_failure().pause(pause).give_up_after(3);
        let began = Instant::now();
        let builder = Daemon::builder(puppet("print run exit 7"));
        let daemon = builder.restart(restart).start().expect("start");
        assert_eq!(daemon.wait().expect("wait").code(), Some(7));
        assert!(began.elapsed() >= pause * (1 + 2 + 4), "{:?}", began.elapsed());
        let health = daemon.health();
        assert_eq!((health.state, health.run, health.pid), (DaemonState::Over, 4, None));
        assert_eq!(daemon.recent(), b"run\n".repeat(4));
        let error = daemon.wait_ready().unwrap_err();
        assert!(error.to_string().ends_with("is not ready: it exited with code 7"), "{error}");
    });
}

#[test]
fn a_good_end_is_final_unless_it_is_always_started_again() {
    arena(|| {
        for (restart, runs) in [
            (Restart::never(), 1),
            (Restart::on_failure(), 1),
            (Restart::always().pause(Duration::from_millis(1)).give_up_after(2), 3),
        ] {
            let builder = Daemon::builder(puppet("exit 0")).restart(restart);
            let daemon = builder.start().expect("start");
            assert!(daemon.wait().expect("wait").success());
            assert_eq!(daemon.health().run, runs);
        }
        // Before it was ready even that is a failure.
        let restart = eager().give_up_after(1);
        let builder = Daemon::builder(puppet("exit 0")).restart(restart).ready(Ready::line("up"));
        let daemon = builder.start().expect("start");
        assert!(daemon.wait_ready().unwrap_err().is_not_ready());
        assert_eq!(daemon.health().run, 2);
    });
}

#[test]
fn a_limit_that_it_runs_into_is_a_failure() {
    arena(|| {
        let mut command = puppet("print up sleep forever");
        command.idle_timeout(Duration::from_millis(50));
        let restart = eager().give_up_after(2);
        let daemon = Daemon::builder(command).restart(restart).start().expect("start");
        daemon.wait().expect("wait");
        let health = daemon.health();
        assert_eq!((health.run, health.last.expect("told").reason), (3, Reason::IdleTimeout));
    });
}

#[test]
fn a_program_that_is_gone_for_a_while_is_tried_again() {
    arena(|| {
        fs::copy(program_of_puppets(), "server").expect("a program of its own");
        let mut command = netrunner_sync::Command::new("./server");
        command.args(["lock", "serving", "sleep", "forever"]);
        let daemon = Daemon::builder(command).restart(eager()).start().expect("start");
        let pid = lock("serving").wait_held();
        fs::rename("server", "elsewhere").expect("take the program away");
        signal(pid, libc::SIGKILL);
        wait_until("a failed start", PATIENCE, || daemon.health().start_error.is_some());
        let health = daemon.health();
        let error = health.start_error.expect("why");
        assert_eq!(error, "failed to start `./server`: No such file or directory");
        fs::rename("elsewhere", "server").expect("put it back");
        assert!(daemon.wait_run(health.run + 1, scaled(PATIENCE)).expect("ready"));
        assert_eq!(daemon.health().start_error, None);
        fs::remove_file("server").expect("take it away for good");
        daemon.signal(Signal::KILL).expect("kill it");
        wait_until("a failed start", PATIENCE, || daemon.health().start_error.is_some());
        assert!(daemon.stop().unwrap_err().is_not_found());
    });
}

#[test]
fn a_stuck_process_holds_up_neither_who_writes_nor_more_than_the_queue() {
    arena(|| {
        let room = 100_000;
        let builder = Daemon::builder(puppet("await go count sleep forever"));
        let daemon = builder.stdin_queue(room).start().expect("start");
        let message = [b'x'; 10_000];
        let mut sent = 0;
        // The pipe takes 64 KiB of it, whenever the other thread comes to it.
        let is_full = || daemon.health().stdin_waiting > room - message.len();
        loop {
            match daemon.send(message) {
                Ok(()) => sent += message.len(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    if is_full() {
                        break;
                    }
                }
            }
            assert!(sent <= room + (64 << 10) && daemon.health().stdin_waiting <= room);
        }
        let soon = Instant::now() + Duration::from_millis(20);
        let late = daemon.send_deadline([b'x'; 100_000], soon);
        assert_eq!(late.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(Instant::now() >= soon);
        assert!(daemon.send([b'x'; 100_001]).unwrap_err().is_invalid_input());

        fs::write("go", "").expect("let it read");
        let patient = Instant::now() + scaled(PATIENCE);
        daemon.send_deadline([b'x'; 100_000], patient).expect("there is room now");
        daemon.close_stdin();
        assert_eq!(daemon.send("late").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let counted = format!("{}\n", sent + 100_000);
        wait_until("the count", PATIENCE, || daemon.recent() == counted.as_bytes());
        assert_eq!(daemon.health().stdin_waiting, 0);
    });
}

#[test]
fn messages_that_wait_go_to_the_next_process_and_a_torn_one_to_none() {
    arena(|| {
        let script = "print up await go cat sleep forever";
        let builder = Daemon::builder(puppet(script)).restart(eager()).ready(Ready::line("up"));
        let daemon = builder.stdin_queue(1 << 20).start().expect("start");
        daemon.wait_ready().expect("ready");
        daemon.send(vec![b'x'; 200_000]).expect("send"); // more than the pipe takes
        daemon.send("second\n").expect("send");
        wait_until("the pipe to be full", PATIENCE, || daemon.health().stdin_waiting < 200_007);
        daemon.signal(Signal::KILL).expect("kill it");
        assert!(daemon.wait_run(2, scaled(PATIENCE)).expect("ready"));
        fs::write("go", "").expect("let the next one read");
        wait_until("the second", PATIENCE, || daemon.recent().ends_with(b"up\nsecond\n"));
        let lost = daemon.health().stdin_lost;
        assert!(lost > 0 && lost < 200_000, "{lost}");
        assert_eq!(daemon.recent(), b"up\nup\nsecond\n");
    });
}

#[test]
fn an_input_that_was_closed_stays_so() {
    arena(|| {
        let script = "count die KILL";
        let builder = Daemon::builder(puppet(script)).restart(eager().give_up_after(1));
        let daemon = builder.stdin_queue(100).start().expect("start");
        daemon.send("four").expect("send");
        daemon.close_stdin();
        daemon.wait().expect("wait");
        assert_eq!(daemon.recent(), b"4\n0\n");
        assert_eq!(daemon.send("late").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(start("exit 0").send("x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_a_daemon_cannot_have_is_said_before_it_is_started() {
    arena(|| {
        let invalid = |what: &str, builder: netrunner_sync::DaemonBuilder| {
            let error = builder.start().map(drop).expect_err(what);
            assert!(error.is_invalid_input(), "{what}: {error}");
        };
        let with = |set: fn(&mut netrunner_sync::Command)| {
            let mut command = puppet("sleep forever");
            set(&mut command);
            Daemon::builder(command)
        };
        let file = || fs::File::open("/dev/null").expect("open");
        let terminal = with(|command| {
            command.pty(WinSize::new(24, 80));
        });
        invalid("a terminal", terminal);
        invalid(
            "leftovers",
            with(|command| {
                command.leftovers(Leftovers::Keep);
            }),
        );
        invalid(
            "a pipe",
            with(|command| {
                command.stdin(Stdio::piped());
            }),
        );
        let twice = with(|command| {
            command.input("text");
        })
        .stdin_queue(1);
        invalid("two inputs", twice);
        let silent = with(|command| {
            command.stdout(Stdio::null()).stderr_to_stdout();
        });
        invalid("no line", silent.ready(Ready::line("up")));
        let end = with(|_| {}).ready(Ready::line(netrunner_sync::Pattern::end()));
        invalid("the end", end);
        type Set = fn(&mut netrunner_sync::Command, fs::File) -> &mut netrunner_sync::Command;
        let sets: [Set; 5] = [
            |command, file| command.stdin(Stdio::from(file)),
            |command, file| command.stdout(Stdio::from(file)),
            |command, file| command.stderr(Stdio::from(file)),
            |command, file| command.input(netrunner_sync::Input::from(file)),
            |command, file| command.fd(7, file),
        ];
        for set in sets {
            let mut command = puppet("exit 0");
            set(&mut command, file());
            invalid("consumed", Daemon::builder(command).restart(Restart::always()));
            let mut command = puppet("exit 0");
            set(&mut command, file());
            let once = Daemon::builder(command).start().expect("once is fine");
            assert!(once.wait().expect("wait").success());
        }
        let missing = Daemon::builder(netrunner_sync::Command::new("no-such-program")).start();
        assert!(missing.unwrap_err().is_not_found());
        assert_no_puppets();
    });
}

#[test]
fn handles_can_be_used_by_several_threads() {
    fn by_all<T: Send + Sync>(it: T) -> T {
        it
    }
    arena(|| {
        let daemon = by_all(start("sleep forever"));
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| daemon.wait())).collect();
            daemon.kill().expect("kill");
            for waiter in waiters {
                let status = waiter.join().expect("no panic").expect("wait");
                assert_eq!(status.signal(), Some(libc::SIGKILL));
            }
        });
        by_all(Daemon::builder(puppet("exit 0")).start().map(drop)).expect("start");
    });
}
