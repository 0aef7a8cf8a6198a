//! What happens in a round: which clients there are, what they run, and who is struck when. All of it
//! follows from the seed; which instants these are for those who are struck does not.

use std::time::Duration;

use netrunner_tests::random::Random;

use crate::trees::{End, Tree};

/// Who is not killed, and so what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Clients, shepherds and children are killed: nothing may be left.
    GuardiansLive,
    /// Clients, guardians and children are killed: nothing may be left.
    ShepherdsLive,
    /// All of them, also at one instant: the child itself may not be left, nor what is in the cgroup
    /// of a client that lives.
    NobodyIsSafe,
}

/// What a process of the round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Client,
    /// On the way to be a guardian, or one that has no name yet.
    Starter,
    Guardian,
    Shepherd,
    Child,
}

/// What is taken away from a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Descriptors,
    Processes,
    Memory,
}

/// One thing that is done to the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A signal to one of those with this role, by a number from which the one follows.
    Signal { role: Role, which: u64, signal: i32 },
    /// SIGSTOP to everything that may be stopped.
    SuspendAll,
    /// SIGCONT to everything that was.
    ResumeAll,
    /// As much as it uses now and this much more, at most.
    Starve { role: Role, which: u64, want: Want, room: u64 },
    /// Everybody has enough again.
    Feed,
}

/// What is done at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blow {
    /// After the blow before.
    pub(crate) after: Duration,
    pub(crate) acts: Vec<Act>,
}

/// A program that uses the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) script: String,
    /// It comes to an end by itself if nobody strikes it.
    pub(crate) finishes: bool,
    pub(crate) cgroups: bool,
}

/// A whole round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) mode: Mode,
    /// Something runs out in it.
    pub(crate) scarce: bool,
    pub(crate) clients: Vec<Client>,
    pub(crate) blows: Vec<Blow>,
    /// The folders that the scripts' locks are in.
    pub(crate) folders: Vec<String>,
}

/// What the plan has to know about the machine. None of it changes a choice.
pub(crate) struct Ground<'a> {
    /// The puppets' program.
    pub(crate) puppet: &'a str,
    /// What the names of this round's cgroups begin with.
    pub(crate) groups: &'a str,
    /// A user that nobody else is, for clients that run out of processes.
    pub(crate) user: u32,
}

impl Mode {
    /// Whether a process with this role may be lost.
    pub(crate) fn may_lose(self, role: Role) -> bool {
        match self {
            // The one without a name may be the guardian already.
            Mode::GuardiansLive => !matches!(role, Role::Guardian | Role::Starter),
            Mode::ShepherdsLive => role != Role::Shepherd,
            Mode::NobodyIsSafe => true,
        }
    }

    /// Whether it may be stopped: a shepherd that reacts to nothing is killed by its client.
    pub(crate) fn may_stop(self, role: Role) -> bool {
        !(self == Mode::ShepherdsLive && role == Role::Shepherd)
    }
}

impl Round {
    /// The round that belongs to this seed and number.
    pub(crate) fn of(seed: u64, number: u64, ground: &Ground<'_>) -> Round {
        let mut random = Random::seeded(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let modes = [Mode::GuardiansLive, Mode::ShepherdsLive, Mode::NobodyIsSafe];
        let mode = modes[number as usize % modes.len()];
        let scarce = random.chance(30);
        let mut folders = Vec::new();
        let clients = (0..=random.below(4))
            .map(|number| {
                let mut writer = Writer { random: &mut random, folders: &mut folders, ground };
                writer.client(number, scarce)
            })
            .collect();
        let blows = blows(&mut random, mode, scarce);
        Round { mode, scarce, clients, blows, folders }
    }
}

/// Writes the clients' scripts.
struct Writer<'a> {
    random: &'a mut Random,
    folders: &'a mut Vec<String>,
    ground: &'a Ground<'a>,
}

impl Writer<'_> {
    fn client(&mut self, number: u64, scarce: bool) -> Client {
        let mut words = Vec::new();
        if scarce {
            words.push("may-run-out".to_owned());
            if self.random.chance(40) {
                let processes = 10 + self.random.below(30);
                words.push(format!("become {} limit nproc {processes}", self.ground.user));
            }
        }
        let streams = self.random.pick(&["quiet", "quiet", "pipes", "terminal", ""]);
        words.push(streams.to_owned());
        // Everything comes to an end some time, however it was stopped.
        words.push(format!("timeout {}", 300 + self.random.below(1_500)));
        let cgroups = self.random.chance(25);
        let mut forks = false;
        for step in 0..2 + self.random.below(7) {
            if cgroups {
                let between = self.random.pick(&["s", "/s"]);
                let groups = self.ground.groups;
                words.push(format!("cgroup {groups}c{number}{between}{step}"));
            }
            words.push(self.step(&format!("c{number}s{step}"), scarce, &mut forks));
        }
        let finishes = self.random.chance(50);
        if finishes {
            // To look at everything it needs something.
            words.push(if scarce { "await rested let-go" } else { "let-go" }.to_owned());
            // A raw copy of the client is its own to reap, and it does not.
            words.push(if forks { "exit 0" } else { "check-zombies exit 0" }.to_owned());
        } else {
            words.push(
                self.random.pick(&["sleep forever", "sleep forever", "abort", "exit 0"]).to_owned(),
            );
        }
        Client { script: words.join(" "), finishes, cgroups }
    }

    /// One thing that a client does.
    fn step(&mut self, label: &str, scarce: bool, forks: &mut bool) -> String {
        let code = 3 + self.random.below(30);
        match self.random.below(14) {
            0..=3 => {
                let tree = self.tree(label, End::Never);
                format!("may-spawn [ {tree} ] {}", self.what_becomes_of_it())
            }
            4 | 5 => {
                let bytes = self.random.pick(&[0, 1_000, 100_000]);
                let tree = self.tree(label, End::Exits { code, bytes });
                format!("may-output {code} {bytes} [ {tree} ]")
            }
            6 => {
                let tree = self.tree(label, End::Exits { code, bytes: 0 });
                let wait = self.random.pick(&["may-wait", "sleep 0.01 may-wait"]);
                format!("may-spawn [ {tree} ] {wait} {code}")
            }
            7 => {
                let (at_once, all) = (1 + self.random.below(4), 1 + self.random.below(8));
                let tree = self.tree(label, End::Exits { code, bytes: 0 });
                format!("may-jobs {at_once} {all} {code} [ {tree} ]")
            }
            8 => {
                let threads = 2 + self.random.below(3);
                let tree = self.tree(label, End::Never);
                let after = self.what_becomes_of_it();
                format!("threads {threads} [ may-spawn [ {tree} ] {after} ]")
            }
            9 => {
                let tree = self.tree(label, End::WhenTold);
                format!("may-keep may-spawn [ {tree} ] touch kept/{label} may-detach")
            }
            10 => {
                // What it leaves is kept, however it ends: by a blow as well.
                let tree = self.tree(label, End::WhenTold).replace("await end exit 0", "exit 7");
                format!(
                    "may-keep leftovers keep may-output 7 0 [ touch kept/{label} {tree} ] \
                     leftovers stop"
                )
            }
            11 if !scarce => {
                *forks = true;
                let tree = self.tree(label, End::Exits { code, bytes: 10 });
                format!("fork [ may-output {code} 10 [ {tree} ] ]")
            }
            12 => "refresh".to_owned(),
            _ => format!("sleep 0.{:03}", self.random.below(80)),
        }
    }

    fn tree(&mut self, label: &str, end: End) -> String {
        Tree::script(self.random, self.folders, label.to_owned(), self.ground.puppet, end)
    }

    fn what_becomes_of_it(&mut self) -> String {
        match self.random.below(8) {
            // Some of those that do not end by themselves do.
            0 => "may-wait 0".to_owned(),
            1 => "may-stop".to_owned(),
            2 => "may-kill".to_owned(),
            3 => "may-drop".to_owned(),
            4 => "may-signal TERM".to_owned(),
            5 => "may-signal STOP sleep 0.01 may-stop".to_owned(),
            6 => "sleep 0.03 may-kill".to_owned(),
            _ => String::new(),
        }
    }
}

fn blows(random: &mut Random, mode: Mode, scarce: bool) -> Vec<Blow> {
    (0..2 + random.below(20))
        .flat_map(|_| {
            // As many of a few microseconds as of some hundred milliseconds.
            let most = 1 << (4 + random.below(14));
            let after = Duration::from_micros(random.below(most));
            match random.below(10) {
                0 => {
                    let pause = Duration::from_millis(random.below(300));
                    let stop = Blow { after, acts: vec![Act::SuspendAll] };
                    vec![stop, Blow { after: pause, acts: vec![Act::ResumeAll] }]
                }
                1..=3 if scarce => vec![Blow { after, acts: vec![starve(random, mode)] }],
                4 if scarce => vec![Blow { after, acts: vec![Act::Feed] }],
                5 | 6 => {
                    let several = 2 + random.below(4);
                    let acts = (0..several).map(|_| strike(random, mode)).collect();
                    vec![Blow { after, acts }]
                }
                _ => vec![Blow { after, acts: vec![strike(random, mode)] }],
            }
        })
        .collect()
}

fn strike(random: &mut Random, mode: Mode) -> Act {
    use Role::{Child, Client, Guardian, Shepherd, Starter};
    let often = [Client, Shepherd, Shepherd, Guardian, Guardian, Child, Child];
    let signals = [libc::SIGKILL, libc::SIGKILL, libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM];
    let role = if random.chance(3) { Starter } else { random.pick(&often) };
    let which = random.below(1 << 20);
    let signal = random.pick(&signals);
    let allowed = match signal {
        libc::SIGSTOP => mode.may_stop(role),
        // Nobody of ours ends by SIGTERM, and who has no name yet is left in peace.
        libc::SIGTERM => role != Starter || mode.may_lose(role),
        _ => mode.may_lose(role),
    };
    if allowed {
        Act::Signal { role, which, signal }
    } else {
        Act::Signal { role: Child, which, signal }
    }
}

fn starve(random: &mut Random, mode: Mode) -> Act {
    let role = random.pick(&[Role::Client, Role::Guardian, Role::Shepherd]);
    let want = random.pick(&[Want::Descriptors, Want::Processes, Want::Memory]);
    let which = random.below(1 << 20);
    let room = match want {
        Want::Descriptors => random.below(12),
        Want::Processes => random.below(6),
        Want::Memory => random.below(1 << 20),
    };
    // Without memory it ends.
    let want = if want == Want::Memory && !mode.may_lose(role) { Want::Descriptors } else { want };
    Act::Starve { role, which, want, room }
}
