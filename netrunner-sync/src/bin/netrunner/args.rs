//! The command line: its options, its help, and what a wrong one is answered with. What the
//! options do is the work of `run`.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use netrunner_sync::{Signal, WinSize};

use crate::units::{self, Limit, Variable};

const EXIT_CODES: &str = "\
Exit codes:
  N        the command exited with code N
  128+N    signal N ended it
  124      it timed out, was silent for too long or wrote too much
  125      netrunner itself failed, or could not do what an option asks for
  126      the command was found but cannot be executed
  127      the command was not found
  --report=json tells an exit with code 137 from a death by signal 9.";

const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0        everything that NetRunner needs is there; what is missing has another way
  125      commands can't be run safely here";

const RUN_DETAILS: &str = "\
Examples:
  netrunner run -- make -j8
      Runs make. When it ends, or netrunner does, in whatever way, nothing that make started is
      left running.
  netrunner run --timeout 10m --grace 30s -- ./integration-tests
      Asks it to end after ten minutes, and kills what lives half a minute later.
  netrunner run --report=json --report-file build.json -- cargo build
      Says afterwards how it ended, what time and memory it took and what it left running.
  netrunner run --leftovers wait --signal INT -- ./start-all.sh
      Is over when all that the script started is, not when the script is.
  netrunner run --pty=24x120 -- cargo test >log
      Writes to a terminal of that size, with its colours and progress bars, in a CI job too.

Units:
  D        a duration: 300ms, 0.3s, 2m, 1h, 1d; a bare number is seconds
  SIG      a signal: TERM, SIGTERM, 15, RTMIN+1
  SIZE     a number of bytes, with K, M, G, T (powers of 1024) if you like, or max: no limit
  SOFT     a number, with K, M, G, T (powers of 1024) if you like, or max: no limit

Signals:
  What is sent to netrunner goes on to the command, real-time signals included. The second INT
  stops the command as a timeout would, the third kills it. TSTP stops both, CONT makes both go on.
  A stop is always the same: the stop signal to all that the command started, --grace, SIGKILL to
  what still lives. With --pty, Ctrl-C and its like are typed on the command's own terminal, and
  TSTP stops netrunner alone.

Descriptors:
  Standard input, output and error are handed through; with --idle-timeout or --max-output,
  output and error are pipes, and a terminal is no terminal to the command, unless --pty gives it
  one. Others are closed in the command, except those of a make jobserver that MAKEFLAGS announces,
  and those that --fd names.
";

/// Run commands so that nothing they start outlives them.
#[derive(Debug, Parser)]
#[command(name = "netrunner", version, after_help = EXIT_CODES, max_term_width = 100)]
// A lone `netrunner` gets a sentence, not a page of help in place of an error.
#[command(arg_required_else_help = false, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Subcommands,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Subcommands {
    Run(Box<Run>),
    Jobs(Box<crate::jobs::Options>),
    Doctor(Doctor),
    Ps(Ps),
    Completions(Completions),
    Man(Man),
}

/// Print the completions of a shell.
///
/// For bash: netrunner completions bash > ~/.local/share/bash-completion/completions/netrunner
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Write the manual pages into a folder.
///
/// One page for netrunner and one for each subcommand, for man(1): netrunner man
/// ~/.local/share/man/man1
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Say what this system lets NetRunner do, and what to change.
///
/// Looks for everything that NetRunner can use, and runs a command to see that it works. The last
/// line is the verdict.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXIT_CODES)]
pub(crate) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Remove the cgroups of commands whose netrunner was killed, instead
    #[arg(long, conflicts_with = "json")]
    pub(crate) sweep: bool,
}

/// List the live shepherds, and what runs below them.
///
/// For each its client, and each process with its age, CPU time and memory. All that this user may
/// see in /proc is listed; of other users' shepherds the client can't be told.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Print one JSON object; times are seconds, memory is bytes
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run one command, and leave nothing of it behind.
///
/// Runs CMD under a shepherd: a small process that stops and reaps everything that CMD starts,
/// also when netrunner itself is killed.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{RUN_DETAILS}\n{EXIT_CODES}"))]
#[command(override_usage = "netrunner run [OPTIONS] -- CMD [ARG]...")]
pub(crate) struct Run {
    /// Stop the command after this time; 0 is at once
    #[arg(long, value_name = "D", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Stop the command when it has written nothing for this time; its output then goes through
    /// pipes
    #[arg(long, value_name = "D", value_parser = units::duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// Stop the command when it writes more than this to standard output, or to standard error;
    /// exactly so much is passed on, through pipes
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_output: Option<u64>,

    /// Time between the stop signal and SIGKILL
    #[arg(long, value_name = "D", value_parser = units::duration, default_value = "5s")]
    pub(crate) grace: Duration,

    /// The stop signal [default: TERM; with --pty HUP, and then TERM to what outlives the command]
    #[arg(long, value_name = "SIG", value_parser = signal)]
    pub(crate) signal: Option<Signal>,

    /// What happens to processes that still run when the command has ended by itself
    #[arg(long, value_enum, value_name = "FATE", default_value_t = Leftovers::Stop)]
    pub(crate) leftovers: Leftovers,

    /// Run the command in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,

    /// Set a variable of the environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE",
          value_parser = OsStringValueParser::new().try_map(units::variable))]
    pub(crate) env: Vec<Variable>,

    /// Start from an empty environment; --env adds to it
    #[arg(long)]
    pub(crate) env_clear: bool,

    /// Read standard input from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,

    /// Send standard error to standard output, in order
    #[arg(long)]
    pub(crate) merge_stderr: bool,

    /// Give the command a terminal of its own, which shows what it writes on standard output.
    ///
    /// Without a size it is as large as the terminal that netrunner is on, and follows that; 24x80
    /// where there is none. Keys go through as they are; where standard input is no terminal, what is
    /// read there is typed, and then the end of file.
    #[arg(long, value_name = "ROWSxCOLS", num_args = 0..=1, require_equals = true,
          value_parser = units::window)]
    pub(crate) pty: Option<Option<WinSize>>,

    /// The permissions that new files don't get, in octal
    #[arg(long, value_name = "MASK", value_parser = units::umask)]
    pub(crate) umask: Option<u32>,

    /// Add to the niceness; below 0 needs a privilege
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-40..=40))]
    pub(crate) nice: Option<i32>,

    /// Limit a resource, as getrlimit(2) names it: NOFILE=64, AS=2G:max, CPU=10; without HARD
    /// both limits are SOFT; may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = units::limit)]
    pub(crate) rlimit: Vec<Limit>,

    /// Leave this descriptor open in the command, at the same number; may be repeated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    pub(crate) fd: Vec<RawFd>,

    /// Leave all descriptors open in the command
    #[arg(long)]
    pub(crate) inherit_fds: bool,

    #[command(flatten)]
    pub(crate) group: crate::group::Options,

    /// Say on standard error, after the command, how it ended and what it used
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "text")]
    pub(crate) report: Option<Format>,

    /// Write the report to this file instead; made or emptied before the command starts
    #[arg(long, value_name = "FILE")]
    pub(crate) report_file: Option<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// The values of `--leftovers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Leftovers {
    /// They are stopped
    Stop,
    /// netrunner waits until they have ended, too
    Wait,
    /// They run on
    Keep,
}

/// The values of `--report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A few lines for people
    Text,
    /// One JSON object
    Json,
}

impl From<Leftovers> for netrunner_sync::Leftovers {
    fn from(leftovers: Leftovers) -> netrunner_sync::Leftovers {
        match leftovers {
            Leftovers::Stop => netrunner_sync::Leftovers::Stop,
            Leftovers::Wait => netrunner_sync::Leftovers::Wait,
            Leftovers::Keep => netrunner_sync::Leftovers::Keep,
        }
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|_| "use a name or a number: TERM, SIGTERM, 15, RTMIN+1".to_owned())
}

/// What clap has to say about a command line, without its own "error: ".
pub(crate) fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(words: &[&str]) -> Result<Run, clap::Error> {
        let words = ["netrunner", "run"].iter().chain(words);
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Subcommands::Run(run) => *run,
            other @ (Subcommands::Jobs(_)
            | Subcommands::Doctor(_)
            | Subcommands::Ps(_)
            | Subcommands::Completions(_)
            | Subcommands::Man(_)) => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let run = read(&["--", "true"]).unwrap();
        assert_eq!((run.timeout, run.grace), (None, Duration::from_secs(5)));
        assert_eq!((run.signal, run.leftovers), (None, Leftovers::Stop));
        assert_eq!((run.report, run.report_file), (None, None));
    }

    #[test]
    fn all_after_the_dashes_is_the_command() {
        let run = read(&["--timeout", "1", "--", "sh", "--timeout", "--", "-c"]).unwrap();
        assert_eq!(run.command, ["sh", "--timeout", "--", "-c"]);
        assert_eq!(run.timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_report_takes_its_format_after_the_sign_only() {
        assert_eq!(read(&["--report", "--", "true"]).unwrap().report, Some(Format::Text));
        assert_eq!(read(&["--report=text", "--", "true"]).unwrap().report, Some(Format::Text));
        assert_eq!(read(&["--report=json", "--", "true"]).unwrap().report, Some(Format::Json));
        assert!(read(&["--report", "json", "--", "true"]).is_err());
    }

    #[test]
    fn negative_niceness_is_no_option() {
        assert_eq!(read(&["--nice", "-5", "--", "true"]).unwrap().nice, Some(-5));
        assert_eq!(read(&["--nice=-5", "--", "true"]).unwrap().nice, Some(-5));
    }

    #[test]
    fn bad_values_are_refused_and_named() {
        for (option, value) in [
            ("--timeout", "soon"),
            ("--grace", "-1"),
            ("--idle-timeout", "never"),
            ("--max-output", "much"),
            ("--signal", "NOPE"),
            ("--signal", "0"),
            ("--leftovers", "some"),
            ("--env", "NAME"),
            ("--umask", "9"),
            ("--nice", "much"),
            ("--nice", "41"),
            ("--rlimit", "NOPE=1"),
            ("--rlimit", "NOFILE=2:1"),
            ("--fd", "2"),
            ("--fd", "-1"),
            ("--fd", "4294967299"),
            ("--report", "xml"),
        ] {
            let error = read(&[&format!("{option}={value}"), "--", "true"]).unwrap_err();
            let text = complaint(&error);
            assert!(text.starts_with("invalid value") && text.contains(option), "{text}");
        }
    }

    #[test]
    fn a_command_is_needed_after_the_dashes() {
        for words in [&[][..], &["--"], &["true"], &["--no-such", "--", "true"], &["--report"]] {
            let error = read(words).unwrap_err();
            assert!(error.use_stderr(), "{words:?}");
            assert!(!complaint(&error).starts_with("error"), "{words:?}");
        }
    }
}
