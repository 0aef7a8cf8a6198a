//! Where entries come from: a thread reads them, so that a slow writer of the list keeps no job waiting.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread;

use netrunner_sync::JobsHandle;

use super::list::{Ending, next_entry};

/// How many entries are read before they are wanted.
pub(crate) const AHEAD: usize = 1024;

/// What the main thread is told.
pub(crate) enum Word {
    Entry(Vec<u8>),
    /// The list is at its end.
    End,
    /// It can't be read to its end.
    Failed(String),
    /// A signal has come.
    Signal,
}

/// A list that is open.
pub(crate) enum Source {
    Values(Vec<OsString>),
    File { name: String, from: Box<dyn BufRead + Send> },
}

impl Source {
    /// Opens it, so that a bad path is known before anything runs.
    pub(crate) fn open(
        file: Option<&PathBuf>,
        values: Option<Vec<OsString>>,
    ) -> Result<Source, String> {
        let path = file.filter(|path| path.as_path() != Path::new("-"));
        match (values, path) {
            (Some(_), _) if file.is_some() => {
                Err("values after `:::` and a file of values can't be had together".to_owned())
            }
            (Some(values), _) => Ok(Source::Values(values)),
            (None, Some(path)) => {
                let name = path.display().to_string();
                let opened = File::open(path).and_then(|file| {
                    let is_folder = file.metadata()?.is_dir();
                    if is_folder { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
                });
                let file = opened.map_err(|error| format!("failed to open `{name}`: {error}"))?;
                Ok(Source::File { name, from: Box::new(BufReader::new(file)) })
            }
            (None, None) => {
                let from = Box::new(BufReader::new(io::stdin()));
                Ok(Source::File { name: "standard input".to_owned(), from })
            }
        }
    }

    /// Reads it from now on, and tells the main thread, which may be waiting for a result.
    pub(crate) fn start(
        self,
        ending: Ending,
        words: SyncSender<Word>,
        jobs: JobsHandle,
    ) -> io::Result<()> {
        let tell = move |word| {
            let is_heard = words.send(word).is_ok();
            jobs.nudge();
            is_heard
        };
        let thread = thread::Builder::new().name("list".to_owned());
        thread.spawn(move || self.read(ending, &tell)).map(drop)
    }

    fn read(self, ending: Ending, tell: &dyn Fn(Word) -> bool) {
        match self {
            Source::Values(values) => {
                if values.into_iter().all(|value| tell(Word::Entry(value.into_vec()))) {
                    tell(Word::End);
                }
            }
            Source::File { name, mut from } => {
                let end = loop {
                    match next_entry(&mut from, ending) {
                        Ok(Some(entry)) => {
                            if !tell(Word::Entry(entry)) {
                                return;
                            }
                        }
                        Ok(None) => break Word::End,
                        Err(error) => {
                            break Word::Failed(format!("failed to read {name}: {error}"));
                        }
                    }
                };
                tell(end);
            }
        }
    }
}
