//! How long `supervise` waits for what. What it does then is in its own file.

use core::time::Duration;

/// How long what outlives the child may take to end by itself before it counts as left over: a
/// nested NetRunner's guardian does, and so does the tail of a shell pipeline.
///
/// ```
/// use netrunner_core::supervise::{SETTLING, Supervisor};
/// use netrunner_core::{Time, message::CommandId, spawn::Terms};
///
/// let (mut shepherd, start) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(start, CommandId(1), Terms::DEFAULT);
/// shepherd.handle_child_ended(start);
/// assert_eq!(shepherd.deadline(), Some(start.after(SETTLING)));
/// ```
pub const SETTLING: Duration = Duration::from_millis(20);

/// How long those that were hung up may take to end, before what has outlived the child gets a signal
/// of its own (an editor writes down what it has), and a child that still lives is woken: a shell whose
/// hang-up comes just before it waits for a key sleeps on, where a real terminal would have ended.
///
/// ```
/// use netrunner_core::message::{CommandId, Reason};
/// use netrunner_core::supervise::{HANGING_UP, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// // What a terminal means by its end, SIGHUP, and SIGTERM for what is deaf to it.
/// let terms = Terms { stop_signal: 1, leftover_signal: Some(15), ..Terms::DEFAULT };
/// let (mut shepherd, start) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(start, CommandId(1), terms);
/// shepherd.handle_stop(start, CommandId(1), Reason::Stopped);
/// assert_eq!(shepherd.deadline(), Some(start.after(HANGING_UP)));
/// ```
pub const HANGING_UP: Duration = Duration::from_millis(500);

/// How long a command lives before the client gets the child's pidfd, which costs more than all else
/// that is said about a command. The client needs it only if guardian and shepherd are killed together.
///
/// ```
/// use netrunner_core::supervise::{Action, HANDLE_AFTER, Supervisor};
/// use netrunner_core::{Time, message::CommandId, spawn::Terms};
///
/// let (mut shepherd, start) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(start, CommandId(1), Terms::DEFAULT);
/// shepherd.handle_timeout(start.after(HANDLE_AFTER));
/// assert_eq!(shepherd.poll_action(), Some(Action::Handle(CommandId(1))));
/// ```
pub const HANDLE_AFTER: Duration = Duration::from_millis(100);

/// How long sweeps go on before the client is told what they could not kill. A process that frees
/// many gigabytes takes seconds to die, so this is not about being quick: the killing is, and goes
/// on after the word.
///
/// ```
/// use netrunner_core::message::{CommandId, Fate, Reason};
/// use netrunner_core::supervise::{Action, SWEEPING, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// let (mut shepherd, start) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(start, CommandId(1), Terms::DEFAULT);
/// shepherd.handle_kill(start, CommandId(1));
/// // Nothing ends, whatever is done.
/// let told = loop {
///     let now = shepherd.deadline().expect("it goes on sweeping");
///     shepherd.handle_timeout(now);
///     while let Some(action) = shepherd.poll_action() {
///         assert!(now >= start.after(SWEEPING) || !matches!(action, Action::Report(..)));
///     }
///     if !shepherd.client_is_here() {
///         break now;
///     }
/// };
/// assert_eq!(told, start.after(SWEEPING));
/// ```
pub const SWEEPING: Duration = Duration::from_secs(10);

/// Nor is the client told before so many sweeps: a shepherd that was stopped meanwhile has not tried. On any
/// machine on which there is time for the word, there is time for these within [`SWEEPING`].
pub(crate) const FEWEST_SWEEPS: u8 = 100;

/// The pause after the first sweep; it doubles up to [`SWEEP_PAUSE_MAX`].
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause between sweeps that the client still waits for.
pub(crate) const SWEEP_PAUSE_MAX: Duration = Duration::from_millis(20);

/// The pause between sweeps once the client has been told.
pub(crate) const SWEEP_PAUSE_LATE: Duration = Duration::from_secs(1);
