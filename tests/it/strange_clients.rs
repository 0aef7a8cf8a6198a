//! Clients as they come: that reap what is not theirs, ignore or block SIGCHLD, have lost their
//! standard streams or hold thousands of descriptors. All promises hold for them (P1, P5, P6).

use crate::harness::*;

/// What every client must be able to do, whatever it did to itself before.
const WORK: &str = "output-to out [ print works ] \
    spawn [ exit 3 ] wait 3 spawn [ die TERM ] wait-signal TERM \
    spawn [ lock stopped fork [ setsid lock below sleep forever ] sleep forever ] await stopped await below stop \
    spawn [ lock killed sleep forever ] await killed kill \
    churn 20 [ print x ] churn-spawn 20 [ exit 0 ] \
    threads 4 [ churn 10 [ print x ] ] \
    spawn [ lock dropped sleep forever ] await dropped drop \
    spawn [ lock last daemon [ setsid ignore TERM lock last-below sleep forever ] sleep forever ] \
    await last await last-below touch worked await end";

fn works_and_dies(before: &str) {
    let client = client(&format!("quiet {before} {WORK}"));
    wait_file("worked");
    assert_eq!(std::fs::read_to_string("out").expect("out"), "works\n");
    lock("stopped").assert_free();
    lock("below").assert_free();
    lock("killed").assert_free();
    lock("dropped").wait_free(GRACE_AND_2S);
    lock("last").assert_held();
    assert!(zombies_of(client.pid()).is_empty(), "{:?}", zombies_of(client.pid()));
    client.kill();
    wait_nothing_left(GRACE_AND_2S);
    lock("last").assert_free();
    lock("last-below").assert_free();
}

#[test]
fn a_client_as_any_other() {
    arena(|| works_and_dies(""));
}

#[test]
fn a_client_that_reaps_everything_in_a_loop() {
    arena(|| works_and_dies("reap-loop"));
}

#[test]
fn a_client_that_ignores_sigchld() {
    arena(|| works_and_dies("ignore CHLD"));
}

#[test]
fn a_client_that_blocks_sigchld() {
    arena(|| works_and_dies("block CHLD"));
}

#[test]
fn a_client_that_blocks_every_signal() {
    arena(|| {
        works_and_dies("block CHLD block TERM block INT block HUP block PIPE block USR1 block CONT")
    });
}

#[test]
fn a_client_that_takes_sigpipe_by_default() {
    arena(|| works_and_dies("default PIPE"));
}

#[test]
fn a_client_without_stdin() {
    arena(|| works_and_dies("close 0"));
}

#[test]
fn a_client_without_stdout() {
    arena(|| works_and_dies("close 1"));
}

#[test]
fn a_client_without_stderr() {
    arena(|| works_and_dies("close 2"));
}

#[test]
fn a_client_without_any_standard_stream() {
    arena(|| works_and_dies("close 0 close 1 close 2"));
}

#[test]
fn a_client_without_standard_streams_that_lets_its_commands_inherit_them() {
    arena(|| {
        // Not quiet: the children get what the client does not have.
        let mut client = client(
            "close 0 close 1 close 2 output-to out [ fds ] spawn [ exit 3 ] wait 3 \
             spawn [ lock leader print nowhere exit 4 ] wait 4 touch done",
        );
        assert!(client.end().success(), "{:?}", std::fs::read_to_string("client-failed"));
        let fds = std::fs::read_to_string("out").expect("out");
        let numbers: Vec<&str> = fds.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{fds}");
    });
}

#[test]
fn a_client_that_loses_its_standard_streams_between_two_commands() {
    arena(|| {
        let mut client = client(
            "output-to first [ print first ] close 0 close 1 close 2 output-to second [ print second ] \
             churn 20 [ print x ] threads 4 [ churn 5 [ print x ] ]",
        );
        assert!(client.end().success(), "{:?}", std::fs::read_to_string("client-failed"));
        assert_eq!(std::fs::read_to_string("second").expect("second"), "second\n");
    });
}

#[test]
fn a_client_that_holds_ten_thousand_descriptors() {
    arena(|| works_and_dies("open-many 10000"));
}

#[test]
fn a_client_that_opens_ten_thousand_descriptors_between_two_commands() {
    arena(|| {
        let out = run_client(
            "output [ fds ] open-many 10000 output [ fds ] remember-fds churn 50 [ fds ] check-fds",
        );
        let numbers: Vec<&str> = out.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2", "0", "1", "2"], "{out}");
    });
}

#[test]
fn a_client_in_a_group_of_its_own_that_is_a_subreaper() {
    arena(|| works_and_dies("group subreaper"));
}

#[test]
fn a_client_that_may_gain_no_privileges() {
    arena(|| works_and_dies("no-new-privs"));
}

#[test]
fn a_client_whose_directory_is_gone() {
    arena(|| {
        std::fs::create_dir("gone").expect("a directory");
        let back = std::path::absolute("out").expect("path");
        let script = format!(
            "chdir gone output [ print here ] touch ../inside await ../removed output-to {} [ print still here ] ",
            back.display()
        );
        let script = script.replace("print still here", "print still");
        let client = client(&script);
        wait_file("inside");
        std::fs::remove_dir("gone").expect("remove the client's directory");
        std::fs::write("removed", "").expect("go on");
        assert_eq!(client.finish(), "here\n");
        assert_eq!(std::fs::read_to_string("out").expect("out"), "still\n");
    });
}

#[test]
fn a_command_starts_where_its_client_is_at_the_moment() {
    arena(|| {
        std::fs::create_dir("there").expect("a directory");
        let out =
            run_client("output [ cwd ] chdir there output [ cwd ] spawn [ touch here ] wait 0");
        let here = std::env::current_dir().expect("here").canonicalize().expect("path");
        assert_eq!(out, format!("{}\n{}\n", here.display(), here.join("there").display()));
        assert!(std::path::Path::new("there/here").exists());
    });
}
