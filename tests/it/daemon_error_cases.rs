//! How to meet each error of daemons. What it must look like is `errors`' matter.

use std::fs;
use std::sync::mpsc;

use netrunner_sync::{Daemon, LogFile, Ready, Restart, WinSize};
use netrunner_tests::sys;

use crate::daemon::eager;
use crate::error_cases::{Case, Sandbox, attempt, call, without_descriptors};
use crate::harness::*;
use crate::told;

/// How to meet each row that speaks of daemons, in this order: the first needs a process that has none.
pub(crate) const DAEMON_CASES: &[Case] = &[
    ("failed to start the thread for daemons: …", || {
        let start = || Daemon::builder(puppet("exit 0")).start().expect_err("no room");
        told::line(&without_descriptors(start))
    }),
    ("failed to start a thread for the lines of `…`: …", || {
        // The other thread is there already.
        Daemon::builder(puppet("exit 0")).start().expect("start").wait().expect("wait");
        let sandbox = Sandbox { rule: call(libc::SYS_clone3), errno: libc::EAGAIN, process: "" };
        sandbox.run(|_| Daemon::builder(puppet("exit 0")).on_line(|_, _| {}).start().err())
    }),
    ("failed to open the log file of `…`: …", || {
        let builder = Daemon::builder(puppet("exit 0"));
        told::line(&builder.log_file(LogFile::new("/no/such/log")).start().expect_err("no folder"))
    }),
    ("failed to find `…`: …", || {
        let here = std::env::current_dir().expect("here");
        fs::create_dir("gone").expect("make a directory");
        std::env::set_current_dir("gone").expect("go there");
        fs::remove_dir("../gone").expect("remove it");
        let builder = Daemon::builder(puppet("exit 0")).ready(Ready::file("sign"));
        let line = told::line(&builder.start().expect_err("from where?"));
        std::env::set_current_dir(here).expect("come back");
        line
    }),
    ("a daemon `…` …", || {
        let mut command = puppet("exit 0");
        command.pty(WinSize::new(24, 80));
        told::line(&Daemon::builder(command).start().expect_err("a terminal"))
    }),
    ("`…` is not ready: …", || {
        let builder = Daemon::builder(puppet("exit 3")).ready(Ready::line("up"));
        told::line(&builder.start().expect("start").wait_ready().expect_err("it has ended"))
    }),
    ("failed to start `…` again: permission denied", || {
        // The thread that starts it may do less than the one that would start it again.
        let (tell, told) = mpsc::channel();
        let start = move || {
            sys::no_new_privs().expect("give up privileges");
            let restart: Restart = eager().give_up_after(2);
            let daemon = Daemon::builder(puppet("exit 3")).restart(restart).start();
            tell.send(daemon.expect("start")).expect("hand it over");
        };
        std::thread::spawn(start).join().expect("no panic");
        let daemon = told.recv().expect("the daemon");
        told::line(&daemon.wait().expect_err("it is not started again"))
    }),
    ("failed to queue input for `…`: …", || {
        let daemon = Daemon::builder(puppet("sleep forever")).start().expect("start");
        told::line(&daemon.send("text").expect_err("there is no queue"))
    }),
    ("… bytes are more than the input queue of `…` has", || {
        let daemon = Daemon::builder(puppet("sleep forever")).stdin_queue(4).start();
        told::line(&daemon.expect("start").send("longer").expect_err("too long"))
    }),
    (
        "failed to reach `…`, a daemon of the process that this one was forked from: No child \
         processes",
        || attempt("serve [ lock one sleep forever ] await one serve-in-copy serve-drop"),
    ),
];
