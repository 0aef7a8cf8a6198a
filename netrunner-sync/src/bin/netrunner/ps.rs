//! `netrunner ps`: the shepherds of this system and what runs below them, as text for people or as one JSON
//! object for programs. Nobody keeps a list of them, so they are looked up in `/proc`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args;
use crate::complain;
use crate::report::{FAILED, bytes, printable, seconds};

/// The unit of the times in `/proc/PID/stat` is 1/100 s for all of Linux (`USER_HZ`, proc_pid_stat(5)) but
/// on Alpha.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn ps(options: &args::Ps) -> u8 {
    let said = Table::read().map(|table| {
        let shepherds = table.shepherds();
        if options.json { json(&shepherds) } else { text(&shepherds) }
    });
    match said.and_then(|said| std::io::stdout().write_all(said.as_bytes())) {
        Ok(()) => 0,
        Err(error) => {
            complain(format_args!("failed to list the shepherds: {error}"));
            FAILED
        }
    }
}

/// One process, as `/proc` showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    /// The letter of proc_pid_stat(5).
    state: char,
    cpu: Duration,
    /// From the start of the system to its own.
    started: Duration,
}

/// All processes of one look. They come and go meanwhile: one that is gone is left out.
struct Table {
    processes: BTreeMap<u32, Process>,
    /// From the start of the system to the look.
    now: Duration,
}

/// A process below a shepherd.
struct Below<'a> {
    process: &'a Process,
    /// How many of them lie between it and the shepherd.
    depth: usize,
    age: Duration,
    memory: u64,
}

struct Shepherd<'a> {
    process: &'a Process,
    /// Whose user it is.
    user: Option<u32>,
    guardian: Option<u32>,
    /// Whom it serves, if it may be seen; the name is not there when that process is gone.
    client: Option<(u32, Option<&'a str>)>,
    age: Duration,
    /// Each after the one that started it.
    below: Vec<Below<'a>>,
}

impl Table {
    fn read() -> std::io::Result<Table> {
        let uptime = fs::read_to_string("/proc/uptime")?;
        let now = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok());
        let now = now.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let now = now.ok_or_else(|| std::io::Error::other("`/proc/uptime` has no time"))?;
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // As bytes: a name need not be UTF-8.
            let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
            if let Some(process) = Process::of(pid, &String::from_utf8_lossy(&stat)) {
                processes.insert(pid, process);
            }
        }
        Ok(Table { processes, now })
    }

    fn shepherds(&self) -> Vec<Shepherd<'_>> {
        let all = self.processes.values();
        all.filter(|process| self.is_shepherd(process)).map(|it| self.shepherd(it)).collect()
    }

    /// The name alone may be anybody's, so the program must have been started as ours is. A child between
    /// its clone and its exec looks like its shepherd, too.
    fn is_shepherd(&self, process: &Process) -> bool {
        let named = |process: &Process| process.name == "nr-shepherd";
        let parent = self.processes.get(&process.parent);
        named(process)
            && !parent.is_some_and(named)
            && fs::read(format!("/proc/{}/cmdline", process.pid))
                .is_ok_and(|words| words == b"netrunner-shepherd\0")
    }

    fn shepherd<'a>(&'a self, process: &'a Process) -> Shepherd<'a> {
        let mut below = Vec::new();
        self.collect(process.pid, 0, &mut below);
        let guardian = self.processes.get(&process.parent);
        let client = client_of(process.pid);
        let name = |pid| self.processes.get(&pid).map(|client| client.name.as_str());
        Shepherd {
            process,
            user: fs::metadata(format!("/proc/{}", process.pid)).ok().map(|it| it.uid()),
            guardian: guardian.filter(|it| it.name == "nr-guardian").map(|it| it.pid),
            client: client.map(|pid| (pid, name(pid))),
            age: self.age(process),
            below,
        }
    }

    /// Goes down from this process. A number that was given anew during the look could close a circle, in
    /// which nobody is looked at twice.
    fn collect<'a>(&'a self, parent: u32, depth: usize, below: &mut Vec<Below<'a>>) {
        for process in self.processes.values().filter(|process| process.parent == parent) {
            if below.iter().all(|known| known.process.pid != process.pid) {
                let memory = memory_of(process.pid);
                below.push(Below { process, depth, age: self.age(process), memory });
                self.collect(process.pid, depth + 1, below);
            }
        }
    }

    fn age(&self, process: &Process) -> Duration {
        self.now.saturating_sub(process.started)
    }
}

impl Process {
    /// Reads `/proc/PID/stat`; the name, which may hold anything, ends at the last parenthesis.
    fn of(pid: u32, stat: &str) -> Option<Process> {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of these is the third of proc_pid_stat(5).
        let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
        let time = |field: usize| {
            let ticks: u64 = fields.get(field - 3)?.parse().ok()?;
            Some(Duration::from_millis(ticks.saturating_mul(TICK.as_millis() as u64)))
        };
        Some(Process {
            pid,
            parent: number(4)?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            cpu: time(14)? + time(15)?,
            started: time(22)?,
        })
    }
}

/// Whom a shepherd serves: it holds a pidfd of its client from its birth on. Only its own user and root may
/// look, and there is none where the kernel has no pidfds.
fn client_of(shepherd: u32) -> Option<u32> {
    let infos = fs::read_dir(format!("/proc/{shepherd}/fdinfo")).ok()?;
    let pids = infos.filter_map(|info| {
        let text = fs::read_to_string(info.ok()?.path()).ok()?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        pid.trim().parse().ok()
    });
    // It may hold that of its child for a moment, which has another parent than the client.
    let mut pids = pids.filter(|pid| parent_of(*pid) != Some(shepherd));
    pids.next()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Process::of(pid, &String::from_utf8_lossy(&stat)).map(|process| process.parent)
}

/// The bytes that it has in memory; those of a zombie are none.
fn memory_of(pid: u32) -> u64 {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl Shepherd<'_> {
    fn cpu(&self) -> Duration {
        self.below.iter().map(|below| below.process.cpu).sum()
    }

    fn memory(&self) -> u64 {
        self.below.iter().map(|below| below.memory).sum()
    }
}

fn json(shepherds: &[Shepherd<'_>]) -> String {
    let below = |below: &Below<'_>| {
        json!({
            "pid": below.process.pid,
            "parent": below.process.parent,
            "name": below.process.name,
            "state": below.process.state.to_string(),
            "age": below.age.as_secs_f64(),
            "cpu": below.process.cpu.as_secs_f64(),
            "memory": below.memory,
        })
    };
    let shepherd = |it: &Shepherd<'_>| {
        json!({
            "pid": it.process.pid,
            "user": it.user,
            "guardian": it.guardian,
            "client": it.client.map(|(pid, name)| json!({ "pid": pid, "name": name })),
            "age": it.age.as_secs_f64(),
            "idle": it.below.is_empty(),
            "cpu": it.cpu().as_secs_f64(),
            "memory": it.memory(),
            "processes": it.below.iter().map(below).collect::<Vec<_>>(),
        })
    };
    let shepherds: Vec<Value> = shepherds.iter().map(shepherd).collect();
    format!("{}\n", json!({ "shepherds": shepherds }))
}

fn text(shepherds: &[Shepherd<'_>]) -> String {
    if shepherds.is_empty() {
        return "no shepherds\n".to_owned();
    }
    let mut text = String::new();
    for shepherd in shepherds {
        let client = match shepherd.client {
            Some((pid, Some(name))) => format!("{} ({pid})", printable(name)),
            Some((pid, None)) => format!("({pid})"),
            None => "another user's".to_owned(),
        };
        let pid = shepherd.process.pid;
        // Writing to a string does not fail, here and below.
        if shepherd.below.is_empty() {
            let _ = writeln!(text, "shepherd {pid}, client {client}: idle");
            continue;
        }
        let (cpu, memory) = (seconds(shepherd.cpu()), bytes(shepherd.memory()));
        let _ = writeln!(text, "shepherd {pid}, client {client}: {cpu} of CPU time, {memory}");
        let _ = writeln!(text, "{:>9} {:>15} {:>15} {:>11}  NAME", "PID", "AGE", "CPU", "MEMORY");
        for below in &shepherd.below {
            let mark = match below.process.state {
                'T' | 't' => " (stopped)",
                'Z' | 'X' => " (zombie)",
                _ => "",
            };
            let _ = writeln!(
                text,
                "{:>9} {:>15} {:>15} {:>11}  {:indent$}{}{mark}",
                below.process.pid,
                seconds(below.age),
                seconds(below.process.cpu),
                bytes(below.memory),
                "",
                printable(&below.process.name),
                indent = 2 * below.depth,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, name: &str, parent: u32) -> Process {
        let zeros = "0 ".repeat(9);
        let text = format!("{pid} ({name}) S {parent} {zeros}150 50 0 0 20 0 1 0 200 0 0\n");
        Process::of(pid, &text).unwrap()
    }

    fn table(processes: &[Process]) -> Table {
        let processes = processes.iter().map(|process| (process.pid, process.clone())).collect();
        Table { processes, now: Duration::from_secs(10) }
    }

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let process = stat(7, "a) S 1 (b", 5);
        assert_eq!((process.name.as_str(), process.parent, process.state), ("a) S 1 (b", 5, 'S'));
        assert_eq!(process.cpu, Duration::from_secs(2));
        assert_eq!(table(std::slice::from_ref(&process)).age(&process), Duration::from_secs(8));
    }

    #[test]
    fn what_is_no_stat_is_no_process() {
        for text in ["", "7", "7 (x", "7 (x)", "7 (x) S 5", "7 (x) S no 0 0 0 0 0 0 0 0 0 0 0"] {
            assert_eq!(Process::of(7, text), None, "{text}");
        }
    }

    #[test]
    fn each_process_stands_below_its_parent() {
        let table = table(&[stat(2, "b", 9), stat(3, "c", 2), stat(4, "d", 9), stat(9, "s", 1)]);
        let mut below = Vec::new();
        table.collect(9, 0, &mut below);
        let found: Vec<_> = below.iter().map(|it| (it.process.pid, it.depth)).collect();
        assert_eq!(found, [(2, 0), (3, 1), (4, 0)]);
    }

    #[test]
    fn a_circle_of_parents_has_an_end() {
        let table = table(&[stat(2, "b", 3), stat(3, "c", 2)]);
        let mut below = Vec::new();
        table.collect(2, 0, &mut below);
        assert_eq!(below.len(), 2);
    }
}
