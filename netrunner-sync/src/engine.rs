//! Starts commands: takes a shepherd or has one born, sends the request, and sends it again where it
//! is certain that nothing ran.

use std::io::ErrorKind;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use netrunner_core::message::Session;
use netrunner_core::spawn::Notify;

use crate::capture::{Capture, Keep};
use crate::child::{Child, Life};
use crate::command::Command;
use crate::contain;
use crate::error::{Error, Result, shown};
use crate::feed::Feed;
use crate::guardian::Guardian;
use crate::lane::PATIENCE;
use crate::meter::Meter;
use crate::outcome::Captured;
use crate::outlet::Outlet;
use crate::pool::Taken;
use crate::pty::{self, ChildPty};
use crate::reader_feed::ReaderFeed;
use crate::record;
use crate::report::Output;
use crate::request::{Prepared, pipe_error};
use crate::rights::Rights;
use crate::running::{Progress, Role, Running};
use crate::runtime::Runtime;
use crate::shepherd::Shepherd;
use crate::streams::Inlet;
use crate::target::Target;
use crate::terminal::Tie;
use crate::watcher::Word;
use crate::wiring::{self, Ends, Fodder, Streams};

/// How often a request is sent before a shepherd that never takes it is an error.
const TRIES: usize = 4;

/// For how long it is sent again. A guardian that was silent for [`PATIENCE`] is worth a second try; two
/// of them are not by chance.
const TRYING: Duration = Duration::from_secs(3 * PATIENCE.as_secs() / 2);

/// A request that may have to be sent again.
pub(crate) struct Attempt {
    runtime: &'static Runtime,
    prepared: Prepared,
    rights: Rights,
    notify: Notify,
    timeout: Option<Duration>,
    tries: usize,
    began: Instant,
}

/// A command whose request was not sent yet, with our ends of its pipes.
struct Launch {
    running: Arc<Running>,
    attempt: Attempt,
    ends: Ends,
}

fn prepare(command: &mut Command, streams: Streams, notify: Notify) -> Result<Launch> {
    let runtime = Runtime::current();
    let rights = Rights::now().map_err(credentials_unknown)?;
    let mut prepared = Prepared::check(command, &rights)?;
    pty::check(command)?;
    let group = contain::make(command)?;
    let ends = wiring::connect(command, streams, &mut prepared)?;
    prepared.place_in(group.clone());
    let tie = match &ends.terminal {
        Some(manager) => Tie::Own(Arc::downgrade(manager)),
        None => prepared.lend().map_or(Tie::Nothing, Tie::Lent),
    };
    let running = Running::new(runtime, command.program.clone(), &command.terms, tie, group);
    // `output` counts what it has at the end, and `spawn` while its streams are used.
    if notify == Notify::Start || command.limits.are_set() {
        let terminal = ends.terminal.as_deref();
        let stdout = ends.stdout.as_ref().or(terminal);
        let meter = Meter::new(&running, &command.limits, stdout, ends.stderr.as_ref());
        let failed = |cause| pipe_error(&command.program, "output", cause);
        running.count(meter.map_err(failed)?);
    }
    let timeout = command.terms.timeout;
    let began = Instant::now();
    let attempt = Attempt { runtime, prepared, rights, notify, timeout, tries: 0, began };
    Ok(Launch { running, attempt, ends })
}

impl Attempt {
    /// Sends the request to a shepherd. The role says that nobody reads meanwhile.
    pub(crate) fn send(
        &mut self,
        running: &Arc<Running>,
        _role: &Role<'_>,
    ) -> Result<Arc<Shepherd>> {
        if self.tries == 0 {
            record::begins(running.program());
        }
        let sent = self.try_to_send(running);
        sent.inspect_err(|error| record::fails(running.program(), error))
    }

    fn try_to_send(&mut self, running: &Arc<Running>) -> Result<Arc<Shepherd>> {
        loop {
            self.tries += 1;
            let shepherd = self.acquire()?;
            let directory = shepherd.guardian().other_directory()?;
            if let Some(group) = running.group() {
                shepherd.guardian().look_after_groups(group.root());
            }
            let known = shepherd.knows(self.prepared.environment());
            let mut bytes = Vec::with_capacity(4096);
            let descriptors = self.prepared.encode(
                running.id(),
                self.notify,
                directory.as_ref(),
                known,
                &mut bytes,
            )?;
            let mut ear = shepherd.ear();
            ear.expect_terminal(running.own_terminal());
            let begun = ear.conversation().begin(running.id(), self.notify);
            drop(ear);
            // A shepherd from the pool is idle; if not, that is a bug of ours, and it is not used.
            debug_assert!(begun.is_ok());
            if begun.is_err() {
                continue;
            }
            running.assign(Arc::clone(&shepherd), self.timeout);
            match shepherd.send(&bytes, &descriptors) {
                Ok(()) => {
                    shepherd.remember(self.prepared.environment());
                    if shepherd.ear().conversation().greeted() {
                        // One from the pool, which was alive a moment ago.
                        self.prepared.release_given();
                    }
                    return Ok(shepherd);
                }
                // It has not got the whole request, so nothing ran.
                Err(cause) => {
                    running.give_up(&shepherd);
                    let wedged = cause.kind() == ErrorKind::TimedOut;
                    if !is_gone(&cause) || wedged && !self.may_go_on() {
                        return Err(self.failed("hand", " to its shepherd", cause));
                    }
                    if !self.may_go_on() {
                        return Err(self.never_taken());
                    }
                }
            }
        }
    }

    /// Sends it again after a lane that ended before the request was read.
    pub(crate) fn send_again(
        &mut self,
        running: &Arc<Running>,
        role: &Role<'_>,
    ) -> Result<Arc<Shepherd>> {
        if let Some(shepherd) = running.shepherd() {
            if !shepherd.ear().conversation().greeted() {
                // It was never born: its guardian lost its lane for want of a descriptor, or is gone
                // itself. Another one starts with what the client may have now.
                self.runtime.pool().forget(shepherd.guardian());
            }
        }
        if !self.may_go_on() || !self.prepared.is_whole() {
            let error = self.never_taken();
            record::fails(running.program(), &error);
            return Err(error);
        }
        self.send(running, role)
    }

    fn may_go_on(&self) -> bool {
        self.tries < TRIES && self.began.elapsed() < TRYING
    }

    /// The shepherd lives and will read the request.
    pub(crate) fn release_given(&mut self) {
        self.prepared.release_given();
    }

    fn failed(&self, before: &str, after: &str, cause: std::io::Error) -> Error {
        Error::system(format!("{before} `{}`{after}", shown(self.prepared.name())), cause)
    }

    fn never_taken(&self) -> Error {
        self.given_up("it ended before it took the command")
    }

    fn given_up(&self, why: &str) -> Error {
        let text = format!("{why} (tried {} times)", self.tries);
        let cause = std::io::Error::new(ErrorKind::ConnectionAborted, text);
        self.failed("start a shepherd for", "", cause)
    }

    /// An idle shepherd, or a new one.
    fn acquire(&mut self) -> Result<Arc<Shepherd>> {
        ensure_watcher(self.runtime)?;
        let session = self.prepared.session();
        loop {
            let guardian = match self.runtime.pool().take(session, &self.rights) {
                Taken::Ready(shepherd) if shepherd.has_ended() => continue,
                // Several may have been killed at once, and the watcher has not buried them yet:
                // they must not use up the tries.
                Taken::Ready(shepherd) if self.tries > 1 && shepherd.is_hung_up() => continue,
                Taken::Ready(shepherd) => return Ok(shepherd),
                Taken::Ask(guardian) => guardian,
                Taken::Nobody => start_guardian(self.runtime, &self.rights)?,
            };
            match bear(&guardian, session) {
                Ok(shepherd) => return Ok(shepherd),
                Err(cause) if is_gone(&cause) && self.may_go_on() => {
                    self.tries += 1;
                    self.runtime.pool().forget(&guardian);
                }
                Err(cause) if is_gone(&cause) => {
                    return Err(self.given_up("its guardian ended at once"));
                }
                Err(cause) => return Err(self.failed("start a shepherd for", "", cause)),
            }
        }
    }
}

/// The guardian that a command would have now; it is started if there is none.
#[cfg(not(netrunner_portable))]
pub(crate) fn guardian() -> Result<Arc<Guardian>> {
    let runtime = Runtime::current();
    let rights = Rights::now().map_err(credentials_unknown)?;
    ensure_watcher(runtime)?;
    runtime.pool().guardian(&rights).map_or_else(|| start_guardian(runtime, &rights), Ok)
}

fn ensure_watcher(runtime: &'static Runtime) -> Result<()> {
    runtime.ensure_watcher().map_err(|cause| Error::system("start the watcher thread", cause))
}

fn credentials_unknown(cause: std::io::Error) -> Error {
    Error::system("read the own credentials", cause)
}

fn start_guardian(runtime: &Runtime, rights: &Rights) -> Result<Arc<Guardian>> {
    let pool = runtime.pool();
    let (guardian, lane) = Guardian::prepare(rights.clone())
        .map_err(|cause| Error::system("prepare a guardian", cause))?;
    let (guardian, ours) = pool.install(guardian, rights);
    if ours {
        if let Err(error) = guardian.start(pool.program().as_deref(), lane) {
            pool.forget(&guardian);
            return Err(error);
        }
        runtime.tell(Word::Guardian(Arc::clone(&guardian)));
    }
    Ok(guardian)
}

fn bear(guardian: &Arc<Guardian>, session: Session) -> std::io::Result<Arc<Shepherd>> {
    Shepherd::new(guardian.bear(session)?, Arc::clone(guardian), session)
}

/// Whether an error of a send says that the peer is gone or wedged.
fn is_gone(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::TimedOut)
}

/// A command that runs, with our ends of its pipes.
pub(crate) struct Started {
    pub(crate) running: Arc<Running>,
    pub(crate) life: Life,
    pub(crate) stdin: Option<Inlet>,
    pub(crate) stdout: Option<Outlet>,
    pub(crate) stderr: Option<Outlet>,
    pub(crate) pty: Option<ChildPty>,
    /// What feeds it, if that is a reader.
    pub(crate) reader: Option<ReaderFeed>,
}

/// Starts a command, and feeds what is to be fed in the background.
pub(crate) fn start(command: &mut Command, streams: Streams) -> Result<Started> {
    let launch = prepare(command, streams, Notify::Start)?;
    let Launch { running, mut attempt, mut ends } = launch;
    let life = Life::of(&running);
    let role = running.begin();
    let mut shepherd = attempt.send(&running, &role)?;
    loop {
        match role.wait(&shepherd, None) {
            Progress::Waiting => {}
            Progress::Greeted => attempt.release_given(),
            Progress::Started => break,
            Progress::NeverRan => shepherd = attempt.send_again(&running, &role)?,
            Progress::Over => {
                running.output(Captured::default())?;
                break;
            }
        }
    }
    drop(role);
    // The far ends of the pipes are the command's alone now, so that we see when it closes them.
    drop(attempt);
    let fodder = match streams {
        // Whoever has the `Child` types, or writes.
        Streams::Inherit if ends.input.is_none() => None,
        Streams::Inherit | Streams::Capture | Streams::PassThrough => ends.take_fodder(),
    };
    let written = counter(&running);
    let meter = running.meter();
    let flow = meter.and_then(Meter::stdout);
    let mut started = Started {
        stdin: ends.stdin.map(|pipe| Inlet::new(pipe, Some(Arc::clone(&written)))),
        stdout: ends.stdout.map(|pipe| Outlet::new(pipe, flow.clone())),
        stderr: ends.stderr.map(|pipe| Outlet::new(pipe, meter.and_then(Meter::stderr))),
        pty: ends.terminal.map(|manager| {
            let outlet = Outlet::terminal(Arc::clone(&manager), flow);
            let encore = fodder.as_ref().and_then(|(target, _)| target.encore());
            ChildPty::new(manager, outlet, encore, Some(Arc::clone(&written)))
        }),
        reader: None,
        running,
        life,
    };
    match fodder {
        None => {}
        Some((target, Fodder::Bytes(bytes))) => {
            started.running.tell(Word::Feed(Feed::new(target, bytes, written)));
        }
        Some((target, Fodder::Reader(reader))) => {
            started.reader = Some(start_reader(command, reader, target, written)?);
        }
    }
    if let Some(meter) = started.running.meter() {
        meter.start();
    }
    Ok(started)
}

/// Where the bytes of the input are counted.
fn counter(running: &Running) -> Arc<AtomicU64> {
    running.meter().map_or_else(Arc::default, Meter::written)
}

pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    let started = start(command, Streams::Inherit)?;
    if command.limits.idle_timeout.is_some() {
        started.running.tell(Word::Listen(Arc::downgrade(&started.running)));
    }
    Ok(Child::new(started))
}

fn start_reader(
    command: &Command,
    reader: Box<dyn std::io::Read + Send>,
    target: Target,
    written: Arc<AtomicU64>,
) -> Result<ReaderFeed> {
    ReaderFeed::start(reader, target, written).map_err(|cause| {
        let step = format!("start the threads that feed `{}`", shown(&command.program));
        Error::system(step, cause)
    })
}

pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    // As with std, pipes that were asked for stay open, unread, until the end; unless what the
    // command writes is to be measured.
    let unread = if command.limits.are_set() { Unread::No } else { Unread::Yes };
    run(command, Streams::Inherit, Keep::Nothing, unread).map(|output| output.status)
}

pub(crate) fn output(command: &mut Command) -> Result<Output> {
    run(command, Streams::Capture, Keep::All, Unread::No)
}

/// Whether piped outputs stay unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    Yes,
    No,
}

fn run(command: &mut Command, streams: Streams, keep: Keep, unread: Unread) -> Result<Output> {
    let ready = make_ready(command, streams, Notify::End, keep, unread)?;
    let Ready { running, life: _life, mut attempt, mut capture, reader, _unread } = ready;
    capture.run(&running, &mut attempt)?;
    let output = capture.finish(&running)?;
    check_reader(reader.as_ref(), &running, output)
}

/// A command that is to be run to its end, and whose request was not sent yet.
pub(crate) struct Ready {
    pub(crate) running: Arc<Running>,
    pub(crate) life: Life,
    pub(crate) attempt: Attempt,
    pub(crate) capture: Capture,
    /// What feeds it, if that is a reader.
    pub(crate) reader: Option<ReaderFeed>,
    _unread: (Option<Outlet>, Option<Outlet>),
}

/// Makes a command ready that somebody else runs to its end, among others, and captures it.
pub(crate) fn make_ready_among_others(
    command: &mut Command,
    streams: Streams,
    notify: Notify,
) -> Result<Ready> {
    make_ready(command, streams, notify, Keep::All, Unread::No)
}

fn make_ready(
    command: &mut Command,
    streams: Streams,
    notify: Notify,
    keep: Keep,
    unread: Unread,
) -> Result<Ready> {
    let Launch { running, attempt, mut ends } = prepare(command, streams, notify)?;
    let life = Life::of(&running);
    let written = counter(&running);
    let mut reader = None;
    let mut feed = None;
    let fodder = ends.take_fodder();
    let encore = fodder.as_ref().and_then(|(target, _)| target.encore());
    match fodder {
        None => {}
        Some((target, Fodder::Bytes(bytes))) => {
            feed = Some(Feed::new(target, bytes, Arc::clone(&written)));
        }
        Some((target, Fodder::Reader(fodder))) => {
            reader = Some(start_reader(command, fodder, target, Arc::clone(&written))?);
        }
    }
    // Nobody could write into it.
    drop(ends.stdin);
    let flow = running.meter().and_then(Meter::stdout);
    // A terminal that nobody reads would hold the command back after a few lines.
    let unread = if ends.terminal.is_some() { Unread::No } else { unread };
    let stdout = match (ends.stdout, ends.terminal) {
        (Some(pipe), _) => Some(Outlet::new(pipe, flow)),
        (None, manager) => manager.map(|manager| Outlet::terminal(manager, flow)),
    };
    let stderr = ends.stderr.map(|pipe| Outlet::new(pipe, running.meter().and_then(Meter::stderr)));
    let (captured, _unread) = match unread {
        Unread::No => ((stdout, stderr), (None, None)),
        Unread::Yes => ((None, None), (stdout, stderr)),
    };
    let capture = Capture::new(feed, written, captured.0, captured.1, keep);
    let capture = capture.with_encore(encore);
    Ok(Ready { running, life, attempt, capture, reader, _unread })
}

/// The output, unless the reader that was to feed the command has failed.
pub(crate) fn check_reader(
    reader: Option<&ReaderFeed>,
    running: &Running,
    output: Output,
) -> Result<Output> {
    match reader.and_then(ReaderFeed::failure) {
        None => Ok(output),
        Some(cause) => {
            let step = format!("read the input of `{}`", shown(running.program()));
            Err(Error::system(step, cause).with_output(output))
        }
    }
}
