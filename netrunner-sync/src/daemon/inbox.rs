//! What is to be written to a daemon's standard input: whole messages, bounded, and none of them torn by
//! an end of the process.

use std::collections::VecDeque;

use rustix::io::Errno;

/// The messages that wait. Whoever owns it also owns the lock around it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    messages: VecDeque<Vec<u8>>,
    /// How much of the first is written.
    begun: usize,
    /// What is left of all.
    waiting: usize,
    room: usize,
    lost: u64,
    closed: bool,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is larger than the whole queue.
    TooLarge,
    /// There is no room now.
    Full,
    /// It was closed, or there never was one.
    Closed,
}

/// How far a write got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// There is nothing left to write.
    All,
    /// The pipe is full.
    Some,
    /// All is written, and nothing more will come: the pipe is to be closed.
    End,
    /// Nobody reads any more.
    Nobody,
}

impl Inbox {
    /// One with room for so many bytes; without room it is closed.
    pub(super) fn new(room: usize) -> Inbox {
        Inbox { room, closed: room == 0, ..Inbox::default() }
    }

    pub(super) fn push(&mut self, message: &[u8]) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if message.len() > self.room {
            return Err(Refused::TooLarge);
        }
        if message.len() > self.room - self.waiting {
            return Err(Refused::Full);
        }
        if !message.is_empty() {
            self.waiting += message.len();
            self.messages.push_back(message.to_vec());
        }
        Ok(())
    }

    /// Nothing more is taken; what waits is still written.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Writes as much as `write` takes.
    pub(super) fn write(
        &mut self,
        mut write: impl FnMut(&[u8]) -> rustix::io::Result<usize>,
    ) -> Written {
        while let Some(message) = self.messages.front() {
            match write(&message[self.begun..]) {
                Ok(count) => {
                    self.waiting -= count;
                    self.begun += count;
                    if self.begun == message.len() {
                        self.messages.pop_front();
                        self.begun = 0;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Written::Some,
                // EPIPE: the process has closed its standard input.
                Err(_) => return Written::Nobody,
            }
        }
        if self.closed { Written::End } else { Written::All }
    }

    /// The process is gone: the rest of a message that it got the beginning of would tell the next one
    /// nothing.
    pub(super) fn begin_anew(&mut self) {
        if self.begun > 0 {
            if let Some(torn) = self.messages.pop_front() {
                let rest = torn.len() - self.begun;
                self.waiting -= rest;
                self.lost += rest as u64;
            }
            self.begun = 0;
        }
    }

    /// No process will come any more.
    pub(super) fn give_up(&mut self) {
        self.lost += self.waiting as u64;
        let room = self.room;
        let lost = self.lost;
        *self = Inbox { room, lost, closed: true, ..Inbox::default() };
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most so many bytes at a time, and `most` altogether.
    fn pipe<'a>(
        into: &'a mut Vec<u8>,
        piece: usize,
        most: usize,
    ) -> impl FnMut(&[u8]) -> rustix::io::Result<usize> + 'a {
        move |bytes| {
            let count = bytes.len().min(piece).min(most - into.len());
            into.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(Errno::AGAIN) } else { Ok(count) }
        }
    }

    #[test]
    fn messages_come_whole_and_in_order_whatever_the_pieces() {
        for piece in 1..8 {
            let mut inbox = Inbox::new(20);
            for message in ["one ", "", "two ", "three"] {
                inbox.push(message.as_bytes()).unwrap();
            }
            let mut out = Vec::new();
            assert_eq!(inbox.write(pipe(&mut out, piece, 6)), Written::Some);
            assert_eq!((out.len(), inbox.waiting()), (6, 7));
            assert_eq!(inbox.write(pipe(&mut out, piece, 100)), Written::All);
            assert_eq!(out, b"one two three");
            assert_eq!(inbox.waiting(), 0);
            inbox.close();
            assert_eq!(inbox.write(pipe(&mut out, piece, 100)), Written::End);
        }
    }

    #[test]
    fn there_is_no_room_beyond_the_bound_until_something_is_written() {
        let mut inbox = Inbox::new(10);
        assert_eq!(inbox.push(&[0; 11]), Err(Refused::TooLarge));
        assert_eq!(inbox.push(&[0; 6]), Ok(()));
        assert_eq!(inbox.push(&[0; 5]), Err(Refused::Full));
        assert_eq!(inbox.push(&[0; 4]), Ok(()));
        assert_eq!(inbox.push(&[0; 1]), Err(Refused::Full));
        let mut out = Vec::new();
        inbox.write(pipe(&mut out, 3, 3));
        assert_eq!(inbox.push(&[0; 3]), Ok(()));
        inbox.close();
        assert_eq!(inbox.push(&[0; 1]), Err(Refused::Closed));
        assert_eq!(Inbox::new(0).push(b""), Err(Refused::Closed));
    }

    #[test]
    fn a_torn_message_is_lost_and_the_others_are_not() {
        let mut inbox = Inbox::new(100);
        ["first", "second"].iter().for_each(|text| inbox.push(text.as_bytes()).unwrap());
        let mut out = Vec::new();
        inbox.write(pipe(&mut out, 2, 2));
        inbox.begin_anew();
        assert_eq!((inbox.lost(), inbox.waiting()), (3, 6));
        inbox.begin_anew();
        assert_eq!(inbox.lost(), 3, "one that was not begun is whole");
        out.clear();
        assert_eq!(inbox.write(pipe(&mut out, 100, 100)), Written::All);
        assert_eq!(out, b"second");
        inbox.push(b"late").unwrap();
        inbox.give_up();
        assert_eq!((inbox.lost(), inbox.waiting()), (7, 0));
        assert_eq!(inbox.push(b"x"), Err(Refused::Closed));
    }

    #[test]
    fn nobody_reads_any_more() {
        let mut inbox = Inbox::new(100);
        inbox.push(b"text").unwrap();
        assert_eq!(inbox.write(|_| Err(Errno::PIPE)), Written::Nobody);
    }
}
