//! The changes that a command makes to the environment, and the environment that comes of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;

use netrunner_core::spawn::{REMEMBERED, StringsBuf};

/// What was set, removed and cleared.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    cleared: bool,
    changes: BTreeMap<OsString, Option<OsString>>,
}

impl Environment {
    pub(crate) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.changes.insert(key.to_owned(), Some(value.to_owned()));
    }

    pub(crate) fn remove(&mut self, key: &OsStr) {
        if self.cleared {
            self.changes.remove(key);
        } else {
            self.changes.insert(key.to_owned(), None);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    pub(crate) fn iter(&self) -> CommandEnvs<'_> {
        CommandEnvs(self.changes.iter())
    }

    /// Every variable that the command gets: what the client has now, with the changes.
    pub(crate) fn each(&self, mut variable: impl FnMut(&OsStr, &OsStr)) {
        if !self.cleared {
            for (key, value) in std::env::vars_os() {
                if self.changes.is_empty() || !self.changes.contains_key(&key) {
                    variable(&key, &value);
                }
            }
        }
        for (key, value) in &self.changes {
            if let Some(value) = value {
                variable(key, value);
            }
        }
    }
}

thread_local! {
    /// What the last command of this thread got.
    static LAST: RefCell<Arc<StringsBuf>> = RefCell::default();
}

/// The variables that `each` hands over, as they are sent. Most commands of a thread get the same ones:
/// then nothing is copied, and the shepherd may have them.
pub(crate) fn of(each: impl FnOnce(&mut dyn FnMut([&[u8]; 3]))) -> Arc<StringsBuf> {
    // In a thread that ends there is no last one any more.
    let last = LAST.try_with(|last| Arc::clone(&last.borrow())).unwrap_or_default();
    let mut same = 0;
    let mut new = None;
    each(&mut |parts| {
        let next = if new.is_none() { last.find(same, &parts) } else { None };
        match next {
            Some(next) => same = next,
            None => new.get_or_insert_with(|| last.first(same)).push(&parts),
        }
    });
    let environment = match new {
        None if same == last.bytes() => return last,
        None => last.first(same),
        Some(new) => new,
    };
    let environment = Arc::new(environment);
    if environment.bytes() <= REMEMBERED {
        let _ = LAST.try_with(|last| last.replace(Arc::clone(&environment)));
    }
    environment
}

impl fmt::Debug for Environment {
    /// The words before the program in the line of a shell. Values are never shown: they are where
    /// secrets are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = || self.changes.iter().filter(|(_, value)| value.is_none());
        if self.cleared {
            f.write_str("env -i ")?;
        } else if removed().next().is_some() {
            f.write_str("env ")?;
            removed().try_for_each(|(key, _)| write!(f, "-u {} ", crate::error::shown(key)))?;
        }
        for (key, _) in self.changes.iter().filter(|(_, value)| value.is_some()) {
            write!(f, "{}=… ", crate::error::shown(key))?;
        }
        Ok(())
    }
}

/// The changes to the environment; made by [`Command::get_envs`](crate::Command::get_envs).
///
/// ```
/// let mut command = netrunner_sync::Command::new("cc");
/// let mut changes = command.env("LANG", "C").get_envs();
/// assert_eq!(changes.next().unwrap().0, "LANG");
/// assert!(changes.next().is_none());
/// ```
#[derive(Clone)]
pub struct CommandEnvs<'a>(btree_map::Iter<'a, OsString, Option<OsString>>);

impl<'a> Iterator for CommandEnvs<'a> {
    type Item = (&'a OsStr, Option<&'a OsStr>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_os_str(), value.as_deref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandEnvs<'_> {}

impl fmt::Debug for CommandEnvs<'_> {
    /// The keys alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(environment: &Environment) -> Vec<(OsString, OsString)> {
        let mut all = Vec::new();
        environment.each(|key, value| all.push((key.to_owned(), value.to_owned())));
        all
    }

    #[test]
    fn changes_are_laid_over_what_is_inherited() {
        let mut environment = Environment::default();
        assert_eq!(all(&environment), std::env::vars_os().collect::<Vec<_>>());

        environment.set("PATH".as_ref(), "/x".as_ref());
        environment.remove("HOME".as_ref());
        let variables = all(&environment);
        assert_eq!(variables.iter().filter(|(key, _)| key == "PATH").count(), 1);
        assert!(variables.contains(&("PATH".into(), "/x".into())));
        assert!(!variables.iter().any(|(key, _)| key == "HOME"));
    }

    #[test]
    fn cleared_means_only_what_is_set_later() {
        let mut environment = Environment::default();
        environment.set("A".as_ref(), "1".as_ref());
        environment.clear();
        environment.set("B".as_ref(), "2".as_ref());
        environment.set("C".as_ref(), "3".as_ref());
        environment.remove("C".as_ref());
        assert_eq!(all(&environment), [("B".into(), "2".into())]);
        assert_eq!(environment.iter().len(), 1);
    }

    fn gathered(variables: &[&str]) -> Arc<StringsBuf> {
        of(|with| variables.iter().for_each(|value| with([b"A", b"=", value.as_bytes()])))
    }

    #[test]
    fn the_same_environment_is_not_copied_and_another_is_whole() {
        let strings = |found: &StringsBuf| {
            let list = found.as_strings();
            assert_eq!(list.len(), list.iter().count());
            list.iter().map(|string| string.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let first = gathered(&["1", "2"]);
        assert!(Arc::ptr_eq(&first, &gathered(&["1", "2"])));
        // Changed at its end, cut, grown, begun in another way, emptied.
        for other in [&["1", "3"][..], &["1"], &["1", "3", "4"], &["22", "3"], &["2"], &[]] {
            let expected: Vec<String> = other.iter().map(|value| format!("A={value}")).collect();
            assert_eq!(strings(&gathered(other)), expected);
            assert_eq!(strings(&gathered(&["1", "2"])), ["A=1", "A=2"]);
        }
        assert_eq!(strings(&first), ["A=1", "A=2"]);
    }

    #[test]
    fn values_are_not_shown() {
        let mut environment = Environment::default();
        environment.set("TOKEN".as_ref(), "hush".as_ref());
        environment.remove("HOME".as_ref());
        assert_eq!(format!("{environment:?}"), "env -u HOME TOKEN=… ");
        assert!(!format!("{:?}", environment.iter()).contains("hush"));
    }
}
