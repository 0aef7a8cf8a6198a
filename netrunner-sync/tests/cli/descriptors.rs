//! What is open in the command: the three streams, and what was passed on purpose.

use crate::harness::{Folder, NETRUNNER, after, end};

/// The numbers that are open in the command; the 3 of the listing itself comes with them, or
/// whatever is the lowest that is free.
fn open_in(before: &str, options: &[&str]) -> Vec<u32> {
    let mut words = options.to_vec();
    words.extend(["--", "ls", "-1", "/proc/self/fd"]);
    let ended = end(after(before, &words)).expect(0);
    let mut numbers: Vec<u32> = ended.stdout.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

const LISTING: u32 = 3;

#[test]
fn descriptors_above_2_are_closed() {
    assert_eq!(open_in("exec 5</dev/null 9>/dev/null", &[]), [0, 1, 2, LISTING]);
}

#[test]
fn named_descriptors_keep_their_numbers() {
    let open =
        open_in("exec 5</dev/null 7</dev/null 9</dev/null", &["--fd", "9", "--fd=5", "--fd=9"]);
    assert_eq!(open, [0, 1, 2, LISTING, 5, 9]);
    // Also those that our own files would have had.
    let folder = Folder::new();
    let report = folder.path("report");
    let options = ["--fd", "3", "--fd", "4", "--report-file", &report, "--stdin", "/dev/null"];
    assert_eq!(open_in("exec 3</dev/null 4</dev/null", &options), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn all_descriptors_are_inherited_when_asked_for() {
    let open = open_in("exec 5</dev/null 8</dev/null", &["--inherit-fds", "--fd", "8"]);
    // And whatever the tests themselves were started with.
    assert!([0, 1, 2, 5, 8].iter().all(|number| open.contains(number)), "{open:?}");
}

#[test]
fn a_passed_descriptor_is_the_same_open_file() {
    let folder = Folder::new();
    let file = folder.path("file");
    let words = ["--fd", "6", "--", "sh", "-c", "echo inside >&6"];
    let before = format!("exec 6>{file}; echo before >&6");
    end(after(&before, &words)).expect(0);
    assert_eq!(folder.read("file"), "before\ninside\n");
}

#[test]
fn netrunner_keeps_no_copy_of_a_passed_descriptor() {
    // The command closes its end, waits until the reader has seen the end of file, and says so.
    let folder = Folder::new();
    let (fifo, seen) = (folder.path("fifo"), folder.path("seen"));
    let text = format!("exec 6>&-; until [ -e {seen} ]; do sleep 0.01; done; echo seen");
    let before = format!("mkfifo {fifo}; (cat {fifo}; touch {seen}) > /dev/null & exec 6>{fifo}");
    let ended = end(after(&before, &["--fd", "6", "--timeout", "20s", "--", "sh", "-c", &text]));
    assert_eq!(ended.expect(0).stdout, "seen\n");
}

/// Makes a pipe with the ends 8 and 9 and announces it, as make does.
fn with_jobserver(folder: &Folder, flags: &str) -> String {
    let fifo = folder.path("jobserver");
    format!("mkfifo {fifo}; exec 8<>{fifo} 9>{fifo}; export {flags}")
}

#[test]
fn a_jobserver_is_passed_on() {
    for flags in [
        "MAKEFLAGS=' -j2 --jobserver-auth=8,9'",
        "MAKEFLAGS=' -j --jobserver-fds=3,4 --jobserver-auth=8,9 -- A=b'",
        "CARGO_MAKEFLAGS='-j --jobserver-fds=8,9 --jobserver-auth=8,9'",
    ] {
        let folder = Folder::new();
        assert_eq!(
            open_in(&with_jobserver(&folder, flags), &[]),
            [0, 1, 2, LISTING, 8, 9],
            "{flags}"
        );
    }
    let folder = Folder::new();
    let given = ["--fd=8", "--env", "MAKEFLAGS= -j2 --jobserver-auth=8,9"];
    assert_eq!(open_in(&with_jobserver(&folder, "A=1"), &given), [0, 1, 2, LISTING, 8, 9]);
}

#[test]
fn what_only_looks_like_a_jobserver_is_not_passed_on() {
    // Closed, one end closed, no pipe, the streams, not for the command.
    for (before, options) in [
        ("export MAKEFLAGS=--jobserver-auth=8,9", &[][..]),
        ("export MAKEFLAGS=--jobserver-auth=8,9; exec 8</dev/null 9>/dev/null", &[]),
        ("export MAKEFLAGS=--jobserver-auth=-2,-2", &[]),
        ("export MAKEFLAGS=--jobserver-auth=99999999999,9", &[]),
    ] {
        assert_eq!(open_in(before, options), [0, 1, 2, LISTING], "{before}");
    }
    let folder = Folder::new();
    let half = with_jobserver(&folder, "MAKEFLAGS=--jobserver-auth=8,9") + "; exec 9>&-";
    assert_eq!(open_in(&half, &[]), [0, 1, 2, LISTING]);

    let folder = Folder::new();
    let whole = with_jobserver(&folder, "MAKEFLAGS=--jobserver-auth=8,9");
    assert_eq!(open_in(&whole, &["--env", "MAKEFLAGS="]), [0, 1, 2, LISTING]);
    let path = format!("--env=PATH={}", std::env::var("PATH").unwrap());
    let folder = Folder::new();
    let whole = with_jobserver(&folder, "MAKEFLAGS=--jobserver-auth=8,9");
    assert_eq!(open_in(&whole, &["--env-clear", &path]), [0, 1, 2, LISTING]);
}

#[test]
fn a_make_below_shares_the_jobs_of_the_make_above() {
    if std::process::Command::new("make").arg("--version").output().is_err() {
        eprintln!("skipped: there is no make");
        return;
    }
    let folder = Folder::new();
    folder.write("Makefile", &format!("all:\n\t+@{NETRUNNER} run -- $(MAKE) -f below\n"));
    folder.write("below", "all: a b\na b:\n\t@echo $@\n");
    let mut make = std::process::Command::new("make");
    make.args(["-j2", "--no-print-directory", "-C", &folder.path("")]).env_remove("MAKEFLAGS");
    let ended = end(make).expect(0);
    // Without the pipe, make warns that the jobserver is unavailable.
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
}

#[test]
fn closed_streams_stay_harmless() {
    for before in ["exec <&-", "exec 2>&-", "exec <&- 2>&-"] {
        let ended =
            end(after(before, &["--report", "--", "sh", "-c", "echo out; exit 3"])).expect(3);
        assert_eq!(ended.stdout, "out\n", "{before}");
    }
    end(after("exec >&-", &["--report", "--", "sh", "-c", "exit 3"])).expect(3);
    end(after("exec <&- >&- 2>&-", &["--report", "--", "sh", "-c", "exit 3"])).expect(3);
}
