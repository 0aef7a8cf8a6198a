//! `netrunner jobs`: what is run, what comes out, and what is told of it.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Ended, Folder, Live, end, netrunner, until};
use crate::tty::Tty;

/// `netrunner jobs OPTIONS` with these lines on stdin.
#[track_caller]
pub(crate) fn lines(options: &[&str], lines: &str) -> Ended {
    let mut live = begin(options);
    live.write(lines);
    live.close_stdin();
    live.end()
}

/// The same, with stdin open.
#[track_caller]
pub(crate) fn begin(options: &[&str]) -> Live {
    let mut command = netrunner(["jobs"]);
    command.args(options).stdin(Stdio::piped());
    Live::start_with_stdin(command)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_line_is_a_shell_command_and_empty_ones_are_none() {
    let ended = lines(&["-j1"], "echo 'a  b' | tr a-z A-Z\n\n  \necho $((6 * 7))").expect(0);
    assert_eq!(ended.stdout, "A  B\n42\n");
}

#[test]
fn a_file_is_read_as_stdin_is() {
    let folder = Folder::new();
    let file = folder.write("list", "echo from-a-file\n");
    assert_eq!(end(netrunner(["jobs", &file])).expect(0).stdout, "from-a-file\n");
    assert_eq!(lines(&["-"], "echo from-stdin").expect(0).stdout, "from-stdin\n");
}

#[test]
fn values_fill_the_holes_and_no_shell_reads_them() {
    let values = ["a b", "$(echo no)", "", "'", "{}", "a\nb"];
    let mut command = netrunner(["jobs", "-j1", "--", "printf", "<%s|%s>", "{}", "x{}y", ":::"]);
    command.args(values);
    let expected: String = values.iter().map(|value| format!("<{value}|x{value}y>")).collect();
    assert_eq!(end(command).expect(0).stdout, expected);

    let last = end(netrunner(["jobs", "-j1", "--", "echo", "-n", ":::", "a", "b"])).expect(0);
    assert_eq!(last.stdout, "ab");
    // Without a command the values are commands.
    let shell = end(netrunner(["jobs", "-j1", "--", ":::", "echo a | tr a b", "exit 3"])).expect(1);
    assert_eq!(shell.stdout, "b\n");
    // From stdin, too.
    let ended = lines(&["-j1", "--", "echo", "<{}>"], "one\n two three \n").expect(0);
    assert_eq!(ended.stdout, "<one>\n< two three >\n");
}

#[test]
fn with_zero_entries_end_with_nul() {
    let ended = lines(&["-j1", "-0", "--", "printf", "<%s>"], "a\nb\0\0c").expect(0);
    assert_eq!(ended.stdout, "<a\nb><><c>");
    assert_eq!(lines(&["-j1", "-0"], "echo a;\necho b\0echo c\0").expect(0).stdout, "a\nb\nc\n");
}

#[test]
fn the_exit_code_is_the_number_of_failed_jobs() {
    assert_eq!(lines(&[], "").expect(0).stdout, "");
    lines(&[], "true\ntrue\n").expect(0);
    lines(&[], "true\nfalse\nexit 200\nkill -9 $$\n").expect(3);
    lines(&["--keep-going"], "false\nfalse\n").expect(2);
    end(netrunner(["jobs", "--", "no-such-program", ":::", "a", "b"])).expect(2);
    lines(&["-j4"], &"false\n".repeat(100)).expect(100);
    lines(&["-j4"], &"false\n".repeat(120)).expect(101);
}

#[test]
fn output_comes_in_one_piece_for_each_job() {
    let folder = Folder::new();
    let path = |name| folder.path(name);
    // Each waits for the other between its two halves.
    let [a, b] = [path("a"), path("b")];
    let wait = |own: &str, other: &str| {
        format!(
            "printf {{; echo e >&2; touch {own}; while ! [ -e {other} ]; do sleep 0.01; done; \
                 printf }}; echo f >&2; sleep 0.1\n"
        )
    };
    let list = wait(&a, &b) + &wait(&b, &a);
    let ended = lines(&["-j2", "--progress", "off"], &list).expect(0);
    assert_eq!((&ended.stdout[..], &ended.stderr[..]), ("{}{}", "e\nf\ne\nf\n"));
}

#[test]
fn long_outputs_come_out_whole() {
    let list = "yes | head -c 3000000; yes n | head -c 2000000 >&2\n";
    let ended = lines(&["--progress", "off"], list).expect(0);
    assert_eq!((ended.stdout.len(), ended.stderr.len()), (3_000_000, 2_000_000));
}

#[test]
fn a_job_has_nothing_to_read_and_takes_nothing_of_the_list() {
    let ended = lines(&["-j1"], "cat; echo one\ncat; echo two\n").expect(0);
    assert_eq!(ended.stdout, "one\ntwo\n");
}

#[test]
fn a_job_starts_before_the_list_is_at_its_end() {
    let mut live = begin(&["-j2"]);
    live.write("echo first\n");
    live.expect_line("first");
    live.write("echo second\n");
    live.expect_line("second");
    live.close_stdin();
    live.end().expect(0);
}

#[test]
fn so_many_run_at_a_time() {
    let folder = Folder::new();
    let log = folder.path("log");
    let list = format!("echo + >> {log}; sleep 0.05; echo - >> {log}\n").repeat(12);
    lines(&["-j3"], &list).expect(0);
    let (mut now, mut most) = (0, 0);
    for line in folder.read("log").lines() {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 3));
}

#[test]
fn a_failed_job_is_tried_again_as_often_as_is_said() {
    let folder = Folder::new();
    let tries = folder.path("tries");
    let list = format!("echo x >> {tries}; [ $(wc -l < {tries}) = 3 ]\n");
    lines(&["--retries", "1"], &list).expect(1);
    let report = folder.path("report");
    lines(&["--retries", "5", "--report", &report], &list).expect(0);
    assert_eq!(folder.read("tries").lines().count(), 3);
    let record: Value = serde_json::from_str(&folder.read("report")).unwrap();
    assert_eq!((&record["tries"], &record["success"]), (&1.into(), &true.into()));
}

#[test]
fn a_job_that_takes_too_long_is_stopped_and_fails() {
    let list = "sleep 1000 & sleep 1000\ntrue\n";
    let ended = lines(&["-j1", "--timeout", "200ms"], list).expect(1);
    assert!(ended.stderr.contains("job 1 `sleep 1000 & sleep 1000` timed out"), "{ended:?}");
}

#[test]
fn the_report_has_a_line_for_each_job() {
    let folder = Folder::new();
    let report = folder.path("report");
    let list = "printf abc; echo e >&2\nexit 3\nkill -TERM $$\n";
    lines(&["-j1", "--report", &report], list).expect(2);
    end(netrunner(["jobs", "--report", &folder.path("other"), "--", "no-such", ":::", "x y"]))
        .expect(1);
    let records: Vec<Value> =
        folder.read("report").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3);
    let first = &records[0];
    assert_eq!(first["command"], "printf abc; echo e >&2");
    assert_eq!(
        (&first["job"], &first["exit"], &first["success"]),
        (&1.into(), &0.into(), &true.into())
    );
    assert_eq!((&first["stdout"], &first["stderr"]), (&3.into(), &2.into()));
    assert!(first["started"].as_f64().unwrap() > 1e9 && first["max_rss"].as_u64().unwrap() > 0);
    assert!(first["wall"].as_f64().unwrap() > 0.0);
    assert_eq!(records[1]["status"]["code"], 3);
    assert_eq!((&records[2]["status"]["signal"], &records[2]["exit"]), (&15.into(), &143.into()));
    let missing: Value = serde_json::from_str(&folder.read("other")).unwrap();
    assert_eq!((&missing["command"], &missing["exit"]), (&"no-such 'x y'".into(), &127.into()));
    assert!(missing["error"].as_str().unwrap().contains("No such file"));
    assert_eq!(missing["reason"], "not_started");
}

#[test]
fn a_resumed_run_does_what_has_not_succeeded_and_nothing_else() {
    let folder = Folder::new();
    let (log, done) = (folder.path("log"), folder.path("done"));
    let job = |name: &str, code| format!("echo {name} >> {done}; exit {code}\n");
    let list = job("a", 0) + &job("b", 1) + &job("a", 0);
    lines(&["-j1", "--job-log", &log], &list).expect(1);
    // One that was cut off while it was written.
    let mut text = folder.read("log");
    let head = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
    assert!(text.starts_with(head), "{text}");
    text.push_str(&format!("4\t:\t1.0\t0.1\t0\t0\t0\t0\t{}", job("c", 0).trim_end()));
    folder.write("log", &text);
    let list = list + &job("c", 0) + &job("a", 0);
    let ended = lines(&["-j1", "--job-log", &log, "--resume"], &list).expect(1);
    assert!(ended.stderr.contains("2 had succeeded before"), "{ended:?}");
    assert_eq!(sorted(&folder.read("done")), ["a", "a", "a", "b", "b", "c"]);
    lines(&["-j1", "--job-log", &log, "--resume"], &list).expect(1);
    assert_eq!(sorted(&folder.read("done")), ["a", "a", "a", "b", "b", "b", "c"]);
    // Without it a log begins anew.
    lines(&["-j1", "--job-log", &log], "true\n").expect(0);
    assert_eq!(folder.read("log").lines().count(), 2);
}

#[test]
fn lines_tell_how_it_went_unless_nothing_is_to_be_told() {
    let list = "sleep 0.05\nhead -c 40000000 /dev/zero | tail -c 40000000 | tail -c 1 > /dev/null\nexit 7\n";
    let ended = lines(&["-j3"], list).expect(1);
    let told: Vec<_> = ended.stderr.lines().collect();
    assert!(told.iter().all(|line| line.starts_with("netrunner: ")), "{told:?}");
    assert!(told.contains(&"netrunner: job 3 `exit 7` exited with code 7"), "{told:?}");
    let [.., sum, slowest, fattest] = &told[..] else { panic!("{told:?}") };
    assert!(sum.starts_with("netrunner: 3 jobs in "), "{sum}");
    assert!(sum.ends_with(": 2 succeeded, 1 failed"), "{sum}");
    assert!(slowest.starts_with("netrunner: slowest: `"), "{slowest}");
    assert!(fattest.starts_with("netrunner: fattest: `head -c 40000000"), "{fattest}");

    assert_eq!(lines(&["--progress", "off"], list).expect(1).stderr, "");
}

#[test]
fn lines_of_progress_are_a_second_apart() {
    let list = "sleep 0.6\n".repeat(5);
    let ended = lines(&["-j1", "--progress", "plain"], &list).expect(0);
    let progress: Vec<_> = ended.stderr.lines().filter(|line| line.contains(" done, ")).collect();
    assert!((1..=3).contains(&progress.len()), "{ended:?}");
    assert!(progress[0].contains(" of 5 done, 1 running, 0 failed"), "{progress:?}");
}

#[test]
fn on_a_terminal_a_bar_shows_what_runs_and_makes_room_for_output() {
    let folder = Folder::new();
    let go = folder.path("go");
    let wait = format!("while ! [ -e {go} ]; do sleep 0.01; done; echo out-of-it");
    let script = format!("stty cols 120; TERM=xterm \"$NETRUNNER\" jobs -j2 -- ::: '{wait}' false");
    let mut tty = Tty::start(&["sh", "-c", &script]);
    tty.expect("1 running, 1 failed, longest ");
    tty.expect("while");
    std::fs::write(&go, "").unwrap();
    tty.expect("out-of-it");
    tty.expect("netrunner: 2 jobs in ");
    tty.wait_end();
}

#[test]
fn what_nobody_takes_ends_the_run() {
    let mut command = netrunner(["jobs", "-j1", "--progress", "off"]);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    command.stdin(Stdio::piped()).stdout(write);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    drop(read);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"echo a\nsleep 1000\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("failed to write what a job has written: Broken pipe"), "{stderr}");
}

#[test]
fn bad_usage_is_125_and_nothing_runs() {
    let folder = Folder::new();
    let ran = folder.path("ran");
    let missing = folder.path("missing/file");
    let touch = ["--", "touch", &ran, ":::", ""];
    for (options, says) in [
        (&["-j0"][..], "-j"),
        (&["-j", "many"], "many"),
        (&["--fail-fast", "--keep-going"], "--keep-going"),
        (&["--timeout", "soon"], "--timeout"),
        (&["--retries", "-1"], "-1"),
        (&["--resume"], "--job-log"),
        (&["--progress", "loud"], "--progress"),
        (&["--report", &missing], "missing/file"),
        (&["--job-log", &missing], "missing/file"),
        (&["--trace", &missing], "missing/file"),
        (&["--trace", "/dev/full"], "/dev/full"),
        (&["list"], "`:::`"),
    ] {
        let words = ["jobs"].iter().chain(options).chain(&touch);
        end(netrunner(words)).expect(125).says(&[says]);
        assert!(!folder.has("ran"), "{options:?}");
    }
    end(netrunner(["jobs", &missing])).expect(125).says(&["missing/file"]);
    end(netrunner(["jobs", &folder.path("")])).expect(125).says(&["directory"]);
    end(netrunner(["jobs", "--", "a", ":::", "b", ":::", "c"])).expect(125).says(&["twice"]);
    let help = end(netrunner(["jobs", "--help"])).expect(0).stdout;
    for word in ["--jobs", "--fail-fast", "--job-log", ":::", "101", "Signals:"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn a_long_list_goes_through() {
    let folder = Folder::new();
    let list: String = (0..3000).map(|n| format!("echo {n}\n")).collect();
    let file = folder.write("list", &list);
    let ended = end(netrunner(["jobs", "-j8", "--progress", "off", &file])).expect(0);
    let mut numbers: Vec<u32> = ended.stdout.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
}

/// Waits until a file has a line, and gives the first as a number.
#[track_caller]
pub(crate) fn number_in(folder: &Folder, name: &str) -> u32 {
    until(name, || folder.has(name) && folder.read(name).ends_with('\n'));
    folder.read(name).trim().parse().unwrap()
}
