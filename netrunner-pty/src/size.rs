//! The size of a terminal, in characters.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

/// The size of a terminal in characters: rows first, as `stty size` says it.
///
/// ```
/// use netrunner_pty::WinSize;
///
/// let size = WinSize::new(24, 80);
/// assert_eq!((size.rows(), size.cols()), (24, 80));
/// assert_eq!(size.to_string(), "24x80");
/// assert_eq!("24x80".parse(), Ok(size));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinSize {
    rows: u16,
    cols: u16,
}

impl WinSize {
    /// So many rows of so many characters.
    ///
    /// ```
    /// use netrunner_pty::WinSize;
    ///
    /// const USUAL: WinSize = WinSize::new(24, 80);
    /// assert_eq!(USUAL.to_string(), "24x80");
    /// ```
    #[must_use]
    pub const fn new(rows: u16, cols: u16) -> WinSize {
        WinSize { rows, cols }
    }

    /// How many lines it has.
    ///
    /// ```
    /// assert_eq!(netrunner_pty::WinSize::new(24, 80).rows(), 24);
    /// ```
    #[must_use]
    pub const fn rows(self) -> u16 {
        self.rows
    }

    /// How many characters a line has.
    ///
    /// ```
    /// assert_eq!(netrunner_pty::WinSize::new(24, 80).cols(), 80);
    /// ```
    #[must_use]
    pub const fn cols(self) -> u16 {
        self.cols
    }

    /// Whether there is no room at all: a terminal whose size nobody has set says so.
    ///
    /// ```
    /// assert!(netrunner_pty::WinSize::new(24, 0).is_empty());
    /// ```
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// The size of a terminal, asked for at either end (`TIOCGWINSZ`).
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert_eq!(WinSize::of(&pair.subsidiary)?, WinSize::new(24, 80));
    /// assert!(WinSize::of(std::fs::File::open("/dev/null")?).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn of(terminal: impl AsFd) -> io::Result<WinSize> {
        let size = tcgetwinsize(terminal)?;
        Ok(WinSize::new(size.ws_row, size.ws_col))
    }

    /// Gives a terminal this size, at either end (`TIOCSWINSZ`). The group in its foreground gets
    /// SIGWINCH if that is a change.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// WinSize::new(50, 132).set(&pair.manager)?;
    /// assert_eq!(WinSize::of(&pair.subsidiary)?, WinSize::new(50, 132));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn set(self, terminal: impl AsFd) -> io::Result<()> {
        let size = Winsize { ws_row: self.rows, ws_col: self.cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(terminal, size)?)
    }
}

impl fmt::Display for WinSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows, self.cols)
    }
}

/// A text that is no size; made by [`WinSize::from_str`].
///
/// ```
/// let error = "80".parse::<netrunner_pty::WinSize>().unwrap_err();
/// assert_eq!(error.to_string(), "a size is ROWSxCOLS, each from 1 to 65535");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSize(());

impl fmt::Display for NoSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size is ROWSxCOLS, each from 1 to 65535")
    }
}

impl std::error::Error for NoSize {}

impl FromStr for WinSize {
    type Err = NoSize;

    /// `24x80`, each from 1 to 65535.
    fn from_str(text: &str) -> Result<WinSize, NoSize> {
        // `parse` itself would take a sign.
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number > 0)
        };
        let (rows, cols) = text.split_once('x').ok_or(NoSize(()))?;
        match (number(rows), number(cols)) {
            (Some(rows), Some(cols)) => Ok(WinSize::new(rows, cols)),
            (None, _) | (_, None) => Err(NoSize(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_strictly() {
        assert_eq!("1x65535".parse(), Ok(WinSize::new(1, 65535)));
        for text in [
            "", "24", "24x", "x80", "0x80", "24x0", "24x65536", "+24x80", " 24x80", "24X80",
            "24x80x1",
        ] {
            assert!(text.parse::<WinSize>().is_err(), "{text:?}");
        }
    }
}
