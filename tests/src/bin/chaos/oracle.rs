//! What must be so when a round is over. It says exactly what is promised, no more and no less:
//!
//! * Grace + 2 s after the last client's end there is nobody left but what somebody wanted to keep,
//!   with its shepherd and guardian, until it is told to end. Then there is nobody, and no zombie.
//! * Where a guardian was killed with shepherds of its own, descendants may be left, who are in nobody's
//!   charge; but not the child itself, which has the parent-death signal, and nobody from a cgroup
//!   whose client lived on.
//! * No lock is held, no descriptor is open, no temporary file, terminal or cgroup is there. A cgroup
//!   whose client was killed may wait for the next client's sweep; and an empty one directly below the
//!   delegated group stays, if its client was killed between making and marking it.
//! * A client that was not struck has found everything as it should be, and exits 0.

use std::fs;
use std::path::Path;

use netrunner_sync::cgroup::Place;
use netrunner_tests::failed::SPEECHLESS;
use netrunner_tests::lock::Locks;
use netrunner_tests::procs::{self, Proc};
use netrunner_tests::sys::Ended;
use netrunner_tests::wait::PATIENCE;

use crate::crowd::{Crowd, strike_all};
use crate::field::{Field, GRACE_AND_2S, start_client, within};
use crate::plan::Role;

/// How a Rust program ends that panics.
const PANICKED: i32 = 101;

/// What is there before the first client.
pub(crate) struct Before {
    descriptors: Vec<(i32, String)>,
    own_terminals: bool,
}

impl Before {
    pub(crate) fn now(own_terminals: bool) -> Before {
        Before { descriptors: procs::descriptors(std::process::id()), own_terminals }
    }

    pub(crate) fn with_descriptors_of_now(&self) -> Before {
        Before::now(self.own_terminals)
    }
}

/// Waits for the end of everything; returns what was not as promised.
pub(crate) fn complaints(
    field: &mut Field<'_>,
    before: &Before,
    place: Option<&Place>,
    groups: &str,
) -> Vec<String> {
    let mut complaints = clients(field);
    complaints.extend(survivors(field));
    complaints.extend(strays(field));
    complaints.extend(kept(field));
    complaints.extend(place.into_iter().flat_map(|place| cgroups(field, place, groups)));
    complaints.extend(things(before));
    complaints
}

fn clients(field: &Field<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    for player in field.clients.values() {
        let log = fs::read(format!("client-{}", player.number)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        // Where everything runs out, the client's own part may panic, but never the library.
        let right = match player.ended {
            Some(Ended::Code(0)) => true,
            Some(Ended::Code(PANICKED)) => field.round.scarce,
            // The same without a panic: it wants to open a file of its own.
            Some(Ended::Code(SPEECHLESS)) if field.round.scarce && log.starts_with("touch: ") => {
                true
            }
            _ => player.struck || !field.round.clients[player.number].finishes,
        };
        if !right || log.contains("panicked at netrunner-") {
            complaints.push(format!("client {}: {:?}, {log}", player.number, player.ended));
        }
    }
    if let Ok(failed) = fs::read_to_string("client-failed") {
        complaints.push(format!("a client says: {failed}"));
    }
    complaints
}

/// Nobody is left in anybody's charge.
fn survivors(field: &mut Field<'_>) -> Vec<String> {
    let left = || {
        let crowd = Crowd::now();
        let kept = crowd.kept();
        let strays: Vec<u32> = crowd.strays().into_iter().map(|proc| proc.pid).collect();
        let known = |pid: u32| kept.contains(&pid) || strays.contains(&pid);
        // A zombie is the affair of whoever lives above it.
        let settled = |proc: &Proc| known(proc.pid) || proc.is_zombie() && known(proc.ppid);
        list(crowd.all().filter(|proc| !settled(proc)))
    };
    let over = within(GRACE_AND_2S, || {
        field.reap();
        resume_those_with_nobody_to_keep();
        left().is_empty()
    });
    if over { Vec::new() } else { left() }
}

/// A stopped shepherd beside what was kept is left alone by everybody, also when all of that has ended.
fn resume_those_with_nobody_to_keep() {
    if names_in("kept").next().is_none() {
        return;
    }
    let crowd = Crowd::now();
    let lives_below =
        |shepherd: &Proc| crowd.all().any(|proc| proc.ppid == shepherd.pid && !proc.is_zombie());
    let shepherds = crowd.of(Role::Shepherd).into_iter();
    strike_all(shepherds.filter(|proc| proc.state == 'T' && !lives_below(proc)), libc::SIGCONT);
}

/// Nobody is left in nobody's charge, but where that is not promised. Those are killed here.
fn strays(field: &mut Field<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    // They may just be about to be adopted.
    let none = |field: &mut Field<'_>| {
        field.reap();
        strays_now().is_empty()
    };
    if within(GRACE_AND_2S, || none(field)) {
        return complaints;
    }
    let left = strays_now();
    if field.may_have_strays() {
        complaints.extend(held_although_promised(field));
        field
            .tally
            .add("strays of a guardian and a shepherd that were both killed", left.len() as u64);
    } else {
        complaints.extend(list(left.iter()));
    }
    let killed = within(PATIENCE, || {
        strike_all(&strays_now(), libc::SIGKILL);
        none(field)
    });
    if !killed {
        complaints.push("strays can't be killed".to_owned());
    }
    complaints
}

fn strays_now() -> Vec<Proc> {
    let crowd = Crowd::now();
    let kept = crowd.kept();
    crowd.strays().into_iter().filter(|proc| !kept.contains(&proc.pid)).cloned().collect()
}

/// Locks of strays that must be gone even if guardian and shepherd were both killed.
fn held_although_promised(field: &Field<'_>) -> Vec<String> {
    let lived_on = |number: usize| {
        let mut players = field.clients.values();
        players.any(|player| player.number == number && player.ended == Some(Ended::Code(0)))
    };
    let mut complaints = Vec::new();
    for folder in &field.round.folders {
        let whose = field
            .round
            .clients
            .iter()
            .enumerate()
            .find(|(number, _)| folder.starts_with(&format!("locks/c{number}s")));
        let Some((number, client)) = whose else { continue };
        let child_itself = folder.ends_with(".0");
        let in_group = client.cgroups && client.finishes && lived_on(number);
        if !child_itself && !in_group {
            continue;
        }
        for lock in Locks::new(folder).all() {
            if let Some(holder) = lock.holder().filter(|pid| !Crowd::now().kept().contains(pid)) {
                complaints.push(format!("in spite of {folder}: {}", procs::describe(holder)));
            }
        }
    }
    complaints
}

/// What was kept ends when it is told to, and with it everything.
fn kept(field: &mut Field<'_>) -> Vec<String> {
    field.tally.add("processes that were to be kept, and were", Crowd::now().kept().len() as u64);
    fs::write("end", "").expect("make a file");
    let over = within(PATIENCE, || {
        let crowd = Crowd::now();
        let all = [Role::Child, Role::Shepherd, Role::Guardian].into_iter();
        let stopped = all.flat_map(|role| crowd.of(role)).filter(|proc| proc.state == 'T');
        strike_all(stopped, libc::SIGCONT);
        field.reap()
    });
    if over { Vec::new() } else { list(Crowd::now().all()) }
}

fn cgroups(field: &mut Field<'_>, place: &Place, groups: &str) -> Vec<String> {
    let left = || -> Vec<String> {
        let all = fs::read_dir(&place.group).expect("read the delegated group");
        let names = all.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(groups)).collect()
    };
    if left().is_empty() {
        return Vec::new();
    }
    // One that ends beside its commands is no better off than one that is killed.
    let ends_well = |number: usize| field.round.clients[number].finishes;
    let killed = field.clients.values().any(|player| player.struck || !ends_well(player.number));
    // Nor is one whose commands were kept beyond it.
    if !killed && names_in("kept").next().is_none() {
        return vec![format!("cgroups are left: {:?}", left())];
    }
    field.tally.add("cgroups swept by the next client", left().len() as u64);
    start_client("next", &format!("cgroup {groups}next output [ exit 0 ]"));
    let ended = within(PATIENCE, || field.reap());
    let never_marked = |name: &String| is_unmarked_and_goes(&place.group.join(name));
    let (unmarked, stale): (Vec<_>, Vec<_>) = left().into_iter().partition(never_marked);
    field.tally.add("cgroups of clients killed before they marked them", unmarked.len() as u64);
    let swept = ended && stale.is_empty();
    if swept { Vec::new() } else { vec![format!("the next client has left {stale:?}")] }
}

/// Whether an empty group says nothing of its maker, who was killed between two calls: then it could be
/// anybody's. It is removed here.
fn is_unmarked_and_goes(group: &Path) -> bool {
    let mark = rustix::fs::getxattr(group, "user.netrunner", &mut [0u8; 32][..]);
    mark == Err(rustix::io::Errno::NODATA) && fs::remove_dir(group).is_ok()
}

fn things(before: &Before) -> Vec<String> {
    let mut complaints = Vec::new();
    let descriptors = procs::descriptors(std::process::id());
    if descriptors != before.descriptors {
        complaints.push(format!("descriptors: {:?}, now {descriptors:?}", before.descriptors));
    }
    let folders = fs::read_dir("locks").expect("the folders of locks");
    let folders = folders.map(|entry| entry.expect("a folder").path());
    let held = folders.flat_map(|folder| Locks::new(folder).all()).filter(|lock| !lock.is_free());
    complaints.extend(held.map(|lock| format!("a lock is held: {lock:?}")));
    complaints.extend(names_in("../tmp").map(|name| format!("a temporary file: {name}")));
    if before.own_terminals {
        let terminals = names_in("/dev/pts").filter(|name| name != "ptmx");
        complaints.extend(terminals.map(|name| format!("a terminal: {name}")));
    }
    complaints
}

fn names_in(folder: impl AsRef<Path>) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).expect("read a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
}

fn list<'a>(procs: impl Iterator<Item = &'a Proc>) -> Vec<String> {
    procs.map(|proc| format!("left: {proc}\n  below {}", procs::describe(proc.ppid))).collect()
}
