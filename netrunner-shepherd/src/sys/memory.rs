//! The heap of a process that is single-threaded, small, and forked while it runs; and the copying
//! functions that compiled Rust calls, which elsewhere come from libc.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

use super::abi::{MAP_ANONYMOUS, MAP_PRIVATE, NR_MMAP, NR_MUNMAP, PROT_READ, PROT_WRITE};
use super::arch::syscall;

/// The smallest page. Where pages are larger (64-bit ARM), the kernel rounds lengths up by itself.
const PAGE: usize = 4096;

/// Blocks of 16 bytes to 16 KiB come from lists by power of two; larger ones are mappings of their
/// own, so that a request of megabytes is given back when it was served.
const CLASSES: usize = 11;
const SMALLEST: usize = 16;
const LARGEST: usize = SMALLEST << (CLASSES - 1);

/// How much is mapped at a time for the small blocks.
const ARENA: usize = 64 << 10;

/// The allocator. One thread uses it; the child between clone and exec does not allocate.
pub(crate) struct Heap {
    lists: UnsafeCell<Lists>,
    /// The first arena, beside the program's own data: a mapping elsewhere would need page tables of its
    /// own, two pages for each shepherd. Most shepherds never need a second one.
    first: UnsafeCell<[u8; ARENA]>,
}

struct Lists {
    /// The first free block of each class; a free block's first word is the next one.
    free: [*mut u8; CLASSES],
    /// What is left of the arena.
    next: *mut u8,
    end: *mut u8,
}

// SAFETY: the process has one thread, and there are no signal handlers that could allocate.
unsafe impl Sync for Heap {}

impl Heap {
    pub(crate) const fn new() -> Heap {
        let lists = Lists { free: [null_mut(); CLASSES], next: null_mut(), end: null_mut() };
        Heap { lists: UnsafeCell::new(lists), first: UnsafeCell::new([0; ARENA]) }
    }
}

/// The list that serves blocks of this layout; none for those with a mapping of their own.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    if size > LARGEST { None } else { Some((size / SMALLEST).trailing_zeros() as usize) }
}

fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE) * PAGE
}

fn map(length: usize) -> *mut u8 {
    let protection = (PROT_READ | PROT_WRITE) as usize;
    let flags = (MAP_PRIVATE | MAP_ANONYMOUS) as usize;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let result = unsafe { syscall(NR_MMAP, [0, length, protection, flags, usize::MAX, 0]) };
    if (-4095..0).contains(&result) { null_mut() } else { result as *mut u8 }
}

// SAFETY: blocks are of the asked size and alignment (powers of two out of a page-aligned arena, or
// pages), disjoint, and on one list at most once because `dealloc` gets each block once.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // No type here is aligned to more than a page.
            return if layout.align() > PAGE { null_mut() } else { map(pages(layout.size())) };
        };
        // SAFETY: single-threaded, and no reference is held across calls.
        let lists = unsafe { &mut *self.lists.get() };
        let block = lists.free[class];
        if !block.is_null() {
            // SAFETY: a free block holds the next one in its first word.
            lists.free[class] = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let size = SMALLEST << class;
        // What is left of an arena is forgotten: at most one block of the largest class.
        if (lists.end as usize) - (lists.next as usize) < size + (size - 1) {
            // There was none so far: all is zero at the start, which takes no page of the program's file.
            let first = lists.end.is_null();
            let arena = if first { self.first.get().cast() } else { map(ARENA) };
            if arena.is_null() {
                return null_mut();
            }
            lists.next = arena;
            lists.end = arena.wrapping_add(ARENA);
        }
        let block = (lists.next as usize).next_multiple_of(size) as *mut u8;
        lists.next = block.wrapping_add(size);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            // SAFETY: a mapping of its own, of this length, which nobody uses any more.
            None => unsafe {
                syscall(NR_MUNMAP, [block as usize, pages(layout.size()), 0, 0, 0, 0]);
            },
            // SAFETY: the block is at least a word, and unused from here on; single-threaded.
            Some(class) => unsafe {
                let lists = &mut *self.lists.get();
                block.cast::<*mut u8>().write(lists.free[class]);
                lists.free[class] = block;
            },
        }
    }
}

/// What compiled Rust expects to find by name. Only in the program: a test binary has libc's.
#[cfg(not(test))]
mod symbols {
    use crate::sys::arch::{copy_down, copy_up, fill};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller's contract is memcpy's.
        unsafe { copy_up(to, from, count) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= count {
            // SAFETY: the caller's contract is memmove's; upwards, for a target outside of its source or below.
            unsafe { copy_up(to, from, count) };
        } else {
            // SAFETY: the same; downwards, for a target above its source.
            unsafe { copy_down(to, from, count) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
        // SAFETY: the caller's contract is memset's.
        unsafe { fill(to, byte as u8, count) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        for at in 0..count {
            // SAFETY: the caller's contract is memcmp's. Volatile, or the compiler would see a
            // memcmp in this loop and call it.
            let (x, y) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(a, b, count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(string: *const u8) -> usize {
        let mut length = 0;
        // SAFETY: the caller's contract is strlen's. Volatile for the same reason as in memcmp.
        while unsafe { string.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_disjoint_and_reused() {
        let heap = Heap::new();
        let mut blocks = std::vec::Vec::new();
        for (size, align) in
            [(1, 1), (16, 16), (17, 8), (100, 64), (4096, 4096), (16384, 8), (1 << 20, 8)]
        {
            for _ in 0..20 {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout is not empty.
                let block = unsafe { heap.alloc(layout) };
                assert!(!block.is_null());
                assert_eq!(block as usize % align, 0);
                // SAFETY: the block is of that size.
                unsafe { block.write_bytes(blocks.len() as u8, size) };
                blocks.push((block, layout));
            }
        }
        for (index, (block, layout)) in blocks.iter().enumerate() {
            // SAFETY: written above, and not freed.
            let bytes = unsafe { core::slice::from_raw_parts(*block, layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == index as u8));
        }
        for (block, layout) in &blocks {
            // SAFETY: each came from this heap and is freed once.
            unsafe { heap.dealloc(*block, *layout) };
        }
        let layout = Layout::from_size_align(100, 64).unwrap();
        // SAFETY: the layout is not empty.
        let again = unsafe { heap.alloc(layout) };
        assert!(blocks.iter().any(|(block, _)| *block == again));
    }

    #[test]
    fn copies_and_fills_of_every_length_touch_what_they_should() {
        use crate::sys::arch::{copy_down, copy_up, fill};
        let before: std::vec::Vec<u8> = (0..200).collect();
        for count in 0..70 {
            for (to, from) in [(0, 100), (100, 0), (3, 4), (4, 3), (10, 27), (27, 10), (5, 5)] {
                let mut expected = before.clone();
                expected.copy_within(from..from + count, to);
                let mut real = before.clone();
                let start = real.as_mut_ptr();
                let (target, source) = (start.wrapping_add(to), start.wrapping_add(from));
                // SAFETY: both ranges lie in the vector; upwards only for a target below its source.
                unsafe {
                    if to <= from {
                        copy_up(target, source, count);
                    } else {
                        copy_down(target, source, count);
                    }
                }
                assert_eq!(real, expected, "{count} bytes from {from} to {to}");
                // SAFETY: the range lies in the vector.
                unsafe { fill(target, 0xa5, count) };
                expected[to..to + count].fill(0xa5);
                assert_eq!(real, expected, "{count} bytes at {to}");
            }
        }
    }
}
