//! `netrunner doctor`: what the library's `capabilities` found, and whether a command really runs, as
//! text for people or as one JSON object for programs. Finding out is the library's work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use netrunner_sync::cgroup::{self, Place};
use netrunner_sync::{
    Capabilities, Capability, Command, Containment, Missing, Need, ShepherdSource, capabilities,
};
use serde_json::{Value, json};

use crate::args;
use crate::complain;
use crate::report::FAILED;

/// Far above what a command that does nothing takes.
const TRIAL_LIMIT: Duration = Duration::from_secs(30);

/// Text is broken at this column.
const WIDTH: usize = 92;

/// What was found, and how the trial went.
struct Findings {
    here: Capabilities,
    /// The error of a command that should have run.
    trial: Result<(), String>,
}

pub(crate) fn doctor(options: &args::Doctor) -> u8 {
    if options.sweep {
        return sweep();
    }
    let findings = Findings { here: capabilities(), trial: trial() };
    let said = if options.json { format!("{}\n", findings.json()) } else { findings.text() };
    if let Err(error) = std::io::stdout().write_all(said.as_bytes()) {
        complain(format_args!("failed to write the findings: {error}"));
        return FAILED;
    }
    match findings.verdict() {
        Verdict::Whole | Verdict::Weaker => 0,
        Verdict::Broken => FAILED,
    }
}

/// Removes the cgroups whose owners are gone, and says which.
fn sweep() -> u8 {
    let swept = match Place::detect() {
        Ok(place) => cgroup::sweep(&place).map_err(|error| error.to_string()),
        Err(reason) => Err(format!("no cgroups can be swept: {reason} ({})", reason.remedy())),
    };
    match swept {
        Ok(swept) => {
            for path in &swept.removed {
                println!("removed the cgroup `{}`", path.display());
            }
            for (path, why) in &swept.failed {
                complain(format_args!("failed to remove the cgroup `{}`: {why}", path.display()));
            }
            if swept.failed.is_empty() { 0 } else { FAILED }
        }
        Err(message) => {
            complain(message);
            FAILED
        }
    }
}

/// Runs a command that does nothing: this program.
fn trial() -> Result<(), String> {
    // Not `/proc/self/exe`: in the child that is the shepherd's program.
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let ran = Command::new(program).arg("--version").timeout(TRIAL_LIMIT).run();
    ran.map(drop).map_err(|error| error.to_string())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Every guarantee holds.
    Whole,
    /// Commands run, and something is weaker or slower.
    Weaker,
    /// Commands can't be run safely.
    Broken,
}

impl Findings {
    fn verdict(&self) -> Verdict {
        if self.trial.is_err() || !self.here.is_sufficient() {
            Verdict::Broken
        } else if self.here.lacking(Need::Better).next().is_some() {
            Verdict::Weaker
        } else {
            Verdict::Whole
        }
    }

    fn json(&self) -> Value {
        let here = &self.here;
        let capability = |(name, need, capability): (&str, Need, &Capability)| {
            let missing = match capability {
                Capability::Available => None,
                Capability::Missing(missing) => Some(missing),
            };
            let object = json!({
                "available": missing.is_none(),
                "need": need_word(need),
                "reason": missing.map(|missing| &missing.reason),
                "effect": missing.map(|missing| &missing.effect),
                "remedy": missing.map(|missing| &missing.remedy),
            });
            (name.to_owned(), object)
        };
        let (source, path) = source(&here.shepherd);
        json!({
            "verdict": match self.verdict() {
                Verdict::Whole => "ok",
                Verdict::Weaker => "weaker",
                Verdict::Broken => "broken",
            },
            "kernel": here.kernel,
            "shepherd": { "source": source, "path": path.map(|path| path.to_string_lossy()) },
            "trial": { "ran": self.trial.is_ok(), "error": self.trial.as_ref().err() },
            "capabilities": Value::Object(here.iter().map(capability).collect()),
            "cgroup_place": here.cgroup_place.as_ref().map(place_json),
            "containments": here.containments.iter().map(|kind| kind_word(*kind)).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let here = &self.here;
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "kernel        {}", here.kernel);
        let from = match source(&here.shepherd) {
            ("embedded", _) => "inside this program".to_owned(),
            (from, Some(path)) => format!("`{}` ({from})", path.display()),
            (from, None) => from.to_owned(),
        };
        let _ = writeln!(text, "shepherd      {from}");
        if let Some(place) = &here.cgroup_place {
            let _ = writeln!(text, "cgroup v2     {}", place_text(place));
        }
        let possible: Vec<_> = here.containments.iter().map(|kind| kind_word(*kind)).collect();
        let _ = writeln!(text, "containment   {} (possible here)", possible.join(", "));
        text.push('\n');
        for (name, need, capability) in here.iter() {
            match capability {
                Capability::Available => {
                    let _ = writeln!(text, "yes  {name}{}", phrase(name));
                }
                Capability::Missing(missing) => explain(&mut text, name, need, missing),
            }
        }
        match &self.trial {
            Ok(()) => text.push_str("yes  a command runs\n"),
            Err(error) => {
                text.push_str("NO   a command runs\n");
                paragraph(&mut text, "why: ", error);
            }
        }
        let verdict = match self.verdict() {
            Verdict::Whole => "NetRunner works here, with all its guarantees.".to_owned(),
            Verdict::Weaker => {
                let lacking: Vec<_> = here.lacking(Need::Better).collect();
                format!(
                    "NetRunner works here, weaker or slower for want of {}.",
                    lacking.join(", ")
                )
            }
            Verdict::Broken => {
                let lacking: Vec<_> = here.lacking(Need::Required).collect();
                match lacking.is_empty() {
                    true => "NetRunner does not work here: the command did not run.".to_owned(),
                    false => {
                        format!("NetRunner does not work here for want of {}.", lacking.join(", "))
                    }
                }
            }
        };
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}

fn explain(text: &mut String, name: &str, need: Need, missing: &Missing) {
    let (mark, note) = match need {
        Need::Required => ("NO ", "needed"),
        Need::Better => ("no ", "there is another way"),
        // What it is needed for has to be asked for.
        Need::Extra | _ => ("no ", "only for what is asked for"),
    };
    let _ = writeln!(text, "{mark}  {name}{} ({note})", phrase(name));
    paragraph(text, "why: ", &missing.reason);
    paragraph(text, "so: ", &missing.effect);
    paragraph(text, "change: ", &missing.remedy);
}

/// Appends it, indented and broken between words.
fn paragraph(text: &mut String, label: &str, words: &str) {
    const INDENT: &str = "       ";
    let mut line = format!("{INDENT}{label}");
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.chars().count() + word.chars().count() >= WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = format!("{INDENT}  ");
        }
        line.push_str(word);
        line.push(' ');
        empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// What a name stands for, where it does not say so itself.
fn phrase(name: &str) -> &'static str {
    match name {
        "program" => ": the shepherds' program can be executed",
        "proc_mount" => ": /proc is there",
        "subreaper" => ": orphans are adopted",
        "parent_death_signal" => ": a child dies with its shepherd",
        "memfd" => ": programs can be executed from memory",
        "pidfd" => ": processes can be held by a descriptor",
        "children_files" => ": the children of a process are listed",
        "clone_into_cgroup" => ": a child can be born in a cgroup",
        "pty" => ": terminals can be opened",
        "user_namespace" => ": can be made",
        "pid_namespace" => ": commands can live in one",
        "cgroup" => ": groups can be made",
        "cgroup_limits" => ": they can limit memory, processes and CPU time",
        _ => "",
    }
}

fn need_word(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Better => "better",
        // The library may learn new ones before this does.
        Need::Extra | _ => "extra",
    }
}

pub(crate) fn kind_word(kind: Containment) -> &'static str {
    match kind {
        Containment::Tree => "tree",
        Containment::Cgroup => "cgroup",
        Containment::PidNamespace => "pid_namespace",
        _ => "other",
    }
}

fn source(source: &ShepherdSource) -> (&'static str, Option<&Path>) {
    match source {
        ShepherdSource::Embedded => ("embedded", None),
        ShepherdSource::Explicit(path) => ("explicit", Some(path)),
        ShepherdSource::Variable(path) => ("NETRUNNER_SHEPHERD", Some(path)),
        ShepherdSource::Installed(path) => ("installed", Some(path)),
        _ => ("other", None),
    }
}

fn place_json(place: &Place) -> Value {
    json!({
        "mount": place.mount.to_string_lossy(),
        "group": place.group.to_string_lossy(),
        "hybrid": place.hybrid,
        "controllers": place.controllers,
    })
}

fn place_text(place: &Place) -> String {
    let controllers = match place.controllers.is_empty() {
        true => "no controllers".to_owned(),
        false => place.controllers.join(" "),
    };
    let hybrid = if place.hybrid { ", beside version 1" } else { "" };
    format!("`{}`, {controllers}{hybrid}", place.group.display())
}
