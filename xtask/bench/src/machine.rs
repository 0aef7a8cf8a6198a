//! The machine: its name for the head of each table, and what else it does while something is
//! measured.

use std::fs;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Result;
use crate::process_table::{self, Process};

/// Foreign work up to this share of all CPUs is not called a disturbance. Kernel threads that work
/// for us are in it.
const FOREIGN: f64 = 0.1;
const STEAL: f64 = 0.02;

/// The kernel counts ticks: so much is within its error, in seconds.
const TICKS: f64 = 0.03;

/// The crates whose versions are named.
const PEERS: [&str; 3] = ["duct", "subprocess", "tokio"];

/// The workspace's lock file, as of this build: the peers in it are the peers in this program.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// What stands above every table.
pub(crate) fn describe() -> Value {
    let mut versions = serde_json::Map::new();
    for peer in PEERS {
        versions.insert(peer.to_owned(), json!(locked(peer)));
    }
    let tools = [
        ("rustc", "rustc"),
        ("cc", "cc"),
        ("make", "make"),
        ("parallel", "parallel"),
        ("tini", "tini"),
        ("xargs", "xargs"),
    ];
    for (name, program) in tools {
        versions.insert(name.to_owned(), json!(first_line(program, &["--version"])));
    }
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "architecture": std::env::consts::ARCH,
        "cpu": cpu_model(),
        "cpus": cpus(),
        "hypervisor": read("/proc/cpuinfo").contains(" hypervisor "),
        "memory_kib": meminfo(&["MemTotal"]),
        "load_at_start": read("/proc/loadavg"),
        "date": first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        "commit": first_line("git", &["describe", "--always", "--dirty"]),
        "versions": versions,
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What a tool says of itself; null where it is not installed.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}

/// The version of a crate in the lock file.
fn locked(name: &str) -> Option<&'static str> {
    let after = LOCK.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
    after.split('"').next()
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(String::new, |(_, model)| model.to_owned())
}

/// How many CPUs this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The sum of some lines of `/proc/meminfo`, in KiB.
pub(crate) fn meminfo(names: &[&str]) -> u64 {
    let text = read("/proc/meminfo");
    let value = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        names.contains(&name).then(|| rest.split_whitespace().next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).sum()
}

/// The CPU time that the machine and the processes below the driver have used so far, in ticks.
#[derive(Debug)]
pub(crate) struct Load {
    at: Instant,
    busy: u64,
    steal: u64,
    own: u64,
    /// Of the kernel's threads, which work for whoever makes them: all that goes through a terminal goes
    /// through one.
    kernel: u64,
    driver: u32,
}

/// What others took of all CPUs' time, as shares of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Others {
    pub(crate) foreign: f64,
    pub(crate) steal: f64,
    pub(crate) disturbing: bool,
}

impl Load {
    pub(crate) fn now(driver: u32) -> Result<Load> {
        let stat = read("/proc/stat");
        let cpu: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal
        let &[user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = cpu.as_slice() else {
            return Err("`/proc/stat` has another form".into());
        };
        Ok(Load {
            at: Instant::now(),
            busy: user + nice + system + irq + softirq,
            steal,
            own: ticks(&process_table::below(driver)?),
            kernel: ticks(&process_table::kernel_threads()?),
            driver,
        })
    }

    /// The CPU time that the processes below the driver have used since then, in seconds.
    pub(crate) fn own_until_now(&self) -> Result<f64> {
        let own = Load::now(self.driver)?.own.saturating_sub(self.own);
        Ok(own as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// What others did since then.
    pub(crate) fn until_now(&self) -> Result<Others> {
        let now = Load::now(self.driver)?;
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let all = (now.at - self.at).as_secs_f64() * cpus() as f64;
        let seconds = |ticks: u64| ticks as f64 / per_second;
        let busy = seconds(now.busy.saturating_sub(self.busy));
        let own = seconds(now.own.saturating_sub(self.own));
        let kernel = seconds(now.kernel.saturating_sub(self.kernel));
        let foreign = (busy - own - kernel).max(0.0);
        let steal = seconds(now.steal.saturating_sub(self.steal));
        Ok(Others {
            foreign: foreign / all,
            steal: steal / all,
            disturbing: foreign > FOREIGN * all + TICKS || steal > STEAL * all + TICKS,
        })
    }
}

fn ticks(of: &[Process]) -> u64 {
    of.iter().map(|process| process.ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_versions_are_in_the_lock_file() {
        for peer in PEERS {
            assert!(
                locked(peer)
                    .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            );
        }
        assert_eq!(locked("no-such-crate"), None);
    }

    #[test]
    fn memory_is_summed_over_the_named_lines_only() {
        assert!(meminfo(&["MemTotal", "MemFree"]) > meminfo(&["MemTotal"]));
        assert_eq!(meminfo(&[]), 0);
    }

    #[test]
    fn our_own_work_is_not_foreign() {
        let load = Load::now(std::os::unix::process::parent_id()).unwrap();
        assert!(load.own > 0 || load.busy > 0);
        let others = load.until_now().unwrap();
        assert!(others.foreign >= 0.0 && others.steal >= 0.0);
    }
}
