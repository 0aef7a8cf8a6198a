//! The client's machine: which event may come when, and how long a shepherd is waited for.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::client::{ALLOWANCE, Conversation, Heard, OutOfTurn, Patience};
use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Pid, Reason, SpawnFailed, Step, Usage,
};
use netrunner_core::spawn::Notify;

const ID: CommandId = CommandId(3);
const OTHER: CommandId = CommandId(4);

fn exited(id: CommandId, fate: Fate) -> Event {
    Event::Exited(end(id, Pid(9), fate))
}

fn exited_as(pid: Pid) -> Event {
    Event::Exited(end(ID, pid, Fate::Idle))
}

fn end(id: CommandId, pid: Pid, fate: Fate) -> Exited {
    Exited {
        id,
        pid,
        end: End::Status(0),
        reason: Reason::Exited,
        wall: Duration::ZERO,
        usage: Usage::default(),
        leftovers: Vec::new(),
        survivors: Vec::new(),
        namespaced: false,
        fate,
    }
}

fn failed(id: CommandId) -> Event {
    Event::SpawnFailed(SpawnFailed { id, step: Step::Exec, errno: 2, object: Vec::new() })
}

/// Everything that a shepherd can say about the command and about another.
fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("hello", Event::Hello(Pid(2))),
        ("spawned", Event::Spawned(ID, Pid(9))),
        ("handle", Event::Handle(ID)),
        ("handle of another", Event::Handle(OTHER)),
        ("failed", failed(ID)),
        ("exited", exited(ID, Fate::Idle)),
        ("left", exited(ID, Fate::Leaving)),
        ("detached", Event::Detached(ID)),
        ("stopped", Event::Stopped(ID, 20)),
        ("continued", Event::Continued(ID)),
        ("spawned another", Event::Spawned(OTHER, Pid(9))),
        ("failed another", failed(OTHER)),
        ("exited another", exited(OTHER, Fate::Idle)),
        ("detached another", Event::Detached(OTHER)),
        ("stopped another", Event::Stopped(OTHER, 20)),
        ("continued another", Event::Continued(OTHER)),
        ("exited as another process", exited_as(Pid(8))),
    ]
}

fn greeted() -> Conversation {
    let mut conversation = Conversation::new();
    assert_eq!(conversation.handle_event(Event::Hello(Pid(2))), Ok(Heard::Hello(Pid(2))));
    conversation
}

fn asked(notify: Notify) -> Conversation {
    let mut conversation = greeted();
    assert_eq!(conversation.begin(ID, notify), Ok(()));
    conversation
}

fn running() -> Conversation {
    let mut conversation = asked(Notify::Start);
    assert_eq!(conversation.handle_event(Event::Spawned(ID, Pid(9))), Ok(Heard::Started(Pid(9))));
    conversation
}

fn over() -> Conversation {
    let mut conversation = running();
    assert_eq!(conversation.handle_event(Event::Detached(ID)), Ok(Heard::Detached));
    conversation
}

/// Of all events, those that may come now.
fn welcome(conversation: Conversation) -> Vec<&'static str> {
    let mut welcome = Vec::new();
    for (name, event) in events() {
        let mut after = conversation;
        match after.handle_event(event) {
            Ok(_) => welcome.push(name),
            Err(OutOfTurn) => assert_eq!(after, conversation, "{name} was refused, and had effect"),
        }
    }
    welcome
}

/// What may come about a command of which only the end is wanted.
const UNTIL_THE_END: [&str; 8] = [
    "handle",
    "failed",
    "exited",
    "left",
    "detached",
    "stopped",
    "continued",
    "exited as another process",
];

#[test]
fn only_what_is_awaited_may_come() {
    let first = ["hello", "failed", "failed another"];
    assert_eq!(welcome(Conversation::new()), first);
    assert_eq!(welcome(greeted()), [""; 0]);
    assert_eq!(welcome(asked(Notify::Start)), ["spawned", "handle", "failed"]);
    assert_eq!(welcome(asked(Notify::End)), UNTIL_THE_END);
    assert_eq!(
        welcome(running()),
        ["handle", "exited", "left", "detached", "stopped", "continued"]
    );
    assert_eq!(welcome(over()), [""; 0]);
}

#[test]
fn a_request_may_go_before_the_greeting_comes() {
    let mut conversation = Conversation::new();
    assert_eq!(conversation.begin(ID, Notify::End), Ok(()));
    assert!(!conversation.greeted(), "a lane that ends now has run nothing");
    assert_eq!(welcome(conversation), ["hello", "failed", "failed another"]);
    assert!(conversation.handle_event(Event::Hello(Pid(2))).is_ok());
    assert!(conversation.greeted());
    assert_eq!(welcome(conversation), UNTIL_THE_END);
}

#[test]
fn the_guardian_answers_for_a_shepherd_that_could_not_be_made() {
    let mut conversation = Conversation::new();
    assert!(matches!(conversation.handle_event(failed(OTHER)), Ok(Heard::Failed(_))));
    assert!(!conversation.is_idle(), "there is no shepherd");
    assert_eq!(conversation.begin(ID, Notify::End), Err(OutOfTurn));
    assert_eq!(welcome(conversation), [""; 0]);
}

#[test]
fn a_clean_shepherd_takes_the_next_command_and_one_that_leaves_does_not() {
    for (event, idle) in [
        (exited(ID, Fate::Idle), true),
        (exited(ID, Fate::Leaving), false),
        (Event::Detached(ID), false),
    ] {
        let mut conversation = running();
        assert!(conversation.handle_event(event).is_ok());
        assert_eq!(conversation.is_idle(), idle);
        assert_eq!(conversation.begin(OTHER, Notify::End).is_ok(), idle);
    }
    let mut conversation = asked(Notify::Start);
    assert!(conversation.handle_event(failed(ID)).is_ok());
    assert!(conversation.is_idle());
}

#[test]
fn a_command_whose_start_nobody_wants_to_hear_of_can_be_detached() {
    let mut conversation = asked(Notify::End);
    assert_eq!(conversation.handle_event(Event::Detached(ID)), Ok(Heard::Detached));
    assert_eq!(welcome(conversation), [""; 0]);
}

#[test]
fn two_commands_at_once_are_refused() {
    for mut conversation in [asked(Notify::Start), asked(Notify::End), running(), over()] {
        let before = conversation;
        assert_eq!(conversation.begin(OTHER, Notify::End), Err(OutOfTurn));
        assert_eq!(conversation, before);
    }
}

#[test]
fn p2_a_shepherd_that_does_not_react_is_killed_once_after_grace_and_a_second() {
    let (now, grace) = (Time::from_nanos(5), Duration::from_secs(3));
    assert_eq!(ALLOWANCE, Duration::from_secs(1));
    let mut patience = Patience::new(now, grace);
    let until = now.after(Duration::from_secs(4));
    assert_eq!(patience.deadline(), Some(until));
    assert!(!patience.is_over(now));
    assert!(!patience.is_over(Time::from_nanos(until.as_nanos() - 1)));
    assert!(patience.is_over(until));
    assert!(!patience.is_over(until.after(grace)), "its number may be another's by then");
    assert_eq!(patience.deadline(), None);
}
