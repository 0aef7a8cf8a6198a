//! The characters that a terminal acts upon, by name.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{SpecialCodeIndex, tcgetattr};

/// A character that a terminal acts upon instead of passing it on, as long as its modes say so.
///
/// Which byte it is, the terminal says: programs and users change them (`stty eof ^X`).
///
/// ```
/// use netrunner_pty::{Control, Modes, WinSize, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// assert_eq!(Control::Interrupt.of(&pair.manager)?, Some(0x03));
/// assert_eq!(Control::EndOfFile.of(&pair.manager)?, Some(0x04));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Control {
    /// The end of the input, at the beginning of a line; elsewhere it hands over what was typed so
    /// far. Ctrl-D.
    EndOfFile,
    /// SIGINT to the foreground. Ctrl-C.
    Interrupt,
    /// SIGQUIT to the foreground. Ctrl-\.
    Quit,
    /// SIGTSTP to the foreground. Ctrl-Z.
    Suspend,
    /// Takes back the last character. Backspace.
    Erase,
    /// Takes back the last word. Ctrl-W.
    EraseWord,
    /// Takes back the line. Ctrl-U.
    EraseLine,
    /// The next character is no control character. Ctrl-V.
    Literal,
    /// Holds the output. Ctrl-S.
    Hold,
    /// Lets the output go on. Ctrl-Q.
    Resume,
}

impl Control {
    fn index(self) -> SpecialCodeIndex {
        match self {
            Control::EndOfFile => SpecialCodeIndex::VEOF,
            Control::Interrupt => SpecialCodeIndex::VINTR,
            Control::Quit => SpecialCodeIndex::VQUIT,
            Control::Suspend => SpecialCodeIndex::VSUSP,
            Control::Erase => SpecialCodeIndex::VERASE,
            Control::EraseWord => SpecialCodeIndex::VWERASE,
            Control::EraseLine => SpecialCodeIndex::VKILL,
            Control::Literal => SpecialCodeIndex::VLNEXT,
            Control::Hold => SpecialCodeIndex::VSTOP,
            Control::Resume => SpecialCodeIndex::VSTART,
        }
    }

    /// The byte that a terminal takes for it now, at either end; `None` where it is turned off.
    ///
    /// ```
    /// use netrunner_pty::{Control, Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert_eq!(Control::Suspend.of(&pair.subsidiary)?, Some(0x1a)); // Ctrl-Z
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn of(self, terminal: impl AsFd) -> io::Result<Option<u8>> {
        let byte = tcgetattr(terminal)?.special_codes[self.index()];
        // `_POSIX_VDISABLE`.
        Ok((byte != 0).then_some(byte))
    }
}
