//! The portable form: what it promises in another way than the form for Linux does, and what it does not promise
//! (`docs/PORTABLE.md`). Everything else about it is what the other tests say.

use netrunner_sync::{Command, Containment, Leftovers};

use crate::harness::*;

#[test]
fn leftovers_in_the_group_end_before_wait_returns_and_are_one_entry() {
    arena(|| {
        for script in ["exit 0", "ignore TERM exit 0"] {
            let script =
                format!("fork [ ignore TERM lock below sleep forever ] await below {script}");
            let output = puppet(&script).output().expect("output");
            lock("below").assert_free();
            let named = output.report.leftovers;
            assert_eq!(named.len(), 1, "{named:?}");
            std::fs::remove_file("below").expect("remove the lock");
        }
    });
}

#[test]
fn a_group_that_is_kept_lives_on() {
    arena(|| {
        let mut command = puppet("fork [ lock below sleep forever ] await below exit 0");
        let report = command.leftovers(Leftovers::Keep).output().expect("output").report;
        let below = lock("below").wait_held();
        assert_eq!(report.leftovers.len(), 1);
        signal(below, libc::SIGKILL);
        lock("below").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn a_killed_shepherd_takes_its_childs_group_along() {
    arena(|| {
        let script =
            "ignore TERM lock leader fork [ ignore TERM lock below sleep forever ] sleep forever";
        let mut child = puppet(script).spawn().expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert!(child.wait().expect_err("lost").is_shepherd_lost());
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
    });
}

/// Not promised, and stated here so that the table in the docs stays true.
#[test]
fn what_leaves_the_group_is_not_found() {
    arena(|| {
        let report =
            Command::new("setsid").args(["--fork", "sleep", "1000"]).output().expect("run").report;
        assert!(report.leftovers.is_empty(), "{report:?}");
        let gone = |it: &netrunner_tests::procs::Proc| it.comm == "sleep" || it.comm == "setsid";
        let left: Vec<_> = others().into_iter().filter(gone).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        signal(left[0].pid, libc::SIGKILL);
    });
}

#[test]
fn stronger_containment_is_refused_and_not_pretended() {
    arena(|| {
        for wanted in [Containment::PidNamespace, Containment::Cgroup] {
            let error = puppet("exit 0").contain(wanted).output().expect_err("there is none");
            assert!(error.is_uncontained(), "{error}");
            let report =
                puppet("exit 0").contain_if_available(wanted).output().expect("run").report;
            assert_eq!(report.containment, Containment::Tree);
        }
        assert!(netrunner_sync::capabilities().is_sufficient());
    });
}
