//! One scene with one system call that fails: in each process beside a client, at its first, second, third …
//! time, once, with each error number; while the scene is played, or from its end on. The kernel's place
//! is taken by a filter that hands the call to this process.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use netrunner_sync::cgroup::Place;
use netrunner_tests::procs::Proc;
use netrunner_tests::seccomp::{self, Handed};
use netrunner_tests::wait::PATIENCE;

use crate::faults::{FAULTS, FOLDERS, Fault, SCENES, Scene, name_of};
use crate::field::{Field, start_client, within};
use crate::oracle::{self, Before};
use crate::plan::{Client, Mode, Round};
use crate::tally::Tally;

/// When it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// From the client's start until its action is over.
    Action,
    /// From then until nobody is left.
    End,
}

/// Who is refused what: the call after so many.
type Refusal = (&'static str, Phase, u64, i32);

/// What the server does at the moment.
#[derive(Default)]
struct Orders {
    phase: Option<Phase>,
    /// Calls so far in this run, by who made them and when.
    seen: BTreeMap<(&'static str, Phase), u64>,
    refuse: Option<Refusal>,
    refused: u64,
}

impl Orders {
    fn judge(&mut self, handed: &Handed) -> Option<i32> {
        let phase = self.phase?;
        let who = victim(handed.pid)?;
        let seen = self.seen.entry((who, phase)).or_default();
        let nth = *seen;
        *seen += 1;
        let (whom, when, at, errno) = self.refuse?;
        let now = (whom, when, at) == (who, phase, nth);
        self.refused += u64::from(now);
        now.then_some(errno)
    }
}

/// What this thread is, if it stands beside a client's commands.
fn victim(thread: u32) -> Option<&'static str> {
    let proc = Proc::get(thread)?;
    let above = || Proc::get(proc.ppid).map_or(String::new(), |above| above.comm);
    match proc.comm.as_str() {
        "netrunner-watch" => Some("watcher"),
        // A shepherd has its guardian's name at first, and a child its shepherd's.
        "nr-init" => Some("first process"),
        "nr-guardian" if above() == "nr-guardian" => Some("shepherd"),
        "nr-guardian" => Some("guardian"),
        "nr-shepherd" if above() == "nr-shepherd" => Some("child"),
        "nr-shepherd" => Some("shepherd"),
        number if number.parse::<u32>().is_ok() => Some("starter"),
        _ => None,
    }
}

/// Starts clients under the filter, by a thread that does nothing else: a filter belongs to a thread.
struct Starter {
    scripts: Sender<String>,
    started: Receiver<u32>,
    orders: Arc<Mutex<Orders>>,
}

impl Starter {
    fn new(fault: &Fault) -> Starter {
        let (scripts, wanted) = mpsc::channel::<String>();
        let (tell, started) = mpsc::channel();
        let (hand, taken) = mpsc::channel::<OwnedFd>();
        let rule = fault.rule;
        thread::spawn(move || {
            hand.send(seccomp::install(&[rule]).expect("install a filter")).expect("hand it over");
            for script in wanted {
                tell.send(start_client("0", &script)).expect("somebody who waits for it");
            }
        });
        let orders = Arc::new(Mutex::new(Orders::default()));
        let served = Arc::clone(&orders);
        let listener = taken.recv().expect("the filter");
        thread::spawn(move || {
            while let Ok(handed) = seccomp::receive(&listener) {
                let Some(handed) = handed else { continue };
                let refusal = served.lock().expect("the orders").judge(&handed);
                seccomp::answer(&listener, &handed, refusal);
            }
        });
        Starter { scripts, started, orders }
    }

    fn start(&self, script: &str) -> u32 {
        self.scripts.send(script.to_owned()).expect("a thread that starts it");
        self.started.recv().expect("a client")
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().expect("the orders")
    }
}

/// Plays one scene again and again, with one kind of call failing. Every `stride`-th run is done.
pub(crate) fn play(
    scene: usize,
    fault: usize,
    stride: u64,
    before: &Before,
    place: Option<&Place>,
    groups: &str,
) -> (Tally, Vec<String>) {
    let (scene, fault) = (&SCENES[scene], &FAULTS[fault]);
    let starter = Starter::new(fault);
    // The filter is one more descriptor.
    let before = &before.with_descriptors_of_now();
    let mut tally = Tally::default();
    let mut complaints = Vec::new();
    if scene.cgroups && place.is_none() {
        tally.add("scenes left out for want of cgroups", 1);
        return (tally, complaints);
    }
    let mut run = |refuse: Option<Refusal>| {
        let disturbed = refuse.is_some_and(|(_, phase, ..)| phase == Phase::End);
        let round = round(scene, groups, disturbed);
        clear();
        let mut field = Field::of(&round);
        let mut wrong = perform(&mut field, &starter, refuse);
        wrong.extend(oracle::complaints(&mut field, before, place, groups));
        let mut orders = starter.orders();
        orders.phase = None;
        tally.add("runs", 1);
        if let Some((victim, phase, nth, errno)) = refuse.filter(|_| orders.refused > 0) {
            let name = name_of(errno);
            tally.add(format!("refused: {} {name} to a {victim}", fault.name), orders.refused);
            let (scene, call) = (scene.name, fault.name);
            let what = format!("{scene}: {name} of {call} {nth} of the {victim} ({phase:?})");
            wrong.iter_mut().for_each(|line| *line = format!("{what}: {line}"));
        }
        complaints.append(&mut wrong);
        std::mem::take(&mut orders.seen)
    };
    // Once undisturbed, to count.
    let seen = run(None);
    let mut number = 0;
    // A client that is out of memory aborts; its end is a matter of other tests.
    let aborts = |victim: &str| victim == "watcher" && fault.name == "mmap";
    for ((victim, phase), count) in seen.into_iter().filter(|((victim, _), _)| !aborts(victim)) {
        for &errno in fault.errnos {
            for nth in 0..count {
                number += 1;
                if number % stride == 0 {
                    run(Some((victim, phase, nth, errno)));
                }
            }
        }
    }
    (tally, complaints)
}

/// From the client's start to its end.
fn perform(field: &mut Field<'_>, starter: &Starter, refuse: Option<Refusal>) -> Vec<String> {
    let phase = Some(Phase::Action);
    *starter.orders() = Orders { phase, refuse, ..Orders::default() };
    let client = starter.start(&field.round.clients[0].script);
    field.admit(0, client);
    let told = within(PATIENCE * 2, || {
        field.reap();
        Path::new("told").exists() || field.clients.values().any(|player| player.ended.is_some())
    });
    starter.orders().phase = Some(Phase::End);
    fs::write("calm", "").expect("make a file");
    let mut wrong = Vec::new();
    if !told {
        wrong.push("the client hangs".to_owned());
    }
    wrong.extend(field.rest().err());
    wrong
}

/// The scene as a round of one client, whose next command works again if nobody is refused anything then.
fn round(scene: &Scene, groups: &str, disturbed: bool) -> Round {
    let cgroup = if scene.cgroups { format!("cgroup {groups}c0") } else { String::new() };
    let again = if disturbed { "may-output 3 10" } else { "must-output 3 10" };
    let tail = if scene.name.starts_with("the client's end") {
        "exit 0".to_owned()
    } else {
        // In its own time, and not in what the scene gave its command.
        let time = PATIENCE.as_millis();
        format!("timeout {time} {again} [ spew 10 exit 3 ] let-go check-zombies exit 0")
    };
    let settings = scene.settings;
    let action = scene.action.join(" ");
    let script = format!("{settings} {cgroup} {action} touch told await calm {tail}");
    let client = Client { script, finishes: true, cgroups: scene.cgroups };
    Round {
        mode: Mode::GuardiansLive,
        scarce: false,
        clients: vec![client],
        blows: Vec::new(),
        folders: FOLDERS.map(str::to_owned).to_vec(),
    }
}

/// Removes what the run before has left in the folder.
fn clear() {
    for entry in fs::read_dir(".").expect("read the folder") {
        let path = entry.expect("an entry").path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("remove it");
    }
}

/// How many pairs of scene and call there are.
pub(crate) const fn pairs() -> usize {
    SCENES.len() * FAULTS.len()
}

/// The scene and the call of this pair.
pub(crate) const fn pair(number: usize) -> (usize, usize) {
    (number / FAULTS.len(), number % FAULTS.len())
}
