//! The options of `netrunner jobs`, and its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::units;

const EXIT_CODES: &str = "\
Exit codes:
  0        every job ended by itself with code 0
  N        N jobs failed: they exited otherwise, timed out, were stopped or could not be started
  101      more than 100 did
  125      netrunner itself failed
  128+N    signal N ended it before any job failed, and not all have run";

const DETAILS: &str = "\
Jobs:
  Each line of FILE, or of standard input, is a shell command. After `--` stands a command instead,
  which is run once for each value: those after `:::`, else the lines of FILE or standard input. `{}`
  stands for the value, in any word and as often as you like; without one the value comes last. A
  value is never parsed by a shell. Empty lines are no jobs; with -0 every entry is one.
  Jobs read from /dev/null. What one writes comes out when it ends, in one piece.

Examples:
  netrunner jobs -j8 commands.txt
      Runs the commands in the file, eight at a time.
  netrunner jobs --fail-fast -- gcc -c {} ::: *.c
      Compiles; the first failure stops the rest.
  +netrunner jobs --jobserver list.txt
      In a makefile: the jobs, and what a make or cargo in them runs in parallel, take part in -j.
  find . -name '*.png' -print0 | netrunner jobs -0 -- optipng {}
      Runs one command for each file, whatever its name.
  netrunner jobs --job-log done.log --resume commands.txt
      Leaves out what the log says has succeeded. Run it again after a crash or a failure.

Files:
  --report has one JSON object a line, in the order in which jobs end. --job-log has the columns of
  GNU parallel's. --trace has a bar for each try of a job, with the program's name and what it used, in
  the format of Chrome's tracing; Perfetto and speedscope open it, also that of a run which was killed.

Signals:
  INT, TERM, HUP or QUIT: nothing more is started, and what runs is stopped, each job with all that
  it started. The second kills.
";

/// Run many commands, some at a time, and leave nothing of them behind.
///
/// Each job runs as under `netrunner run`: when it ends or is stopped, all that it started does, and
/// all of them do when netrunner itself is killed.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{DETAILS}\n{EXIT_CODES}"))]
#[command(override_usage = "netrunner jobs [OPTIONS] [FILE]\n       \
                            netrunner jobs [OPTIONS] [FILE] -- CMD [ARG|{}]... [::: VALUE...]")]
pub(crate) struct Options {
    /// Run at most so many at a time; by default as many as there are CPUs
    #[arg(short = 'j', long = "jobs", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) at_most: Option<u32>,

    /// Run as many at a time as a surrounding make allows, or else as there are CPUs, and let make, cargo
    /// and ninja in the jobs share that number
    #[arg(long, conflicts_with = "at_most", value_enum, value_name = "FORM",
          num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub(crate) jobserver: Option<Form>,

    /// Stop all others when one has failed
    #[arg(long, conflicts_with = "keep_going")]
    pub(crate) fail_fast: bool,

    /// Go on when one has failed; this is the default
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Stop a job after this time; each try has it anew
    #[arg(long, value_name = "D", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Time between the stop signal and SIGKILL
    #[arg(long, value_name = "D", value_parser = units::duration, default_value = "5s")]
    pub(crate) grace: Duration,

    /// Try a job that has failed so many times more, after growing pauses
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) retries: u32,

    /// Write a line of JSON about each job to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write a line about each job that has ended to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) job_log: Option<PathBuf>,

    /// Write what ran when to this file, for a trace viewer
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Leave out what the job log says has succeeded, and add to it
    #[arg(long, requires = "job_log")]
    pub(crate) resume: bool,

    /// What is told on standard error meanwhile: a bar on a terminal and else lines, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// Entries end with a NUL byte, not with a line end
    #[arg(short = '0', long = "null")]
    pub(crate) null: bool,

    /// Where the entries are read from; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// A command to be run for each value
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// The values of `--jobserver`: how jobs are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// As a surrounding make tells it, else as two descriptors; for every make and cargo
    Auto,
    /// As two descriptors
    Pipe,
    /// As a named pipe; for ninja since 1.13 and make since 4.4
    Fifo,
}

/// The values of `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, else lines
    Auto,
    /// Lines
    Plain,
    /// Nothing, not even a summary
    Off,
}
