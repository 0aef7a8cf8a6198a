//! The processes of the machine as `/proc` shows them, and those below one of them. The driver is a
//! subreaper, so whatever a scenario starts is below the driver.

use std::collections::{HashMap, HashSet};
use std::fs;

use crate::Result;

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) name: String,
    /// Its own CPU time and that of the children it has reaped, in clock ticks.
    pub(crate) ticks: u64,
    pub(crate) zombie: bool,
}

/// All processes there are.
pub(crate) fn all() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is no fault.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        found.extend(parse(pid, &String::from_utf8_lossy(&stat)));
    }
    Ok(found)
}

/// `root` and all below it.
pub(crate) fn below(root: u32) -> Result<Vec<Process>> {
    let all = all()?;
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in &all {
        children.entry(process.ppid).or_default().push(process.pid);
    }
    let mut tree = HashSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            if tree.insert(child) {
                next.push(child);
            }
        }
    }
    Ok(all.into_iter().filter(|process| tree.contains(&process.pid)).collect())
}

/// The kernel's own threads; none where a pid namespace hides them.
pub(crate) fn kernel_threads() -> Result<Vec<Process>> {
    const KTHREADD: u32 = 2;
    let found = below(KTHREADD)?;
    let theirs = found.iter().any(|it| it.pid == KTHREADD && it.name == "kthreadd");
    Ok(if theirs { found } else { Vec::new() })
}

/// `pid (name) state ppid … utime stime cutime cstime …`; the name may hold anything.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Process {
        pid,
        ppid: fields.get(1)?.parse().ok()?,
        name: name.to_owned(),
        ticks,
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let process = parse(7, "7 (a) b (c) Z 3 7 7 0 -1 0 0 0 0 0 10 20 30 40 20 0 1").unwrap();
        assert_eq!((process.name.as_str(), process.ppid, process.ticks), ("a) b (c", 3, 100));
        assert!(process.zombie);
    }

    #[test]
    fn the_kernels_threads_execute_no_program() {
        for thread in kernel_threads().unwrap() {
            // One that has ended meanwhile has none either.
            let words = fs::read(format!("/proc/{}/cmdline", thread.pid)).unwrap_or_default();
            assert!(words.is_empty(), "{thread:?}");
        }
    }

    #[test]
    fn this_process_is_below_the_one_that_started_it() {
        let above = std::os::unix::process::parent_id();
        assert!(below(above).unwrap().iter().any(|process| process.pid == std::process::id()));
    }
}
