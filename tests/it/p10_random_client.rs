//! P10 by numbers that look random: requests and orders, good and damaged, with descriptors that may or
//! may not be right. `NETRUNNER_TEST_SEED` repeats a run, `NETRUNNER_TEST_ROUNDS` makes it longer.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use netrunner_core::message::{CommandId, End, Order, Reason, Request, Session};
use netrunner_core::spawn::{Leftovers, Notify, Place, Placement, Source};
use netrunner_tests::lane::{Heard, Lane, pidfd};
use netrunner_tests::random::Random;
use netrunner_tests::sys;
use netrunner_tests::wait::PATIENCE;
use rustix::net::Shutdown;

use crate::by_hand::*;
use crate::harness::*;

/// A request, good or damaged, with descriptors that may or may not be right. Of its terminals the managers
/// go to the caller.
fn random_request(
    random: &mut Random,
    id: u32,
    lane: &Lane,
    managers: &mut Vec<File>,
) -> (Vec<u8>, Vec<OwnedFd>) {
    let whose = CommandId(if random.chance(80) { id } else { random.below(1 << 32) as u32 });
    let mut passed = Vec::new();
    let bytes = match random.below(8) {
        0 => encoded(Request::Kill(whose)),
        1 => encoded(Request::Stop(whose, random.pick(&[Reason::Stopped, Reason::Timeout]))),
        2 => encoded(Request::Signal(whose, 1 + random.below(64) as u8)),
        3 => encoded(Request::Detach(whose)),
        // All end by themselves, whatever becomes of their requests.
        _ => {
            let script = random.pick(&[
                "exit 3",
                "print x sleep 0.1",
                "cat",
                "ignore TERM sleep 0.3",
                "fork [ sleep 0.2 ] exit 0",
                "daemon [ setsid sleep 0.2 ] die KILL",
            ]);
            let mut asked = Asked::new(whose.0, script);
            asked.notify = random.pick(&[Notify::Start, Notify::End]);
            asked.terms.grace = Duration::from_millis(random.below(200));
            asked.terms.leftovers =
                random.pick(&[Leftovers::Stop, Leftovers::Wait, Leftovers::Keep]);
            asked.terms.timeout =
                random.chance(30).then(|| Duration::from_millis(random.below(90)));
            asked.placements = vec![
                Placement { place: Place::Number(0), source: Source::Null },
                Placement { place: Place::Number(1), source: Source::Null },
            ];
            if on_terminals() {
                let source = if random.chance(90) { Source::Passed } else { Source::Null };
                asked.placements.push(Placement { place: Place::Terminal, source });
                passed.push(terminal(random, lane, managers));
            }
            if random.chance(50) {
                let number = random.below(20) as u32;
                asked
                    .placements
                    .push(Placement { place: Place::Number(number), source: Source::Passed });
                passed.push(descriptor(random, lane));
            }
            asked.bytes()
        }
    };
    (bytes, passed)
}

fn descriptor(random: &mut Random, lane: &Lane) -> OwnedFd {
    match random.below(4) {
        0 => File::open("/dev/null").expect("open").into(),
        1 => rustix::pipe::pipe().expect("a pipe").0,
        2 => pidfd(std::process::id()),
        // Its own lane, which the command then holds.
        _ => lane.fd().try_clone_to_owned().expect("dup"),
    }
}

/// A terminal that is fine, one that is hung up, the wrong end of one, or none.
fn terminal(random: &mut Random, lane: &Lane, managers: &mut Vec<File>) -> OwnedFd {
    crate::on_terminals::see();
    let (manager, end) = sys::open_terminal().expect("a terminal");
    match random.below(8) {
        0 => manager.into(),
        1 => descriptor(random, lane),
        2 => end.into(),
        _ => {
            managers.push(manager);
            end.into()
        }
    }
}

#[test]
fn random_requests_leave_nothing_and_hurt_nobody() {
    arena_with_pidfds(|| {
        let (seed, mut canary) = (seed(), Canary::new());
        // Lanes that were passed down themselves close only with the client.
        let mut client = std_puppet("sleep forever").spawn().expect("a client");
        let guardian = Guardian::of(&pidfd(client.id()));
        let mut good = guardian.shepherd();
        Asked::new(1, "lock good sleep forever").send(&good);
        lock("good").wait_held();
        let mut said = 0;
        for round in 0..rounds(250) {
            let random = &mut Random::seeded(seed.wrapping_add(round));
            let (mut lane, mut managers) = (guardian.shepherd(), Vec::new());
            for step in 0..1 + random.below(7) {
                let id = 1 + step as u32 / 2;
                let (mut bytes, mut passed) = random_request(random, id, &lane, &mut managers);
                if random.chance(40) {
                    random.damage(&mut bytes);
                }
                if random.chance(15) {
                    passed.push(descriptor(random, &lane));
                }
                if random.chance(5) {
                    bytes = random.bytes(500);
                }
                let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
                // It may have had enough by now.
                let _ = lane.send(&bytes, &passed);
                if random.chance(50) {
                    // Whatever it answers is an event.
                    match lane.next_event(Duration::from_millis(random.below(40))) {
                        Heard::Said(_) => said += 1,
                        Heard::Silence | Heard::End => {}
                        Heard::Nonsense(error) => panic!("round {round}: {error}"),
                    }
                }
                if random.chance(5) {
                    lane.half_close(random.pick(&[Shutdown::Write, Shutdown::Read]));
                }
            }
        }
        assert!(said > 0, "nothing was ever understood");
        lock("good").assert_held();
        good.request(&Request::Kill(CommandId(1)), &[]).expect("kill");
        assert_eq!(ended(&mut good).end, End::Status(9));
        guardian.assert_serves();
        client.kill().expect("kill");
        client.wait().expect("wait");
        wait_nothing_left(PATIENCE);
        canary.assert_unharmed();
    });
}

#[test]
fn random_orders_leave_nothing_and_hurt_nobody() {
    arena_with_pidfds(|| {
        let (seed, mut canary) = (seed(), Canary::new());
        for round in 0..rounds(60) {
            let random = &mut Random::seeded(seed.wrapping_add(round));
            let mut client = std_puppet("sleep forever").spawn().expect("a client");
            let guardian = Guardian::of(&pidfd(client.id()));
            let mut lanes = Vec::new();
            for _ in 0..random.below(8) {
                let (ours, theirs) = Lane::pair();
                let order = random.pick(&[
                    Order::Bear(Session::Own),
                    Order::Bear(Session::Own),
                    Order::Bear(Session::Client),
                    Order::Retire,
                    Order::Guard,
                    Order::Groups,
                    Order::Loan,
                ]);
                let mut bytes = ordered(order);
                if random.chance(40) {
                    random.damage(&mut bytes);
                }
                let strange = descriptor(random, &guardian.lane);
                let (from, to) = rustix::pipe::pipe().expect("a pipe");
                let passed = match random.below(7) {
                    0 => vec![],
                    1 => vec![theirs.as_fd(), strange.as_fd()],
                    2 => vec![strange.as_fd()],
                    3 => vec![theirs.as_fd(), from.as_fd(), to.as_fd()],
                    _ => vec![theirs.as_fd()],
                };
                let _ = guardian.lane.send(&bytes, &passed);
                let _ = ours.send(&Asked::new(1, "sleep 0.05 exit 0").bytes(), &[]);
                lanes.push(ours);
            }
            drop(lanes);
            drop(guardian);
            client.kill().expect("kill");
            client.wait().expect("wait");
            wait_nothing_left(PATIENCE);
        }
        canary.assert_unharmed();
    });
}

on_terminals_too! {
    random_requests_leave_nothing_and_hurt_nobody
}
