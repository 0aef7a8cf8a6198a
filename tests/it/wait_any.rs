//! `wait_any`: the first of several children to be over.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use netrunner_sync::{Child, wait_any, wait_any_deadline, wait_any_timeout};
use netrunner_tests::wait::PATIENCE;

use crate::harness::*;

fn spawn(script: &str) -> Child {
    puppet(script).spawn().expect("spawn")
}

#[test]
fn the_first_to_end_is_told_with_its_status() {
    arena(|| {
        let mut children: Vec<_> =
            (0..5).map(|n| spawn(&format!("await go-{n} exit {n}"))).collect();
        let mut numbers = vec![0, 1, 2, 3, 4];
        for next in [3, 0, 4, 1, 2] {
            fs::write(format!("go-{next}"), "").expect("let one end");
            let (index, status) = wait_any(&mut children).expect("wait");
            assert_eq!((numbers[index], status.code()), (next, Some(next)));
            children.remove(index);
            numbers.remove(index);
        }
    });
}

#[test]
fn one_that_is_over_is_told_at_once_and_again() {
    arena(|| {
        let mut children = vec![spawn("sleep forever"), spawn("exit 7")];
        for _ in 0..2 {
            let (index, status) = wait_any(&mut children).expect("wait");
            assert_eq!((index, status.code()), (1, Some(7)));
        }
    });
}

#[test]
fn no_child_is_an_error_and_no_hang() {
    arena(|| {
        assert!(wait_any(&mut []).expect_err("nobody").is_invalid_input());
    });
}

#[test]
fn a_deadline_passes_and_the_children_go_on() {
    arena(|| {
        let mut children = vec![spawn("await go"), spawn("await go")];
        let soon = Duration::from_millis(20);
        assert_eq!(wait_any_timeout(&mut children, soon).expect("wait"), None);
        assert_eq!(wait_any_deadline(&mut children, Instant::now()).expect("wait"), None);
        fs::write("go", "").expect("let them end");
        let ended = wait_any_timeout(&mut children, PATIENCE).expect("wait");
        assert!(ended.expect("in time").1.success());
    });
}

#[test]
fn a_killed_shepherd_is_told_as_the_error_that_it_is() {
    arena(|| {
        let mut children = vec![spawn("sleep forever"), spawn("lock b sleep forever")];
        signal(shepherd_of(lock("b").wait_held()), libc::SIGKILL);
        assert!(wait_any(&mut children).expect_err("nobody knows").is_shepherd_lost());
    });
}

#[test]
fn another_thread_that_waits_for_one_of_them_keeps_nobody_waiting() {
    arena(|| {
        let mut children = vec![spawn("await go"), spawn("await go-too")];
        let handle = children[0].handle();
        let waiter = thread::spawn(move || handle.wait());
        // Widens the race: the thread reads the lane by then.
        thread::sleep(Duration::from_millis(30));
        fs::write("go", "").expect("let one end");
        let (index, status) = wait_any(&mut children).expect("wait");
        assert_eq!((index, status.success()), (0, true));
        assert!(waiter.join().expect("join").expect("wait").success());

        // And the other way round.
        let handle = children[1].handle();
        let ender = thread::spawn(move || handle.kill());
        children.remove(0);
        let (_, status) = wait_any(&mut children).expect("wait");
        assert!(!status.success());
        ender.join().expect("join").expect("kill");
    });
}
