//! What an arena does without is really missing there, and NetRunner has taken the other way.
//!
//! Every other test runs as it is in such an arena (`cargo xtask test --without pidfd`), or says
//! what weaker thing it asserts there. These prove that the run means something.

use netrunner_tests::lacks::{self, Lack};

use crate::harness::*;

/// The processes that were refused this call, by name.
fn refused(call: &str) -> Vec<String> {
    let refusals = lacks::refusals();
    let refused = refusals.iter().filter_map(|line| line.strip_prefix(call)?.strip_prefix(' '));
    refused.map(str::to_owned).collect()
}

/// One command of each kind, with a descendant that has to be swept.
fn run_some() {
    let output = puppet("daemon [ setsid lock below sleep forever ] await below write done")
        .output()
        .expect("run a puppet");
    assert_eq!(output.stdout, b"done");
    lock("below").assert_free();
    let mut child = puppet("lock up sleep forever").spawn().expect("spawn a puppet");
    lock("up").wait_held();
    child.stop().expect("stop it");
    lock("up").assert_free();
}

/// This call was refused to `process`, and the commands ran nevertheless; or it was never refused.
#[track_caller]
fn assert_taken(lack: Lack, call: &str, process: &str) {
    let refused = refused(call);
    if PORTABLE {
        // It does not even try.
        let ours = refused.iter().filter(|name| name.starts_with("nr-"));
        assert_eq!(ours.count(), 0, "{:?}", lacks::refusals());
    } else if lacks(lack) {
        assert!(refused.iter().any(|name| name == process), "{:?}", lacks::refusals());
    } else {
        assert!(refused.is_empty(), "{:?}", lacks::refusals());
    }
}

#[test]
fn the_program_runs_from_a_file_without_memfd() {
    arena(|| {
        run_some();
        let client = std::fs::read_to_string("/proc/self/comm").expect("the own name");
        let thread = std::fs::read_to_string("/proc/thread-self/comm").expect("the own name");
        let refused = refused("memfd_create");
        assert_eq!(!refused.is_empty(), lacks(Lack::Memfd) && !PORTABLE);
        assert!(refused.iter().all(|name| *name == client.trim() || *name == thread.trim()));
        let mut child = puppet("lock up sleep forever").spawn().expect("spawn a puppet");
        let program = std::fs::read_link(format!("/proc/{}/exe", guardian_of(child.id())));
        let program = program.expect("the guardian's program").display().to_string();
        assert_eq!(program.starts_with("/memfd:"), !lacks(Lack::Memfd), "{program}");
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
    });
}

#[test]
fn shepherds_do_without_pidfds() {
    arena(|| {
        run_some();
        assert_taken(Lack::Pidfd, "pidfd_open", "nr-shepherd");
    });
}

#[test]
fn a_child_is_forked_where_it_cannot_be_cloned_on_shared_memory() {
    arena(|| {
        run_some();
        if !lacks(Lack::Pidfd) {
            assert_taken(Lack::Clone, "clone", "nr-shepherd");
        }
    });
}

#[test]
fn no_number_that_is_passed_hides_a_failed_exec() {
    arena(|| {
        // A forked child reports over a pipe, which must not stand where a passed descriptor goes.
        for number in 3..40 {
            let mut command = puppet("exit 3");
            command.fd(number, std::fs::File::open("/dev/null").expect("open a file"));
            assert_eq!(command.spawn().expect("spawn").wait().expect("wait").code(), Some(3));
            let mut command = netrunner_sync::Command::new("/no/such/program");
            command.fd(number, std::fs::File::open("/dev/null").expect("open a file"));
            let error = command.spawn().expect_err("there is none");
            assert!(error.is_not_found(), "{number}: {error}");
        }
    });
}

#[test]
fn descriptors_are_closed_one_by_one_without_close_range() {
    arena(|| {
        run_some();
        assert_taken(Lack::CloseRange, "close_range", "nr-shepherd");
    });
}

#[test]
fn descendants_are_found_without_children_files() {
    arena(|| {
        run_some();
        assert_taken(Lack::Children, "openat", "nr-shepherd");
    });
}

#[test]
fn long_outputs_come_whole_through_pipes_that_may_not_grow() {
    arena(|| {
        let mut command = netrunner_sync::Command::new("head");
        command.args(["-c", "4000000", "/dev/zero"]);
        assert_eq!(command.output().expect("run head").stdout, vec![0; 4_000_000]);
        assert_eq!(!refused("fcntl").is_empty(), lacks(Lack::PipeSize));
    });
}

#[test]
fn capabilities_tell_what_is_lacking() {
    arena(|| {
        let here = netrunner_sync::capabilities();
        let clone3_is_refused = lacks(Lack::Clone) || lacks(Lack::Pidfd);
        for (refused, capability) in [
            (lacks(Lack::Memfd), &here.memfd),
            (lacks(Lack::Pidfd), &here.pidfd),
            (lacks(Lack::CloseRange), &here.close_range),
            (lacks(Lack::Children), &here.children_files),
            (clone3_is_refused, &here.clone3),
            (clone3_is_refused, &here.clone_into_cgroup),
        ] {
            if refused {
                assert!(!capability.is_available(), "{here:#?}");
            }
        }
        if !lacks(Lack::Memfd) && !lacks(Lack::Pidfd) {
            assert!(here.memfd.is_available() && here.pidfd.is_available(), "{here:#?}");
        }
        assert!(here.is_sufficient(), "{here:#?}");
    });
}
