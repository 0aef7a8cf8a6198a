//! The standard streams of a command: which are pipes, and who holds the other ends.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use crate::command::{Command, Stderr, Stdin};
use crate::error::Result;
use crate::input::{Feed, Input};
use crate::limits;
use crate::request::{Passed, Prepared, pipe_error, spent};
use crate::stdio::{Source, Stdio};
use crate::streams::{pipe_from_child, pipe_to_child};

/// Our ends of a command's pipes.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) input: Option<Fodder>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
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
    match &mut command.stdin {
        Some(Stdin::Input(input)) => connect_input(input, prepared, &mut ends)?,
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
    for (number, fd) in &mut command.descriptors {
        if let Some(fd) = fd.take() {
            prepared.place(*number, Passed::Given(fd))?;
        }
    }
    Ok(ends)
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
