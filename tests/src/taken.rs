//! The number of a child that has ended, given to a stranger. A part of the client's program.

use netrunner_tests::failed::{fail, must};

use crate::{Client, beside_us};

impl Client {
    /// Somebody else's process gets the number that our child had, and must live on while the
    /// handle of that child is used in every way.
    pub(crate) fn take_pid(&mut self, seconds: u64) {
        let before = self.last_pid - 1;
        must("ns_last_pid", std::fs::write("/proc/sys/kernel/ns_last_pid", before.to_string()));
        let stranger = std::process::Command::new(beside_us("puppet"))
            .args(["sleep", &seconds.to_string()])
            .spawn();
        let mut stranger = must("start the stranger", stranger);
        if stranger.id() != self.last_pid {
            fail(format_args!("the stranger is {} and not {}", stranger.id(), self.last_pid));
        }
        let mut child = self.current();
        must("kill after the end", child.kill());
        must("stop after the end", child.stop());
        if child.signal(must("a signal", "TERM".parse())).is_ok() {
            fail("a signal after the end was taken");
        }
        drop(child);
        let status = must("wait for the stranger", stranger.wait());
        if !status.success() {
            fail(format_args!("the stranger was hit: {status}"));
        }
    }
}
