//! P10, the client's side: whatever a shepherds' program says or does not say, each way to use a
//! command ends in time and with a typed error, hits nobody, and leaves nothing in the client.

use std::time::{Duration, Instant};

use netrunner_sync::{Error, ExitStatus, Shepherds, Stdio};
use netrunner_tests::procs::{self, Proc};
use netrunner_tests::wait::{PATIENCE, scaled, wait_until};

use crate::by_hand::{arena_with_pidfds, real_shepherd};
use crate::harness::*;

/// What a use of a command comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// The command is said not to have been started.
    NotStarted,
    /// The shepherd is lost.
    Lost,
    /// An error of either kind.
    Error,
    /// Whatever: the lie was a good one, or the handle was only dropped.
    Anything,
}

/// The longest that one use may take: two guardians that are silent for ten seconds each.
const LIMIT: Duration = Duration::from_secs(25);

type Use = fn() -> Result<(), Error>;

/// A use that has a status.
fn ok(status: ExitStatus) {
    // No number of it may be made up: it is one or the other.
    assert!(
        status.code().is_some() != std::os::unix::process::ExitStatusExt::signal(&status).is_some()
    );
}

const OUTPUT: Use = || puppet("exit 0").output().map(|output| ok(output.status));
const STATUS: Use = || puppet("exit 0").status().map(ok);
const FED: Use = || puppet("cat").input(vec![0; 1 << 20]).output().map(|it| ok(it.status));
const WAIT: Use = || puppet("exit 0").spawn()?.wait().map(ok);
const STOP: Use = || puppet("sleep forever").spawn()?.stop().map(ok);
const DROP: Use = || puppet("sleep forever").stdout(Stdio::piped()).spawn().map(drop);
const KILL: Use = || {
    let mut child = puppet("sleep forever").spawn()?;
    child.kill()?;
    child.wait().map(ok)
};
/// Each way to wait says the same; a signal to it is never more than an error.
const HANDLE: Use = || {
    let child = puppet("exit 0").stdin(Stdio::piped()).spawn()?;
    let _ = child.signal(netrunner_sync::Signal::TERM);
    let handles = [child.handle(), child.handle()];
    let ends = handles.map(|handle| handle.wait().map_err(|error| error.to_string()));
    assert_eq!(ends[0], ends[1]);
    child.wait_with_output().map(|output| ok(output.status))
};

/// Those that wait for the start, and those that only wait for the end.
const SPAWNING: [Use; 5] = [WAIT, STOP, DROP, KILL, HANDLE];
const ENDING: [Use; 3] = [OUTPUT, STATUS, FED];
/// Those that are told what comes after the start.
const WAITING: [Use; 4] = [WAIT, STOP, KILL, HANDLE];
/// What ends although the shepherd is alive and silent and the command seems to run.
const URGENT: [Use; 3] = [STOP, DROP, KILL];

fn uses(some: &[&[Use]]) -> Vec<Use> {
    some.concat()
}

fn serve_well() {
    Shepherds::binary(real_shepherd()).expect("the real program");
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("threads").count()
}

/// A client that has met good shepherds, and what it then has.
struct Meeting {
    canary: Canary,
    descriptors: usize,
    threads: usize,
}

impl Meeting {
    /// From here on the script serves.
    fn with(script: &str) -> Meeting {
        let canary = Canary::new();
        std::fs::write("canary-pid", canary.pid().to_string()).expect("write");
        serve_well();
        puppet("exit 0").output().expect("a good shepherd");
        serve_well();
        // And the watcher has let go of all of them.
        let mine = |target: &str| target.starts_with("socket:") || target.contains("pidfd");
        wait_until("the end of the good shepherds", PATIENCE, || {
            let descriptors = procs::descriptors(std::process::id());
            others().is_empty() && !descriptors.iter().any(|(_, target)| mine(target))
        });
        let (descriptors, threads) = (fd_count(), threads());
        std::fs::write("rogue", script).expect("write the script");
        Shepherds::binary(ROGUE).expect("the rogue");
        Meeting { canary, descriptors, threads }
    }

    /// Nothing is left of it, nobody was hurt, and the next command runs as it should.
    fn over(mut self) {
        self.canary.assert_unharmed();
        serve_well();
        let output = puppet("print good").output().expect("a good shepherd again");
        assert_eq!(output.stdout, b"good\n");
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        child.stop().expect("stop");
        serve_well();
        // It is not ours to end, and some of it only waits for our end.
        let rogues = || others().into_iter().filter(|it| it.comm == "rogue").collect::<Vec<Proc>>();
        wait_until("the end of the rogues", PATIENCE, || {
            for rogue in rogues() {
                let _ = netrunner_tests::sys::kill(rogue.pid as i32, libc::SIGKILL);
            }
            others().is_empty()
        });
        let zombies = || zombies_of(std::process::id());
        wait_until("the last zombie", PATIENCE, || zombies().is_empty());
        wait_fd_count(self.descriptors);
        assert_eq!(threads(), self.threads);
        self.canary.assert_unharmed();
    }
}

/// Of these the end, or that nothing is read, is seen by nothing else.
const SEEN_BY_PIDFD: [&str; 2] = [
    "take leave bear hello me me silent",
    "take leave bear hello me me request cut 7 gone mine lane exit 0",
];

/// Meets a rogue in each of these ways at once.
fn meet(script: &str, uses: &[Use], comes: Comes) {
    if PORTABLE && (script.contains("bare hello c") || SEEN_BY_PIDFD.contains(&script)) {
        return skip("the portable form does not promise it");
    }
    // Where there are no pidfds an honest hello comes without one.
    let honest = PORTABLE && !script.contains("bare hello");
    let bare = script.replace("hello me me", "bare hello me");
    let meeting = Meeting::with(if honest { &bare } else { script });
    std::thread::scope(|scope| {
        for one in uses {
            scope.spawn(move || meet_once(*one, comes));
        }
    });
    meeting.over();
}

fn meet_once(one: Use, comes: Comes) {
    let began = Instant::now();
    let end = one();
    let took = began.elapsed();
    assert!(took < scaled(LIMIT), "it took {took:?}: {end:?}");
    match (&end, comes) {
        (_, Comes::Anything) => {}
        (Ok(()), _) => panic!("a rogue was taken at its word"),
        (Err(error), _) => {
            assert!(error.to_string().contains("puppet") || error.to_string().contains("rogue"));
            let right = match comes {
                Comes::NotStarted => !error.is_shepherd_lost(),
                Comes::Lost => error.is_shepherd_lost(),
                Comes::Error | Comes::Anything => true,
            };
            assert!(right && !error.is_exec(), "{error}");
        }
    }
}

/// One test for each script.
macro_rules! rogues {
    ($($name:ident: $script:literal, $uses:expr => $comes:expr;)*) => {
        $(#[test]
        fn $name() {
            arena_with_pidfds(|| meet($script, &$uses, $comes));
        })*
    };
}

rogues! {
    // The starter.
    a_program_that_exits_at_once: "exit 0", uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_program_that_fails: "exit 1", uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_program_of_another_version: "exit 71", uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_program_that_dies: "die", uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_program_that_never_reads: "silent", [WAIT] => Comes::NotStarted;
    a_program_that_reads_and_never_ends: "take silent", [OUTPUT] => Comes::NotStarted;

    // The guardian.
    a_guardian_that_ends_at_once: "take leave exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_guardian_that_never_reads: "take leave silent", [OUTPUT, WAIT, DROP] => Comes::NotStarted;
    a_guardian_that_speaks: "take leave guard-says 01220000000000 exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;

    // The first words.
    a_lane_that_is_closed: "take leave bear close exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_lane_that_is_closed_with_the_request_read: "take leave bear request exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_lane_without_a_word: "take leave bear silent", [OUTPUT, WAIT, DROP] => Comes::NotStarted;
    a_lane_that_is_closed_for_words: "take leave bear half-close silent",
        [OUTPUT, STATUS, WAIT, STOP] => Comes::NotStarted;
    a_hello_of_another_version: "take leave bear raw 0240010004000000010000ff silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_version_and_no_more: "take leave bear raw ff silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_header_with_a_length_beyond_all: "take leave bear raw 01400000ffffffff silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_header_of_no_kind: "take leave bear raw 01c8000000000000 silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_that_is_cut: "take leave bear cut 9 hello me me exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::NotStarted;
    a_hello_that_is_cut_and_then_silence: "take leave bear request cut 7 hello me me silent",
        [STATUS, WAIT] => Comes::NotStarted;
    noise: "take leave bear noise 5000 silent", uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_client_at_the_other_end: "take leave bear kill mine silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_client_of_guardians_at_the_other_end: "take leave bear order silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;

    // Who says hello.
    a_hello_by_no_process: "take leave bear hello zero me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_a_strangers_pidfd: "take leave bear hello me canary silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_in_a_strangers_name: "take leave bear hello canary canary silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_the_clients_pidfd: "take leave bear hello client client silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_a_file: "take leave bear hello me null silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_the_lane_itself: "take leave bear hello me lane silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_nothing: "take leave bear hello me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_two_descriptors: "take leave bear hello me me canary silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_with_seven_descriptors: "take leave bear hello me me null pipe null pipe null lane silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;

    // Where there are no pidfds: who takes part in the lane is known all the same.
    a_bare_hello_in_a_strangers_name: "take leave bear bare hello canary silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_bare_hello_in_the_clients_name: "take leave bear bare hello client silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_bare_hello_with_a_descriptor: "take leave bear bare hello me me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_bare_start_and_silence: "take leave bear bare hello me request child spawned mine child silent",
        URGENT => Comes::Anything;

    // After the hello.
    a_hello_and_the_end: "take leave bear hello me me exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::Error;
    a_hello_and_the_end_with_the_request_read: "take leave bear hello me me request exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_hello_and_silence: "take leave bear hello me me silent",
        [OUTPUT, WAIT, DROP] => Comes::NotStarted;
    two_hellos: "take leave bear hello me me hello me me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_flood_of_hellos: "take leave bear flood silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    an_end_before_the_hello: "take leave bear request ended mine me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    the_end_of_another_command: "take leave bear hello me me request ended other me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    the_start_of_another_command: "take leave bear hello me me request spawned other me silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    the_failure_of_another_command: "take leave bear hello me me request failed other silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    the_letting_go_of_another_command: "take leave bear hello me me request gone other silent",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;
    a_command_that_is_let_go_unasked: "take leave bear hello me me request gone mine silent",
        uses(&[&ENDING]) => Comes::Error;
    an_end_without_a_start: "take leave bear hello me me request ended mine me silent",
        uses(&[&SPAWNING]) => Comes::Lost;
    a_start_that_nobody_wanted_to_hear_of:
        "take leave bear hello me me request child spawned mine child silent",
        uses(&[&ENDING]) => Comes::Lost;

    an_end_whose_lane_is_in_our_own_hands:
        "take leave bear hello me me request cut 7 gone mine lane exit 0",
        uses(&[&SPAWNING, &ENDING]) => Comes::Lost;

    // Whose pidfd comes later.
    a_stranger_as_child:
        "take leave bear hello me me request child spawned mine child handle mine canary silent",
        WAITING => Comes::Lost;
    a_stranger_as_the_child_of_an_output: "take leave bear hello me me request handle mine canary silent",
        uses(&[&ENDING]) => Comes::Lost;
    the_shepherd_as_child:
        "take leave bear hello me me request child spawned mine child handle mine me silent",
        WAITING => Comes::Lost;
    the_client_as_child:
        "take leave bear hello me me request child spawned mine child handle mine client silent",
        WAITING => Comes::Lost;
    a_child_without_pidfd:
        "take leave bear hello me me request child spawned mine child handle mine silent",
        WAITING => Comes::Lost;
    a_child_with_a_pipe_for_a_pidfd:
        "take leave bear hello me me request child spawned mine child handle mine pipe silent",
        WAITING => Comes::Lost;
    a_child_with_a_pidfd_too_many:
        "take leave bear hello me me request child spawned mine child handle mine child canary silent",
        WAITING => Comes::Lost;
    a_child_with_a_strangers_number:
        "take leave bear hello me me request child spawned mine canary handle mine child silent",
        WAITING => Comes::Lost;
    a_stranger_as_child_and_the_end:
        "take leave bear hello me me request child spawned mine child handle mine canary exit 0",
        WAITING => Comes::Lost;
    a_good_child_and_silence:
        "take leave bear hello me me request child spawned mine child handle mine child silent",
        URGENT => Comes::Anything;
    a_child_of_another_command:
        "take leave bear hello me me request child spawned mine child handle other child silent",
        WAITING => Comes::Lost;
    a_start_in_a_strangers_name: "take leave bear hello me me request spawned mine canary silent",
        URGENT => Comes::Anything;
    a_start_with_a_pidfd: "take leave bear hello me me request child spawned mine child child silent",
        uses(&[&SPAWNING]) => Comes::Lost;

    // After the start.
    a_start_and_the_end: "take leave bear hello me me request child spawned mine child exit 0",
        WAITING => Comes::Lost;
    a_start_and_noise:
        "take leave bear hello me me request child spawned mine child noise 300 silent",
        WAITING => Comes::Lost;
    a_stop_by_no_signal:
        "take leave bear hello me me request child spawned mine child stopped mine 0 silent",
        WAITING => Comes::Lost;
    a_stop_of_another_command:
        "take leave bear hello me me request child spawned mine child stopped other 19 silent",
        WAITING => Comes::Lost;
    stops_without_end:
        "take leave bear hello me me request child spawned mine child continued mine stopped mine 19 stopped mine 19 silent",
        URGENT => Comes::Anything;
    two_starts:
        "take leave bear hello me me request child spawned mine child spawned mine child silent",
        WAITING => Comes::Lost;
    the_end_of_another_child:
        "take leave bear hello me me request child spawned mine child ended mine canary silent",
        WAITING => Comes::Lost;
    an_end_that_is_cut:
        "take leave bear hello me me request child spawned mine child cut 20 ended mine child exit 0",
        WAITING => Comes::Lost;
    an_end_that_is_cut_and_then_silence:
        "take leave bear hello me me request child spawned mine child cut 20 ended mine child silent",
        URGENT => Comes::Anything;
    a_start_and_silence: "take leave bear hello me me request child spawned mine child silent",
        URGENT => Comes::Anything;
    a_start_and_no_more_hearing:
        "take leave bear hello me me request child spawned mine child half-deaf silent",
        URGENT => Comes::Anything;
    a_start_and_no_more_words:
        "take leave bear hello me me request child spawned mine child half-close silent",
        WAITING => Comes::Lost;
    words_for_the_next_command:
        "take leave bear hello me me request ended mine me ended other me noise 99 silent",
        [OUTPUT, STATUS] => Comes::Anything;
}

/// A command that seems to run, or to be about to, under a silent shepherd ends by its timeout.
#[test]
fn a_timeout_holds_without_the_shepherd() {
    arena_with_pidfds(|| {
        let meeting =
            Meeting::with("take leave bear hello me me request child spawned mine child silent");
        meet_once(|| puppet("exit 0").timeout(GRACE).spawn()?.wait().map(ok), Comes::Lost);
        meeting.over();
    });
}

#[test]
fn a_timeout_holds_without_a_word_of_the_start() {
    arena_with_pidfds(|| {
        let meeting = Meeting::with("take leave bear hello me me request silent");
        let uses: [Use; 3] = [
            || puppet("exit 0").timeout(GRACE).spawn().map(drop),
            || puppet("exit 0").timeout(GRACE).output().map(drop),
            || puppet("exit 0").timeout(GRACE).status().map(drop),
        ];
        std::thread::scope(|scope| {
            for one in uses {
                scope.spawn(move || meet_once(one, Comes::Error));
            }
        });
        meeting.over();
    });
}

/// A child that takes its time before its exec is a process with a pidfd, and may still turn out to be no program.
#[test]
fn a_failure_after_the_childs_pidfd_is_one_of_the_spawn() {
    arena_with_pidfds(|| {
        if PORTABLE {
            return skip("the portable form has no pidfds");
        }
        let script =
            "take leave bear hello me me request child handle mine child heard failed mine silent";
        let uses: [Use; 3] = [DROP, OUTPUT, STATUS];
        for one in uses {
            let meeting = Meeting::with(script);
            assert!(one().expect_err("no program").is_exec());
            meeting.over();
        }
    });
}

/// The stranger may be a child of the client: then it is the client's to reap, and nobody else's.
#[test]
fn a_child_of_the_clients_own_is_neither_killed_nor_reaped() {
    arena_with_pidfds(|| {
        let mut own = std_puppet("read-line exit 7")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("own");
        std::fs::write("rogue", "take leave bear hello me canary silent").expect("write");
        std::fs::write("canary-pid", own.id().to_string()).expect("write");
        Shepherds::binary(ROGUE).expect("the rogue");
        for one in [OUTPUT, WAIT, STOP] {
            meet_once(one, Comes::Lost);
        }
        drop(own.stdin.take());
        assert_eq!(own.wait().expect("it is ours").code(), Some(7));
        serve_well();
    });
}

#[test]
fn random_words_never_hang_panic_or_hurt() {
    arena_with_pidfds(|| {
        let seed = seed();
        let meeting = Meeting::with(&format!("take leave bear random {seed}"));
        let all = uses(&[&SPAWNING, &ENDING]);
        for round in 0..rounds(160) {
            meet_once(all[(round % all.len() as u64) as usize], Comes::Anything);
        }
        assert!(procs::count_up("rogue-count") > 100, "the rogues were not even asked");
        meeting.over();
    });
}
