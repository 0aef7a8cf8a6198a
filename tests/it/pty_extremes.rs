//! Terminals in numbers, and terminals that are full, whose reader or typist goes away or does nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use netrunner_sync::{Child, Command, Reason, WinSize};
use netrunner_tests::pattern;
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{PATIENCE, wait_until};

use crate::harness::*;

const SIZE: WinSize = WinSize::new(24, 80);

fn on_terminal(script: &str) -> Command {
    let mut command = puppet(script);
    command.pty(SIZE);
    command
}

/// The terminal of a child, as the system lists it.
fn entry(child: &Child) -> PathBuf {
    let link = format!("/proc/{}/fd/0", child.id());
    std::fs::read_link(link).expect("its standard input")
}

/// Whether the entry is there and is not that of another, newer terminal.
fn is_left(entry: &Path, since: SystemTime) -> bool {
    let Ok(found) = std::fs::metadata(entry) else { return false };
    let made = Duration::new(found.ctime() as u64, found.ctime_nsec() as u32);
    SystemTime::UNIX_EPOCH + made < since
}

#[test]
fn five_hundred_terminals_are_resized_and_ended_without_a_trace() {
    arena(|| {
        on_terminal("exit 0").status().expect("warm up");
        let before = fd_count();
        let mut children: Vec<Child> =
            (0..500).map(|_| on_terminal("sleep forever").spawn().expect("spawn")).collect();
        let entries: Vec<PathBuf> = children.iter().map(entry).collect();
        assert!(entries.iter().all(|entry| entry.starts_with("/dev/pts")), "{entries:?}");
        let different: std::collections::HashSet<_> = entries.iter().collect();
        assert_eq!(different.len(), 500, "each has its own");
        for (number, child) in children.iter().enumerate() {
            let size = WinSize::new(1 + number as u16, 501 - number as u16);
            child.resize(size).expect("resize");
            assert_eq!(child.pty.as_ref().expect("a terminal").size().expect("ask"), size);
        }
        for (number, child) in children.iter_mut().enumerate() {
            match number % 3 {
                0 => child.kill().expect("kill"),
                1 => drop(child.pty.take()),
                _ => {}
            }
        }
        for mut child in children.drain(..) {
            if child.pty.is_none() {
                child.wait().expect("wait");
            }
        }
        let ended = SystemTime::now();
        wait_no_puppets(GRACE_AND_2S * 3);
        wait_until("all entries are gone", PATIENCE, || {
            !entries.iter().any(|entry| is_left(entry, ended))
        });
        // The lanes of idle shepherds go when these do.
        wait_until("as many descriptors as before", PATIENCE, || fd_count() <= before);
    });
}

fn is_asleep(child: &Child) -> bool {
    Proc::get(child.id()).is_some_and(|proc| proc.state == 'S')
}

#[test]
fn a_full_terminal_that_nobody_reads_keeps_neither_stop_nor_wait() {
    arena(|| {
        let mut child = on_terminal("spew 1000000").spawn().expect("spawn");
        wait_until("a full terminal", PATIENCE, || is_asleep(&child));
        assert_eq!(child.wait_timeout(Duration::from_millis(50)).expect("wait"), None);
        child.stop().expect("stop");
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
        // What it held is still there, and then it ends.
        let mut shown = Vec::new();
        child.pty.as_mut().expect("a terminal").read_to_end(&mut shown).expect("read");
        assert!(!shown.is_empty() && shown.len() < 100_000, "{} bytes", shown.len());
    });
}

#[test]
fn a_full_terminal_goes_on_where_it_was_when_it_is_read() {
    arena(|| {
        let mut command = puppet("spew 1000000");
        command.pty(SIZE).pty_modes(netrunner_sync::PtyModes::raw());
        let mut child = command.spawn().expect("spawn");
        wait_until("a full terminal", PATIENCE, || is_asleep(&child));
        let mut shown = Vec::new();
        child.pty.as_mut().expect("a terminal").read_to_end(&mut shown).expect("read");
        pattern::check(&shown, 1_000_000);
        assert_eq!(child.wait().expect("wait").code(), Some(0));
    });
}

#[test]
fn a_reader_that_goes_away_ends_what_it_read() {
    arena(|| {
        let mut child = on_terminal("spew 100000000").spawn().expect("spawn");
        let mut pty = child.pty.take().expect("a terminal");
        pty.read_exact(&mut [0; 100_000]).expect("read");
        drop(pty);
        assert!(!child.wait().expect("wait").success());
    });
}

#[test]
fn a_command_that_reads_nothing_keeps_no_typist() {
    arena(|| {
        for modes in [netrunner_sync::PtyModes::new(), netrunner_sync::PtyModes::raw()] {
            let mut command = puppet("touch up sleep forever");
            let mut child = command.pty(SIZE).pty_modes(modes).spawn().expect("spawn");
            wait_file("up");
            let mut pty = child.pty.take().expect("a terminal");
            // A line that is edited takes more than it holds, and shows it: that stands in its way.
            let soon = Instant::now() + Duration::from_millis(200);
            let typed = loop {
                match pty.write_deadline(&[b'x'; 10_000], soon) {
                    Ok(_) if Instant::now() < soon => {}
                    Ok(_) => break ErrorKind::TimedOut,
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(typed, ErrorKind::TimedOut);
            // And one that waits for room is woken by the end.
            let typist = std::thread::spawn(move || {
                loop {
                    if let Err(error) = pty.write_all(&[b'x'; 10_000]) {
                        return error.kind();
                    }
                }
            });
            child.kill().expect("kill");
            child.wait().expect("wait");
            assert_eq!(typist.join().expect("no panic"), ErrorKind::BrokenPipe);
            std::fs::remove_file("up").expect("remove");
        }
    });
}

/// Which nobody reads either: what is typed is echoed into a terminal that is full.
#[test]
fn input_that_nobody_wants_ends_with_the_command() {
    arena(|| {
        let mut command = on_terminal("sleep 0.2 exit 3");
        let output = command.input(vec![b'x'; 1 << 20]).timeout(PATIENCE).output().expect("output");
        assert_eq!((output.report.reason, output.status.code()), (Reason::Exited, Some(3)));
        let child = on_terminal("sleep 0.2 exit 3").input(vec![b'x'; 1 << 20]).spawn();
        let mut child = child.expect("spawn");
        assert_eq!(child.wait().expect("wait").code(), Some(3));
    });
}
