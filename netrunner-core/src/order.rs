//! What a client asks of its guardian.

use alloc::vec::Vec;

use crate::message::{Pid, expect, kind};
use crate::wire::{self, Frame, Reader, WireError};

/// From the client to its guardian.
///
/// ```
/// use netrunner_core::message::{Order, Session};
///
/// let mut bytes = Vec::new();
/// Order::Guard.encode(&mut bytes);
/// Order::Bear(Session::Own).encode(&mut bytes);
/// // Two frames, and two descriptors to send along.
/// assert_eq!(Order::Guard.descriptors() + Order::Bear(Session::Own).descriptors(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Become the guardian of the client whose pidfd comes with this; on a kernel without pidfds one
    /// end of a socket, the other end of which the client keeps for as long as it needs a guardian.
    Guard,
    /// Fork a shepherd that serves the lane whose far end comes with this.
    Bear(Session),
    /// The client lives on and will ask for nothing more: its running commands are no reason to act. It
    /// keeps the lane open beside them, for the end of the lane is the client's.
    Retire,
    /// `SIGKILL` this shepherd, which does not react, and of which the client has no pidfd.
    Kill(Pid),
    /// Commands get cgroups below the directory that comes with this. What nobody lives for there any
    /// more, when the last shepherd has ended, is the guardian's to end.
    Groups,
    /// Tokens of a make jobserver are on loan to the client. With this come one end of a socket, the
    /// reading end of the pipe in which the tokens are while they are at work, and the writing end of
    /// make's. For each byte that comes down the socket the guardian gives one back and answers with a
    /// byte. When the client is gone and nothing of its commands is left, it gives all of them back.
    Loan,
}

/// The session that a new shepherd lives in.
///
/// ```
/// use netrunner_core::message::{Order, Session};
///
/// // For a command that uses the client's terminal.
/// let mut bytes = Vec::new();
/// Order::Bear(Session::Client).encode(&mut bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// One of its own, without a terminal.
    Own,
    /// The client's, for commands that use its terminal.
    Client,
}

impl Order {
    /// How many descriptors travel with it.
    ///
    /// ```
    /// use netrunner_core::message::{Order, Pid};
    /// assert_eq!(Order::Loan.descriptors(), 3);
    /// assert_eq!(Order::Kill(Pid(100)).descriptors(), 0);
    /// ```
    pub fn descriptors(&self) -> usize {
        match self {
            Order::Guard | Order::Bear(_) | Order::Groups => 1,
            Order::Loan => 3,
            Order::Retire | Order::Kill(_) => 0,
        }
    }

    /// Appends its frame to `out`.
    ///
    /// ```
    /// use netrunner_core::{message::Order, wire};
    ///
    /// let mut bytes = Vec::new();
    /// Order::Retire.encode(&mut bytes);
    /// assert_eq!(bytes.len(), wire::HEADER);
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Order::Guard => wire::frame(out, kind::GUARD, 1, |_| ()),
            Order::Bear(session) => wire::frame(out, kind::BEAR, 1, |out| {
                out.u8(match session {
                    Session::Own => 0,
                    Session::Client => 1,
                });
            }),
            Order::Retire => wire::frame(out, kind::RETIRE, 0, |_| ()),
            Order::Kill(pid) => wire::frame(out, kind::KILL_SHEPHERD, 0, |out| out.u32(pid.0)),
            Order::Groups => wire::frame(out, kind::GROUPS, 1, |_| ()),
            Order::Loan => wire::frame(out, kind::LOAN, 3, |_| ()),
        }
    }

    /// Reads it from a frame.
    ///
    /// ```
    /// use netrunner_core::message::{Order, Pid};
    /// use netrunner_core::wire::{Inbox, MAX_REQUEST};
    ///
    /// let mut bytes = Vec::new();
    /// Order::Kill(Pid(100)).encode(&mut bytes);
    /// let mut inbox = Inbox::new(MAX_REQUEST);
    /// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
    /// inbox.filled(bytes.len());
    /// let frame = inbox.next_frame()?.expect("it is whole");
    /// assert_eq!(Order::decode(frame)?, Order::Kill(Pid(100)));
    /// # Ok::<(), netrunner_core::wire::WireError>(())
    /// ```
    pub fn decode(frame: Frame<'_>) -> Result<Order, WireError> {
        let order = Reader::whole(frame.payload, |from| match frame.kind {
            kind::GUARD => Ok(Order::Guard),
            kind::BEAR => match from.u8()? {
                0 => Ok(Order::Bear(Session::Own)),
                1 => Ok(Order::Bear(Session::Client)),
                _ => Err(WireError::Malformed),
            },
            kind::RETIRE => Ok(Order::Retire),
            kind::KILL_SHEPHERD => Ok(Order::Kill(Pid::decode(from)?)),
            kind::GROUPS => Ok(Order::Groups),
            kind::LOAN => Ok(Order::Loan),
            other => Err(WireError::UnknownKind(other)),
        })?;
        expect(&frame, order.descriptors())?;
        Ok(order)
    }
}
