//! One busy scene, its bytes cut at every place, and the client's death at every byte of it.

use std::time::Duration;

use netrunner_core::client::Heard;
use netrunner_core::message::{CommandId, Reason, Request};
use netrunner_core::spawn::{Leftovers, Notify, Terms};

use crate::kernel::Temper;
use crate::world::{Cut, TERMS, World};

/// Four commands on one lane, with every request and every event.
fn play(world: &mut World) {
    let short = Duration::from_millis(7);
    world.spawn(c"ignores", Notify::Start, TERMS);
    world.advance(short);
    world.fork(true, Temper::Slow(short));
    world.ask(&Request::Signal(world.last(), 10));
    world.ask(&Request::Stop(world.last(), Reason::IdleTimeout));
    world.ask(&Request::Kill(CommandId(99)));
    world.advance(Duration::from_millis(300));
    world.spawn(c"missing", Notify::Start, TERMS);
    world.settle();
    world.spawn(c"obeys", Notify::End, Terms { timeout: Some(short), ..TERMS });
    world.ask(&Request::Signal(world.last(), 18));
    world.advance(Duration::from_millis(300));
    world.spawn(c"breeds", Notify::End, TERMS);
    world.ask(&Request::Kill(world.last()));
    world.advance(Duration::from_secs(1));
    world.spawn(c"obeys", Notify::Start, Terms { leftovers: Leftovers::Keep, ..TERMS });
    world.advance(short);
    world.ask(&Request::Detach(world.last()));
    world.advance(Duration::from_millis(300));
}

/// What both sides made of it.
fn story(world: &World) -> String {
    let performed: Vec<String> =
        world.shepherd.performed.iter().map(|it| format!("{it:?}")).collect();
    let heard: Vec<String> = world.client.heard.iter().map(|it| format!("{it:?}")).collect();
    format!("{}\n{}", performed.join("\n"), heard.join("\n"))
}

fn told(to_shepherd: Cut, to_client: Cut) -> String {
    let mut world = World::cut(to_shepherd, to_client);
    play(&mut world);
    let story = story(&world);
    world.finish();
    story
}

#[test]
fn the_scene_is_worth_cutting() {
    let mut world = World::new();
    play(&mut world);
    let heard = &world.client.heard;
    assert!(heard.iter().any(|it| matches!(it, Heard::Hello(_))));
    assert!(heard.iter().any(|it| matches!(it, Heard::Failed(_))));
    assert_eq!(heard.iter().filter(|it| matches!(it, Heard::Started(_))).count(), 2);
    assert_eq!(heard.last(), Some(&Heard::Detached));
    let reasons: Vec<Reason> = heard
        .iter()
        .filter_map(|it| match it {
            Heard::Ended(exited) => Some(exited.reason),
            Heard::Hello(_)
            | Heard::Started(_)
            | Heard::Runs
            | Heard::Failed(_)
            | Heard::Detached
            | Heard::Stopped(_)
            | Heard::Continued => None,
        })
        .collect();
    assert_eq!(reasons, [Reason::IdleTimeout, Reason::Timeout, Reason::Killed]);
    world.finish();
}

#[test]
fn every_cut_of_the_requests_tells_the_same_story() {
    let mut world = World::new();
    play(&mut world);
    let (written, _) = world.traffic();
    assert!(written > 300);
    for at in 0..written {
        assert_eq!(told(Cut::At(at), Cut::Nowhere), story(&world), "cut at {at}");
    }
}

#[test]
fn every_cut_of_the_events_tells_the_same_story() {
    let mut world = World::new();
    play(&mut world);
    let (_, written) = world.traffic();
    assert!(written > 300);
    for at in 0..written {
        assert_eq!(told(Cut::Nowhere, Cut::At(at)), story(&world), "cut at {at}");
    }
}

#[test]
fn pieces_of_every_size_tell_the_same_story() {
    let whole = told(Cut::Nowhere, Cut::Nowhere);
    for size in 1..100 {
        assert_eq!(told(Cut::Every(size), Cut::Every(size)), whole, "pieces of {size}");
    }
}

#[test]
fn p1_client_dies_at_every_byte_that_it_writes() {
    let mut world = World::new();
    play(&mut world);
    let (written, _) = world.traffic();
    for after in 0..=written {
        let mut world = World::new();
        world.dies_after = Some(after);
        play(&mut world);
        assert!(!world.client_is_here(), "it wrote less than {after} bytes");
        world.advance(TERMS.grace + Duration::from_secs(2));
        if after < written {
            assert!(world.kernel.is_empty(), "dead after {after} bytes");
        }
        world.finish();
    }
}

#[test]
fn p1_client_dies_at_every_millisecond() {
    for cut in 0..400 {
        let mut world = World::new();
        world.spawn(c"ignores", Notify::Start, TERMS);
        world.fork(true, Temper::Slow(Duration::from_millis(70)));
        world.advance(Duration::from_millis(5));
        world.fork(true, Temper::Breeds(20));
        world.ask(&Request::Stop(world.last(), Reason::Stopped));
        world.advance(Duration::from_millis(cut));
        world.drop_client(0);
        world.advance(TERMS.grace + Duration::from_secs(2));
        assert!(world.kernel.is_empty(), "dead after {cut} ms");
        world.finish();
    }
}
