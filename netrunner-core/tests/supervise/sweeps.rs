//! How often what was killed is swept again, and when the client hears that it can't be ended.

use super::*;

#[test]
fn unkillable_is_told_and_sweeping_goes_on() {
    let (mut machine, mut now) = in_state(State::Killing);
    let mut sweeps = 0;
    let told = loop {
        let due = machine.deadline().expect("sweeping has a next time");
        assert!(due > now && due.since(now) <= ms(20), "{:?}", due.since(now));
        now = due;
        machine.handle_timeout(now);
        match drain(&mut machine)[..] {
            [Sweep] => sweeps += 1,
            ref other => break other.to_vec(),
        }
    };
    assert_eq!(told, [Report(Reason::Killed, Fate::Leaving), LetGo]);
    assert_eq!(now, at(SWEEPING));
    assert!((500..520).contains(&sweeps), "{sweeps} sweeps");
    for _ in 0..10 {
        let due = machine.deadline().expect("it never gives up");
        assert!(due > now && due.since(now) <= Duration::from_secs(1));
        now = due;
        machine.handle_timeout(now);
        assert_eq!(drain(&mut machine), [Sweep]);
    }
    machine.handle_empty();
    assert_eq!(drain(&mut machine), [Quit]);
}

#[test]
fn where_a_sweep_has_found_children_alone_the_next_is_soon_only_when_the_child_has_ended() {
    let (mut machine, now) = in_state(State::Killing);
    machine.handle_shallow_sweep(now);
    assert_eq!(machine.deadline(), Some(now.after(ms(20))));
    machine.handle_child_ended(now.after(ms(3)));
    assert_eq!(machine.deadline(), Some(now.after(ms(3))));
    machine.handle_timeout(now.after(ms(3)));
    assert_eq!(drain(&mut machine), [Sweep]);
    machine.handle_shallow_sweep(now.after(ms(3)));
    // It is told of an end with every other one that comes after it.
    machine.handle_child_ended(now.after(ms(4)));
    assert_eq!(machine.deadline(), Some(now.after(ms(23))));
    let (mut calm, now) = in_state(State::Calm);
    let before = calm.deadline();
    calm.handle_shallow_sweep(now);
    assert_eq!(calm.deadline(), before);
}

#[test]
fn a_late_wake_up_does_one_thing_not_many() {
    let (mut machine, _) = in_state(State::Killing);
    machine.handle_timeout(at(ms(9_000)));
    assert_eq!(drain(&mut machine), [Sweep]);
    assert!(machine.deadline().is_some_and(|due| due > at(ms(9_000))));
}

#[test]
fn one_that_was_stopped_for_most_of_the_time_has_not_swept_in_vain() {
    let (mut machine, _) = in_state(State::Killing);
    let stopped = Duration::from_secs(5);
    let mut now = START;
    for _ in 0..10 {
        now = now.after(stopped);
        machine.handle_timeout(now);
        assert_eq!(drain(&mut machine), [Sweep], "it has hardly swept yet");
    }
    let mut sweeps = 10;
    let resumed = now;
    loop {
        now = now.max(machine.deadline().expect("it sweeps"));
        machine.handle_timeout(now);
        match drain(&mut machine)[..] {
            [Sweep] => sweeps += 1,
            ref told => break assert_eq!(told, [Report(Reason::Killed, Fate::Leaving), LetGo]),
        }
    }
    assert!(sweeps >= 100 && now.since(resumed) > Duration::from_secs(1), "{sweeps}");
}

/// The client waits for a second longer, and then takes it for wedged.
#[test]
fn sweeps_that_take_their_time_do_not_put_off_the_word() {
    let (mut machine, _) = in_state(State::Killing);
    let told = loop {
        let now = machine.deadline().expect("it sweeps").after(ms(60));
        machine.handle_timeout(now);
        match drain(&mut machine)[..] {
            [Sweep] => {}
            ref told => {
                assert_eq!(told, [Report(Reason::Killed, Fate::Leaving), LetGo]);
                break now;
            }
        }
    };
    assert!(told <= at(SWEEPING + ms(100)), "{:?}", told.since(START));
}
