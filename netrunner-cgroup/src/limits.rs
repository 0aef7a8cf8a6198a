//! Which group is wanted and with what limits: a description that touches nothing. Making it is
//! [`crate::make`]'s.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::amount::{IoMax, Limit, Setting};
use crate::error::{Error, Result};

/// A group to be made: its place below the delegated one, its limits, and whether it must be had.
///
/// ```
/// use netrunner_cgroup::{Cgroup, IoMax, Limit};
///
/// let group = Cgroup::at("build/job_7")?
///     .memory_max(2 << 30)
///     .memory_high(1 << 30)
///     .swap_max(0)
///     .oom_group(true)
///     .pids_max(256)
///     .cpu_max(150) // one and a half CPUs
///     .cpu_weight(50)
///     .cpus("0-3")
///     .io_max(IoMax::device(8, 0).write_bytes(10 << 20).reads(Limit::MAX))
///     .set("memory.zswap.max", "0")?;
/// assert!(group.is_required() && !group.clone().if_available().is_required());
/// assert_eq!(group.path().unwrap(), std::path::Path::new("build/job_7"));
/// assert!(Cgroup::at("../elsewhere").is_err());
/// # Ok::<(), netrunner_cgroup::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: Option<PathBuf>,
    limits: Vec<Setting>,
    if_available: bool,
}

impl Cgroup {
    /// A group at this path below the delegated one. Groups on the way are made where missing. The
    /// group itself must not be there, or be empty and nobody's.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::at("build/job_7")?;
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the path is empty or absolute, has a `..`, `.` or NUL in it, or a name that the kernel keeps
    /// for its own files (`cgroup.…` and the controllers').
    pub fn at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refused = |why| Err(Error::Path { path: path.to_owned(), why });
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return refused("the path is empty");
        }
        if bytes.iter().any(|byte| matches!(byte, 0 | b'\n')) {
            return refused("the path has a NUL or a line feed in it");
        }
        // `components` would swallow a `.` in the middle.
        if bytes.split(|&byte| byte == b'/').any(|name| name == b".") {
            return refused("the path has a `.` in it");
        }
        for component in path.components() {
            match component {
                Component::Normal(name) if is_reserved(name) => {
                    return refused(
                        "the kernel and NetRunner keep names of this form for themselves",
                    );
                }
                Component::Normal(name) if name.len() > 255 => {
                    return refused("a name is too long");
                }
                Component::Normal(_) => {}
                Component::ParentDir => return refused("the path has a `..` in it"),
                Component::RootDir | Component::Prefix(_) => {
                    return refused("the path is absolute; it counts from the delegated group");
                }
                Component::CurDir => return refused("the path has a `.` in it"),
            }
        }
        Ok(Self { path: Some(path.components().collect()), ..Self::auto() })
    }

    /// A group with a name of its own.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// assert_eq!(Cgroup::auto().path(), None);
    /// ```
    #[must_use]
    pub fn auto() -> Self {
        Self { path: None, limits: Vec::new(), if_available: false }
    }

    /// Does without the group, or without a limit, where it can't be had. A limit that is refused for
    /// its value is an error all the same.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().pids_max(64).if_available();
    /// ```
    #[must_use]
    pub fn if_available(mut self) -> Self {
        self.if_available = true;
        self
    }

    /// Fails where the group or a limit can't be had, before anything runs. The default.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// assert!(Cgroup::auto().if_available().required().is_required());
    /// ```
    #[must_use]
    pub fn required(mut self) -> Self {
        self.if_available = false;
        self
    }

    /// Whether it must be had.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// assert!(Cgroup::auto().is_required());
    /// ```
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.if_available
    }

    /// Where it is to be, if it has no name of its own.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// assert_eq!(Cgroup::at("a/b")?.path(), Some(std::path::Path::new("a/b")));
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn settings(&self) -> &[Setting] {
        &self.limits
    }

    /// `memory.max` in bytes: beyond it the kernel kills.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_max(512 << 20); // 512 MiB
    /// ```
    #[must_use]
    pub fn memory_max(self, bytes: impl Into<Limit>) -> Self {
        self.put("memory.max", bytes.into())
    }

    /// `memory.high` in bytes: beyond it the group is slowed down and reclaimed.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_high(400 << 20).memory_max(512 << 20);
    /// ```
    #[must_use]
    pub fn memory_high(self, bytes: impl Into<Limit>) -> Self {
        self.put("memory.high", bytes.into())
    }

    /// `memory.low` in bytes: reclaimed below it only in need.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_low(64 << 20);
    /// ```
    #[must_use]
    pub fn memory_low(self, bytes: impl Into<Limit>) -> Self {
        self.put("memory.low", bytes.into())
    }

    /// `memory.min` in bytes: never reclaimed below it.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_min(16 << 20);
    /// ```
    #[must_use]
    pub fn memory_min(self, bytes: impl Into<Limit>) -> Self {
        self.put("memory.min", bytes.into())
    }

    /// `memory.swap.max` in bytes.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_max(512 << 20).swap_max(0); // none at all
    /// ```
    #[must_use]
    pub fn swap_max(self, bytes: impl Into<Limit>) -> Self {
        self.put("memory.swap.max", bytes.into())
    }

    /// `memory.oom.group`: if one process is killed for want of memory, all are.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().memory_max(512 << 20).oom_group(true);
    /// ```
    #[must_use]
    pub fn oom_group(self, all: bool) -> Self {
        self.put("memory.oom.group", u8::from(all))
    }

    /// `pids.max`: processes and threads at a time.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().pids_max(100);
    /// ```
    #[must_use]
    pub fn pids_max(self, count: impl Into<Limit>) -> Self {
        self.put("pids.max", count.into())
    }

    /// `cpu.max` in percent of one CPU, per 100 ms.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().cpu_max(150); // one and a half CPUs
    /// ```
    #[must_use]
    pub fn cpu_max(self, percent: u32) -> Self {
        self.cpu_max_per(Duration::from_millis(u64::from(percent)), Duration::from_millis(100))
    }

    /// `cpu.max`: this much CPU time in each period (1 ms to 1 s).
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let ms = std::time::Duration::from_millis;
    /// let group = Cgroup::auto().cpu_max_per(ms(5), ms(10)); // half a CPU, in short turns
    /// ```
    #[must_use]
    pub fn cpu_max_per(self, time: Duration, period: Duration) -> Self {
        self.put("cpu.max", format_args!("{} {}", time.as_micros(), period.as_micros()))
    }

    /// `cpu.weight`: 1 to 10000, 100 by default.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().cpu_weight(50);
    /// ```
    #[must_use]
    pub fn cpu_weight(self, weight: u32) -> Self {
        self.put("cpu.weight", weight)
    }

    /// `cpu.idle`: runs only when nobody else wants to.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().cpu_idle(true);
    /// ```
    #[must_use]
    pub fn cpu_idle(self, idle: bool) -> Self {
        self.put("cpu.idle", u8::from(idle))
    }

    /// `cpuset.cpus`, as `0-3,7`.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().cpus("0-3,7");
    /// ```
    #[must_use]
    pub fn cpus(self, list: impl AsRef<str>) -> Self {
        self.put("cpuset.cpus", list.as_ref())
    }

    /// `cpuset.mems`, as `0-1`.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().cpus("0-3").mems("0");
    /// ```
    #[must_use]
    pub fn mems(self, list: impl AsRef<str>) -> Self {
        self.put("cpuset.mems", list.as_ref())
    }

    /// `io.max` for one device.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let disk = netrunner_cgroup::IoMax::device(8, 0).write_bytes(10 << 20);
    /// let group = Cgroup::auto().io_max(disk);
    /// ```
    #[must_use]
    pub fn io_max(self, limits: IoMax) -> Self {
        self.put("io.max", limits.as_str())
    }

    /// `io.weight`: 1 to 10000, 100 by default.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().io_weight(50);
    /// ```
    #[must_use]
    pub fn io_weight(self, weight: u32) -> Self {
        self.put("io.weight", format_args!("default {weight}"))
    }

    /// For work that should yield to everything else: the least share of CPU and I/O.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().background();
    /// ```
    #[must_use]
    pub fn background(self) -> Self {
        self.cpu_weight(1).io_weight(1)
    }

    /// Any other file of the group and what to write into it.
    ///
    /// ```
    /// # use netrunner_cgroup::Cgroup;
    /// let group = Cgroup::auto().set("memory.zswap.max", "0")?;
    /// assert!(Cgroup::auto().set("cgroup.procs", "1").is_err());
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the name is not that of a controller's file (`memory.max`): those of the group itself
    /// (`cgroup.…`) are ours, and no path may lead elsewhere.
    pub fn set(self, file: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let (file, value) = (file.into(), value.into());
        check_setting(&file, &value)?;
        Ok(self.put(&file, value))
    }

    fn put(mut self, file: &str, value: impl std::fmt::Display) -> Self {
        self.limits.push(Setting { file: file.to_owned(), value: value.to_string() });
        self
    }
}

/// What may be written by name.
pub(crate) fn check_setting(file: &str, value: &str) -> Result<()> {
    let refused = |why| Err(Error::Limit { file: file.to_owned(), why });
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match file.split_once('.') {
        Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => {
            if !file.bytes().all(known) {
                return refused("this is no name of a controller's file");
            }
            if controller == "cgroup" {
                return refused("the files of the group itself are not limits");
            }
        }
        Some(_) | None => return refused("this is no name of a controller's file"),
    }
    if value.contains(['\0', '\n']) {
        return refused("the value has a NUL or a line feed in it");
    }
    Ok(())
}

/// Names that the kernel's files have or may have one day, and those of ours.
fn is_reserved(name: &OsStr) -> bool {
    const PREFIXES: &[&str] = &[
        "cgroup", "cpu", "cpuset", "io", "memory", "pids", "rdma", "hugetlb", "misc", "irq", "dmem",
    ];
    let Some(name) = name.to_str() else { return false };
    name.starts_with(crate::stale::PREFIX)
        || name == crate::detect::OWN_LEAF
        || name.split_once('.').is_some_and(|(first, _)| PREFIXES.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let long = "x".repeat(256);
        for path in [
            "",
            "/",
            "/a",
            "..",
            "a/..",
            "a/../b",
            ".",
            "./a",
            "a/.",
            "a/./b",
            "a\0b",
            "a\nb",
            "cgroup.procs",
            "a/memory.max",
            "netrunner-1-0",
            "self.netrunner",
            &long,
        ] {
            assert!(Cgroup::at(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_path_below_is_taken() {
        for (path, kept) in [
            ("net_runner/job_123", "net_runner/job_123"),
            ("a//b/", "a/b"),
            ("a..b", "a..b"),
            ("job.memory", "job.memory"),
            ("grüße", "grüße"),
        ] {
            assert_eq!(Cgroup::at(path).expect(path).path(), Some(Path::new(kept)));
        }
    }

    #[test]
    fn each_limit_has_its_file_and_spelling() {
        let group = Cgroup::auto()
            .memory_max(4096)
            .memory_high(Limit::MAX)
            .memory_low(1)
            .memory_min(2)
            .swap_max(0)
            .oom_group(true)
            .pids_max(7)
            .cpu_max(150)
            .cpu_weight(50)
            .cpu_idle(true)
            .cpus("0-1")
            .mems("0")
            .io_max(IoMax::device(8, 16).read_bytes(1024).writes(Limit::MAX))
            .io_weight(10)
            .set("hugetlb.2MB.max", "0")
            .expect("a controller's file");
        let written: Vec<String> =
            group.settings().iter().map(|s| format!("{}={}", s.file, s.value)).collect();
        assert_eq!(
            written,
            [
                "memory.max=4096",
                "memory.high=max",
                "memory.low=1",
                "memory.min=2",
                "memory.swap.max=0",
                "memory.oom.group=1",
                "pids.max=7",
                "cpu.max=150000 100000",
                "cpu.weight=50",
                "cpu.idle=1",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "io.max=8:16 rbps=1024 wiops=max",
                "io.weight=default 10",
                "hugetlb.2MB.max=0",
            ]
        );
        assert_eq!(group.settings()[14].controller(), "hugetlb");
    }

    #[test]
    fn no_file_but_a_controllers_can_be_set() {
        for (file, value) in [
            ("cgroup.procs", "1"),
            ("cgroup.kill", "1"),
            ("../x.y", "1"),
            ("memory", "1"),
            (".max", "1"),
            ("memory.", "1"),
            ("a/b.c", "1"),
            ("pids.max", "1\n2"),
            ("pids.max", "\0"),
        ] {
            assert!(Cgroup::auto().set(file, value).is_err(), "{file:?} {value:?}");
        }
    }
}
