//! Words of the client's script for when anything may happen to it, to what stands beside it, and to
//! its commands: a call may fail, but it comes back, and what it says is true. A part of the
//! client's program.
//!
//! | words | |
//! |---|---|
//! | `may-run-out` | from here on commands may fail by themselves, for want of whatever ran out |
//! | `may-spawn [ … ]` | if there is no error, the child becomes the current one |
//! | `may-output N BYTES [ … ]` | the command writes so much of the pattern and exits N; is struck; or an error |
//! | `must-output N BYTES [ … ]` | the same, with nothing that could go wrong |
//! | `may-jobs N TOTAL CODE [ … ]` | TOTAL such commands by `Jobs`, N at a time, that write nothing |
//! | `may-wait N` `may-stop` `may-kill` `may-drop` `may-detach` `may-signal SIG` | the current child, if there is one |
//! | `may-shoot-shepherd` | SIGKILL to the shepherd of the current child |
//! | `may-keep` | from here on shepherds may stay beside what was kept, and with them the descriptors that tell of their end |
//! | `let-go` | of all children and all shepherds; descriptors that belong to commands must be closed then |

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;

use netrunner_sync::{Child, Command, Error, ExitStatus, Jobs, Output, Shepherds, Signal};
use netrunner_tests::failed::{fail, must};
use netrunner_tests::script::Words;
use netrunner_tests::{pattern, procs, sys, wait};

use crate::{Client, Settings, told};

/// What a client keeps open for good: of each at most one.
const KEPT: [&str; 3] = ["anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]"];

/// A shepherd's, until that ends.
const PIDFD: &str = "anon_inode:[pidfd]";

impl Client {
    /// False if the verb is none of these.
    pub(crate) fn rough(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "may-run-out" => self.settings.may_run_out = true,
            "may-keep" => self.settings.may_keep = true,
            "may-spawn" => {
                let spawned = honest(self.settings.command(words.bracketed(verb)).spawn());
                // Then what is said of it must not hit the one before.
                self.settings.no_child = spawned.is_none();
                if let Some(child) = spawned {
                    self.last_pid = child.id();
                    self.children.push(child);
                }
            }
            "may-output" | "must-output" => {
                let wanted = words.number(verb) as i32;
                let bytes = words.number(verb);
                let mut command = self.settings.captured(words.bracketed(verb));
                let output = honest(command.output());
                if verb == "must-output"
                    && output.as_ref().and_then(|it| it.status.code()) != Some(wanted)
                {
                    fail(format_args!("it does not work again: {output:?}"));
                }
                if let Some(output) = output {
                    self.settings.judge(wanted, output.status);
                    // What a puppet says when it fails by itself goes to its terminal as well.
                    if !(self.settings.may_run_out && self.settings.terminal) {
                        whole_or_struck(&output, wanted, bytes);
                    }
                }
            }
            "may-jobs" => {
                let at_most = words.number(verb) as usize;
                let total = words.number(verb);
                let wanted = words.number(verb) as i32;
                let script = words.bracketed(verb);
                let mut jobs = Jobs::new(at_most);
                for _ in 0..total {
                    jobs.push(self.settings.captured(script));
                }
                let mut finished = 0;
                for job in jobs {
                    finished += 1;
                    if let Some(output) = honest(job.result) {
                        self.settings.judge(wanted, output.status);
                    }
                }
                if finished != total {
                    fail(format_args!("{finished} of {total} jobs have finished"));
                }
            }
            "let-go" => {
                self.children.clear();
                Shepherds::refresh();
                if !wait::reached_within(wait::PATIENCE, || self.surplus().is_empty()) {
                    fail(format_args!("descriptors are left: {:?}", self.surplus()));
                }
            }
            _ => return self.current_may(verb, words),
        }
        true
    }

    fn current_may(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "may-wait" => {
                let wanted = words.number(verb) as i32;
                if let Some(status) = self.take().and_then(|mut it| honest(it.wait())) {
                    self.settings.judge(wanted, status);
                }
            }
            "may-stop" => drop(self.take().and_then(|mut child| honest(child.stop()))),
            "may-kill" => {
                if let Some(mut child) = self.take() {
                    honest(child.kill());
                    honest(child.wait());
                }
            }
            "may-drop" => drop(self.take()),
            "may-detach" => drop(self.take().map(Child::detach)),
            "may-shoot-shepherd" => {
                let child = self.last().and_then(|child| procs::Proc::get(child.id()));
                if let Some(shepherd) = child.map(|child| child.ppid) {
                    // It may have ended, and its child with it.
                    let _ = sys::kill(shepherd as i32, libc::SIGKILL);
                }
            }
            "may-signal" => {
                let signal = must(verb, Signal::try_from(words.signal(verb)));
                self.last().and_then(|child| honest(child.signal(signal)));
            }
            _ => return false,
        }
        true
    }

    fn take(&mut self) -> Option<Child> {
        if self.settings.no_child { None } else { self.children.pop() }
    }

    fn last(&self) -> Option<&Child> {
        self.children.last().filter(|_| !self.settings.no_child)
    }

    /// The descriptors that nothing is known about.
    fn surplus(&self) -> Vec<(i32, String)> {
        let mut surplus = procs::descriptors(std::process::id());
        let of_a_kept_one = |target: &str| target == PIDFD || target.starts_with("socket:");
        surplus.retain(|(number, target)| {
            *number > 2 && !(self.settings.may_keep && of_a_kept_one(target))
        });
        for kept in KEPT {
            if let Some(at) = surplus.iter().position(|(_, target)| target == kept) {
                surplus.remove(at);
            }
        }
        surplus
    }
}

impl Settings {
    /// With its outputs for us, whatever is said of those of others.
    fn captured(&self, script: &[OsString]) -> Command {
        let mut command = self.command(script);
        if !self.terminal {
            command.stdout(netrunner_sync::Stdio::piped());
        }
        command
    }

    /// An end of its own is the one that the script wants. Anything else was done to it.
    fn judge(&self, wanted: i32, status: ExitStatus) {
        let right = match status.code() {
            Some(code) => code == wanted || self.may_run_out && code != 0,
            None => status.signal().is_some(),
        };
        if !right {
            fail(format_args!("a made-up status: {status} and not {wanted}"));
        }
    }
}

/// The value, or nothing where the error says what was wrong.
fn honest<T>(result: Result<T, Error>) -> Option<T> {
    let error = match result {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let nothing = error.kind() == ErrorKind::Other && told::predicates(&error).is_empty();
    // What was killed before it was anything has no number to tell.
    if nothing && !error.to_string().contains(": signal: ") {
        fail(format_args!("an error that names nothing: {error}"));
    }
    None
}

/// All that was written before an exit is there; of what was struck, its beginning.
fn whole_or_struck(output: &Output, wanted: i32, bytes: u64) {
    let stdout = &output.stdout;
    let whole = stdout.len() as u64 == bytes;
    let right = (0..).zip(stdout).all(|(at, &byte)| byte == pattern::byte_at(at));
    if !right || (output.status.code() == Some(wanted) && !whole) {
        fail(format_args!("{}, and {} bytes of {bytes}", output.status, stdout.len()));
    }
}
