//! The shepherd's machine, state by input: what it asks for, when it wants to be woken, and what it
//! does not do.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{CommandId, Fate, Reason};
use netrunner_core::spawn::{Leftovers, Terms};
use netrunner_core::supervise::{
    Action, HANDLE_AFTER, OutOfTurn, SETTLING, SWEEPING, Standing, Supervisor,
};

mod hang_up;
mod sweeps;

use Action::{LetGo, NoteLeftovers, Quit, Report, SignalGroup, SignalTree, Strike, Sweep};

const START: Time = Time::from_nanos(1_000_000_000);
const ID: CommandId = CommandId(7);
const STALE: CommandId = CommandId(6);
const GRACE: Duration = Duration::from_secs(5);
const TERM: u8 = 15;
const CONT: u8 = 18;

const TERMS: Terms = Terms { grace: GRACE, stop_signal: TERM, ..Terms::DEFAULT };

const ASK: [Action; 2] = [SignalTree(TERM), SignalTree(CONT)];

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The time so long after the start of the command.
fn at(after: Duration) -> Time {
    START.after(after)
}

fn drain(machine: &mut Supervisor) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

fn started(terms: Terms) -> Supervisor {
    let mut machine = Supervisor::new();
    assert_eq!(machine.handle_spawn(), Ok(()));
    machine.handle_started(START, ID, terms);
    assert_eq!(drain(&mut machine), []);
    machine
}

/// The states that a command can be in; `now` is when it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calm,
    WaitingForLeftovers,
    Settling,
    Asked,
    Killing,
    Told,
    Staying,
    Idle,
    Over,
}

const STATES: [State; 9] = [
    State::Calm,
    State::WaitingForLeftovers,
    State::Settling,
    State::Asked,
    State::Killing,
    State::Told,
    State::Staying,
    State::Idle,
    State::Over,
];

/// A machine in this state, with nothing left to perform, and the time there.
fn in_state(state: State) -> (Supervisor, Time) {
    let terms = match state {
        State::WaitingForLeftovers => Terms { leftovers: Leftovers::Wait, ..TERMS },
        State::Staying => Terms { leftovers: Leftovers::Keep, ..TERMS },
        State::Calm
        | State::Settling
        | State::Asked
        | State::Killing
        | State::Told
        | State::Idle
        | State::Over => TERMS,
    };
    let mut machine = started(terms);
    let mut now = START;
    match state {
        State::Calm => {}
        State::WaitingForLeftovers | State::Settling => machine.handle_child_ended(now),
        State::Asked => machine.handle_stop(now, ID, Reason::Stopped),
        State::Killing => machine.handle_kill(now, ID),
        State::Told => {
            machine.handle_kill(now, ID);
            while now < at(SWEEPING) {
                now = machine.deadline().expect("it sweeps");
                machine.handle_timeout(now);
            }
        }
        State::Staying => {
            machine.handle_child_ended(now);
            now = at(SETTLING);
            machine.handle_timeout(now);
        }
        State::Idle => machine.handle_empty(),
        State::Over => {
            machine.handle_client_gone(now);
            machine.handle_empty();
        }
    }
    drain(&mut machine);
    (machine, now)
}

/// What `input` brings about in every state; states that are not named do nothing.
fn table(input: impl Fn(&mut Supervisor, Time), expected: &[(State, &[Action])]) {
    for state in STATES {
        let (mut machine, now) = in_state(state);
        input(&mut machine, now);
        let actions = expected.iter().find(|(of, _)| *of == state).map_or(&[][..], |(_, it)| it);
        assert_eq!(drain(&mut machine), actions, "{state:?}");
    }
}

#[test]
fn a_stop_begins_the_ladder_once_and_names_what_outlived_the_child() {
    let note_and_ask = [NoteLeftovers, ASK[0], ASK[1]];
    table(
        |machine, now| machine.handle_stop(now, ID, Reason::Stopped),
        &[
            (State::Calm, &ASK),
            (State::WaitingForLeftovers, &note_and_ask),
            (State::Settling, &note_and_ask),
        ],
    );
}

#[test]
fn a_kill_strikes_or_sweeps_once_and_names_what_outlived_the_child() {
    table(
        |machine, now| machine.handle_kill(now, ID),
        &[
            (State::Calm, &[Strike]),
            (State::WaitingForLeftovers, &[NoteLeftovers, Sweep]),
            (State::Settling, &[NoteLeftovers, Sweep]),
            (State::Asked, &[Strike]),
        ],
    );
}

#[test]
fn a_signal_goes_to_a_living_child_only() {
    table(
        |machine, _| machine.handle_signal(ID, 10),
        &[
            (State::Calm, &[SignalGroup(10)]),
            (State::Asked, &[SignalGroup(10)]),
            (State::Killing, &[SignalGroup(10)]),
        ],
    );
}

#[test]
fn client_gone_begins_the_ladder_and_reports_nothing() {
    let note_and_ask = [LetGo, NoteLeftovers, ASK[0], ASK[1]];
    table(
        Supervisor::handle_client_gone,
        &[
            (State::Calm, &[LetGo, ASK[0], ASK[1]]),
            (State::WaitingForLeftovers, &note_and_ask),
            (State::Settling, &note_and_ask),
            (State::Asked, &[LetGo]),
            (State::Killing, &[LetGo]),
            (State::Idle, &[LetGo, Quit]),
        ],
    );
    for state in STATES {
        let (mut machine, now) = in_state(state);
        machine.handle_client_gone(now);
        assert!(!machine.client_is_here(), "{state:?}");
        machine.handle_client_gone(now);
        machine.handle_empty();
        machine.handle_empty();
        let actions = drain(&mut machine);
        assert!(!actions.iter().any(|action| matches!(action, Report(..))), "{state:?}");
        // In `Over` it was performed before.
        let quits = actions.iter().filter(|action| **action == Quit).count();
        assert_eq!(quits, usize::from(state != State::Over), "{state:?}");
        assert_eq!(machine.standing(), Standing::Idle);
    }
}

#[test]
fn an_empty_tree_is_reported_once_or_ends_the_shepherd() {
    let report = |reason| [Report(reason, Fate::Idle)];
    table(
        |machine, _| machine.handle_empty(),
        &[
            (State::Calm, &report(Reason::Exited)),
            (State::WaitingForLeftovers, &report(Reason::Exited)),
            (State::Settling, &report(Reason::Exited)),
            (State::Asked, &report(Reason::Stopped)),
            (State::Killing, &report(Reason::Killed)),
            (State::Told, &[Quit]),
            (State::Staying, &[Quit]),
        ],
    );
}

#[test]
fn a_child_that_ends_beside_others_starts_nothing_by_itself() {
    table(Supervisor::handle_child_ended, &[]);
}

#[test]
fn stale_id_hits_nothing() {
    table(
        |machine, now| {
            machine.handle_signal(STALE, 10);
            machine.handle_stop(now, STALE, Reason::OutputLimit);
            machine.handle_kill(now, STALE);
            machine.handle_detach(STALE);
        },
        &[],
    );
    for state in STATES {
        let ((mut machine, now), (untouched, _)) = (in_state(state), in_state(state));
        machine.handle_kill(now, STALE);
        machine.handle_detach(STALE);
        assert_eq!(machine.deadline(), untouched.deadline(), "{state:?}");
        assert_eq!(machine.standing(), untouched.standing(), "{state:?}");
    }
}

#[test]
fn kill_after_exit_is_ignored() {
    let (mut machine, now) = in_state(State::Idle);
    machine.handle_kill(now, ID);
    machine.handle_stop(now, ID, Reason::Stopped);
    machine.handle_signal(ID, 9);
    machine.handle_detach(ID);
    assert_eq!(drain(&mut machine), []);
    assert_eq!(machine.handle_spawn(), Ok(()), "and the shepherd is free");
}

#[test]
fn a_second_command_is_refused_until_the_first_is_over() {
    for state in STATES {
        let (mut machine, _) = in_state(state);
        let expected = if state == State::Idle { Ok(()) } else { Err(OutOfTurn) };
        assert_eq!(machine.handle_spawn(), expected, "{state:?}");
    }
}

#[test]
fn the_guardian_is_told_how_things_stand() {
    for state in STATES {
        let (machine, _) = in_state(state);
        let expected = match state {
            State::Idle | State::Over => Standing::Idle,
            State::Staying => Standing::Kept,
            State::Calm
            | State::WaitingForLeftovers
            | State::Settling
            | State::Asked
            | State::Killing
            | State::Told => Standing::Busy(GRACE),
        };
        assert_eq!(machine.standing(), expected, "{state:?}");
    }
}

#[test]
fn time_that_is_not_due_changes_nothing() {
    for state in STATES {
        let (mut machine, now) = in_state(state);
        let deadline = machine.deadline();
        assert!(deadline.is_none_or(|at| at > now), "{state:?}: {deadline:?}");
        machine.handle_timeout(now);
        assert_eq!(drain(&mut machine), [], "{state:?}");
        assert_eq!(machine.deadline(), deadline, "{state:?}");
    }
}

#[test]
fn first_cause_wins() {
    let timeout = Some(ms(100));
    let mut machine = started(Terms { timeout, ..TERMS });
    machine.handle_timeout(at(ms(100)));
    machine.handle_stop(at(ms(101)), ID, Reason::OutputLimit);
    machine.handle_kill(at(ms(102)), ID);
    machine.handle_empty();
    assert_eq!(drain(&mut machine), [ASK[0], ASK[1], Strike, Report(Reason::Timeout, Fate::Idle)]);

    let mut machine = started(Terms { timeout, ..TERMS });
    machine.handle_stop(at(ms(99)), ID, Reason::OutputLimit);
    machine.handle_timeout(at(ms(100)));
    machine.handle_empty();
    assert_eq!(drain(&mut machine), [ASK[0], ASK[1], Report(Reason::OutputLimit, Fate::Idle)]);

    let mut machine = started(TERMS);
    machine.handle_child_ended(START);
    machine.handle_kill(START, ID);
    machine.handle_empty();
    assert_eq!(
        drain(&mut machine),
        [NoteLeftovers, Sweep, Report(Reason::Exited, Fate::Idle)],
        "the child had ended by itself"
    );
}

#[test]
fn leftovers_get_20_ms_then_the_ladder() {
    assert_eq!(SETTLING, ms(20));
    let mut machine = started(TERMS);
    machine.handle_child_ended(START);
    assert_eq!(machine.deadline(), Some(at(ms(20))));
    machine.handle_child_ended(at(ms(10)));
    assert_eq!(machine.deadline(), Some(at(ms(20))), "a second look does not prolong it");
    machine.handle_timeout(at(ms(20)));
    assert_eq!(drain(&mut machine), [NoteLeftovers, ASK[0], ASK[1]]);
    assert_eq!(machine.deadline(), Some(at(ms(20) + GRACE)));
    machine.handle_timeout(at(ms(20) + GRACE));
    assert_eq!(drain(&mut machine), [Sweep], "named once");
    machine.handle_empty();
    assert_eq!(drain(&mut machine), [Report(Reason::Exited, Fate::Idle)]);
}

#[test]
fn what_outlives_a_stopped_child_is_named_before_it_is_killed() {
    let (mut machine, _) = in_state(State::Asked);
    machine.handle_child_ended(at(ms(10)));
    assert_eq!(machine.deadline(), Some(at(GRACE)), "the ladder goes on as it was");
    machine.handle_timeout(at(GRACE));
    assert_eq!(drain(&mut machine), [NoteLeftovers, Sweep]);
}

#[test]
fn keep_reports_and_stays() {
    let mut machine = started(Terms { leftovers: Leftovers::Keep, ..TERMS });
    machine.handle_child_ended(START);
    machine.handle_timeout(at(SETTLING));
    assert_eq!(drain(&mut machine), [NoteLeftovers, Report(Reason::Exited, Fate::Leaving), LetGo]);
    assert_eq!((machine.standing(), machine.deadline()), (Standing::Kept, None));
    assert!(!machine.client_is_here());
    machine.handle_timeout(at(ms(1_000_000)));
    assert_eq!(drain(&mut machine), []);
}

#[test]
fn keep_keeps_nothing_of_what_was_stopped() {
    let mut machine = started(Terms { leftovers: Leftovers::Keep, ..TERMS });
    machine.handle_stop(START, ID, Reason::Stopped);
    machine.handle_child_ended(at(ms(1)));
    machine.handle_timeout(at(GRACE));
    assert_eq!(drain(&mut machine), [ASK[0], ASK[1], NoteLeftovers, Sweep]);
}

#[test]
fn a_detach_is_confirmed_once_and_ends_every_deadline() {
    let confirmed = [Action::Detached(ID), LetGo];
    let detachable =
        [State::Calm, State::WaitingForLeftovers, State::Settling, State::Asked, State::Killing];
    table(|machine, _| machine.handle_detach(ID), &detachable.map(|state| (state, &confirmed[..])));
    for state in detachable {
        let (mut machine, now) = in_state(state);
        machine.handle_detach(ID);
        assert_eq!((machine.standing(), machine.deadline()), (Standing::Kept, None), "{state:?}");
        drain(&mut machine);
        machine.handle_client_gone(now);
        machine.handle_timeout(at(GRACE * 9));
        assert_eq!(drain(&mut machine), [], "{state:?}");
    }
}

#[test]
fn timeout_covers_leftovers_wait() {
    let terms = Terms { timeout: Some(ms(100)), leftovers: Leftovers::Wait, ..TERMS };
    let mut machine = started(terms);
    machine.handle_child_ended(at(ms(50)));
    assert_eq!(machine.deadline(), Some(at(ms(50) + SETTLING)));
    machine.handle_timeout(at(ms(100)));
    machine.handle_empty();
    assert_eq!(
        drain(&mut machine),
        [NoteLeftovers, ASK[0], ASK[1], Report(Reason::Timeout, Fate::Idle)]
    );
}

#[test]
fn what_is_waited_for_is_noted_once_it_has_outlived_the_settling_time() {
    let (mut machine, _) = in_state(State::WaitingForLeftovers);
    assert_eq!(machine.deadline(), Some(at(SETTLING)));
    machine.handle_timeout(at(SETTLING));
    assert_eq!(drain(&mut machine), [NoteLeftovers]);
    machine.handle_timeout(at(HANDLE_AFTER));
    assert_eq!(drain(&mut machine), [Action::Handle(ID)]);
    assert_eq!(machine.deadline(), None, "it is waited for as long as it takes");
    machine.handle_stop(at(HANDLE_AFTER), ID, Reason::Stopped);
    assert_eq!(drain(&mut machine), ASK, "it is not noted again");
}

#[test]
fn the_client_gets_a_pidfd_of_what_lives_on_unless_that_is_being_stopped() {
    let mut machine = started(TERMS);
    assert_eq!(machine.deadline(), Some(at(HANDLE_AFTER)));
    machine.handle_timeout(at(HANDLE_AFTER));
    machine.handle_timeout(at(HANDLE_AFTER));
    assert_eq!(drain(&mut machine), [Action::Handle(ID)], "once");
    assert_eq!(machine.deadline(), None);

    let mut machine = started(TERMS);
    machine.handle_stop(START, ID, Reason::Stopped);
    machine.handle_timeout(at(HANDLE_AFTER));
    assert_eq!(drain(&mut machine), ASK);
}

#[test]
fn stop_signal_kill_strikes_at_once() {
    let mut machine = started(Terms { stop_signal: 9, ..TERMS });
    machine.handle_stop(START, ID, Reason::Stopped);
    machine.handle_empty();
    assert_eq!(drain(&mut machine), [Strike, Report(Reason::Stopped, Fate::Idle)]);
}

#[test]
fn no_grace_is_a_kill_right_after_the_stop_signal() {
    let mut machine = started(Terms { grace: Duration::ZERO, ..TERMS });
    machine.handle_stop(START, ID, Reason::Stopped);
    assert_eq!(machine.deadline(), Some(START));
    machine.handle_timeout(START);
    assert_eq!(drain(&mut machine), [ASK[0], ASK[1], Strike]);
}

#[test]
fn terms_beyond_the_clock_are_for_ever() {
    let mut machine =
        started(Terms { timeout: Some(Duration::MAX), grace: Duration::MAX, ..TERMS });
    machine.handle_timeout(at(HANDLE_AFTER));
    assert_eq!(machine.deadline(), Some(Time::from_nanos(u64::MAX)));
    machine.handle_stop(START, ID, Reason::Stopped);
    assert_eq!(machine.deadline(), Some(Time::from_nanos(u64::MAX)));
}

#[test]
fn stops_are_told_of_a_living_child_to_a_client_that_listens() {
    let mut machine = started(TERMS);
    machine.handle_child_stopped(20);
    machine.handle_child_continued();
    assert_eq!(drain(&mut machine), [Action::Stopped(ID, 20), Action::Continued(ID)]);
    machine.handle_child_ended(at(ms(1)));
    machine.handle_child_stopped(20);
    assert_eq!(drain(&mut machine), [], "it has ended");

    let mut machine = started(TERMS);
    machine.handle_client_gone(at(ms(1)));
    drain(&mut machine);
    machine.handle_child_stopped(20);
    machine.handle_child_continued();
    assert_eq!(drain(&mut machine), [], "nobody listens");

    let mut machine = Supervisor::new();
    machine.handle_child_stopped(20);
    assert_eq!(drain(&mut machine), [], "there is no child");
}
