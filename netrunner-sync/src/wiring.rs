//! The standard streams of a command: which are pipes, and who holds the other ends.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use netrunner_pty::WinSize;

use crate::command::{Command, Stderr, Stdin};
use crate::error::{Error, Result, shown};
use crate::input::{Feed, Input};
use crate::limits;
use crate::request::{Passed, Prepared, pipe_error, spent};
use crate::stdio::{Source, Stdio};
use crate::streams::{pipe_from_child, pipe_to_child};
use crate::target::Target;

/// Our ends of a command's pipes.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) input: Option<Fodder>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    /// The manager of the terminal that the command has for its own.
    pub(crate) terminal: Option<Arc<OwnedFd>>,
    /// Who types on it what is to be fed; without anything said, the end of the input.
    pub(crate) typist: Option<Target>,
}

impl Ends {
    /// What is to be fed, and where. On a terminal that is at least the end of the input.
    pub(crate) fn take_fodder(&mut self) -> Option<(Target, Fodder)> {
        match (self.typist.take(), self.input.take()) {
            (Some(typist), Some(input)) => Some((typist, input)),
            (Some(typist), None) => Some((typist, Fodder::Bytes(Arc::default()))),
            (None, Some(input)) => Some((Target::pipe(self.stdin.take()?), input)),
            (None, None) => None,
        }
    }
}

/// What is to be fed into the standard input.
pub(crate) enum Fodder {
    Bytes(Arc<Vec<u8>>),
    Reader(Box<dyn Read + Send>),
}

/// What a stream is when the command does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// All three inherited, as `spawn` and `status` have it.
    Inherit,
    /// No input and both outputs captured, as `output` has it.
    Capture,
    /// No input and both outputs inherited, as `Jobs` may have it.
    PassThrough,
}

impl Streams {
    fn input(self) -> Stdio {
        match self {
            Streams::Inherit => Stdio::inherit(),
            Streams::Capture | Streams::PassThrough => Stdio::null(),
        }
    }

    pub(crate) fn output(self) -> Stdio {
        match self {
            Streams::Inherit | Streams::PassThrough => Stdio::inherit(),
            Streams::Capture => Stdio::piped(),
        }
    }
}

/// Connects the streams and the passed descriptors of `command`, and consumes those that it owns.
pub(crate) fn connect(
    command: &mut Command,
    default: Streams,
    prepared: &mut Prepared,
) -> Result<Ends> {
    check(command)?;
    limits::check(command, default)?;
    let mut ends = Ends::default();
    if let Some(size) = command.pty {
        connect_terminal(size, command, prepared, &mut ends)?;
    } else {
        connect_streams(command, default, prepared, &mut ends)?;
    }
    for (number, fd) in &mut command.descriptors {
        if let Some(fd) = fd.take() {
            prepared.place(*number, Passed::Given(fd))?;
        }
    }
    Ok(ends)
}

fn connect_streams(
    command: &mut Command,
    default: Streams,
    prepared: &mut Prepared,
    ends: &mut Ends,
) -> Result<()> {
    match &mut command.stdin {
        Some(Stdin::Input(input)) => connect_input(input, prepared, ends)?,
        Some(Stdin::Stdio(stdio)) => {
            ends.stdin = connect_stream(Stream::In, stdio, prepared)?;
        }
        None => ends.stdin = connect_stream(Stream::In, &mut default.input(), prepared)?,
    }
    let mut stdout = default.output();
    let stdout = command.stdout.as_mut().unwrap_or(&mut stdout);
    ends.stdout = connect_stream(Stream::Out, stdout, prepared)?;
    match &mut command.stderr {
        Some(Stderr::Merged) => prepared.place_again(1, 2)?,
        Some(Stderr::Stdio(stdio)) => {
            ends.stderr = connect_stream(Stream::Err, stdio, prepared)?;
        }
        None => ends.stderr = connect_stream(Stream::Err, &mut default.output(), prepared)?,
    }
    Ok(())
}

/// Opens a terminal for the command, and has its input typed there.
fn connect_terminal(
    size: WinSize,
    command: &mut Command,
    prepared: &mut Prepared,
    ends: &mut Ends,
) -> Result<()> {
    let modes = command.pty_modes.clone().unwrap_or_default();
    let pair = netrunner_pty::open(size, &modes).map_err(|cause| {
        Error::system(format!("open a terminal for `{}`", shown(prepared.name())), cause)
    })?;
    let beside = match &command.stderr {
        Some(Stderr::Stdio(_)) => 0..2,
        Some(Stderr::Merged) | None => 0..3,
    };
    prepared.place_terminal(pair.subsidiary, beside)?;
    if let Some(Stderr::Stdio(stdio)) = &mut command.stderr {
        ends.stderr = connect_stream(Stream::Err, stdio, prepared)?;
    }
    if let Some(Stdin::Input(input)) = &mut command.stdin {
        ends.input = Some(fodder(input)?);
    }
    let manager = Arc::new(pair.manager.into_nonblocking());
    let typist = Target::terminal(&manager)
        .map_err(|cause| pipe_error(prepared.name(), "input", cause.into()))?;
    ends.typist = Some(typist);
    ends.terminal = Some(manager);
    Ok(())
}

/// All of the input, to be typed.
fn fodder(input: &mut Input) -> Result<Fodder> {
    if let Feed::Bytes(bytes) = &input.0 {
        return Ok(Fodder::Bytes(Arc::clone(bytes)));
    }
    match std::mem::replace(&mut input.0, Feed::Spent) {
        Feed::File(fd) => Ok(Fodder::Reader(Box::new(File::from(fd)))),
        Feed::Reader(reader) => {
            Ok(Fodder::Reader(reader.into_inner().unwrap_or_else(PoisonError::into_inner)))
        }
        Feed::Bytes(_) | Feed::Spent => Err(spent("the input")),
    }
}

/// Finds what an earlier spawn consumed, before anything is consumed now.
pub(crate) fn check(command: &Command) -> Result<()> {
    let is_spent = |stdio: &Stdio| matches!(stdio.0, Source::Spent);
    let stdin = match &command.stdin {
        Some(Stdin::Stdio(stdio)) => is_spent(stdio),
        Some(Stdin::Input(input)) => matches!(input.0, Feed::Spent),
        None => false,
    };
    let stderr = match &command.stderr {
        Some(Stderr::Stdio(stdio)) => is_spent(stdio),
        Some(Stderr::Merged) | None => false,
    };
    let streams = [
        (stdin, Stream::In),
        (command.stdout.as_ref().is_some_and(is_spent), Stream::Out),
        (stderr, Stream::Err),
    ];
    match streams.into_iter().find(|(spent, _)| *spent) {
        Some((_, stream)) => Err(spent(&format!("what was to be the {}", stream.name()))),
        None => match command.descriptors.iter().find(|(_, fd)| fd.is_none()) {
            Some((number, _)) => Err(spent(&format!("descriptor {number}"))),
            None => Ok(()),
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    In,
    Out,
    Err,
}

impl Stream {
    fn number(self) -> i32 {
        match self {
            Stream::In => 0,
            Stream::Out => 1,
            Stream::Err => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Stream::In => "standard input",
            Stream::Out => "standard output",
            Stream::Err => "standard error",
        }
    }
}

/// Connects one stream, and returns our end if it is a new pipe.
fn connect_stream(
    stream: Stream,
    stdio: &mut Stdio,
    prepared: &mut Prepared,
) -> Result<Option<OwnedFd>> {
    let number = stream.number();
    let passed = match &stdio.0 {
        Source::Piped => {
            let pipe = match stream {
                Stream::In => pipe_to_child(),
                Stream::Out | Stream::Err => pipe_from_child(),
            };
            let pipe = pipe.map_err(|cause| pipe_error(prepared.name(), stream.name(), cause))?;
            prepared.place_pipe(number, pipe.theirs)?;
            return Ok(Some(pipe.ours));
        }
        Source::Null => return prepared.place_null(number).map(|()| None),
        Source::Inherit => Passed::Inherited(number),
        Source::Stdout => Passed::Inherited(1),
        Source::Stderr => Passed::Inherited(2),
        Source::Owned(_) | Source::Spent => match std::mem::replace(&mut stdio.0, Source::Spent) {
            Source::Owned(fd) => Passed::Given(fd),
            Source::Piped
            | Source::Null
            | Source::Inherit
            | Source::Stdout
            | Source::Stderr
            | Source::Spent => return Err(spent(stream.name())),
        },
    };
    prepared.place(number, passed).map(|()| None)
}

fn connect_input(input: &mut Input, prepared: &mut Prepared, ends: &mut Ends) -> Result<()> {
    let fodder = match &input.0 {
        Feed::Bytes(bytes) if bytes.is_empty() => return prepared.place_null(0),
        Feed::Bytes(bytes) => Fodder::Bytes(Arc::clone(bytes)),
        Feed::File(_) | Feed::Reader(_) | Feed::Spent => {
            match std::mem::replace(&mut input.0, Feed::Spent) {
                Feed::File(fd) => return prepared.place(0, Passed::Given(fd)),
                Feed::Reader(reader) => {
                    Fodder::Reader(reader.into_inner().unwrap_or_else(PoisonError::into_inner))
                }
                Feed::Bytes(_) | Feed::Spent => return Err(spent("the input")),
            }
        }
    };
    let pipe = pipe_to_child().map_err(|cause| pipe_error(prepared.name(), "input", cause))?;
    prepared.place_pipe(0, pipe.theirs)?;
    ends.stdin = Some(pipe.ours);
    ends.input = Some(fodder);
    Ok(())
}
