//! An error in one line that another process can read: its number, its predicates, its text.
//! Part of the test binary and of the client, not of the library, which does not know NetRunner.

use netrunner_sync::Error;

/// `error ERRNO [PREDICATES] TEXT`, where 0 stands for no number.
pub(crate) fn line(error: &Error) -> String {
    let errno = error.raw_os_error().unwrap_or(0);
    format!("error {errno} [{}] {error}", predicates(error).join(" "))
}

/// The predicates that are true.
pub(crate) fn predicates(error: &Error) -> Vec<&'static str> {
    let all = [
        ("is_exec", error.is_exec()),
        ("is_failure", error.is_failure()),
        ("is_invalid_input", error.is_invalid_input()),
        ("is_not_found", error.is_not_found()),
        ("is_not_ready", error.is_not_ready()),
        ("is_not_run", error.is_not_run()),
        ("is_output_limit", error.is_output_limit()),
        ("is_permission_denied", error.is_permission_denied()),
        ("is_shepherd_lost", error.is_shepherd_lost()),
        ("is_timeout", error.is_timeout()),
        ("is_uncontained", error.is_uncontained()),
        ("is_unkillable", error.is_unkillable()),
    ];
    all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
}
