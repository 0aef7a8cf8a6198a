//! `--idle-timeout` and `--max-output`: what goes through pipes comes out untouched, and no more of
//! it than was allowed.

use std::io::Read;
use std::process::Stdio;

use crate::harness::{Folder, Live, end, netrunner, script, state, until};

#[test]
fn silence_is_124_and_what_was_written_is_passed_on() {
    let options = ["--idle-timeout", "300ms", "--report=json"];
    let ended = end(script(&options, "echo out; echo err >&2; sleep 1000")).expect(124);
    assert_eq!(ended.stdout, "out\n");
    assert!(ended.stderr.starts_with("err\n"), "{ended:?}");
    assert!(ended.stderr.contains("\"reason\":\"idle_timeout\""), "{ended:?}");
}

#[test]
fn a_command_that_writes_now_and_then_is_not_silent() {
    let text = "for i in 1 2 3 4 5 6; do sleep 0.7; echo $i >&$((1 + i % 2)); done";
    let ended = end(script(&["--idle-timeout", "3"], text)).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("2\n4\n6\n", "1\n3\n5\n"));
}

#[test]
fn exactly_so_much_is_passed_on() {
    let ended = end(script(&["--max-output", "10"], "printf 0123456789; exit 3")).expect(3);
    assert_eq!(ended.stdout, "0123456789");
    let ended = end(script(&["--max-output", "9"], "printf 0123456789; sleep 1000")).expect(124);
    assert_eq!(ended.stdout, "012345678");
    // Also where it has ended before it could be stopped.
    let ended = end(script(&["--max-output", "9"], "printf 0123456789")).expect(124);
    assert_eq!(ended.stdout, "012345678");
    let ended = end(script(&["--max-output", "2", "--report=json"], "echo 1; echo 123 >&2"));
    let ended = ended.expect(124);
    assert_eq!(ended.stdout, "1\n");
    assert!(ended.stderr.starts_with("12{") && ended.stderr.contains("output_limit"), "{ended:?}");
}

#[test]
fn a_flood_ends_at_its_limit() {
    let ended = end(netrunner(["run", "--max-output", "64K", "--", "yes"])).expect(124);
    assert_eq!(ended.stdout, "y\n".repeat(32 << 10));
    // No limit at all.
    let words = ["run", "--max-output", "max", "--", "echo", "all"];
    assert_eq!(end(netrunner(words)).expect(0).stdout, "all\n");
}

#[test]
fn bytes_go_through_the_pipes_untouched() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    std::fs::write(folder.path("bytes"), &bytes).unwrap();
    let options = ["run", "--idle-timeout", "60", "--max-output", "1G"];
    let mut command = netrunner(options);
    let text = "cat \"$0\" | tee /dev/fd/2";
    command.args(["--", "sh", "-c", text, &folder.path("bytes")]);
    let out = std::fs::File::create(folder.path("out")).unwrap();
    let err = std::fs::File::create(folder.path("err")).unwrap();
    assert!(command.stdout(out).stderr(err).status().unwrap().success());
    assert!(std::fs::read(folder.path("out")).unwrap() == bytes);
    assert!(std::fs::read(folder.path("err")).unwrap() == bytes);
}

#[test]
fn merged_errors_keep_their_order_in_the_pipe() {
    let text = "echo 1; echo 2 >&2; echo 3; echo 4 >&2";
    let options = ["--merge-stderr", "--max-output", "1K"];
    let ended = end(script(&options, text)).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("1\n2\n3\n4\n", ""));
}

#[test]
fn a_reader_that_has_enough_ends_the_command_as_without_the_pipe() {
    let mut command = netrunner(["run", "--idle-timeout", "60", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGPIPE));
}

#[test]
fn a_slow_reader_holds_the_command_back_and_makes_it_not_idle() {
    let folder = Folder::new();
    let mut command = netrunner(["run", "--idle-timeout", "200ms", "--", "sh", "-c"]);
    // More than all the pipes on the way hold.
    command.args(["echo $$ > \"$0\"; head -c 2M /dev/zero; echo done >&2", &folder.path("pid")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the command runs", || folder.has("pid") && folder.read("pid").ends_with('\n'));
    let pid = folder.read("pid").trim().parse().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(state(pid).is_some_and(|state| state != 'Z'), "it is still there");
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 2 << 20);
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "done\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = netrunner(["run", "--idle-timeout", "60", "--", "yes"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("failed to pass on the standard output"), "{text}");
}

#[test]
fn what_is_kept_does_not_keep_netrunner() {
    let folder = Folder::new();
    let options = ["--idle-timeout", "60", "--leftovers", "keep"];
    let mut command = netrunner(["run"]);
    let text = "sleep 1000 & echo $! > \"$0\"; echo out";
    command.args(options).args(["--", "sh", "-c", text, &folder.path("pid")]);
    let mut live = Live::start(command);
    live.expect_line("out");
    live.end().expect(0);
    crate::harness::signal(folder.read("pid").trim().parse().unwrap(), libc::SIGKILL);
}
