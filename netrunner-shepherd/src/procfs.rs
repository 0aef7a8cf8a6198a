//! What `/proc` knows of processes: children, kinship, names.

use alloc::vec::Vec;
use core::ffi::CStr;

use netrunner_core::message::Pid;

use crate::sys::abi::{EMFILE, ENFILE, ENOMEM, EXDEV, O_DIRECTORY, O_RDONLY};
use crate::sys::calls::{open, own_pid, read_file, read_long_file};
use crate::sys::{Errno, files};

/// Whether the numbers in `/proc` are those that the calls of this process mean. They are not where a PID
/// namespace was made and no `/proc` of its own mounted: a signal to such a number would hit a stranger.
/// `EXDEV` if not. Where there is no `/proc`, nothing in it is believed.
pub(crate) fn check_numbers() -> Result<(), Errno> {
    let mut buffer = [0; 512];
    match read_file(c"/proc/self/stat", &mut buffer) {
        Ok(content) => {
            let number = content.split(|&byte| byte == b' ').next().and_then(parse);
            if number == Some(own_pid().0) { Ok(()) } else { Err(Errno(EXDEV)) }
        }
        // For want of these nothing can be said of it.
        Err(errno @ Errno(EMFILE | ENFILE | ENOMEM)) => Err(errno),
        // There is none, or it is that of a namespace in which this process has no number.
        Err(_) if numbers(c"/proc").is_empty() => Ok(()),
        Err(_) => Err(Errno(EXDEV)),
    }
}

/// Kinship and state of a process (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Whether it has ended and is not reaped.
    pub(crate) zombie: bool,
    /// Its parent.
    pub(crate) parent: u32,
}

/// Where children are looked up.
pub(crate) enum Kinship {
    /// In the `children` files (Linux 4.2 with `CONFIG_PROC_CHILDREN`).
    Files,
    /// In a list of every process and its parent, for kernels without them.
    List(Vec<(Pid, u32)>),
}

impl Kinship {
    /// Finds out which there is, and the children of this process, which has one thread. A list is a
    /// picture of this moment.
    pub(crate) fn of_own_children() -> (Kinship, Vec<Pid>) {
        match read_long_file(c"/proc/thread-self/children") {
            Ok(content) => (Kinship::Files, parse_children(&content)),
            Err(_) => {
                let list = numbers(c"/proc")
                    .into_iter()
                    .filter_map(|pid| stat(pid).map(|stat| (pid, stat.parent)));
                let kinship = Kinship::List(list.collect());
                let children = kinship.children(own_pid());
                (kinship, children)
            }
        }
    }

    /// The children of any process: of all its threads, since each has its own.
    pub(crate) fn children(&self, of: Pid) -> Vec<Pid> {
        match self {
            Kinship::Files => {
                let mut children = Vec::new();
                for thread in numbers(path(&[b"/proc/", &digits(of), b"/task"]).as_c_str()) {
                    let file =
                        path(&[b"/proc/", &digits(of), b"/task/", &digits(thread), b"/children"]);
                    // A thread that has just ended has no children.
                    let content = read_long_file(file.as_c_str()).unwrap_or_default();
                    children.extend(parse_children(&content));
                }
                children
            }
            Kinship::List(list) => {
                list.iter().filter(|(_, parent)| *parent == of.0).map(|(pid, _)| *pid).collect()
            }
        }
    }
}

/// Parent and state, if the process is there.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    let mut buffer = [0; 512];
    let content = read_file(path(&[b"/proc/", &digits(pid), b"/stat"]).as_c_str(), &mut buffer);
    parse_stat(content.ok()?)
}

/// The name stands in parentheses and may hold anything, further parentheses too: the fields that
/// count come after the last one.
fn parse_stat(content: &[u8]) -> Option<Stat> {
    let after = content.iter().rposition(|&byte| byte == b')')?;
    let mut fields = content.get(after + 2..)?.split(|&byte| byte == b' ');
    let state = fields.next()?;
    let parent = parse(fields.next()?)?;
    Some(Stat { zombie: matches!(state, b"Z" | b"X"), parent })
}

/// The name of a process, at most 15 bytes.
pub(crate) fn name(pid: Pid) -> Vec<u8> {
    let mut buffer = [0; 64];
    match read_file(path(&[b"/proc/", &digits(pid), b"/comm"]).as_c_str(), &mut buffer) {
        Ok(name) => name.strip_suffix(b"\n").unwrap_or(name).to_vec(),
        // It has just gone: it has no name any more.
        Err(_) => Vec::new(),
    }
}

fn parse_children(content: &[u8]) -> Vec<Pid> {
    content.split(|&byte| byte == b' ').filter_map(parse).filter(|&pid| pid > 0).map(Pid).collect()
}

/// The entries of a directory that are numbers: processes in `/proc`, threads in `task`, descriptors
/// in `fd`.
pub(crate) fn numbers(directory: &CStr) -> Vec<Pid> {
    let mut found = Vec::new();
    let Ok(directory) = open(directory, O_RDONLY | O_DIRECTORY) else { return found };
    files::each_entry(&directory, &mut |name, _| found.extend(parse(name).map(Pid)));
    found
}

pub(crate) fn parse(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

pub(crate) fn digits(pid: Pid) -> Vec<u8> {
    let (mut rest, mut digits) = (pid.0, Vec::with_capacity(10));
    loop {
        digits.insert(0, b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            return digits;
        }
    }
}

fn path(parts: &[&[u8]]) -> alloc::ffi::CString {
    // The parts are literals and digits, without a NUL.
    alloc::ffi::CString::new(parts.concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_forge_a_parent() {
        let line = b"77 (a) R 1 (b) Z 42 7 7 0 -1";
        assert_eq!(parse_stat(line), Some(Stat { zombie: true, parent: 42 }));
        assert_eq!(parse_stat(b"77 (a"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn numbers_are_parsed_whole_or_not_at_all() {
        assert_eq!(parse(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse(b"4294967296"), None);
        assert_eq!(parse(b"12a"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(digits(Pid(0)), b"0");
        assert_eq!(digits(Pid(40_321)), b"40321");
    }

    #[test]
    fn both_ways_find_a_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (us, pid) = (Pid(std::process::id()), Pid(child.id()));
        assert!(Kinship::Files.children(us).contains(&pid));
        let list = numbers(c"/proc");
        let list = list.into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
        assert!(Kinship::List(list).children(us).contains(&pid));
        assert_eq!(stat(pid), Some(Stat { zombie: false, parent: us.0 }));
        assert!(!name(pid).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(stat(pid), None);
    }
}
