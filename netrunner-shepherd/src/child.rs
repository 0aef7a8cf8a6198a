//! From a request to a running child: where its program may be, and where its descriptors go.

use alloc::vec::Vec;
use core::ffi::CStr;

use netrunner_core::message::{Pid, Step};
use netrunner_core::namespace::{Namespace, Need};
use netrunner_core::spawn::{Notify, Place, Placements, Source, Spawn};

use crate::namespace::{self, Init};
use crate::sys::abi::{EINVAL, EMFILE};
use crate::sys::window::{Launchpad, Pace, Placing};
use crate::sys::{Errno, Fd};

/// Where a program is looked up when the command has no `PATH` (`execvp(3)`).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The longest name of a file, and the longest string of an executable command, both without the NUL
/// (`NAME_MAX`; `MAX_ARG_STRLEN`, `execve(2)`).
const LONGEST_NAME: usize = 255;
const LONGEST_STRING: usize = 32 * 4096 - 1;

/// A child that was started.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The terminal of its session, if it leads one.
    pub(crate) terminal: Option<Fd>,
    /// The first process of its namespace, if it has one.
    pub(crate) init: Option<Init>,
}

/// Starts the command. Its descriptors are closed here in any case, but for its terminal: the child
/// has its own.
pub(crate) fn start(
    pad: &mut Launchpad,
    spawn: &Spawn<'_>,
    mut descriptors: Vec<Fd>,
    null: &Fd,
    terminal: Option<(i32, Pid)>,
) -> Result<Started, (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    let mut held = Vec::new();
    let placing = place(&spawn.descriptors, &descriptors, null, &mut held);
    let mut placing = placing.map_err(at(Step::Descriptors))?;
    placing.terminal = terminal;
    let pace = match spawn.notify {
        Notify::Start => Pace::Wait,
        Notify::End => Pace::GoOn,
    };
    pad.load_environment(spawn.environment);
    let candidates = candidates(spawn.program, pad.environment());
    pad.prepare(spawn, &candidates, placing).map_err(at(Step::Clone))?;
    let (pid, init) = make(pad, spawn.namespace, pace)?;
    let own = own_terminal(&spawn.descriptors);
    Ok(Started { pid, terminal: own.map(|at| descriptors.swap_remove(at)), init })
}

/// Makes the process, in the namespace that is asked for.
fn make(
    pad: &mut Launchpad,
    namespace: Option<Namespace>,
    pace: Pace,
) -> Result<(Pid, Option<Init>), (Step, Errno)> {
    if let Some(wanted) = namespace {
        match namespace::start(pad, wanted, pace) {
            // Nothing is left of the attempt.
            Err((Step::Namespace, _)) if wanted.need == Need::IfAvailable => pad.forget_failure(),
            Err(failed) => return Err(failed),
            Ok((pid, init)) => return Ok((pid, Some(init))),
        }
    }
    let pid = pad.start(pace).map_err(|errno| (Step::Clone, errno))?;
    Ok((pid, None))
}

/// Which of the passed descriptors is the terminal of the child's session.
fn own_terminal(placements: &Placements<'_>) -> Option<usize> {
    let mut passed = placements.iter().filter(|placement| placement.source == Source::Passed);
    passed.position(|placement| placement.place == Place::Terminal)
}

/// The paths to try, each with its NUL: the program itself if it has a slash, else one per directory
/// of the command's own `PATH`.
///
/// A name that no file can have is its only candidate, and gets `ENAMETOOLONG`, as with `execvp(3)`;
/// of a `PATH` with which nothing can be executed no more is looked at than could be. So the list is
/// bounded, however long both are.
fn candidates<'a>(program: &CStr, mut environment: impl Iterator<Item = &'a CStr>) -> Vec<u8> {
    let program = program.to_bytes_with_nul();
    if program.contains(&b'/') || program.len() > LONGEST_NAME + 1 {
        return program.to_vec();
    }
    let path = environment.find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH);
    let mut candidates = Vec::new();
    for directory in path[..path.len().min(LONGEST_STRING)].split(|&byte| byte == b':') {
        // An empty one is the working directory.
        if !directory.is_empty() {
            candidates.extend_from_slice(directory);
            candidates.push(b'/');
        }
        candidates.extend_from_slice(program);
    }
    candidates
}

/// Plans the moves so that none overwrites a descriptor which another still needs: a source that
/// stands at one of the target numbers moves away first, into `held`.
fn place(
    placements: &Placements<'_>,
    descriptors: &[Fd],
    null: &Fd,
    held: &mut Vec<Fd>,
) -> Result<Placing, Errno> {
    let mut placing = Placing::default();
    let mut passed = descriptors.iter();
    let mut sources: Vec<(&Fd, i32)> = Vec::new();
    for placement in placements.iter() {
        let source = match placement.source {
            // A descriptor that was lost on the way; the caller has counted them, so this is a guard.
            Source::Passed => Some(passed.next().ok_or(Errno(EMFILE))?),
            Source::Null => Some(null),
            Source::Closed => None,
        };
        match (placement.place, source) {
            (Place::Directory, Some(source)) => placing.origin = Some(source.number()),
            (Place::Terminal, Some(source)) => placing.session = Some(source.number()),
            (Place::Cgroup, Some(source)) => placing.cgroup = Some(source.number()),
            // The shepherd's, to remove it.
            (Place::CgroupAbove, _) => {}
            (Place::Directory | Place::Terminal | Place::Cgroup, None) => {}
            (Place::Number(number), source) => {
                let number = i32::try_from(number).map_err(|_| Errno(EMFILE))?;
                match source {
                    Some(source) => sources.push((source, number)),
                    None => placing.closed.push(number),
                }
            }
        }
    }
    let targets: Vec<i32> =
        sources.iter().map(|&(_, number)| number).chain(placing.closed.iter().copied()).collect();
    for (source, number) in sources {
        let from = if targets.contains(&source.number()) {
            let free = duplicate_outside(source, &targets, held)?;
            held.push(free);
            held[held.len() - 1].number()
        } else {
            source.number()
        };
        placing.moves.push((from, number));
    }
    Ok(placing)
}

/// Duplicates onto a number that is no target. What lands on one on the way is held until the end,
/// so that the search goes on above it.
fn duplicate_outside(source: &Fd, targets: &[i32], held: &mut Vec<Fd>) -> Result<Fd, Errno> {
    let mut at_least = 3;
    loop {
        // EINVAL is how fcntl(2) says that every number from there on is over the limit.
        let full = |errno| if errno == Errno(EINVAL) { Errno(EMFILE) } else { errno };
        let free = source.duplicate(at_least).map_err(full)?;
        if !targets.contains(&free.number()) {
            return Ok(free);
        }
        at_least = free.number() + 1;
        held.push(free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netrunner_core::spawn::{Placement, StringsBuf};

    fn listed(program: &CStr, environment: &[&str]) -> Vec<std::string::String> {
        let mut strings = StringsBuf::new();
        environment.iter().for_each(|entry| strings.push(&[entry.as_bytes()]));
        let block = candidates(program, strings.as_strings().iter());
        let text = std::string::String::from_utf8(block).unwrap();
        text.split_terminator('\0').map(Into::into).collect()
    }

    #[test]
    fn programs_are_looked_up_in_the_commands_own_path() {
        assert_eq!(listed(c"cc", &["A=B", "PATH=/x:/y/"]), ["/x/cc", "/y//cc"]);
        assert_eq!(listed(c"cc", &["PATH=:/x:"]), ["cc", "/x/cc", "cc"]);
        assert_eq!(listed(c"cc", &["PATH="]), ["cc"]);
        assert_eq!(listed(c"cc", &["XPATH=/x"]), ["/bin/cc", "/usr/bin/cc"]);
        assert_eq!(listed(c"./cc", &["PATH=/x"]), ["./cc"]);
    }

    #[test]
    fn the_list_is_bounded_by_what_can_be_executed() {
        let long = std::ffi::CString::new(std::vec![b'x'; 256]).unwrap();
        assert_eq!(listed(&long, &["PATH=/x:/y"]).len(), 1);
        let colons = std::format!("PATH={}", ":".repeat(4 << 20));
        let name = std::ffi::CString::new(std::vec![b'x'; 255]).unwrap();
        assert_eq!(listed(&name, &[&colons]).len(), 32 * 4096);
    }

    fn file() -> Fd {
        crate::sys::calls::open(c"/dev/null", 0).unwrap()
    }

    #[test]
    fn swapped_descriptors_move_away_before_they_are_overwritten() {
        let (a, b, null) = (file(), file(), file());
        let numbers = (a.number(), b.number());
        let placements = [(b.number(), Source::Passed), (a.number(), Source::Passed)]
            .map(|(number, source)| Placement { place: Place::Number(number as u32), source });
        let mut held = Vec::new();
        let descriptors = [a, b];
        let placing =
            place(&Placements::Listed(&placements), &descriptors, &null, &mut held).unwrap();
        let targets: Vec<i32> = placing.moves.iter().map(|&(_, to)| to).collect();
        assert_eq!(targets, [numbers.1, numbers.0]);
        for (from, _) in placing.moves {
            assert!(!targets.contains(&from), "{from} would be overwritten");
        }
    }

    #[test]
    fn a_missing_descriptor_is_an_error() {
        let placement = [Placement { place: Place::Number(1), source: Source::Passed }];
        let result = place(&Placements::Listed(&placement), &[], &file(), &mut Vec::new());
        assert_eq!(result.unwrap_err(), Errno(EMFILE));
    }
}
