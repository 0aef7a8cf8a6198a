//! What is to be run: from entries (lines, or what ends with NUL) and a template to the words of each
//! command. Pure, but for the reading.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What separates the command from its values.
const VALUES: &str = ":::";

/// What stands for the value.
const HOLE: &[u8] = b"{}";

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is a command for the shell.
    Shell,
    /// It is a value for these words.
    Template(Vec<OsString>),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Program and arguments; never empty.
    pub(crate) words: Vec<OsString>,
    /// How a shell would be told to do the same: the job's name in logs.
    pub(crate) text: Vec<u8>,
}

/// Splits what stands after `--` into the work, and the values if there are any.
pub(crate) fn split(words: &[OsString]) -> Result<(Work, Option<Vec<OsString>>), String> {
    let mut parts = words.split(|word| word == VALUES);
    let template = parts.next().unwrap_or_default().to_vec();
    let values = parts.next().map(<[OsString]>::to_vec);
    if parts.next().is_some() {
        return Err("there may be one list of values only: `:::` comes twice".to_owned());
    }
    let work = if template.is_empty() { Work::Shell } else { Work::Template(template) };
    Ok((work, values))
}

impl Work {
    /// The job of an entry.
    pub(crate) fn job(&self, entry: Vec<u8>) -> Job {
        let words = match self {
            Work::Shell => {
                let words = ["/bin/sh".into(), "-c".into(), OsString::from_vec(entry.clone())];
                return Job { words: words.into(), text: entry };
            }
            Work::Template(words) if words.iter().any(|word| has_hole(word)) => {
                words.iter().map(|word| fill(word, &entry)).collect()
            }
            Work::Template(words) => {
                let value = OsString::from_vec(entry);
                words.iter().cloned().chain([value]).collect::<Vec<_>>()
            }
        };
        let text = words.iter().map(|word| quoted(word.as_bytes())).collect::<Vec<_>>().join(&b' ');
        Job { words, text }
    }
}

fn has_hole(word: &OsStr) -> bool {
    word.as_bytes().windows(HOLE.len()).any(|part| part == HOLE)
}

/// Puts the value into every hole of a word. Holes in the value are none.
fn fill(word: &OsStr, value: &[u8]) -> OsString {
    let mut rest = word.as_bytes();
    let mut filled = Vec::with_capacity(rest.len() + value.len());
    while let Some(at) = rest.windows(HOLE.len()).position(|part| part == HOLE) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(value);
        rest = &rest[at + HOLE.len()..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

/// A word as a shell would have to be given it.
fn quoted(word: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        if byte == b'\'' {
            quoted.extend_from_slice(b"'\\''");
        } else {
            quoted.push(byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

/// How entries end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A line end; empty lines are none.
    Line,
    /// A NUL byte.
    Nul,
}

/// The next entry; none at the end.
pub(crate) fn next_entry(from: &mut impl BufRead, ending: Ending) -> io::Result<Option<Vec<u8>>> {
    let end = match ending {
        Ending::Line => b'\n',
        Ending::Nul => 0,
    };
    loop {
        let mut entry = Vec::new();
        if from.read_until(end, &mut entry)? == 0 {
            return Ok(None);
        }
        // The last may have none.
        if entry.last() == Some(&end) {
            entry.pop();
        }
        if ending == Ending::Nul || !entry.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn texts(template: &[&str], entry: &str) -> (Vec<OsString>, String) {
        let (work, values) = split(&words(template)).unwrap();
        assert_eq!(values, None);
        let job = work.job(entry.as_bytes().to_vec());
        (job.words, String::from_utf8(job.text).unwrap())
    }

    #[test]
    fn a_line_is_a_command_for_the_shell() {
        let (found, text) = texts(&[], "echo 'a b' | wc");
        assert_eq!(found, words(&["/bin/sh", "-c", "echo 'a b' | wc"]));
        assert_eq!(text, "echo 'a b' | wc");
    }

    #[test]
    fn a_value_fills_every_hole_or_comes_last() {
        let value = "a b;$(c)'{}";
        let (found, text) = texts(&["cp", "{}", "to/{}.{}"], value);
        let last = format!("to/{value}.{value}");
        assert_eq!(found, words(&["cp", value, &last]));
        assert!(text.starts_with(r"cp 'a b;$(c)'\''{}' 'to/a b;"), "{text}");
        assert_eq!(texts(&["ls", "-l"], "x").0, words(&["ls", "-l", "x"]));
        assert_eq!(texts(&["{}"], "true").0, words(&["true"]));
        assert_eq!(texts(&["echo"], "").1, "echo ''");
        assert_eq!(texts(&["echo", "{", "}"], "x").1, "echo '{' '}' x");
    }

    #[test]
    fn values_stand_after_three_colons() {
        let (work, values) = split(&words(&["echo", ":::", "a", "", "b"])).unwrap();
        assert_eq!(
            (work, values),
            (Work::Template(words(&["echo"])), Some(words(&["a", "", "b"])))
        );
        let (work, values) = split(&words(&[":::", "echo a"])).unwrap();
        assert_eq!((work, values), (Work::Shell, Some(words(&["echo a"]))));
        assert_eq!(split(&words(&["echo", ":::"])).unwrap().1, Some(Vec::new()));
        assert!(split(&words(&["echo", ":::", "a", ":::", "b"])).is_err());
        assert_eq!(split(&[]).unwrap(), (Work::Shell, None));
    }

    #[test]
    fn entries_end_with_a_line_or_with_nul() {
        let all = |mut text: &[u8], ending| {
            std::iter::from_fn(|| next_entry(&mut text, ending).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all(b"a b\n\n  \nc", Ending::Line), [&b"a b"[..], b"c"]);
        assert_eq!(all(b"a\nb\0\0c", Ending::Nul), [&b"a\nb"[..], b"", b"c"]);
        assert!(all(b"", Ending::Line).is_empty() && all(b"", Ending::Nul).is_empty());
    }
}
