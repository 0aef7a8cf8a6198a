//! P10, the other side: whatever a client sends, guardian and shepherds end cleanly or go on, hit
//! nobody, stay small, and keep serving the lanes that behave.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

use netrunner_core::message::{CommandId, End, Event, Order, Pid, Reason, Request, Session};
use netrunner_core::spawn::{Place, Placement, Source};
use netrunner_core::wire::VERSION;
use netrunner_tests::lane::{Heard, Lane, pidfd};
use netrunner_tests::procs;
use netrunner_tests::wait::PATIENCE;
use rustix::net::Shutdown;

use crate::by_hand::*;
use crate::harness::*;

const MINE: CommandId = CommandId(1);
const OTHER: CommandId = CommandId(2);

fn with<const N: usize>(mut bytes: Vec<u8>, changes: [(usize, u8); N]) -> Vec<u8> {
    changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
    bytes
}

/// No frame of the protocol, each in another way.
fn nonsense() -> Vec<Vec<u8>> {
    let kill = encoded(Request::Kill(MINE));
    let spawn = Asked::new(1, "touch must-not-be exit 0").bytes();
    let mut stop_as_if_by_itself = encoded(Request::Stop(MINE, Reason::Stopped));
    *stop_as_if_by_itself.last_mut().expect("a reason") = 0;
    vec![
        vec![0xff],
        vec![0; 8],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        with(kill.clone(), [(0, VERSION + 1)]),
        with(kill.clone(), [(1, 0)]),
        with(kill.clone(), [(1, 99)]),
        with(kill.clone(), [(2, 1)]),
        with(kill.clone(), [(2, 255)]),
        with(kill.clone(), [(3, 1)]),
        with(kill.clone(), [(4, 3)]),
        [with(kill, [(4, 5)]), vec![0]].concat(),
        stop_as_if_by_itself,
        with(spawn.clone(), [(2, 1)]),
        with(spawn.clone(), [(4, 0xff), (5, 0xff), (6, 0xff), (7, 0xff)]),
        with(spawn, [(12, 9)]),
        // As if there had been an environment before.
        Asked { environment: None, ..Asked::new(1, "touch must-not-be exit 0") }.bytes(),
        ordered(Order::Retire),
        {
            let mut bytes = Vec::new();
            Event::Detached(MINE).encode(&mut bytes);
            bytes
        },
    ]
}

/// A command that runs until it is ended.
fn running(lane: &Lane, lock_file: &str) {
    Asked::new(1, &format!("lock {lock_file} sleep forever")).send(lane);
    lock(lock_file).wait_held();
}

#[test]
fn a_starter_that_gets_no_good_first_order_fails_at_once_and_leaves_nothing() {
    arena_with_pidfds(|| {
        let own = pidfd(std::process::id());
        let both = [own.as_fd(), own.as_fd()];
        let guard = ordered(Order::Guard);
        let mut words: Vec<(Vec<u8>, &[BorrowedFd<'_>])> =
            nonsense().into_iter().map(|bytes| (bytes, &[][..])).collect();
        words.extend([
            (vec![], &both[..0]),
            (guard[..5].to_vec(), &both[..1]),
            (guard.clone(), &both[..0]),
            (ordered(Order::Bear(Session::Own)), &both[..1]),
            (encoded(Request::Kill(MINE)), &both[..0]),
        ]);
        for (bytes, descriptors) in words {
            let (lane, theirs) = Lane::pair();
            lane.send(&bytes, descriptors).expect("send");
            lane.half_close(Shutdown::Write);
            let status = starter(theirs);
            assert!(
                status.code().is_some_and(|code| code != 0 && code != 101),
                "{status}: {bytes:x?}"
            );
            wait_nothing_left(PATIENCE);
        }
    });
}

#[test]
fn a_guardian_of_two_clients_ends() {
    arena_with_pidfds(|| {
        let (lane, theirs) = Lane::pair();
        let own = pidfd(std::process::id());
        lane.send(&ordered(Order::Guard), &[own.as_fd(), own.as_fd()]).expect("send");
        assert!(starter(theirs).success());
        wait_nothing_left(PATIENCE);
    });
}

/// What is no pidfd is not a client that lives, or one that is seen by its lane alone.
#[test]
fn a_guardian_of_no_process_still_ends_with_its_lane() {
    arena_with_pidfds(|| {
        let (socket, _other) = Lane::pair();
        let descriptors: Vec<OwnedFd> = vec![
            File::open("/dev/null").expect("open").into(),
            File::open("/").expect("open").into(),
            rustix::pipe::pipe().expect("a pipe").0,
            socket.fd().try_clone_to_owned().expect("dup"),
        ];
        for descriptor in descriptors {
            let guardian = Guardian::of(&descriptor);
            let lane = guardian.lane.bear();
            guardian.over();
            drop(lane);
        }
    });
}

#[test]
fn a_guardian_with_bad_orders_takes_its_client_for_gone() {
    arena_with_pidfds(|| {
        let mut canary = Canary::new();
        let mut words = nonsense();
        // What a shepherd takes is no order either.
        words.retain(|bytes| *bytes != ordered(Order::Retire));
        words.push(ordered(Order::Guard));
        words.push(encoded(Request::Kill(MINE)));
        // Each has a command that runs, and an idle shepherd.
        for (number, chunk) in words.chunks(6).enumerate() {
            let mut guardians = Vec::new();
            for (at, bytes) in chunk.iter().enumerate() {
                let guardian = Guardian::start();
                let (busy, idle) = (guardian.shepherd(), guardian.shepherd());
                running(&busy, &format!("busy-{number}-{at}"));
                guardian.lane.send(bytes, &[]).expect("send");
                // A piece of a frame is one only once nothing more can come.
                guardian.lane.half_close(Shutdown::Write);
                guardians.push((guardian, busy, idle));
            }
            // Nothing is closed here: they go by themselves.
            wait_nothing_left(GRACE_AND_2S + PATIENCE);
        }
        canary.assert_unharmed();
    });
}

#[test]
fn a_guardian_survives_every_descriptor_that_is_passed_for_a_lane() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let (datagrams, _others) = UnixDatagram::pair().expect("a pair");
        let listener = UnixListener::bind("listener").expect("bind");
        let (unread, theirs) = Lane::pair();
        drop(theirs);
        let descriptors: Vec<OwnedFd> = vec![
            File::open("/dev/null").expect("open").into(),
            File::open("/").expect("open").into(),
            File::open("/proc/self/status").expect("open").into(),
            File::create("a-file").expect("create").into(),
            reader,
            writer,
            datagrams.into(),
            listener.into(),
            unread.fd().try_clone_to_owned().expect("dup"),
            pidfd(std::process::id()),
        ];
        for descriptor in &descriptors {
            guardian.lane.order(Order::Bear(Session::Own), &[descriptor.as_fd()]).expect("order");
            guardian.assert_serves();
        }
        // None at all, for all that is announced: the shepherd is not made, and that is all.
        guardian.lane.order(Order::Bear(Session::Client), &[]).expect("order");
        guardian.assert_serves();
        assert_eq!(std::fs::read("a-file").expect("read"), b"", "a file is no lane");
        drop(descriptors);
        guardian.over();
    });
}

#[test]
fn a_guardian_removes_nothing_from_what_is_no_place_of_cgroups() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        std::fs::create_dir_all("place/netrunner-1-0").expect("a name of ours");
        let place = File::open("place").expect("open");
        for _ in 0..20 {
            guardian.lane.order(Order::Groups, &[place.as_fd()]).expect("order");
        }
        guardian.assert_serves();
        guardian.over();
        assert!(std::path::Path::new("place/netrunner-1-0").exists());
    });
}

#[test]
fn a_guardian_gives_tokens_from_pipe_to_pipe_and_to_nothing_else() {
    arena_with_pidfds(|| {
        if !is_promised_everywhere() {
            return;
        }
        let guardian = Guardian::start();
        let (from, into) = rustix::pipe::pipe().expect("a pipe");
        let (back, make) = rustix::pipe::pipe().expect("a pipe");
        rustix::io::write(&into, b"abc").expect("there is room");
        let file = File::options().read(true).append(true).create(true).open("a-file");
        let file = file.expect("open");
        let (_, stranger) = Lane::pair();
        for wrong in [
            [stranger.as_fd(), file.as_fd(), make.as_fd()],
            [stranger.as_fd(), from.as_fd(), file.as_fd()],
            [stranger.as_fd(), from.as_fd(), stranger.as_fd()],
            [file.as_fd(), from.as_fd(), make.as_fd()],
            [from.as_fd(), make.as_fd(), into.as_fd()],
        ] {
            guardian.lane.order(Order::Loan, &wrong).expect("order");
            guardian.assert_serves();
        }
        let (ours, theirs) = Lane::pair();
        let right = [theirs.as_fd(), from.as_fd(), make.as_fd()];
        for _ in 0..20 {
            guardian.lane.order(Order::Loan, &right).expect("order");
        }
        // One for each byte, and what there is not can't be given.
        ours.send(b"+", &[stranger.as_fd()]).expect("send");
        assert!(ours.wait(rustix::event::PollFlags::IN, PATIENCE));
        assert_eq!(rustix::io::ioctl_fionread(&back), Ok(1));
        ours.send(&[b'+'; 1000], &[]).expect("send");
        guardian.assert_serves();
        guardian.over();
        wait_nothing_left(PATIENCE);
        assert_eq!(rustix::io::ioctl_fionread(&back), Ok(3));
        assert_eq!(std::fs::read("a-file").expect("read"), b"");
    });
}

#[test]
fn a_guardian_kills_its_own_shepherds_and_nobody_else() {
    arena_with_pidfds(|| {
        let mut canary = Canary::new();
        let guardian = Guardian::start();
        let mut lane = guardian.shepherd();
        running(&lane, "mine");
        let child = lock("mine").wait_held();
        let numbers = [canary.pid(), std::process::id(), guardian_of(child), child, 1, 0x7fff_ffff];
        for pid in numbers {
            guardian.lane.order(Order::Kill(Pid(pid)), &[]).expect("order");
        }
        guardian.assert_serves();
        lock("mine").assert_held();
        canary.assert_unharmed();
        guardian.lane.order(Order::Kill(Pid(shepherd_of(child))), &[]).expect("order");
        assert_eq!(next_word(&mut lane), Heard::End);
        lock("mine").wait_free(PATIENCE);
        guardian.assert_serves();
        wait_alone(PATIENCE);
        guardian.over();
    });
}

/// Its own words come back to it as orders.
#[test]
fn a_guardian_whose_own_lane_is_passed_to_a_shepherd_ends() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let ours = guardian.lane.fd();
        guardian.lane.order(Order::Bear(Session::Own), &[ours]).expect("order");
        wait_nothing_left(PATIENCE);
    });
}

#[test]
fn a_lane_that_speaks_nonsense_ends_alone_with_its_command() {
    arena_with_pidfds(|| {
        let mut canary = Canary::new();
        let guardian = Guardian::start();
        let mut good = guardian.shepherd();
        Asked::new(1, "lock good sleep forever").send(&good);
        lock("good").wait_held();
        for (number, bytes) in nonsense().into_iter().enumerate() {
            for phase in ["idle", "busy"] {
                let mut bad = guardian.shepherd();
                let file = format!("bad-{number}");
                if phase == "busy" {
                    running(&bad, &file);
                }
                // It may end before it has all.
                let _ = bad.send(&bytes, &[]);
                bad.half_close(Shutdown::Write);
                assert_eq!(next_word(&mut bad), Heard::End, "{phase}: {bytes:x?}");
                if phase == "busy" {
                    lock(&file).wait_free(GRACE_AND_2S);
                }
            }
        }
        assert!(!std::path::Path::new("must-not-be").exists());
        lock("good").assert_held();
        good.request(&Request::Kill(MINE), &[]).expect("kill");
        let end = ended(&mut good);
        assert_eq!((end.end, end.reason), (End::Status(9), Reason::Killed));
        guardian.assert_serves();
        canary.assert_unharmed();
        drop(good);
        wait_alone(PATIENCE);
        guardian.over();
    });
}

#[test]
fn requests_out_of_turn_are_ignored_or_end_the_lane() {
    arena_with_pidfds(|| {
        if !is_promised_everywhere() {
            return;
        }
        let guardian = Guardian::start();
        // About commands that are not, not yet or no more: nothing to do.
        let mut lane = guardian.shepherd();
        let idle = |lane: &Lane| {
            for id in [MINE, OTHER, CommandId(0), CommandId(u32::MAX)] {
                lane.request(&Request::Kill(id), &[]).expect("send");
                lane.request(&Request::Stop(id, Reason::Timeout), &[]).expect("send");
                lane.request(&Request::Signal(id, 9), &[]).expect("send");
                lane.request(&Request::Detach(id), &[]).expect("send");
            }
        };
        idle(&lane);
        for round in 3..6 {
            Asked::new(round, "exit 5").send(&lane);
            assert_eq!(ended(&mut lane).end, End::Status(5 << 8));
            idle(&lane);
        }
        // About another command while one runs: it runs on.
        Asked::new(1, "lock mine sleep forever").send(&lane);
        lock("mine").wait_held();
        lane.request(&Request::Kill(OTHER), &[]).expect("send");
        lane.request(&Request::Detach(OTHER), &[]).expect("send");
        lane.request(&Request::Signal(OTHER, 9), &[]).expect("send");
        assert_eq!(lane.next_event(PATIENCE), Heard::Said(Event::Handle(CommandId(1))));
        assert_eq!(lane.next_event(GRACE), Heard::Silence);
        lock("mine").assert_held();
        // A second one beside it.
        Asked::new(2, "touch must-not-be exit 0").send(&lane);
        assert_eq!(lane.next_event(PATIENCE), Heard::End);
        lock("mine").wait_free(GRACE_AND_2S);
        assert!(!std::path::Path::new("must-not-be").exists());
        wait_alone(PATIENCE);
        guardian.over();
    });
}

#[test]
fn a_lane_whose_halves_are_closed_ends_its_command() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        // Who says nothing more has gone.
        let mut mute = guardian.shepherd();
        running(&mute, "mute");
        mute.half_close(Shutdown::Write);
        lock("mute").wait_free(GRACE_AND_2S);
        assert_eq!(next_word(&mut mute), Heard::End);
        // Who hears nothing more can still ask.
        let deaf = guardian.shepherd();
        deaf.half_close(Shutdown::Read);
        running(&deaf, "deaf");
        deaf.request(&Request::Kill(MINE), &[]).expect("kill");
        lock("deaf").wait_free(PATIENCE);
        drop(deaf);
        wait_alone(PATIENCE);
        guardian.over();
    });
}

#[test]
fn descriptors_that_were_not_announced_end_the_lane() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        let null = File::open("/dev/null").expect("open");
        for count in [1, 2, 200] {
            let descriptors = vec![null.as_fd(); count];
            let mut lane = guardian.shepherd();
            lane.send(&encoded(Request::Kill(OTHER)), &descriptors).expect("send");
            assert_eq!(next_word(&mut lane), Heard::End, "{count} descriptors");
        }
        // One too few is a request that can't be carried out, as when this process is out of room.
        let mut lane = guardian.shepherd();
        let mut asked = Asked::new(1, "exit 0");
        asked.placements.push(Placement { place: Place::Number(1), source: Source::Passed });
        asked.send(&lane);
        let heard = lane.next_event(PATIENCE);
        assert!(matches!(heard, Heard::Said(Event::SpawnFailed(_))), "{heard:?}");
        guardian.assert_serves();
        drop(lane);
        guardian.over();
    });
}

/// The command holds the client's end of its own lane, so that this never closes.
#[test]
fn a_lane_that_its_own_command_holds_ends_with_the_client() {
    arena_with_pidfds(|| {
        let mut client = std_puppet("sleep forever").spawn().expect("a client");
        let guardian = Guardian::of(&pidfd(client.id()));
        let lane = guardian.shepherd();
        let mut asked = Asked::new(1, "lock held sleep forever");
        asked.placements.push(Placement { place: Place::Number(9), source: Source::Passed });
        asked.passed.push(lane.fd().try_clone_to_owned().expect("dup"));
        asked.send(&lane);
        drop(asked);
        lock("held").wait_held();
        drop(lane);
        drop(guardian);
        lock("held").assert_held();
        client.kill().expect("kill");
        client.wait().expect("wait");
        lock("held").wait_free(GRACE_AND_2S);
        wait_nothing_left(PATIENCE);
    });
}

#[test]
fn hundreds_of_lanes_that_are_asked_for_and_dropped_leave_nothing() {
    arena_with_pidfds(|| {
        let guardian = Guardian::start();
        for _ in 0..3 {
            let lanes: Vec<Lane> = (0..150).map(|_| guardian.lane.bear().expect("order")).collect();
            guardian.assert_serves();
            drop(lanes);
        }
        wait_alone(PATIENCE);
        let descriptors = procs::descriptors(others()[0].pid).len();
        assert!(descriptors < 10, "{descriptors} descriptors");
        guardian.over();
    });
}
