//! Signals by name and number. Sending one is the shepherd's work; this file only knows what
//! exists on this system.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::Error;

/// A signal, by its name or its number.
///
/// Only signals that exist on this system can be made, real-time ones included; the two numbers
/// that the C library keeps for itself are refused.
///
/// ```
/// use netrunner_sync::Signal;
///
/// let signal: Signal = "TERM".parse()?;
/// assert_eq!(signal, Signal::TERM);
/// assert_eq!("sigterm".parse::<Signal>()?, Signal::TERM);
/// assert_eq!("15".parse::<Signal>()?, Signal::TERM);
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!("RTMIN+1".parse::<Signal>()?.to_string(), "SIGRTMIN+1");
/// assert!(Signal::try_from(0).is_err());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident $constant:ident $about:literal)*) => {
        impl Signal {
            $(
                #[doc = concat!(
                    $about, "\n\n```\nuse netrunner_sync::Signal;\nassert_eq!(Signal::", stringify!($name),
                    ".to_string(), \"", stringify!($constant), "\");\n```",
                )]
                pub const $name: Signal = Signal(libc::$constant);
            )*
        }

        const NAMED: &[(&str, Signal)] = &[$((stringify!($name), Signal::$name)),*];
    };
}

signals! {
    HUP SIGHUP "The terminal went away, or: read your configuration again."
    INT SIGINT "Interrupt, as by Ctrl-C."
    QUIT SIGQUIT "Quit with a core dump, as by Ctrl-\\."
    ILL SIGILL "An illegal instruction."
    TRAP SIGTRAP "A trace trap."
    ABRT SIGABRT "`abort` was called."
    BUS SIGBUS "A bad memory access."
    FPE SIGFPE "An arithmetic error."
    KILL SIGKILL "The end, which cannot be caught."
    USR1 SIGUSR1 "For the program's own use."
    SEGV SIGSEGV "An invalid memory reference."
    USR2 SIGUSR2 "For the program's own use."
    PIPE SIGPIPE "A write to a pipe that nobody reads."
    ALRM SIGALRM "A timer of `alarm` ran out."
    TERM SIGTERM "The polite request to end: what a stop sends first."
    CHLD SIGCHLD "A child ended, stopped or went on."
    CONT SIGCONT "Go on after a stop."
    STOP SIGSTOP "Stop, which cannot be caught."
    TSTP SIGTSTP "Stop, as by Ctrl-Z."
    TTIN SIGTTIN "A background process read from its terminal."
    TTOU SIGTTOU "A background process wrote to its terminal."
    URG SIGURG "Urgent data on a socket."
    XCPU SIGXCPU "The limit on CPU time was reached."
    XFSZ SIGXFSZ "The limit on file size was reached."
    VTALRM SIGVTALRM "A virtual timer ran out."
    PROF SIGPROF "A profiling timer ran out."
    WINCH SIGWINCH "The terminal changed its size."
    IO SIGIO "Input or output became possible."
    SYS SIGSYS "A bad system call."
}

#[cfg(target_os = "linux")]
impl Signal {
    /// The power fails.
    ///
    /// ```
    /// use netrunner_sync::Signal;
    /// assert_eq!(Signal::PWR.to_string(), "SIGPWR");
    /// ```
    pub const PWR: Signal = Signal(libc::SIGPWR);
}

#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))
))]
impl Signal {
    /// A fault of the coprocessor's stack; nothing sends it today.
    ///
    /// ```
    /// use netrunner_sync::Signal;
    /// assert_eq!(Signal::STKFLT.to_string(), "SIGSTKFLT");
    /// ```
    pub const STKFLT: Signal = Signal(libc::SIGSTKFLT);
}

/// Other spellings, and the signals that not every system has.
#[rustfmt::skip]
const ALSO: &[(&str, Signal)] = &[
    #[cfg(target_os = "linux")]
    ("PWR", Signal::PWR),
    #[cfg(all(
        target_os = "linux",
        not(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))
    ))]
    ("STKFLT", Signal::STKFLT),
    ("IOT", Signal::ABRT),
    ("CLD", Signal::CHLD),
    ("POLL", Signal::IO),
];

/// The numbers of the real-time signals that are nobody's own.
#[cfg(target_os = "linux")]
fn real_time() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// `SIGRTMIN` and `SIGRTMAX` of signal(3), of which the `libc` crate does not know.
#[cfg(target_os = "freebsd")]
fn real_time() -> RangeInclusive<i32> {
    65..=126
}

/// None at all.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
#[expect(clippy::reversed_empty_ranges, reason = "an empty one")]
fn real_time() -> RangeInclusive<i32> {
    1..=0
}

impl Signal {
    /// The number of this signal on this system.
    ///
    /// ```
    /// assert_eq!(netrunner_sync::Signal::KILL.as_raw(), 9);
    /// ```
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    fn name(self) -> Option<&'static str> {
        NAMED.iter().chain(ALSO).find(|(_, signal)| *signal == self).map(|(name, _)| *name)
    }

    fn known(number: i32) -> Option<Signal> {
        let signal = Signal(number);
        (real_time().contains(&number) || signal.name().is_some()).then_some(signal)
    }

    /// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`, already in upper case and without `SIG`.
    fn real_time(name: &str) -> Option<Signal> {
        let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
            _ if rest.is_empty() => Some(0),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            Some(_) | None => None,
        };
        let range = real_time();
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            range.start().checked_add(offset(rest, '+')?)?
        } else {
            range.end().checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
        };
        range.contains(&number).then_some(Signal(number))
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// Takes a name with or without `SIG`, in either case, `RTMIN+n`, `RTMAX-n`, or a number.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_input`] where this system has no such signal.
    fn from_str(text: &str) -> Result<Signal, Error> {
        let unknown = || Error::invalid(format!("unknown signal `{text}`"));
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let number = text.parse().map_err(|_| unknown())?;
            return Signal::known(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        NAMED
            .iter()
            .chain(ALSO)
            .find(|(known, _)| *known == name)
            .map(|(_, signal)| *signal)
            .or_else(|| Signal::real_time(name))
            .ok_or_else(unknown)
    }
}

impl TryFrom<i32> for Signal {
    type Error = Error;

    /// # Errors
    ///
    /// [`Error::is_invalid_input`] where this system has no such signal; 0 is none.
    fn try_from(number: i32) -> Result<Signal, Error> {
        Signal::known(number).ok_or_else(|| Error::invalid(format!("unknown signal `{number}`")))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.0 - real_time().start()) {
            (Some(name), _) => write!(f, "SIG{name}"),
            (None, 0) => f.write_str("SIGRTMIN"),
            (None, offset) => write!(f, "SIGRTMIN+{offset}"),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_survives_its_own_name_and_number() {
        for number in (1..32).chain(real_time()) {
            let Ok(signal) = Signal::try_from(number) else {
                panic!("signal {number} is unknown");
            };
            let text = signal.to_string();
            assert_eq!(text.parse::<Signal>().unwrap(), signal, "{text}");
            assert_eq!(number.to_string().parse::<Signal>().unwrap(), signal);
        }
    }

    #[test]
    fn other_spellings_mean_the_same() {
        for (text, signal) in [
            ("int", Signal::INT),
            ("SigInt", Signal::INT),
            ("CLD", Signal::CHLD),
            ("SIGPOLL", Signal::IO),
            ("IOT", Signal::ABRT),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap(), signal);
        }
        let last = Signal::try_from(libc::SIGRTMAX()).unwrap();
        assert_eq!("RTMAX".parse::<Signal>().unwrap(), last);
        let before = "RTMAX-1".parse::<Signal>().unwrap();
        assert_eq!(before.as_raw(), libc::SIGRTMAX() - 1);
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for text in [
            "",
            "SIG",
            "NOPE",
            "0",
            "-1",
            "+9",
            "65",
            "99999999999",
            "32",
            "33",
            "RTMIN+",
            "RTMIN-1",
            "RTMIN+31",
            "RTMIN++1",
            "RTMIN+-1",
            "RTMAX+1",
            "RTMAX-31",
            "TERM ",
            " TERM",
        ] {
            let error = text.parse::<Signal>().unwrap_err();
            assert!(error.is_invalid_input(), "{text}: {error}");
        }
        for number in [0, -1, 32, 33, 65, i32::MAX, i32::MIN] {
            assert!(Signal::try_from(number).is_err(), "{number}");
        }
    }
}
