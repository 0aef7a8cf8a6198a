//! How a terminal treats what is typed and what is shown, as it is to be before a program meets it.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

/// The modes that a terminal is to have when a program starts on it.
///
/// Without anything said they are the system's for a new terminal: lines are edited, what is typed
/// is shown, Ctrl-C interrupts, `\n` is shown as `\r\n`.
///
/// ```
/// use netrunner_pty::{Modes, WinSize, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::raw())?;
/// assert!(!Modes::is_canonical(&pair.subsidiary)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// To begin with, if not with what the terminal has.
    base: Option<Termios>,
    raw: bool,
    echo: Option<bool>,
    canonical: Option<bool>,
    crlf: Option<bool>,
}

impl Modes {
    /// The modes of a new terminal.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert!(Modes::is_echoing(&pair.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Modes {
        Modes::default()
    }

    /// The modes of another terminal, all of them, its control characters too.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let size = WinSize::new(24, 80);
    /// let outer = open(size, &Modes::new().echo(false))?;
    /// let inner = open(size, &Modes::of(&outer.subsidiary)?)?;
    /// assert!(!Modes::is_echoing(&inner.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is none.
    pub fn of(terminal: impl AsFd) -> io::Result<Modes> {
        Ok(Modes { base: Some(tcgetattr(terminal)?), ..Modes::default() })
    }

    /// Every byte goes through untouched and at once, in both directions: `cfmakeraw(3)`.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::raw())?;
    /// assert!(!Modes::is_canonical(&pair.subsidiary)? && !Modes::is_echoing(&pair.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn raw() -> Modes {
        Modes { raw: true, ..Modes::default() }
    }

    /// Whether what is typed is shown.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new().echo(false))?;
    /// assert!(!Modes::is_echoing(&pair.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn echo(mut self, on: bool) -> Modes {
        self.echo = Some(on);
        self
    }

    /// Whether a program gets what is typed line by line, edited, or at once. A line that is edited
    /// holds 4095 bytes; Linux drops what is typed beyond that.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new().canonical(false))?;
    /// assert!(!Modes::is_canonical(&pair.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn canonical(mut self, on: bool) -> Modes {
        self.canonical = Some(on);
        self
    }

    /// Whether `\n` is shown as `\r\n`. What records the output for people to read later may do
    /// without; what draws a screen from it may not.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let mut pair = open(WinSize::new(24, 80), &Modes::new().crlf(false))?;
    /// std::fs::File::from(pair.subsidiary).write_all(b"line\n")?;
    /// let mut shown = String::new();
    /// pair.manager.read_to_string(&mut shown)?;
    /// assert_eq!(shown, "line\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn crlf(mut self, on: bool) -> Modes {
        self.crlf = Some(on);
        self
    }

    /// Gives a terminal these modes, at either end.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// Modes::new().echo(false).apply(&pair.manager)?;
    /// assert!(!Modes::is_echoing(&pair.subsidiary)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn apply(&self, terminal: impl AsFd) -> io::Result<()> {
        let terminal = terminal.as_fd();
        if self.is_untouched() {
            return Ok(());
        }
        let mut modes = match &self.base {
            Some(modes) => modes.clone(),
            None => tcgetattr(terminal)?,
        };
        if self.raw {
            modes.make_raw();
        }
        if let Some(on) = self.echo {
            modes.local_modes.set(LocalModes::ECHO, on);
        }
        if let Some(on) = self.canonical {
            modes.local_modes.set(LocalModes::ICANON, on);
        }
        if let Some(on) = self.crlf {
            modes.output_modes.set(OutputModes::ONLCR, on);
            if on {
                modes.output_modes.insert(OutputModes::OPOST);
            }
        }
        Ok(tcsetattr(terminal, OptionalActions::Now, &modes)?)
    }

    fn is_untouched(&self) -> bool {
        let Modes { base, raw, echo, canonical, crlf } = self;
        base.is_none() && !raw && echo.is_none() && canonical.is_none() && crlf.is_none()
    }

    /// Whether a terminal gives its programs whole lines just now, and knows an end of file.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert!(Modes::is_canonical(&pair.manager)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn is_canonical(terminal: impl AsFd) -> io::Result<bool> {
        Ok(tcgetattr(terminal)?.local_modes.contains(LocalModes::ICANON))
    }

    /// Whether a terminal shows what is typed just now: a prompt for a password turns it off.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert!(Modes::is_echoing(&pair.manager)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ENOTTY where it is no terminal.
    pub fn is_echoing(terminal: impl AsFd) -> io::Result<bool> {
        Ok(tcgetattr(terminal)?.local_modes.contains(LocalModes::ECHO))
    }
}
