//! The few calls that rustix does not have or not in this form, each behind a safe face. Beside `poll` the only
//! files with `unsafe`. Those that are not the same on every system are in `linux`, or `portable` in its place.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg_attr(netrunner_portable, path = "sys/portable.rs")]
mod linux;

pub(crate) use linux::*;

/// The session on a terminal, asked at its manager; `None` where there is none, or one that this process
/// can't see: that is the number 0, which `rustix` takes for impossible.
/// <https://man7.org/linux/man-pages/man3/tcgetsid.3.html>
pub(crate) fn session_on(manager: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: the call takes the number of a descriptor that is open.
    let session = unsafe { libc::tcgetsid(manager.as_raw_fd()) };
    u32::try_from(session).ok().filter(|&session| session > 0)
}

/// Runs `work` while this thread takes no signal; a thread that `work` starts never takes one.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set was filled in by an earlier `pthread_sigmask`.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
        }
    }

    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the first set and `pthread_sigmask` the second; both live
    // through the calls, which can't fail with these arguments.
    let before = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    };
    let _restore = Restore(before);
    work()
}

/// A value that all threads see, replaced as a whole and never freed.
///
/// No lock: a lock that another thread held at the moment of a `fork` stays locked for ever in the
/// copy.
pub(crate) struct Published<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Published<T> {
    pub(crate) const fn nothing() -> Published<T> {
        Published(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or came from `Box::leak` in `replace`, is never freed and
        // never lent mutably; the release there and the acquire here order its initialisation.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Publishes `new` in place of `old`, unless another thread was quicker: then what that one
    /// published is returned, and `new` is dropped.
    pub(crate) fn replace(&self, old: Option<&'static T>, new: T) -> &'static T {
        let old = old.map_or(ptr::null_mut(), |old| ptr::from_ref(old).cast_mut());
        let new = Box::into_raw(Box::new(new));
        match self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it came from `Box::into_raw`, and is leaked by being published.
            Ok(_) => unsafe { &*new },
            Err(published) => {
                // SAFETY: `new` came from `Box::into_raw` above and was not published; what was
                // published is not null, as only `replace` stores here, and see `get`.
                unsafe {
                    drop(Box::from_raw(new));
                    &*published
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_first_stays() {
        static VALUE: Published<String> = Published::nothing();
        assert!(VALUE.get().is_none());
        let first = VALUE.replace(None, "first".to_owned());
        assert_eq!(VALUE.replace(None, "late".to_owned()), first);
        assert_eq!(VALUE.replace(Some(first), "second".to_owned()), "second");
        assert_eq!(VALUE.get().unwrap(), "second");
    }

    #[test]
    fn the_mask_is_as_before() {
        let mask = || {
            let mut now = MaybeUninit::uninit();
            // SAFETY: only reads the mask into a set that lives through the call.
            unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), now.as_mut_ptr());
                let now = now.assume_init();
                libc::sigismember(&raw const now, libc::SIGTERM)
            }
        };
        assert_eq!(mask(), 0);
        let inside = with_signals_blocked(|| std::thread::spawn(mask).join().unwrap());
        assert_eq!(inside, 1);
        assert_eq!(mask(), 0);
    }
}
