//! What a request to start a command holds, laid out so that the shepherd can use it in place.
//!
//! Strings travel with their NUL: the shepherd points argv and envp into the received frame and
//! copies nothing. Lists are checked as a whole when the frame is decoded, so iterating can't fail.

use core::ffi::CStr;
use core::time::Duration;

use crate::message::CommandId;
use crate::namespace::Namespace;
use crate::terminal::Terminal;
use crate::wire::{Reader, WireError, Writer};

pub use crate::encoded::Encoded;
pub use crate::placement::{MAX_PLACEMENTS, Place, Placement, Placements, Source};
pub use crate::setup::{Groups, Setup, Setups};
pub use crate::strings::{Strings, StringsBuf};

/// A request to start one command.
///
/// ```
/// use netrunner_core::message::{CommandId, Request};
/// use netrunner_core::spawn::{
///     Environment, Notify, Placements, Setups, Spawn, StringsBuf, Terms,
/// };
///
/// let mut arguments = StringsBuf::new();
/// arguments.push(&[b"sleep"]);
/// arguments.push(&[b"1"]);
/// let request = Request::Spawn(Spawn {
///     id: CommandId(1),
///     notify: Notify::Start,
///     terms: Terms::DEFAULT,
///     terminal: None,
///     program: c"sleep",
///     directory: None,
///     arguments: arguments.as_strings(),
///     environment: Environment::Unchanged,
///     descriptors: Placements::Listed(&[]),
///     setup: Setups::Listed(&[]),
///     cgroup: None,
///     namespace: None,
/// });
/// let mut bytes = Vec::new();
/// request.encode(&mut bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spawn<'a> {
    /// The client's name for the command, in every later message about it.
    pub id: CommandId,
    /// Whether the client wants to hear of the start.
    pub notify: Notify,
    /// How and when it is to be stopped.
    pub terms: Terms,
    /// What it has to do with the client's terminal, if anything.
    pub terminal: Option<Terminal>,
    /// The program; without a slash it is looked up in the command's own `PATH`.
    pub program: &'a CStr,
    /// The directory to change to; relative to [`Place::Directory`] if that is given.
    pub directory: Option<&'a CStr>,
    /// `argv`, the name that the program sees first.
    pub arguments: Strings<'a>,
    /// The whole environment.
    pub environment: Environment<'a>,
    /// Which descriptors the command gets.
    pub descriptors: Placements<'a>,
    /// What the child does to itself before it executes the program, in this order.
    pub setup: Setups<'a>,
    /// The name of the cgroup that it starts in, where one is placed.
    pub cgroup: Option<&'a CStr>,
    /// The PID namespace that it lives in, if it is to have one.
    pub namespace: Option<Namespace>,
}

/// An environment, as `KEY=value`.
///
/// Most commands of a client get the same one, and it is most of their request. So a shepherd keeps the
/// last one that it was sent, and the next request may refer to it.
///
/// ```
/// use netrunner_core::spawn::{Environment, StringsBuf};
///
/// let mut strings = StringsBuf::new();
/// strings.push(&[b"PATH", b"=", b"/usr/bin:/bin"]);
/// let environment = Environment::Listed(strings.as_strings());
/// assert_ne!(environment, Environment::Unchanged);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment<'a> {
    /// This one.
    Listed(Strings<'a>),
    /// That of the last request on this lane which listed one. It took at most [`REMEMBERED`] bytes, and
    /// every command from that one on has been started.
    Unchanged,
}

/// The longest environment that a shepherd keeps, in bytes: an idle one is to stay small.
///
/// ```
/// use netrunner_core::spawn::{REMEMBERED, StringsBuf};
///
/// let mut strings = StringsBuf::new();
/// strings.push(&[b"BLOB=", &[b'x'; REMEMBERED]]);
/// // The next request has to list it again.
/// assert!(strings.bytes() > REMEMBERED);
/// ```
pub const REMEMBERED: usize = 32 << 10;

/// Which messages the client wants about a command.
///
/// ```
/// use netrunner_core::{client::Conversation, message::CommandId, spawn::Notify};
///
/// // Of a command whose output alone is wanted one message is enough.
/// let mut lane = Conversation::new();
/// lane.begin(CommandId(1), Notify::End)?;
/// assert!(!lane.awaits_start());
/// # Ok::<(), netrunner_core::client::OutOfTurn>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notify {
    /// `Spawned` once the program is executed, then the end.
    Start,
    /// Only the end (or the failure to start).
    End,
}

/// The times and the manner of a command's end.
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::spawn::Terms;
///
/// let terms = Terms { timeout: Some(Duration::from_secs(60)), ..Terms::DEFAULT };
/// assert_eq!(terms.grace, Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// From the spawn until the stop ladder begins.
    pub timeout: Option<Duration>,
    /// From the stop signal until `SIGKILL`.
    pub grace: Duration,
    /// The number of the stop signal, 1 to 64.
    pub stop_signal: u8,
    /// That of the signal for what outlives the child, if it is another: a hang-up means the leader of
    /// a session, and those of its jobs that are deaf to it (`nohup`) have to be asked otherwise.
    pub leftover_signal: Option<u8>,
    /// What is done with what still lives when the child has ended.
    pub leftovers: Leftovers,
}

/// What is done with descendants that outlive the child.
///
/// ```
/// use netrunner_core::supervise::Supervisor;
/// use netrunner_core::{
///     Time,
///     message::CommandId,
///     spawn::{Leftovers, Terms},
/// };
///
/// let (mut shepherd, now) = (Supervisor::new(), Time::from_nanos(0));
/// let terms = Terms { leftovers: Leftovers::Wait, ..Terms::DEFAULT };
/// shepherd.handle_started(now, CommandId(1), terms);
/// shepherd.handle_child_ended(now);
/// // Something outlives the child, and nothing is done about it.
/// assert_eq!(shepherd.poll_action(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftovers {
    /// They are stopped.
    Stop,
    /// The command lasts until they have ended.
    Wait,
    /// They stay, and the shepherd stays as their reaper.
    Keep,
}

impl<'a> Environment<'a> {
    /// The strings, if they are here.
    ///
    /// ```
    /// use netrunner_core::spawn::{Environment, Strings};
    /// assert_eq!(Environment::Unchanged.listed(), None);
    /// assert_eq!(Environment::Listed(Strings::EMPTY).listed(), Some(Strings::EMPTY));
    /// ```
    pub fn listed(&self) -> Option<Strings<'a>> {
        match *self {
            Environment::Listed(strings) => Some(strings),
            Environment::Unchanged => None,
        }
    }
}

impl Terms {
    /// Those of a command of which nothing else is said: no timeout, five seconds of grace after
    /// `SIGTERM`, and what outlives the child is stopped.
    ///
    /// ```
    /// use netrunner_core::spawn::{Leftovers, Terms};
    /// assert_eq!(Terms::DEFAULT.timeout, None);
    /// assert_eq!(Terms::DEFAULT.leftovers, Leftovers::Stop);
    /// ```
    pub const DEFAULT: Terms = Terms {
        timeout: None,
        grace: Duration::from_secs(5),
        stop_signal: 15,
        leftover_signal: None,
        leftovers: Leftovers::Stop,
    };

    fn encode(&self, out: &mut Writer<'_>) {
        out.option(self.timeout, Writer::duration);
        out.duration(self.grace);
        out.u8(self.stop_signal);
        out.option(self.leftover_signal, Writer::u8);
        out.u8(match self.leftovers {
            Leftovers::Stop => 0,
            Leftovers::Wait => 1,
            Leftovers::Keep => 2,
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Terms, WireError> {
        let timeout = from.option(Reader::duration)?;
        let grace = from.duration()?;
        let stop_signal = from.u8()?;
        let leftover_signal = from.option(Reader::u8)?;
        if !(1..=64).contains(&stop_signal)
            || leftover_signal.is_some_and(|it| !(1..=64).contains(&it))
        {
            return Err(WireError::Malformed);
        }
        let leftovers = match from.u8()? {
            0 => Leftovers::Stop,
            1 => Leftovers::Wait,
            2 => Leftovers::Keep,
            _ => return Err(WireError::Malformed),
        };
        Ok(Terms { timeout, grace, stop_signal, leftover_signal, leftovers })
    }
}

impl<'a> Spawn<'a> {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.id.0);
        out.u8(match self.notify {
            Notify::Start => 0,
            Notify::End => 1,
        });
        self.terms.encode(out);
        out.option(self.terminal, |out, terminal| terminal.encode(out));
        out.bytes(self.program.to_bytes_with_nul());
        out.option(self.directory, |out, directory| out.bytes(directory.to_bytes_with_nul()));
        self.arguments.encode(out);
        out.option(self.environment.listed(), |out, strings| strings.encode(out));
        out.block(|out| self.descriptors.iter().for_each(|placement| placement.encode(out)));
        out.block(|out| self.setup.iter().for_each(|setup| setup.encode(out)));
        out.option(self.cgroup, |out, name| out.bytes(name.to_bytes_with_nul()));
        out.option(self.namespace, |out, namespace| namespace.encode(out));
    }

    /// A cgroup has a name, and both its directories are passed, or there is nothing of it. The name is
    /// one that can be removed: a single one, which leads nowhere else.
    fn is_contained(&self) -> bool {
        let passed = |place| {
            let here = self.descriptors.iter().filter(move |placement| placement.place == place);
            let mut sources = here.map(|placement| placement.source);
            (sources.next(), sources.next())
        };
        let (group, above) = (passed(Place::Cgroup), passed(Place::CgroupAbove));
        match self.cgroup {
            None => group.0.is_none() && above.0.is_none(),
            Some(name) => {
                let name = name.to_bytes();
                let leads_elsewhere = matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
                let once = (Some(Source::Passed), None);
                !leads_elsewhere && group == once && above == once
            }
        }
    }

    pub(crate) fn decode(from: &mut Reader<'a>) -> Result<Spawn<'a>, WireError> {
        let spawn = Spawn {
            id: CommandId(from.u32()?),
            notify: match from.u8()? {
                0 => Notify::Start,
                1 => Notify::End,
                _ => return Err(WireError::Malformed),
            },
            terms: Terms::decode(from)?,
            terminal: from.option(Terminal::decode)?,
            program: from.string()?,
            directory: from.option(Reader::string)?,
            arguments: Strings::decode(from)?,
            environment: match from.option(Strings::decode)? {
                Some(strings) => Environment::Listed(strings),
                None => Environment::Unchanged,
            },
            descriptors: Placements::Received(Encoded::decode(from, Placement::decode)?),
            setup: Setups::Received(Encoded::decode(from, Setup::decode)?),
            cgroup: from.option(Reader::string)?,
            namespace: from.option(Namespace::decode)?,
        };
        let too_many = spawn.descriptors.len() > MAX_PLACEMENTS;
        let fits = spawn.is_contained() && spawn.terminals_fit();
        if spawn.program.is_empty() || spawn.arguments.is_empty() || too_many || !fits {
            return Err(WireError::Malformed);
        }
        Ok(spawn)
    }

    /// Whether there is one terminal at most: the client's, or one of the command's own.
    fn terminals_fit(&self) -> bool {
        let mut own = self.descriptors.iter().filter(|placed| placed.place == Place::Terminal);
        match (own.next(), own.next()) {
            (None, _) => true,
            (Some(own), None) => own.source == Source::Passed && self.terminal.is_none(),
            (Some(_), Some(_)) => false,
        }
    }
}
