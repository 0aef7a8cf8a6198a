//! What a group's files tell: numbers as the kernel counts them, `None` where it does not (the controller
//! or the file is missing). Never an invented zero.

use std::fmt;
use std::time::Duration;

/// What a group has used and met so far.
///
/// ```
/// use netrunner_cgroup::CgroupStats;
///
/// let stats = CgroupStats::from_files(|file| (file == "memory.peak").then(|| "4096\n".to_owned()));
/// assert_eq!(stats.memory_peak, Some(4096));
/// assert_eq!(stats.pids_peak, None); // nobody knows
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CgroupStats {
    /// The most memory it had at a time, in bytes (`memory.peak`, Linux 5.19).
    pub memory_peak: Option<u64>,
    /// What happened at its memory limits.
    pub memory_events: Option<MemoryEvents>,
    /// CPU time and throttling.
    pub cpu: Option<CpuStats>,
    /// The most processes and threads it had at a time (`pids.peak`, Linux 6.1).
    pub pids_peak: Option<u64>,
    /// How often a fork was refused for `pids.max`.
    pub pids_refused: Option<u64>,
    /// Bytes and operations per device.
    pub io: Vec<IoStats>,
    /// Time spent waiting for the CPU.
    pub cpu_pressure: Option<Pressure>,
    /// Time spent waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Time spent waiting for I/O.
    pub io_pressure: Option<Pressure>,
}

/// `memory.events`, groups below included.
///
/// ```
/// use netrunner_cgroup::CgroupStats;
///
/// let text = "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n";
/// let stats = CgroupStats::from_files(|file| (file == "memory.events").then(|| text.to_owned()));
/// assert_eq!(stats.memory_events.unwrap().oom_kill, 1);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEvents {
    /// Reclaimed although below `memory.low`.
    pub low: u64,
    /// Throttled above `memory.high`.
    pub high: u64,
    /// Met `memory.max`.
    pub max: u64,
    /// Times that memory could not be had. Nobody need have died of it.
    pub oom: u64,
    /// Processes that the kernel has killed for want of memory.
    pub oom_kill: u64,
    /// Times that the whole group was killed (`memory.oom.group`).
    pub oom_group_kill: u64,
}

/// `cpu.stat`.
///
/// ```
/// use netrunner_cgroup::CgroupStats;
///
/// let text = "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n";
/// let stats = CgroupStats::from_files(|file| (file == "cpu.stat").then(|| text.to_owned()));
/// assert_eq!(stats.cpu.unwrap().usage.as_millis(), 1);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// CPU time in all.
    pub usage: Duration,
    /// Of it, in programs.
    pub user: Duration,
    /// Of it, in the kernel.
    pub system: Duration,
    /// How many periods of `cpu.max` have begun; `None` without the controller.
    pub periods: Option<u64>,
    /// In how many of them the group was stopped.
    pub throttled_periods: Option<u64>,
    /// For how long it was stopped.
    pub throttled: Option<Duration>,
}

/// One line of `io.stat`.
///
/// ```
/// use netrunner_cgroup::CgroupStats;
///
/// let text = "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
/// let stats = CgroupStats::from_files(|file| (file == "io.stat").then(|| text.to_owned()));
/// assert_eq!(stats.io[0].read, 4096);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// `MAJOR:MINOR`.
    pub device: String,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// For how long some, or all, of the group's tasks have waited.
///
/// ```
/// use netrunner_cgroup::CgroupStats;
///
/// let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000\n";
/// let stats = CgroupStats::from_files(|file| (file == "cpu.pressure").then(|| text.to_owned()));
/// assert_eq!(stats.cpu_pressure.unwrap().some.as_millis(), 2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one of them waited.
    pub some: Duration,
    /// All of them did.
    pub full: Duration,
}

impl CgroupStats {
    /// The files that [`CgroupStats::from_files`] asks for.
    ///
    /// ```
    /// use netrunner_cgroup::CgroupStats;
    /// assert!(CgroupStats::FILES.contains(&"memory.peak"));
    /// ```
    pub const FILES: &'static [&'static str] = &[
        "memory.peak",
        "memory.events",
        "cpu.stat",
        "pids.peak",
        "pids.events",
        "io.stat",
        "cpu.pressure",
        "memory.pressure",
        "io.pressure",
    ];

    /// Reads what the files say; `read` gives the text of one, or `None` if it can't be read.
    ///
    /// ```
    /// use netrunner_cgroup::CgroupStats;
    ///
    /// let nothing = CgroupStats::from_files(|_| None);
    /// assert!(!nothing.killed_for_memory());
    /// ```
    pub fn from_files(mut read: impl FnMut(&str) -> Option<String>) -> Self {
        let mut number = |file| read(file).and_then(|text| text.trim().parse().ok());
        let (memory_peak, pids_peak) = (number("memory.peak"), number("pids.peak"));
        Self {
            memory_peak,
            pids_peak,
            memory_events: read("memory.events").map(|text| MemoryEvents::parse(&text)),
            cpu: read("cpu.stat").map(|text| CpuStats::parse(&text)),
            pids_refused: read("pids.events").and_then(|text| value(&text, "max")),
            io: read("io.stat").map(|text| io(&text)).unwrap_or_default(),
            cpu_pressure: read("cpu.pressure").as_deref().and_then(Pressure::parse),
            memory_pressure: read("memory.pressure").as_deref().and_then(Pressure::parse),
            io_pressure: read("io.pressure").as_deref().and_then(Pressure::parse),
        }
    }

    /// Whether the kernel has killed a process of the group for want of memory.
    ///
    /// ```
    /// use netrunner_cgroup::CgroupStats;
    ///
    /// let text = "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n";
    /// let stats = CgroupStats::from_files(|file| (file == "memory.events").then(|| text.to_owned()));
    /// assert!(stats.killed_for_memory());
    /// ```
    #[must_use]
    pub fn killed_for_memory(&self) -> bool {
        self.memory_events.is_some_and(|events| events.oom_kill > 0)
    }
}

/// The number behind `key` in lines of `key value`.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, number) = line.split_once(' ')?;
        if name == key { number.trim().parse().ok() } else { None }
    })
}

impl MemoryEvents {
    fn parse(text: &str) -> Self {
        let count = |key| value(text, key).unwrap_or(0);
        Self {
            low: count("low"),
            high: count("high"),
            max: count("max"),
            oom: count("oom"),
            oom_kill: count("oom_kill"),
            oom_group_kill: count("oom_group_kill"),
        }
    }
}

impl CpuStats {
    fn parse(text: &str) -> Self {
        let time = |key| value(text, key).map(Duration::from_micros);
        Self {
            usage: time("usage_usec").unwrap_or_default(),
            user: time("user_usec").unwrap_or_default(),
            system: time("system_usec").unwrap_or_default(),
            periods: value(text, "nr_periods"),
            throttled_periods: value(text, "nr_throttled"),
            throttled: time("throttled_usec"),
        }
    }
}

impl Pressure {
    fn parse(text: &str) -> Option<Self> {
        let total = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
            let total = line.split(' ').find_map(|word| word.strip_prefix("total="))?;
            Some(Duration::from_micros(total.trim().parse().ok()?))
        };
        // Before Linux 5.13 the CPU has no line of the second kind.
        Some(Self { some: total("some ")?, full: total("full ").unwrap_or_default() })
    }
}

fn io(text: &str) -> Vec<IoStats> {
    let mut devices = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next() else { continue };
        let mut device =
            IoStats { device: device.to_owned(), read: 0, written: 0, reads: 0, writes: 0 };
        for (key, number) in words.filter_map(|word| word.split_once('=')) {
            let Ok(number) = number.parse() else { continue };
            match key {
                "rbytes" => device.read = number,
                "wbytes" => device.written = number,
                "rios" => device.reads = number,
                "wios" => device.writes = number,
                _ => {}
            }
        }
        devices.push(device);
    }
    devices
}

impl fmt::Display for MemoryEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oom {}, oom_kill {}", self.oom, self.oom_kill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_read_and_a_missing_one_is_none() {
        let stats = CgroupStats::from_files(|file| {
            let text = match file {
                "memory.peak" => "1052672\n",
                "memory.events" => "low 0\nhigh 2\nmax 31\noom 3\noom_kill 1\noom_group_kill 0\n",
                "cpu.stat" => {
                    "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 15\n\
                     nr_throttled 7\nthrottled_usec 250000\n"
                }
                "pids.events" => "max 5\n",
                "io.stat" => "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
                "memory.pressure" => {
                    "some avg10=0.00 avg60=0.00 avg300=0.00 total=42\n\
                     full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
                }
                _ => return None,
            };
            Some(text.to_owned())
        });
        assert_eq!(stats.memory_peak, Some(1_052_672));
        let events = stats.memory_events.expect("it is there");
        assert_eq!((events.oom, events.oom_kill, events.max, events.high), (3, 1, 31, 2));
        let cpu = stats.cpu.expect("it is there");
        assert_eq!(cpu.usage, Duration::from_millis(1500));
        assert_eq!((cpu.periods, cpu.throttled_periods), (Some(15), Some(7)));
        assert_eq!(cpu.throttled, Some(Duration::from_millis(250)));
        assert_eq!((stats.pids_peak, stats.pids_refused), (None, Some(5)));
        assert_eq!(stats.io.len(), 2);
        assert_eq!((stats.io[0].read, stats.io[0].writes), (4096, 2));
        let waited = Pressure { some: Duration::from_micros(42), full: Duration::from_micros(7) };
        assert_eq!(stats.memory_pressure, Some(waited));
        assert_eq!(stats.cpu_pressure, None);
    }

    #[test]
    fn running_out_of_memory_is_no_kill_unless_one_was_killed() {
        let with = |text: &str| {
            CgroupStats::from_files(|file| (file == "memory.events").then(|| text.to_owned()))
        };
        assert!(!with("oom 4\noom_kill 0\n").killed_for_memory());
        assert!(with("oom 0\noom_kill 1\n").killed_for_memory());
        assert!(!CgroupStats::default().killed_for_memory());
    }

    #[test]
    fn nonsense_in_a_file_makes_no_numbers() {
        let stats = CgroupStats::from_files(|_| Some("garbage \u{0} = total=x\n\n9".to_owned()));
        assert_eq!((stats.memory_peak, stats.pids_refused, stats.cpu_pressure), (None, None, None));
    }
}
