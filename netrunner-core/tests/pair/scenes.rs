//! Scenes with a name, in which client, shepherd and processes play together.

use std::time::Duration;

use netrunner_core::message::{End, Exited, Fate, Reason, Request};
use netrunner_core::spawn::{Leftovers, Notify, Terms};
use netrunner_core::supervise::{Action, Standing};

use crate::client::Outcome;
use crate::kernel::{Kernel, Temper};
use crate::world::{TERMS, World};

const MOMENT: Duration = Duration::from_millis(1);

/// A world in which this program runs as the first command.
fn running(program: &core::ffi::CStr, terms: Terms) -> World {
    let mut world = World::new();
    world.spawn(program, Notify::Start, terms);
    world.settle();
    assert!(world.client.runs);
    world
}

fn ended(world: &World) -> &Exited {
    match world.outcome() {
        Some(Outcome::Ended(exited)) => exited,
        other => panic!("the command has not ended but {other:?}"),
    }
}

/// The leader of the first command.
fn end_leader(world: &mut World) {
    let leader = world.kernel.living()[0];
    world.kernel.end(leader, 3 << 8);
}

#[test]
fn a_recycled_shepherd_serves_one_command_after_the_other() {
    let mut world = World::new();
    for round in 1..100_u32 {
        world.spawn(c"obeys", Notify::End, TERMS);
        world.settle();
        end_leader(&mut world);
        world.settle();
        assert_eq!(world.client.outcomes.len(), round as usize);
        let end = ended(&world);
        assert_eq!((end.end, end.reason), (End::Status(3 << 8), Reason::Exited));
    }
    world.finish();
}

#[test]
fn a_kill_that_crosses_the_end_does_not_hit_the_next_command() {
    let mut world = running(c"obeys", TERMS);
    let first = world.last();
    end_leader(&mut world);
    world.settle();
    world.spawn(c"obeys", Notify::Start, TERMS);
    for late in
        [Request::Kill(first), Request::Stop(first, Reason::Stopped), Request::Detach(first)]
    {
        world.ask(&late);
        world.advance(Duration::from_secs(1));
        assert!(world.client.is_waiting(), "{late:?} hit a stranger");
    }
    world.finish();
}

#[test]
fn p4_leftovers_are_stopped_named_and_told_once() {
    let mut world = running(c"obeys", TERMS);
    world.fork(true, Temper::Obeys);
    world.fork(true, Temper::Ignores);
    end_leader(&mut world);
    world.advance(Duration::from_millis(200));
    let end = ended(&world);
    assert_eq!((end.reason, end.end), (Reason::Exited, End::Status(3 << 8)));
    assert_eq!(end.leftovers.len(), 2);
    assert_eq!(end.fate, Fate::Idle);
    assert!(world.kernel.is_empty());
    world.finish();
}

#[test]
fn leftovers_that_end_within_the_settling_time_are_none() {
    let mut world = running(c"obeys", TERMS);
    world.fork(true, Temper::Ignores);
    let left = world.kernel.living()[1];
    end_leader(&mut world);
    world.advance(Duration::from_millis(19));
    assert!(world.client.is_waiting());
    world.kernel.end(left, 0);
    world.settle();
    assert_eq!(ended(&world).leftovers, []);
    assert!(!world.shepherd.performed.iter().any(|(_, it)| matches!(it, Action::SignalTree(_))));
    world.finish();
}

#[test]
fn a_stopped_tree_heeds_the_stop_signal() {
    let mut world = running(c"obeys", TERMS);
    world.fork(true, Temper::Obeys);
    for pid in world.kernel.living() {
        world.kernel.signal(pid, 19, world.now);
    }
    world.ask(&Request::Stop(world.last(), Reason::Stopped));
    world.advance(MOMENT);
    assert_eq!(ended(&world).end, End::Status(15), "it ended by the signal, not by the kill");
    world.finish();
}

#[test]
fn p4_a_tree_that_breeds_is_swept_until_nothing_lives() {
    let mut world = running(c"breeds", TERMS);
    world.ask(&Request::Kill(world.last()));
    world.advance(Duration::from_secs(1));
    assert_eq!(ended(&world).reason, Reason::Killed);
    let sweeps = world.shepherd.performed.iter().filter(|(_, it)| *it == Action::Sweep).count();
    assert!(sweeps >= 20, "{sweeps} sweeps for 21 generations");
    world.finish();
}

#[test]
fn p8_what_cannot_be_killed_is_told_and_swept_later() {
    let mut world = running(c"unkillable", TERMS);
    world.ask(&Request::Kill(world.last()));
    world.advance(Duration::from_secs(9));
    assert!(world.client.is_waiting());
    world.advance(Duration::from_secs(2));
    let end = ended(&world);
    assert_eq!((end.end, end.fate, end.reason), (End::Unkillable, Fate::Leaving, Reason::Killed));
    assert_eq!(end.survivors.len(), 1);
    world.advance(Duration::from_secs(100));
    assert_eq!(world.shepherd.quits(), 0, "it stays to reap");
    let survivor = world.kernel.living()[0];
    world.kernel.wake(survivor, world.now);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.shepherd.quits(), 1);
    world.finish();
}

#[test]
fn what_is_kept_outlives_the_client_and_is_reaped() {
    let mut world = running(c"obeys", Terms { leftovers: Leftovers::Keep, ..TERMS });
    world.fork(false, Temper::Obeys);
    world.fork(true, Temper::Obeys);
    end_leader(&mut world);
    world.advance(Duration::from_secs(1));
    let end = ended(&world);
    assert_eq!((end.reason, end.fate, end.leftovers.len()), (Reason::Exited, Fate::Leaving, 2));
    assert_eq!(world.shepherd.machine.standing(), Standing::Kept);
    world.drop_client(0);
    world.advance(Duration::from_secs(100));
    assert_eq!(world.kernel.living().len(), 2);
    world.finish();
}

#[test]
fn p1_a_command_that_would_keep_is_stopped_when_the_client_dies_first() {
    let mut world = running(c"obeys", Terms { leftovers: Leftovers::Keep, ..TERMS });
    world.fork(true, Temper::Ignores);
    end_leader(&mut world);
    world.advance(Duration::from_millis(10));
    world.drop_client(0);
    world.advance(TERMS.grace);
    assert!(world.kernel.is_empty());
    world.finish();
}

#[test]
fn a_detach_that_is_on_its_way_when_the_client_dies_holds() {
    let mut world = running(c"obeys", TERMS);
    world.ask(&Request::Detach(world.last()));
    world.drop_client(0);
    world.advance(Duration::from_secs(100));
    assert_eq!(world.kernel.living().len(), 1);
    world.finish();
}

#[test]
fn p1_half_a_detach_is_none() {
    let mut world = running(c"obeys", TERMS);
    world.ask(&Request::Detach(world.last()));
    world.drop_client(1);
    assert!(world.kernel.is_empty());
    world.finish();
}

#[test]
fn the_timeout_covers_the_wait_for_leftovers() {
    let timeout = Some(Duration::from_secs(3));
    let mut world = running(c"obeys", Terms { timeout, leftovers: Leftovers::Wait, ..TERMS });
    world.fork(true, Temper::Obeys);
    end_leader(&mut world);
    world.advance(Duration::from_secs(2));
    assert!(world.client.is_waiting());
    world.advance(Duration::from_secs(1));
    let end = ended(&world);
    assert_eq!((end.reason, end.end), (Reason::Timeout, End::Status(3 << 8)));
    assert_eq!(end.leftovers.len(), 1, "what was stopped beside the ended child is named");
    world.finish();
}

#[test]
fn what_was_waited_for_is_named() {
    let mut world = running(c"obeys", Terms { leftovers: Leftovers::Wait, ..TERMS });
    world.fork(true, Temper::Obeys);
    end_leader(&mut world);
    world.advance(Duration::from_secs(5));
    assert!(world.client.is_waiting());
    for pid in world.kernel.running() {
        world.kernel.end(pid, 0);
    }
    world.settle();
    let end = ended(&world);
    assert_eq!((end.reason, end.end), (Reason::Exited, End::Status(3 << 8)));
    assert_eq!(end.leftovers.len(), 1);
    world.finish();
}

#[test]
fn a_stop_within_the_settling_time_names_what_it_stops() {
    for request in [|id| Request::Stop(id, Reason::Stopped), |id| Request::Kill(id)] {
        let mut world = running(c"obeys", TERMS);
        world.fork(true, Temper::Obeys);
        end_leader(&mut world);
        world.advance(Duration::from_millis(5));
        world.ask(&request(world.last()));
        world.settle();
        let end = ended(&world);
        assert_eq!((end.reason, end.leftovers.len()), (Reason::Exited, 1));
        world.finish();
    }
}

#[test]
fn a_shepherd_that_was_frozen_catches_up_at_once() {
    let mut world = running(c"ignores", Terms { timeout: Some(MOMENT), ..TERMS });
    world.freeze(Duration::from_secs(100));
    world.advance(TERMS.grace);
    assert_eq!(ended(&world).reason, Reason::Timeout);
    world.finish();
}

#[test]
fn the_simulated_kernel_would_notice_a_wrong_kill() {
    let mut kernel = Kernel::default();
    let child = kernel.spawn(Temper::Obeys);
    kernel.end(child, 0);
    assert!(kernel.child_signal && kernel.living().is_empty() && !kernel.is_empty());
    assert_eq!(kernel.reap(child), Some(0));
    let wrong = std::panic::AssertUnwindSafe(|| {
        kernel.signal_group(child, 15, netrunner_core::Time::from_nanos(0));
    });
    assert!(std::panic::catch_unwind(wrong).is_err());
}
