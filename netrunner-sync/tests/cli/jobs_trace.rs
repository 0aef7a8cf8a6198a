//! `netrunner jobs --trace`: what a trace viewer is given.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::harness::{Folder, Live, NETRUNNER, end, fresh, netrunner, until};
use crate::jobs::{begin, lines, number_in};

/// The bars of a trace, in the order of the file.
fn bars(text: &str) -> Vec<Value> {
    let events: Vec<Value> = serde_json::from_str(text).expect("a JSON array");
    assert_eq!((&events[0]["ph"], &events[0]["name"]), (&"M".into(), &"process_name".into()));
    assert!(events.iter().all(|event| event["pid"] == events[0]["pid"]), "{text}");
    events.into_iter().filter(|event| event["ph"] == "X").collect()
}

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or_else(|| panic!("{key} of {event}"))
}

#[test]
fn each_try_is_a_bar_and_those_of_a_row_do_not_overlap() {
    let folder = Folder::new();
    let (trace, here) = (folder.path("trace"), folder.path("here"));
    // Three that wait for each other, then some that do not, of which one fails twice.
    let together =
        format!("touch {here}-$$; until [ $(ls {here}-* | wc -l) = 3 ]; do sleep 0.01; done\n");
    let list = together.repeat(3) + "exit 7 # hush-hush\n" + &"true\n".repeat(20);
    let began = Instant::now();
    lines(&["-j3", "--retries", "1", "--trace", &trace], &list).expect(1);
    let took = u64::try_from(began.elapsed().as_micros()).unwrap();
    let text = folder.read("trace");
    let bars = bars(&text);
    assert!(!text.contains("hush-hush") && !text.contains("touch"), "{text}");

    let tries = |bar: &Value| (number(&bar["args"], "job"), number(&bar["args"], "try"));
    let seen: BTreeSet<_> = bars.iter().map(tries).collect();
    let expected = (1..=24).map(|job| (job, 1)).chain([(4, 2)]).collect();
    assert_eq!((seen, bars.len()), (expected, 25));

    let mut rows: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for bar in &bars {
        let (start, long) = (number(bar, "ts"), number(bar, "dur"));
        assert!(start + long <= took, "{bar} of {took}");
        rows.entry(number(bar, "tid")).or_default().push((start, start + long));
        let failed = bar["args"]["job"] == 4;
        assert_eq!(bar["cat"] == "job,failed", failed, "{bar}");
        assert_eq!(bar["args"]["exit"], if failed { 7 } else { 0 }, "{bar}");
        assert_eq!(bar["name"], format!("sh #{}", bar["args"]["job"]));
        assert!(number(&bar["args"], "max_rss") > 0, "{bar}");
    }
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    for row in rows.values_mut() {
        row.sort_unstable();
        assert!(row.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{row:?}");
    }
    // The three were there at the same time.
    let first: Vec<_> = bars.iter().filter(|bar| number(&bar["args"], "job") <= 3).collect();
    let last_start = first.iter().map(|bar| number(bar, "ts")).max();
    let first_end = first.iter().map(|bar| number(bar, "ts") + number(bar, "dur")).min();
    assert!(last_start <= first_end, "{first:?}");
}

#[test]
fn how_each_came_out_is_told() {
    let folder = Folder::new();
    let trace = folder.path("trace");
    let list = "sleep 1000\nsetsid sleep 1000 & kill -KILL $$\n";
    lines(&["-j1", "--timeout", "200ms", "--trace", &trace], list).expect(2);
    let bars = bars(&folder.read("trace"));
    let told = |bar: &Value, key: &str| bar["args"][key].clone();
    assert_eq!(told(&bars[0], "reason"), "timeout");
    assert_eq!((told(&bars[1], "reason"), told(&bars[1], "signal")), ("exited".into(), 9.into()));
    assert!(number(&bars[1]["args"], "leftovers") >= 1, "{}", bars[1]);

    // What is not there has been started all the same, as far as anybody knew.
    lines(&["--trace", &trace, "--", "/no/such"], "a\n").expect(1);
    let text = folder.read("trace");
    assert!(!text.contains("/no/"), "{text}");
    for bar in self::bars(&text) {
        assert_eq!((&bar["name"], told(&bar, "reason")), (&"such #1".into(), "not_started".into()));
    }
}

#[test]
fn neither_arguments_nor_the_environment_are_in_it() {
    let folder = Folder::new();
    let trace = folder.path("trace");
    let template = ["sh", "-c", ": $1 $SECRET; exit 3", "hush-0", "{}", ":::", "hush-1", "hush-2"];
    let mut command = netrunner(["jobs", "--trace", &trace, "--"]);
    command.args(template).env("SECRET", "hush-3");
    end(command).expect(2);
    let text = folder.read("trace");
    assert!(
        !text.contains("hush") && !text.contains("SECRET") && !text.contains("exit 3"),
        "{text}"
    );
    let mut names: Vec<_> = bars(&text).iter().map(|bar| bar["name"].clone()).collect();
    names.sort_unstable_by_key(Value::to_string);
    assert_eq!(names, ["sh #1", "sh #2"]);
}

#[test]
fn what_a_failure_has_stopped_is_in_it_and_what_never_ran_is_not() {
    let folder = Folder::new();
    let (trace, ready) = (folder.path("trace"), folder.path("ready"));
    let list = format!(
        "touch {ready}; exec sleep 1000\nuntil [ -e {ready} ]; do sleep 0.01; done; exit 4\ntrue\n"
    );
    lines(&["-j2", "--fail-fast", "--trace", &trace], &list).expect(2);
    let mut told: Vec<_> = bars(&folder.read("trace"))
        .iter()
        .map(|bar| (number(&bar["args"], "job"), bar["args"]["reason"].clone()))
        .collect();
    told.sort_unstable_by_key(|(job, _)| *job);
    assert_eq!(told, [(1, "stopped".into()), (2, "exited".into())]);
}

#[test]
fn rows_are_in_the_order_of_their_numbers() {
    let folder = Folder::new();
    let (trace, here) = (folder.path("trace"), folder.path("here"));
    let together =
        format!("touch {here}-$$; until [ $(ls {here}-* | wc -l) = 11 ]; do sleep 0.05; done\n");
    lines(&["-j11", "--trace", &trace], &together.repeat(11)).expect(0);
    let events: Vec<Value> = serde_json::from_str(&folder.read("trace")).unwrap();
    let told = |what: &str, key: &str| -> Vec<(u64, Value)> {
        let about = events.iter().filter(|event| event["name"] == what);
        about.map(|event| (number(event, "tid"), event["args"][key].clone())).collect()
    };
    let expected: Vec<_> = (1..=11).map(|row| (row, Value::from(row))).collect();
    assert_eq!(told("thread_sort_index", "sort_index"), expected);
    let expected: Vec<_> = (1..=11).map(|row| (row, format!("slot {row}").into())).collect();
    assert_eq!(told("thread_name", "name"), expected);
}

#[test]
fn half_an_event_is_taken_away_when_there_is_no_room_for_the_rest() {
    let folder = Folder::new();
    let trace = folder.path("trace");
    let mut command = fresh("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", NETRUNNER, "jobs", "-j1"]);
    command.args(["--trace", &trace]).stdin(Stdio::piped());
    let mut live = Live::start_with_stdin(command);
    live.write("true\n");
    let has_first = || folder.has("trace") && folder.read("trace").contains("sh #1");
    until("the first is told", has_first);
    let whole = folder.read("trace");
    let room = Some(whole.len() as u64 + 20);
    let pid = Pid::from_raw(live.pid().try_into().unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: room, maximum: room }).unwrap();
    live.write("true\n");
    live.close_stdin();
    live.end().expect(125).says(&["failed to write to", &trace]);
    assert_eq!(folder.read("trace"), whole);
    assert_eq!(bars(&(whole + "]")).len(), 1);
}

#[test]
fn a_run_that_is_ended_has_a_trace_of_what_was_before() {
    let folder = Folder::new();
    let (trace, pid) = (folder.path("trace"), folder.path("pid"));
    let list = format!("true\necho $$ > {pid}; exec sleep 1000\n");
    for (signal, is_whole) in [(libc::SIGINT, true), (libc::SIGKILL, false)] {
        let mut live = begin(&["-j1", "--trace", &trace]);
        live.write(&list);
        number_in(&folder, "pid");
        until("the first is told", || folder.read("trace").contains("sh #1"));
        live.signal(signal);
        let ended = live.end();
        assert!(!ended.status.success(), "{ended:?}");
        let mut text = folder.read("trace");
        assert_eq!(text.ends_with("\n]\n"), is_whole, "{text}");
        if !is_whole {
            text.push(']'); // as viewers do it
        }
        let names: Vec<_> = bars(&text).iter().map(|bar| bar["name"].clone()).collect();
        let expected: &[&str] = if is_whole { &["sh #1", "sh #2"] } else { &["sh #1"] };
        assert_eq!(names, expected);
        std::fs::remove_file(&pid).unwrap();
    }
}
