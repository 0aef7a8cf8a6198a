//! A stop that begins as a hang-up, and what it takes for those that are deaf to it.

use netrunner_core::supervise::HANGING_UP;

use super::*;

const HUP: u8 = 1;
const WINCH: u8 = 28;

/// A shell is hung up, passes it on and ends; what is deaf to that is asked in the usual way, once.
#[test]
fn what_outlives_a_child_that_was_hung_up_gets_a_signal_of_its_own() {
    let hung_up = Terms { stop_signal: HUP, leftover_signal: Some(TERM), ..TERMS };
    let mut machine = started(hung_up);
    machine.handle_stop(START, ID, Reason::Stopped);
    assert_eq!(drain(&mut machine), [SignalTree(HUP), SignalTree(CONT)]);
    machine.handle_child_ended(at(ms(100)));
    // The shell looks again as often as something ends.
    machine.handle_child_ended(at(ms(200)));
    assert_eq!(drain(&mut machine), []);
    let again = at(ms(100) + HANGING_UP);
    assert_eq!(machine.deadline(), Some(again));
    machine.handle_timeout(again);
    assert_eq!(drain(&mut machine), ASK);
    machine.handle_child_ended(at(ms(700)));
    assert_eq!(machine.deadline(), Some(at(GRACE)), "once, and within the same grace");
    machine.handle_timeout(at(GRACE));
    assert_eq!(drain(&mut machine), [NoteLeftovers, Sweep]);

    // The child has ended by itself.
    let mut machine = started(hung_up);
    machine.handle_child_ended(START);
    machine.handle_timeout(at(SETTLING));
    assert_eq!(drain(&mut machine), [NoteLeftovers, ASK[0], ASK[1]]);
    assert_eq!(machine.deadline(), Some(at(SETTLING + GRACE)));

    // A child that sleeps on is woken, once.
    let mut machine = started(hung_up);
    machine.handle_stop(START, ID, Reason::Stopped);
    let _hang_up = [machine.poll_action(), machine.poll_action()];
    assert_eq!(machine.deadline(), Some(at(HANGING_UP)));
    machine.handle_timeout(at(HANGING_UP));
    assert_eq!(drain(&mut machine), [SignalTree(WINCH)]);
    assert_eq!(machine.deadline(), Some(at(GRACE)));
    machine.handle_child_ended(at(HANGING_UP));
    assert_eq!(machine.deadline(), Some(at(HANGING_UP + HANGING_UP)));

    // All has obeyed.
    let mut machine = started(hung_up);
    machine.handle_stop(START, ID, Reason::Stopped);
    machine.handle_child_ended(at(ms(100)));
    machine.handle_empty();
    let _hang_up = [machine.poll_action(), machine.poll_action()];
    assert_eq!(drain(&mut machine), [Report(Reason::Stopped, Fate::Idle)]);
    assert_eq!(machine.deadline(), None);
}
