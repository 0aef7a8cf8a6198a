//! `netrunner jobs --jobserver` between a real make and real makes and cargos: how many work at a time is
//! counted by those who work. Until as many as are expected have worked at the same time, none of them ends,
//! so that it is never for want of time that they have not; they give up after some seconds.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::{Ended, Folder, NETRUNNER, end, fresh};

/// A folder with makefiles and a worker, which notes when it begins and ends.
struct Site(Folder);

/// A makefile whose goals are worked for at the same time.
fn makefile(goals: usize, worker: &str) -> String {
    let names: Vec<String> = (0..goals).map(|n| format!("goal-{n}")).collect();
    format!("all: {}\n{}:\n\t@{worker}\n", names.join(" "), names.join(" "))
}

/// A program that counts itself at work, and does `work` meanwhile.
fn program(folder: &Folder, name: &str, work: &str) -> String {
    let text = format!(
        "#!/bin/sh\ncd {}\necho + >> log\n\
         patience=1000\n\
         until [ -e reached ] || [ $patience = 0 ]; do\n  \
         now=$(($(grep -c + log) - $(grep -c -- - log)))\n  \
         [ $now -ge $(cat expected) ] && touch reached\n  \
         sleep 0.01; patience=$((patience - 1))\ndone\nsleep 0.05\n\
         cd \"$OLDPWD\"\n{work}\ncode=$?\necho - >> {}\nexit $code\n",
        folder.path(""),
        folder.path("log")
    );
    let path = folder.write(name, &text);
    assert!(Command::new("chmod").args(["+x", &path]).status().unwrap().success());
    path
}

impl Site {
    fn new() -> Site {
        let folder = Folder::new();
        let worker = program(&folder, "worker", "");
        folder.write("inner.mk", &makefile(6, &worker));
        // Holds the tokens that it takes for ever, and does not die of TERM.
        let deaf = makefile(6, "trap '' TERM; touch $@; while :; do sleep 1; done");
        folder.write("deaf.mk", &deaf);
        Site(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    fn make(&self, name: &str) -> String {
        format!("make -s --no-print-directory -f {}", self.path(name))
    }

    /// So many are expected to work at the same time.
    fn expect(&self, count: usize) {
        self.0.write("log", "");
        self.0.write("expected", &count.to_string());
    }

    /// How many worked at a time at most, since the last time.
    fn most(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for line in self.0.read("log").lines() {
            now = if line == "+" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!(now, 0);
        self.0.write("log", "");
        most
    }

    /// `make -jN` of a makefile whose one goal runs `netrunner jobs --jobserver` with this list, and then
    /// the inner makefile itself.
    #[track_caller]
    fn outer(&self, tokens: usize, options: &str, list: &str) -> Ended {
        let list = self.0.write("list", list);
        let mut text = String::from("all: then\n");
        let _ = writeln!(text, "jobs:\n\t+{NETRUNNER} jobs --jobserver {options} {list} || true");
        let _ = writeln!(
            text,
            "then: jobs\n\t@mv {log} {log}.jobs; touch {log}; rm -f {}",
            self.path("reached"),
            log = self.path("log")
        );
        let _ = writeln!(text, "\t+@$(MAKE) -s --no-print-directory -f {}", self.path("inner.mk"));
        self.0.write("outer.mk", &text);
        self.expect(tokens);
        let mut make = fresh("make");
        let file = self.path("outer.mk");
        make.args(["-s", "--no-print-directory", &format!("-j{tokens}"), "-f", &file]);
        end(alone(make)).expect(0)
    }

    /// How many worked under `jobs`, and in the make that came after.
    fn most_of_both(&self) -> [usize; 2] {
        let after = self.most();
        std::fs::rename(self.path("log.jobs"), self.path("log")).unwrap();
        [self.most(), after]
    }
}

/// make says at its end if tokens are missing or too many.
#[track_caller]
pub(crate) fn no_token_is_lost(ended: &Ended) {
    for word in ["INTERNAL", "jobserver", "warning"] {
        assert!(!ended.stderr.contains(word), "{ended:?}");
    }
}

/// The environment that no make has made.
pub(crate) fn alone(mut command: Command) -> Command {
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn jobs_and_the_makes_in_them_share_what_make_allows() {
    let site = Site::new();
    let list =
        format!("{}\n", site.make("inner.mk")).repeat(3) + &format!("{}\n", site.path("worker"));
    let ended = site.outer(3, "", &list);
    no_token_is_lost(&ended);
    assert_eq!(site.most_of_both(), [3, 3], "{ended:?}");
}

#[test]
fn the_last_make_gets_what_the_others_leave() {
    let site = Site::new();
    let ended = site.outer(4, "", &format!("{}\n", site.make("inner.mk")));
    no_token_is_lost(&ended);
    assert_eq!(site.most_of_both(), [4, 4], "{ended:?}");
}

#[test]
fn tokens_of_killed_jobs_go_back() {
    let site = Site::new();
    // Its make is killed with all the tokens that it could get; then the other begins.
    let killed = format!("cd {} && timeout -s KILL 1 {}", site.path(""), site.make("deaf.mk"));
    let other = format!("sleep 1.5; {}", site.make("inner.mk"));
    let options = "--grace 100ms --keep-going";
    let ended = site.outer(4, options, &format!("{killed}\n{other}\n"));
    no_token_is_lost(&ended);
    let goals = (0..6).filter(|n| site.0.has(&format!("goal-{n}"))).count();
    assert!(goals >= 2, "it had more than one: {goals}");
    assert_eq!(site.most_of_both(), [4, 4], "{ended:?}");
}

#[test]
fn without_a_make_it_serves_as_many_as_there_are_cpus() {
    let site = Site::new();
    site.expect(1);
    let list = site.0.write("list", &format!("{}\n", site.make("inner.mk")).repeat(2));
    end(alone({
        let mut command = fresh("taskset");
        command.args(["-c", "0", NETRUNNER, "jobs", "--jobserver", &list]);
        command
    }))
    .expect(0);
    assert_eq!(site.most(), 1);
}

#[test]
fn a_make_that_keeps_its_jobserver_to_itself_is_one_job_at_a_time() {
    let site = Site::new();
    let list = site.0.write("list", &format!("{}\n", site.path("worker")).repeat(4));
    site.expect(1);
    let rule = format!("all:\n\t@{NETRUNNER} jobs --jobserver --progress off {list}\n");
    let file = site.0.write("no-plus.mk", &rule);
    let mut make = fresh("make");
    make.args(["-s", "-j4", "-f", &file]);
    let ended = end(alone(make)).expect(0);
    assert!(ended.stderr.contains("one job at a time"), "{ended:?}");
    assert_eq!(site.most(), 1);
}

/// A shell command that builds some crates that know nothing of each other, each by a counted compiler.
fn cargo(site: &Site) -> String {
    let mut members = Vec::new();
    for n in 0..5 {
        let name = format!("member-{n}");
        std::fs::create_dir_all(site.path(&format!("{name}/src"))).unwrap();
        site.0.write(&format!("{name}/src/lib.rs"), "");
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n");
        site.0.write(&format!("{name}/Cargo.toml"), &manifest);
        members.push(format!("\"{name}\""));
    }
    let workspace = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    site.0.write("Cargo.toml", &workspace);
    let wrapper = program(&site.0, "wrapper", "\"$@\"");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    format!(
        "cd {} && RUSTC_WRAPPER={wrapper} CARGO_TARGET_DIR={} {cargo} build -q --offline -j8\n",
        site.path(""),
        site.path("target")
    )
}

#[test]
fn a_cargo_in_a_job_takes_part() {
    let site = Site::new();
    let list = cargo(&site) + &format!("{}\n", site.make("inner.mk"));
    let ended = site.outer(3, "", &list);
    no_token_is_lost(&ended);
    assert_eq!(site.most_of_both(), [3, 3], "{ended:?}");
}

#[test]
fn a_cargo_takes_part_in_either_form() {
    for (form, is_named) in [("=fifo", true), ("=pipe", false), ("=auto", false), ("", false)] {
        let site = Site::new();
        site.expect(1);
        let list = site.0.write("list", &format!("echo $MAKEFLAGS\n{}", cargo(&site)));
        let mut jobs = alone(fresh("taskset"));
        jobs.args(["-c", "0", NETRUNNER, "jobs", &format!("--jobserver{form}"), &list]);
        let ended = end(jobs).expect(0);
        assert_eq!(ended.stdout.contains("--jobserver-auth=fifo:/proc/"), is_named, "{ended:?}");
        assert_eq!(site.most(), 1, "{ended:?}");
    }
}
