//! The plot: for every metric that std has too, each contender's ratio to std on a logarithmic axis,
//! the quartiles as a line, NetRunner's goal as a tick. Left is less time or memory, or fewer commands
//! or bytes per second.

use std::path::Path;

use svg::Document;
use svg::node::element::{Circle, Group, Line, Rectangle, Text, Title};

use crate::Result;
use crate::driver::Finished;
use crate::goals::{self, Of};
use crate::measured::{Metric, Unit};
use crate::stats::{Ratio, paired};
use crate::ways::Way;

const LEFT: f64 = 170.0;
const WIDTH: f64 = 640.0;
const ROW: f64 = 26.0;
const TOP: f64 = 70.0;

/// The ends of the axis.
const LOW: f64 = 0.05;
const HIGH: f64 = 20.0;

const MARKS: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// One colour for each contender that is a [`Way`], and one for the rest.
const COLOURS: [&str; 8] =
    ["#555555", "#d62728", "#2ca02c", "#1f77b4", "#9467bd", "#ff7f0e", "#8c564b", "#17becf"];

fn colour(contender: &str) -> &'static str {
    let index = Way::ALL.iter().position(|way| way.name() == contender);
    COLOURS[index.unwrap_or(COLOURS.len() - 1)]
}

/// Where a ratio stands on the axis.
fn x(ratio: f64) -> f64 {
    let share = (ratio.clamp(LOW, HIGH) / LOW).ln() / (HIGH / LOW).ln();
    LEFT + share * WIDTH
}

fn text(x: f64, y: f64, anchor: &str, words: impl Into<String>) -> Text {
    let text = Text::new(words).set("x", x).set("y", y);
    text.set("text-anchor", anchor).set("font-size", 11).set("font-family", "sans-serif")
}

fn line(from: (f64, f64), to: (f64, f64), colour: &str, width: f64) -> Line {
    let line = Line::new().set("x1", from.0).set("y1", from.1).set("x2", to.0).set("y2", to.1);
    line.set("stroke", colour).set("stroke-width", width)
}

pub(crate) fn write(file: &Path, all: &[Finished]) -> Result<()> {
    let metrics: Vec<&Metric> = all
        .iter()
        .filter_map(|finished| finished.result.as_ref().ok())
        .flat_map(|measured| &measured.metrics)
        .filter(|metric| metric.samples_of(Way::Std.name()).is_some_and(|std| !std.is_empty()))
        .collect();
    let height = TOP + ROW * metrics.len() as f64 + 20.0;
    let all_width = LEFT + WIDTH + 40.0;
    let mut plot = Document::new()
        .set("viewBox", (0, 0, all_width, height))
        .set("width", all_width)
        .set("height", height)
        .add(Rectangle::new().set("width", all_width).set("height", height).set("fill", "white"))
        .add(text(
            LEFT,
            18.0,
            "start",
            "ratio to std::process, median and quartiles; short lines: goals",
        ));
    for (index, way) in (0u8..).zip(Way::ALL) {
        let at = LEFT + f64::from(index) * 92.0;
        let dot = Circle::new().set("cx", at).set("cy", 32).set("r", 4);
        plot = plot.add(dot.set("fill", colour(way.name()))).add(text(
            at + 8.0,
            36.0,
            "start",
            way.name(),
        ));
    }
    for mark in MARKS {
        let grid = if mark == 1.0 { "#555555" } else { "#dddddd" };
        plot = plot.add(line((x(mark), TOP - 8.0), (x(mark), height - 20.0), grid, 1.0)).add(text(
            x(mark),
            TOP - 12.0,
            "middle",
            mark.to_string(),
        ));
    }
    for (index, metric) in metrics.into_iter().enumerate() {
        plot = plot.add(row(metric, TOP + ROW * (index as f64 + 0.5)));
    }
    svg::save(file, &plot)?;
    Ok(())
}

fn row(metric: &Metric, y: f64) -> Group {
    let rate = match metric.unit {
        Unit::PerSecond | Unit::BytesPerSecond => " (rate)",
        Unit::Seconds | Unit::Bytes | Unit::Count => "",
    };
    let mut row =
        Group::new().add(text(LEFT - 12.0, y + 4.0, "end", format!("{}{rate}", metric.key)));
    for goal in goals::ALL.iter().filter(|goal| goal.key == metric.key && goal.of == Of::Ratio) {
        let at = x(goal.goal);
        row = row.add(line(
            (at, y - ROW / 2.0 + 2.0),
            (at, y + ROW / 2.0 - 2.0),
            colour("NetRunner"),
            1.5,
        ));
    }
    let std = metric.samples_of(Way::Std.name()).unwrap_or_default();
    for series in metric.series.iter().filter(|series| !series.samples.is_empty()) {
        let Ratio { lower_quartile, median, upper_quartile } = paired(&series.samples, std);
        if !median.is_finite() {
            continue;
        }
        let colour = colour(&series.contender);
        let words =
            format!("{}: {median:.2} ({lower_quartile:.2}-{upper_quartile:.2})", series.contender);
        let dot = Circle::new().set("cx", x(median)).set("cy", y).set("r", 4).set("fill", colour);
        row = row
            .add(line((x(lower_quartile), y), (x(upper_quartile), y), colour, 2.0))
            .add(dot.add(Title::new(words)));
    }
    row
}
