//! What runs out at any step of a spawn is an error that says so, leaks nothing, and when there is
//! enough again everything works again (P6, P9).

use std::collections::BTreeSet;

use netrunner_sync::{Error, Shepherds, Stdio};
use netrunner_tests::lacks::Lack;
use netrunner_tests::wait::{PATIENCE, wait_until};
use netrunner_tests::{procs, sys};

use crate::harness::*;

/// Each way to run a command.
const WAYS: [&str; 4] = ["output", "status", "spawn", "pipes"];

/// The kernel polls no more descriptors than are allowed (`poll(2)`), and our processes poll three.
pub(crate) const FEWEST: u64 = 3;

/// What an attempt came to, out of all that a client printed.
fn attempt(out: &str) -> Result<(), &str> {
    let told = out.lines().find(|line| *line == "ok" || line.starts_with("error "));
    match told.expect("the client told of its attempt") {
        "ok" => Ok(()),
        error => Err(error),
    }
}

/// The number at the end: of descriptors that are open when all is over.
fn open_at_the_end(out: &str) -> usize {
    out.lines().last().and_then(|line| line.parse().ok()).expect("a number")
}

/// Clients with fewer and fewer things missing, until one misses nothing. Returns the errors' texts.
#[track_caller]
fn until_it_works(errno: i32, script: impl Fn(u64) -> String) -> BTreeSet<String> {
    let usual = open_at_the_end(&run_client(&script(100)));
    let mut errors = BTreeSet::new();
    let mut worked = 0;
    for free in 0..100 {
        let out = run_client(&script(free));
        match attempt(&out) {
            Ok(()) => worked += 1,
            Err(error) => {
                assert!(error.starts_with(&format!("error {errno} ")), "{free}: {error}");
                assert!(error.contains(" failed to "), "{free}: {error}");
                errors.insert(error.split_once("failed to").expect("a step").1.to_owned());
                worked = 0;
            }
        }
        assert!(out.contains("again\n"), "with {free} it never worked again: {out}");
        // One less where the watcher had no room for its timer, which it can do without; and one more where
        // the lane of the last command is still to be closed.
        let most = usual + usize::from(lacks(Lack::Reuse));
        assert!(open_at_the_end(&out) <= most, "with {free} it leaks: {out}");
        // What works once may need luck; what works so often does not.
        if worked == 8 {
            return errors;
        }
    }
    panic!("it never works");
}

#[test]
fn a_client_out_of_descriptors_gets_an_error_at_each_step_of_its_first_spawn() {
    arena(|| {
        for way in WAYS {
            let errors = until_it_works(libc::EMFILE, |free| {
                format!(
                    "fill-fds {free} attempt {way} [ print x ] free-fds output [ print again ] check-zombies count-fds"
                )
            });
            assert!(errors.len() >= 3, "{errors:#?}");
        }
    });
}

#[test]
fn a_client_out_of_descriptors_gets_an_error_at_each_step_of_a_later_spawn() {
    arena(|| {
        for way in WAYS {
            // With an idle shepherd, and with all of them busy.
            for (before, after) in [("output [ exit 0 ]", ""), ("spawn [ sleep forever ]", "stop")]
            {
                let errors = until_it_works(libc::EMFILE, |free| {
                    format!(
                        "{before} fill-fds {free} attempt {way} [ print x ] free-fds \
                         output [ print again ] {after} output [ print again ] check-zombies count-fds"
                    )
                });
                // Inherited streams and an idle shepherd need nothing at all.
                let inherits = after.is_empty() && !matches!(way, "output" | "pipes");
                let needs = !inherits || lacks(Lack::Reuse);
                assert_eq!(!errors.is_empty(), needs, "{way} after {before}: {errors:#?}");
            }
        }
    });
}

#[test]
fn a_user_out_of_processes_gets_an_error_at_each_step_of_a_spawn() {
    arena(|| {
        if !is_root() {
            return;
        }
        // A user that nobody else is, so that nobody else's processes count.
        let user = 60_000 + std::process::id() % 5_000;
        for way in WAYS {
            let errors = until_it_works(libc::EAGAIN, |free| {
                format!(
                    "become {user} ballast 10 limit nproc {} attempt {way} [ print x ] \
                     no-ballast output [ print again ] check-zombies count-fds",
                    11 + free
                )
            });
            // The starter's place is free again for guardian, shepherd and child, or not yet: which of
            // them fail is a matter of instants. `faults` has each for itself.
            assert!(errors.len() >= 2, "{errors:#?}");
            assert!(errors.iter().any(|text| text.contains("watcher thread")), "{errors:#?}");
        }
    });
}

/// Runs `print x` in one of the ways, with some descriptors beside the streams.
fn run(way: &str, passed: usize) -> Result<(), Error> {
    let mut command = puppet("print x");
    for number in 0..passed {
        command.fd(3 + number as i32, std::fs::File::open("/dev/null").expect("open"));
    }
    command.stdout(Stdio::null());
    let status = match way {
        "output" => command.output()?.status,
        "status" => command.status()?,
        "spawn" => command.spawn()?.wait()?,
        _ => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = command.spawn()?.wait_with_output()?;
            assert_eq!(output.stdout, b"x\n");
            output.status
        }
    };
    assert!(status.success());
    Ok(())
}

#[test]
fn a_shepherd_out_of_descriptors_refuses_the_command_and_serves_the_next() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        let shepherd = shepherd_of(child.id());
        child.stop().expect("stop");
        let before = procs::descriptors(shepherd);
        let most = before.iter().map(|(number, _)| *number as u64).max().expect("some") + 60;
        for way in WAYS {
            for passed in [0, 20] {
                let mut errors = BTreeSet::new();
                for limit in FEWEST..most {
                    sys::limit_descriptors_of(shepherd, limit).expect("take them away");
                    if let Err(error) = run(way, passed) {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error:?}");
                        assert!(!error.is_exec() && error.output().is_none(), "{error:?}");
                        errors.insert(error.to_string());
                    }
                    // The same shepherd takes the next command.
                    sys::limit_descriptors_of(shepherd, 1_000).expect("give them back");
                    run(way, passed).expect("with enough again");
                }
                let told = |step: &str| errors.iter().any(|text| text.contains(step));
                assert!(told("` to its shepherd: "), "{errors:#?}");
                // Of so many some stand where others are to go, and have to move away first.
                assert!(passed == 0 || told("pass the descriptors of `"), "{errors:#?}");
            }
        }
        let numbers = |list: &[(i32, String)]| list.iter().map(|(n, _)| *n).collect::<Vec<_>>();
        assert_eq!(numbers(&procs::descriptors(shepherd)), numbers(&before), "it leaks");
        assert_no_puppets();
    });
}

/// The refused request may not have been read as far as its environment, so that the shepherd has an
/// older one.
#[test]
fn a_command_after_a_refused_one_has_its_own_environment() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        let output = |value: &str| puppet("env").env("NETRUNNER_VALUE", value).output();
        output("old").expect("output");
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        let shepherd = shepherd_of(child.id());
        child.stop().expect("stop");
        let mut refused = 0;
        for limit in FEWEST..FEWEST + 20 {
            sys::limit_descriptors_of(shepherd, limit).expect("take them away");
            let value = format!("new-{limit}");
            refused += u32::from(output(&value).is_err());
            sys::limit_descriptors_of(shepherd, 1_000).expect("give them back");
            let seen = output(&value).expect("with enough again").stdout;
            let seen = String::from_utf8(seen).expect("UTF-8");
            assert!(seen.contains(&format!("NETRUNNER_VALUE={value}\n")), "{seen}");
            assert_eq!(crate::by_hand::shepherds(), [shepherd], "another one");
        }
        assert!(refused > 0, "nothing was refused");
    });
}

#[test]
fn a_guardian_out_of_descriptors_is_replaced_or_told_of() {
    arena(|| {
        Shepherds::max_idle(0);
        let guardian = || {
            let mut child = puppet("sleep forever").spawn().expect("spawn");
            let guardian = guardian_of(child.id());
            child.stop().expect("stop");
            guardian
        };
        let open = procs::descriptors(guardian());
        let most = open.iter().map(|(number, _)| *number as u64).max().expect("some") + 8;
        for way in WAYS {
            for limit in FEWEST..most {
                let guardian = guardian();
                sys::limit_descriptors_of(guardian, limit).expect("take them away");
                if let Err(error) = run(way, 0) {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error:?}");
                }
                // It may be gone.
                let _ = sys::limit_descriptors_of(guardian, 1_000);
                run(way, 0).expect("with enough again, or by another guardian");
            }
        }
        let current = guardian();
        wait_until("the end of the guardians before", PATIENCE, || {
            let guardians = others().into_iter().filter(|proc| proc.comm == "nr-guardian");
            guardians.map(|proc| proc.pid).eq([current])
        });
    });
}

#[test]
fn a_shepherd_that_can_list_nothing_does_not_claim_that_nothing_is_left() {
    arena(|| {
        let mut child = puppet("await go daemon [ setsid lock below sleep forever ] await below")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("spawn");
        let shepherd = shepherd_of(child.id());
        // It has no room for the files in which it would look for descendants.
        sys::limit_descriptors_of(shepherd, FEWEST).expect("take them away");
        std::fs::write("go", "").expect("go on");
        let error = child.wait().expect_err("something is left");
        assert!(error.is_unkillable(), "{error:?}");
        // It goes on trying after the word.
        sys::limit_descriptors_of(shepherd, 1_000).expect("give them back");
        lock("below").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn a_guardian_that_can_list_nothing_stays_until_it_has_killed_what_fell_to_it() {
    arena(|| {
        let client = client(
            "quiet spawn [ daemon [ setsid lock below sleep forever ] lock leader sleep forever ] \
             sleep forever",
        );
        let child = lock("leader").wait_held();
        lock("below").wait_held();
        let (shepherd, guardian) = (shepherd_of(child), guardian_of(child));
        sys::limit_descriptors_of(guardian, FEWEST).expect("take them away");
        signal(shepherd, libc::SIGKILL);
        client.kill();
        wait_gone(shepherd, GRACE_AND_2S);
        // Long enough for a guardian that takes no list for an empty one.
        std::thread::sleep(GRACE);
        sys::limit_descriptors_of(guardian, 1_000).expect("it is still there");
        lock("below").wait_free(GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    });
}
