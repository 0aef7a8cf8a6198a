//! A privilege that the client dropped between two spawns does not come back through a guardian or a
//! shepherd from before.

use crate::harness::*;
use netrunner_tests::procs::Proc;

#[test]
fn the_next_command_has_the_dropped_rights() {
    arena(|| {
        if !is_root() {
            return;
        }
        let out =
            run_client("output [ ids ] become 65534 output [ ids ] churn 5 [ ids ] output [ ids ]");
        let uids: Vec<&str> = out.lines().filter(|line| line.starts_with("Uid:")).collect();
        assert_eq!(
            uids,
            ["Uid: 0 0 0 0", "Uid: 65534 65534 65534 65534", "Uid: 65534 65534 65534 65534"],
            "{out}"
        );
        let capabilities: Vec<&str> =
            out.lines().filter(|line| line.starts_with("CapEff:")).collect();
        assert_eq!(capabilities[1], "CapEff: 0000000000000000", "{out}");
        assert_eq!(capabilities[2], "CapEff: 0000000000000000", "{out}");
        let groups: Vec<&str> = out.lines().filter(|line| line.starts_with("Groups:")).collect();
        assert_eq!(groups[1], "Groups:", "{out}");
    });
}

#[test]
fn nothing_of_the_old_guardian_stays_for_the_new_rights() {
    arena(|| {
        if !is_root() {
            return;
        }
        let client = client(
            "spawn [ lock root sleep forever ] pid pid await stop stop become 65534 output-to out [ ids ] \
             touch dropped await end",
        );
        let child = wait_pid_file("pid");
        lock("root").wait_held();
        let guardian = guardian_of(child);
        std::fs::write("stop", "").expect("go on");
        wait_file("dropped");
        wait_gone(guardian, GRACE_AND_2S);
        for proc in others() {
            assert_ne!(proc.ppid, guardian, "{proc}");
        }
        std::fs::write("end", "").expect("end");
        client.finish();
    });
}

#[test]
fn running_commands_go_on_under_their_old_guardian() {
    arena(|| {
        if !is_root() {
            return;
        }
        let client = client(
            "spawn [ lock old await go daemon [ setsid lock below sleep forever ] await below exit 7 ] pid pid \
             await drop become 65534 output-to out [ ids ] spawn [ lock new sleep forever ] touch dropped \
             stop wait 7 touch done await end",
        );
        let old = lock("old").wait_held();
        let guardian = guardian_of(old);
        std::fs::write("drop", "").expect("go on");
        wait_file("dropped");
        lock("old").assert_held();
        assert_eq!(guardian_of(old), guardian);
        std::fs::write("go", "").expect("let it end");
        wait_file("done");
        lock("below").assert_free();
        std::fs::write("end", "").expect("end");
        client.finish();
    });
}

#[test]
fn a_client_that_gave_up_root_dies_with_all_that_it_started() {
    arena(|| {
        if !is_root() {
            return;
        }
        // Root's child first, then one with less: the client may not signal the first any more, but
        // its shepherd can.
        let client = client(
            "quiet spawn [ ignore TERM lock old sleep forever ] become 65534 \
             spawn [ lock new daemon [ setsid ignore TERM lock below sleep forever ] sleep forever ] sleep forever",
        );
        for name in ["old", "new", "below"] {
            lock(name).wait_held();
        }
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        for name in ["old", "new", "below"] {
            lock(name).assert_free();
        }
    });
}

#[test]
fn a_client_without_new_privileges_hands_that_on() {
    arena(|| {
        let out = run_client("output [ ids ] no-new-privs output [ ids ]");
        let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("NoNewPrivs:")).collect();
        assert_eq!(lines, ["NoNewPrivs: 0", "NoNewPrivs: 1"], "{out}");
    });
}

#[test]
fn refresh_takes_the_umask_of_now() {
    arena(|| {
        let out = run_client("umask 18 output [ umask ] umask 63 refresh output [ umask ]");
        assert_eq!(out, "Umask: 0022\nUmask: 0077\n");
    });
}

#[test]
fn refresh_lets_running_commands_go_on() {
    arena(|| {
        let client = client(
            "spawn [ lock old await go exit 7 ] refresh output [ print x ] touch ready wait 7",
        );
        let old = lock("old").wait_held();
        wait_file("ready");
        assert!(Proc::get(guardian_of(old)).is_some());
        std::fs::write("go", "").expect("let it end");
        assert_eq!(client.finish(), "x\n");
    });
}

#[test]
fn a_command_can_run_with_less() {
    arena(|| {
        use netrunner_sync::CommandExt as _;
        if !is_root() {
            return;
        }
        let output = puppet("ids").uid(65534).gid(65533).no_new_privs(true).run().expect("run");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("Uid: 65534 65534 65534 65534"), "{text}");
        assert!(text.contains("Gid: 65533 65533 65533 65533"), "{text}");
        assert!(text.lines().any(|line| line == "Groups:"), "{text}");
        assert!(text.contains("CapEff: 0000000000000000"), "{text}");
        assert!(text.contains("NoNewPrivs: 1"), "{text}");
        let output = puppet("ids").uid(65534).gid(65533).groups(&[7, 8]).run().expect("run");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("Groups: 7 8"), "{text}");
    });
}

#[test]
fn a_command_of_another_user_dies_with_its_client_and_its_shepherd() {
    arena(|| {
        use netrunner_sync::CommandExt as _;
        if !is_root() {
            return;
        }
        // A change of user clears the death signal, so it must be armed after it.
        let mut child = puppet("ignore TERM lock leader sleep forever")
            .uid(65534)
            .gid(65534)
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert!(child.wait().expect_err("no status").is_shepherd_lost());
        lock("leader").wait_free(GRACE_AND_2S);
    });
}
