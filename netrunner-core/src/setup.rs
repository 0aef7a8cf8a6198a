//! What a child does to itself before it executes its program.

use crate::encoded::Encoded;
use crate::wire::{Reader, WireError, Writer};

/// One thing that the child does to itself before it executes the program.
///
/// ```
/// use netrunner_core::spawn::{Groups, Setup, Setups};
///
/// // In the order in which they can be done: who is no longer root can't change its groups.
/// let setup = [Setup::Groups(Groups::Listed(&[100])), Setup::Gid(100), Setup::Uid(1_000)];
/// assert_eq!(Setups::Listed(&setup).iter().count(), 3);
/// ```
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

/// What the child does to itself.
///
/// ```
/// use netrunner_core::spawn::{Setup, Setups};
/// let setups = Setups::Listed(&[Setup::Umask(0o022), Setup::NoNewPrivileges]);
/// assert_eq!(setups.iter().last(), Some(Setup::NoNewPrivileges));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setups<'a> {
    /// As the client has it.
    Listed(&'a [Setup<'a>]),
    /// As it was received.
    Received(Encoded<'a>),
}

/// A list of group numbers.
///
/// ```
/// use netrunner_core::spawn::Groups;
/// let (listed, received) =
///     (Groups::Listed(&[4, 24]), Groups::Received(&[4, 0, 0, 0, 24, 0, 0, 0]));
/// assert!(listed.iter().eq(received.iter()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups<'a> {
    /// As the client has it.
    Listed(&'a [u32]),
    /// As it was received: little endian, four bytes each.
    Received(&'a [u8]),
}

impl<'a> Groups<'a> {
    /// One by one.
    ///
    /// ```
    /// use netrunner_core::spawn::Groups;
    /// assert_eq!(Groups::Received(&[0, 1, 0, 0]).iter().next(), Some(256));
    /// ```
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

impl<'a> Setups<'a> {
    /// One by one.
    ///
    /// ```
    /// use netrunner_core::spawn::{Setup, Setups};
    /// let mut setups = Setups::Listed(&[Setup::Nice(5)]).iter();
    /// assert_eq!(setups.next(), Some(Setup::Nice(5)));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Setup<'a>> + use<'a> {
        let (listed, received) = match *self {
            Setups::Listed(list) => (list, None),
            Setups::Received(list) => (&[][..], Some(list)),
        };
        let received = received.map(|list| list.iter(Setup::decode)).into_iter().flatten();
        listed.iter().copied().chain(received)
    }
}

impl<'a> Setup<'a> {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
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

    pub(crate) fn decode(from: &mut Reader<'a>) -> Result<Setup<'a>, WireError> {
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
