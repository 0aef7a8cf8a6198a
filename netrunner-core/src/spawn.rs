//! What a request to start a command holds, laid out so that the shepherd can use it in place.
//!
//! Strings travel with their NUL: the shepherd points argv and envp into the received frame and
//! copies nothing. Lists are checked as a whole when the frame is decoded, so iterating can't fail.

use core::ffi::CStr;
use core::time::Duration;

use crate::message::CommandId;
use crate::namespace::Namespace;
pub use crate::strings::{Strings, StringsBuf};
use crate::terminal::Terminal;
use crate::wire::{MAX_DESCRIPTORS, Reader, WireError, Writer};

/// A request to start one command.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment<'a> {
    /// This one.
    Listed(Strings<'a>),
    /// That of the last request on this lane which listed one. It took at most [`REMEMBERED`] bytes, and
    /// every command from that one on has been started.
    Unchanged,
}

/// The longest environment that a shepherd keeps, in bytes: an idle one is to stay small.
pub const REMEMBERED: usize = 32 << 10;

/// Which messages the client wants about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notify {
    /// `Spawned` once the program is executed, then the end.
    Start,
    /// Only the end (or the failure to start).
    End,
}

/// The times and the manner of a command's end.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftovers {
    /// They are stopped.
    Stop,
    /// The command lasts until they have ended.
    Wait,
    /// They stay, and the shepherd stays as their reaper.
    Keep,
}

/// The most placements that one request can hold: twice what can be passed with it, so that the work
/// of planning them, which grows with their square, stays small.
pub const MAX_PLACEMENTS: usize = 2 * MAX_DESCRIPTORS;

/// One descriptor of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// What it becomes.
    pub place: Place,
    /// Where it comes from.
    pub source: Source,
}

/// What a descriptor becomes in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The directory that the child starts from; not open in the program.
    Directory,
    /// The terminal of a session that the child leads, instead of a group in the shepherd's session;
    /// not open in the program. It is always passed.
    Terminal,
    /// This descriptor number.
    Number(u32),
    /// The directory of the cgroup that the child starts in; not open in the program.
    Cgroup,
    /// The directory above that, from which the shepherd removes it; not open in the program.
    CgroupAbove,
}

/// Where a descriptor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The next descriptor that came with the frame.
    Passed,
    /// `/dev/null`.
    Null,
    /// Nowhere: the number is closed in the child.
    Closed,
}

/// One thing that the child does to itself before it executes the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup<'a> {
    /// `umask(2)`.
    Umask(u32),
    /// `nice(2)`: relative to the guardian's niceness.
    Nice(i32),
    /// `setrlimit(2)`.
    Limit {
        /// `RLIMIT_…`.
        resource: u32,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    },
    /// `setgroups(2)`.
    Groups(Groups<'a>),
    /// `setgid(2)`: real, effective and saved.
    Gid(u32),
    /// `setuid(2)`: real, effective and saved.
    Uid(u32),
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges,
}

/// The command's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placements<'a> {
    /// As the client has them.
    Listed(&'a [Placement]),
    /// As they were received.
    Received(Encoded<'a>),
}

/// What the child does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setups<'a> {
    /// As the client has it.
    Listed(&'a [Setup<'a>]),
    /// As it was received.
    Received(Encoded<'a>),
}

/// A list in the bytes of a frame, checked when it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    block: &'a [u8],
    count: usize,
}

impl<'a> Encoded<'a> {
    fn decode<T>(
        from: &mut Reader<'a>,
        item: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> Result<Encoded<'a>, WireError> {
        let block = from.bytes()?;
        let mut count = 0;
        Reader::whole(block, |reader| {
            while !reader.is_empty() {
                item(reader)?;
                count += 1;
            }
            Ok(())
        })?;
        Ok(Encoded { block, count })
    }

    fn iter<T>(
        self,
        item: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> impl Iterator<Item = T> {
        let mut rest = Reader::over(self.block);
        core::iter::from_fn(move || if rest.is_empty() { None } else { item(&mut rest).ok() })
    }
}

impl<'a> Placements<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Placements::Listed(list) => list.len(),
            Placements::Received(list) => list.count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many descriptors come with the frame.
    pub fn passed(&self) -> usize {
        self.iter().filter(|placement| placement.source == Source::Passed).count()
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = Placement> + use<'a> {
        let (listed, received) = match *self {
            Placements::Listed(list) => (list, None),
            Placements::Received(list) => (&[][..], Some(list)),
        };
        let received = received.map(|list| list.iter(Placement::decode)).into_iter().flatten();
        listed.iter().copied().chain(received)
    }
}

impl<'a> Setups<'a> {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = Setup<'a>> + use<'a> {
        let (listed, received) = match *self {
            Setups::Listed(list) => (list, None),
            Setups::Received(list) => (&[][..], Some(list)),
        };
        let received = received.map(|list| list.iter(Setup::decode)).into_iter().flatten();
        listed.iter().copied().chain(received)
    }
}

impl Placement {
    fn encode(self, out: &mut Writer<'_>) {
        match self.place {
            Place::Directory => out.u8(0),
            Place::Number(number) => {
                out.u8(1);
                out.u32(number);
            }
            Place::Cgroup => out.u8(2),
            Place::CgroupAbove => out.u8(3),
            Place::Terminal => out.u8(4),
        }
        out.u8(match self.source {
            Source::Passed => 0,
            Source::Null => 1,
            Source::Closed => 2,
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Placement, WireError> {
        let place = match from.u8()? {
            0 => Place::Directory,
            1 => Place::Number(from.u32()?),
            2 => Place::Cgroup,
            3 => Place::CgroupAbove,
            4 => Place::Terminal,
            _ => return Err(WireError::Malformed),
        };
        let source = match from.u8()? {
            0 => Source::Passed,
            1 => Source::Null,
            2 => Source::Closed,
            _ => return Err(WireError::Malformed),
        };
        Ok(Placement { place, source })
    }
}

/// A list of group numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups<'a> {
    /// As the client has it.
    Listed(&'a [u32]),
    /// As it was received: little endian, four bytes each.
    Received(&'a [u8]),
}

impl<'a> Groups<'a> {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (listed, received) = match *self {
            Groups::Listed(list) => (list, &[][..]),
            Groups::Received(block) => (&[][..], block),
        };
        let received = received
            .chunks_exact(4)
            .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        listed.iter().copied().chain(received)
    }
}

impl<'a> Setup<'a> {
    fn encode(&self, out: &mut Writer<'_>) {
        match *self {
            Setup::Umask(mask) => {
                out.u8(0);
                out.u32(mask);
            }
            Setup::Nice(by) => {
                out.u8(1);
                out.i32(by);
            }
            Setup::Limit { resource, soft, hard } => {
                out.u8(2);
                out.u32(resource);
                out.u64(soft);
                out.u64(hard);
            }
            Setup::Groups(groups) => {
                out.u8(3);
                out.u32(u32::try_from(groups.iter().count()).expect("fewer groups than 4 GiB"));
                groups.iter().for_each(|group| out.u32(group));
            }
            Setup::Gid(gid) => {
                out.u8(4);
                out.u32(gid);
            }
            Setup::Uid(uid) => {
                out.u8(5);
                out.u32(uid);
            }
            Setup::NoNewPrivileges => out.u8(6),
        }
    }

    fn decode(from: &mut Reader<'a>) -> Result<Setup<'a>, WireError> {
        Ok(match from.u8()? {
            0 => Setup::Umask(from.u32()?),
            1 => Setup::Nice(from.i32()?),
            2 => Setup::Limit { resource: from.u32()?, soft: from.u64()?, hard: from.u64()? },
            3 => {
                let length = (from.u32()? as usize).checked_mul(4).ok_or(WireError::Malformed)?;
                Setup::Groups(Groups::Received(from.take(length)?))
            }
            4 => Setup::Gid(from.u32()?),
            5 => Setup::Uid(from.u32()?),
            6 => Setup::NoNewPrivileges,
            _ => return Err(WireError::Malformed),
        })
    }
}

impl<'a> Environment<'a> {
    /// The strings, if they are here.
    pub fn listed(&self) -> Option<Strings<'a>> {
        match *self {
            Environment::Listed(strings) => Some(strings),
            Environment::Unchanged => None,
        }
    }
}

impl Terms {
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
