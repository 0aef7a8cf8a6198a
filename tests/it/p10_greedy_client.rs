//! P10, over-allocation: what a client asks for costs guardian and shepherds little, however much it is.

use std::ffi::CString;
use std::time::Duration;

use netrunner_core::message::Event;
use netrunner_core::spawn::{Place, Placement, Source};
use netrunner_tests::lane::Heard;
use netrunner_tests::procs;
use netrunner_tests::wait::{PATIENCE, wait_until};
use rustix::event::PollFlags;

use crate::by_hand::*;
use crate::harness::*;

/// Far more than either needs, and far less than was asked for.
const SMALL: u64 = 48 << 20;

/// Each costs a hostile client little, and must cost the shepherd little.
#[test]
fn a_request_that_asks_for_too_much_costs_little() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let colons = vec![b':'; 4 << 20];
        let many = |count: usize, source| {
            let place = |number| Placement { place: Place::Number(number as u32), source };
            (0..count).map(place).collect::<Vec<_>>()
        };
        let asked = |change: &dyn Fn(&mut Asked)| {
            let mut asked = Asked::new(1, "exit 0");
            change(&mut asked);
            asked
        };
        let requests: Vec<(&str, Asked)> = vec![
            (
                "a path of nothing but colons",
                asked(&|it| {
                    it.program = c"no-such-program-of-this-name".to_owned();
                    it.set(&[b"PATH=", &colons]);
                }),
            ),
            (
                "colons before a name that is too long",
                asked(&|it| {
                    it.program = CString::new(vec![b'x'; 3 << 20]).expect("no NUL");
                    it.set(&[b"PATH=", &colons]);
                }),
            ),
            ("a million descriptors", asked(&|it| it.placements = many(1 << 20, Source::Null))),
            (
                "a million closed numbers",
                asked(&|it| {
                    it.placements = many(1 << 20, Source::Closed);
                }),
            ),
            (
                "a number beyond all",
                asked(&|it| {
                    let place = Place::Number(u32::MAX);
                    it.placements.push(Placement { place, source: Source::Null });
                }),
            ),
            (
                "a million arguments",
                asked(&|it| {
                    (0..1 << 20).for_each(|_| it.arguments.push(&[]));
                }),
            ),
            ("an argument of megabytes", asked(&|it| it.arguments.push(&[&colons]))),
        ];
        for (what, asked) in requests {
            let mut lane = guardian.shepherd();
            let before = shepherds();
            let _ = lane.send(&asked.bytes(), &[]);
            // To load so much takes its time.
            let heard = next_word(&mut lane);
            let failed = matches!(heard, Heard::Said(Event::SpawnFailed(_)) | Heard::End);
            assert!(failed, "{what}: {heard:?}");
            for pid in before {
                let used = peak(pid);
                assert!(used < SMALL, "{what}: {used} bytes");
            }
            guardian.assert_serves();
        }
        wait_alone(PATIENCE);
        guardian.over();
    });
}

/// The most memory that a process has had in use so far.
fn peak(pid: u32) -> u64 {
    let lines = procs::status_lines(pid, &["VmHWM"]);
    let kib = lines.first().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[test]
fn a_frame_that_is_only_announced_takes_no_memory() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let lane = guardian.shepherd();
        let mut bytes = Asked::new(1, "exit 0").bytes();
        bytes[4..8].copy_from_slice(&(8_u32 << 20).to_le_bytes());
        lane.send(&bytes, &[]).expect("send");
        wait_until("a shepherd that has read it", PATIENCE, || {
            !lane.wait(PollFlags::IN, Duration::ZERO)
        });
        for pid in shepherds() {
            assert!(resident(pid) < 4 << 20, "{} bytes", resident(pid));
        }
        drop(lane);
        guardian.over();
    });
}

/// A client that asks and asks and never listens is not listened to either, until it does.
#[test]
fn what_nobody_reads_is_not_gathered() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let mut lane = guardian.shepherd();
        // Without the descriptor that it announces each is answered at once.
        let mut asked = Asked::new(1, "exit 0");
        asked.placements.push(Placement { place: Place::Number(1), source: Source::Passed });
        let requests = asked.bytes().repeat(100);
        let mut sent = 0;
        while lane.wait(PollFlags::OUT, GRACE * 2) && lane.send(&requests, &[]).is_ok() {
            sent += 100;
            assert!(sent < 1_000_000, "all was taken, and nothing was read");
        }
        for pid in shepherds() {
            assert!(resident(pid) < 8 << 20, "{} bytes", resident(pid));
        }
        // Once it listens, every word comes.
        for _ in 0..sent {
            let heard = lane.next_event(PATIENCE);
            assert!(matches!(heard, Heard::Said(Event::SpawnFailed(_))), "{heard:?}");
        }
        drop(lane);
        wait_alone(PATIENCE);
        guardian.over();
    });
}
