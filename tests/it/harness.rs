//! One arena per test: the body of a test runs in a process of its own below a subreaper of its
//! own, and the test passes only if nothing of it is left after its end.
//!
//! ```text
//! test binary (all tests) ─ arena (subreaper, counts) ─ test binary --exact this_test ─ clients, canaries
//! ```
//!
//! A body has its own empty working directory, so scripts name their files by one word. What a body
//! runs with `netrunner-sync` directly has the body as its client; where the client itself must
//! suffer, `client()` starts one.

use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netrunner_tests::canary;
use netrunner_tests::lacks::{self, Lack, Lacks};
use netrunner_tests::lock::Lock;
use netrunner_tests::procs::{self, Proc};
use netrunner_tests::random::Random;
use netrunner_tests::wait::{PATIENCE, reached_within, scaled, slowness, wait_until};
use netrunner_tests::{script, sys};

use crate::on_terminals;
pub(crate) use crate::on_terminals::{
    both, check_fed, connect, fed, inlet, off_terminals, on_terminals, on_terminals_too, outlet,
    read_deadline, shown,
};

pub(crate) const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_client");
pub(crate) const ROGUE: &str = env!("CARGO_BIN_EXE_rogue");
pub(crate) const CHAOS: &str = env!("CARGO_BIN_EXE_chaos");
pub(crate) const ARENA: &str = env!("CARGO_BIN_EXE_arena");

/// A grace short enough for tests that must see it pass.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

/// P1's promise is grace + 2 s; the rest is for a machine that does other work as well.
pub(crate) const GRACE_AND_2S: Duration = Duration::from_millis(300 + 2_000 + 1_000);

/// A body that takes longer hangs. The longest takes some ten seconds where nothing else is done; on a machine that
/// does much other work it may take ten times as long.
const BODY_LIMIT: Duration = Duration::from_secs(240);
const COUNT_LIMIT: Duration = Duration::from_secs(10);

/// Processes of the test itself, which do not count.
static EXEMPT: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Runs `body` in an arena. To be called with a closure, directly in the test function: the
/// closure's type name is how the test finds itself again.
#[track_caller]
pub(crate) fn arena<F: FnOnce()>(body: F) {
    let name = std::any::type_name::<F>();
    let name = name.trim_end_matches("::{{closure}}");
    let name = name.split_once("::").expect("a test in a module").1;
    if std::env::var("NETRUNNER_TEST_ARENA").as_deref() == Ok(name) {
        if lacks(Lack::Reuse) {
            netrunner_sync::Shepherds::max_idle(0);
        }
        body();
        on_terminals::assert_seen();
        return;
    }

    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("netrunner-test-{}-{number}", process::id()));
    let place = Place::new(dir);
    // Both streams append: each would overwrite the other's words from an offset of its own.
    let log = || {
        let path = place.dir.join("log");
        File::options().create(true).append(true).open(path).expect("the log")
    };
    let mut arena = process::Command::new(ARENA);
    on_terminals::tell(&mut arena);
    let status = arena
        .arg(scaled(BODY_LIMIT).as_secs_f64().to_string())
        .arg(scaled(COUNT_LIMIT).as_secs_f64().to_string())
        .arg(std::env::current_exe().expect("the test binary"))
        .args(["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"])
        .env("NETRUNNER_TEST_ARENA", name)
        .env("NETRUNNER_TEST_PROGRAMS", place.programs())
        .env(lacks::REFUSALS, place.dir.join("refused"))
        .env("TMPDIR", place.dir.join("tmp"))
        .env("XDG_CACHE_HOME", place.dir.join("tmp"))
        .env("XDG_RUNTIME_DIR", place.dir.join("tmp"))
        .current_dir(place.dir.join("work"))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .status()
        .expect("run the arena");
    let log = fs::read(place.dir.join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    assert!(status.success(), "{name} failed in its arena ({status}):\n{log}");
    assert!(log.contains("test result: ok. 1 passed"), "{name} did not run in its arena:\n{log}");
    for line in log.lines().filter(|line| line.contains("SKIPPED")) {
        // Past libtest's capture: a skipped test must be seen.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{name}: {line}");
    }
}

/// A test's directory, removed with it.
struct Place {
    dir: PathBuf,
}

/// A program of the tests, where every user can execute it.
pub(crate) fn program(path: &str) -> PathBuf {
    let name = std::path::Path::new(path).file_name().expect("a file");
    let place = std::env::var_os("NETRUNNER_TEST_PROGRAMS").expect("called in an arena");
    PathBuf::from(place).join(name)
}

impl Place {
    /// The tests' programs for other users too: the workspace may lie in a folder that only its owner
    /// can enter.
    fn programs(&self) -> PathBuf {
        for path in [PUPPET, CLIENT] {
            let to = self.dir.join(std::path::Path::new(path).file_name().expect("a file"));
            if fs::hard_link(path, &to).is_err() {
                fs::copy(path, &to).expect("copy a program of the tests");
            }
        }
        self.dir.clone()
    }

    fn new(dir: PathBuf) -> Place {
        for part in ["", "work", "tmp"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).expect("make the test's directory");
            // Clients that gave up root lock files here as well.
            fs::set_permissions(&part, fs::Permissions::from_mode(0o777))
                .expect("open the test's directory");
        }
        Place { dir }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory that stays is a nuisance, not a failure.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Says loudly that this machine cannot show it.
pub(crate) fn skip(why: &str) {
    on_terminals::see();
    println!("SKIPPED: {why}");
}

/// Whether one of these programs is missing, or is only what busybox has under its name; then the test is skipped.
pub(crate) fn lacks_programs(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| {
        let found = std::env::split_paths(&path).find_map(|dir| dir.join(name).canonicalize().ok());
        found.is_some_and(|program| !program.ends_with("busybox"))
    };
    let missing = names.iter().find(|name| !is_there(name));
    if let Some(name) = missing {
        skip(&format!("needs `{name}`"));
    }
    missing.is_some()
}

/// Whether the arena does without this, so that a test asserts the weaker thing that is left.
pub(crate) fn lacks(lack: Lack) -> bool {
    PORTABLE && lack != Lack::Reuse || Lacks::of(lacks::LACKS).has(lack)
}

/// Whether NetRunner's portable form is tested, which uses nothing that only Linux has.
pub(crate) const PORTABLE: bool = cfg!(netrunner_portable);

/// False, loudly, in the portable form: for a test of what that does not promise (`docs/PORTABLE.md`).
pub(crate) fn is_promised_everywhere() -> bool {
    if PORTABLE {
        skip("the portable form does not promise it");
    }
    !PORTABLE
}

/// So many bytes, or fewer where all is slow.
pub(crate) fn bulk(bytes: u64) -> u64 {
    (bytes as f64 / slowness()) as u64
}

/// False, loudly, where no shepherd is used twice: for a test of what only such a one does.
pub(crate) fn reuses_shepherds() -> bool {
    let reuses = !lacks(Lack::Reuse);
    if !reuses {
        skip("its subject is a shepherd that is used again");
    }
    reuses
}

/// False, loudly, where the arena takes calls away: the kernel allows no second filter with a listener in its.
pub(crate) fn can_filter() -> bool {
    let can = std::env::var(lacks::LACKS).is_ok_and(|lacks| lacks.is_empty());
    if !can {
        skip("the kernel allows no filter with a listener in the one of this arena");
    }
    can
}

/// False, loudly, where root is needed and not there.
pub(crate) fn is_root() -> bool {
    let root = sys::euid() == 0;
    if !root {
        skip("needs root");
    }
    root
}

/// A puppet as a command of NetRunner, with a grace that tests can wait for.
pub(crate) fn puppet(script: &str) -> netrunner_sync::Command {
    let mut command = netrunner_sync::Command::new(program(PUPPET));
    command.args(script::split(script)).grace(GRACE);
    connect(&mut command);
    command
}

/// The puppets' program.
pub(crate) fn program_of_puppets() -> PathBuf {
    program(PUPPET)
}

/// A puppet by std, for comparison and for bystanders.
pub(crate) fn std_puppet(script: &str) -> process::Command {
    let mut command = process::Command::new(program(PUPPET));
    command.args(script::split(script));
    command
}

/// The lock file of this name in the test's directory.
pub(crate) fn lock(name: &str) -> Lock {
    Lock::at(name)
}

/// A program that uses `netrunner-sync`, beside the test.
pub(crate) struct Client {
    process: process::Child,
    out: PathBuf,
}

/// Starts one. Its commands get a short grace.
pub(crate) fn client(script: &str) -> Client {
    client_by(process::Command::new(program(CLIENT)), script)
}

/// Starts one through a program that runs its arguments.
pub(crate) fn client_by(mut command: process::Command, script: &str) -> Client {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let out = PathBuf::from(format!("client-out-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let grace = GRACE.as_millis().to_string();
    on_terminals::see();
    let process = command
        .args(["grace", &grace])
        .args(on_terminals().then_some("terminal"))
        .args(script::split(script))
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file for the client's output"))
        .spawn()
        .expect("start a client");
    Client { process, out }
}

/// Runs one to its end, which must be exit 0, and returns what it printed.
#[track_caller]
pub(crate) fn run_client(script: &str) -> String {
    client(script).finish()
}

impl Client {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, and reaped.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("kill the client");
        self.process.wait().expect("reap the client");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("look at the client").is_some()
    }

    /// SIGKILL only, for several at one instant.
    pub(crate) fn shoot(&mut self) {
        self.process.kill().expect("kill the client");
    }

    /// Waits for an end of whatever kind.
    #[track_caller]
    pub(crate) fn end(&mut self) -> process::ExitStatus {
        let mut status = None;
        let process = &mut self.process;
        let ended = reached_within(PATIENCE * 3, || {
            status = process.try_wait().expect("wait for the client");
            status.is_some()
        });
        assert!(ended, "the client hangs: {}", procs::describe(self.pid()));
        status.expect("it has ended")
    }

    /// Waits for its good end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> String {
        let status = self.end();
        let failed = fs::read_to_string("client-failed").unwrap_or_default();
        assert!(status.success() && failed.is_empty(), "the client ended with {status}: {failed}");
        fs::read_to_string(&self.out).expect("the client's output")
    }
}

/// Waits for the file by which a script says that it got so far.
#[track_caller]
pub(crate) fn wait_file(name: &str) {
    wait_until(&format!("the file {name}"), PATIENCE, || {
        if let Ok(failed) = fs::read_to_string("client-failed") {
            panic!("the client failed: {failed}");
        }
        Path::new(name).exists()
    });
}

/// Waits for a file with a number, and reads it.
#[track_caller]
pub(crate) fn wait_pid_file(name: &str) -> u32 {
    let mut pid = None;
    wait_until(&format!("a number in {name}"), PATIENCE, || {
        pid = fs::read_to_string(name).ok().and_then(|text| text.trim().parse().ok());
        pid.is_some()
    });
    pid.expect("read")
}

/// Everything in this arena but the body and its bystanders: clients, guardians, shepherds, children.
pub(crate) fn others() -> Vec<Proc> {
    let exempt = EXEMPT.lock().expect("exempt").clone();
    let mut others = procs::descendants(sys::ppid());
    others.retain(|proc| proc.pid != process::id() && !exempt.contains(&proc.pid));
    others
}

/// The living puppets of this arena.
pub(crate) fn puppets() -> Vec<Proc> {
    let mut others = others();
    others.retain(|proc| proc.comm == "puppet" && !proc.is_zombie());
    others
}

/// The zombies of this arena that `pid` should have reaped.
pub(crate) fn zombies_of(pid: u32) -> Vec<Proc> {
    procs::all().into_iter().filter(|proc| proc.ppid == pid && proc.is_zombie()).collect()
}

/// No puppet may be alive at this moment.
#[track_caller]
pub(crate) fn assert_no_puppets() {
    let left = puppets();
    assert!(left.is_empty(), "still alive:\n{}", list(&left));
}

/// Waits until no puppet is alive any more.
#[track_caller]
pub(crate) fn wait_no_puppets(limit: Duration) {
    if !reached_within(limit, || puppets().is_empty()) {
        assert_no_puppets();
    }
}

/// Waits until nothing is left of all clients, their guardians and everything below.
#[track_caller]
pub(crate) fn wait_nothing_left(limit: Duration) {
    if !reached_within(limit, || others().is_empty()) {
        let left = others();
        assert!(left.is_empty(), "left after {limit:?}:\n{}", list(&left));
    }
}

fn list(procs: &[Proc]) -> String {
    procs.iter().map(|proc| format!("  {proc}\n")).collect()
}

/// The shepherd of a living child.
#[track_caller]
pub(crate) fn shepherd_of(child: u32) -> u32 {
    Proc::get(child).unwrap_or_else(|| panic!("child {child} is gone")).ppid
}

/// The guardian above the shepherd of a living child.
#[track_caller]
pub(crate) fn guardian_of(child: u32) -> u32 {
    let shepherd = shepherd_of(child);
    Proc::get(shepherd).unwrap_or_else(|| panic!("shepherd {shepherd} is gone")).ppid
}

/// A signal to a process that must be there.
#[track_caller]
pub(crate) fn signal(pid: u32, signal: i32) {
    sys::kill(pid as i32, signal)
        .unwrap_or_else(|error| panic!("signal {signal} to {pid}: {error}"));
}

/// Waits until the process is in this state.
#[track_caller]
pub(crate) fn wait_state(pid: u32, state: char) {
    wait_until(&format!("{pid} in state {state}"), PATIENCE, || {
        Proc::get(pid).is_some_and(|proc| proc.state == state)
    });
}

/// Waits until the process is gone, reaped.
#[track_caller]
pub(crate) fn wait_gone(pid: u32, limit: Duration) {
    wait_until(&format!("the end of {pid}"), limit, || Proc::get(pid).is_none());
}

/// The descriptors that this process has open.
pub(crate) fn fd_count() -> usize {
    procs::descriptors(process::id()).len()
}

/// Waits until as many descriptors are open as before: the watcher may still be closing some.
#[track_caller]
pub(crate) fn wait_fd_count(count: usize) {
    // The lane of the last command may have been among them, and gone since.
    let fewer = lacks(Lack::Reuse);
    let as_before = |now: usize| now == count || fewer && now < count;
    if !reached_within(PATIENCE, || as_before(fd_count())) {
        panic!("there were {count} descriptors, now: {:#?}", procs::descriptors(process::id()));
    }
}

/// An outside process that must be hit by nothing, and does not count as one of the others.
pub(crate) struct Canary(canary::Canary);

impl Canary {
    pub(crate) fn new() -> Canary {
        let canary = canary::Canary::new(Path::new(PUPPET), Path::new(""));
        EXEMPT.lock().expect("exempt").push(canary.pid());
        Canary(canary)
    }
}

impl Deref for Canary {
    type Target = canary::Canary;

    fn deref(&self) -> &canary::Canary {
        &self.0
    }
}

impl DerefMut for Canary {
    fn deref_mut(&mut self) -> &mut canary::Canary {
        &mut self.0
    }
}

/// Numbers that look random and can be had again by `NETRUNNER_TEST_SEED`.
pub(crate) fn random() -> Random {
    Random::seeded(seed())
}

/// The seed of this run, which is printed.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("NETRUNNER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("NETRUNNER_TEST_SEED is a number"),
        Err(_unset) => std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64,
    };
    println!("NETRUNNER_TEST_SEED={seed}");
    seed
}

/// How often a test with random numbers is done, unless `NETRUNNER_TEST_ROUNDS` says otherwise.
pub(crate) fn rounds(usual: u64) -> u64 {
    match std::env::var("NETRUNNER_TEST_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("NETRUNNER_TEST_ROUNDS is a number"),
        Err(_unset) => usual,
    }
}
