//! How the scriptable client says what must not happen: in a file, and by its exit code.

use std::fs::File;
use std::io::Write as _;

use crate::sys;

/// How it ends where it could not say in the file what is wrong, only on its standard error.
pub const SPEECHLESS: i32 = 71;

/// Says what is wrong in a place that is there even when the standard streams are not, and ends.
pub fn fail(what: impl std::fmt::Display) -> ! {
    let told = File::options()
        .append(true)
        .create(true)
        .open("client-failed")
        .and_then(|mut file| writeln!(file, "{what}"));
    if told.is_err() {
        // Without a descriptor left there is this one.
        let _ = writeln!(std::io::stderr(), "{what}");
        sys::exit_now(SPEECHLESS);
    }
    sys::exit_now(70);
}

/// The value, unless there is none.
pub fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(format_args!("{what}: {error}")))
}
