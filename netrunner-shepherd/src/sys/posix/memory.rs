//! The heap is libc's. The processes here have one thread, so a forked copy may use it as well.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr::null_mut;

use super::libc;

/// What `malloc(3)` aligns to on every system here.
const ALIGNED: usize = 16;

/// The allocator.
pub(crate) struct Heap;

impl Heap {
    pub(crate) const fn new() -> Heap {
        Heap
    }
}

// SAFETY: blocks of `malloc` and `posix_memalign` are of the asked size and at least the asked alignment, and
// both are given back by `free`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            // SAFETY: no contract but the answer's: null or a block.
            return unsafe { libc::malloc(layout.size()) }.cast();
        }
        let mut block: *mut c_void = null_mut();
        // SAFETY: the pointer is writable; the alignment is a power of two and larger than a pointer.
        match unsafe { libc::posix_memalign(&raw mut block, layout.align(), layout.size()) } {
            0 => block.cast(),
            _ => null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: it came from `alloc`, and is given back once.
        unsafe { libc::free(block.cast()) }
    }
}
