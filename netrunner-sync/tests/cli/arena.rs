//! A process of a test's own to which everything falls that is orphaned below it, so that `ECHILD`
//! proves that nothing is left. The other tests' processes would fall to it as well, so the test
//! binary runs itself again, with this one test.

use std::process::Command;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

use crate::harness::{PATIENCE, until};

const VARIABLE: &str = "NETRUNNER_CLI_ARENA";

/// Runs `body` in it. To be called with a closure, directly in the test function: the closure's type
/// name is how the test finds itself again.
#[track_caller]
pub(crate) fn arena<F: FnOnce()>(body: F) {
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").expect("a test in a module").1;
    if std::env::var(VARIABLE).as_deref() == Ok(name) {
        set_child_subreaper(Some(getpid())).expect("become a subreaper");
        body();
        nothing_is_left();
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("the test binary"));
    again.args(["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"]);
    let output = again.env(VARIABLE, name).output().expect("run this test again");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && out.contains("test result: ok. 1 passed"),
        "{name} in its arena: {}\n{out}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reaps until there is no child any more. Only in an arena, and while no `Command` of the test runs:
/// it would lose its status.
#[track_caller]
pub(crate) fn nothing_is_left() {
    let began = Instant::now();
    until("nothing is left", || {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) if began.elapsed() > PATIENCE / 2 => panic!("there are still: {}", list()),
                Ok(None) => return false,
                Err(Errno::CHILD) => return true,
                Err(errno) => panic!("cannot wait: {errno}"),
            }
        }
    });
}

/// The children of this process that have not ended, by their names.
pub(crate) fn children() -> Vec<(u32, String)> {
    let own = getpid().as_raw_nonzero().to_string();
    let entries = std::fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let child = |number: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let is_ours = !rest.starts_with('Z') && rest.split(' ').nth(1) == Some(&own);
        is_ours.then(|| (number, name.to_owned()))
    };
    numbers.filter_map(child).collect()
}

fn list() -> String {
    children().into_iter().map(|(number, name)| format!("{number} {name} ")).collect()
}
