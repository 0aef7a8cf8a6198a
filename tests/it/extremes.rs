//! Much, strange, and nowhere to put it: the largest arguments, bytes that are no text, full disks,
//! and a thousand failures in a row (P6, P7, P9).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use netrunner_sync::{Command, CommandExt as _, Leftovers, Resource};
use netrunner_tests::{procs, sys};

use crate::harness::*;

const MIB: usize = 1 << 20;

#[test]
fn four_mebibytes_of_arguments_and_environment_come_through() {
    arena(|| {
        // A quarter of the stack's limit is the kernel's bound, up to 6 MiB.
        let stack = 64 << 20;
        let word = |letter: char, number: usize| {
            format!("{number:04}{}", letter.to_string().repeat(99_996))
        };
        let arguments: Vec<String> = (0..21).map(|number| word('a', number)).collect();
        let variables: Vec<(String, String)> =
            (0..21).map(|number| (format!("V{number:02}"), word('e', number))).collect();
        let mut wanted = String::new();
        variables.iter().for_each(|(key, value)| wanted.push_str(&format!("{key}={value}\n")));
        arguments.iter().for_each(|argument| wanted.push_str(&format!("{argument}\n")));
        assert!(wanted.len() > 4 * MIB);
        for _ in 0..2 {
            let mut command = puppet("env args");
            command.args(&arguments).env_clear().envs(variables.iter().map(|(k, v)| (k, v)));
            let output = command.rlimit(Resource::STACK, stack, stack).output().expect("output");
            assert!(output.stdout == wanted.as_bytes(), "{} bytes", output.stdout.len());
            // And the shepherd serves others.
            assert_eq!(puppet("print x").output().expect("output").stdout, b"x\n");
        }
    });
}

#[test]
fn what_the_kernel_never_takes_is_told_before_anything_starts() {
    arena(|| {
        let too_long = "x".repeat(128 << 10);
        let too_much = "x".repeat(100_000);
        let spoil: [&dyn for<'a> Fn(&'a mut Command) -> &'a mut Command; 5] = [
            &|command| command.arg(&too_long),
            &|command| command.env("LONG", &too_long),
            &|command| command.arg0(&too_long),
            &|command| command.args((0..64).map(|_| &too_much)),
            &|command| command.envs((0..64).map(|n| (format!("V{n}"), &too_much))),
        ];
        for spoil in spoil {
            let mut command = puppet("touch started");
            spoil(&mut command);
            let error = command.output().expect_err("too much");
            assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{error:?}");
            assert!(error.is_exec(), "{error:?}");
            assert!(command.spawn().is_err() && command.status().is_err());
            // Not even a guardian.
            assert!(others().is_empty(), "{:?}", others());
        }
        // The longest string that there can be.
        let longest = "x".repeat((128 << 10) - 1);
        let output = puppet("args").arg(&longest).output().expect("output");
        assert_eq!(output.stdout.len(), longest.len() + 1);
        assert!(!Path::new("started").exists());
    });
}

#[test]
fn bytes_that_are_no_text_come_through_everywhere() {
    arena(|| {
        let strange = |prefix: &str| {
            OsString::from_vec([prefix.as_bytes(), b"\xff\xfe\x80 \n\xc3\x28".as_slice()].concat())
        };
        let program = strange("program");
        fs::copy(PUPPET, &program).expect("copy");
        let directory = strange("directory");
        fs::create_dir(&directory).expect("a directory");
        let here = std::env::current_dir().expect("here");
        let path = here.join(&program);

        let mut command = Command::new(&path);
        command.args(["cwd", "exe", "cat", "env", "args"]).arg(strange("argument"));
        command.env_clear().env(strange("KEY"), strange("value"));
        command.current_dir(&directory).arg0(strange("name")).input(strange("input").into_vec());
        assert_eq!(command.get_program(), path);
        assert!(command.get_envs().eq([(&*strange("KEY"), Some(&*strange("value")))]));
        let shown = format!("{command:?}");
        let output = command.run().expect("run");
        let directory = here.join(&directory);
        let bytes = |text: &'static str| strange(text).into_vec();
        let wanted = [
            [directory.as_os_str().as_bytes(), b"\n"].concat(),
            [bytes("name"), b"\n".to_vec()].concat(),
            bytes("input"),
            [bytes("KEY"), b"=".to_vec(), bytes("value"), b"\n".to_vec()].concat(),
            [bytes("argument"), b"\n".to_vec()].concat(),
        ];
        let wanted = wanted.concat();
        assert_eq!(output.stdout, wanted);
        assert!(shown.contains("\\xFF\\xFE\\x80 \\n"), "{shown}");

        // Found in a directory of a `PATH` that is no text, and missed there by a readable name.
        let mut tool = Command::new(&program);
        tool.args(["print", "found"]).env("PATH", &here);
        assert_eq!(tool.run().expect("run").stdout, b"found\n");
        let missing = Command::new(strange("missing")).output().expect_err("missing");
        assert!(missing.is_not_found() && missing.is_exec(), "{missing:?}");
        assert!(missing.to_string().contains("`missing\u{FFFD}"), "{missing}");
        let mut lost = Command::new("true");
        let lost = lost.current_dir(strange("no-such")).output().expect_err("no directory");
        assert!(lost.to_string().contains("`no-such\u{FFFD}"), "{lost}");
    });
}

#[test]
fn a_leftovers_name_may_be_no_text() {
    arena(|| {
        let name = OsStr::from_bytes(b"left\xff\xfe");
        fs::copy(PUPPET, name).expect("copy");
        for leftovers in [Leftovers::Stop, Leftovers::Keep] {
            let mut command = Command::new(Path::new(".").join(name));
            command.args(["daemon", "[", "lock", "below", "sleep", "forever", "]"]);
            command.args(["await", "below"]).grace(GRACE).leftovers(leftovers);
            let output = command.output().expect("output");
            assert_eq!(output.report.leftovers.len(), 1, "{:?}", output.report);
            assert_eq!(output.report.leftovers[0].name, name);
            if leftovers == Leftovers::Keep {
                signal(output.report.leftovers[0].pid, libc::SIGKILL);
            }
            lock("below").wait_free(GRACE_AND_2S);
            fs::remove_file("below").expect("remove the lock file");
        }
    });
}

#[test]
fn a_full_disk_under_an_output_is_the_childs_failure_and_leaves_nothing() {
    arena(|| {
        if lacks_programs(&["head"]) {
            return;
        }
        puppet("exit 0").status().expect("warm up");
        let before = fd_count();
        let full = || File::options().write(true).open("/dev/full").expect("open");
        for _ in 0..3 {
            let mut command = Command::new("head");
            let output = command.args(["-c", "10", "/dev/zero"]).stdout(full()).output();
            let output = output.expect("output");
            assert_eq!(output.status.code(), Some(1));
            assert!(
                String::from_utf8_lossy(&output.stderr).contains("No space left"),
                "{output:?}"
            );
            // One descriptor for both, and a file that may not grow.
            let mut command = Command::new("sh");
            command.args(["-c", "echo x || exit 9"]).stdout(full()).stderr_to_stdout();
            assert_eq!(command.status().expect("status").code(), Some(9));
            let mut command = puppet("spew 1000000");
            command.rlimit(Resource::FSIZE, 10_000, 10_000);
            command.stdout(File::create("limited").expect("create"));
            let status = command.status().expect("status");
            assert_eq!(status.signal(), Some(libc::SIGXFSZ), "{status}");
            assert_eq!(fs::metadata("limited").expect("the file").len(), 10_000);
        }
        wait_fd_count(before);
        assert_eq!(puppet("print again").output().expect("output").stdout, b"again\n");
    });
}

#[test]
fn a_file_system_that_fills_up_keeps_what_fitted() {
    arena(|| {
        if lacks_programs(&["head"]) {
            return;
        }
        fs::create_dir("small").expect("a directory");
        // Mounted for the thread that asks, and for all that it starts.
        if let Err(error) = sys::mount_small("small") {
            return skip(&format!("cannot mount a file system: {error}"));
        }
        let file = File::create("small/file").expect("create");
        let output = Command::new("sh")
            .args(["-c", "head -c 1000000 /dev/zero; echo $? >&2"])
            .stdout(file)
            .output()
            .expect("output");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("No space left") && told.ends_with("1\n"), "{told}");
        let kept = fs::metadata("small/file").expect("the file").len();
        assert!((1..=64 << 10).contains(&kept), "{kept}");
        // The shepherds need no disk.
        assert_eq!(puppet("print again").output().expect("output").stdout, b"again\n");
    });
}

/// What a process has resident of its own, in KiB: without pages of files, which are mapped as code first runs.
fn resident(pid: u32) -> u64 {
    let line = procs::status_lines(pid, &["RssAnon"]).pop().expect("a line");
    line.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_thousand_failures_take_no_memory_and_no_descriptor() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        let (shepherd, guardian) = (shepherd_of(child.id()), guardian_of(child.id()));
        child.stop().expect("stop");
        let fail = |times: usize| {
            for _ in 0..times {
                Command::new("/no/such/program").output().expect_err("no program");
                Command::new("no-such").arg("x".repeat(100_000)).status().expect_err("no program");
                puppet("exit 0").current_dir("/no/such").spawn().expect_err("no directory");
                puppet("exit 0").uid(u32::MAX).output().expect_err("no user");
                puppet("exit 0").arg("\0").output().expect_err("no string");
            }
        };
        fail(50);
        let pids = [std::process::id(), guardian, shepherd];
        let before = pids.map(|pid| (resident(pid), procs::descriptors(pid).len()));
        fail(500);
        let after = pids.map(|pid| (resident(pid), procs::descriptors(pid).len()));
        for (before, after) in before.into_iter().zip(after) {
            assert!(after.0 < before.0 + 512, "{} KiB, then {} KiB", before.0, after.0);
            assert_eq!(after.1, before.1, "descriptors");
        }
        assert_eq!(puppet("print again").output().expect("output").stdout, b"again\n");
    });
}
