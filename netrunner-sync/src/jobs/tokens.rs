//! The tokens of a make jobserver: each running job has one, and what it starts in parallel takes more.
//!
//! No job sees the jobserver itself. Each gets a pipe of its own, in which tokens are lent to it, so that
//! what a job holds is known: when it is over, in whatever way, that is all of it free again. A plain
//! jobserver loses the tokens of a make that is killed.
//!
//! Whether somebody wants a token can't be seen from the other end of a pipe. Of our own tokens all that
//! are free are lent out at once, evenly, and what stays in the pipe is taken back when it is needed. Those
//! of a surrounding make are only offered for a moment, since others wait for them too: whoever wants
//! one is blocked in a read, and takes it at once. How none of them is ever lost is `loan`'s matter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::JobId;
use super::loan::Loan;
use super::makeflags;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::lane::above_stdio;

/// The time between two looks at what is lent, and for which a token is offered.
const TICK: Duration = Duration::from_millis(10);

/// Who has left an offer untaken gets no other one before this.
const REST: Duration = Duration::from_millis(100);

/// A make jobserver: so many processes may work at a time, whoever starts them.
///
/// With [`Jobs::jobserver`](super::Jobs::jobserver) each job needs one of its tokens, and `make`, `cargo`
/// and the like that are started as jobs take more for what they do in parallel. The tokens of a job that
/// is killed are free again, and when this process is killed, a surrounding make has all of its again once
/// nothing of the jobs is left.
///
/// ```
/// use netrunner_sync::{Command, Jobs, Jobserver};
///
/// // What a surrounding make allows, or else as many as there are CPUs.
/// let jobserver = Jobserver::from_env()?.map_or_else(|| Jobserver::new(0), Ok)?;
/// let mut jobs = Jobs::new(64);
/// jobs.jobserver(jobserver);
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo $MAKEFLAGS"]);
/// jobs.push(command);
/// let flags = jobs.next().unwrap().result?.stdout;
/// assert!(String::from_utf8_lossy(&flags).contains("--jobserver-auth="));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct Jobserver {
    origin: Origin,
    /// What is free and here.
    hand: Vec<Token>,
    form: Form,
}

#[derive(Debug)]
enum Origin {
    Own,
    /// A surrounding make's.
    Outer(Loan),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// That which each process has by being started.
    Implicit,
    /// One of a jobserver's.
    Other,
}

/// How jobs are told of their pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Descriptors,
    Fifo,
}

impl Jobserver {
    /// One of our own, with so many tokens; 0: as many as there are CPUs.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Jobserver};
    ///
    /// let mut jobs = Jobs::new(8);
    /// jobs.jobserver(Jobserver::new(2)?); // two at a time, whatever a make among them would start
    /// jobs.push(Command::new("true"));
    /// assert!(jobs.next().unwrap().is_success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn new(tokens: usize) -> Result<Jobserver> {
        let cpus = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if tokens == 0 { cpus() } else { tokens };
        let hand = vec![Token::Other; count];
        Ok(Jobserver { origin: Origin::Own, hand, form: Form::Descriptors })
    }

    /// The one that a surrounding make or cargo announces in `CARGO_MAKEFLAGS`, `MAKEFLAGS` or `MFLAGS`;
    /// none if there is none. It counts one token more: that by which this process runs. Jobs are told of
    /// it in the form in which it was announced, unless [`fifo`](Jobserver::fifo) says otherwise.
    ///
    /// ```
    /// use netrunner_sync::Jobserver;
    ///
    /// // That of the make which runs this program, or else one with two tokens.
    /// let jobserver = Jobserver::from_env()?.map_or_else(|| Jobserver::new(2), Ok)?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It is announced and can't be reached. A make does that to what does not look like a make to it:
    /// begin the recipe with `+`.
    pub fn from_env() -> Result<Option<Jobserver>> {
        let announced = makeflags::announced();
        let Some(auth) = announced else { return Ok(None) };
        let (read, write) = match makeflags::place(&auth) {
            Some(place) => place,
            // `-2,-2`: told not to use it.
            None => return Ok(None),
        };
        let unreachable = |cause| {
            let auth = String::from_utf8_lossy(&auth).into_owned();
            Error::system(format!("use the jobserver `{auth}`"), cause)
        };
        let read = open(&read, OFlags::RDONLY).map_err(unreachable)?;
        let write = open(&write, OFlags::WRONLY).map_err(unreachable)?;
        let origin = Origin::Outer(Loan::new(read, write).map_err(unreachable)?);
        let form = if auth.starts_with(b"fifo:") { Form::Fifo } else { Form::Descriptors };
        Ok(Some(Jobserver { origin, hand: vec![Token::Implicit], form }))
    }

    /// Whether jobs are told of a named pipe (`fifo:PATH`), as make has it since 4.4, and not of two
    /// descriptors, which all of them know but ninja: that reads nothing else, and none before 1.13. By
    /// default they are not, unless the surrounding make does so. No file is made for it.
    ///
    /// ```
    /// let for_ninja = netrunner_sync::Jobserver::new(2)?.fifo(true);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn fifo(self, yes: bool) -> Jobserver {
        Jobserver { form: if yes { Form::Fifo } else { Form::Descriptors }, ..self }
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    if !std::fs::metadata(path)?.file_type().is_fifo() {
        // The number is somebody else's by now.
        return Err(io::Error::other("it is no pipe"));
    }
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    above_stdio(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The tokens at work.
pub(super) struct Tokens {
    server: Jobserver,
    shares: BTreeMap<JobId, Share>,
    /// Somebody waited for one in vain.
    starved: bool,
    next: Option<Instant>,
}

/// What a job has.
struct Share {
    /// The token by which it runs.
    own: Token,
    /// Those in its pipe, or taken out of it by whoever works for it.
    lent: Vec<Token>,
    /// Our ends. The first is a file of our own: reading it never waits.
    read: OwnedFd,
    write: OwnedFd,
    /// Until when the last offer holds.
    offered: Instant,
    /// No other offer before.
    rests: Instant,
}

impl Tokens {
    pub(super) fn new(server: Jobserver) -> Tokens {
        Tokens { server, shares: BTreeMap::new(), starved: false, next: None }
    }

    /// Takes one for another job; what nobody has taken out of its pipe may be it.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let token = self.server.hand.pop().or_else(|| self.server.take());
        let token = token.or_else(|| self.shares.values_mut().find_map(Share::reclaim));
        self.starved = token.is_none();
        token.map(Taken)
    }

    /// What to wait for, if somebody waits.
    pub(super) fn source(&self) -> Option<Arc<OwnedFd>> {
        match &self.server.origin {
            Origin::Outer(loan) if self.starved => Some(loan.source()),
            Origin::Outer(_) | Origin::Own => None,
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Lets a job have a pipe for more, and tells it.
    pub(super) fn share(&mut self, id: JobId, own: Taken, command: &mut Command) -> Result<()> {
        let failed = |cause: io::Error| Error::system("make a pipe for a jobserver", cause);
        let made = || -> io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
            let (theirs, write) = crate::sys::pipe()?;
            let (theirs, write) = (above_stdio(theirs)?, above_stdio(write)?);
            let path = format!("/proc/self/fd/{}", theirs.as_raw_fd());
            let read = open(Path::new(&path), OFlags::RDONLY)?;
            Ok((theirs, write, read))
        };
        let given = made().and_then(|(theirs, write, read)| {
            let auth = match self.server.form {
                Form::Descriptors => {
                    let [one, other] = numbers();
                    command.fd(one, theirs).fd(other, File::from(write.try_clone()?));
                    format!("{one},{other}")
                }
                Form::Fifo => {
                    let (pid, number) = (std::process::id(), write.as_raw_fd());
                    format!("fifo:/proc/{pid}/fd/{number}")
                }
            };
            makeflags::announce(command, &auth);
            Ok((write, read))
        });
        match given {
            Ok((write, read)) => {
                let now = Instant::now();
                let share =
                    Share { own: own.0, lent: Vec::new(), read, write, offered: now, rests: now };
                self.shares.insert(id, share);
                Ok(())
            }
            Err(cause) => {
                self.server.hand.push(own.0);
                Err(failed(cause))
            }
        }
    }

    /// A try is over, and with it whoever had one of its tokens.
    pub(super) fn end(&mut self, id: JobId) {
        if let Some(share) = self.shares.remove(&id) {
            self.server.hand.push(share.own);
            self.server.hand.extend(share.lent);
        }
    }

    /// Lends what is free, and gives back what nobody wants. `wanted` says that more jobs are to start,
    /// and come first.
    pub(super) fn balance(&mut self, wanted: bool) {
        let now = Instant::now();
        self.next = (!self.shares.is_empty()).then(|| now + TICK);
        match self.server.origin {
            Origin::Own if wanted && self.starved => {}
            Origin::Own => self.spread(now),
            Origin::Outer(_) => self.offer(wanted, now),
        }
        if !wanted {
            self.starved = false;
        }
    }

    /// Lends all evenly. What is too little for all goes from one to the next.
    fn spread(&mut self, now: Instant) {
        while let Some(token) = self.server.hand.pop() {
            if let Err(token) = self.lend_to_poorest(token, now) {
                self.server.hand.push(token);
                return;
            }
        }
        let mut may_pass_on = true;
        loop {
            let least = self.shares.values().map(Share::unclaimed).min().unwrap_or(0);
            let richest = self.shares.values_mut().max_by_key(|share| share.unclaimed());
            let taken = richest.and_then(|share| {
                let passes = may_pass_on && least == 0 && share.offered <= now;
                let is_rich = share.unclaimed() > least + usize::from(!passes);
                may_pass_on &= share.unclaimed() > least + 1;
                if is_rich { share.reclaim() } else { None }
            });
            let Some(token) = taken else { return };
            if let Err(token) = self.lend_to_poorest(token, now) {
                return self.server.hand.push(token);
            }
        }
    }

    /// Of several that have as little, the one that was lent nothing for the longest time.
    fn lend_to_poorest(&mut self, token: Token, now: Instant) -> std::result::Result<(), Token> {
        let poorest =
            self.shares.values_mut().min_by_key(|share| (share.unclaimed(), share.offered));
        let share = poorest.ok_or(token)?;
        share.lend(token);
        share.offered = now + TICK;
        Ok(())
    }

    fn offer(&mut self, wanted: bool, now: Instant) {
        for share in self.shares.values_mut().filter(|share| share.offered <= now) {
            while let Some(token) = share.reclaim() {
                self.server.hand.push(token);
                share.rests = now + REST;
            }
        }
        if !wanted {
            for share in self.shares.values_mut() {
                if share.rests <= now && share.unclaimed() == 0 {
                    let Some(token) = self.server.hand.pop().or_else(|| self.server.take()) else {
                        break;
                    };
                    share.lend(token);
                    share.offered = now + TICK;
                }
            }
            self.server.give_back();
        }
    }
}

/// A token for a job that is about to start.
pub(super) struct Taken(Token);

impl Jobserver {
    /// One of a surrounding make's, if one is free.
    fn take(&mut self) -> Option<Token> {
        match &mut self.origin {
            Origin::Own => None,
            Origin::Outer(loan) => loan.take().then_some(Token::Other),
        }
    }

    /// Gives a surrounding make back what is free and its.
    fn give_back(&mut self) {
        let Origin::Outer(loan) = &mut self.origin else { return };
        let before = self.hand.len();
        self.hand.retain(|token| *token == Token::Implicit);
        loan.give_back(before - self.hand.len());
    }
}

impl Share {
    /// How many are in the pipe. What a job has written beyond what it had is none.
    fn unclaimed(&self) -> usize {
        let bytes = rustix::io::ioctl_fionread(&self.read).unwrap_or(0);
        self.lent.len().min(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn lend(&mut self, token: Token) {
        // A pipe has room for thousands, and we hold both of its ends.
        let _ = rustix::io::write(&self.write, b"+");
        self.lent.push(token);
    }

    /// Takes one back that nobody has taken out.
    fn reclaim(&mut self) -> Option<Token> {
        if self.lent.is_empty() || !take_byte(&self.read) {
            return None;
        }
        self.lent.pop()
    }
}

/// False if somebody was quicker.
fn take_byte(from: &OwnedFd) -> bool {
    let mut byte = [0];
    loop {
        match rustix::io::read(from, &mut byte) {
            Ok(1) => return true,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

/// The numbers of the pipe in a job: above those that shell scripts use, where so many may be open.
fn numbers() -> [i32; 2] {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if limit.is_none_or(|limit| limit > 200) { [100, 101] } else { [3, 4] }
}

/// Undoes what [`Tokens::share`] has done to the descriptors: they are this try's.
pub(super) fn forget(command: &mut Command) {
    let ours = numbers();
    command.descriptors.retain(|(number, _)| !ours.contains(number));
}
