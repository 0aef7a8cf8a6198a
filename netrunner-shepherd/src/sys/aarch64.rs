//! The instructions of 64-bit ARM: a system call, a clone onto another stack, the program's entry, and
//! copying.

use core::arch::asm;

/// Makes a system call with up to six arguments.
///
/// # Safety
///
/// The arguments must be what the call expects: pointers valid for what it reads and writes.
pub(super) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel's calling convention: number in x8, arguments in these registers, result in x0,
    // all others kept. What the call does to memory is the caller's contract.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] as isize => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// `clone(2)` with shared memory: the child runs `entry(argument)` on the stack that ends at `top`.
///
/// # Safety
///
/// `top` must be the 16-byte aligned end of a stack that nothing else uses until the child has
/// executed a program or ended; `argument` must stay valid for as long; `cleared` must be writable for
/// ever if the flags hold `CLONE_CHILD_CLEARTID`. They hold no other flag with a pointer.
pub(super) unsafe fn clone_onto(
    flags: usize,
    top: *mut u8,
    cleared: *mut u32,
    entry: extern "C" fn(*const u8) -> !,
    argument: *const u8,
) -> isize {
    let result;
    // SAFETY: in the parent this is a system call like any other. The child starts after `svc` with a
    // copy of the registers, x0 = 0 and sp = top, and never comes back: it calls `entry`, whose address
    // and argument are in registers that the kernel keeps. Here the word to clear is the fifth argument,
    // and the thread's pointer the fourth (CONFIG_CLONE_BACKWARDS).
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x10",
            "blr x9",
            "brk 1",
            "2:",
            in("x8") super::abi::NR_CLONE,
            inlateout("x0") flags as isize => result,
            in("x1") top,
            in("x2") 0,
            in("x3") 0,
            in("x4") cleared,
            in("x9") entry,
            in("x10") argument,
        );
    }
    result
}

/// `clone3(2)` with shared memory, as [`clone_onto`] but for what only this call can do.
///
/// # Safety
///
/// The stack that `how` names is nobody else's until the child has executed a program or ended, and its end is
/// 16-byte aligned; `argument` stays valid for as long; the word of `CLONE_CHILD_CLEARTID` is writable for
/// ever. `how` holds no other flag with a pointer.
pub(super) unsafe fn clone3_onto(
    how: &super::abi::CloneArgs,
    entry: extern "C" fn(*const u8) -> !,
    argument: *const u8,
) -> isize {
    let result;
    // SAFETY: as in `clone_onto`; the kernel has read the structure when it makes the child, whose stack
    // begins where the structure says that it ends.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x10",
            "blr x9",
            "brk 1",
            "2:",
            in("x8") super::abi::NR_CLONE3,
            inlateout("x0") core::ptr::from_ref(how) => result,
            in("x1") size_of::<super::abi::CloneArgs>(),
            in("x9") entry,
            in("x10") argument,
        );
    }
    result
}

// The program's entry: the kernel jumps here with the argument count at sp and sp 16-byte aligned, as a
// function expects it.
#[cfg(not(test))]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {main}",
    "brk 1",
    main = sym crate::start,
);

/// Copies from the lowest byte up.
///
/// # Safety
///
/// `from` is readable and `to` writable for `count` bytes, and `to` is not within what `from` still has
/// to be read.
pub(super) unsafe fn copy_up(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's contract. What is to be stored has been loaded before, 16 bytes at a time, so
    // a target below its source may overlap with it.
    unsafe {
        asm!(
            "2:",
            "subs {n}, {n}, #16",
            "b.lo 3f",
            "ldp {a}, {b}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "b 2b",
            "3:",
            "adds {n}, {n}, #16",
            "b.eq 5f",
            "4:",
            "ldrb {a:w}, [{from}], #1",
            "strb {a:w}, [{to}], #1",
            "subs {n}, {n}, #1",
            "b.ne 4b",
            "5:",
            n = inout(reg) count => _,
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack),
        );
    }
}

/// Copies from the highest byte down.
///
/// # Safety
///
/// As for [`copy_up`].
pub(super) unsafe fn copy_down(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's contract, and as in `copy_up`, for a target above its source.
    unsafe {
        asm!(
            "2:",
            "subs {n}, {n}, #16",
            "b.lo 3f",
            "ldp {a}, {b}, [{from}, #-16]!",
            "stp {a}, {b}, [{to}, #-16]!",
            "b 2b",
            "3:",
            "adds {n}, {n}, #16",
            "b.eq 5f",
            "4:",
            "ldrb {a:w}, [{from}, #-1]!",
            "strb {a:w}, [{to}, #-1]!",
            "subs {n}, {n}, #1",
            "b.ne 4b",
            "5:",
            n = inout(reg) count => _,
            from = inout(reg) from.wrapping_add(count) => _,
            to = inout(reg) to.wrapping_add(count) => _,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack),
        );
    }
}

/// Writes the byte `count` times.
///
/// # Safety
///
/// `to` is writable for `count` bytes.
pub(super) unsafe fn fill(to: *mut u8, byte: u8, count: usize) {
    let word = u64::from(byte) * 0x0101_0101_0101_0101;
    // SAFETY: the caller's contract.
    unsafe {
        asm!(
            "2:",
            "subs {n}, {n}, #16",
            "b.lo 3f",
            "stp {word}, {word}, [{to}], #16",
            "b 2b",
            "3:",
            "adds {n}, {n}, #16",
            "b.eq 5f",
            "4:",
            "strb {word:w}, [{to}], #1",
            "subs {n}, {n}, #1",
            "b.ne 4b",
            "5:",
            n = inout(reg) count => _,
            to = inout(reg) to => _,
            word = in(reg) word,
            options(nostack),
        );
    }
}
