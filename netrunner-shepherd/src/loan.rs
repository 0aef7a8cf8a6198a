//! Tokens of a make jobserver that are on loan to the client, in a pipe that the guardian holds as well:
//! whoever goes first, they are given back.
//!
//! To give one back takes two system calls, a read and a write. Between these a client could be killed, and
//! the token would be lost or be there twice, so the client asks and the guardian does it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::sys::socket::{self, Received};
use crate::sys::{Fd, files};

/// So many at a time: few clients have more than one make above them.
pub(crate) const MOST: usize = 4;

/// A pipe with tokens that are the client's until it gives them back.
pub(crate) struct Loan {
    /// Down which the client says how many it gives back; none once it is closed.
    client: Option<Fd>,
    tokens: Fd,
    make: Fd,
}

impl Loan {
    /// From what comes with the order; none if that is anything else than it should be.
    pub(crate) fn new(descriptors: Vec<Fd>) -> Option<Loan> {
        let [client, tokens, make]: [Fd; 3] = descriptors.try_into().ok()?;
        // The client has opened both for itself; still, nobody may keep the guardian waiting.
        let is_fit = |pipe| files::is_pipe(pipe) && files::never_wait(pipe);
        let fit = is_fit(&tokens) && is_fit(&make);
        fit.then_some(Loan { client: Some(client), tokens, make })
    }

    /// What to wait for.
    pub(crate) fn client(&self) -> Option<&Fd> {
        self.client.as_ref()
    }

    /// Does what the client asks for. False once nothing of it is needed any more.
    pub(crate) fn hear(&mut self) -> bool {
        let Some(client) = &self.client else { return true };
        let mut words = [0; 64];
        let mut strangers = VecDeque::new();
        match socket::receive(client, &mut words, &mut strangers) {
            Ok(Received::Bytes(count)) => {
                self.give_back(count);
                // One that does not listen has more to say than there is room for, and waits in vain.
                let _ = socket::send(client, &words[..count], None);
                true
            }
            Ok(Received::Nothing) => true,
            // It needs them no more, or has ended: then what is left is given back when its commands
            // are over.
            Ok(Received::End) | Err(_) => {
                self.client = None;
                files::has_unread(&self.tokens)
            }
        }
    }

    /// Gives back all that there are. The client is gone.
    pub(crate) fn give_all_back(&self) {
        self.give_back(usize::MAX);
    }

    /// Gives back so many, if there are.
    fn give_back(&self, count: usize) {
        let mut token = [0];
        for _ in 0..count {
            if self.tokens.read(&mut token) != Ok(1) {
                return;
            }
            // A make that is gone needs none, and SIGPIPE is blocked.
            let _ = files::write(&self.make, &token);
        }
    }
}
