//! Which descriptors above 2 go on to the child: those named, those of a make jobserver, or all.
//! Passing them is the library's work.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use crate::sys;

/// The variables that make, and cargo for what it starts, announce a jobserver in.
pub(crate) const JOBSERVER_VARIABLES: [&str; 3] = ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"];

/// Descriptors that came open through exec and keep their numbers in the child.
#[derive(Default)]
pub(crate) struct Passed(Vec<(RawFd, OwnedFd)>);

impl Passed {
    /// Adds `number`; false if it is not open.
    pub(crate) fn add(&mut self, number: RawFd) -> bool {
        if self.0.iter().any(|(added, _)| *added == number) {
            return true;
        }
        let taken = sys::take_inherited(number);
        taken.map(|descriptor| self.0.push((number, descriptor))).is_some()
    }

    /// Adds all that are open.
    pub(crate) fn add_all(&mut self) -> io::Result<()> {
        // Listed before any is taken; the listing's own descriptor is close-on-exec and so is
        // not taken for one of them.
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir("/proc/self/fd")? {
            if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                numbers.push(number);
            }
        }
        for number in numbers {
            // False for those that were not inherited: they stay where they are.
            self.add(number);
        }
        Ok(())
    }

    /// Adds the two pipe ends of a jobserver that `flags`, the value of one of
    /// [`JOBSERVER_VARIABLES`], announces, if they are really there.
    ///
    /// make leaves the words in the environment of a recipe that is not given the pipe, where the
    /// numbers are closed or belong to something else: both have to be pipes, or none is passed.
    pub(crate) fn add_jobserver(&mut self, flags: &OsStr) {
        if let Some((read, write)) = jobserver_pair(&flags.to_string_lossy()) {
            if [read, write].into_iter().all(sys::is_inherited_pipe) {
                self.add(read);
                self.add(write);
            }
        }
    }
}

impl IntoIterator for Passed {
    type Item = (RawFd, OwnedFd);
    type IntoIter = std::vec::IntoIter<(RawFd, OwnedFd)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The numbers in `--jobserver-auth=R,W` (`--jobserver-fds=R,W` before make 4.2); the last one
/// counts, and what follows `--` is variables. The form `fifo:PATH` needs no descriptor.
fn jobserver_pair(flags: &str) -> Option<(RawFd, RawFd)> {
    let value = flags
        .split_ascii_whitespace()
        .take_while(|word| *word != "--")
        .filter_map(|word| {
            word.strip_prefix("--jobserver-auth=").or(word.strip_prefix("--jobserver-fds="))
        })
        .last()?;
    let (read, write) = value.split_once(',')?;
    Some((read.parse().ok()?, write.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_jobserver_counts() {
        for (flags, expected) in [
            ("", None),
            ("-j4", None),
            (" -j4 --jobserver-auth=3,4", Some((3, 4))),
            (" -j --jobserver-fds=5,6 --jobserver-auth=7,8", Some((7, 8))),
            ("w --jobserver-fds=5,6 -- A=b", Some((5, 6))),
            ("-j4 --jobserver-auth=3,4 --jobserver-auth=fifo:/tmp/x", None),
            ("-j4 --jobserver-auth=-2,-2", Some((-2, -2))),
            ("-j4 -- --jobserver-auth=3,4", None),
            ("--jobserver-auth=3", None),
            ("--jobserver-auth=3,4,5", None),
            ("--jobserver-auth=a,b", None),
        ] {
            assert_eq!(jobserver_pair(flags), expected, "{flags}");
        }
    }
}
