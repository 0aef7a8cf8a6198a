//! The table of goals, exactly as it stands in `docs/PERFORMANCE.md`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::driver::Finished;
use crate::goals::{self, Goal, Of};
use crate::report::table;

/// Machine, ratios, absolute figures.
pub(crate) fn goals(machine: &Value, all: &[Finished]) -> String {
    let mut text = String::new();
    for (index, line) in table::head(machine).lines().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let _ = write!(text, "{separator}{}", line.trim());
    }
    text.push_str(".\n");
    let to_std = |of| matches!(of, Of::Ratio | Of::P95Ratio);
    part(&mut text, "scene (ratio to std in the same run)", all, to_std);
    let to_peers = "scene (ratio to the fastest of xargs, GNU parallel and make in the same run)";
    part(&mut text, to_peers, all, |of| matches!(of, Of::PeerRatio));
    part(&mut text, "absolute by nature", all, |of| matches!(of, Of::Value(_)));
    text
}

fn part(text: &mut String, title: &str, all: &[Finished], wanted: fn(Of) -> bool) {
    let _ = write!(text, "\n| {title} | goal | stretch | measured | |\n|---|---|---|---|---|\n");
    for goal in goals::ALL.iter().filter(|goal| wanted(goal.of)) {
        let (number, verdict) = told(goal, all);
        let bound = |number| format!("{} {}", goal.sign(), goal.shown(number));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {number} | {verdict} |",
            goal.scene,
            bound(goal.goal),
            bound(goal.stretch)
        );
    }
}

/// The measured number and what to think of it.
fn told(goal: &Goal, all: &[Finished]) -> (String, String) {
    let finished = all.iter().filter_map(|finished| finished.result.as_ref().ok());
    let found = finished.filter_map(|measured| Some((goal.measured(measured)?, measured))).next();
    let Some((number, measured)) = found else {
        return ("not measured yet".to_owned(), String::new());
    };
    let disturbed = measured.batches.iter().any(|batch| batch.disturbed);
    let mark = if disturbed { ", disturbed" } else { "" };
    (goal.shown(number), format!("{}{mark}", goal.verdict(number).word()))
}
