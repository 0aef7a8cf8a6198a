//! How the two ends of a terminal find each other: by the manager itself, by name where a kernel or a sandbox
//! does not know that call, and never a stranger's.

use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use netrunner_sync::{Command, Error, WinSize};
use netrunner_tests::seccomp::{self, Only, Rule};
use netrunner_tests::sys;

use crate::harness::*;

/// Does this where `TIOCGPTPEER` fails with this error number, and tells how often it did.
fn without_the_call<T: Send + 'static>(
    errno: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> (T, usize) {
    let refused = Arc::new(AtomicUsize::new(0));
    let (hand, taken) = mpsc::channel::<OwnedFd>();
    let count = Arc::clone(&refused);
    // Outside the filter, and there before it. It answers until all inside have ended.
    std::thread::spawn(move || {
        let listener = taken.recv().expect("the filter");
        while let Ok(handed) = seccomp::receive(&listener) {
            let Some(handed) = handed else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            seccomp::answer(&listener, &handed, Some(errno));
        }
    });
    let only = Only { argument: 1, mask: u32::MAX, value: libc::TIOCGPTPEER as u32 };
    let rule = Rule { call: libc::SYS_ioctl, only: Some(only) };
    let worker = std::thread::spawn(move || {
        hand.send(seccomp::install(&[rule]).expect("install a filter")).expect("hand it over");
        work()
    });
    let result = worker.join().expect("no panic");
    (result, refused.load(Ordering::SeqCst))
}

fn size() -> Result<Vec<u8>, Error> {
    let mut stty = Command::new("stty");
    Ok(stty.arg("size").pty(WinSize::new(31, 99)).run()?.stdout)
}

#[test]
fn a_kernel_that_cannot_ask_the_manager_opens_the_terminal_by_its_name() {
    arena(|| {
        if !can_filter() {
            return;
        }
        for errno in [libc::ENOTTY, libc::EINVAL, libc::ENOSYS, libc::EPERM] {
            let (shown, refused) = without_the_call(errno, size);
            assert_eq!(shown.expect("by name"), b"31 99\r\n", "{errno}");
            assert_eq!(refused, 1, "{errno}");
        }
    });
}

#[test]
fn a_real_failure_to_open_a_terminal_is_told() {
    arena(|| {
        if !can_filter() {
            return;
        }
        let (shown, refused) = without_the_call(libc::EMFILE, size);
        let error = shown.expect_err("no descriptor left");
        assert_eq!((error.raw_os_error(), refused), (Some(libc::EMFILE), 1), "{error}");
    });
}

/// Where `/dev/ptmx` belongs to another instance of devpts than `/dev/pts`, as in a careless container: the
/// name leads nowhere, or to a stranger's terminal.
fn astray(script: &str) -> Option<Client> {
    let place = "set -e; mkdir -p dev other; mount -t tmpfs dev dev; mkdir dev/pts; \
                 mount -t devpts -o newinstance,ptmxmode=0666 other other; \
                 for node in null zero urandom tty; do \
                   touch dev/$node; mount --bind /dev/$node dev/$node; \
                 done; \
                 ln -s \"$PWD/other/ptmx\" dev/ptmx; mount --bind /dev/pts dev/pts; \
                 mount --rbind dev /dev";
    let unshare = |then: &str| {
        let mut unshare = process::Command::new("unshare");
        unshare.args(["--mount", "--map-root-user", "sh", "-c", &format!("{place}; {then}"), "sh"]);
        unshare
    };
    let tried = unshare("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        skip("cannot mount another devpts here");
        return None;
    }
    let mut client = unshare("exec \"$@\"");
    client.args([CLIENT, "terminal"]);
    Some(client_by(client, script))
}

#[test]
fn the_manager_leads_to_its_own_terminal_in_whatever_place() {
    arena(|| {
        let Some(client) = astray("output [ print mine ]") else { return };
        assert_eq!(client.finish(), "mine\n");
    });
}

#[test]
fn no_strangers_terminal_is_taken_for_the_own() {
    arena(|| {
        if !can_filter() {
            return;
        }
        // The lowest number is somebody's, so that the name leads to a terminal.
        let _stranger = sys::open_terminal().expect("a terminal");
        let attempt = || astray("attempt output [ print mine ]").map(Client::finish);
        let (told, refused) = without_the_call(libc::ENOTTY, attempt);
        let Some(told) = told else { return };
        assert_eq!(refused, 1);
        // It may have gone meanwhile.
        let says = ["is another terminal", "No such file"];
        assert!(told.starts_with("error ") && says.iter().any(|it| told.contains(it)), "{told}");
    });
}
