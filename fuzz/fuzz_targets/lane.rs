//! A live shepherd, and its guardian, at the mercy of a client that does what any bytes say.

#![no_main]

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use netrunner_core::message::Order;
use netrunner_tests::hostile;
use netrunner_tests::lane::{Lane, pidfd};

/// One for the whole run; it ends with it.
static GUARDIAN: Mutex<Option<Lane>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut guardian = GUARDIAN.lock().expect("no input has panicked and gone on");
    hostile::behave(guardian.get_or_insert_with(start), data);
});

fn start() -> Lane {
    let program = std::env::temp_dir().join(format!("netrunner-fuzz-{}", std::process::id()));
    std::fs::write(&program, netrunner_shepherd::BYTES).expect("write the program");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("make it executable");
    let (lane, theirs) = Lane::pair();
    lane.order(Order::Guard, &[pidfd(std::process::id()).as_fd()]).expect("order");
    let mut starter = Command::new(&program);
    starter.arg0("netrunner-shepherd").env_clear().process_group(0);
    let status = starter.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null()).status();
    std::fs::remove_file(&program).expect("remove the program");
    assert!(status.is_ok_and(|status| status.success()), "the guardian did not start");
    lane
}
