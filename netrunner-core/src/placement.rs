//! Which descriptors a command gets, and from where.

use crate::encoded::Encoded;
use crate::wire::{MAX_DESCRIPTORS, Reader, WireError, Writer};

/// The most placements that one request can hold: twice what can be passed with it, so that the work
/// of planning them, which grows with their square, stays small.
///
/// ```
/// use netrunner_core::{spawn::MAX_PLACEMENTS, wire::MAX_DESCRIPTORS};
/// assert!(MAX_PLACEMENTS >= MAX_DESCRIPTORS);
/// ```
pub const MAX_PLACEMENTS: usize = 2 * MAX_DESCRIPTORS;

/// One descriptor of the command.
///
/// ```
/// use netrunner_core::spawn::{Place, Placement, Source};
///
/// // A command without input, whose output is what the client passes with the request.
/// let stdin = Placement { place: Place::Number(0), source: Source::Null };
/// let stdout = Placement { place: Place::Number(1), source: Source::Passed };
/// assert_ne!(stdin, stdout);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// What it becomes.
    pub place: Place,
    /// Where it comes from.
    pub source: Source,
}

/// What a descriptor becomes in the child.
///
/// ```
/// use netrunner_core::spawn::{Place, Placement, Source};
/// let descriptor = Placement { place: Place::Number(2), source: Source::Passed };
/// let directory = Placement { place: Place::Directory, source: Source::Passed };
/// assert_ne!(descriptor, directory);
/// ```
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
///
/// ```
/// use netrunner_core::spawn::{Place, Placement, Placements, Source};
///
/// let placed = [
///     Placement { place: Place::Number(1), source: Source::Passed },
///     Placement { place: Place::Number(2), source: Source::Null },
/// ];
/// // One descriptor travels with the request.
/// assert_eq!(Placements::Listed(&placed).passed(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The next descriptor that came with the frame.
    Passed,
    /// `/dev/null`.
    Null,
    /// Nowhere: the number is closed in the child.
    Closed,
}

/// The command's descriptors.
///
/// ```
/// use netrunner_core::spawn::{Place, Placement, Placements, Source};
///
/// let placed = [Placement { place: Place::Number(0), source: Source::Closed }];
/// let placements = Placements::Listed(&placed);
/// assert_eq!(placements.iter().next(), Some(placed[0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placements<'a> {
    /// As the client has them.
    Listed(&'a [Placement]),
    /// As they were received.
    Received(Encoded<'a>),
}

impl<'a> Placements<'a> {
    /// How many there are.
    ///
    /// ```
    /// use netrunner_core::spawn::{Place, Placement, Placements, Source};
    /// let placed = [Placement { place: Place::Number(0), source: Source::Null }; 3];
    /// assert_eq!(Placements::Listed(&placed).len(), 3);
    /// ```
    pub fn len(&self) -> usize {
        match self {
            Placements::Listed(list) => list.len(),
            Placements::Received(list) => list.count,
        }
    }

    /// Whether there are none.
    ///
    /// ```
    /// use netrunner_core::spawn::Placements;
    /// assert!(Placements::Listed(&[]).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many descriptors come with the frame.
    ///
    /// ```
    /// use netrunner_core::spawn::{Place, Placement, Placements, Source};
    /// let placed = [Placement { place: Place::Number(0), source: Source::Null }];
    /// assert_eq!(Placements::Listed(&placed).passed(), 0);
    /// ```
    pub fn passed(&self) -> usize {
        self.iter().filter(|placement| placement.source == Source::Passed).count()
    }

    /// One by one.
    ///
    /// ```
    /// use netrunner_core::spawn::{Place, Placement, Placements, Source};
    ///
    /// let placed = [Placement { place: Place::Number(7), source: Source::Passed }];
    /// for placement in Placements::Listed(&placed).iter() {
    ///     assert_eq!(placement.place, Place::Number(7));
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Placement> + use<'a> {
        let (listed, received) = match *self {
            Placements::Listed(list) => (list, None),
            Placements::Received(list) => (&[][..], Some(list)),
        };
        let received = received.map(|list| list.iter(Placement::decode)).into_iter().flatten();
        listed.iter().copied().chain(received)
    }
}

impl Placement {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
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

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Placement, WireError> {
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
