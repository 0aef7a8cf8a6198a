//! From a `Command` to the words of the protocol: everything is checked first, then descriptors are
//! taken and pipes made, so that nothing is consumed by a command that can't be.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use netrunner_cgroup::Group;
use netrunner_core::message::{CommandId, Request, Session};
use netrunner_core::namespace::Namespace;
use netrunner_core::spawn::{
    Environment, Groups, Leftovers, Notify, Place, Placement, Placements, Setup, Setups, Source,
    Spawn, StringsBuf, Terms,
};
use netrunner_core::wire::{HEADER, MAX_DESCRIPTORS, MAX_REQUEST};
use rustix::io::Errno;
use rustix::process::Resource;

use crate::command::Command;
use crate::contain;
use crate::environment;
use crate::error::{Error, Result, shown};
use crate::ext;
use crate::report;
use crate::rights::Rights;
use crate::signal::Signal;
use crate::terminal::{Lent, Streams};

/// The longest single string that Linux executes, its NUL included (`MAX_ARG_STRLEN`, `execve(2)`).
const MAX_STRING: usize = 32 * 4096;

/// The most that Linux executes in all, strings and pointers, however high the stack's limit is.
const MAX_STRINGS: usize = 6 << 20;

/// A request to spawn, ready to be sent any number of times.
pub(crate) struct Prepared {
    name: OsString,
    program: CString,
    directory: Option<CString>,
    arguments: StringsBuf,
    environment: Arc<StringsBuf>,
    placements: Vec<Placement>,
    passed: Vec<Passed>,
    setup: ext::Setup,
    clear_groups: bool,
    terms: Terms,
    session: Session,
    streams: Streams,
    /// Whether it has a terminal of its own, and so nothing to do with the client's.
    on_own_terminal: bool,
    group: Option<Arc<Group>>,
    namespace: Option<Namespace>,
}

/// Whether the shepherd has the command's environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    No,
}

/// A descriptor that goes to the command.
pub(crate) enum Passed {
    /// The far end of a pipe of ours. It may be shared by two streams.
    Far(Arc<OwnedFd>),
    /// The caller's, who gave it away.
    Given(OwnedFd),
    /// One of the client's own streams.
    Inherited(RawFd),
}

impl Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Passed::Far(fd) => fd.as_fd(),
            Passed::Given(fd) => fd.as_fd(),
            Passed::Inherited(0) => rustix::stdio::stdin(),
            Passed::Inherited(1) => rustix::stdio::stdout(),
            Passed::Inherited(_) => rustix::stdio::stderr(),
        }
    }
}

impl Prepared {
    /// Checks everything about `command` that does not depend on its descriptors.
    pub(crate) fn check(command: &Command, rights: &Rights) -> Result<Prepared> {
        let name = &command.program;
        if name.is_empty() {
            // What the kernel would say, and std says.
            return Err(Error::exec(name, Errno::NOENT));
        }
        let program = c_string("the program", name)?;
        let directory = command.directory.as_ref();
        let directory =
            directory.map(|path| c_string("the directory", path.as_os_str())).transpose()?;
        let strings = Strings::of(command)?;
        if strings.too_long || strings.total() > MAX_STRINGS {
            return Err(Error::exec(name, Errno::TOOBIG));
        }
        check_numbers(command)?;
        let setup = &command.setup;
        let clear_groups = setup.groups.is_none()
            && setup.uid.is_some_and(|uid| rights.is_root() || !rights.is_user(uid));
        Ok(Prepared {
            name: name.clone(),
            program,
            directory,
            arguments: strings.arguments,
            environment: strings.environment,
            placements: Vec::with_capacity(4),
            passed: Vec::with_capacity(4),
            setup: setup.clone(),
            clear_groups,
            terms: terms(command)?,
            session: Session::Own,
            streams: Streams::default(),
            on_own_terminal: false,
            group: None,
            namespace: contain::namespace(command)?,
        })
    }

    pub(crate) fn environment(&self) -> &Arc<StringsBuf> {
        &self.environment
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn session(&self) -> Session {
        self.session
    }

    /// Gives the command's descriptor `number` a source.
    pub(crate) fn place(&mut self, number: RawFd, passed: Passed) -> Result<()> {
        let mut source = Source::Passed;
        if number < 3 {
            // A command that uses a terminal needs a shepherd in the terminal's session. The same
            // call tells that one of the client's own streams is closed.
            match rustix::termios::tcgetattr(passed.as_fd()) {
                Ok(_) if self.on_own_terminal => {}
                Ok(modes) => {
                    self.session = Session::Client;
                    self.streams.add_terminal(number, passed.as_fd(), modes);
                }
                Err(Errno::BADF) => source = Source::Closed,
                Err(_) => self.streams.add_other(number, passed.as_fd()),
            }
        }
        self.placements.push(Placement { place: place(number)?, source });
        if source == Source::Passed {
            self.passed.push(passed);
        }
        Ok(())
    }

    /// Gives it the far end of a new pipe, which is no terminal.
    pub(crate) fn place_pipe(&mut self, number: RawFd, far: OwnedFd) -> Result<()> {
        self.streams.add_pipe(number);
        self.placements.push(Placement { place: place(number)?, source: Source::Passed });
        self.passed.push(Passed::Far(Arc::new(far)));
        Ok(())
    }

    /// Makes this the terminal of a session of the command's own, and its descriptors `numbers`.
    pub(crate) fn place_terminal(
        &mut self,
        subsidiary: OwnedFd,
        numbers: impl IntoIterator<Item = RawFd>,
    ) -> Result<()> {
        if let Some(uid) = self.setup.uid {
            // The program may open it by its name. A client that may not give it away may not be
            // able to change the user either, and that is reported.
            let uid = rustix::process::Uid::from_raw(uid);
            let _ = rustix::fs::fchown(&subsidiary, Some(uid), None);
        }
        self.on_own_terminal = true;
        let subsidiary = Arc::new(subsidiary);
        let mut places = vec![Place::Terminal];
        for number in numbers {
            places.push(place(number)?);
        }
        for place in places {
            self.placements.push(Placement { place, source: Source::Passed });
            self.passed.push(Passed::Far(Arc::clone(&subsidiary)));
        }
        Ok(())
    }

    /// Connects the command's descriptor `number` to `/dev/null`.
    pub(crate) fn place_null(&mut self, number: RawFd) -> Result<()> {
        self.placements.push(Placement { place: place(number)?, source: Source::Null });
        Ok(())
    }

    /// Passes what `number` has been given once more, as `other`.
    pub(crate) fn place_again(&mut self, number: RawFd, other: RawFd) -> Result<()> {
        let place = place(number)?;
        let mut at = 0;
        for placement in &self.placements {
            if placement.place == place {
                match placement.source {
                    Source::Null => return self.place_null(other),
                    Source::Closed => {
                        let source = Source::Closed;
                        self.placements.push(Placement { place: self::place(other)?, source });
                        return Ok(());
                    }
                    Source::Passed => break,
                }
            }
            at += usize::from(placement.source == Source::Passed);
        }
        let again = match self.passed.get(at) {
            Some(Passed::Far(fd)) => Passed::Far(Arc::clone(fd)),
            Some(Passed::Inherited(number)) => Passed::Inherited(*number),
            Some(Passed::Given(fd)) => Passed::Given(fd.try_clone().map_err(|cause| {
                Error::system(format!("duplicate a descriptor for `{}`", shown(&self.name)), cause)
            })?),
            None => return Ok(()),
        };
        self.place(other, again)
    }

    /// It starts in this cgroup.
    pub(crate) fn place_in(&mut self, group: Option<Arc<Group>>) {
        self.group = group;
    }

    /// All streams are placed: returns the terminal, if the command may have it.
    pub(crate) fn lend(&mut self) -> Option<Lent> {
        if self.setup.foreground == Some(true) && self.streams.find_terminal() {
            self.session = Session::Client;
        }
        if self.session == Session::Own { None } else { self.streams.lend(self.setup.foreground) }
    }

    /// Whether all that was to be passed can be passed again.
    pub(crate) fn is_whole(&self) -> bool {
        let passed = self.placements.iter().filter(|placed| placed.source == Source::Passed);
        passed.count() == self.passed.len()
    }

    /// Closes what the caller gave away, now that it was sent.
    ///
    /// Far ends of pipes may be kept longer: the client reads until the command is over, not until
    /// the pipe is. What the caller gave may be a pipe whose other end somebody reads to its end.
    pub(crate) fn release_given(&mut self) {
        self.passed.retain(|passed| !matches!(passed, Passed::Given(_)));
    }

    /// Appends the frame to `out`, and returns the descriptors that go with it.
    pub(crate) fn encode<'a>(
        &'a self,
        id: CommandId,
        notify: Notify,
        directory: Option<&'a OwnedFd>,
        known: Known,
        out: &mut Vec<u8>,
    ) -> Result<Vec<BorrowedFd<'a>>> {
        let mut placements = Vec::with_capacity(self.placements.len() + 1);
        let mut descriptors = Vec::with_capacity(self.passed.len() + 1);
        if let Some(directory) = directory {
            placements.push(Placement { place: Place::Directory, source: Source::Passed });
            descriptors.push(directory.as_fd());
        }
        let above = self.group.as_ref().map(|group| group.place());
        if let (Some(group), Some((above, _))) = (&self.group, above) {
            let source = Source::Passed;
            placements.push(Placement { place: Place::Cgroup, source });
            placements.push(Placement { place: Place::CgroupAbove, source });
            descriptors.extend([group.as_fd(), above]);
        }
        placements.extend_from_slice(&self.placements);
        descriptors.extend(self.passed.iter().map(Passed::as_fd));
        if descriptors.len() > MAX_DESCRIPTORS {
            let message = format!("more than {MAX_DESCRIPTORS} descriptors are to be passed");
            return Err(Error::invalid(message));
        }
        let setup = self.setups();
        let spawn = Spawn {
            id,
            notify,
            terms: self.terms,
            terminal: (self.session == Session::Client)
                .then(|| self.streams.request(self.setup.foreground)),
            program: &self.program,
            directory: self.directory.as_deref(),
            arguments: self.arguments.as_strings(),
            environment: match known {
                Known::No => Environment::Listed(self.environment.as_strings()),
                Known::Yes => Environment::Unchanged,
            },
            descriptors: Placements::Listed(&placements),
            setup: Setups::Listed(&setup),
            cgroup: above.map(|(_, name)| name),
            namespace: self.namespace,
        };
        Request::Spawn(spawn).encode(out);
        if out.len() > HEADER + MAX_REQUEST {
            return Err(Error::exec(&self.name, Errno::TOOBIG));
        }
        Ok(descriptors)
    }

    fn setups(&self) -> Vec<Setup<'_>> {
        let setup = &self.setup;
        let mut setups = Vec::new();
        setups.extend(setup.umask.map(Setup::Umask));
        setups.extend(setup.nice.map(Setup::Nice));
        setups.extend(setup.limits.iter().map(|(resource, soft, hard)| Setup::Limit {
            resource: resource.as_raw(),
            soft: *soft,
            hard: *hard,
        }));
        match &setup.groups {
            Some(groups) => setups.push(Setup::Groups(Groups::Listed(groups))),
            None if self.clear_groups => setups.push(Setup::Groups(Groups::Listed(&[]))),
            None => {}
        }
        setups.extend(setup.gid.map(Setup::Gid));
        setups.extend(setup.uid.map(Setup::Uid));
        setups.extend(setup.no_new_privs.then_some(Setup::NoNewPrivileges));
        setups
    }
}

fn place(number: RawFd) -> Result<Place> {
    let to = u32::try_from(number).map_err(|_| no_number(number))?;
    Ok(Place::Number(to))
}

/// The strings of a command, as they are sent.
struct Strings {
    arguments: StringsBuf,
    environment: Arc<StringsBuf>,
    too_long: bool,
    count: usize,
}

impl Strings {
    fn of(command: &Command) -> Result<Strings> {
        let mut strings = Strings {
            // What most commands need: a list that grows from nothing is copied six times.
            arguments: StringsBuf::with_capacity(256),
            environment: Arc::default(),
            too_long: false,
            count: 0,
        };
        let arg0 = command.arg0.as_ref().unwrap_or(&command.program);
        for argument in std::iter::once(arg0).chain(&command.args) {
            let bytes = without_nul("an argument", argument)?;
            strings.count(bytes.len());
            strings.arguments.push(&[bytes]);
        }
        for (key, value) in command.get_envs() {
            let bytes = without_nul("an environment variable", key)?;
            if value.is_some() && (bytes.is_empty() || bytes.contains(&b'=')) {
                let message = format!("`{}` is no name of an environment variable", shown(key));
                return Err(Error::invalid(message));
            }
            if let Some(value) = value {
                without_nul(&format!("the environment variable `{}`", shown(key)), value)?;
            }
        }
        strings.environment = environment::of(|with| {
            command.environment.each(|key, value| {
                strings.count(key.len() + 1 + value.len());
                with([key.as_bytes(), b"=", value.as_bytes()]);
            });
        });
        Ok(strings)
    }

    fn count(&mut self, length: usize) {
        self.count += 1;
        self.too_long |= length >= MAX_STRING;
    }

    /// What the kernel counts: each string with its NUL, and a pointer to it.
    fn total(&self) -> usize {
        self.arguments.bytes() + self.environment.bytes() + self.count * size_of::<usize>()
    }
}

fn without_nul<'a>(what: &str, string: &'a OsStr) -> Result<&'a [u8]> {
    let bytes = string.as_bytes();
    if bytes.contains(&0) {
        return Err(Error::invalid(format!("{what} contains a NUL byte")));
    }
    Ok(bytes)
}

fn c_string(what: &str, string: &OsStr) -> Result<CString> {
    CString::new(string.as_bytes())
        .map_err(|_| Error::invalid(format!("{what} contains a NUL byte")))
}

/// The numbers that descriptors are to get.
fn check_numbers(command: &Command) -> Result<()> {
    if command.descriptors.is_empty() {
        return Ok(());
    }
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let over = |n: RawFd| limit.is_some_and(|limit| u64::try_from(n).is_ok_and(|n| n >= limit));
    for (at, (number, fd)) in command.descriptors.iter().enumerate() {
        let before = &command.descriptors[..at];
        if *number < 3 || over(*number) {
            return Err(no_number(*number));
        }
        if before.iter().any(|(other, _)| other == number) {
            return Err(Error::invalid(format!("two descriptors are to be number {number}")));
        }
        if fd.is_none() {
            return Err(spent(&format!("descriptor {number}")));
        }
    }
    Ok(())
}

fn no_number(number: RawFd) -> Error {
    Error::invalid(format!("no descriptor can be passed as number {number}"))
}

/// What a second spawn meets where the first has consumed something.
pub(crate) fn spent(what: &str) -> Error {
    Error::invalid(format!("{what} was consumed by an earlier spawn"))
}

fn terms(command: &Command) -> Result<Terms> {
    let terms = &command.terms;
    let number = |signal: Signal| {
        u8::try_from(signal.as_raw())
            .map_err(|_| Error::invalid(format!("unknown signal `{signal}`")))
    };
    let (stop_signal, leftover_signal) = match terms.stop_signal {
        Some(signal) => (number(signal)?, None),
        // What a shell is told when the window of its terminal is closed.
        None if command.pty.is_some() => (number(Signal::HUP)?, Some(number(Signal::TERM)?)),
        None => (number(Signal::TERM)?, None),
    };
    Ok(Terms {
        timeout: terms.timeout,
        grace: terms.grace,
        stop_signal,
        leftover_signal,
        leftovers: match terms.leftovers {
            report::Leftovers::Stop => Leftovers::Stop,
            report::Leftovers::Wait => Leftovers::Wait,
            report::Leftovers::Keep => Leftovers::Keep,
        },
    })
}

/// A failure to make what a command is to be connected to.
pub(crate) fn pipe_error(name: &OsStr, stream: &str, cause: io::Error) -> Error {
    Error::system(format!("make a pipe for the {stream} of `{}`", shown(name)), cause)
}
