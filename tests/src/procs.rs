//! Processes as `/proc` shows them: who is below whom, in what state, with how many descriptors.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;

/// One line of the process table.
#[derive(Debug, Clone)]
pub struct Proc {
    /// Its number.
    pub pid: u32,
    /// The process that will reap it.
    pub ppid: u32,
    /// Its process group.
    pub pgid: u32,
    /// Its session.
    pub sid: u32,
    /// `R`, `S`, `T`, `Z`, … as in proc(5).
    pub state: char,
    /// How many threads it has.
    pub threads: u32,
    /// The kernel's short name of it.
    pub comm: String,
}

impl Proc {
    /// The process with this number, while there is one.
    pub fn get(pid: u32) -> Option<Proc> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name may hold spaces and parentheses: the last one closes it.
        let open = stat.find('(')?;
        let close = stat.rfind(')')?;
        let mut fields = stat[close + 1..].split_ascii_whitespace();
        Some(Proc {
            pid,
            comm: stat[open + 1..close].to_string(),
            state: fields.next()?.chars().next()?,
            ppid: fields.next()?.parse().ok()?,
            pgid: fields.next()?.parse().ok()?,
            sid: fields.next()?.parse().ok()?,
            // Field 20 of proc(5), counted from the session, which is field 6.
            threads: fields.nth(13)?.parse().ok()?,
        })
    }

    /// True for what has ended and only waits to be reaped. A process whose first thread has ended
    /// looks the same, but has other threads.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

impl fmt::Display for Proc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cmdline = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        let wchan = fs::read_to_string(format!("/proc/{}/wchan", self.pid)).unwrap_or_default();
        let Proc { pid, ppid, pgid, sid, state, comm, threads: _ } = self;
        write!(
            f,
            "pid {pid} ppid {ppid} pgid {pgid} sid {sid} state {state} ({comm}) in {wchan}: {cmdline}"
        )
    }
}

/// A process in words, also when it is gone.
pub fn describe(pid: u32) -> String {
    match Proc::get(pid) {
        Some(proc) => proc.to_string(),
        None => format!("pid {pid}, gone"),
    }
}

/// The whole process table.
pub fn all() -> Vec<Proc> {
    fs::read_dir("/proc")
        .expect("read /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(Proc::get)
        .collect()
}

/// Everything below `root`, without `root`.
///
/// The table changes while it is read: a process whose origin ended in between can be missed. So
/// this shows what is there, and only an `ECHILD` in the subreaper proves that nothing is.
pub fn descendants(root: u32) -> Vec<Proc> {
    let table = all();
    let mut below: HashMap<u32, Vec<&Proc>> = HashMap::new();
    for proc in &table {
        below.entry(proc.ppid).or_default().push(proc);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut queue = vec![root];
    while let Some(pid) = queue.pop() {
        for proc in below.get(&pid).into_iter().flatten() {
            if seen.insert(proc.pid) {
                queue.push(proc.pid);
                found.push((*proc).clone());
            }
        }
    }
    found
}

/// The open descriptors of a process by number, with what they refer to.
///
/// For the calling process the descriptor that does the listing is left out.
pub fn descriptors(pid: u32) -> Vec<(i32, String)> {
    let dir = format!("/proc/{pid}/fd");
    let mut found: Vec<(i32, String)> = fs::read_dir(&dir)
        .map(|entries| {
            entries
                .filter_map(|entry| {
                    let number = entry.ok()?.file_name().to_str()?.parse::<i32>().ok()?;
                    let target = fs::read_link(format!("{dir}/{number}")).ok()?;
                    Some((number, target.to_string_lossy().into_owned()))
                })
                .collect()
        })
        .unwrap_or_default();
    found.retain(|(_, target)| target != &dir);
    found.sort();
    found
}

/// The lines of `/proc/PID/status` that begin with one of `keys`; of the caller's own by the name `self`, for its
/// number may be another's there.
pub fn status_lines(pid: impl std::fmt::Display, keys: &[&str]) -> Vec<String> {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .filter(|line| keys.iter().any(|key| line.split(':').next() == Some(key)))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// Counts in a file, for processes that share nothing else and come one after the other.
pub fn count_up(path: &str) -> u32 {
    let count = fs::read_to_string(path).ok().and_then(|text| text.parse::<u32>().ok());
    let next = count.unwrap_or(0) + 1;
    fs::write(path, next.to_string()).expect("write the counter");
    next
}

/// The number of the process behind a pidfd of ours.
pub fn behind(pidfd: &impl std::os::fd::AsRawFd) -> Option<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}
