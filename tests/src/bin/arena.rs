//! The subreaper that runs one program and counts what outlives it.
//!
//! `arena BODY_SECONDS COUNT_SECONDS PROGRAM [ARG…]`
//!
//! Whatever the program started and lost falls to this process and to nobody else, so an `ECHILD`
//! here proves that nothing of it lives. 0: it ended well and nothing was left. Anything else is
//! said on stderr, with what was left, which is killed in any case. What the program is to do without
//! says `netrunner_tests::lacks`.

#![deny(unsafe_code)]

use std::ffi::OsString;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use netrunner_tests::lacks::{self, Lacks};
use netrunner_tests::procs;
use netrunner_tests::sys::{self, Ended, Waited};

const FAILED: i32 = 101;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let body_limit = seconds(args.next());
    let count_limit = seconds(args.next());
    let program = args.next().expect("a program to run");

    // Who runs the tests in the background or under nohup has signals ignored; a test starts without.
    sys::default_signals();
    sys::become_subreaper().expect("become a subreaper");
    // The test runner may be killed: then nothing of this test may stay either.
    let origin = sys::ppid();
    sys::signal_on_origins_death(libc::SIGTERM).expect("ask for a signal on the runner's death");
    if origin != sys::ppid() {
        exit(FAILED);
    }

    let mut body = Command::new(&program);
    body.args(args);
    #[expect(clippy::zombie_processes, reason = "`reap_until` reaps it, with everything else")]
    let body = Lacks::of(lacks::WITHOUT).start(body).unwrap_or_else(|error| {
        eprintln!("arena: cannot run {program:?}: {error}");
        exit(FAILED);
    });
    let body = body.id();
    sys::block(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]);

    let mut ended = None;
    match reap_until(Instant::now() + body_limit, |reaped| match reaped {
        Waited::Reaped(pid, how) if pid == body => {
            ended = Some(how);
            true
        }
        Waited::Reaped(..) | Waited::NoneEnded => false,
        Waited::NoChild => true,
    }) {
        Reaping::Done => {}
        Reaping::TimeIsUp => {
            eprintln!("arena: the body hangs after {body_limit:?}; there are:");
            kill_the_rest(true);
            exit(FAILED);
        }
        Reaping::ToldToEnd => {
            kill_the_rest(false);
            exit(FAILED);
        }
    }

    let began = Instant::now();
    let survivors = match reap_until(began + count_limit, |reaped| reaped == Waited::NoChild) {
        Reaping::Done => false,
        Reaping::TimeIsUp => {
            eprintln!("arena: SURVIVORS {count_limit:?} after the body's end:");
            kill_the_rest(true);
            true
        }
        Reaping::ToldToEnd => {
            kill_the_rest(false);
            exit(FAILED);
        }
    };
    match ended {
        Some(Ended::Code(0)) if !survivors => exit(0),
        Some(Ended::Code(code)) if code != 0 => exit(code),
        Some(Ended::Signal(signal)) => {
            eprintln!("arena: the body died by signal {signal}");
            exit(FAILED);
        }
        Some(Ended::Code(_)) | None => exit(FAILED),
    }
}

fn seconds(word: Option<OsString>) -> Duration {
    let word = word.and_then(|word| word.into_string().ok()).expect("a number of seconds");
    Duration::from_secs_f64(word.parse().expect("a number of seconds"))
}

#[derive(PartialEq, Eq)]
enum Reaping {
    Done,
    TimeIsUp,
    ToldToEnd,
}

/// Reaps everything as it ends, until `done` says so.
fn reap_until(deadline: Instant, mut done: impl FnMut(Waited) -> bool) -> Reaping {
    loop {
        let waited = sys::wait_any(false);
        if done(waited) {
            return Reaping::Done;
        }
        if waited != Waited::NoneEnded {
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Reaping::TimeIsUp;
        }
        let signal = sys::wait_signal(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT], left);
        if let Some(libc::SIGTERM | libc::SIGINT) = signal {
            return Reaping::ToldToEnd;
        }
    }
}

fn kill_the_rest(tell: bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut told = !tell;
    loop {
        let left = procs::descendants(std::process::id());
        if !told {
            for proc in &left {
                eprintln!("arena:   {proc}");
            }
            told = true;
        }
        for proc in left.iter().filter(|proc| !proc.is_zombie()) {
            // It may be gone by now.
            let _ = sys::kill(proc.pid as i32, libc::SIGKILL);
        }
        while let Waited::Reaped(..) = sys::wait_any(false) {}
        if sys::wait_any(false) == Waited::NoChild {
            return;
        }
        if Instant::now() > deadline {
            eprintln!("arena: could not kill everything");
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
