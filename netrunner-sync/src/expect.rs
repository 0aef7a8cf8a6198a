//! Waiting for what a command's terminal shows: enough to drive an interpreter or an installer from a
//! test. What was read and not waited for stays with the reader, in [`crate::pty`].

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::pty::{ChildPty, PtyReader};
use crate::time::deadline_in;

/// What [`ChildPty::expect`] waits for, and [`Ready::line`](crate::Ready::line): a text, bytes, the end ([`Pattern::end`]), or with the feature
/// `regex` a regular expression.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, Pattern, WinSize};
///
/// let mut child = Command::new("echo").arg("a prompt>").pty(WinSize::new(24, 80)).spawn()?;
/// let pty = child.pty.take().unwrap();
/// for pattern in ["prompt>".into(), Pattern::end()] {
///     pty.expect(pattern, Duration::from_secs(30)).unwrap();
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Literal(Vec<u8>),
    End,
    #[cfg(feature = "regex")]
    Regex(regex::bytes::Regex),
}

impl Pattern {
    /// The end of the terminal: the command is over, and all that it has shown was read.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Pattern, WinSize};
    ///
    /// let mut child = Command::new("echo").arg("bye").pty(WinSize::new(24, 80)).spawn()?;
    /// let shown = child.pty.take().unwrap().expect(Pattern::end(), Duration::from_secs(30)).unwrap();
    /// assert_eq!(shown.before, b"bye\r\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn end() -> Pattern {
        Pattern(Kind::End)
    }

    /// Whether it is in this text.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.find(text, 0).is_some()
    }

    pub(crate) fn is_end(&self) -> bool {
        matches!(self.0, Kind::End)
    }

    /// Where it is in `seen`, of which the first `known` bytes were looked at before.
    fn find(&self, seen: &[u8], known: usize) -> Option<(usize, usize)> {
        match &self.0 {
            Kind::Literal(text) if text.is_empty() => Some((0, 0)),
            Kind::Literal(text) => {
                let from = known.saturating_sub(text.len() - 1);
                let at = seen[from..].windows(text.len()).position(|some| some == text)?;
                Some((from + at, from + at + text.len()))
            }
            Kind::End => None,
            #[cfg(feature = "regex")]
            Kind::Regex(regex) => regex.find(seen).map(|found| (found.start(), found.end())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Literal(text) => write!(f, "`{}`", text.escape_ascii()),
            Kind::End => f.write_str("the end"),
            #[cfg(feature = "regex")]
            Kind::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern(Kind::Literal(text.into()))
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Pattern {
        Pattern(Kind::Literal(text.into()))
    }
}

impl From<&[u8]> for Pattern {
    fn from(bytes: &[u8]) -> Pattern {
        Pattern(Kind::Literal(bytes.into()))
    }
}

#[cfg(feature = "regex")]
impl From<regex::bytes::Regex> for Pattern {
    /// It is tried each time that something was read, so what it may match in part it does: end it
    /// with what comes after, a prompt or `\r\n`.
    fn from(regex: regex::bytes::Regex) -> Pattern {
        Pattern(Kind::Regex(regex))
    }
}

/// What was waited for and was shown.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, WinSize};
///
/// let mut child = Command::new("echo").arg("name: ").pty(WinSize::new(24, 80)).spawn()?;
/// let shown = child.pty.take().unwrap().expect(": ", Duration::from_secs(30)).unwrap();
/// assert_eq!((&shown.before[..], &shown.found[..]), (&b"name"[..], &b": "[..]));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What was shown before it, since what was expected last.
    pub before: Vec<u8>,
    /// What was shown of it; nothing of the end.
    pub found: Vec<u8>,
}

/// What was waited for was not shown; made by [`ChildPty::expect`].
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, WinSize};
///
/// let mut child = Command::new("echo").arg("oh").pty(WinSize::new(24, 80)).spawn()?;
/// let error = child.pty.take().unwrap().expect("ok", Duration::from_secs(30)).unwrap_err();
/// assert_eq!(error.to_string(), r"`ok` was not shown before the end; seen: `oh\r\n`");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct ExpectError {
    pattern: Pattern,
    cause: Cause,
    seen: Vec<u8>,
}

#[derive(Debug)]
enum Cause {
    Ended,
    TimedOut,
    TooMuch,
    Failed(io::Error),
}

/// So much is kept of what nobody has waited for.
const MOST: usize = 16 << 20;

/// So much of it is part of the message.
const SHOWN: usize = 500;

impl ExpectError {
    /// All that was shown since what was expected last. It is still there to be read, or expected.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("echo").arg("oh").pty(WinSize::new(24, 80)).spawn()?;
    /// let error = child.pty.take().unwrap().expect("ok", Duration::from_secs(30)).unwrap_err();
    /// assert_eq!(error.seen(), b"oh\r\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Whether the time was over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("sleep").arg("60").pty(WinSize::new(24, 80)).spawn()?;
    /// let error = child.pty.take().unwrap().expect("ok", Duration::from_millis(10)).unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut)
    }

    /// Whether the terminal has ended instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("true").pty(WinSize::new(24, 80)).spawn()?;
    /// let error = child.pty.take().unwrap().expect("ok", Duration::from_secs(30)).unwrap_err();
    /// assert!(error.is_end());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.cause, Cause::Ended)
    }
}

impl fmt::Display for ExpectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not shown ", self.pattern)?;
        match &self.cause {
            Cause::Ended => f.write_str("before the end")?,
            Cause::TimedOut => f.write_str("in time")?,
            Cause::TooMuch => write!(f, "within {MOST} bytes")?,
            Cause::Failed(error) => write!(f, "before a failure ({error})")?,
        }
        let from = self.seen.len().saturating_sub(SHOWN);
        let cut = if from > 0 { "…" } else { "" };
        write!(f, "; seen: `{cut}{}`", self.seen[from..].escape_ascii())
    }
}

impl std::error::Error for ExpectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Failed(error) => Some(error),
            Cause::Ended | Cause::TimedOut | Cause::TooMuch => None,
        }
    }
}

impl PtyReader {
    /// As [`ChildPty::expect`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("cat").pty(WinSize::new(24, 80)).spawn()?;
    /// let (reader, mut writer) = child.pty.take().unwrap().split();
    /// std::io::Write::write_all(&mut writer, b"hello\n").unwrap();
    /// reader.expect("hello", Duration::from_secs(30)).unwrap();
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChildPty::expect`].
    pub fn expect(
        &self,
        pattern: impl Into<Pattern>,
        timeout: Duration,
    ) -> Result<Expected, ExpectError> {
        self.wait_for(pattern.into(), deadline_in(timeout))
    }

    /// As [`ChildPty::expect_deadline`].
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("echo").arg("a b").pty(WinSize::new(24, 80)).spawn()?;
    /// let (reader, _writer) = child.pty.take().unwrap().split();
    /// let deadline = Instant::now() + Duration::from_secs(30); // for both
    /// reader.expect_deadline("a", deadline).unwrap();
    /// reader.expect_deadline("b", deadline).unwrap();
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChildPty::expect`].
    pub fn expect_deadline(
        &self,
        pattern: impl Into<Pattern>,
        deadline: Instant,
    ) -> Result<Expected, ExpectError> {
        self.wait_for(pattern.into(), Some(deadline))
    }

    fn wait_for(
        &self,
        pattern: Pattern,
        deadline: Option<Instant>,
    ) -> Result<Expected, ExpectError> {
        let mut held = self.held();
        let mut known = 0;
        let mut buffer = [0; 4 << 10];
        let cause = loop {
            if let Some((start, end)) = pattern.find(&held, known) {
                let rest = held.split_off(end);
                let mut before = std::mem::replace(&mut *held, rest);
                let found = before.split_off(start);
                return Ok(Expected { before, found });
            }
            known = held.len();
            if known > MOST {
                break Cause::TooMuch;
            }
            match self.read_on(&mut buffer, deadline) {
                Ok(0) if matches!(pattern.0, Kind::End) => {
                    return Ok(Expected { before: std::mem::take(&mut held), found: Vec::new() });
                }
                Ok(0) => break Cause::Ended,
                Ok(count) => held.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break Cause::TimedOut,
                Err(error) => break Cause::Failed(error),
            }
        };
        Err(ExpectError { pattern, cause, seen: held.clone() })
    }
}

impl ChildPty {
    /// Waits until the terminal shows this, after all that was expected before, for so long at most.
    /// What it shows after it stays to be read, or expected, next.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Pattern, PtyModes, WinSize};
    ///
    /// let soon = Duration::from_secs(60);
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "printf 'name? '; read name; echo hello $name"]);
    /// let child = command.pty(WinSize::new(24, 80)).spawn()?;
    /// let mut pty = child.pty.as_ref().unwrap();
    /// pty.expect("name? ", soon).unwrap();
    /// pty.write_all(b"you\n").unwrap();
    /// assert_eq!(pty.expect("hello you", soon).unwrap().before, b"you\r\n");
    /// pty.expect(Pattern::end(), soon).unwrap();
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It was not shown in time, or before the end: the error tells all that was.
    pub fn expect(
        &self,
        pattern: impl Into<Pattern>,
        timeout: Duration,
    ) -> Result<Expected, ExpectError> {
        self.reader().expect(pattern, timeout)
    }

    /// As [`expect`](ChildPty::expect), until `deadline`; one in the past looks at what is there.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("echo").arg("a b").pty(WinSize::new(24, 80)).spawn()?;
    /// let pty = child.pty.take().unwrap();
    /// let deadline = Instant::now() + Duration::from_secs(30); // for both
    /// pty.expect_deadline("a", deadline).unwrap();
    /// pty.expect_deadline("b", deadline).unwrap();
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`expect`](ChildPty::expect).
    pub fn expect_deadline(
        &self,
        pattern: impl Into<Pattern>,
        deadline: Instant,
    ) -> Result<Expected, ExpectError> {
        self.reader().expect_deadline(pattern, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "regex")]
    use crate::{Command, WinSize};

    #[test]
    fn a_text_is_found_wherever_the_reads_were_cut() {
        let text = b"ababac";
        let pattern = Pattern::from("abac");
        for known in 0..text.len() {
            if pattern.find(&text[..known], 0).is_none() {
                assert_eq!(pattern.find(text, known), Some((2, 6)), "{known}");
            }
        }
        assert_eq!(Pattern::from("").find(b"", 0), Some((0, 0)));
        assert_eq!(Pattern::end().find(text, 0), None);
    }

    #[cfg(feature = "regex")]
    #[test]
    fn a_regular_expression_is_found() {
        let regex = regex::bytes::Regex::new(r"v(\d+)\.\d+\r\n").unwrap();
        let child = Command::new("echo").arg("this is v12.3").pty(WinSize::new(24, 80)).spawn();
        let child = child.unwrap();
        let pty = child.pty.as_ref().unwrap();
        let soon = Duration::from_secs(60);
        let expected = pty.expect(regex.clone(), soon).unwrap();
        assert_eq!((&*expected.before, &*expected.found), (&b"this is "[..], &b"v12.3\r\n"[..]));
        let error = pty.expect(regex, soon).unwrap_err();
        assert!(error.is_end() && error.to_string().starts_with(r"/v(\d+)"), "{error}");
    }
}
