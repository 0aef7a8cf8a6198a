//! What runs out, as words of the client's script: descriptors and processes are taken and given back.
//! A part of the client's program.
//!
//! | words | |
//! |---|---|
//! | `open-many N` | N descriptors that survive an exec, as a careless program has them |
//! | `remember-fds` `check-fds` `count-fds` | their number must be the same; is printed |
//! | `fill-fds N` `free-fds` | all descriptors but N are in use, with 128 allowed; not any more |
//! | `limit nofile\|nproc N` | sets the soft limit |
//! | `ballast N` `no-ballast` | N processes that only sleep; all of them killed and reaped |

use std::fs::File;
use std::io::Write as _;

use netrunner_tests::failed::{fail, must};
use netrunner_tests::script::Words;
use netrunner_tests::{procs, sys, wait};

use crate::beside_us;

/// What the client holds only to have it.
#[derive(Default)]
pub(crate) struct Scarce {
    descriptors: usize,
    kept_open: Vec<File>,
    ballast: Vec<std::process::Child>,
}

impl Scarce {
    /// False if the verb is none of these.
    pub(crate) fn perform(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "open-many" => {
                let count = words.number(verb);
                must(verb, sys::allow_descriptors(count + 500));
                for _ in 0..count {
                    let file = must(verb, File::open("/dev/null"));
                    // As a careless program does: open across exec.
                    must(verb, sys::keep_across_exec(&file));
                    self.kept_open.push(file);
                }
            }
            "fill-fds" => {
                must(verb, sys::set_soft_limit(libc::RLIMIT_NOFILE, 128));
                while let Ok(file) = File::open("/dev/null") {
                    self.kept_open.push(file);
                }
                let keep = self.kept_open.len() as u64 - words.number(verb);
                self.kept_open.truncate(keep as usize);
            }
            "free-fds" => self.kept_open.clear(),
            "ballast" => {
                for _ in 0..words.number(verb) {
                    let mut sleeper = std::process::Command::new(beside_us("puppet"));
                    self.ballast.push(must(verb, sleeper.args(["sleep", "forever"]).spawn()));
                }
            }
            "no-ballast" => {
                for mut sleeper in self.ballast.drain(..) {
                    must(verb, sleeper.kill().and_then(|()| sleeper.wait()));
                }
            }
            "limit" => {
                let resource = match words.text(verb) {
                    "nofile" => libc::RLIMIT_NOFILE,
                    "nproc" => libc::RLIMIT_NPROC,
                    other => fail(format_args!("`limit {other}`")),
                };
                must(verb, sys::set_soft_limit(resource, words.number(verb)));
            }
            "count-fds" => {
                let count = procs::descriptors(std::process::id()).len();
                must("print", writeln!(std::io::stdout(), "{count}"));
            }
            "remember-fds" => self.descriptors = procs::descriptors(std::process::id()).len(),
            "check-fds" => {
                let now = || procs::descriptors(std::process::id());
                // The watcher may still be closing what belonged to the last command.
                if !wait::reached_within(wait::PATIENCE, || now().len() == self.descriptors) {
                    fail(format_args!(
                        "there were {} descriptors, now there are {:?}",
                        self.descriptors,
                        now()
                    ));
                }
            }
            _ => return false,
        }
        true
    }
}
