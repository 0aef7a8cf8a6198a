//! A shepherds' program that is none: it plays starter, guardian and shepherds by a script, and badly.
//!
//! It is started as the real one is, with a lane as standard input and neither arguments nor
//! environment, so the script is in the file `rogue` of the directory that it starts in.
//!
//! | words | |
//! |---|---|
//! | `take` | reads the order to guard, and the client's pidfd |
//! | `leave` | a copy goes on as the guardian; the starter exits 0 |
//! | `bear` | for each shepherd that is asked for, a copy goes on with its lane |
//! | `request` | reads a request, and takes its command for `mine` |
//! | `child` | starts a child that sleeps |
//! | `hello WHO FD…` `spawned ID WHO FD…` `ended ID WHO` `failed ID` `gone ID` `stopped ID N` `continued ID` | events |
//! | `order` `kill ID` | what only a client says |
//! | `bare` | the next event comes without descriptors, as from a kernel without pidfds |
//! | `cut N` | of the next message only the first N bytes are sent |
//! | `raw HEX` `noise N` | bytes |
//! | `guard-says HEX` | bytes, on the guardian's lane |
//! | `flood` | hello after hello, for as long as they are taken |
//! | `half-close` `half-deaf` `close` | the lane |
//! | `random SEED` | anything of all this; each lane has its own |
//! | `heard` | waits until all that was said on the lane has been read |
//! | `silent` | neither speaks nor listens, until nobody could care |
//! | `exit N` `die` | |
//!
//! WHO: `me canary client child init zero`. FD: the same as pidfds, or `null lane pipe`. ID: `mine`,
//! `other`.
//!
//! It ends by SIGALRM after two minutes.

#![deny(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Order, Pid, Process, Reason, Request, Session,
    SpawnFailed, Step, Usage,
};
use netrunner_tests::lane::{Heard, Lane, pidfd};
use netrunner_tests::random::Random;
use netrunner_tests::script::{self, Words};
use netrunner_tests::sys::{self, Forked, OnSignal};
use netrunner_tests::{procs, wait};
use rustix::event::PollFlags;
use rustix::net::Shutdown;

const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    sys::alarm(wait::scaled(Duration::from_secs(120)).as_secs() as u32);
    sys::no_core_files();
    // Copies that end are nobody's business.
    sys::on_signal(libc::SIGCHLD, OnSignal::Ignore);
    let script = std::fs::read_to_string("rogue").expect("the script");
    let words: Vec<OsString> = script::split(&script);
    let guard = Lane::over(std::io::stdin().as_fd().try_clone_to_owned().expect("the lane"));
    // Else the end of this lane would never be seen by its other end.
    sys::close(0);
    let mut rogue = Rogue {
        guard: Some(guard),
        client: None,
        lane: None,
        mine: 1,
        child: None,
        cut: None,
        bare: false,
    };
    rogue.perform(&mut Words::new(&words));
    sys::exit_now(0);
}

struct Rogue {
    guard: Option<Lane>,
    client: Option<OwnedFd>,
    lane: Option<Lane>,
    mine: u32,
    child: Option<u32>,
    cut: Option<usize>,
    bare: bool,
}

impl Rogue {
    fn perform(&mut self, words: &mut Words<'_>) {
        while let Some(verb) = words.next_word() {
            let verb = verb.to_str().expect("verbs are UTF-8");
            assert!(
                self.role(verb) || self.speak(verb, words) || self.behave(verb, words),
                "rogue does not know `{verb}`"
            );
        }
    }

    fn role(&mut self, verb: &str) -> bool {
        match verb {
            "take" => {
                let guard = self.guard.as_mut().expect("a lane to the client");
                assert_eq!(guard.next_order(LIMIT), Heard::Said(Order::Guard));
                self.client = guard.descriptors.pop();
            }
            "leave" => {
                if let Forked::Origin(_) = sys::fork().expect("fork") {
                    sys::exit_now(0);
                }
            }
            "bear" => self.bear(),
            "request" => match self.lane.as_mut().expect("a lane").next_request(LIMIT) {
                Heard::Said(id) => self.mine = id,
                Heard::End => sys::exit_now(0),
                other @ (Heard::Silence | Heard::Nonsense(_)) => panic!("no request: {other:?}"),
            },
            "child" => match sys::fork().expect("fork") {
                Forked::Origin(pid) => self.child = Some(pid),
                Forked::Copy => {
                    sys::signal_on_origins_death(libc::SIGKILL).expect("a death signal");
                    self.guard = None;
                    self.lane = None;
                    sys::pause_for_ever();
                }
            },
            _ => return false,
        }
        true
    }

    /// Serves the client's orders for ever; each copy comes back from here.
    fn bear(&mut self) {
        loop {
            let guard = self.guard.as_mut().expect("a lane to the client");
            match guard.next_order(LIMIT) {
                Heard::Said(Order::Bear(_)) => {}
                Heard::Said(
                    Order::Guard | Order::Retire | Order::Kill(_) | Order::Groups | Order::Loan,
                ) => continue,
                Heard::Silence | Heard::End | Heard::Nonsense(_) => sys::exit_now(0),
            }
            let far_end = guard.descriptors.pop().expect("a far end");
            // Each lane has its own number, whichever guardian serves it.
            let number = procs::count_up("rogue-count");
            if sys::fork().expect("fork") == Forked::Copy {
                self.guard = None;
                self.lane = Some(Lane::over(far_end));
                self.mine = number;
                return;
            }
        }
    }

    fn speak(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "hello" => {
                let pid = self.who(words.text(verb));
                self.say(&Event::Hello(pid), words);
            }
            "spawned" => {
                let id = self.id(words.text(verb));
                let pid = self.who(words.text(verb));
                self.say(&Event::Spawned(id, pid), words);
            }
            "handle" => {
                let id = self.id(words.text(verb));
                self.say(&Event::Handle(id), words);
            }
            "ended" => {
                let id = self.id(words.text(verb));
                let pid = self.who(words.text(verb));
                self.say(&ended(id, pid), words);
            }
            "failed" => {
                let id = self.id(words.text(verb));
                self.say(&failed(id), words);
            }
            "gone" => {
                let id = self.id(words.text(verb));
                self.say(&Event::Detached(id), words);
            }
            "stopped" => {
                let id = self.id(words.text(verb));
                let signal = words.number(verb) as u8;
                self.say(&Event::Stopped(id, signal), words);
            }
            "continued" => {
                let id = self.id(words.text(verb));
                self.say(&Event::Continued(id), words);
            }
            "order" => {
                let mut bytes = Vec::new();
                Order::Bear(Session::Own).encode(&mut bytes);
                self.send(&bytes, &[]);
            }
            "kill" => {
                let id = self.id(words.text(verb));
                let mut bytes = Vec::new();
                Request::Kill(id).encode(&mut bytes);
                self.send(&bytes, &[]);
            }
            "raw" => {
                let bytes = hex(words.text(verb));
                self.send(&bytes, &[]);
            }
            "guard-says" => {
                let bytes = hex(words.text(verb));
                let _ = self.guard.as_ref().expect("a lane to the client").send(&bytes, &[]);
            }
            "noise" => {
                let bytes = Random::seeded(self.mine.into()).bytes(words.number(verb) as usize);
                self.send(&bytes, &[]);
            }
            "flood" => {
                let mut bytes = Vec::new();
                Event::Hello(self.who("me")).encode(&mut bytes);
                while self.lane.as_ref().expect("a lane").send(&bytes, &[]).is_ok() {}
            }
            "random" => {
                let seed = words.number(verb).wrapping_add(self.mine.into());
                self.random(&mut Random::seeded(seed));
            }
            _ => return false,
        }
        true
    }

    fn behave(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "bare" => self.bare = true,
            "cut" => self.cut = Some(words.number(verb) as usize),
            "half-close" => self.lane.as_ref().expect("a lane").half_close(Shutdown::Write),
            "half-deaf" => self.lane.as_ref().expect("a lane").half_close(Shutdown::Read),
            "close" => self.lane = None,
            "heard" => {
                let lane = self.lane.as_ref().expect("a lane").fd();
                wait::wait_until("a client that reads", wait::PATIENCE, || {
                    sys::unread_by_peer(lane).expect("a socket") == 0
                });
            }
            "silent" => loop {
                // Whichever it has: the client's end, seen without reading a word.
                let lane = self.lane.as_ref().or(self.guard.as_ref()).expect("a lane");
                if lane.wait(PollFlags::HUP, LIMIT) {
                    sys::exit_now(0);
                }
            },
            "exit" => sys::exit_now(words.number(verb) as i32),
            "die" => {
                sys::kill(std::process::id() as i32, libc::SIGKILL).expect("kill oneself");
            }
            _ => return false,
        }
        true
    }

    /// Says it with the descriptors that the following words name.
    fn say(&mut self, event: &Event, words: &mut Words<'_>) {
        let mut held = Vec::new();
        loop {
            let name = ["null", "lane", "pipe", "me", "canary", "client", "child"]
                .into_iter()
                .find(|name| words.take_if(name));
            let Some(name) = name else { break };
            held.push(self.descriptor(name));
        }
        let mut bytes = Vec::new();
        match std::mem::take(&mut self.bare) {
            true => event.encode_bare(&mut bytes),
            false => event.encode(&mut bytes),
        }
        let descriptors: Vec<BorrowedFd<'_>> = held.iter().map(AsFd::as_fd).collect();
        self.send(&bytes, &descriptors);
    }

    fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let length = self.cut.take().unwrap_or(bytes.len()).min(bytes.len());
        // The client may have given up on it, which is what it should do.
        let _ = self.lane.as_ref().expect("a lane").send(&bytes[..length], descriptors);
    }

    fn id(&self, name: &str) -> CommandId {
        CommandId(if name == "mine" { self.mine } else { self.mine.wrapping_add(1) })
    }

    fn who(&self, name: &str) -> Pid {
        Pid(match name {
            "me" => std::process::id(),
            "canary" => canary(),
            "client" => self.client.as_ref().and_then(procs::behind).unwrap_or(1),
            "child" => self.child.expect("a child"),
            "init" => 1,
            _ => 0,
        })
    }

    fn descriptor(&self, name: &str) -> OwnedFd {
        match name {
            "null" => File::open("/dev/null").expect("open").into(),
            "lane" => self.lane.as_ref().expect("a lane").fd().try_clone_to_owned().expect("dup"),
            "pipe" => rustix::pipe::pipe().expect("a pipe").0,
            who => pidfd(self.who(who).0),
        }
    }

    /// Some steps of anything; then it ends.
    fn random(&mut self, random: &mut Random) {
        let names = ["null", "lane", "pipe", "me", "canary", "client"];
        let whos = ["me", "canary", "client", "init", "zero"];
        if random.chance(70) {
            self.perform(&mut Words::new(&script::split("hello me me")));
        }
        if random.chance(70) {
            self.role("request");
        }
        for _ in 0..random.below(6) {
            let id = self.id(random.pick(&["mine", "mine", "other"]));
            let pid = self.who(random.pick(&whos));
            let event = match random.below(8) {
                5 => Event::Stopped(id, random.below(70) as u8),
                6 => Event::Continued(id),
                0 => Event::Hello(pid),
                1 => Event::Spawned(id, pid),
                2 => failed(id),
                3 => ended(id, pid),
                4 => Event::Handle(id),
                _ => Event::Detached(id),
            };
            let mut bytes = Vec::new();
            match random.below(10) {
                0 => bytes = random.bytes(random.clone().below(300) as usize),
                1 => Request::Kill(id).encode(&mut bytes),
                2 => event.encode_bare(&mut bytes),
                _ => event.encode(&mut bytes),
            }
            if random.chance(60) {
                random.damage(&mut bytes);
            }
            let count =
                if random.chance(70) { event.descriptors() } else { random.below(7) as usize };
            let held: Vec<OwnedFd> =
                (0..count).map(|_| self.descriptor(random.pick(&names))).collect();
            let descriptors: Vec<BorrowedFd<'_>> = held.iter().map(AsFd::as_fd).collect();
            self.send(&bytes, &descriptors);
            if random.chance(10) {
                let which = if random.chance(50) { Shutdown::Write } else { Shutdown::Read };
                self.lane.as_ref().expect("a lane").half_close(which);
            }
        }
    }
}

fn canary() -> u32 {
    std::fs::read_to_string("canary-pid").ok().and_then(|pid| pid.parse().ok()).unwrap_or(1)
}

fn failed(id: CommandId) -> Event {
    Event::SpawnFailed(SpawnFailed { id, step: Step::Exec, errno: 9_999, object: vec![0xff; 99] })
}

fn ended(id: CommandId, pid: Pid) -> Event {
    let stranger = Process { pid: Pid(1), name: b"\x1b[31m\n".to_vec() };
    Event::Exited(Exited {
        id,
        pid,
        end: End::Status(0),
        reason: Reason::Exited,
        wall: Duration::MAX,
        usage: Usage { user: Duration::MAX, max_rss: u64::MAX, ..Usage::default() },
        leftovers: vec![stranger],
        survivors: Vec::new(),
        namespaced: false,
        fate: Fate::Idle,
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| {
            let two = std::str::from_utf8(two).expect("ASCII");
            u8::from_str_radix(two, 16).expect("hexadecimal digits")
        })
        .collect()
}
