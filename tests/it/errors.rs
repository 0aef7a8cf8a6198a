//! The page of errors (`netrunner-sync/src/errors.md`): each of its rows is produced here for real,
//! and text and predicates are compared, so that page and code can't drift apart.

use std::collections::BTreeSet;

use netrunner_tests::lacks::LACKS;

use crate::daemon_error_cases::DAEMON_CASES;
use crate::error_cases::{CASES, Case, SLOW_CASES};
use crate::harness::*;

const PAGE: &str = include_str!("../../netrunner-sync/src/errors.md");

/// A row of the page.
struct Row {
    text: &'static str,
    predicates: BTreeSet<&'static str>,
}

/// What stands between backticks in a cell, however many open it.
fn codes(mut cell: &'static str) -> Vec<&'static str> {
    let mut codes = Vec::new();
    while let Some(at) = cell.find('`') {
        let ticks = cell[at..].len() - cell[at..].trim_start_matches('`').len();
        let inside = &cell[at + ticks..];
        let end = inside.find(&"`".repeat(ticks)).expect("what is opened is closed");
        // A code that begins with a backtick ends before the last ones of a longer row of them.
        let longer = inside[end..].len() - inside[end..].trim_start_matches('`').len() - ticks;
        codes.push(inside[..end + longer].trim());
        cell = &inside[end + longer + ticks..];
    }
    codes
}

fn rows() -> Vec<Row> {
    let cells = |line: &'static str| line.trim_matches('|').split(" | ").collect::<Vec<_>>();
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| text"));
    rows.map(|line| {
        let cells = cells(line);
        assert!(cells.len() == 3 && !cells[2].trim().is_empty(), "{line}");
        let [text] = codes(cells[0])[..] else { panic!("one text: {line}") };
        Row { text, predicates: codes(cells[1]).into_iter().collect() }
    })
    .collect()
}

/// Whether `text` is the row's, where `…` stands for anything.
fn matches(row: &str, text: &str) -> bool {
    let mut parts = row.split('…');
    let first = parts.next().expect("at least one");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return part.is_empty() || rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

/// The row that says most about `text`.
fn row_of<'a>(rows: &'a [Row], text: &str) -> Option<&'a Row> {
    let literal = |row: &&Row| row.text.replace('…', "").len();
    rows.iter().filter(|row| matches(row.text, text)).max_by_key(literal)
}

/// Predicates that follow the cause where the row leaves that open.
const OF_THE_CAUSE: [&str; 3] = ["is_not_found", "is_permission_denied", "is_invalid_input"];

fn compare(cases: &[Case]) {
    if !is_root() {
        return;
    }
    if std::env::var(LACKS).is_ok_and(|lacks| !lacks.is_empty()) {
        return skip("the kernel allows no sandbox in the one of this arena");
    }
    let rows = rows();
    for (wanted, produce) in cases {
        let line = produce();
        println!("{line}");
        let line = line.strip_prefix("error ").unwrap_or_else(|| panic!("{wanted}: {line}"));
        let (head, text) = line.split_once("] ").expect("predicates");
        let (_errno, predicates) = head.split_once(" [").expect("predicates");
        let predicates: BTreeSet<&str> = predicates.split_whitespace().collect();

        let row = row_of(&rows, text).unwrap_or_else(|| panic!("no row for: {text}"));
        assert_eq!(row.text, *wanted, "another row fits better: {text}");
        let open = row.text.ends_with(": …");
        for predicate in row.predicates.union(&predicates) {
            let by_cause = open && OF_THE_CAUSE.contains(predicate);
            let same = row.predicates.contains(predicate) == predicates.contains(predicate);
            assert!(same || by_cause, "`{predicate}` of: {text}");
        }
    }
}

#[test]
fn every_error_is_as_the_page_says() {
    arena(|| {
        if !lacks_programs(&["true"]) {
            compare(CASES);
        }
    });
}

#[test]
fn every_error_of_a_daemon_is_as_the_page_says() {
    arena(|| compare(DAEMON_CASES));
}

#[test]
fn every_error_that_takes_its_time_is_as_the_page_says() {
    arena(|| {
        if !lacks_programs(&["cat"]) {
            compare(SLOW_CASES);
        }
    });
}

#[test]
fn every_row_of_the_page_is_produced() {
    let cases = CASES.iter().chain(DAEMON_CASES).chain(SLOW_CASES);
    let produced: BTreeSet<&str> = cases.map(|(text, _)| *text).collect();
    let on_the_page: BTreeSet<&str> = rows().iter().map(|row| row.text).collect();
    assert_eq!(produced, on_the_page);
    assert_eq!(rows().len(), on_the_page.len(), "a row stands there twice");
}

#[test]
fn the_page_is_read_right() {
    assert_eq!(codes("`a` ``b `c` d`` `` `e` f ``"), ["a", "b `c` d", "`e` f"]);
    assert!(matches("failed to … `…`: …", "failed to do `x`: it: did not"));
    assert!(matches("a … b", "a x b") && !matches("a … b", "a x b c"));
    assert!(!matches("plain", "plain and more") && matches("plain", "plain"));
    let rows = rows();
    assert!(rows.len() > 40, "{}", rows.len());
    let known = ["is_exec", "is_failure", "is_output_limit", "is_shepherd_lost", "is_timeout"];
    let known = [
        &known[..],
        &OF_THE_CAUSE,
        &["is_not_ready", "is_not_run", "is_uncontained", "is_unkillable"],
    ]
    .concat();
    for row in &rows {
        assert!(row.predicates.iter().all(|name| known.contains(name)), "{}", row.text);
    }
}

/// The texts in the source, as far as they stand where the error is made.
#[test]
fn every_text_in_the_source_is_on_the_page() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../netrunner-sync/src");
    if !std::path::Path::new(source).exists() {
        return skip("the source is elsewhere");
    }
    let rows = rows();
    let mut texts = 0;
    for entry in std::fs::read_dir(source).expect("the source") {
        let path = entry.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let text = text.split("#[cfg(test)]").next().expect("the first part");
        for (made, before) in [
            ("Error::system(", "failed to "),
            ("Error::uncontained(", "failed to "),
            ("Error::invalid(", ""),
        ] {
            for call in text.split(made).skip(1) {
                let call = call.trim_start().trim_start_matches("format!(").trim_start();
                let Some(literal) = call.strip_prefix('"') else { continue };
                let literal = literal.split('"').next().expect("the first part");
                if literal.starts_with('{') {
                    // A helper's; the words come from elsewhere.
                    continue;
                }
                let mut shown = before.to_owned();
                let mut inside = false;
                for letter in literal.chars() {
                    match letter {
                        '{' => inside = true,
                        '}' => {
                            inside = false;
                            shown.push_str("anything");
                        }
                        _ if inside => {}
                        other => shown.push(other),
                    }
                }
                texts += 1;
                // What comes before the cause; which causes there can be is not written here.
                let step =
                    |row: &Row| row.text.rsplit_once(": ").map_or(row.text, |(step, _)| step);
                let found = rows.iter().any(|row| matches(step(row), &shown));
                assert!(found, "{}: no row on the page for: {shown}", path.display());
            }
        }
    }
    assert!(texts > 10, "{texts}");
}
