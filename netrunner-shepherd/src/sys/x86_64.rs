//! The instructions of x86-64: a system call, a clone onto another stack, the program's entry, and copying.

use core::arch::asm;

/// Makes a system call with up to six arguments.
///
/// # Safety
///
/// The arguments must be what the call expects: pointers valid for what it reads and writes.
pub(super) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel's calling convention: number in rax, arguments in these registers, rcx and
    // r11 overwritten, result in rax. What the call does to memory is the caller's contract.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
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
    // SAFETY: in the parent this is a system call like any other. The child starts after `syscall`
    // with a copy of the registers, rax = 0 and rsp = top, and never comes back: it calls `entry`,
    // whose address and argument are in registers that the kernel keeps.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") super::abi::NR_CLONE as isize => result,
            in("rdi") flags,
            in("rsi") top,
            in("rdx") 0,
            in("r10") cleared,
            in("r8") 0,
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
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
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") super::abi::NR_CLONE3 as isize => result,
            in("rdi") core::ptr::from_ref(how),
            in("rsi") size_of::<super::abi::CloneArgs>(),
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

// The program's entry: the kernel jumps here with the argument count at rsp and rsp 16-byte
// aligned; `call` makes the alignment what a function expects.
#[cfg(not(test))]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    main = sym crate::start,
);

/// Copies from the lowest byte up.
///
/// # Safety
///
/// `from` is readable and `to` writable for `count` bytes, and `to` is not within what `from` still has
/// to be read.
pub(super) unsafe fn copy_up(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's contract; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Copies from the highest byte down.
///
/// # Safety
///
/// As for [`copy_up`].
pub(super) unsafe fn copy_down(to: *mut u8, from: *const u8, count: usize) {
    let (last_to, last_from) =
        (to.wrapping_add(count).wrapping_sub(1), from.wrapping_add(count).wrapping_sub(1));
    // SAFETY: the caller's contract; the direction flag is put back.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") last_to => _,
            inout("rsi") last_from => _, options(nostack));
    }
}

/// Writes the byte `count` times.
///
/// # Safety
///
/// `to` is writable for `count` bytes.
pub(super) unsafe fn fill(to: *mut u8, byte: u8, count: usize) {
    // SAFETY: the caller's contract; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
