//! `Jobs`: what can be set on a command holds for it as a job too, however many run beside it, whatever
//! becomes of their outputs, and in each try.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use netrunner_sync::cgroup::Place;
use netrunner_sync::{
    Cgroup, Command, CommandExt as _, Containment, Excess, Input, Jobs, Leftovers, Output, Reason,
    Resource, Retries, Signal, Stdio,
};

use crate::harness::*;

/// How long one may be silent where it is to be found silent.
const IDLE: Duration = Duration::from_millis(300);

fn outputs(jobs: &mut Jobs) -> Vec<Output> {
    jobs.in_order(true).map(|finished| finished.result.expect("it ran")).collect()
}

/// Settings that a command tells of by itself.
const SETTINGS: [fn(&mut Command) -> &mut Command; 14] = [
    |command| command,
    |command| command.env("FOR_ONE", "only"),
    |command| command.env_remove("PATH"),
    |command| command.env_clear(),
    |command| command.current_dir("/"),
    |command| command.arg0("another"),
    |command| command.umask(0o123),
    |command| command.nice(3),
    |command| command.rlimit(Resource::NOFILE, 77, 88),
    |command| command.no_new_privs(true),
    |command| command.stderr_to_stdout(),
    |command| command.stderr(Stdio::null()),
    |command| command.stdin(Stdio::from(File::open("given").expect("a file"))),
    |command| command.fd(7, File::open("given").expect("a file")),
];

/// One that tells all that the settings change.
fn teller(set: fn(&mut Command) -> &mut Command) -> Command {
    let script = "eprint oh umask ids env cwd exe cat exec cat /proc/self/limits /proc/self/stat";
    let mut command = puppet(script);
    set(&mut command);
    command
}

/// What it told, but for what differs from one process to the next.
fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = text(&output.stdout);
    let (rest, stat) = out.rsplit_once('(').expect("the name in stat");
    let rest = rest.rsplit_once('\n').expect("the line of stat").0;
    // Field 19 of proc(5), counted from the name, which is field 2.
    let nice = stat.rsplit_once(')').expect("a name").1.split(' ').nth(17).expect("a number");
    (format!("{rest} {nice}"), text(&output.stderr))
}

#[test]
fn a_setting_of_a_job_is_that_of_a_command_and_of_no_other_job() {
    arena(|| {
        fs::write("given", "from a file").expect("a file to be read");
        let expected = SETTINGS.map(|set| told(&teller(set).output().expect("output")));
        let differ = (1..13).filter(|n| expected[*n] != expected[0]).count();
        assert_eq!(differ, 12, "each is seen: {expected:?}");
        let mut jobs = Jobs::new(4);
        for _ in 0..3 {
            for set in SETTINGS {
                jobs.push(teller(set));
            }
        }
        for (n, output) in outputs(&mut jobs).iter().enumerate() {
            assert_eq!(told(output), expected[n % SETTINGS.len()], "{n}");
        }
        let mut passed = puppet("read-fd 7");
        passed.fd(7, File::open("given").expect("a file"));
        jobs.push(passed);
        assert_eq!(outputs(&mut jobs)[0].stdout, b"from a file");
    });
}

#[test]
fn one_that_falls_silent_is_told_apart_whatever_becomes_of_its_lines() {
    arena(|| {
        for fate in 0..3 {
            let (sender, lines) = channel();
            let mut jobs = Jobs::new(3);
            match fate {
                0 => &mut jobs,
                1 => jobs.spill(2),
                _ => jobs.on_line(move |line| sender.send(line.line.to_vec()).expect("open")),
            };
            let mut silent =
                puppet("print early lock silent fork [ lock below sleep forever ] sleep forever");
            silent.idle_timeout(IDLE);
            jobs.push(silent);
            // Others that write, or may be silent, are none of its business.
            let mut beside = puppet("print x await go print x");
            beside.idle_timeout(Duration::from_secs(3600));
            jobs.push(beside);
            let first = jobs.next().expect("told");
            assert_eq!(first.id.index(), 0);
            let output = first.result.expect("it ran");
            assert_eq!(output.report.reason, Reason::IdleTimeout);
            assert_eq!(output.report.io.stdout, 6);
            match fate {
                0 => assert_eq!(output.stdout, b"early\n"),
                1 => assert_eq!(output.stdout_file.expect("a file").len(), 6),
                _ => assert!(lines.try_iter().any(|line| line == b"early\n")),
            }
            lock("silent").assert_free();
            lock("below").assert_free();
            fs::write("go", "").expect("let the other end");
            assert!(jobs.next().expect("told").is_success());
            fs::remove_file("go").expect("for the next round");
        }
    });
}

#[test]
fn so_many_bytes_are_kept_and_no_more_whatever_becomes_of_them() {
    arena(|| {
        for fate in 0..3 {
            let (sender, lines) = channel();
            let mut jobs = Jobs::new(3);
            match fate {
                0 => &mut jobs,
                1 => jobs.spill(1_000),
                _ => jobs.on_line(move |line| sender.send(line.line.len()).expect("open")),
            };
            let limited = |script: &str, excess| {
                let mut command = puppet(script);
                command.max_output(100_000).excess(excess);
                command
            };
            jobs.push(limited("spew 100000", Excess::Stop));
            jobs.push(limited("spew 100001 sleep forever", Excess::Stop));
            jobs.push(limited("spew 300000 exit 3", Excess::Discard));
            let all = outputs(&mut jobs);
            let reasons: Vec<_> = all.iter().map(|output| output.report.reason).collect();
            assert_eq!(reasons, [Reason::Exited, Reason::OutputLimit, Reason::Exited]);
            assert_eq!(all[2].status.code(), Some(3));
            assert_eq!(all[2].report.io.discarded, 200_000);
            match fate {
                0 => assert!(all.iter().all(|output| output.stdout.len() == 100_000)),
                1 => {
                    let files = all.iter().map(|output| output.stdout_file.as_ref());
                    assert!(files.flatten().filter(|file| file.len() == 100_000).count() == 3);
                }
                _ => assert_eq!(lines.try_iter().sum::<usize>(), 300_000),
            }
        }
    });
}

#[test]
fn of_some_jobs_nothing_is_kept() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        for (script, excess) in [
            ("exit 0", Excess::Stop),
            ("spew 1 sleep forever", Excess::Stop),
            ("spew 300000 exit 3", Excess::Discard),
        ] {
            let mut command = puppet(script);
            command.max_output(0).excess(excess);
            jobs.push(command);
        }
        let all = outputs(&mut jobs);
        assert!(all.iter().all(|output| output.stdout.is_empty()));
        let reasons: Vec<_> = all.iter().map(|output| output.report.reason).collect();
        assert_eq!(reasons, [Reason::Exited, Reason::OutputLimit, Reason::Exited]);
        assert_eq!((all[2].status.code(), all[2].report.io.discarded), (Some(3), 300_000));
    });
}

#[test]
fn each_job_is_stopped_by_its_own_signal_and_in_its_own_time() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        let mut polite = puppet("on INT 42 lock a sleep forever");
        polite.stop_signal(Signal::INT).grace(Duration::from_secs(3600));
        jobs.push(polite);
        let mut deaf = puppet("note USR1 notes ignore TERM lock b sleep forever");
        deaf.stop_signal(Signal::USR1);
        jobs.push(deaf);
        jobs.push(puppet("lock c sleep forever"));
        assert_eq!(jobs.start(), 3);
        for name in ["a", "b", "c"] {
            lock(name).wait_held();
        }
        jobs.handle().stop_all();
        let all = outputs(&mut jobs);
        let ends = all.iter().map(|output| {
            use std::os::unix::process::ExitStatusExt as _;
            (output.report.reason, output.status.code(), output.status.signal())
        });
        assert_eq!(
            ends.collect::<Vec<_>>(),
            [
                (Reason::Stopped, Some(42), None),
                (Reason::Stopped, None, Some(libc::SIGKILL)),
                (Reason::Stopped, None, Some(libc::SIGTERM)),
            ]
        );
        assert_eq!(fs::read_to_string("notes").expect("notes"), format!("{}\n", libc::SIGUSR1));
    });
}

#[test]
fn what_a_job_leaves_is_stopped_waited_for_or_kept() {
    arena(|| {
        let leaves = |name: &str, leftovers| {
            let script = format!("daemon [ setsid lock {name} await go ] await {name} exit 5");
            let mut command = puppet(&script);
            command.leftovers(leftovers);
            command
        };
        let mut jobs = Jobs::new(3);
        jobs.push(leaves("stopped", Leftovers::Stop));
        jobs.push(leaves("waited-for", Leftovers::Wait));
        jobs.push(leaves("kept", Leftovers::Keep));
        for name in ["stopped", "kept"] {
            let finished = jobs.next().expect("told");
            let output = finished.result.expect("it ran");
            assert_eq!(
                (output.status.code(), output.report.leftovers.len()),
                (Some(5), 1),
                "{name}"
            );
            assert_ne!(finished.id.index(), 1, "it was not waited for");
        }
        lock("stopped").assert_free();
        let kept = lock("kept").wait_held();
        lock("waited-for").wait_held();
        others_come_and_go(&mut jobs);
        fs::write("go", "").expect("let them end");
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!((output.status.code(), output.report.leftovers.len()), (Some(5), 1));
        lock("waited-for").assert_free();
        lock("kept").wait_free(GRACE_AND_2S);
        wait_gone(kept, GRACE_AND_2S);
    });
}

/// What is kept stays, whatever jobs run and are dropped beside it.
#[track_caller]
fn others_come_and_go(jobs: &mut Jobs) {
    let mut others = Jobs::new(2);
    others.push(puppet("lock other sleep forever"));
    others.start();
    drop(others);
    jobs.push(puppet("exit 0"));
    assert!(jobs.next().expect("told").is_success());
    lock("kept").wait_held();
}

#[test]
fn jobs_in_groups_of_their_own_leave_no_directory_and_each_try_has_a_new_one() {
    arena(|| {
        let place = match Place::detect() {
            Ok(place) => place,
            Err(reason) => return skip(&reason.to_string()),
        };
        let locked = File::open(&place.group).expect("the delegated group");
        netrunner_tests::sys::lock_directory(&locked, false).expect("lock it");
        let name = format!("nr_tests_{}", std::process::id());
        let folder = place.group.join(&name);
        let mut jobs = Jobs::new(5);
        jobs.retries(Retries::new(2).pause(Duration::ZERO));
        for n in 0..10 {
            let mut command = Command::new("sh");
            let script =
                "grep ^0:: /proc/self/cgroup; echo x >> tries-$0; [ $(wc -l < tries-$0) = 3 ]";
            command.args(["-c", script]).arg(n.to_string());
            command.cgroup(Cgroup::at(format!("{name}/{n}")).expect("a good path"));
            jobs.push(command);
        }
        for (n, output) in outputs(&mut jobs).iter().enumerate() {
            assert!(output.status.success(), "{output:?}");
            assert_eq!(output.report.containment, Containment::Cgroup);
            let inside = String::from_utf8_lossy(&output.stdout);
            assert!(inside.ends_with(&format!("{name}/{n}\n")), "{inside}");
        }
        assert!(!folder.exists());
        netrunner_sync::Shepherds::refresh();
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn a_reader_feeds_its_job_beside_others_and_is_read_once() {
    arena(|| {
        let mut jobs = Jobs::new(4);
        jobs.retries(Retries::new(3).pause(Duration::ZERO));
        let mut writers = Vec::new();
        for n in 0..4_u8 {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            writers.push((n, writer));
            let mut command = puppet("cat exit 9");
            command.input(Input::reader(reader));
            jobs.push(command);
        }
        let writing = std::thread::spawn(move || {
            for _ in 0..50 {
                for (n, writer) in &mut writers {
                    writer.write_all(&vec![b'a' + *n; 7_000]).expect("write");
                }
            }
        });
        let all = outputs(&mut jobs);
        writing.join().expect("join");
        for (n, output) in all.iter().enumerate() {
            // It can't be had again, so that no other try is made, and the only one is told.
            assert_eq!(output.status.code(), Some(9));
            assert!(output.stdout == vec![b'a' + n as u8; 350_000], "{n}");
        }
    });
}

#[test]
fn a_limit_that_cannot_be_had_is_the_result_of_its_job_alone() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        jobs.pass_through(true);
        // Nobody reads its output, so nobody knows whether it is silent.
        let mut unread = puppet("touch ran");
        unread.idle_timeout(IDLE);
        jobs.push(unread);
        let mut bad = puppet("touch ran");
        bad.fd(2, File::open("/dev/null").expect("a file"));
        jobs.push(bad);
        jobs.push(puppet("exit 0"));
        let results: Vec<_> = jobs.in_order(true).map(|finished| finished.result).collect();
        for refused in &results[..2] {
            assert!(refused.as_ref().expect_err("refused").is_invalid_input(), "{refused:?}");
        }
        assert!(results[2].as_ref().expect("it ran").status.success());
        assert!(!fs::exists("ran").expect("look"));
    });
}
