//! What `--report` prints: text for people, one JSON object for programs. And the exit code, which
//! is the shortest report of all.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use netrunner_sync::cgroup::Pressure;
use netrunner_sync::{CgroupStats, Containment, Leftovers, Reason, Report, Signal};

use crate::doctor::kind_word;
use serde_json::{Value, json};

/// The command ran into a timeout.
pub(crate) const TIMED_OUT: u8 = 124;
/// NetRunner itself failed, or was asked for what can't be.
pub(crate) const FAILED: u8 = 125;
/// The program was found but can't be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit code that stands for an outcome.
pub(crate) fn exit_code(reason: Reason, status: ExitStatus) -> u8 {
    // All three are a limit that was set here; the status is only how the stop went.
    if matches!(reason, Reason::Timeout | Reason::IdleTimeout | Reason::OutputLimit) {
        return TIMED_OUT;
    }
    // Codes are 0 to 255 and signals 1 to 64; a status is one or the other.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// All that a report says.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    program: OsString,
    pid: u32,
    status: ExitStatus,
    reason: Reason,
    wall: Duration,
    user: Duration,
    system: Duration,
    max_rss: u64,
    leftovers: Vec<(u32, OsString)>,
    cgroup: Option<CgroupStats>,
    containment: Containment,
    /// What was to be done about leftovers.
    asked: Leftovers,
}

impl Facts {
    /// Takes them from the library's report.
    pub(crate) fn new(program: OsString, report: &Report, asked: Leftovers) -> Facts {
        Facts {
            program,
            pid: report.pid,
            status: report.status,
            reason: report.reason,
            wall: report.wall,
            user: report.usage.user,
            system: report.usage.system,
            max_rss: report.usage.max_rss,
            leftovers: report.leftovers.iter().map(|l| (l.pid, l.name.clone())).collect(),
            cgroup: report.cgroup.clone(),
            containment: report.containment,
            asked,
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        format!("{}\n", self.value())
    }

    /// Seconds as numbers, memory in bytes, what is not UTF-8 replaced.
    pub(crate) fn value(&self) -> Value {
        let leftovers: Vec<Value> = self
            .leftovers
            .iter()
            .map(|(pid, name)| json!({ "pid": pid, "name": name.to_string_lossy() }))
            .collect();
        json!({
            "program": self.program.to_string_lossy(),
            "pid": self.pid,
            "reason": word(self.reason),
            "status": {
                "code": self.status.code(),
                "signal": self.status.signal(),
                "core": self.status.core_dumped(),
            },
            "wall": self.wall.as_secs_f64(),
            "user": self.user.as_secs_f64(),
            "system": self.system.as_secs_f64(),
            "max_rss": self.max_rss,
            "leftovers": leftovers,
            "cgroup": self.cgroup.as_ref().map(cgroup),
            "containment": kind_word(self.containment),
        })
    }

    /// A few lines, each beginning with `prefix`.
    pub(crate) fn text(&self, prefix: &str) -> String {
        let mut text = format!(
            "{prefix}`{}` (pid {}) {}{}\n{prefix}{} wall, {} user, {} system, {} at most in memory\n",
            printable(&self.program.to_string_lossy()),
            self.pid,
            words(self.reason).1,
            status_phrase(self.status),
            seconds(self.wall),
            seconds(self.user),
            seconds(self.system),
            bytes(self.max_rss),
        );
        if !self.leftovers.is_empty() {
            let names: Vec<_> = self
                .leftovers
                .iter()
                .map(|(pid, name)| format!("{} ({pid})", printable(&name.to_string_lossy())))
                .collect();
            let fate = match self.asked {
                // Who is stopped, killed or out of time takes all along.
                _ if self.reason != Reason::Exited => "stopped",
                Leftovers::Stop => "stopped",
                Leftovers::Wait => "waited for",
                Leftovers::Keep => "kept",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{prefix}{fate} what it left behind: {}", names.join(", "));
        }
        text
    }
}

/// What is not known is null; times in seconds, memory in bytes.
fn cgroup(stats: &CgroupStats) -> Value {
    let waited = |pressure: Option<Pressure>| pressure.map(|pressure| pressure.some.as_secs_f64());
    json!({
        "memory_peak": stats.memory_peak,
        "oom": stats.memory_events.map(|events| events.oom),
        "oom_kill": stats.memory_events.map(|events| events.oom_kill),
        "cpu": stats.cpu.map(|cpu| cpu.usage.as_secs_f64()),
        "throttled": stats.cpu.and_then(|cpu| cpu.throttled).map(|time| time.as_secs_f64()),
        "pids_peak": stats.pids_peak,
        "pids_refused": stats.pids_refused,
        "io_read": stats.io.iter().map(|device| device.read).sum::<u64>(),
        "io_written": stats.io.iter().map(|device| device.written).sum::<u64>(),
        "cpu_pressure": waited(stats.cpu_pressure),
        "memory_pressure": waited(stats.memory_pressure),
        "io_pressure": waited(stats.io_pressure),
    })
}

/// The word for programs.
pub(crate) fn word(reason: Reason) -> &'static str {
    words(reason).0
}

/// The word for programs and the beginning of the phrase for people.
fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Exited => ("exited", ""),
        Reason::Timeout => ("timeout", "timed out and "),
        Reason::IdleTimeout => ("idle_timeout", "wrote nothing for too long and "),
        Reason::OutputLimit => ("output_limit", "wrote too much and "),
        Reason::Stopped => ("stopped", "was stopped and "),
        Reason::Killed => ("killed", "was killed and "),
        Reason::OutOfMemory => ("out_of_memory", "ran out of the memory of its cgroup and "),
        Reason::ShepherdLost => ("shepherd_lost", "lost its shepherd and "),
        // The library may learn new ones before this does.
        _ => ("other", "was ended and "),
    }
}

/// How a command came out, to follow its name.
pub(crate) fn phrase(report: &Report) -> String {
    format!("{}{}", words(report.reason).1, status_phrase(report.status))
}

fn status_phrase(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return match status.code() {
            Some(code) => format!("exited with code {code}"),
            None => format!("ended: {status}"),
        };
    };
    let core = if status.core_dumped() { " and dumped its core" } else { "" };
    match Signal::try_from(signal) {
        Ok(signal) => format!("died of {signal}{core}"),
        Err(_) => format!("died of signal {signal}{core}"),
    }
}

/// Cut and not rounded: there is no 60th second.
pub(crate) fn seconds(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    let millis = duration.subsec_millis();
    match minutes {
        0 => format!("{seconds}.{millis:03} s"),
        _ => format!("{minutes} min {seconds}.{} s", millis / 100),
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    let kib = bytes / 1024;
    match kib {
        0..=1023 => format!("{kib} KiB"),
        1024..=1_048_575 => format!("{:.1} MiB", kib as f64 / 1024.0),
        _ => format!("{:.2} GiB", kib as f64 / 1_048_576.0),
    }
}

/// A name comes from whoever made the program: it must not move the cursor of who reads it.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn facts(reason: Reason, raw: i32) -> Facts {
        Facts {
            program: OsString::from("build"),
            pid: 42,
            status: ExitStatus::from_raw(raw),
            reason,
            wall: Duration::from_millis(1500),
            user: Duration::from_millis(250),
            system: Duration::from_millis(125),
            max_rss: 3 << 20,
            leftovers: Vec::new(),
            cgroup: None,
            containment: Containment::Tree,
            asked: Leftovers::Stop,
        }
    }

    #[test]
    fn exit_codes_tell_codes_signals_and_timeouts_apart() {
        let code = |reason, raw| exit_code(reason, ExitStatus::from_raw(raw));
        assert_eq!(code(Reason::Exited, 0), 0);
        assert_eq!(code(Reason::Exited, 3 << 8), 3);
        assert_eq!(code(Reason::Exited, 255 << 8), 255);
        assert_eq!(code(Reason::Exited, 9), 137);
        assert_eq!(code(Reason::Exited, 64), 192);
        assert_eq!(code(Reason::Stopped, 15), 143);
        assert_eq!(code(Reason::Killed, 9), 137);
        assert_eq!(code(Reason::Timeout, 15), 124);
        assert_eq!(code(Reason::Timeout, 0), 124);
        assert_eq!(code(Reason::IdleTimeout, 15), 124);
        assert_eq!(code(Reason::OutputLimit, 0), 124);
    }

    #[test]
    fn json_tells_an_exit_with_137_from_a_kill() {
        let read = |raw| -> Value {
            let text = facts(Reason::Exited, raw).json();
            assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
            serde_json::from_str(&text).unwrap()
        };
        let exit = json!({ "code": 137, "signal": null, "core": false });
        assert_eq!(read(137 << 8)["status"], exit);
        let kill = json!({ "code": null, "signal": 9, "core": false });
        assert_eq!(read(9)["status"], kill);
        let abort = json!({ "code": null, "signal": 6, "core": true });
        assert_eq!(read(6 | 0x80)["status"], abort);
    }

    #[test]
    fn json_has_every_field() {
        let mut facts = facts(Reason::Timeout, 15);
        facts.program = OsString::from_vec(b"b\xff\"\n".to_vec());
        facts.leftovers = vec![(43, OsString::from("sleep"))];
        let expected = json!({
            "program": "b\u{fffd}\"\n", "pid": 42, "reason": "timeout",
            "status": { "code": null, "signal": 15, "core": false },
            "wall": 1.5, "user": 0.25, "system": 0.125, "max_rss": 3_145_728,
            "leftovers": [{ "pid": 43, "name": "sleep" }],
            "cgroup": null, "containment": "tree",
        });
        assert_eq!(serde_json::from_str::<Value>(&facts.json()).unwrap(), expected);
    }

    #[test]
    fn text_says_what_happened() {
        assert_eq!(
            facts(Reason::Exited, 3 << 8).text("netrunner: "),
            "netrunner: `build` (pid 42) exited with code 3\n\
             netrunner: 1.500 s wall, 0.250 s user, 0.125 s system, 3.0 MiB at most in memory\n"
        );
        let first = |facts: Facts| facts.text("").lines().next().unwrap().to_owned();
        assert_eq!(
            first(facts(Reason::Exited, 11 | 0x80)),
            "`build` (pid 42) died of SIGSEGV and dumped its core"
        );
        assert_eq!(
            first(facts(Reason::Timeout, 9)),
            "`build` (pid 42) timed out and died of SIGKILL"
        );
        assert_eq!(
            first(facts(Reason::Stopped, 0)),
            "`build` (pid 42) was stopped and exited with code 0"
        );
    }

    #[test]
    fn text_names_leftovers_and_their_fate() {
        let mut facts = facts(Reason::Exited, 0);
        facts.leftovers = vec![(43, OsString::from("sleep")), (44, OsString::from("a\x1b[2Jb"))];
        let last = |facts: &Facts| facts.text("").lines().last().unwrap().to_owned();
        assert_eq!(last(&facts), "stopped what it left behind: sleep (43), a\u{fffd}[2Jb (44)");
        facts.asked = Leftovers::Wait;
        assert_eq!(last(&facts), "waited for what it left behind: sleep (43), a\u{fffd}[2Jb (44)");
        facts.asked = Leftovers::Keep;
        assert_eq!(last(&facts), "kept what it left behind: sleep (43), a\u{fffd}[2Jb (44)");
        facts.reason = Reason::Timeout;
        assert_eq!(last(&facts), "stopped what it left behind: sleep (43), a\u{fffd}[2Jb (44)");
    }

    #[test]
    fn quantities_are_readable() {
        assert_eq!(seconds(Duration::from_micros(1234)), "0.001 s");
        assert_eq!(seconds(Duration::from_micros(59_999_999)), "59.999 s");
        assert_eq!(seconds(Duration::from_millis(119_999)), "1 min 59.9 s");
        assert_eq!(bytes(500), "0 KiB");
        assert_eq!(bytes(1 << 30), "1.00 GiB");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
    }
}
