//! The reader role: to be the one thread that reads a command's lane, and what reading brings.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use netrunner_core::client::Heard;
use rustix::event::{PollFd, PollFlags, poll};

use super::{After, Running, earliest};
use crate::ear::{Blocking, Sound};
use crate::outcome::Outcome;
use crate::shepherd::Shepherd;
use crate::time::until;
use crate::watcher::Word;

/// What reading has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing that counts.
    Waiting,
    /// The shepherd has said hello, and takes the request.
    Greeted,
    /// The program is being executed.
    Started,
    /// The outcome is there.
    Over,
    /// The lane ended before the request was read: nothing ran, and it can be sent again.
    NeverRan,
}

/// The reader role. Given up when dropped.
pub(crate) struct Role<'a> {
    pub(super) running: &'a Running,
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let state = self.running.state.give_up();
        if let Some(bell) = &state.bell {
            bell.ring();
        }
        // Only the end, which the watcher would not see: the lane is another command's by now. Else it
        // waits for the lane itself, and word of its own reading would wake it for ever.
        if state.is_watched() && self.running.outcome.get().is_some() {
            self.running.runtime.tell(Word::Look(self.running.id));
        }
    }
}

/// The role in the hands of somebody who reads for many commands in turn, from the start of each to
/// its end. Given up when dropped.
pub(crate) struct HeldRole(Arc<Running>);

impl HeldRole {
    /// Takes it for the spawn itself, as [`Running::begin`].
    pub(crate) fn begin(running: &Arc<Running>) -> HeldRole {
        // It is given up by the one that is returned.
        std::mem::forget(running.begin());
        HeldRole(Arc::clone(running))
    }

    /// Takes it for a command that runs, if it is free and there is still something to read.
    pub(crate) fn take(running: &Arc<Running>) -> Option<(HeldRole, Arc<Shepherd>)> {
        let (role, shepherd) = running.try_role()?;
        // As above.
        std::mem::forget(role);
        Some((HeldRole(Arc::clone(running)), shepherd))
    }

    /// The role, for one thing that is done in it. It is not given up with this.
    pub(crate) fn role(&self) -> ManuallyDrop<Role<'_>> {
        ManuallyDrop::new(Role { running: &self.0 })
    }
}

impl Drop for HeldRole {
    fn drop(&mut self) {
        drop(Role { running: &self.0 });
    }
}

impl Role<'_> {
    /// Waits for something to read until the deadline, and reads it.
    pub(crate) fn wait(&self, shepherd: &Arc<Shepherd>, deadline: Option<Instant>) -> Progress {
        // On a line of its own: in the match the lock would be held for as long as the reading.
        let judgement = self.running.hard_deadline();
        let progress = if deadline.is_none() && judgement.is_none() {
            // The socket's own timeout brings this back now and then.
            self.read(shepherd, Blocking::Yes)
        } else {
            let mut fds = [PollFd::new(shepherd.socket(), PollFlags::IN)];
            match poll(&mut fds, until(earliest(deadline, judgement)).as_ref()) {
                Ok(0) | Err(_) => Progress::Waiting,
                Ok(_) => self.read(shepherd, Blocking::No),
            }
        };
        if progress == Progress::Waiting {
            self.running.judge(Instant::now());
        }
        progress
    }

    /// Reads once, and deals with every event that is whole.
    pub(crate) fn read(&self, shepherd: &Arc<Shepherd>, blocking: Blocking) -> Progress {
        let running = self.running;
        let mut ear = shepherd.ear();
        let sound = ear.receive(shepherd.socket(), blocking);
        let greeted = ear.conversation().greeted();
        match sound {
            Ok(Sound::Silence) => return Progress::Waiting,
            Ok(Sound::Bytes) => {}
            Ok(Sound::Closed | Sound::Reset) if !greeted => return Progress::NeverRan,
            Ok(Sound::Reset) if running.pid() == 0 => return Progress::NeverRan,
            Ok(Sound::Closed | Sound::Reset) => {
                drop(ear);
                running.finish(Outcome::Lost("it ended".to_owned()), After::Gone);
                return Progress::Over;
            }
            Err(error) => {
                drop(ear);
                running.give_up(shepherd);
                running.finish(Outcome::Lost(error.to_string()), After::Gone);
                return Progress::Over;
            }
        }
        let mut progress = Progress::Waiting;
        loop {
            let outcome = match ear.next() {
                Ok(None) => return progress,
                Ok(Some((Heard::Hello(pid), pidfd))) => {
                    shepherd.introduce(pid, pidfd);
                    if shepherd.pidfd().is_some() {
                        running.runtime.tell(Word::Born(Arc::clone(shepherd)));
                    }
                    progress = Progress::Greeted;
                    continue;
                }
                Ok(Some((Heard::Runs, descriptor))) => {
                    running.lock().child = descriptor;
                    // Where the start itself is not to be told, this is the first word of it; where it is, the
                    // program may still turn out to be none.
                    if !ear.conversation().awaits_start() {
                        progress = Progress::Started;
                    }
                    continue;
                }
                Ok(Some((Heard::Started(pid), _))) => {
                    running.pid.store(pid.0, Ordering::Relaxed);
                    running.lock().unread = None;
                    progress = Progress::Started;
                    continue;
                }
                Ok(Some((Heard::Stopped(signal), _))) => {
                    running.note_stop(signal);
                    continue;
                }
                Ok(Some((Heard::Continued, _))) => {
                    running.note_continuation();
                    continue;
                }
                Ok(Some((Heard::Failed(failed), _))) => {
                    shepherd.forget_environment();
                    Outcome::Failed(failed)
                }
                Ok(Some((Heard::Ended(exited), _))) => Outcome::ended(exited),
                Ok(Some((Heard::Detached, _))) => Outcome::Detached,
                Err(nonsense) => {
                    drop(ear);
                    running.give_up(shepherd);
                    running.finish(Outcome::Lost(nonsense.0), After::Gone);
                    return Progress::Over;
                }
            };
            let after = if ear.conversation().is_idle() { After::Idle } else { After::Gone };
            drop(ear);
            running.finish(outcome, after);
            return Progress::Over;
        }
    }

    /// The command could not be started at all.
    pub(crate) fn lose(&self, detail: &str) {
        self.running.finish(Outcome::Lost(detail.to_owned()), After::Gone);
    }
}
