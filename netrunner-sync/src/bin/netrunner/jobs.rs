//! `netrunner jobs`: many commands, some at a time. The running is the library's; this file goes between
//! the list, the jobs and those who are told.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel, sync_channel};
use std::task::Poll;
use std::time::{Instant, SystemTime};

use netrunner_sync::{Command, Finished, JobId, Jobs, Jobserver, Output};

use crate::complain;
use crate::report::FAILED;

mod list;
mod log;
mod options;
mod record;
mod signals;
mod source;
mod tell;
mod trace;

use list::{Ending, Work};
use log::JobLog;
use options::Form;
pub(crate) use options::Options;
use record::{Fate, Job, Record};
use signals::{First, Held};
use source::{AHEAD, Source, Word};
use tell::Teller;
use trace::{Outcome, Trace};

/// The exit code for more failed jobs than are counted.
const MANY: u8 = 101;

/// How many run at a time at most, however many a surrounding make allows.
const MOST: usize = 1024;

/// What a job has written is kept in memory up to this, and in a nameless file beyond.
const KEPT: u64 = 1 << 20;

/// Runs them and returns the exit code.
pub(crate) fn jobs(options: Options) -> u8 {
    match Run::start(options) {
        Ok(run) => run.finish(),
        Err(message) => {
            complain(message);
            FAILED
        }
    }
}

/// What a try has come to.
enum Try {
    Started(u32, SystemTime),
    /// Told only where it is asked for.
    Ended(Outcome),
}

struct Run {
    options: Options,
    work: Work,
    jobs: Jobs,
    words: Receiver<Word>,
    /// The list may have more.
    is_open: bool,
    /// The place of the last one in the list.
    last: u64,
    waiting: HashMap<JobId, Job>,
    tries: Receiver<(JobId, Instant, Try)>,
    signal: First,
    teller: Teller,
    log: Option<(String, JobLog)>,
    report: Option<(String, File)>,
    trace: Option<(String, Trace)>,
    /// What of our own has failed; told already.
    has_failed: bool,
}

impl Run {
    fn start(options: Options) -> Result<Run, String> {
        let (work, values) = list::split(&options.command)?;
        let source = Source::open(options.file.as_ref(), values)?;
        let report = opened("create", &options.report, |path| File::create(path))?;
        let log = opened("open", &options.job_log, |path| JobLog::open(path, options.resume))?;
        let trace = opened("create", &options.trace, Trace::create)?;
        let held = Held::new().map_err(|error| format!("failed to hold signals back: {error}"))?;
        let mut jobs = start_with(&options)?;
        jobs.fail_fast(options.fail_fast).retries(options.retries).spill(KEPT);
        if let Some(timeout) = options.timeout {
            jobs.timeout(timeout);
        }
        // Both ends are this thread's.
        let (sender, tries) = channel();
        if trace.is_some() {
            let sender = sender.clone();
            jobs.on_end(move |id, _, result| {
                let _ = sender.send((id, Instant::now(), Try::Ended(Outcome::of(result))));
            });
        }
        jobs.on_start(move |id, tries| {
            let _ = sender.send((id, Instant::now(), Try::Started(tries, SystemTime::now())));
        });
        let (sender, words) = sync_channel(AHEAD);
        let failed = |error: io::Error| format!("failed to start a thread: {error}");
        let signal = held.end(jobs.handle(), sender.clone()).map_err(failed)?;
        let ending = if options.null { Ending::Nul } else { Ending::Line };
        source.start(ending, sender, jobs.handle()).map_err(failed)?;
        let teller = Teller::new(options.progress);
        Ok(Run {
            options,
            work,
            jobs,
            words,
            is_open: true,
            last: 0,
            waiting: HashMap::new(),
            tries,
            signal,
            teller,
            log,
            report,
            trace,
            has_failed: false,
        })
    }

    fn finish(mut self) -> u8 {
        loop {
            self.take_entries();
            let next = self.jobs.next_timeout(self.teller.patience());
            self.note_tries();
            match next {
                Poll::Ready(Some(finished)) => self.ended(finished),
                Poll::Pending => self.teller.tick(),
                Poll::Ready(None) if !self.is_open => break,
                Poll::Ready(None) => match self.words.recv_timeout(self.teller.patience()) {
                    Ok(word) => self.hear(word),
                    Err(RecvTimeoutError::Timeout) => self.teller.tick(),
                    Err(RecvTimeoutError::Disconnected) => self.is_open = false,
                },
            }
        }
        if let Some((path, trace)) = self.trace.take() {
            if let Err(error) = trace.finish() {
                self.fail(&failed_to_write(&path, error));
            }
        }
        self.teller.summary();
        self.code()
    }

    fn code(&self) -> u8 {
        let tally = self.teller.tally();
        if self.has_failed {
            return FAILED;
        }
        match (tally.failed, self.signal.number()) {
            (0, Some(number)) => u8::try_from(128 + number).unwrap_or(FAILED),
            (failed @ 0..=100, _) => failed as u8,
            _ => MANY,
        }
    }

    /// Takes over what the list has by now, but not all of a list that never ends.
    fn take_entries(&mut self) {
        while self.is_open && self.jobs.waiting() < AHEAD {
            match self.words.try_recv() {
                Ok(word) => self.hear(word),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.is_open = false,
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Entry(entry) if self.signal.number().is_none() => self.push(entry),
            // Nothing more is to be started.
            Word::Entry(_) | Word::Signal | Word::End => self.is_open = false,
            Word::Failed(message) => {
                self.is_open = false;
                self.fail(&message);
            }
        }
    }

    fn push(&mut self, entry: Vec<u8>) {
        self.last += 1;
        let list::Job { words, text } = self.work.job(entry);
        if self.log.as_mut().is_some_and(|(_, log)| log.is_done(&text)) {
            return self.teller.skipped();
        }
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(words).grace(self.options.grace);
        let id = self.jobs.push(command);
        let job = Job { number: self.last, program, text, started: None, tries: 0 };
        self.waiting.insert(id, job);
        self.teller.known();
    }

    fn note_tries(&mut self) {
        let mut traced = Ok(());
        for (id, at, what) in self.tries.try_iter() {
            let Some(job) = self.waiting.get_mut(&id) else { continue };
            match what {
                Try::Started(tries, time) => {
                    job.started = Some(time);
                    job.tries = tries;
                    self.teller.started(job);
                    if let Some((_, trace)) = &mut self.trace {
                        traced = traced.and_then(|()| trace.started(id, at));
                    }
                }
                Try::Ended(outcome) => {
                    if let Some((_, trace)) = &mut self.trace {
                        traced = traced.and_then(|()| trace.ended(id, job, at, outcome));
                    }
                }
            }
        }
        // Nothing is added to what has a hole.
        if let Err(error) = traced {
            if let Some((path, _)) = self.trace.take() {
                self.fail(&failed_to_write(&path, error));
                self.stop();
            }
        }
    }

    fn ended(&mut self, finished: Finished) {
        let Some(job) = self.waiting.remove(&finished.id) else { return };
        let record = Record::new(job, finished);
        if let Some(output) = record.output() {
            if let Err(error) = self.teller.aside(|| pass_on(output)) {
                // Nobody takes what they write: as with a program that gets SIGPIPE.
                self.fail(&format!("failed to write what a job has written: {error}"));
                self.stop();
            }
        }
        // After its output: what is cut off in between runs again, rather than never.
        if let (Some((path, log)), Some(entry)) = (&mut self.log, record.entry()) {
            if let Err(error) = log.add(entry) {
                let message = failed_to_write(path, error);
                self.fail(&message);
                self.stop();
            }
        }
        if let Some((path, file)) = &mut self.report {
            if let Err(error) = file.write_all(record.json().as_bytes()) {
                let message = failed_to_write(path, error);
                self.fail(&message);
                self.stop();
            }
        }
        if self.options.fail_fast && record.fate == Fate::Failed {
            self.is_open = false;
        }
        self.teller.ended(&record);
    }

    fn stop(&mut self) {
        self.is_open = false;
        self.jobs.handle().stop_all();
    }

    /// Tells of a failure of our own, once.
    fn fail(&mut self, message: &str) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.teller.aside(|| complain(message));
        }
    }
}

/// The file of an option, with its name for people.
fn opened<T>(
    how: &str,
    path: &Option<PathBuf>,
    open: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<Option<(String, T)>, String> {
    let Some(path) = path else { return Ok(None) };
    let name = path.display().to_string();
    match open(path) {
        Ok(file) => Ok(Some((name, file))),
        Err(error) => Err(format!("failed to {how} `{name}`: {error}")),
    }
}

fn failed_to_write(path: &str, error: io::Error) -> String {
    format!("failed to write to `{path}`: {error}")
}

/// How many at a time: a number, or what a jobserver says.
fn start_with(options: &Options) -> Result<Jobs, String> {
    let Some(form) = options.jobserver else {
        return Ok(Jobs::new(options.at_most.map_or(0, |most| most as usize)));
    };
    let jobserver = match Jobserver::from_env() {
        Ok(Some(jobserver)) => jobserver,
        Ok(None) => Jobserver::new(0).map_err(|error| error.to_string())?,
        Err(error) => {
            // As make does it.
            complain(format_args!("{error}: one job at a time (begin the recipe with `+`)"));
            return Ok(Jobs::new(1));
        }
    };
    let mut jobs = Jobs::new(MOST);
    jobs.jobserver(match form {
        Form::Auto => jobserver,
        Form::Pipe => jobserver.fifo(false),
        Form::Fifo => jobserver.fifo(true),
    });
    Ok(jobs)
}

/// Passes on what a job has written, each stream in one piece.
fn pass_on(output: &Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&output.stdout)?;
    if let Some(file) = &output.stdout_file {
        io::copy(&mut file.reader(), &mut stdout)?;
    }
    stdout.flush()?;
    let mut stderr = io::stderr().lock();
    // Where stderr is closed there is nobody to tell.
    let _ = stderr.write_all(&output.stderr);
    if let Some(file) = &output.stderr_file {
        let _ = io::copy(&mut file.reader(), &mut stderr);
    }
    Ok(())
}
