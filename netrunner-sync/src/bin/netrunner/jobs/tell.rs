//! What is told on standard error while jobs run, and at the end: a bar on a terminal, lines otherwise.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::options::Progress;
use super::record::{Fate, Job, Record};
use crate::complain;
use crate::report;

/// Lines of progress are no closer than this.
const PAUSE: Duration = Duration::from_secs(1);

/// How many of the slowest and of the fattest are named at the end.
const NAMED: usize = 3;

pub(crate) struct Teller {
    how: How,
    began: Instant,
    tally: Tally,
    /// Those that run, the oldest first.
    running: BTreeMap<(Instant, u64), String>,
    starts: std::collections::HashMap<u64, Instant>,
    /// How many there are, as far as is known.
    known: u64,
    slowest: Top<Duration>,
    fattest: Top<u64>,
}

enum How {
    Bar(ProgressBar),
    Lines { next: Instant },
    Nothing,
}

/// How many came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) not_run: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.not_run
    }
}

/// Those with the greatest measure, the greatest first.
struct Top<T>(Vec<(T, String)>);

impl<T: Ord + Copy> Top<T> {
    fn add(&mut self, measure: T, job: &Job) {
        let at = self.0.partition_point(|(other, _)| *other >= measure);
        if at < NAMED {
            self.0.insert(at, (measure, job.shown()));
            self.0.truncate(NAMED);
        }
    }

    fn named(&self, shown: impl Fn(T) -> String) -> String {
        let each = self.0.iter().map(|(measure, job)| format!("{job} {}", shown(*measure)));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Teller {
    pub(crate) fn new(progress: Progress) -> Teller {
        let now = Instant::now();
        let how = match progress {
            Progress::Off => How::Nothing,
            Progress::Auto if io::stderr().is_terminal() => How::Bar(bar()),
            Progress::Auto | Progress::Plain => How::Lines { next: now + PAUSE },
        };
        Teller {
            how,
            began: now,
            tally: Tally::default(),
            running: BTreeMap::new(),
            starts: std::collections::HashMap::new(),
            known: 0,
            slowest: Top(Vec::new()),
            fattest: Top(Vec::new()),
        }
    }

    /// How long nothing may be told.
    pub(crate) fn patience(&self) -> Duration {
        match self.how {
            How::Bar(_) => Duration::from_millis(100),
            How::Lines { .. } | How::Nothing => Duration::from_secs(3600),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn known(&mut self) {
        self.known += 1;
    }

    pub(crate) fn skipped(&mut self) {
        self.tally.skipped += 1;
    }

    pub(crate) fn started(&mut self, job: &Job) {
        let now = Instant::now();
        self.starts.insert(job.number, now);
        self.running.insert((now, job.number), job.shown());
    }

    /// What it wrote is out by now.
    pub(crate) fn ended(&mut self, record: &Record) {
        if let Some(at) = self.starts.remove(&record.job.number) {
            self.running.remove(&(at, record.job.number));
        }
        match record.fate {
            Fate::Succeeded => self.tally.succeeded += 1,
            Fate::Failed => self.tally.failed += 1,
            Fate::NotRun => self.tally.not_run += 1,
        }
        if let Some(report) = record.report() {
            self.slowest.add(report.wall, &record.job);
            self.fattest.add(report.usage.max_rss, &record.job);
        }
        if record.fate == Fate::Failed && !matches!(self.how, How::Nothing) {
            let job = &record.job;
            self.say(&format!("job {} {} {}", job.number, job.shown(), record.phrase()));
        }
        let now = Instant::now();
        if let How::Lines { next } = &mut self.how {
            if *next <= now {
                *next = now + PAUSE;
                let line = self.line();
                complain(line);
            }
        }
        self.tick();
    }

    fn line(&self) -> String {
        let Tally { failed, .. } = self.tally;
        let (ended, known, running) = (self.tally.ended(), self.known, self.running.len());
        format!("{ended} of {known} done, {running} running, {failed} failed")
    }

    /// Shows what time has changed.
    pub(crate) fn tick(&self) {
        if let How::Bar(bar) = &self.how {
            bar.set_length(self.known);
            bar.set_position(self.tally.ended());
            let oldest = self
                .running
                .first_key_value()
                .map(|((at, _), job)| format!(", longest {} {job}", report::seconds(at.elapsed())));
            bar.set_message(format!(
                "{} running, {} failed{}",
                self.running.len(),
                self.tally.failed,
                oldest.unwrap_or_default()
            ));
            bar.tick();
        }
    }

    /// Says a line beside the bar.
    fn say(&self, message: &str) {
        self.aside(|| complain(message));
    }

    /// Does something that writes to the terminal, while the bar is out of the way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.how {
            How::Bar(bar) => bar.suspend(write),
            How::Lines { .. } | How::Nothing => write(),
        }
    }

    pub(crate) fn summary(&self) {
        match &self.how {
            How::Nothing => return,
            How::Bar(bar) => bar.finish_and_clear(),
            How::Lines { .. } => {}
        }
        let Tally { succeeded, failed, not_run, skipped } = self.tally;
        let mut text = format!(
            "{} jobs in {}: {succeeded} succeeded, {failed} failed",
            self.tally.ended(),
            report::seconds(self.began.elapsed())
        );
        if not_run > 0 {
            text.push_str(&format!(", {not_run} not run"));
        }
        if skipped > 0 {
            text.push_str(&format!("; {skipped} had succeeded before"));
        }
        complain(text);
        if !self.slowest.0.is_empty() {
            complain(format_args!("slowest: {}", self.slowest.named(report::seconds)));
            complain(format_args!("fattest: {}", self.fattest.named(report::bytes)));
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{bar:20} {pos} of {len}, {wide_msg} {eta}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        // Its own is as good.
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        let text = text.as_bytes().to_vec();
        Job { number: 1, program: "sh".into(), text, started: None, tries: 1 }
    }

    #[test]
    fn the_greatest_are_named_first_and_few_of_them() {
        let mut top = Top(Vec::new());
        for (measure, name) in [(3, "c"), (1, "e"), (5, "a"), (2, "d"), (4, "b"), (0, "f")] {
            top.add(measure, &job(name));
        }
        assert_eq!(top.named(|measure| measure.to_string()), "`a` 5, `b` 4, `c` 3");
    }

    #[test]
    fn a_command_is_shown_on_one_line_and_cut() {
        assert_eq!(job("echo a\nb\x1b[2J").shown(), "`echo a\u{fffd}b\u{fffd}[2J`");
        assert_eq!(job(&"é".repeat(61)).shown(), format!("`{}…`", "é".repeat(60)));
    }
}
