//! P5 and P6 in the long run: after two thousand commands that were started and stopped, nothing has
//! grown: no process, no descriptor, no thread, no memory, in the client, its guardian or its shepherds.

use std::collections::{BTreeMap, BTreeSet};

use netrunner_sync::{Shepherds, Stdio};
use netrunner_tests::procs;
use netrunner_tests::wait::{PATIENCE, reached_within};

use crate::by_hand::resident;
use crate::harness::*;

const CYCLES: u32 = 2_000;

/// What memory may differ by: stacks and buffers that were not touched before, in a debug build.
const SOME: u64 = 1 << 20;

/// One command that runs, and one of the ways to end it.
fn cycle(round: u32) {
    let mut command = puppet("sleep forever");
    off_terminals(&mut command, |it| it.stdin(Stdio::piped()).stdout(Stdio::piped()));
    command.stderr(Stdio::piped());
    let mut child = command.spawn().expect("spawn");
    match round % 4 {
        0 => drop(child.stop().expect("stop")),
        1 => {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        2 => {
            let handle = child.handle();
            drop(child);
            handle.wait().expect("wait for the dropped one");
        }
        _ => {
            let handle = child.handle();
            let waiting = std::thread::spawn(move || handle.wait());
            child.stop().expect("stop");
            waiting.join().expect("join").expect("wait");
        }
    }
}

/// What there is of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    descriptors: usize,
    threads: u32,
}

impl Size {
    fn of(pid: u32) -> Size {
        let threads = procs::Proc::get(pid).map_or(0, |proc| proc.threads);
        Size { descriptors: procs::descriptors(pid).len(), threads }
    }
}

/// The client, its guardian and its one idle shepherd, when it has come to rest.
fn at_rest() -> BTreeMap<u32, (Size, u64)> {
    let mut last = BTreeMap::new();
    let steady = reached_within(PATIENCE, || {
        let mut all = vec![std::process::id()];
        all.extend(others().iter().map(|proc| proc.pid));
        let sizes: BTreeMap<u32, Size> = all.iter().map(|&pid| (pid, Size::of(pid))).collect();
        std::thread::sleep(std::time::Duration::from_millis(50));
        sizes.len() == 3 && std::mem::replace(&mut last, sizes.clone()) == sizes
    });
    assert!(steady, "it does not come to rest: {last:?}, {:?}", others());
    last.into_iter().map(|(pid, size)| (pid, (size, resident(pid)))).collect()
}

#[test]
fn two_thousand_commands_leave_everything_as_it_was() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        // One after the other they all go to the same shepherd.
        (0..CYCLES / 10).for_each(cycle);
        let before = at_rest();
        (0..CYCLES).for_each(cycle);
        let after = at_rest();
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (pid, (size, memory)) in &before {
            let (size_now, memory_now) = after[pid];
            assert_eq!(*size, size_now, "{}", procs::describe(*pid));
            assert!(memory_now < memory + SOME, "{memory} to {memory_now} bytes of {pid}");
        }
        assert_eq!(zombies_of(std::process::id()).len(), 0);
        assert_no_puppets();
    });
}

#[test]
fn who_hears_of_an_end_finds_the_shepherd_idle() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        let mut shepherds = BTreeSet::new();
        for _ in 0..CYCLES / 4 {
            let mut child = puppet("sleep forever").spawn().expect("spawn");
            shepherds.extend(others().iter().map(|proc| proc.pid).filter(|&pid| pid != child.id()));
            let handles = [child.handle(), child.handle()];
            // One of the three reads, the others are woken.
            std::thread::scope(|scope| {
                for handle in &handles {
                    scope.spawn(move || {
                        handle.wait().expect("wait");
                        assert_eq!(Shepherds::idle(), 1);
                    });
                }
                child.kill().expect("kill");
                child.wait().expect("wait");
                assert_eq!(Shepherds::idle(), 1);
            });
        }
        // The guardian, and the one shepherd.
        assert_eq!(shepherds.len(), 2, "{shepherds:?}");
    });
}

on_terminals_too! {
    two_thousand_commands_leave_everything_as_it_was
}
