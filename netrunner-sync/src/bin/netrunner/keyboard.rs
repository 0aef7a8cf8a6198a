//! `--pty` on a terminal: passes on what is typed, key by key, to the terminal of the command. What
//! that terminal shows is passed on by `passthrough`.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use netrunner_sync::PtyWriter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;

use crate::outer::Outer;

/// How often we look whether a shell has given us its terminal: it may do so without a word, to a job
/// that runs in the background.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Passes on until the command is over, or one of the terminals is gone.
pub(crate) fn pass_on(outer: &Outer, to: &PtyWriter, over: &UnixStream) {
    let mut keys = [0; 4096];
    let mut failed = false;
    loop {
        if !outer.take() {
            // Not `SIGTTIN` and a stop, as for whoever reads: the command may want no input at all.
            let mut fds = [PollFd::new(over, PollFlags::IN)];
            if poll(&mut fds, Some(&PAUSE)).is_ok_and(|ready| ready > 0) {
                return;
            }
            continue;
        }
        let stdin = stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
        // EINTR and the like: the read tells.
        let ready = poll(&mut fds, None);
        if !fds[1].revents().is_empty() {
            return;
        }
        if ready.is_err() {
            continue;
        }
        match rustix::io::read(stdin, &mut keys) {
            // Hung up.
            Ok(0) => return,
            Ok(count) => {
                failed = false;
                if !type_all(to, &keys[..count], over) {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // 1. We read in the background, since a shell had taken the terminal back just then. 2. It
            // gave it to us again before we looked. So only a second time it is the end.
            Err(Errno::IO) if outer.is_away() || !failed => failed = !outer.is_away(),
            Err(_) => return,
        }
    }
}

/// False when the command is over, or its terminal.
fn type_all(to: &PtyWriter, mut keys: &[u8], over: &UnixStream) -> bool {
    while !keys.is_empty() {
        match to.write_deadline(keys, Instant::now()) {
            Ok(count) => keys = &keys[count..],
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let mut fds = [PollFd::new(to, PollFlags::OUT), PollFd::new(over, PollFlags::IN)];
                // EINTR and the like: the write tells.
                let _ = poll(&mut fds, None);
                if !fds[1].revents().is_empty() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}
