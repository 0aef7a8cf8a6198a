//! `Jobs` with tokens of their own, or with those of a make that the test plays; real makes are the command
//! line's tests' matter.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use netrunner_sync::{Command, Finished, Jobs, Jobserver, Reason, Retries};
use netrunner_tests::lock::Locks;

use crate::harness::*;
use crate::jobs::drive_until;

/// Takes so many tokens out of its pipe, as it is told of it, and then does something.
fn taker(tokens: u32, then: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!(
        "auth=${{MAKEFLAGS##*--jobserver-auth=}}; pipe=${{auth#fifo:}}; \
         [ \"$pipe\" = \"$auth\" ] && pipe=/proc/self/fd/${{auth%,*}}; \
         head -c {tokens} \"$pipe\"; echo; {then}"
    );
    command.args(["-c", &script]);
    // Of the tests themselves, which may run under a make.
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"] {
        command.env(name, "");
    }
    command
}

fn with(tokens: usize, fifo: bool) -> Jobs {
    let mut jobs = Jobs::new(64);
    jobs.jobserver(Jobserver::new(tokens).expect("tokens").fifo(fifo));
    jobs
}

#[test]
fn each_job_needs_a_token() {
    arena(|| {
        let locks = Locks::new("running");
        let mut jobs = with(2, false);
        for _ in 0..5 {
            jobs.push(puppet("lock-in running await go"));
        }
        drive_until(&mut jobs, "two run", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 2
        });
        assert!(jobs.next_timeout(Duration::from_millis(50)).is_pending());
        assert_eq!((jobs.running(), jobs.waiting(), locks.all().len()), (2, 3, 2));
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.filter(Finished::is_success).count(), 5);
    });
}

#[test]
fn a_job_takes_what_is_free_by_descriptor_or_by_path() {
    arena(|| {
        for fifo in [false, true] {
            let mut jobs = with(4, fifo);
            jobs.push(taker(3, "exit 0"));
            let output = jobs.next().expect("told").result.expect("it ran");
            assert_eq!(output.stdout, b"+++\n", "{output:?}");
        }
    });
}

#[test]
fn tokens_are_free_again_however_their_job_ends() {
    arena(|| {
        let mut jobs = with(4, false);
        jobs.timeout(Duration::from_millis(300));
        for end in ["exit 0", "exit 1", "kill -KILL $$", "setsid sleep 1000 & sleep 1000"] {
            let mut command = taker(3, end);
            command.grace(Duration::from_millis(50));
            jobs.push(command);
            let output = jobs.next().expect("told").result.expect("it ran");
            assert_eq!(output.stdout, b"+++\n", "{end}");
        }
        // Nor are there more than before.
        jobs.push(taker(4, "exit 0"));
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!(output.report.reason, Reason::Timeout);
    });
}

#[test]
fn what_one_leaves_in_its_pipe_is_for_the_others() {
    arena(|| {
        let mut jobs = with(4, false);
        jobs.push(puppet("await taken"));
        jobs.push(taker(2, "touch taken"));
        assert_eq!(jobs.filter(Finished::is_success).count(), 2);
    });
}

#[test]
fn a_job_can_make_no_tokens() {
    arena(|| {
        let mut jobs = with(2, false);
        let forge = taker(0, "printf ++++++++ > /proc/self/fd/101; touch forged; sleep 0.2");
        jobs.push(forge);
        let locks = Locks::new("running");
        for _ in 0..4 {
            jobs.push(puppet("await forged lock-in running await go"));
        }
        drive_until_forged(&mut jobs);
        jobs.next().expect("the forger");
        drive_until(&mut jobs, "two run", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 2
        });
        assert!(jobs.next_timeout(Duration::from_millis(50)).is_pending());
        assert_eq!(jobs.running(), 2);
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.count(), 4);
    });
}

#[track_caller]
fn drive_until_forged(jobs: &mut Jobs) {
    drive_until(jobs, "there are forged ones", || fs::exists("forged").expect("look"));
    assert!(jobs.running() <= 2, "{jobs:?}");
}

#[test]
fn another_try_has_a_pipe_too() {
    arena(|| {
        let mut jobs = with(3, false);
        jobs.retries(Retries::new(3).pause(Duration::ZERO));
        jobs.push(taker(2, "echo x >> tries; [ $(wc -l < tries) = 3 ]"));
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"++\n"[..]));
        assert_eq!(fs::read_to_string("tries").expect("the tries").lines().count(), 3);
    });
}

/// The pipe of a make that has announced it to this process.
struct Make {
    read: File,
    write: File,
}

impl Make {
    /// With these tokens, each of its own kind, as a make may have them.
    fn with(tokens: &[u8]) -> Make {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let (read, mut write) = (File::from(read), File::from(write));
        write.write_all(tokens).expect("there is room");
        let flags = format!("-j --jobserver-auth={},{}", read.as_raw_fd(), write.as_raw_fd());
        netrunner_tests::sys::set_var("CARGO_MAKEFLAGS", &flags);
        Make { read, write }
    }

    /// With a named pipe, as make has it since 4.4.
    fn named(tokens: &[u8]) -> Make {
        let path = std::env::current_dir().expect("the arena's").join("tokens");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("run mkfifo");
        assert!(made.success());
        // A reader that does not wait for a writer, so that the writer needs not wait for it.
        let mut options = File::options();
        let read = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).expect("open");
        let mut write = File::options().write(true).open(&path).expect("open");
        rustix::io::ioctl_fionbio(&read, false).expect("let it block");
        write.write_all(tokens).expect("there is room");
        let flags = format!("-j --jobserver-auth=fifo:{}", path.display());
        netrunner_tests::sys::set_var("CARGO_MAKEFLAGS", &flags);
        Make { read, write }
    }

    fn jobs(&self) -> Jobs {
        let jobserver = Jobserver::from_env().expect("reach it").expect("it is announced");
        let mut jobs = Jobs::new(64);
        jobs.jobserver(jobserver);
        jobs
    }

    /// How many tokens are free.
    fn free(&self) -> usize {
        rustix::io::ioctl_fionread(&self.read).expect("ask") as usize
    }

    /// All that are free, sorted.
    fn tokens(self) -> String {
        let Make { mut read, write } = self;
        drop(write);
        let mut tokens = String::new();
        read.read_to_string(&mut tokens).expect("read");
        let mut tokens: Vec<_> = tokens.chars().collect();
        tokens.sort_unstable();
        tokens.into_iter().collect()
    }
}

#[test]
fn a_makes_tokens_come_back_as_they_were_before_the_jobs_are_dropped() {
    arena(|| {
        let make = Make::with(b"abc");
        let mut jobs = make.jobs();
        let locks = Locks::new("running");
        for _ in 0..9 {
            jobs.push(puppet("lock-in running await go"));
        }
        drive_until(&mut jobs, "four run, one by the process's own token", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 4
        });
        assert_eq!((jobs.running(), make.free()), (4, 0));
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.by_ref().filter(Finished::is_success).count(), 9);
        drop(jobs);
        // At once, and not when somebody comes to it.
        assert_eq!(make.tokens(), "abc");
    });
}

#[test]
fn jobs_are_told_of_a_makes_named_pipe_as_of_one_and_its_tokens_come_back() {
    arena(|| {
        let make = Make::named(b"abc");
        let mut jobs = make.jobs();
        for _ in 0..3 {
            jobs.push(taker(3, "echo $auth"));
            let output = jobs.next().expect("told").result.expect("it ran");
            let text = String::from_utf8_lossy(&output.stdout);
            // Its own token is one of the four.
            let auth = text.strip_prefix("+++\n").expect("three more");
            assert!(auth.starts_with("fifo:/proc/"), "{text}");
        }
        drop(jobs);
        assert_eq!(make.tokens(), "abc");

        let make = Make::with(b"abc");
        let mut jobs = make.jobs();
        jobs.push(taker(3, "echo $auth"));
        let output = jobs.next().expect("told").result.expect("it ran");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("+++\n") && !text.contains("fifo:"), "{text}");
        drop(jobs);
        assert_eq!(make.tokens(), "abc");
    });
}

#[test]
fn a_makes_tokens_come_back_without_the_guardian_that_was_told_of_them() {
    arena(|| {
        let make = Make::with(b"abcdefgh");
        let mut jobs = make.jobs();
        let locks = Locks::new("running");
        for _ in 0..5 {
            jobs.push(puppet("lock-in running await go"));
        }
        assert_eq!(jobs.start(), 5);
        locks.wait_held(5);
        signal(guardian_of(locks.all()[0].wait_held()), libc::SIGKILL);
        // Others start, and the next guardian is told.
        for _ in 0..10 {
            jobs.push(puppet("lock-in running await go"));
        }
        drive_until(&mut jobs, "nine run", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 9
        });
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.by_ref().filter(Finished::is_success).count(), 15);
        drop(jobs);
        assert_eq!(make.tokens(), "abcdefgh");
    });
}

#[test]
fn a_stopped_guardian_keeps_no_token_and_nobody_waiting_for_long() {
    arena(|| {
        let make = Make::with(b"abc");
        let mut jobs = make.jobs();
        jobs.push(puppet("lock a await go"));
        jobs.push(puppet("lock b await go"));
        assert_eq!(jobs.start(), 2);
        let guardian = guardian_of(lock("a").wait_held());
        lock("b").wait_held();
        signal(guardian, libc::SIGSTOP);
        wait_state(guardian, 'T');
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.by_ref().filter(Finished::is_success).count(), 2);
        drop(jobs);
        let free = make.free();
        signal(guardian, libc::SIGCONT);
        assert_eq!(free, 3);
        // Nor are they given back twice, now that it hears what it was asked for.
        assert_eq!(Command::new("true").status().expect("run").code(), Some(0));
        assert_eq!(make.tokens(), "abc");
    });
}

#[test]
fn a_makes_tokens_are_not_given_back_by_a_forked_copy() {
    arena(|| {
        let make = Make::with(b"abc");
        let mut jobs = make.jobs();
        jobs.push(puppet("lock a await go"));
        jobs.push(puppet("lock b await go"));
        assert_eq!(jobs.start(), 2);
        match netrunner_tests::sys::fork().expect("fork") {
            netrunner_tests::sys::Forked::Copy => {
                drop(jobs);
                netrunner_tests::sys::exit_now(0);
            }
            netrunner_tests::sys::Forked::Origin(_) => netrunner_tests::sys::wait_any(true),
        };
        // One of them runs by the process's own; others may be on offer at this moment.
        assert!(make.free() < 3);
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.by_ref().filter(Finished::is_success).count(), 2);
        drop(jobs);
        assert_eq!(make.tokens(), "abc");
    });
}
