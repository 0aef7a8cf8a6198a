//! `CommandExt`, `fd` and `Signal`: each setting reaches the command it was made for, whole or not at
//! all, and neither the client nor the next command of the same shepherd.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt as _;

use netrunner_sync::{Command, CommandExt as _, Resource, Signal, Stdio};
use netrunner_tests::{procs, sys};

use crate::harness::*;

fn text(command: &mut Command) -> String {
    String::from_utf8(command.run().expect("run").stdout).expect("UTF-8")
}

/// What a program finds in one of its own files in `/proc`.
fn own(file: &str) -> Command {
    let mut command = Command::new("cat");
    command.arg(format!("/proc/self/{file}"));
    command
}

fn niceness(command: &mut Command) -> i32 {
    let stat = text(command);
    let fields = stat.rsplit_once(')').expect("a name").1;
    // Field 19 of proc(5), counted from the state, which is field 3.
    fields.split_whitespace().nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
}

#[test]
fn a_setting_is_for_one_command_alone() {
    arena(|| {
        let plain = [text(&mut own("limits")), text(&mut puppet("ids umask exe"))];
        let nice = niceness(&mut own("stat"));
        for _ in 0..3 {
            let mut set = own("limits");
            set.rlimit(Resource::NOFILE, 77, 88).rlimit(Resource::CORE, 0, 0);
            assert_ne!(text(&mut set), plain[0]);
            let mut set = puppet("ids umask exe");
            set.umask(0o123).no_new_privs(true).arg0("another");
            assert_ne!(text(&mut set), plain[1]);
            assert_eq!(niceness(own("stat").nice(7)), nice + 7);
            // The same shepherd, and nothing of it.
            assert_eq!(text(&mut own("limits")), plain[0]);
            assert_eq!(text(&mut puppet("ids umask exe")), plain[1]);
            assert_eq!(niceness(&mut own("stat")), nice);
        }
    });
}

#[test]
fn a_umask_is_that_of_new_files() {
    arena(|| {
        for (mask, mode) in [(0, 0o666), (0o022, 0o644), (0o077, 0o600), (0o777, 0)] {
            puppet("touch made").umask(mask).run().expect("run");
            let made = fs::metadata("made").expect("the file").permissions().mode() & 0o777;
            assert_eq!(made, mode, "umask {mask:o}");
            fs::remove_file("made").expect("remove it");
        }
    });
}

#[test]
fn niceness_adds_up_and_stops_at_its_bounds() {
    arena(|| {
        let nice = niceness(&mut own("stat"));
        assert_eq!(niceness(own("stat").nice(1)), nice + 1);
        assert_eq!(niceness(own("stat").nice(0)), nice);
        assert_eq!(niceness(own("stat").nice(1_000)), 19);
        assert_eq!(niceness(own("stat").nice(i32::MAX)), 19);
        assert_eq!(niceness(own("stat").nice(3).nice(5)), nice + 5, "the last word counts");
        if is_root() {
            assert_eq!(niceness(own("stat").nice(-5)), nice - 5);
            assert_eq!(niceness(own("stat").nice(i32::MIN)), -20);
        }
    });
}

#[test]
fn every_resource_can_be_limited_by_name() {
    arena(|| {
        let names = [
            ("as", "Max address space"),
            ("core", "Max core file size"),
            ("cpu", "Max cpu time"),
            ("data", "Max data size"),
            ("fsize", "Max file size"),
            ("locks", "Max file locks"),
            ("memlock", "Max locked memory"),
            ("msgqueue", "Max msgqueue size"),
            ("nice", "Max nice priority"),
            ("nofile", "Max open files"),
            ("nproc", "Max processes"),
            ("rss", "Max resident set"),
            ("rtprio", "Max realtime priority"),
            ("rttime", "Max realtime timeout"),
            ("sigpending", "Max pending signals"),
            ("stack", "Max stack size"),
        ];
        let limits = |text: &str, line: &str| {
            let line = text.lines().find_map(|found| found.strip_prefix(line)).expect("a line");
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            (words[0].clone(), words[1].clone())
        };
        let before = text(&mut own("limits"));
        for (name, line) in names {
            let resource = Resource::from_name(name).expect("a resource");
            // Nothing can be raised without privilege, and little can be lowered where cat still runs.
            let hard = match limits(&before, line).1.as_str() {
                "unlimited" => 1 << 33,
                number => number.parse::<u64>().expect("a number"),
            };
            let soft = hard / 2;
            let after = text(own("limits").rlimit(resource, soft, hard));
            assert_eq!(limits(&after, line), (soft.to_string(), hard.to_string()), "{name}");
        }
        let twice =
            text(own("limits").rlimit(Resource::NOFILE, 9, 99).rlimit(Resource::NOFILE, 8, 88));
        assert_eq!(limits(&twice, "Max open files"), ("8".to_owned(), "88".to_owned()));
        if limits(&before, "Max cpu time").1 == "unlimited" {
            let none = Resource::UNLIMITED;
            let free = text(own("limits").rlimit(Resource::CPU, none, none));
            assert_eq!(limits(&free, "Max cpu time").0, "unlimited");
        }
    });
}

#[test]
fn a_limit_holds_before_the_program_begins() {
    arena(|| {
        // Too little memory to be executed at all is a failed spawn or a death, never a hang.
        let mut command = puppet("exit 0");
        command.rlimit(Resource::AS, 4096, 4096);
        if let Ok(output) = command.output() {
            assert!(!output.status.success(), "{output:?}");
        }
        assert_eq!(text(&mut puppet("print again")), "again\n");
    });
}

#[test]
fn credentials_change_as_a_whole_or_the_command_does_not_run() {
    arena(|| {
        if !is_root() {
            return;
        }
        // Each with the one step that fails in the middle.
        for spoil in [
            (|command| command.gid(u32::MAX).uid(65534)) as fn(&mut Command) -> &mut Command,
            |command| command.groups(&[1, u32::MAX]).gid(65534).uid(65534),
            |command| command.groups(&[1]).gid(65534).uid(u32::MAX),
            |command| command.uid(u32::MAX),
        ] {
            let mut command = puppet("touch started");
            let error = spoil(&mut command).output().expect_err("refused");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error:?}");
        }
        // Too many groups for the kernel.
        let many = vec![7; 70_000];
        let error = puppet("touch started").groups(&many).output().expect_err("too many");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error:?}");
        assert!(error.to_string().contains("supplementary groups"), "{error}");
        let most: Vec<u32> = (0..60_000).collect();
        let ids = text(puppet("ids").groups(&most));
        assert!(ids.contains("59998 59999"), "{}", ids.len());
        assert!(!std::path::Path::new("started").exists());
    });
}

#[test]
fn groups_are_what_was_asked_for() {
    arena(|| {
        if !is_root() {
            return;
        }
        let groups = |command: &mut Command| {
            let ids = text(command);
            ids.lines()
                .find_map(|line| line.strip_prefix("Groups:"))
                .expect("a line")
                .trim()
                .to_owned()
        };
        let own = groups(&mut puppet("ids"));
        assert_eq!(groups(puppet("ids").gid(7)), own, "a group alone leaves the others");
        assert_eq!(groups(puppet("ids").uid(65534)), "", "a user alone clears them");
        assert_eq!(groups(puppet("ids").uid(65534).gid(7)), "");
        assert_eq!(groups(puppet("ids").uid(0)), "", "root too");
        assert_eq!(groups(puppet("ids").groups(&[5, 6]).uid(65534)), "5 6");
        assert_eq!(groups(puppet("ids").groups(&[5, 6])), "5 6");
        assert_eq!(groups(puppet("ids").groups(&[])), "");
        // The order of the calls is no matter.
        assert_eq!(groups(puppet("ids").uid(65534).gid(7).groups(&[9])), "9");
    });
}

#[test]
fn a_user_without_privilege_takes_none() {
    arena(|| {
        if !is_root() {
            return;
        }
        for set in ["uid 0", "gid 0", "groups", "uid 1"] {
            let out =
                run_client(&format!("become 65534 as {set} attempt output [ touch started ]"));
            assert!(out.starts_with("error 1 [is_permission_denied] failed to set the"), "{out}");
        }
        assert!(!std::path::Path::new("started").exists());
        // To be what one is already is no privilege.
        assert_eq!(run_client("become 65534 as uid 65534 attempt output [ exit 0 ]"), "ok\n");
    });
}

#[test]
fn a_set_uid_program_gains_nothing_where_that_was_ruled_out() {
    arena(|| {
        if !is_root() {
            return;
        }
        fs::copy(PUPPET, "set-uid").expect("copy");
        fs::set_permissions("set-uid", Permissions::from_mode(0o4755)).expect("mode");
        let uids = |ruled_out: bool| {
            let mut command = Command::new("./set-uid");
            let ids = text(command.arg("ids").uid(65534).gid(65534).no_new_privs(ruled_out));
            ids.lines().find(|line| line.starts_with("Uid:")).expect("a line").to_owned()
        };
        assert_eq!(uids(false), "Uid: 65534 0 0 0");
        assert_eq!(uids(true), "Uid: 65534 65534 65534 65534");
        let mut command = Command::new("./set-uid");
        let ids = text(command.arg("ids").uid(65534).no_new_privs(true).no_new_privs(false));
        assert!(ids.contains("NoNewPrivs: 0"), "the last word counts: {ids}");
    });
}

/// A file with this content, open for reading from its beginning.
fn holding(content: &str) -> File {
    let mut file =
        File::options().read(true).write(true).create_new(true).open("held").expect("create");
    fs::remove_file("held").expect("it needs no name");
    file.write_all(content.as_bytes()).and_then(|()| file.rewind()).expect("write");
    file
}

#[test]
fn a_descriptor_can_have_any_number_that_client_or_shepherd_use_themselves() {
    arena(|| {
        fs::create_dir("elsewhere").expect("a directory");
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        let numbers = |pid| procs::descriptors(pid).into_iter().map(|(number, _)| number);
        let ours = numbers(shepherd_of(child.id())).chain(numbers(std::process::id()));
        let used: Vec<RawFd> = ours.filter(|number| *number > 2).collect();
        assert!(used.len() > 6, "{used:?}");
        child.stop().expect("stop");
        // Also where the command has another directory, which travels as one more descriptor.
        for directory in [None, Some("elsewhere")] {
            for number in used.iter().copied().chain(3..20) {
                let mut command = puppet(&format!("read-fd {number} fds"));
                if let Some(directory) = directory {
                    command.current_dir(directory);
                }
                let out = text(command.fd(number, holding("as it should be\n")));
                let (first, fds) = out.split_once('\n').expect("lines");
                assert_eq!(first, "as it should be", "{number}");
                assert_eq!(fds.lines().count(), 4, "{number}: {fds}");
            }
        }
    });
}

#[test]
fn the_highest_number_is_one_below_the_limit() {
    arena(|| {
        // The limit is the guardian's too, which starts with it.
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 300).expect("lower it");
        let out = text(puppet("read-fd 299").fd(299, holding("highest\n")));
        assert_eq!(out, "highest\n");
        let error = puppet("exit 0").fd(300, holding("")).output().expect_err("over it");
        assert!(error.is_invalid_input(), "{error:?}");
        let many = |count: i32| {
            let mut command = puppet("fds");
            for number in 300 - count..300 {
                command.fd(number, File::open("/dev/null").expect("open"));
            }
            command
        };
        assert_eq!(text(&mut many(90)).lines().count(), 93);
        // Of so many some would have to move away, and there is no number left to go to.
        let error = many(200).output().expect_err("no room");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error:?}");
        assert!(error.to_string().contains("pass the descriptors"), "{error}");
    });
}

#[test]
fn the_streams_may_be_passed_once_more_under_other_numbers() {
    arena(|| {
        // A cycle of three, and one file under two numbers.
        let files: Vec<File> = ["a\n", "b\n", "c\n"].map(holding).into();
        let numbers: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
        let mut command = puppet(&format!(
            "read-fd {} read-fd {} read-fd {}",
            numbers[0], numbers[1], numbers[2]
        ));
        for (file, number) in files.into_iter().zip([numbers[1], numbers[2], numbers[0]]) {
            command.fd(number, file);
        }
        assert_eq!(text(&mut command), "c\na\nb\n");

        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut command = puppet("print to-stdout eprint to-stderr");
        command.stdout(Stdio::from(std::os::fd::OwnedFd::from(writer.try_clone().expect("clone"))));
        command.stderr_to_stdout().fd(9, writer);
        command.status().expect("status");
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("both ends are closed again");
        assert_eq!(told, "to-stdout\nto-stderr\n");
    });
}

#[test]
fn every_signal_that_can_be_caught_arrives_as_itself() {
    arena(|| {
        let known = (1..=64).filter_map(|number| Signal::try_from(number).ok());
        let known: Vec<Signal> = known.collect();
        assert!(known.len() >= 60, "{}", known.len());
        for signal in known.iter().filter(|s| ![Signal::KILL, Signal::STOP].contains(s)) {
            let number = signal.as_raw();
            let again: Signal = signal.to_string().parse().expect("its own name");
            assert_eq!(again.as_raw(), number);
            let mut child = puppet(&format!("on {number} {number} lock ready sleep forever"))
                .spawn()
                .expect("spawn");
            lock("ready").wait_held();
            child.signal(*signal).expect("signal");
            assert_eq!(child.wait().expect("wait").code(), Some(number), "{signal}");
        }
    });
}

#[test]
fn a_real_time_signal_can_be_the_stop_signal() {
    arena(|| {
        for name in ["RTMIN", "SIGRTMIN+5", "RTMAX", "rtmax-2", "40"] {
            let signal: Signal = name.parse().expect(name);
            let mut command =
                puppet(&format!("on {} 77 lock ready sleep forever", signal.as_raw()));
            let mut child = command.stop_signal(signal).spawn().expect("spawn");
            lock("ready").wait_held();
            assert_eq!(child.stop().expect("stop").code(), Some(77), "{name}");
        }
    });
}
