//! What is refused before anything starts: 125, one message, no process.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::harness::{Folder, after, end, netrunner};

#[test]
fn bad_usage_is_125_and_says_why() {
    for (words, says) in [
        (&[][..], "subcommand"),
        (&["walk"], "unrecognized subcommand 'walk'"),
        (&["--no-such"], "--no-such"),
        (&["run"], "<CMD>"),
        (&["run", "--"], "<CMD>"),
        (&["run", "true"], "-- CMD"),
        (&["run", "--no-such", "--", "true"], "--no-such"),
        (&["run", "--report", "json", "--", "true"], "json"),
        (&["run", "--timeout"], "--timeout"),
    ] {
        end(netrunner(words)).expect(125).says(&[says]);
    }
}

#[test]
fn bad_values_are_125_and_nothing_runs() {
    let folder = Folder::new();
    for (option, value) in [
        ("--timeout", "soon"),
        ("--timeout", ""),
        ("--timeout", "-1"),
        ("--timeout", "1.2.3s"),
        ("--timeout", "99999999999999999999999s"),
        ("--grace", "5x"),
        ("--signal", "NOPE"),
        ("--signal", "0"),
        ("--signal", "65"),
        ("--signal", "32"),
        ("--leftovers", "some"),
        ("--leftovers", ""),
        ("--env", "NAME"),
        ("--env", "=value"),
        ("--umask", "9"),
        ("--umask", "1000"),
        ("--nice", "much"),
        ("--rlimit", "NOFILE"),
        ("--rlimit", "NOPE=1"),
        ("--rlimit", "NOFILE=2:1"),
        ("--rlimit", "NOFILE=-1"),
        ("--fd", "2"),
        ("--fd", "-1"),
        ("--fd", "x"),
        ("--report", "xml"),
    ] {
        let option_and_value = format!("{option}={value}");
        let touch = ["run", &option_and_value, "--", "touch", &folder.path("ran")];
        end(netrunner(touch)).expect(125).says(&[option]);
        assert!(!folder.has("ran"), "{option_and_value}");
    }
}

#[test]
fn what_is_not_utf8_is_refused_where_it_means_nothing() {
    let bad = OsString::from_vec(b"--timeout=\xff".to_vec());
    let words = ["run".into(), bad, "--".into(), "true".into()];
    end(netrunner(words)).expect(125).says(&[]);
}

#[test]
fn paths_that_cannot_be_are_125_and_nothing_runs() {
    let folder = Folder::new();
    let missing = folder.path("missing/file");
    let file = folder.write("file", "");
    for (option, value) in
        [("--stdin", &missing), ("--report-file", &missing), ("--cwd", &missing), ("--cwd", &file)]
    {
        let touch = ["run", option, value, "--", "touch", &folder.path("ran")];
        end(netrunner(touch)).expect(125).says(&[value]);
        assert!(!folder.has("ran"), "{option}");
    }
}

#[test]
fn a_descriptor_that_is_not_open_is_125() {
    let close = after("exec 7<&-", &["--fd", "7", "--", "true"]);
    end(close).expect(125).says(&["descriptor 7", "not open"]);
}

#[test]
fn a_limit_that_cannot_be_had_is_not_taken_for_a_program_that_cannot_be_executed() {
    // Above fs.nr_open, which not even root may go.
    end(netrunner(["run", "--rlimit", "NOFILE=2G", "--", "true"])).expect(125).says(&["limit"]);
}

#[test]
fn version_and_help_go_to_stdout() {
    let version = end(netrunner(["--version"])).expect(0);
    assert_eq!(version.stdout, concat!("netrunner ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(end(netrunner(["--help"])).expect(0).stdout.contains("Exit codes:"));

    let help = end(netrunner(["run", "--help"])).expect(0);
    for word in ["Examples:", "Units:", "Signals:", "Exit codes:", "124", "125", "126", "127"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    for option in [
        "--timeout",
        "--grace",
        "--signal",
        "--leftovers",
        "--cwd",
        "--env",
        "--env-clear",
        "--stdin",
        "--merge-stderr",
        "--umask",
        "--nice",
        "--rlimit",
        "--fd",
        "--inherit-fds",
        "--report",
        "--report-file",
    ] {
        assert!(help.stdout.contains(option), "{option}");
    }
    assert_eq!(help.stderr, "");
}
