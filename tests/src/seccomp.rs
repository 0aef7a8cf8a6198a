//! A seccomp filter that hands chosen system calls to this process, which refuses them or lets them
//! go on (`seccomp_unotify(2)`). Which calls those are is [`crate::lacks`]'s matter.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// The call with which a poller waits.
#[cfg(target_arch = "x86_64")]
pub const SYS_EPOLL_WAIT: libc::c_long = libc::SYS_epoll_wait;
/// The call with which a poller waits, where there is no `epoll_wait`.
#[cfg(target_arch = "aarch64")]
pub const SYS_EPOLL_WAIT: libc::c_long = libc::SYS_epoll_pwait;

/// Calls that are handed over.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The call's number.
    pub call: libc::c_long,
    /// Which of its arguments decides, and how: handed over if `argument & mask == value`, where
    /// only the lower 32 bits count. None for every such call.
    pub only: Option<Only>,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy)]
pub struct Only {
    /// The argument's place, from 0.
    pub argument: usize,
    /// The bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// The rules as a program. The accumulator holds the call's number between two rules.
fn program(rules: &[Rule]) -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // struct seccomp_data: number 4, architecture 4, instruction pointer 8, arguments 8 each. Both
    // architectures are little-endian, so an argument's lower half comes first.
    let load_number = instruction(LOAD, 0, 0, 0);
    let hand_over = instruction(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    let allow = instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    let mut program = vec![instruction(LOAD, 4, 0, 0), instruction(IF_EQUAL, ARCH, 1, 0), allow];
    program.push(load_number);
    for rule in rules {
        match rule.only {
            None => {
                program.push(instruction(IF_EQUAL, rule.call as u32, 0, 1));
                program.push(hand_over);
            }
            Some(Only { argument, mask, value }) => {
                program.push(instruction(IF_EQUAL, rule.call as u32, 0, 5));
                program.push(instruction(LOAD, 16 + 8 * argument as u32, 0, 0));
                program.push(instruction(AND, mask, 0, 0));
                program.push(instruction(IF_EQUAL, value, 0, 1));
                program.push(hand_over);
                program.push(load_number);
            }
        }
    }
    program.push(allow);
    program
}

/// Installs the filter for this thread and all that it starts from now on. Returns where the calls
/// are received.
pub fn install(rules: &[Rule]) -> io::Result<OwnedFd> {
    match install_once(rules) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // Without root a filter needs this, and no set-uid program can then be tricked by it.
            crate::sys::no_new_privs()?;
            install_once(rules)
        }
        result => result,
    }
}

fn install_once(rules: &[Rule]) -> io::Result<OwnedFd> {
    let mut program = program(rules);
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the program is readable through the call, which copies it.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it (close-on-exec), and nobody else knows the number.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as RawFd) })
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Handed {
    id: u64,
    /// The thread that made it.
    pub pid: u32,
    /// Its number.
    pub call: libc::c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// The next call that was handed over; None for one that was interrupted meanwhile.
pub fn receive(listener: &OwnedFd) -> io::Result<Option<Handed>> {
    // SAFETY: the structure is plain data; the kernel demands zeros.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure, which lives through the call.
    let received = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice)
    };
    if received == 0 {
        let data = notice.data;
        return Ok(Some(Handed {
            id: notice.id,
            pid: notice.pid,
            call: data.nr.into(),
            arguments: data.args,
        }));
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => Ok(None),
        error => Err(error),
    }
}

/// Lets a call go on, or fail with this error number.
pub fn answer(listener: &OwnedFd, handed: &Handed, errno: Option<i32>) {
    let (error, flags) = match errno {
        Some(errno) => (-errno, 0),
        None => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let answer = libc::seccomp_notif_resp { id: handed.id, val: 0, error, flags };
    // SAFETY: the kernel reads one such structure, which lives through the call. It fails where the
    // caller has been killed or interrupted: then nobody waits for this.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}
