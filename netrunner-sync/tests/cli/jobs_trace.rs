//! `netrunner jobs --trace`: what a trace viewer is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Folder, until};
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
    assert_eq!(told(&bars[0], "reason"), "Timeout");
    assert_eq!((told(&bars[1], "reason"), told(&bars[1], "signal")), ("Exited".into(), 9.into()));
    assert!(number(&bars[1]["args"], "leftovers") >= 1, "{}", bars[1]);

    // What is not there has been started all the same, as far as anybody knew.
    lines(&["--trace", &trace, "--", "/no/such"], "a\n").expect(1);
    let text = folder.read("trace");
    assert!(!text.contains("/no/"), "{text}");
    for bar in self::bars(&text) {
        assert_eq!((&bar["name"], told(&bar, "reason")), (&"such #1".into(), "NotStarted".into()));
    }
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
