//! What a request says of the PID namespace that its command is to live in.

use crate::wire::{Reader, WireError, Writer};

/// A PID namespace of the command's own.
///
/// ```
/// use netrunner_core::namespace::{Namespace, Need, Proc};
///
/// // Without one the command is not started; `ps` sees in it what is outside as well.
/// let namespace = Namespace { need: Need::Required, proc: Proc::Shared };
/// assert_ne!(namespace, Namespace { proc: Proc::Own, ..namespace });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// What becomes of the command where it can't be had.
    pub need: Need,
    /// Which processes it sees in `/proc`.
    pub proc: Proc,
}

/// What becomes of a command whose namespace can't be had.
///
/// ```
/// use netrunner_core::namespace::{Namespace, Need, Proc};
/// let namespace = Namespace { need: Need::IfAvailable, proc: Proc::Shared };
/// assert_ne!(namespace.need, Need::Required);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// It is not started.
    Required,
    /// It is started without.
    IfAvailable,
}

/// The `/proc` of a command in a namespace.
///
/// ```
/// use netrunner_core::namespace::{Namespace, Need, Proc};
/// let namespace = Namespace { need: Need::Required, proc: Proc::Own };
/// assert_ne!(namespace.proc, Proc::Shared);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proc {
    /// That of everybody, with the numbers that processes have outside.
    Shared,
    /// One of its own, in a mount namespace, with the numbers that its processes have inside.
    Own,
}

/// The most that a byte of it holds.
const HIGHEST: u8 = 3;

impl Namespace {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
        let need = u8::from(self.need == Need::IfAvailable);
        let proc = u8::from(self.proc == Proc::Own);
        out.u8(need | proc << 1);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Namespace, WireError> {
        let flags = from.u8()?;
        if flags > HIGHEST {
            return Err(WireError::Malformed);
        }
        let need = if flags & 1 == 0 { Need::Required } else { Need::IfAvailable };
        let proc = if flags & 2 == 0 { Proc::Shared } else { Proc::Own };
        Ok(Namespace { need, proc })
    }
}
