//! The options that ask for a cgroup and its limits, any of which asks for one, and for a PID namespace.

use std::ffi::OsString;

use clap::Args;
use netrunner_sync::cgroup::{IoMax, Limit};
use netrunner_sync::{Cgroup, Command, Containment};

use crate::units;

#[derive(Debug, Args)]
#[command(next_help_heading = "Containment")]
pub(crate) struct Options {
    /// Run the command in a cgroup, at this path below the delegated one; without PATH one with a name
    /// of its own
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    cgroup: Option<Option<OsString>>,

    /// Memory beyond which the kernel kills
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    memory_max: Option<u64>,

    /// Memory beyond which the command is slowed down
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    memory_high: Option<u64>,

    /// Swap that it may use
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    swap_max: Option<u64>,

    /// Processes and threads that it may have at a time, or max
    #[arg(long, value_name = "N", value_parser = count)]
    pids_max: Option<u64>,

    /// CPU time in percent of one CPU: 150%
    #[arg(long, value_name = "PCT%", value_parser = percent)]
    cpu_max: Option<u32>,

    /// Share of the CPU, 1 to 10000; 100 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10000))]
    cpu_weight: Option<u32>,

    /// Limits of a device: 'MAJOR:MINOR rbps=SIZE wbps=SIZE riops=N wiops=N'; may be repeated
    #[arg(long, value_name = "LIMITS", value_parser = io)]
    io_max: Vec<IoMax>,

    /// Run the command in a PID namespace: the kernel ends what it started even when netrunner and all
    /// its helpers are killed in one instant
    #[arg(long)]
    pid_namespace: bool,

    /// Give it a /proc that shows what is in the namespace, by the numbers that hold inside
    #[arg(long, requires = "pid_namespace")]
    mount_proc: bool,

    /// Run the command without the cgroup, the limit or the namespace that can't be had
    #[arg(long)]
    if_available: bool,
}

impl Options {
    /// Gives the command the cgroup and the namespace that are asked for.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<(), String> {
        if let Some(group) = self.wanted()? {
            command.cgroup(group);
        }
        if self.pid_namespace {
            match self.if_available {
                true => command.contain_if_available(Containment::PidNamespace),
                false => command.contain(Containment::PidNamespace),
            };
            command.mount_proc(self.mount_proc);
        }
        Ok(())
    }

    fn wanted(&self) -> Result<Option<Cgroup>, String> {
        let mut group = match &self.cgroup {
            Some(Some(path)) => Cgroup::at(path).map_err(|error| error.to_string())?,
            Some(None) | None => Cgroup::auto(),
        };
        let asked = self.cgroup.is_some() || group_is_limited(self);
        if !asked {
            return Ok(None);
        }
        let amount = |size: u64| if size == u64::MAX { Limit::MAX } else { Limit::from(size) };
        if let Some(size) = self.memory_max {
            group = group.memory_max(amount(size));
        }
        if let Some(size) = self.memory_high {
            group = group.memory_high(amount(size));
        }
        if let Some(size) = self.swap_max {
            group = group.swap_max(amount(size));
        }
        if let Some(count) = self.pids_max {
            group = group.pids_max(amount(count));
        }
        if let Some(percent) = self.cpu_max {
            group = group.cpu_max(percent);
        }
        if let Some(weight) = self.cpu_weight {
            group = group.cpu_weight(weight);
        }
        for limits in &self.io_max {
            group = group.io_max(limits.clone());
        }
        if self.if_available {
            group = group.if_available();
        }
        Ok(Some(group))
    }
}

fn group_is_limited(options: &Options) -> bool {
    let sizes = [options.memory_max, options.memory_high, options.swap_max, options.pids_max];
    sizes.iter().any(Option::is_some)
        || options.cpu_max.or(options.cpu_weight).is_some()
        || !options.io_max.is_empty()
}

fn count(text: &str) -> Result<u64, String> {
    if text == "max" {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "neither a number nor `max`".to_owned())
}

fn percent(text: &str) -> Result<u32, String> {
    match text.strip_suffix('%').map(str::parse) {
        Some(Ok(percent)) if percent > 0 => Ok(percent),
        Some(_) | None => Err("not of the form 150%".to_owned()),
    }
}

fn io(text: &str) -> Result<IoMax, String> {
    const FORM: &str = "not of the form `8:0 rbps=1M wiops=100`";
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let device = words.next().and_then(|device| device.split_once(':')).ok_or(FORM)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| FORM.to_owned());
    let mut limits = IoMax::device(number(device.0)?, number(device.1)?);
    let mut some = false;
    for word in words {
        let (key, value) = word.split_once('=').ok_or(FORM)?;
        let value = match units::size(value)? {
            u64::MAX => Limit::MAX,
            value => Limit::from(value),
        };
        limits = match key {
            "rbps" => limits.read_bytes(value),
            "wbps" => limits.write_bytes(value),
            "riops" => limits.reads(value),
            "wiops" => limits.writes(value),
            _ => return Err(format!("unknown limit `{key}`: rbps, wbps, riops, wiops")),
        };
        some = true;
    }
    if some { Ok(limits) } else { Err(FORM.to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        group: Options,
    }

    fn wanted(words: &[&str]) -> Option<Cgroup> {
        let line = Line::try_parse_from([&["netrunner"], words].concat()).expect("good options");
        line.group.wanted().expect("a good path")
    }

    #[test]
    fn each_option_asks_for_a_group_with_its_limit() {
        let auto = Cgroup::auto;
        let io = IoMax::device(8, 0).read_bytes(1 << 20);
        for (words, group) in [
            (&["--cgroup"][..], auto()),
            (&["--cgroup=a/b"], Cgroup::at("a/b").expect("a good path")),
            (&["--memory-max", "2G"], auto().memory_max(2 << 30)),
            (&["--memory-max", "max"], auto().memory_max(Limit::MAX)),
            (&["--memory-high", "1M"], auto().memory_high(1 << 20)),
            (&["--swap-max", "0"], auto().swap_max(0)),
            (&["--pids-max", "256"], auto().pids_max(256)),
            (&["--cpu-max", "150%"], auto().cpu_max(150)),
            (&["--cpu-weight", "10"], auto().cpu_weight(10)),
            (&["--io-max", "8:0 rbps=1M"], auto().io_max(io)),
            (&["--cgroup", "--if-available"], auto().if_available()),
        ] {
            assert_eq!(wanted(words), Some(group), "{words:?}");
        }
        assert_eq!(wanted(&[]), None);
    }

    #[test]
    fn a_share_of_cpus_is_a_percentage() {
        assert_eq!(percent("150%"), Ok(150));
        for text in ["150", "0%", "%", "-5%", "1.5%", "many%", ""] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_of_a_device_need_its_number_and_a_limit() {
        let wanted = IoMax::device(8, 16).read_bytes(1 << 20).writes(Limit::MAX);
        assert_eq!(io("8:16 rbps=1M wiops=max"), Ok(wanted.clone()));
        assert_eq!(io("8:16,rbps=1M,wiops=max"), Ok(wanted));
        for text in
            ["", "8:16", "8 rbps=1", "8:16 rbps", "8:16 speed=1", "a:b rbps=1", "8:16 rbps=x"]
        {
            assert!(io(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_is_a_number_or_max() {
        assert_eq!((count("7"), count("max")), (Ok(7), Ok(u64::MAX)));
        assert!(count("7K").is_err());
    }
}
