//! `--report` and `--report-file`.

use serde_json::{Value, json};

use crate::harness::{Ended, Folder, after, end, netrunner, script};

#[track_caller]
fn last_json(ended: &Ended) -> Value {
    let last = ended.stderr.lines().last().unwrap_or_else(|| panic!("no report: {ended:?}"));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn without_the_option_nothing_is_said() {
    let ended = end(script(&[], "sleep 1000 & exit 3")).expect(3);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn text_comes_last_on_stderr() {
    let ended = end(script(&["--report"], "echo own >&2; exit 3")).expect(3);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "own");
    assert!(lines[1].starts_with("netrunner: `sh` (pid "), "{ended:?}");
    assert!(lines[1].ends_with(" exited with code 3"), "{ended:?}");
    assert!(lines[1..].iter().all(|line| line.starts_with("netrunner: ")), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

#[test]
fn json_is_one_object_with_all_fields() {
    let started = std::time::Instant::now();
    let ended = end(script(&["--report=json"], "echo $$; sleep 0.2; exit 3")).expect(3);
    let taken = started.elapsed().as_secs_f64();
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    let report = last_json(&ended);
    let object = report.as_object().unwrap();
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "cgroup",
            "containment",
            "leftovers",
            "max_rss",
            "pid",
            "program",
            "reason",
            "status",
            "system",
            "user",
            "wall"
        ]
    );
    assert_eq!(report["program"], "sh");
    assert_eq!(report["pid"].as_u64().unwrap().to_string(), ended.stdout.trim());
    assert_eq!(report["reason"], "exited");
    assert_eq!(report["status"], json!({ "code": 3, "signal": null, "core": false }));
    assert_eq!((&report["leftovers"], &report["cgroup"]), (&json!([]), &Value::Null));
    assert_eq!(report["containment"], "tree");
    let wall = report["wall"].as_f64().unwrap();
    assert!((0.2..=taken).contains(&wall), "{wall} of {taken}");
    let rss = report["max_rss"].as_u64().unwrap();
    assert!((100 << 10..1 << 30).contains(&rss), "{rss} bytes");
}

#[test]
fn cpu_time_is_in_seconds() {
    let text = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
    let report = last_json(&end(script(&["--report=json"], text)).expect(0));
    let (user, wall) = (report["user"].as_f64().unwrap(), report["wall"].as_f64().unwrap());
    assert!(user > 0.01 && user <= wall * 1.1 + 0.02, "{report}");
}

#[test]
fn an_exit_with_137_and_a_kill_differ() {
    let exit = last_json(&end(script(&["--report=json"], "exit 137")).expect(137));
    assert_eq!(exit["status"], json!({ "code": 137, "signal": null, "core": false }));
    let kill = last_json(&end(script(&["--report=json"], "kill -9 $$")).expect(137));
    assert_eq!(kill["status"], json!({ "code": null, "signal": 9, "core": false }));
    assert_eq!((&exit["reason"], &kill["reason"]), (&json!("exited"), &json!("exited")));
}

#[test]
fn a_timeout_is_a_reason_of_its_own() {
    let options = ["--report=json", "--timeout", "200ms", "--grace", "100ms"];
    let text = "trap '' TERM; sleep 1000 & wait; sleep 1000";
    let report = last_json(&end(script(&options, text)).expect(124));
    assert_eq!(report["reason"], "timeout");
    assert_eq!(report["status"]["signal"], 9);
    assert!(report["wall"].as_f64().unwrap() >= 0.3, "{report}");

    let own = "trap 'exit 0' TERM; sleep 1000 & wait";
    let report = last_json(&end(script(&options, own)).expect(124));
    assert_eq!((&report["reason"], &report["status"]["code"]), (&json!("timeout"), &json!(0)));
}

#[test]
fn leftovers_are_named_with_their_fate() {
    for (fate, done) in [("stop", "stopped"), ("keep", "kept")] {
        let text = "sleep 0.5 > /dev/null 2>&1 & echo $!";
        let ended = end(script(&["--leftovers", fate, "--report=json"], text)).expect(0);
        let pid: u32 = ended.stdout.trim().parse().unwrap();
        assert_eq!(last_json(&ended)["leftovers"], json!([{ "pid": pid, "name": "sleep" }]));

        let ended = end(script(&["--leftovers", fate, "--report=text"], text)).expect(0);
        let line =
            format!("netrunner: {done} what it left behind: sleep ({})", ended.stdout.trim());
        assert_eq!(ended.stderr.lines().last(), Some(line.as_str()));
    }
}

#[test]
fn names_that_are_not_utf8_are_replaced() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let mut name = std::path::PathBuf::from(folder.path("")).into_os_string();
    name.push(std::ffi::OsStr::from_bytes(b"odd\xff"));
    std::fs::copy("/bin/sleep", &name).unwrap();
    let mut command = netrunner(["run", "--report=json", "--"]);
    command.arg(&name).arg("0");
    let report = last_json(&end(command).expect(0));
    assert!(report["program"].as_str().unwrap().ends_with("odd\u{fffd}"), "{report}");
}

#[test]
fn a_file_takes_the_report_alone() {
    let folder = Folder::new();
    let path = folder
        .write("report", "what was there before, and longer than any report".repeat(99).as_str());
    let options = ["--report=json", "--report-file", &path];
    let ended = end(script(&options, "echo own >&2; exit 3")).expect(3);
    assert_eq!(ended.stderr, "own\n");
    let report: Value = serde_json::from_str(&folder.read("report")).unwrap();
    assert_eq!(report["status"]["code"], 3);

    // A file alone is reason enough for text.
    end(script(&["--report-file", &path], "exit 3")).expect(3);
    let text = folder.read("report");
    assert!(text.starts_with("`sh` (pid ") && text.contains(" exited with code 3\n"), "{text}");
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    end(netrunner(["run", "--report-file", "/dev/full", "--", "true"]))
        .expect(125)
        .says(&["/dev/full", "No space left"]);
}

#[test]
fn a_stderr_that_nobody_reads_changes_no_exit_code() {
    // The reading end is gone before netrunner begins.
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    let before = format!("mkfifo {fifo}; exec 3<>{fifo} 2>{fifo} 3<&-");
    end(after(&before, &["--report=json", "--", "sh", "-c", "exit 3"])).expect(3);
}
