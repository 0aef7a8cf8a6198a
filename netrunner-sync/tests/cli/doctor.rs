//! `netrunner doctor`: the verdict, the reasons, and the two forms of the same.

use std::process::Command;

use serde_json::Value;

use crate::harness::*;

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

fn verdict(text: &str) -> &str {
    text.lines().last().expect("a last line")
}

/// Runs `netrunner doctor` after a script in namespaces of its own; None where there can't be such.
fn inside(namespaces: &[&str], before: &str, words: &str) -> Option<Ended> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["sh", "-c", script, "sh", NETRUNNER]);
        command
    };
    if !unshare(before).output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: `{before}` is impossible here");
        return None;
    }
    Some(end(unshare(&format!("{before}; \"$1\" doctor {words}"))))
}

#[test]
fn the_last_line_is_the_verdict_and_json_says_the_same() {
    let text = end(netrunner(["doctor"])).expect(0);
    let found = json(&end(netrunner(["doctor", "--json"])).expect(0));
    let capabilities = found["capabilities"].as_object().expect("an object");
    assert!(capabilities.len() >= 15, "{found}");
    for (name, capability) in capabilities {
        let available = capability["available"].as_bool().expect("a word on each");
        let mark = if available { "yes  " } else { "no   " };
        let line = text.stdout.lines().find(|line| line[5.min(line.len())..].starts_with(name));
        assert!(line.is_some_and(|line| line.starts_with(mark)), "{name}: {text:?}");
        for part in ["reason", "effect", "remedy"] {
            assert_eq!(capability[part].is_null(), available, "{name} {part}: {found}");
        }
    }
    assert_eq!(found["trial"]["ran"], true);
    assert_eq!(found["shepherd"]["source"], "embedded");
    assert_eq!(found["containments"][0], "tree");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    assert_eq!(found["kernel"], release.trim());
    let works = match found["verdict"].as_str() {
        Some("ok") => "NetRunner works here, with all its guarantees.",
        _ => "NetRunner works here, weaker or slower for want of",
    };
    assert!(verdict(&text.stdout).starts_with(works), "{text:?}");
    assert_eq!(text.stderr, "");
}

#[test]
fn a_shepherd_that_is_not_there_is_named_with_its_remedy() {
    let doctor = |words: &[&str]| {
        let mut command = netrunner(["doctor"]);
        command.args(words).env("NETRUNNER_SHEPHERD", "/no/such/shepherd");
        end(command).expect(125)
    };
    let text = doctor(&[]).stdout;
    assert!(text.contains("NO   program"), "{text}");
    assert!(text.contains("why: the shepherds' program `/no/such/shepherd`"), "{text}");
    assert!(text.contains("change: unset `NETRUNNER_SHEPHERD`"), "{text}");
    assert!(text.contains("NO   a command runs"), "{text}");
    assert_eq!(verdict(&text), "NetRunner does not work here for want of program.");
    let found = json(&doctor(&["--json"]));
    assert_eq!(found["verdict"], "broken");
    assert_eq!(found["shepherd"]["path"], "/no/such/shepherd");
    assert_eq!(found["trial"]["ran"], false);
    assert_eq!(found["capabilities"]["program"]["need"], "required");
}

#[test]
fn a_program_that_is_no_shepherd_fails_the_trial() {
    let mut command = netrunner(["doctor", "--json"]);
    command.env("NETRUNNER_SHEPHERD", "/bin/false");
    let found = json(&end(command).expect(125));
    assert_eq!(found["capabilities"]["program"]["available"], true);
    assert!(found["trial"]["error"].as_str().expect("why").contains("/bin/false"), "{found}");
}

#[test]
fn memory_files_that_cannot_be_executed_are_told_from_missing_ones() {
    let namespaces = ["--pid", "--fork", "--mount-proc"];
    let before = "echo 2 > /proc/sys/vm/memfd_noexec";
    let Some(ended) = inside(&namespaces, before, "--json") else { return };
    let found = json(&ended.expect(0));
    let memfd = &found["capabilities"]["memfd"];
    assert_eq!(memfd["available"], false, "{found}");
    assert!(memfd["reason"].as_str().expect("why").contains("`vm.memfd_noexec` is 2"), "{found}");
    assert!(memfd["remedy"].as_str().expect("what to do").contains("sysctl"), "{found}");
    assert_eq!(found["verdict"], "weaker");
    assert_eq!(found["trial"]["ran"], true);
}

#[test]
fn without_proc_nothing_works_and_that_is_said() {
    let Some(ended) = inside(&["--mount"], "umount -l /proc", "") else { return };
    let ended = ended.expect(125);
    assert!(ended.stdout.contains("NO   proc_mount"), "{ended:?}");
    assert!(ended.stdout.contains("mount -t proc proc /proc"), "{ended:?}");
    let verdict = verdict(&ended.stdout);
    assert!(verdict.starts_with("NetRunner does not work here for want of "), "{verdict}");
}

#[test]
fn findings_that_cannot_be_written_are_a_failure() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" doctor > /dev/full", NETRUNNER]);
    end(command).expect(125).says(&["failed to write the findings"]);
}
