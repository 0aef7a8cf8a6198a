//! A real build by `netrunner jobs` that is SIGKILLed half-way: nothing of it is left, and another run
//! completes it.

use std::process::Command;
use std::time::Duration;

use crate::arena::{arena, nothing_is_left};
use crate::harness::{Live, netrunner, until_within};
use crate::project::Project;

/// How often a build is killed; `NETRUNNER_TEST_BUILD_KILLS` says otherwise, and then the build is as large
/// as one that is worth it.
pub(crate) fn kills() -> u64 {
    asked_for().unwrap_or(4)
}

fn asked_for() -> Option<u64> {
    let number = std::env::var("NETRUNNER_TEST_BUILD_KILLS").ok()?;
    Some(number.parse().expect("NETRUNNER_TEST_BUILD_KILLS is a number"))
}

/// For a build of some hundred files on a machine that does other work as well.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Numbers that look random and can be had again by `NETRUNNER_TEST_SEED`.
pub(crate) struct Instants(u64);

impl Instants {
    pub(crate) fn seeded() -> Instants {
        let seed = match std::env::var("NETRUNNER_TEST_SEED") {
            Ok(seed) => seed.parse().expect("NETRUNNER_TEST_SEED is a number"),
            Err(_unset) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        };
        println!("NETRUNNER_TEST_SEED={seed}");
        Instants(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[test]
fn a_build_that_is_killed_half_way_leaves_nothing_and_another_run_completes_it() {
    arena(|| {
        let kills = kills();
        let mut instants = Instants::seeded();
        let files = if asked_for().is_some() { 125 } else { 20 };
        let project = Project::new(4, files);
        let all = 4 * files;
        let log = project.folder.path("log");
        let list = project.folder.write("list", &(project.compilations().join("\n") + "\n"));
        let build = || -> Command {
            netrunner(["jobs", "-j3", "--progress", "off", "--job-log", &log, "--resume", &list])
        };
        for _ in 0..kills {
            let _ = std::fs::remove_file(&log);
            project.clean();
            let mut live = Live::start(build()).patient_for(LONG);
            let built = instants.below(all as u64 - 10) as usize;
            until_within(LONG, "so much is built", || project.built() > built);
            // The instant is the point.
            std::thread::sleep(Duration::from_micros(instants.below(10_000)));
            live.signal_if_alive(libc::SIGKILL);
            assert_eq!(live.end().status.code(), None, "it was too quick: {built} of {all}");
            nothing_is_left();
            Live::start(build()).patient_for(LONG).end().expect(0);
            project.links_and_runs();
            nothing_is_left();
        }
        println!("{kills} kills of a build of {all} files");
    });
}
