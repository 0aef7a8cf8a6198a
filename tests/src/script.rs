//! Scripts given as argument words: `fork [ setsid lock a sleep forever ] exit 3`.
//!
//! Words are bytes. A bracketed part is a script of its own; brackets nest and are words by
//! themselves. There is no quoting, because nothing is ever parsed by a shell.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// The words that are still to be done.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a [OsString],
}

impl<'a> Words<'a> {
    /// A script from its beginning.
    pub fn new(words: &'a [OsString]) -> Words<'a> {
        Words { rest: words }
    }

    /// The next word, or None at the end.
    pub fn next_word(&mut self) -> Option<&'a OsString> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next word as the argument of `verb`.
    pub fn raw(&mut self, verb: &str) -> &'a OsString {
        self.next_word().unwrap_or_else(|| panic!("`{verb}` wants one more word"))
    }

    /// The next word as text.
    pub fn text(&mut self, verb: &str) -> &'a str {
        self.raw(verb).to_str().unwrap_or_else(|| panic!("`{verb}` wants UTF-8"))
    }

    /// The next word as a number.
    pub fn number(&mut self, verb: &str) -> u64 {
        let word = self.text(verb);
        word.parse().unwrap_or_else(|_| panic!("`{verb}` wants a number, not `{word}`"))
    }

    /// The next word as a signal.
    pub fn signal(&mut self, verb: &str) -> i32 {
        let word = self.text(verb);
        signal_number(word).unwrap_or_else(|| panic!("`{verb}` wants a signal, not `{word}`"))
    }

    /// Takes the next word if it is `word`.
    pub fn take_if(&mut self, word: &str) -> bool {
        let there = self.rest.first().is_some_and(|next| next == word);
        if there {
            self.rest = &self.rest[1..];
        }
        there
    }

    /// The bracketed script that must follow `verb`.
    pub fn bracketed(&mut self, verb: &str) -> &'a [OsString] {
        assert!(self.take_if("["), "`{verb}` wants a script in [ brackets ]");
        let mut depth = 1;
        for (at, word) in self.rest.iter().enumerate() {
            match word.as_bytes() {
                b"[" => depth += 1,
                b"]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                return inside;
            }
        }
        panic!("the brackets of `{verb}` are not closed");
    }

    /// Everything that is left.
    pub fn remaining(&mut self) -> &'a [OsString] {
        std::mem::take(&mut self.rest)
    }
}

/// A script that was written as one line.
pub fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ABRT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("WINCH", libc::SIGWINCH),
];

/// The number of a signal, from its name without `SIG` or from a number.
pub fn signal_number(word: &str) -> Option<i32> {
    SIGNALS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, number)| *number)
        .or_else(|| word.parse().ok().filter(|number| (1..=64).contains(number)))
}
