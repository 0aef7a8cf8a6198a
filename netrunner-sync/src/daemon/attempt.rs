//! One process of a daemon, or of its probe: the command that was started, and the reading of its lane.

use std::sync::Arc;
use std::time::Instant;

use super::sources::{Sources, What};
use super::supervisor::Id;
use crate::child::Life;
use crate::command::{Command, Stderr};
use crate::ear::Blocking;
use crate::engine::{self, Started};
use crate::error::{Error, Result, shown};
use crate::poll::{Interest, Key};
use crate::reader_feed::ReaderFeed;
use crate::running::{HeldRole, Progress, Running, earliest};
use crate::shepherd::Shepherd;
use crate::stdio::Stdio;
use crate::wiring::Streams;

/// A process that was started. The role is given up before the life ends, so that the watcher can read
/// what comes of one that is dropped.
pub(super) struct Attempt {
    /// Nothing if it was over before anybody could read for it.
    lane: Option<(HeldRole, Arc<Shepherd>)>,
    running: Arc<Running>,
    /// What feeds it, if that is a reader.
    _reader: Option<ReaderFeed>,
    _life: Life,
}

impl Attempt {
    /// Takes over what was started. From now on nobody else reads its lane.
    pub(super) fn of(running: Arc<Running>, life: Life, reader: Option<ReaderFeed>) -> Attempt {
        let lane = HeldRole::take(&running);
        Attempt { lane, running, _reader: reader, _life: life }
    }

    /// Starts a probe, whose outputs nobody wants, and waits for its lane with everything else.
    pub(super) fn begin_watched(
        command: &mut Command,
        id: Id,
        sources: &mut Sources,
    ) -> Result<(Attempt, Key)> {
        command.stdout = Some(Stdio::null());
        command.stderr = Some(Stderr::Stdio(Stdio::null()));
        let Started { running, life, reader, .. } = engine::start(command, Streams::Capture)?;
        let attempt = Attempt::of(running, life, reader);
        let key = attempt.watch(id, What::Probe, sources)?;
        Ok((attempt, key))
    }

    /// Waits for its lane.
    pub(super) fn watch(&self, id: Id, what: What, sources: &mut Sources) -> Result<Key> {
        let Some((_, shepherd)) = &self.lane else {
            return Err(Error::system(self.waiting(), std::io::ErrorKind::BrokenPipe));
        };
        let socket = Arc::clone(shepherd.socket());
        let key = sources.add(socket, Interest::Readable, id, what);
        key.map_err(|cause| Error::system(self.waiting(), cause))
    }

    fn waiting(&self) -> String {
        format!("wait for `{}`", shown(self.running.program()))
    }

    pub(super) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Whether it was over before anybody could read for it.
    pub(super) fn is_over(&self) -> bool {
        self.lane.is_none()
    }

    /// Its shepherd has said something.
    pub(super) fn read_lane(&self) -> Progress {
        let Some((role, shepherd)) = &self.lane else { return Progress::Over };
        let role = role.role();
        let progress = role.read(shepherd, Blocking::No);
        if progress == Progress::NeverRan {
            role.lose("it ended before the command was started");
            return Progress::Over;
        }
        progress
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.running.report().is_some_and(|report| report.success())
    }

    /// When it is to be looked at by the clock.
    pub(super) fn due(&self) -> Option<Instant> {
        earliest(self.running.next_judgement(), self.running.silence_deadline())
    }

    pub(super) fn pass_time(&self, now: Instant) {
        if self.running.next_judgement().is_some_and(|at| at <= now) {
            self.running.judge(now);
        }
        if self.running.silence_deadline().is_some_and(|at| at <= now) {
            self.running.judge_silence();
        }
    }
}
