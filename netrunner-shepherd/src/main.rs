//! The program that runs beside a client's commands: guardian and shepherds, one tiny binary.
//!
//! The client starts it with a lane as descriptor 0. This first process is the starter: it takes the
//! client's pidfd, or what stands in for it, from the lane, forks the guardian, and ends at once with the error number of a
//! step that failed, or 0. The guardian forks the shepherds; nothing is executed again.
//!
//! `build.rs` compiles this file with `rustc` itself, so it uses nothing but `netrunner-core`.
//!
//! What only Linux has, and what takes its place elsewhere, are modules of the same shape, here and in `portable`,
//! chosen by one cfg. Linux can be made to use the others (`docs/PORTABLE.md`).

#![cfg_attr(not(test), no_std, no_main)]
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod audience;
#[cfg_attr(netrunner_portable, path = "portable/cgroup.rs")]
mod cgroup;
mod child;
mod event_loop;
mod guardian;
#[cfg(not(netrunner_portable))]
mod init;
mod lane;
#[cfg_attr(netrunner_portable, path = "portable/lineage.rs")]
mod lineage;
mod live;
mod loan;
#[cfg_attr(netrunner_portable, path = "portable/namespace.rs")]
mod namespace;
#[cfg(not(netrunner_portable))]
mod procfs;
#[cfg_attr(netrunner_portable, path = "portable/stale.rs")]
mod stale;
mod standing;
#[cfg_attr(netrunner_portable, path = "portable/sweep.rs")]
mod sweep;
mod sys;
mod terminal;

use netrunner_core::message::{CommandId, Event, Order, SpawnFailed, Step};

use guardian::Charge;
use lane::{Flow, Lane};
use sys::abi::*;
use sys::{Errno, Fd, calls, files};

#[cfg(not(test))]
mod program {
    //! What a program without the standard library must define.

    #[global_allocator]
    static HEAP: crate::sys::memory::Heap = crate::sys::memory::Heap::new();

    /// A bug of ours. The guardian takes over what this shepherd had, and the client sees its lane
    /// close.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        crate::sys::calls::exit(101)
    }
}

/// `SIGCANCEL` and `SIGSETXID` of glibc; nobody means anything by ignoring them.
const LIBC_INTERNAL: [i32; 2] = [32, 33];

/// The program begins here.
extern "C" fn start() -> ! {
    match begin() {
        Ok(()) => calls::exit(0),
        Err(Errno(errno)) => calls::exit(i32::from(errno)),
    }
}

/// The starter. Comes back in the process that the client reaps.
fn begin() -> Result<(), Errno> {
    // A sandbox may refuse it, and a signal that is not blocked would never be read.
    calls::block_signals()?;
    // SIGCHLD must not be ignored, or there would be nothing to reap; SIGPIPE never is for a child.
    let ignore_child_signal = calls::reset_signal(SIGCHLD);
    calls::reset_signal(SIGPIPE);
    // glibc's posix_spawn, which started us, leaves its two internal signals ignored.
    for signal in LIBC_INTERNAL {
        calls::reset_signal(signal);
    }
    // What the client had open without close-on-exec, so that no child inherits it from here.
    files::close_from(3);
    lineage::check_numbers()?;
    let socket = Fd::own(0).duplicate(3)?;
    let null = calls::open(c"/dev/null", O_RDWR)?.duplicate(3)?;
    // 0 to 2 are taken from here on, so no descriptor that a client passes ever lands there.
    for number in 0..3 {
        calls::duplicate_onto(&null, number)?;
    }
    let mut lane = Lane::new(socket);
    let client = take_charge(&mut lane)?;
    // What the guardian needs is made here, where a failure still has somebody to hear of it.
    let signals = calls::child_signals()?;
    let slots = calls::shared_words(guardian::SLOTS * standing::WORDS)?;
    if calls::fork()?.is_none() {
        guardian::run(Charge { lane, client, signals, null, slots, ignore_child_signal });
    }
    Ok(())
}

/// Waits for what tells of the client's end.
fn take_charge(lane: &mut Lane) -> Result<Fd, Errno> {
    loop {
        if let Some((frame, mut descriptors)) = lane.next_frame().map_err(|_| Errno(EPROTO))? {
            return match Order::decode(frame) {
                Ok(Order::Guard) => descriptors.pop().ok_or(Errno(EMFILE)),
                Ok(
                    Order::Bear(_) | Order::Retire | Order::Kill(_) | Order::Groups | Order::Loan,
                )
                | Err(_) => Err(Errno(EPROTO)),
            };
        }
        let mut fds = [Pollfd { fd: lane.number(), events: POLLIN, revents: 0 }];
        calls::poll(&mut fds, None)?;
        if lane.receive() == Flow::Ended {
            return Err(Errno(ESRCH));
        }
    }
}

/// What a client hears on the lane of a shepherd that could not be made.
fn no_shepherd(errno: Errno) -> Event {
    Event::SpawnFailed(SpawnFailed {
        id: CommandId(0),
        step: Step::Shepherd,
        errno: u32::from(errno.0),
        object: alloc::vec::Vec::new(),
    })
}
