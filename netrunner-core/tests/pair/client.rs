//! The client's shell: it numbers its commands, asks only in turn, and believes every event to be
//! one that may come now.

use std::collections::BTreeMap;

use netrunner_core::client::{Conversation, Heard};
use netrunner_core::message::{CommandId, Event, Exited, Request};
use netrunner_core::spawn::{
    Environment, Notify, Placements, Setups, Spawn, Strings, StringsBuf, Terms,
};
use netrunner_core::wire::{Inbox, MAX_EVENT};

use crate::kernel::SIGSTOP;

/// How a command ended for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed,
    Ended(Exited),
    Detached,
}

pub(crate) struct Client {
    conversation: Conversation,
    inbox: Inbox,
    /// The terms of each command, by its number.
    pub(crate) begun: BTreeMap<u32, Terms>,
    /// Every final word about each command.
    pub(crate) outcomes: BTreeMap<u32, Vec<Outcome>>,
    /// Whether it was told that the current command's child is stopped.
    pub(crate) stopped: bool,
    /// Whether it was told that the current command runs.
    pub(crate) runs: bool,
    /// What it was told, for comparison between runs.
    pub(crate) heard: Vec<Heard>,
    /// What it wrote and the world has not carried away yet.
    pub(crate) outgoing: Vec<u8>,
}

impl Client {
    pub(crate) fn new() -> Client {
        Client {
            conversation: Conversation::new(),
            inbox: Inbox::new(MAX_EVENT),
            begun: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            stopped: false,
            runs: false,
            heard: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// The number of the last command; of none before the first.
    pub(crate) fn last(&self) -> CommandId {
        CommandId(self.begun.len() as u32)
    }

    /// Whether the last command has no outcome yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.begun.is_empty() && !self.outcomes.contains_key(&self.last().0)
    }

    /// Asks for a command, if the shepherd is free.
    pub(crate) fn spawn(&mut self, program: &core::ffi::CStr, notify: Notify, terms: Terms) {
        let id = CommandId(self.last().0 + 1);
        if self.conversation.is_idle() {
            self.conversation.begin(id, notify).expect("the shepherd is free");
            self.begun.insert(id.0, terms);
            self.runs = false;
            self.stopped = false;
            let mut arguments = StringsBuf::new();
            arguments.push(&[program.to_bytes()]);
            self.ask(&Request::Spawn(Spawn {
                id,
                notify,
                terms,
                terminal: None,
                program,
                directory: None,
                arguments: arguments.as_strings(),
                environment: Environment::Listed(Strings::EMPTY),
                descriptors: Placements::Listed(&[]),
                setup: Setups::Listed(&[]),
                cgroup: None,
                namespace: None,
            }));
        } else {
            assert!(self.conversation.begin(id, notify).is_err(), "two commands on one lane");
        }
    }

    pub(crate) fn ask(&mut self, request: &Request<'_>) {
        request.encode(&mut self.outgoing);
    }

    /// These bytes have arrived.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.inbox.room();
            let (first, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..first.len()].copy_from_slice(first);
            self.inbox.filled(first.len());
            bytes = rest;
            while let Some(frame) = self.inbox.next_frame().expect("an honest shepherd") {
                let event = Event::decode(frame).expect("an honest shepherd");
                let heard = self.conversation.handle_event(event).expect("an honest shepherd");
                self.heard.push(heard.clone());
                self.understand(heard);
            }
        }
    }

    fn understand(&mut self, heard: Heard) {
        let outcome = match heard {
            Heard::Hello(_) | Heard::Runs => return,
            Heard::Started(_) => {
                self.runs = true;
                return;
            }
            Heard::Stopped(signal) => {
                assert_eq!((self.stopped, signal), (false, SIGSTOP));
                self.stopped = true;
                return;
            }
            Heard::Continued => {
                assert!(self.stopped, "what was not stopped can't go on");
                self.stopped = false;
                return;
            }
            Heard::Failed(_) => Outcome::Failed,
            Heard::Ended(exited) => Outcome::Ended(exited),
            Heard::Detached => Outcome::Detached,
        };
        self.outcomes.entry(self.last().0).or_default().push(outcome);
    }
}
