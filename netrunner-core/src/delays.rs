//! How long `supervise` waits for what. What it does then is in its own file.

use core::time::Duration;

/// How long what outlives the child may take to end by itself before it counts as left over: a
/// nested NetRunner's guardian does, and so does the tail of a shell pipeline.
pub const SETTLING: Duration = Duration::from_millis(20);

/// How long those that were hung up may take to end, before what has outlived the child gets a signal
/// of its own (an editor writes down what it has), and a child that still lives is woken: a shell whose
/// hang-up comes just before it waits for a key sleeps on, where a real terminal would have ended.
pub const HANGING_UP: Duration = Duration::from_millis(500);

/// How long a command lives before the client gets the child's pidfd, which costs more than all else
/// that is said about a command. The client needs it only if guardian and shepherd are killed together.
pub const HANDLE_AFTER: Duration = Duration::from_millis(100);

/// How long sweeps go on before the client is told what they could not kill. A process that frees
/// many gigabytes takes seconds to die, so this is not about being quick: the killing is, and goes
/// on after the word.
pub const SWEEPING: Duration = Duration::from_secs(10);

/// The pause after the first sweep; it doubles up to [`SWEEP_PAUSE_MAX`].
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause between sweeps that the client still waits for.
pub(crate) const SWEEP_PAUSE_MAX: Duration = Duration::from_millis(20);

/// The pause between sweeps once the client has been told.
pub(crate) const SWEEP_PAUSE_LATE: Duration = Duration::from_secs(1);
