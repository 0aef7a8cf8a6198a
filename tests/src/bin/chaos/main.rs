//! Chaos: random trees of commands under many clients, in which at random instants any of them, what
//! stands beside them and what they run is killed, stopped, or starved; and nothing may be left.
//!
//! `chaos [--minutes N | --rounds N | --faults N] [--seed S] [--round N] [--dir DIR]`
//!
//! With `--faults` nobody is struck, and instead one system call fails in each run ([`injected`]).
//!
//! This process is the referee. Each round is a process of its own (`chaos field …`), the subreaper of all
//! that it starts. The seed gives every choice; what it can't give is who runs how fast.

#![deny(unsafe_code)]

mod crowd;
mod faults;
mod field;
mod injected;
mod oracle;
mod plan;
mod tally;
mod trees;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use netrunner_sync::cgroup::Place;
use netrunner_tests::canary::Canary;
use netrunner_tests::{lock::Locks, procs, sys};

use field::Field;
use oracle::Before;
use plan::{Ground, Round};
use tally::Tally;

const HELP: &str = "\
usage: chaos [OPTION…]

  --minutes N   rounds for so long (default 1)
  --rounds N    so many rounds instead
  --faults N    instead of blows, every system call beside a client fails once, at each of its
                times, with each error number: in one of N pairs of scene and call; 1 is all
  --seed S      the choices of an earlier run; without it a new seed is taken, and printed
  --round N     this one round of the seed alone, with its plan
  --dir DIR     where the rounds have their folders (default: the folder for temporary files)";

/// What makes this program the process of one round: of blows, or of calls that fail.
const BLOWS: &str = "blows";
const FAULTS: &str = "faults";

/// Where not all pairs are played, so many failures of a pair are left out for one that is.
const STRIDE: u64 = 4;

/// Seconds after which a round is given up; it has limits of its own for everything.
const FIELD_ENDS: u32 = 1_800;

struct Options {
    limit: Duration,
    rounds: Option<u64>,
    seed: u64,
    only: Option<u64>,
    faults: Option<u64>,
    dir: PathBuf,
}

fn main() -> ExitCode {
    // What a careless caller has left open would be counted in every client.
    for (number, _) in procs::descriptors(std::process::id()) {
        if number > 2 {
            sys::close(number);
        }
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, choice, number] = args.as_slice() {
        if role == BLOWS || role == FAULTS {
            let number_of = |text: &String| text.parse().expect("a number");
            return play(role, number_of(choice), number_of(number));
        }
    }
    match options(&args) {
        Ok(options) => referee(&options),
        Err(wrong) => {
            eprintln!("chaos: {wrong}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64;
    let mut options = Options {
        limit: Duration::from_secs(60),
        rounds: None,
        seed: now % 1_000_000_007,
        only: None,
        faults: None,
        dir: std::env::temp_dir(),
    };
    let mut args = args.iter();
    while let Some(name) = args.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            println!("{HELP}");
            std::process::exit(0);
        }
        let value =
            args.next().ok_or_else(|| format!("`{name}` wants a value, or is no option"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("`{name} {value}`: no number"));
        match name.as_str() {
            "--minutes" => options.limit = Duration::from_secs(60 * number()?),
            "--rounds" => options.rounds = Some(number()?),
            "--faults" => options.faults = Some(number()?.max(1)),
            "--seed" => options.seed = number()?,
            "--round" => options.only = Some(number()?),
            "--dir" => options.dir = value.into(),
            _ => return Err(format!("`{name}` is no option")),
        }
    }
    // The rounds work in folders of their own.
    options.dir = fs::canonicalize(&options.dir)
        .map_err(|error| format!("`{}`: {error}", options.dir.display()))?;
    Ok(options)
}

/// Has round after round played, and counts.
fn referee(options: &Options) -> ExitCode {
    let seed = options.seed;
    println!("chaos: --seed {seed}");
    let dir = options.dir.join(format!("netrunner-chaos-{}", std::process::id()));
    let programs = std::env::current_exe().expect("this program");
    fs::create_dir_all(&dir).expect("make a folder");
    let puppet = programs.with_file_name("puppet");
    let (mut tally, began) = (Tally::default(), Instant::now());
    let (role, choice, every) = match options.faults {
        Some(every) => (FAULTS, if every == 1 { 1 } else { STRIDE }, every),
        None => (BLOWS, seed, 1),
    };
    let all = options.faults.map(|_| injected::pairs() as u64).or(options.rounds);
    let timed = options.only.is_none() && all.is_none();
    let numbers = match options.only {
        Some(number) => number..number + 1,
        None => 0..all.unwrap_or(u64::MAX),
    };
    for number in numbers.step_by(every as usize) {
        if timed && began.elapsed() >= options.limit {
            break;
        }
        let mut canary = Canary::new(&puppet, &dir);
        let mut told = round(&dir, &programs, [role, &choice.to_string()], number, &mut tally);
        if let Some(harm) = canary.harm() {
            told = Err(format!("{harm}\n{}", told.err().unwrap_or_default()));
        }
        if let Err(told) = told {
            println!(
                "chaos: round {number} of {role} FAILED: --seed {seed} --round {number}\n{told}"
            );
            tally.add("rounds that failed", 1);
        }
    }
    let failed = tally.get("rounds that failed");
    if failed == 0 {
        fs::remove_dir_all(&dir).expect("remove the folder");
    } else {
        println!("chaos: what they left is in `{}`", dir.display());
    }
    println!("chaos: --seed {seed}, {} s\n{tally}", began.elapsed().as_secs());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One round in a process and a folder of its own. An error is all that it had to say.
fn round(
    dir: &Path,
    programs: &Path,
    what: [&str; 2],
    number: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    let dir = dir.join(format!("round-{number}"));
    for part in ["", "work", "tmp"] {
        let part = dir.join(part);
        fs::create_dir_all(&part).expect("make a folder");
        // Clients that are another user write here as well.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o777)).expect("open the folder");
    }
    for name in ["puppet", "client"] {
        let (from, to) = (programs.with_file_name(name), dir.join(name));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).expect("copy a program");
        }
    }
    let told = dir.join("told");
    let log = || File::options().create(true).append(true).open(&told).expect("a file");
    let status = Command::new(programs)
        .args(what)
        .arg(number.to_string())
        .envs(["TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"].map(|name| (name, dir.join("tmp"))))
        .current_dir(dir.join("work"))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .status()
        .expect("start a round");
    let text = fs::read(&told).expect("what the round has told");
    let text = String::from_utf8_lossy(&text).into_owned();
    tally.add_printed(&text);
    if !status.success() {
        return Err(format!("{status}\n{text}"));
    }
    fs::remove_dir_all(&dir).expect("remove the round's folder");
    Ok(())
}

/// The round itself. Its counts go to standard output, and what is wrong to standard error.
fn play(role: &str, choice: u64, number: u64) -> ExitCode {
    sys::alarm(FIELD_ENDS);
    sys::signal_on_origins_death(libc::SIGKILL).expect("ask for a signal on the referee's death");
    sys::become_subreaper().expect("become a subreaper");
    let own_terminals = sys::own_terminals();
    let place = Place::detect().ok();
    // Tests that have the place for themselves wait until this is closed.
    let _locked = place.as_ref().map(|place| {
        let locked = File::open(&place.group).expect("the delegated group");
        sys::lock_directory(&locked, false).expect("lock it");
        locked
    });
    let groups = format!("nr_chaos_{}_", std::process::id());
    let before = Before::now(own_terminals.is_ok());
    let (mut tally, complaints) = if role == FAULTS {
        let (scene, fault) = injected::pair(number as usize);
        injected::play(scene, fault, choice, &before, place.as_ref(), &groups)
    } else {
        blows(choice, number, &before, place.as_ref(), &groups)
    };
    tally.add("rounds", 1);
    tally.add("rounds without cgroups", u64::from(place.is_none()));
    tally.add("rounds without terminals of their own", u64::from(own_terminals.is_err()));
    print!("{tally}");
    if complaints.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", complaints.join("\n"));
    for proc in crowd::Crowd::now().all() {
        eprintln!("there is {proc}");
        // It must not stand in the way of the next round.
        let _ = sys::kill(proc.pid as i32, libc::SIGKILL);
    }
    ExitCode::FAILURE
}

/// A round of the seed's. Its plan is among what is wrong, if anything is.
fn blows(
    seed: u64,
    number: u64,
    before: &Before,
    place: Option<&Place>,
    groups: &str,
) -> (Tally, Vec<String>) {
    let puppet = field::program("puppet").display().to_string();
    let user = 50_000 + std::process::id() % 5_000;
    let plan = Round::of(seed, number, &Ground { puppet: &puppet, groups, user });
    let mut field = Field::of(&plan);
    let mut complaints: Vec<String> = field.play().err().into_iter().collect();
    if complaints.is_empty() {
        complaints = oracle::complaints(&mut field, before, place, groups);
    }
    if !complaints.is_empty() {
        complaints.extend(plan.clients.iter().map(|client| format!("client {}", client.script)));
        complaints.extend(plan.blows.iter().map(|blow| format!("{blow:?}")));
    }
    let mut tally = field.tally;
    tally.add(format!("rounds: {:?}", plan.mode), 1);
    tally.add("rounds in which something ran out", u64::from(plan.scarce));
    for folder in &plan.folders {
        let taken = Locks::new(folder).all().len() as u64;
        tally.add("processes that ran their program", taken);
        if folder.ends_with(".0") {
            tally.add("commands that ran their program", taken);
        }
    }
    (tally, complaints)
}
