//! Job control as a table: who has the terminal, what stopped the child, and what is done.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};

use Deed::{
    Continue, HandOver, HangUpClient, LeaveClient, StopClient, TakeBack, TellContinued, TellStopped,
};

const NOW: Time = Time::from_nanos(1_000_000_000);
const STOP: u8 = 19;
const TSTP: u8 = 20;
const TTIN: u8 = 21;
const TTOU: u8 = 22;

const HOLDERS: [Holder; 4] = [Holder::Child, Holder::Client, Holder::Kin, Holder::Stranger];
const OVERSEERS: [Overseer; 2] = [Overseer::Shell, Overseer::Nobody];
const HANDOVERS: [Handover; 3] = [Handover::AtStart, Handover::OnDemand, Handover::Never];

fn drain(control: &mut JobControl) -> Vec<Deed> {
    std::iter::from_fn(|| control.poll_deed()).collect()
}

fn stopped(handover: Handover, signal: u8, holder: Holder, overseer: Overseer) -> Vec<Deed> {
    let mut control = JobControl::new(handover);
    control.handle_stopped(NOW, signal, holder, overseer);
    drain(&mut control)
}

/// A command that was stopped by Ctrl-Z under a shell.
fn suspended() -> JobControl {
    let mut control = JobControl::new(Handover::AtStart);
    control.handle_stopped(NOW, TSTP, Holder::Child, Overseer::Shell);
    assert_eq!(drain(&mut control), [TakeBack, TellStopped(TSTP), StopClient(TSTP)]);
    control
}

#[test]
fn a_child_that_wants_the_terminal_gets_it_from_the_client() {
    for overseer in OVERSEERS {
        for signal in [TTIN, TTOU] {
            for handover in [Handover::AtStart, Handover::OnDemand] {
                assert_eq!(
                    stopped(handover, signal, Holder::Client, overseer),
                    [HandOver, Continue]
                );
            }
            assert_eq!(
                stopped(Handover::Never, signal, Holder::Client, overseer),
                [TellStopped(signal)]
            );
        }
    }
}

#[test]
fn a_child_that_got_the_terminal_while_it_was_being_stopped_goes_on() {
    for (signal, overseer) in [(TTIN, Overseer::Shell), (TTOU, Overseer::Nobody)] {
        assert_eq!(stopped(Handover::AtStart, signal, Holder::Child, overseer), [Continue]);
    }
}

#[test]
fn a_background_child_stops_the_client_only_under_a_shell() {
    for signal in [TTIN, TTOU] {
        assert_eq!(
            stopped(Handover::AtStart, signal, Holder::Stranger, Overseer::Shell),
            [TellStopped(signal), StopClient(signal)]
        );
        assert_eq!(
            stopped(Handover::AtStart, signal, Holder::Stranger, Overseer::Nobody),
            [TellStopped(signal)]
        );
    }
}

#[test]
fn no_stop_for_the_terminal_is_silent_and_for_ever() {
    for handover in HANDOVERS {
        for signal in [TTIN, TTOU] {
            for holder in HOLDERS {
                for overseer in OVERSEERS {
                    let deeds = stopped(handover, signal, holder, overseer);
                    let seen = deeds.contains(&TellStopped(signal));
                    let goes_on = deeds.contains(&Continue);
                    assert!(seen != goes_on, "{handover:?} {signal} {holder:?}: {deeds:?}");
                }
            }
        }
    }
}

#[test]
fn the_client_is_never_stopped_where_nobody_would_continue_it() {
    for handover in HANDOVERS {
        for signal in [1, STOP, TSTP, TTIN, TTOU] {
            for holder in HOLDERS {
                let deeds = stopped(handover, signal, holder, Overseer::Nobody);
                let stops = deeds.iter().any(|deed| matches!(deed, StopClient(_)));
                assert!(!stops, "{handover:?} {signal} {holder:?}: {deeds:?}");
            }
        }
    }
    // As the kernel does it with the Ctrl-Z of an orphaned group.
    assert_eq!(stopped(Handover::AtStart, TSTP, Holder::Child, Overseer::Nobody), [Continue]);
    assert_eq!(
        stopped(Handover::AtStart, STOP, Holder::Child, Overseer::Nobody),
        [TellStopped(STOP)]
    );
}

#[test]
fn the_client_is_never_sent_what_would_stop_the_shepherd_too() {
    for signal in 1..=64 {
        for holder in HOLDERS {
            let deeds = stopped(Handover::AtStart, signal, holder, Overseer::Shell);
            assert!(!deeds.contains(&StopClient(STOP)), "{signal} {holder:?}: {deeds:?}");
        }
    }
}

#[test]
fn a_stop_by_anything_else_is_told_and_leaves_the_terminal() {
    for holder in [Holder::Client, Holder::Kin, Holder::Stranger] {
        for signal in [STOP, TSTP] {
            assert_eq!(
                stopped(Handover::AtStart, signal, holder, Overseer::Shell),
                [TellStopped(signal)]
            );
        }
    }
}

#[test]
fn a_suspended_command_goes_on_with_its_client() {
    let mut control = suspended();
    control.handle_client_continued(Holder::Client);
    assert_eq!(drain(&mut control), [LeaveClient, HandOver, Continue]);
    control.handle_continued(Holder::Child);
    assert_eq!(drain(&mut control), [TellContinued]);
    // The next Ctrl-Z.
    control.handle_stopped(NOW, TSTP, Holder::Child, Overseer::Shell);
    assert_eq!(drain(&mut control), [TakeBack, TellStopped(TSTP), StopClient(TSTP)]);
}

#[test]
fn in_the_background_it_goes_on_without_the_terminal() {
    let mut control = suspended();
    control.handle_client_continued(Holder::Stranger);
    assert_eq!(drain(&mut control), [LeaveClient, Continue]);
    control.handle_continued(Holder::Stranger);
    assert_eq!(drain(&mut control), [TellContinued]);
    control.handle_stopped(NOW, TTIN, Holder::Stranger, Overseer::Shell);
    assert_eq!(drain(&mut control), [TellStopped(TTIN), StopClient(TTIN)]);
    control.handle_client_continued(Holder::Client);
    assert_eq!(drain(&mut control), [LeaveClient, HandOver, Continue]);
}

#[test]
fn a_suspended_child_that_is_continued_alone_leaves_nobody_behind() {
    let mut control = suspended();
    control.handle_continued(Holder::Client);
    assert_eq!(drain(&mut control), [LeaveClient, HandOver, TellContinued]);
    // The client's own SIGCONT comes late.
    control.handle_client_continued(Holder::Child);
    assert_eq!(drain(&mut control), []);

    let mut control = suspended();
    control.handle_continued(Holder::Stranger);
    assert_eq!(drain(&mut control), [LeaveClient, TellContinued]);
}

#[test]
fn a_stop_that_overtakes_the_news_of_going_on_is_a_new_one() {
    let mut control = suspended();
    control.handle_stopped(NOW, TTIN, Holder::Client, Overseer::Shell);
    assert_eq!(drain(&mut control), [LeaveClient, HandOver, Continue]);
}

#[test]
fn a_child_that_waits_for_another_command_gets_the_terminal_after_it() {
    let mut control = JobControl::new(Handover::AtStart);
    assert_eq!(control.deadline(), None);
    control.handle_stopped(NOW, TTIN, Holder::Kin, Overseer::Shell);
    assert_eq!(drain(&mut control), [TellStopped(TTIN)]);
    let at = control.deadline().expect("a next look");
    control.handle_timeout(NOW, Holder::Client, Overseer::Shell);
    assert_eq!(drain(&mut control), [], "too early");
    control.handle_timeout(at, Holder::Kin, Overseer::Shell);
    assert_eq!(drain(&mut control), []);
    let later = control.deadline().expect("a next look");
    assert!(later.since(at) > Duration::ZERO);
    control.handle_timeout(later, Holder::Client, Overseer::Shell);
    assert_eq!(drain(&mut control), [HandOver, Continue]);
    assert_eq!(control.deadline(), None);
    control.handle_continued(Holder::Child);
    assert_eq!(drain(&mut control), [TellContinued]);
}

#[test]
fn a_suspended_client_whose_shell_has_ended_is_hung_up() {
    let mut control = suspended();
    let at = control.deadline().expect("a look for the shell");
    control.handle_timeout(NOW, Holder::Stranger, Overseer::Nobody);
    assert_eq!(drain(&mut control), [], "too early");
    control.handle_timeout(at, Holder::Stranger, Overseer::Shell);
    assert_eq!(drain(&mut control), []);
    let later = control.deadline().expect("a next look");
    assert!(later.since(at) > Duration::ZERO);
    control.handle_timeout(later, Holder::Stranger, Overseer::Nobody);
    assert_eq!(drain(&mut control), [HangUpClient, LeaveClient, Continue]);
    assert_eq!(control.deadline(), None);
}

#[test]
fn nothing_is_done_for_a_client_that_is_gone() {
    let mut control = suspended();
    control.handle_over();
    assert_eq!(drain(&mut control), [LeaveClient]);
    for holder in HOLDERS {
        control.handle_stopped(NOW, TTIN, holder, Overseer::Shell);
        control.handle_continued(holder);
        control.handle_client_continued(holder);
        control.handle_timeout(NOW, holder, Overseer::Nobody);
        assert_eq!(drain(&mut control), []);
    }
    let mut control = JobControl::new(Handover::AtStart);
    control.handle_over();
    assert_eq!(drain(&mut control), []);
}
