//! Daemons of the client, as words of its script. A part of the client's program.
//!
//! | words | |
//! |---|---|
//! | `serve [ … ]` | starts a daemon that is always started again, on top of the earlier ones |
//! | `serve-wait` | waits for the end of the last one, and prints the error and the number of its runs |
//! | `serve-drop` | drops all of them, in the reverse order |
//! | `serve-in-copy` | a raw copy of this process uses the last one, prints what it is told, and ends |

use std::io::Write as _;
use std::time::Duration;

use netrunner_sync::{Command, Daemon, Daemons, Restart};
use netrunner_tests::failed::must;
use netrunner_tests::script::Words;
use netrunner_tests::sys::{self, Forked, Waited};

use crate::told;

#[derive(Default)]
pub(crate) struct Serving {
    daemons: Daemons,
}

impl Serving {
    /// False if the verb is none of these.
    pub(crate) fn perform(
        &mut self,
        verb: &str,
        words: &mut Words<'_>,
        command: impl FnOnce(&[std::ffi::OsString]) -> Command,
    ) -> bool {
        match verb {
            "serve" => {
                let restart = Restart::always().pause(Duration::from_millis(1));
                let builder = Daemon::builder(command(words.bracketed(verb)));
                let builder = builder.restart(restart.give_up_after(u32::MAX));
                self.daemons.push(must(verb, builder.stdin_queue(1 << 10).start()));
            }
            "serve-wait" => {
                let daemon = must(verb, self.daemons.iter().last().ok_or("there is none"));
                let told =
                    daemon.wait().err().map_or_else(|| "ok".to_owned(), |it| told::line(&it));
                let runs = daemon.health().run;
                must("print", writeln!(std::io::stdout(), "{told}\nruns: {runs}"));
            }
            "serve-drop" => self.daemons = Daemons::new(),
            "serve-in-copy" => {
                if let Forked::Origin(copy) = must(verb, sys::fork()) {
                    while !matches!(sys::wait_any(true), Waited::Reaped(pid, _) if pid == copy) {}
                } else {
                    self.use_in_copy();
                    sys::exit_now(0);
                }
            }
            _ => return false,
        }
        true
    }

    fn use_in_copy(&mut self) {
        let daemon = must("find the daemon", self.daemons.iter().last().ok_or("there is none"));
        let errors = [
            daemon.wait().err(),
            daemon.wait_ready().err(),
            daemon.stop().err(),
            daemon.kill().err(),
            daemon.send("text").err(),
        ];
        for error in errors {
            let told = error.as_ref().map_or_else(|| "ok".to_owned(), told::line);
            must("print", writeln!(std::io::stdout(), "{told}"));
        }
        let state = daemon.health().state;
        must("print", writeln!(std::io::stdout(), "{state:?} {:?}", daemon.recent()));
        self.daemons = Daemons::new();
    }
}
