//! Where the output of a daemon goes: the last of it stays, lines go to a file and to a callback. Without
//! any of these it is read and gone.

use super::callback::Callback;
use super::log_file::{Trouble, Writer};
use super::shared::Shared;
use crate::jobs::LineCutter;
use crate::mover::Stream;

#[derive(Default)]
pub(super) struct Log {
    pub(super) file: Option<Writer>,
    pub(super) callback: Option<Callback>,
    /// The beginnings of the callback's lines.
    cutters: [LineCutter; 2],
}

impl Log {
    /// The daemon has written this.
    pub(super) fn take(&mut self, shared: &Shared, stream: Stream, bytes: &[u8]) {
        shared.remember(bytes);
        if let Some(callback) = &self.callback {
            let cutter = &mut self.cutters[usize::from(stream == Stream::Stderr)];
            cutter.cut(bytes, |line| callback.line(stream, line));
        }
        if let Some(file) = &mut self.file {
            file.take(stream, bytes);
            tell(shared, file.trouble());
        }
    }

    /// A process is gone: what has no line end will not get one.
    pub(super) fn finish(&mut self, shared: &Shared) {
        if let Some(callback) = &self.callback {
            for (cutter, stream) in self.cutters.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
                cutter.finish(|line| callback.line(stream, line));
            }
        }
        if let Some(file) = &mut self.file {
            file.finish();
            tell(shared, file.trouble());
        }
    }
}

/// Tells what went wrong, if anything did.
fn tell(shared: &Shared, trouble: &Trouble) {
    if trouble.error.is_some() {
        shared.lock().trouble.clone_from(trouble);
    }
}
