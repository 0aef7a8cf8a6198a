//! One round: starts the clients, deals the blows at their instants, and lets everything come to rest.
//! This process is the subreaper of all that. What must be so at the end is [`crate::oracle`]'s matter.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netrunner_tests::sys::{self, Ended, Waited};
use netrunner_tests::wait::{PATIENCE, scaled};
use netrunner_tests::{procs, script};

use crate::crowd::{Crowd, strike, strike_all};
use crate::plan::{Act, Blow, Mode, Role, Round, Want};
use crate::tally::Tally;

/// The commands' grace.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

/// P1's promise is grace + 2 s; the rest is for a machine that does other work as well.
pub(crate) const GRACE_AND_2S: Duration = Duration::from_millis(300 + 2_000 + 1_000);

/// More than a client needs for all that it does, each step with its own timeout.
const CLIENTS_END: Duration = PATIENCE.saturating_mul(4);

/// A stretch in which this process did not run is the machine's affair, and does not count as waited.
const AWAKE: Duration = Duration::from_millis(50);

/// A round that is played.
pub(crate) struct Field<'a> {
    pub(crate) round: &'a Round,
    pub(crate) tally: Tally,
    pub(crate) clients: BTreeMap<u32, Player>,
    /// Limits that were taken, so that they can be given back.
    starved: bool,
}

/// A client that was started.
pub(crate) struct Player {
    /// Its place in the plan.
    pub(crate) number: usize,
    pub(crate) ended: Option<Ended>,
    /// Something was done to it.
    pub(crate) struck: bool,
}

impl<'a> Field<'a> {
    pub(crate) fn of(round: &'a Round) -> Field<'a> {
        // In this order: a round may have no command.
        for folder in ["kept", "locks"].into_iter().chain(round.folders.iter().map(String::as_str))
        {
            fs::create_dir_all(folder).expect("make a folder");
            open_to_all(folder);
        }
        Field { round, tally: Tally::default(), clients: BTreeMap::new(), starved: false }
    }

    /// From the first client to the last one's end. An error is a client that hangs.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        let round = self.round;
        for (number, client) in round.clients.iter().enumerate() {
            self.admit(number, start_client(&number.to_string(), &client.script));
        }
        for blow in &round.blows {
            self.reap_for(blow.after);
            self.deal(blow);
        }
        self.rest()
    }

    /// A client of the plan has been started as this process.
    pub(crate) fn admit(&mut self, number: usize, pid: u32) {
        self.clients.insert(pid, Player { number, ended: None, struck: false });
        self.tally.add("clients", 1);
    }

    /// Everybody who was suspended or starved goes on; clients that finish do so, and the others are
    /// killed.
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        let finishes = |player: &Player| self.round.clients[player.number].finishes;
        let wait_for_some = self.clients.values().any(finishes);
        self.feed();
        fs::write("rested", "").expect("make a file");
        let crowd = Crowd::now();
        for role in [Role::Guardian, Role::Starter, Role::Client, Role::Shepherd] {
            // A guardian ends what a stopped shepherd does not; a client's `wait` has to wait for it.
            let needed = wait_for_some || self.round.mode != Mode::GuardiansLive;
            if role != Role::Shepherd || needed {
                strike_all(crowd.of(role), libc::SIGCONT);
            }
        }
        let waiting = |field: &mut Field<'_>| {
            field.reap();
            let mut left = field.clients.values();
            left.any(|player| player.ended.is_none() && field.round.clients[player.number].finishes)
        };
        if !within(CLIENTS_END, || !waiting(self)) {
            return Err("a client hangs".to_owned());
        }
        for player in self.clients.values_mut().filter(|player| player.ended.is_none()) {
            player.struck = true;
        }
        // Raw copies of clients as well. One more may be forked meanwhile.
        let killed = within(PATIENCE, || {
            let crowd = Crowd::now();
            let clients = crowd.of(Role::Client);
            strike_all(clients.iter().copied(), libc::SIGKILL);
            self.reap();
            clients.is_empty()
        });
        if killed { Ok(()) } else { Err("a client can't be killed".to_owned()) }
    }

    fn deal(&mut self, blow: &Blow) {
        let crowd = Crowd::now();
        for act in &blow.acts {
            match *act {
                Act::Signal { role, which, signal } => self.signal(&crowd, role, which, signal),
                Act::SuspendAll => {
                    let may_stop = |role: &Role| self.round.mode.may_stop(*role);
                    self.tally.add("suspensions of everything", 1);
                    for role in EVERYBODY.into_iter().filter(may_stop) {
                        strike_all(crowd.of(role), libc::SIGSTOP);
                    }
                }
                Act::ResumeAll => {
                    let all = EVERYBODY.into_iter().flat_map(|role| crowd.of(role));
                    strike_all(all.filter(|proc| proc.state == 'T'), libc::SIGCONT);
                }
                Act::Starve { role, which, want, room } => {
                    self.starve(&crowd, role, which, want, room)
                }
                Act::Feed => self.feed(),
            }
        }
    }

    fn signal(&mut self, crowd: &Crowd, role: Role, which: u64, signal: i32) {
        let there = crowd.of(role);
        let Some(victim) = there.get(which as usize % there.len().max(1)) else {
            return self.tally.add("blows at nobody", 1);
        };
        if !strike(victim, signal) {
            return self.tally.add("blows at somebody who was gone", 1);
        }
        if let Some(player) = self.clients.get_mut(&victim.pid) {
            player.struck |= signal != libc::SIGSTOP;
        }
        let name = match signal {
            libc::SIGKILL => "SIGKILL",
            libc::SIGSTOP => "SIGSTOP",
            _ => "SIGTERM",
        };
        self.tally.add(format!("{name} to a {role:?}").to_lowercase(), 1);
    }

    fn starve(&mut self, crowd: &Crowd, role: Role, which: u64, want: Want, room: u64) {
        let there = crowd.of(role);
        let Some(victim) = there.get(which as usize % there.len().max(1)) else {
            return self.tally.add("blows at nobody", 1);
        };
        let (resource, used) = match want {
            // The kernel polls no more descriptors than are allowed, and ours poll three.
            Want::Descriptors => (libc::RLIMIT_NOFILE, 3),
            Want::Processes => (libc::RLIMIT_NPROC, 1),
            Want::Memory => (libc::RLIMIT_AS, memory(victim.pid)),
        };
        if sys::set_soft_limit_of(victim.pid, resource, used + room).is_ok() {
            self.starved = true;
            // Without memory a program like the client aborts.
            if let Some(player) = self.clients.get_mut(&victim.pid) {
                player.struck |= want == Want::Memory;
            }
            self.tally.add(format!("{want:?} denied to a {role:?}").to_lowercase(), 1);
        }
    }

    fn feed(&mut self) {
        if !std::mem::take(&mut self.starved) {
            return;
        }
        let crowd = Crowd::now();
        for proc in EVERYBODY.into_iter().flat_map(|role| crowd.of(role)) {
            for resource in [libc::RLIMIT_NOFILE, libc::RLIMIT_NPROC, libc::RLIMIT_AS] {
                // It may have ended by now.
                let _ = sys::set_soft_limit_of(proc.pid, resource, u64::MAX);
            }
        }
    }

    /// Reaps whatever has ended; true when there is nobody at all.
    pub(crate) fn reap(&mut self) -> bool {
        loop {
            match sys::wait_any(false) {
                Waited::Reaped(pid, how) => {
                    if let Some(player) = self.clients.get_mut(&pid) {
                        player.ended = Some(how);
                    }
                }
                Waited::NoneEnded => return false,
                Waited::NoChild => return true,
            }
        }
    }

    /// The instant is the point here, and nothing is waited for.
    fn reap_for(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            self.reap();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(2)));
        }
    }

    /// Whether a guardian and its shepherd may both have been killed.
    pub(crate) fn may_have_strays(&self) -> bool {
        self.round.mode == Mode::NobodyIsSafe
    }
}

const EVERYBODY: [Role; 5] =
    [Role::Client, Role::Starter, Role::Guardian, Role::Shepherd, Role::Child];

/// Starts the clients' program in a directory that everybody can write to. It is not waited for here.
pub(crate) fn start_client(name: &str, words: &str) -> u32 {
    let log = || {
        let log = File::options().create(true).append(true).open(format!("client-{name}"));
        log.expect("a file for the client's output")
    };
    #[expect(clippy::zombie_processes, reason = "`reap` reaps it, with everything else")]
    let client = Command::new(program("client"))
        .args(["grace", &GRACE.as_millis().to_string()])
        .args(script::split(words))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .expect("start a client");
    client.id()
}

/// One of the programs beside the field.
pub(crate) fn program(name: &str) -> PathBuf {
    std::env::current_dir().expect("a folder").parent().expect("beside it").join(name)
}

fn open_to_all(folder: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("open a folder");
}

/// The address space of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let line = procs::status_lines(pid, &["VmSize"]).concat();
    let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// True as soon as `reached` is, false when the stretched limit is over first, not counting the time in
/// which this process was not let run.
pub(crate) fn within(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let (limit, mut waited, mut last) = (scaled(limit), Duration::ZERO, Instant::now());
    loop {
        if reached() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
        let now = Instant::now();
        waited += (now - last).min(AWAKE);
        last = now;
        if waited >= limit {
            return false;
        }
    }
}
