//! What a jobserver is announced by: a word in the flags that make, cargo and the like leave in the environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::command::Command;

/// The variables that announce a jobserver, the one that counts most first.
const VARIABLES: [&str; 3] = ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];

/// What the environment of this process announces.
pub(super) fn announced() -> Option<Vec<u8>> {
    VARIABLES.into_iter().find_map(|name| auth(&std::env::var_os(name)?))
}

/// What stands after `--jobserver-auth=`; of several the last counts, and after `--` are variables.
fn auth(flags: &OsStr) -> Option<Vec<u8>> {
    words(flags).take_while(|word| *word != b"--").filter_map(auth_of).last().map(<[u8]>::to_vec)
}

fn auth_of(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"--jobserver-auth=").or(word.strip_prefix(b"--jobserver-fds="))
}

fn words(flags: &OsStr) -> impl Iterator<Item = &[u8]> {
    flags.as_bytes().split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// Where its ends are.
pub(super) fn place(auth: &[u8]) -> Option<(PathBuf, PathBuf)> {
    if let Some(path) = auth.strip_prefix(b"fifo:") {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        return Some((path.clone(), path));
    }
    let (read, write) = std::str::from_utf8(auth).ok()?.split_once(',')?;
    // Opened anew: the mode of those that are there is shared with all who use them.
    let path = |number: &str| Some(format!("/proc/self/fd/{}", number.parse::<u32>().ok()?).into());
    Some((path(read)?, path(write)?))
}

/// Announces one to a command, in place of any other.
pub(super) fn announce(command: &mut Command, auth: &str) {
    for name in VARIABLES {
        let set = command.get_envs().find(|(other, _)| *other == name).map(|(_, value)| value);
        let before = match set {
            Some(value) => value.map(OsStr::to_owned),
            None => std::env::var_os(name),
        };
        let flags = with_auth(&before.unwrap_or_default(), auth);
        command.env(name, flags);
    }
}

/// The flags with this jobserver in place of any other.
fn with_auth(before: &OsStr, auth: &str) -> OsString {
    let mut flags = Vec::new();
    let mut is_rest = false;
    // The older spelling, for make before 4.2. ninja minds a path in it, and then takes no part at all.
    let older = if auth.starts_with("fifo:") { "" } else { &format!(" --jobserver-fds={auth}") };
    let ours = format!("-j{older} --jobserver-auth={auth}");
    for word in words(before) {
        is_rest |= word == b"--";
        let is_other = auth_of(word).is_some() || word.starts_with(b"-j");
        if is_rest || !is_other {
            if word == b"--" {
                flags.extend_from_slice(ours.as_bytes());
                flags.push(b' ');
            }
            flags.extend_from_slice(word);
            flags.push(b' ');
        }
    }
    if !is_rest {
        flags.extend_from_slice(ours.as_bytes());
    }
    // make takes a first word without a dash for single letters.
    OsString::from_vec(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_jobserver_that_is_announced_counts() {
        let found =
            |flags: &str| auth(OsStr::new(flags)).map(|auth| String::from_utf8(auth).unwrap());
        assert_eq!(found(" -j4 --jobserver-auth=3,4"), Some("3,4".into()));
        assert_eq!(
            found("w -j --jobserver-fds=5,6 --jobserver-auth=fifo:/x"),
            Some("fifo:/x".into())
        );
        assert_eq!(found("-j4 -- A=--jobserver-auth=3,4 --jobserver-auth=3,4"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn its_ends_are_descriptors_or_a_path_or_nowhere() {
        let path = |text: &str| PathBuf::from(text);
        let ends = (path("/proc/self/fd/3"), path("/proc/self/fd/4"));
        assert_eq!(place(b"3,4"), Some(ends));
        assert_eq!(place(b"fifo:/a b"), Some((path("/a b"), path("/a b"))));
        for bad in [&b"-2,-2"[..], b"3", b"3,", b"3,4,5", b"x,y", b"\xff,3"] {
            assert_eq!(place(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn jobs_are_told_of_one_jobserver_only() {
        let told = |before: &str| with_auth(OsStr::new(before), "8,9").into_string().unwrap();
        let ours = "-j --jobserver-fds=8,9 --jobserver-auth=8,9";
        assert_eq!(told(""), ours);
        assert_eq!(told("w -j4 --jobserver-auth=3,4"), format!("w {ours}"));
        assert_eq!(told("k -j --jobserver-fds=3,4 -- A=-j4"), format!("k {ours} -- A=-j4 "));
        assert_eq!(auth(OsStr::new(&told("x"))), Some(b"8,9".to_vec()));
        let named = with_auth(OsStr::new("w -j --jobserver-fds=3,4"), "fifo:/x");
        assert_eq!(named, "w -j --jobserver-auth=fifo:/x");
    }
}
