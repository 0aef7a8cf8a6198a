//! Real compilers under `make -j3`, `netrunner jobs --jobserver`, and the makes and the cargo in it, and
//! under a cargo whose build scripts run it: how many of them work at a time is counted by locks that they
//! hold, and make itself says at its end whether tokens are missing.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::arena::{arena, children, nothing_is_left};
use crate::builds::{Instants, LONG, kills};
use crate::harness::{Ended, Live, NETRUNNER, fresh, signal, until};
use crate::jobs::number_in;
use crate::jobserver::{alone, no_token_is_lost};
use crate::project::Project;

/// What the outer make allows.
const TOKENS: usize = 3;

/// `make -j3` of a makefile with this recipe for `jobs`, beside which it compiles `part-0` itself; then a
/// make of `part-0` anew, alone.
fn outer(project: &Project, recipe: &str) -> Command {
    let again = project.make(0).replace("make ", "$(MAKE) ");
    let mut text = format!(
        "all: jobs itself\n\t+@mv {0} {0}-before; touch {0}\n",
        project.folder.path("counts")
    );
    let _ = writeln!(text, "\t+@{again} clean && {again}");
    let _ = writeln!(text, "jobs:\n{recipe}\nitself:\n\t+@{again}");
    let file = project.folder.write("outer.mk", &text);
    let mut make = alone(fresh("make"));
    make.args(["-s", "--no-print-directory", &format!("-j{TOKENS}"), "-f", &file]);
    make
}

/// Never more than allowed, and so many all the same: in what came before, and in the last make.
#[track_caller]
fn so_many_at_most(project: &Project, ended: &Ended) {
    no_token_is_lost(ended);
    let (after, _) = project.most();
    std::fs::rename(project.folder.path("counts-before"), project.folder.path("counts")).unwrap();
    let (before, _) = project.most();
    assert_eq!((before, after), (TOKENS, TOKENS), "{ended:?}");
}

/// A shell command that builds a workspace of crates that know nothing of each other.
fn cargo(project: &Project, crates: usize) -> String {
    let folder = &project.folder;
    let mut members = Vec::new();
    for n in 0..crates {
        let name = format!("member-{n}");
        std::fs::create_dir_all(folder.path(&format!("{name}/src"))).unwrap();
        folder.write(&format!("{name}/src/lib.rs"), "pub fn nothing() {}\n");
        let package = format!("name = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n");
        folder.write(&format!("{name}/Cargo.toml"), &format!("[package]\n{package}"));
        members.push(format!("\"{name}\""));
    }
    let workspace = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    folder.write("Cargo.toml", &workspace);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let (place, counting, target) = (folder.path(""), project.counting(), folder.path("target"));
    format!(
        "cd {place} && RUSTC_WRAPPER={counting} CARGO_TARGET_DIR={target} {cargo} build -q --offline -j8"
    )
}

/// Builds take their time on a machine that does other work as well.
#[track_caller]
fn to_its_end(build: Command) -> Ended {
    Live::start(build).patient_for(LONG).end().expect(0)
}

#[test]
fn make_cargo_and_the_jobs_themselves_never_have_more_compilers_than_the_outer_make_allows() {
    let project = Project::new(4, 15);
    let single = project.compilations().split_off(45);
    let mut list = format!("{}\n{}\n{}\n", project.make(1), cargo(&project, 6), project.make(2));
    for compile in single {
        let _ = writeln!(list, "{} {compile}", project.counting());
    }
    let list = project.folder.write("list", &list);
    let recipe = format!("\t+@{NETRUNNER} jobs --jobserver --progress off {list}");
    let ended = to_its_end(outer(&project, &recipe));
    so_many_at_most(&project, &ended);
    project.links_and_runs();
    assert!(project.folder.has("target/debug/libmember_5.rlib"));
}

#[test]
fn a_make_that_is_killed_among_the_jobs_takes_no_token_along() {
    let project = Project::new(3, 40);
    // Killed as soon as it has compilers at work, which live on until the job is over.
    let victim = format!(
        "{} & while ! [ -e {}/part-1/unit-2.o ]; do sleep 0.01; done; kill -KILL $!; wait",
        project.make(1),
        project.folder.path("")
    );
    let list = format!("{victim}\n{}\n{}\n", project.make(2), project.make(2));
    let list = project.folder.write("list", &list);
    let recipe = format!("\t+@{NETRUNNER} jobs --jobserver --progress off {list}");
    let ended = to_its_end(outer(&project, &recipe));
    so_many_at_most(&project, &ended);
    let built = [1, 2].map(|part| project.built_in(part));
    assert!(built[0] < 40 && built[1] == 40, "it was not killed half-way: {built:?}");
}

#[test]
fn a_cargo_that_is_killed_among_the_jobs_takes_no_token_along() {
    let project = Project::new(3, 40);
    // Killed as soon as a crate is there, with compilers at work, which live on until the job is over.
    let victim = format!(
        "({}) & while ! ls {}/*.rmeta > /dev/null 2>&1; do sleep 0.01; done; kill -KILL $!; wait",
        cargo(&project, 40).replace("&& ", "&& exec env "),
        project.folder.path("target/debug/deps")
    );
    let list = format!("{victim}\n{}\n{}\n", project.make(1), project.make(2));
    let list = project.folder.write("list", &list);
    let recipe = format!("\t+@{NETRUNNER} jobs --jobserver --progress off {list}");
    let ended = to_its_end(outer(&project, &recipe));
    so_many_at_most(&project, &ended);
    let built = (0..40).filter(|n| project.folder.has(&format!("target/debug/libmember_{n}.rlib")));
    assert!(built.count() < 40, "it was not killed half-way");
    assert_eq!([1, 2].map(|part| project.built_in(part)), [40, 40]);
}

/// A package whose build script is this shell command.
fn with_build_script(project: &Project, name: &str, command: &str, manifest: &str) {
    let folder = &project.folder;
    std::fs::create_dir_all(folder.path(&format!("{name}/src"))).unwrap();
    folder.write(&format!("{name}/src/lib.rs"), "");
    let package = format!("name = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n");
    folder.write(&format!("{name}/Cargo.toml"), &format!("[package]\n{package}{manifest}"));
    let script = format!(
        "fn main() {{\n    let mut shell = std::process::Command::new(\"sh\");\n    \
         assert!(shell.args([\"-c\", {command:?}]).status().unwrap().success());\n}}\n"
    );
    folder.write(&format!("{name}/build.rs"), &script);
}

#[test]
fn jobs_in_build_scripts_share_what_the_cargo_around_them_allows() {
    let project = Project::new(2, 40);
    let jobs = |part: usize| {
        let compilations = project.compilations().split_off(40 * part);
        let counted = compilations.iter().take(40);
        let counted: String =
            counted.map(|one| format!("{} {one}\n", project.counting())).collect();
        let list = project.folder.write(&format!("list-{part}"), &counted);
        format!("{NETRUNNER} jobs --jobserver --progress off {list}")
    };
    with_build_script(&project, "before", &jobs(0), "links = \"before\"\n");
    // A script runs after those of what the package needs and links to: with the tokens that are back.
    let after = format!("mv {0} {0}-before && {1}", project.folder.path("counts"), jobs(1));
    let needs = "[dependencies]\nbefore = { path = \"../before\" }\n";
    with_build_script(&project, "after", &after, needs);
    let members = "[workspace]\nresolver = \"2\"\nmembers = [\"before\", \"after\"]\n";
    project.folder.write("Cargo.toml", members);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = alone(fresh(&cargo));
    build.args(["build", "-q", "--offline", &format!("-j{TOKENS}")]);
    build.current_dir(project.folder.path(""));
    build.env("CARGO_TARGET_DIR", project.folder.path("target"));
    let ended = to_its_end(build);
    so_many_at_most(&project, &ended);
    project.links_and_runs();
}

#[test]
fn a_make_has_all_its_tokens_again_whenever_a_build_under_it_is_killed() {
    arena(|| {
        let kills = kills();
        let mut instants = Instants::seeded();
        let project = Project::new(3, 40);
        let (pid, go) = (project.folder.path("pid"), project.folder.path("go"));
        let target = project.folder.path("target");
        let all = [project.make(1), cargo(&project, 6), project.make(2)];
        let list = project.folder.write("list", &(all.join("\n") + "\n"));
        // The make goes on when nothing of it is left.
        let recipe = format!(
            "\t+@sh -c 'echo $$$$ > {pid}; exec {NETRUNNER} jobs --jobserver --progress off {list}' || true\n\
             \t@while ! [ -e {go} ]; do sleep 0.01; done"
        );
        for _ in 0..kills {
            let _ = std::fs::remove_file(&pid);
            let _ = std::fs::remove_file(&go);
            let _ = std::fs::remove_dir_all(&target);
            project.clean();
            let make = Live::start(outer(&project, &recipe)).patient_for(LONG);
            let netrunner = number_in(&project.folder, "pid");
            let built = 1 + instants.below(80) as usize;
            until("so much is built", || project.built() > built);
            std::thread::sleep(Duration::from_micros(instants.below(20_000)));
            signal(netrunner, libc::SIGKILL);
            until("its guardian is gone", || {
                !children().iter().any(|(_, name)| name == "nr-guardian")
            });
            std::fs::write(&go, "").unwrap();
            let ended = make.end().expect(0);
            no_token_is_lost(&ended);
            assert_eq!(project.most().0, TOKENS, "{ended:?}");
            nothing_is_left();
        }
        println!("{kills} kills");
    });
}
