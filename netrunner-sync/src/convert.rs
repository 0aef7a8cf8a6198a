//! From a `std::process::Command` to one of ours: what std shows is taken over, and what it is seen
//! to hide is refused by name. How a command is run is no matter of this file.
//!
//! std's getters show program, arguments, variables and directory. The rest is known to its `Debug`
//! text alone: `{:#?}` names each field that was set, one per line at one depth, with every string
//! escaped (the same from 1.85 to 1.97). That text is no promise of std's, so it is tried on a
//! command with everything set before it is believed.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::OnceLock;

use crate::command::Command;
use crate::error::{Error, Result};

/// What std puts where a string with a NUL byte was given; its `spawn` is an error then.
const STRING_WITH_NUL: &str = "<string-with-nul>";

impl TryFrom<&std::process::Command> for Command {
    type Error = Error;

    /// The same program with the same arguments, variables and directory.
    ///
    /// What is set on a `std::process::Command` beyond these can't be read back from it, so it is
    /// refused by name: the three streams, `arg0`, `uid`, `gid`, `groups` and `process_group`. Set
    /// them on the converted command. **Not seen** are closures of `pre_exec` and what nightly's
    /// unstable methods may set (`chroot`, `setsid`): they are lost.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let mut theirs = std::process::Command::new("sh");
    /// theirs.args(["-c", "echo $GREETING"]).env_clear().env("GREETING", "hello");
    /// let output = Command::try_from(&theirs)?.run()?;
    /// assert_eq!(output.stdout, b"hello\n");
    ///
    /// theirs.stdin(std::process::Stdio::null());
    /// let error = Command::try_from(&theirs).unwrap_err();
    /// assert!(error.is_invalid_input() && error.to_string().contains("`stdin`"));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn try_from(theirs: &std::process::Command) -> Result<Command> {
        if !std_shows_enough() {
            let message = "what was set on a `std::process::Command` can't be read back from it";
            return Err(Error::invalid(message));
        }
        let debug = format!("{theirs:#?}");
        let shown = Shown::read(&debug);
        if let Some(method) = shown.refused.first() {
            let message =
                format!("`{method}` of a `std::process::Command` can't be read back from it");
            return Err(Error::invalid(message));
        }
        let directory = theirs.get_current_dir();
        let mut strings = std::iter::once(theirs.get_program())
            .chain(theirs.get_args())
            .chain(directory.map(AsRef::as_ref));
        if strings.any(|string| string == STRING_WITH_NUL) {
            return Err(Error::invalid("a string of the `std::process::Command` had a NUL byte"));
        }
        let mut ours = Command::new(theirs.get_program());
        ours.args(theirs.get_args());
        if shown.clears {
            ours.env_clear();
        }
        for (key, value) in theirs.get_envs() {
            match value {
                Some(value) => ours.env(key, value),
                None => ours.env_remove(key),
            };
        }
        if let Some(directory) = directory {
            ours.current_dir(directory);
        }
        Ok(ours)
    }
}

/// What the `Debug` text of a command says beside the getters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown<'a> {
    clears: bool,
    /// The methods whose effect would be lost.
    refused: Vec<&'a str>,
}

impl<'a> Shown<'a> {
    fn read(debug: &'a str) -> Shown<'a> {
        let mut shown = Shown::default();
        let mut program = "";
        let mut lines = debug.lines().peekable();
        while let Some(line) = lines.next() {
            // Only the command's own fields stand at this depth.
            let field = line.strip_prefix("    ").filter(|rest| !rest.starts_with(' '));
            let Some((name, value)) = field.and_then(|field| field.split_once(": ")) else {
                continue;
            };
            match name {
                "program" => program = value,
                "args" if lines.peek().is_some_and(|first| first.trim_start() != program) => {
                    shown.refused.push("arg0");
                }
                "env" => shown.clears = lines.peek().is_some_and(|l| l.trim() == "clear: true,"),
                "args" | "cwd" => {}
                "pgroup" => shown.refused.push("process_group"),
                // A flag that is there always, like `create_pidfd`.
                _ if matches!(value, "false," | "None,") => {}
                other => shown.refused.push(other),
            }
        }
        shown
    }
}

/// Whether std still says in its text what it is asked for here.
fn std_shows_enough() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| {
        let mut full = std::process::Command::new("program");
        full.arg0("name").env_clear().env("KEY", "value").current_dir("/");
        full.uid(1).gid(2).process_group(0);
        full.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let full = format!("{full:#?}");
        let full = Shown::read(&full);
        let named = ["arg0", "uid", "gid", "process_group", "stdin", "stdout", "stderr"];
        let named = named.iter().all(|name| full.refused.contains(name));

        let mut plain = std::process::Command::new("program");
        plain.arg("argument").env("KEY", "value").env_remove("OTHER").current_dir("/");
        let plain = format!("{plain:#?}");
        let nul = std::process::Command::new("\0");
        full.clears
            && named
            && Shown::read(&plain) == Shown::default()
            && nul.get_program() == OsStr::new(STRING_WITH_NUL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_compilers_std_shows_what_is_needed() {
        assert!(std_shows_enough());
    }

    #[test]
    fn no_value_passes_for_a_field() {
        let mut theirs = std::process::Command::new("\n    uid: Some(");
        theirs.arg("\n    stdin: Some(").env("\n    gid: Some(", "\n        clear: true,");
        theirs.current_dir("\n    stdout: Some(");
        assert_eq!(Shown::read(&format!("{theirs:#?}")), Shown::default());
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_unless_it_says_no() {
        let text = "Command {\n    program: \"a\",\n    args: [\n        \"a\",\n    ],\n    \
                    create_pidfd: false,\n    chroot: None,\n    setsid: true,\n}";
        assert_eq!(Shown::read(text).refused, ["setsid"]);
    }
}
