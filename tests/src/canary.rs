//! The canary: an outside process of the same user that must be hit by nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::lock::Lock;
use crate::procs::Proc;
use crate::script;

/// Every signal that a process can see coming.
const NOTED: [&str; 9] = ["HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "TERM", "CONT", "WINCH"];

/// Seconds after which no round goes on that it stands beside.
const ROUND_ENDS: &str = "3600";

/// The process, which is killed when this is dropped.
#[derive(Debug)]
pub struct Canary {
    process: Child,
    lock: Lock,
    notes: PathBuf,
}

impl Canary {
    /// Starts one by this puppet's program; its files go into `dir`.
    pub fn new(puppet: &Path, dir: &Path) -> Canary {
        let (lock, notes) = (dir.join("canary"), dir.join("canary-notes"));
        // Of one before.
        let _ = fs::remove_file(&notes);
        // It outlives a round of chaos, however slow the machine is.
        let mut words: Vec<OsString> = vec!["alarm".into(), ROUND_ENDS.into()];
        for signal in NOTED {
            words.extend(["note".into(), signal.into(), notes.clone().into()]);
        }
        words.extend(["lock".into(), lock.clone().into()]);
        words.extend(script::split("sleep forever"));
        let process = Command::new(puppet)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start the canary");
        let lock = Lock::at(lock);
        lock.wait_held();
        Canary { process, lock, notes }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What was done to it, if it is not as it was.
    pub fn harm(&mut self) -> Option<String> {
        if let Some(status) = self.process.try_wait().expect("look at the canary") {
            return Some(format!("the canary is dead: {status}"));
        }
        if self.lock.holder().is_none() {
            return Some("the canary has lost its lock".to_owned());
        }
        if Proc::get(self.process.id()).expect("the canary").state == 'T' {
            return Some("the canary was stopped".to_owned());
        }
        let notes = fs::read_to_string(&self.notes).expect("the canary's notes");
        (!notes.is_empty()).then(|| format!("the canary got signals: {}", notes.replace('\n', " ")))
    }

    /// Panics, saying what was done to it, unless it is as it was.
    #[track_caller]
    pub fn assert_unharmed(&mut self) {
        assert_eq!(self.harm(), None);
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // Both fail only if it is gone, which assert_unharmed reports.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
