//! Fills the launchpad from a request, before there is a child that could read it.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::Ordering;

use netrunner_core::spawn::{Environment, REMEMBERED, Setup, Spawn};

use super::super::abi::Rlimit;
use super::{Launchpad, Placing, Ready};

impl Launchpad {
    /// Whether a request with this environment can be served.
    pub(crate) fn knows(&self, environment: &Environment<'_>) -> bool {
        match environment {
            Environment::Listed(_) => true,
            // Once one was loaded there is at least the null pointer.
            Environment::Unchanged => {
                !self.environment.is_empty() && self.variables.len() <= REMEMBERED
            }
        }
    }

    /// Takes the environment of the next child, unless it is here. The last child has left its window.
    pub(crate) fn load_environment(&mut self, environment: Environment<'_>) {
        let Environment::Listed(strings) = environment else { return };
        // As in `prepare`, which says so.
        if self.in_window.load(Ordering::Acquire) != 0 {
            return;
        }
        fill(&mut self.variables, &[strings.block()]);
        point(&mut self.environment, &self.variables);
        self.environment.push(null());
    }

    /// The environment of the next child.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &CStr> {
        strings_of(&self.variables)
    }

    /// Takes the rest of what the next child needs.
    pub(super) fn load(&mut self, spawn: &Spawn<'_>, candidates: &[u8], placing: Placing) {
        let directory = spawn.directory.map_or(&[][..], CStr::to_bytes_with_nul);
        let arguments = spawn.arguments.block();
        fill(&mut self.strings, &[candidates, arguments, directory]);
        let (paths, rest) = self.strings.split_at(candidates.len());
        let (arguments, rest) = rest.split_at(arguments.len());
        point(&mut self.candidates, paths);
        point(&mut self.arguments, arguments);
        self.arguments.push(null());
        self.directory = if rest.is_empty() { null() } else { rest.as_ptr().cast() };
        self.origin = placing.origin;
        self.moves = placing.moves;
        self.closed = placing.closed;
        self.terminal = placing.terminal;
        self.cgroup = placing.cgroup;
        self.session = placing.session;
        self.groups.clear();
        self.setup.clear();
        for setup in spawn.setup.iter() {
            let ready = match setup {
                Setup::Umask(mask) => Ready::Umask(mask),
                Setup::Nice(by) => Ready::Nice(by),
                Setup::Limit { resource, soft, hard } => {
                    Ready::Limit { resource, limit: Rlimit { soft, hard } }
                }
                Setup::Groups(groups) => {
                    let first = self.groups.len();
                    self.groups.extend(groups.iter());
                    Ready::Groups { first, count: self.groups.len() - first }
                }
                Setup::Gid(gid) => Ready::Gid(gid),
                Setup::Uid(uid) => Ready::Uid(uid),
                Setup::NoNewPrivileges => Ready::NoNewPrivileges,
            };
            self.setup.push(ready);
        }
        self.failure.clear();
    }
}

/// Puts the blocks into the buffer, one after the other.
fn fill(buffer: &mut Vec<u8>, blocks: &[&[u8]]) {
    // What a request of megabytes needed is not kept.
    if buffer.capacity() > 64 << 10 {
        *buffer = Vec::new();
    }
    buffer.clear();
    buffer.reserve_exact(blocks.iter().map(|block| block.len()).sum());
    blocks.iter().for_each(|block| buffer.extend_from_slice(block));
}

/// The strings of a block, each with its NUL.
fn strings_of(mut block: &[u8]) -> impl Iterator<Item = &CStr> {
    core::iter::from_fn(move || {
        let string = CStr::from_bytes_until_nul(block).ok()?;
        block = &block[string.to_bytes_with_nul().len()..];
        Some(string)
    })
}

/// Makes the list point to the strings of this block, and to nothing else.
fn point(list: &mut Vec<*const c_char>, block: &[u8]) {
    list.clear();
    list.extend(strings_of(block).map(CStr::as_ptr));
}
