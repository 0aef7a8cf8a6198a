//! Where the input of a command is written: into a pipe, or on the keys of a terminal. What is
//! written, and when, is the business of `feed` and `reader_feed`.
//!
//! A terminal that edits lines differs from a pipe in three ways. It holds 4095 bytes of a line and
//! drops the rest, without saying so; and the end of the input is a character. That character also
//! hands over what was typed of a line so far, so a long line is typed in pieces with one after
//! each: the program reads the same bytes as from a pipe, and none is lost. And that end is read once:
//! a program that changes the modes throws it away, or reads it as a byte without a meaning, as a
//! prompt for a password and a shell's line editor do. So whoever reads the terminal looks for such a
//! change and types it again ([`Encore`]).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use netrunner_pty::{Control, Modes};
use rustix::io::Errno;

/// After so much of a line it is handed over. The kernel holds three times that, also where it marks
/// errors with three bytes (PARMRK). Not a round number: a read of just so many bytes would leave the
/// character behind, and kernels before 5.12 give the next read an end of file for it.
const PIECE: usize = 1021;

/// Where input goes.
#[derive(Debug)]
pub(crate) struct Target {
    fd: Arc<OwnedFd>,
    typing: Option<Typing>,
}

/// How far the typing has come.
#[derive(Debug)]
struct Typing {
    /// Those who drive the terminal; the descriptor that is polled is a copy of theirs. Once they are
    /// gone nothing is typed any more: the terminal is to be hung up, or has become another library's,
    /// which has made its descriptor, and with it the copy, one that blocks.
    drivers: Weak<OwnedFd>,
    /// How much of a line was typed and not handed over.
    in_line: usize,
    /// Whether the terminal had an end of file to begin with.
    has_end: bool,
    /// How many characters are still to be typed at the end, once that has come.
    ends: Option<u8>,
    /// The modes in which the last of them was typed.
    ended_in: Arc<AtomicU8>,
}

/// Types the end again where the modes have changed since, once for each change: the input stays at
/// its end.
#[derive(Debug)]
pub(crate) struct Encore {
    manager: Arc<OwnedFd>,
    ended_in: Arc<AtomicU8>,
}

impl Encore {
    /// To be called when something was read of what the terminal shows: a program that has changed
    /// the modes shows a prompt then.
    pub(crate) fn look(&self) {
        loop {
            let last = self.ended_in.load(Ordering::Relaxed);
            let now = modes(&self.manager);
            // Without room the next look does it.
            if last == NOT_YET || now == last || type_control(&self.manager).is_err() {
                return;
            }
            // If they changed just then, it was typed in the one or in the other: once more. Nobody
            // changes them for ever.
            self.ended_in.store(now, Ordering::Relaxed);
        }
    }
}

/// What [`modes`] never says.
const NOT_YET: u8 = u8::MAX;

/// The modes that change when a program has its own way of reading.
fn modes(manager: &OwnedFd) -> u8 {
    let echoes = Modes::is_echoing(manager).unwrap_or(false);
    u8::from(is_canonical(manager)) | u8::from(echoes) << 1
}

impl Target {
    /// What is written there is read; closing it is the end.
    pub(crate) fn pipe(fd: OwnedFd) -> Target {
        Target { fd: Arc::new(fd), typing: None }
    }

    /// What is written there is typed. The terminal is new: its modes are still those that were
    /// asked for. One that is raw has no end of file, so none is typed.
    ///
    /// # Errors
    ///
    /// EMFILE: it has a descriptor of its own.
    pub(crate) fn terminal(manager: &Arc<OwnedFd>) -> rustix::io::Result<Target> {
        let fd = Arc::new(rustix::io::fcntl_dupfd_cloexec(manager, 3)?);
        let has_end = Modes::is_canonical(&fd).unwrap_or(false);
        let ended_in = Arc::new(AtomicU8::new(NOT_YET));
        let drivers = Arc::downgrade(manager);
        let typing = Some(Typing { drivers, in_line: 0, has_end, ends: None, ended_in });
        Ok(Target { fd, typing })
    }

    /// Who types its end again.
    pub(crate) fn encore(&self) -> Option<Encore> {
        let typing = self.typing.as_ref()?;
        let ended_in = Arc::clone(&typing.ended_in);
        Some(Encore { manager: Arc::clone(&self.fd), ended_in })
    }

    pub(crate) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Writes what fits.
    ///
    /// # Errors
    ///
    /// EAGAIN if nothing fits now; any other says that nobody reads it any more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let fd = &self.fd;
        match &mut self.typing {
            None => rustix::io::write(fd, bytes),
            Some(typing) => {
                // Held while it is typed: whoever makes the descriptor block waits for that.
                let _drivers = typing.drivers.upgrade().ok_or(Errno::PIPE)?;
                typing.type_some(fd, bytes)
            }
        }
    }

    /// All was written: types the end. That of a pipe comes when this is dropped.
    ///
    /// # Errors
    ///
    /// As [`write`](Target::write), and it goes on where it was.
    pub(crate) fn finish(&mut self) -> rustix::io::Result<()> {
        match &mut self.typing {
            None => Ok(()),
            Some(typing) => {
                let _drivers = typing.drivers.upgrade().ok_or(Errno::PIPE)?;
                typing.type_end(&self.fd)
            }
        }
    }
}

impl Typing {
    fn type_some(&mut self, manager: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
        if !is_canonical(manager) {
            let count = netrunner_pty::write(manager, bytes)?;
            self.in_line = 0;
            return Ok(count);
        }
        if self.in_line >= PIECE {
            type_control(manager)?;
            self.in_line = 0;
        }
        let mut in_line = self.in_line;
        let piece = bytes.iter().position(|&byte| {
            let full = in_line >= PIECE;
            in_line = if byte == b'\n' { 0 } else { in_line + 1 };
            full
        });
        let count = netrunner_pty::write(manager, &bytes[..piece.unwrap_or(bytes.len())])?;
        let typed = &bytes[..count];
        self.in_line = match typed.iter().rposition(|&byte| byte == b'\n') {
            Some(at) => count - at - 1,
            None => self.in_line + count,
        };
        Ok(count)
    }

    fn type_end(&mut self, manager: &OwnedFd) -> rustix::io::Result<()> {
        let left = match self.ends {
            Some(left) => left,
            None if !self.has_end => 0,
            // In a line the first only hands that over.
            None => 1 + u8::from(self.in_line > 0 && is_canonical(manager)),
        };
        self.ends = Some(left);
        for left in (0..left).rev() {
            // Looked at before: a change in between is one that is seen later.
            let now = modes(manager);
            type_control(manager)?;
            self.ends = Some(left);
            self.ended_in.store(now, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn is_canonical(manager: &OwnedFd) -> bool {
    Modes::is_canonical(manager).unwrap_or(false)
}

/// Types the end-of-file character, whichever it is now; none where it is turned off.
fn type_control(manager: &OwnedFd) -> rustix::io::Result<()> {
    match Control::EndOfFile.of(manager) {
        Ok(Some(byte)) => netrunner_pty::write(manager, &[byte]).map(drop),
        Ok(None) => Ok(()),
        Err(_) => Err(Errno::PIPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netrunner_pty::{WinSize, open};

    /// Reads on the terminal while something is typed, to the end of file.
    fn read_while(target: &mut Target, subsidiary: &OwnedFd, bytes: &[u8]) -> Vec<u8> {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        let mut left = bytes;
        rustix::fs::fcntl_setfl(subsidiary, rustix::fs::OFlags::NONBLOCK).unwrap();
        loop {
            match target.write(left) {
                Ok(count) if !left.is_empty() => left = &left[count..],
                Ok(_) => match target.finish() {
                    Ok(()) | Err(Errno::AGAIN) => {}
                    Err(errno) => panic!("{errno}"),
                },
                Err(Errno::AGAIN) => {}
                Err(errno) => panic!("{errno}"),
            }
            match rustix::io::read(subsidiary, &mut buffer) {
                Ok(0) => return read,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => {}
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    fn round(modes: Modes, bytes: &[u8]) -> Vec<u8> {
        let pair = open(WinSize::new(24, 80), &modes).unwrap();
        let manager = Arc::new(pair.manager.into_nonblocking());
        let mut target = Target::terminal(&manager).unwrap();
        read_while(&mut target, &pair.subsidiary, bytes)
    }

    #[test]
    fn a_line_of_any_length_arrives_whole_and_is_followed_by_the_end() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 4095, 4096, 4097, 1 << 20] {
            for end in ["", "\n"] {
                let mut bytes: Vec<u8> = (0..length).map(|n| b'a' + (n % 26) as u8).collect();
                bytes.extend_from_slice(end.as_bytes());
                let read = round(Modes::new().echo(false), &bytes);
                assert!(read == bytes, "{} of {} bytes", read.len(), bytes.len());
            }
        }
    }

    #[test]
    fn lines_of_every_length_arrive_whole() {
        let mut bytes = Vec::new();
        for length in (0..3000).step_by(7).chain([5000, 3, 0, 0, 1021, 1020]) {
            bytes.extend(std::iter::repeat_n(b'x', length));
            bytes.push(b'\n');
        }
        assert!(round(Modes::new().echo(false), &bytes) == bytes);
    }

    #[test]
    fn a_raw_terminal_gets_every_byte_and_no_end() {
        let pair = open(WinSize::new(24, 80), &Modes::raw()).unwrap();
        let manager = Arc::new(pair.manager.into_nonblocking());
        let mut target = Target::terminal(&manager).unwrap();
        assert_eq!(target.write(b"a\x04\x03b"), Ok(4));
        assert_eq!(target.finish(), Ok(()));
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::read(&pair.subsidiary, &mut buffer), Ok(4));
        assert_eq!(&buffer[..4], b"a\x04\x03b");
        rustix::fs::fcntl_setfl(&pair.subsidiary, rustix::fs::OFlags::NONBLOCK).unwrap();
        assert_eq!(rustix::io::read(&pair.subsidiary, &mut buffer), Err(Errno::AGAIN));
    }
    /// The drop is the end of the window, and a descriptor that was given away may block.
    #[test]
    fn nothing_is_typed_once_the_drivers_are_gone() {
        let pair = open(WinSize::new(24, 80), &Modes::raw()).unwrap();
        let manager = Arc::new(pair.manager.into_nonblocking());
        let mut target = Target::terminal(&manager).unwrap();
        assert_eq!(target.write(b"a"), Ok(1));
        drop(manager);
        assert_eq!(target.write(b"b"), Err(Errno::PIPE));
        assert_eq!(target.finish(), Err(Errno::PIPE));
    }
}
