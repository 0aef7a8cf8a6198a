//! What the command finds: environment, directory, streams, mask, niceness, limits.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use crate::harness::{Folder, Live, end, netrunner, script};

#[test]
fn arguments_are_passed_as_they_are() {
    let words =
        ["run", "--", "printf", "[%s]", "", " ", "a b", "--", "--timeout", "$HOME", "*", "\\"];
    let ended = end(netrunner(words)).expect(0);
    assert_eq!(ended.stdout, "[][ ][a b][--][--timeout][$HOME][*][\\]");

    let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
    let mut command = script(&[], "printf %s \"$0\" | od -An -tx1");
    command.arg(bytes);
    assert_eq!(end(command).expect(0).stdout, " ff fe\n");
}

#[test]
fn the_environment_is_inherited_extended_or_cleared() {
    let show = "echo \"$A,$B,$C\"";
    let with = |options: &[&str]| {
        let mut command = script(options, show);
        command.env("A", "inherited").env("B", "inherited");
        end(command).expect(0).stdout
    };
    assert_eq!(with(&[]), "inherited,inherited,\n");
    assert_eq!(with(&["--env", "B=1", "--env", "C=x=y"]), "inherited,1,x=y\n");
    assert_eq!(with(&["--env", "B=1", "--env", "B="]), "inherited,,\n");
    let path = format!("--env=PATH={}", std::env::var("PATH").unwrap());
    assert_eq!(with(&["--env", "B=1", "--env-clear", &path]), ",1,\n");
}

#[test]
fn a_cleared_environment_is_empty() {
    let words = ["run", "--env-clear", "--env", "A=1", "--", "/usr/bin/env"];
    assert_eq!(end(netrunner(words)).expect(0).stdout, "A=1\n");
}

#[test]
fn the_program_is_searched_for_in_the_commands_own_path() {
    let folder = Folder::new();
    let program = folder.write("own-program", "#!/bin/sh\necho own\n");
    std::process::Command::new("chmod").args(["+x", &program]).status().unwrap();
    let path = format!("PATH={}", folder.path(""));
    let ended = end(netrunner(["run", "--env", &path, "--", "own-program"])).expect(0);
    assert_eq!(ended.stdout, "own\n");
}

#[test]
fn the_directory_is_changed() {
    let ended = end(netrunner(["run", "--cwd", "/usr", "--", "pwd"])).expect(0);
    assert_eq!(ended.stdout, "/usr\n");
}

#[test]
fn files_of_options_are_those_of_netrunners_directory() {
    let folder = Folder::new();
    folder.write("input", "from a file\n");
    let options = ["--stdin", "input", "--cwd", "/", "--report-file", "report"];
    let mut command = script(&options, "cat; pwd");
    command.current_dir(folder.path(""));
    assert_eq!(end(command).expect(0).stdout, "from a file\n/\n");
    assert!(folder.has("report"));
}

#[test]
fn streams_pass_bytes_through() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    std::fs::write(folder.path("bytes"), &bytes).unwrap();
    let mut command = netrunner(["run", "--", "cat"]);
    let input = std::fs::File::open(folder.path("bytes")).unwrap();
    let output = std::fs::File::create(folder.path("copy")).unwrap();
    let status = command.stdin(input).stdout(output).status().unwrap();
    assert!(status.success());
    assert!(std::fs::read(folder.path("copy")).unwrap() == bytes);
}

#[test]
fn stdin_reaches_its_end() {
    let mut command = netrunner(["run", "--", "cat"]);
    command.stdin(Stdio::piped());
    let mut live = Live::start_with_stdin(command);
    live.write("to the end\n");
    live.expect_line("to the end");
    live.close_stdin();
    live.end().expect(0);
}

#[test]
fn errors_are_merged_into_the_output_in_order() {
    let text = "echo 1; echo 2 >&2; echo 3; echo 4 >&2";
    let ended = end(script(&["--merge-stderr"], text)).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("1\n2\n3\n4\n", ""));
}

#[test]
fn the_mask_is_set() {
    assert_eq!(end(script(&["--umask", "027"], "umask")).expect(0).stdout, "0027\n");
}

#[test]
fn niceness_is_added() {
    let plain: i32 = end(netrunner(["run", "--", "nice"])).expect(0).stdout.trim().parse().unwrap();
    let nicer = end(netrunner(["run", "--nice", "3", "--", "nice"])).expect(0);
    assert_eq!(nicer.stdout.trim().parse(), Ok((plain + 3).min(19)));
}

#[test]
fn resources_are_limited() {
    let show = "ulimit -S -n; ulimit -H -n; ulimit -S -t";
    let options = ["--rlimit", "NOFILE=64:128", "--rlimit", "cpu=1K"];
    assert_eq!(end(script(&options, show)).expect(0).stdout, "64\n128\n1024\n");
    let options = ["--rlimit", "NOFILE=64"];
    assert_eq!(end(script(&options, "ulimit -H -n")).expect(0).stdout, "64\n");
}
