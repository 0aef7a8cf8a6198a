//! Finds out what there is, by trying it wherever that leaves no trace.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions};
use rustix::thread::CapabilitySet;

use super::{Capabilities, Capability, Containment, ShepherdSource, cgroups};
use crate::image;
use crate::launch;
use crate::runtime::Runtime;
use crate::sys;

/// What a sandbox is to be told in most cases.
const ALLOW: &str = "allow it in the sandbox's seccomp filter";

pub(super) fn all() -> Capabilities {
    let kernel = line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let memfd = memfd();
    let shepherd = launch::source(Runtime::current().pool().program());
    let clone3 = clone3();
    let user_namespace = user_namespace();
    let pid_namespace = pid_namespace(&user_namespace);
    let (cgroup, cgroup_limits, cgroup_place) = cgroups::probe();
    let mut containments = vec![Containment::Tree];
    containments.extend(cgroup.is_available().then_some(Containment::Cgroup));
    containments.extend(pid_namespace.is_available().then_some(Containment::PidNamespace));
    Capabilities {
        program: program(&shepherd, &memfd),
        proc_mount: proc_mount(),
        subreaper: subreaper(),
        parent_death_signal: parent_death_signal(),
        pidfd: pidfd(),
        close_range: close_range(),
        children_files: children_files(),
        clone_into_cgroup: clone_into_cgroup(&clone3, &kernel),
        pty: pty(),
        shepherd,
        kernel,
        memfd,
        clone3,
        user_namespace,
        pid_namespace,
        cgroup,
        cgroup_limits,
        cgroup_place,
        containments,
    }
}

/// The first line of a small file.
fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(str::to_owned)
}

/// A system call that is there from `since` on.
fn call<T>(
    tried: Result<T, Errno>,
    name: &str,
    since: &str,
    effect: &str,
) -> Result<T, Capability> {
    tried.map_err(|errno| {
        let remedy = match errno {
            Errno::NOSYS => format!("use Linux {since} or newer, or {ALLOW}"),
            Errno::PERM | Errno::ACCESS => ALLOW.to_owned(),
            _ => format!("find out what makes it fail: {errno}"),
        };
        Capability::missing(format!("`{name}` failed: {errno}"), effect, remedy)
    })
}

/// Turns a probe inside out: what it found missing is its answer.
fn found(probed: Result<(), Capability>) -> Capability {
    probed.err().unwrap_or(Capability::Available)
}

fn program(source: &ShepherdSource, memfd: &Capability) -> Capability {
    let effect = "no command can be started";
    let path = match source {
        ShepherdSource::Embedded if memfd.is_available() || image::has_private_place() => {
            return Capability::Available;
        }
        ShepherdSource::Embedded => {
            return Capability::missing(
                "neither memory files nor unlinked files in `XDG_RUNTIME_DIR`, `TMPDIR`, \
                 `XDG_CACHE_HOME`, `HOME`, `/tmp`, `/var/tmp` and `/dev/shm` can be executed",
                effect,
                "let `TMPDIR` name a folder on a file system that is not mounted noexec, or name an \
                 installed shepherd by `NETRUNNER_SHEPHERD`",
            );
        }
        ShepherdSource::Explicit(path)
        | ShepherdSource::Variable(path)
        | ShepherdSource::Installed(path) => path,
    };
    match rustix::fs::access(path, Access::EXEC_OK) {
        Ok(()) => Capability::Available,
        Err(errno) => Capability::missing(
            format!("the shepherds' program `{}` can't be executed: {errno}", path.display()),
            effect,
            match source {
                ShepherdSource::Variable(_) => "unset `NETRUNNER_SHEPHERD`, or install it there",
                ShepherdSource::Explicit(_)
                | ShepherdSource::Installed(_)
                | ShepherdSource::Embedded => "install it there",
            },
        ),
    }
}

fn proc_mount() -> Capability {
    match fs::read_to_string("/proc/self/stat") {
        Ok(stat) if stat.split(' ').next() == Some(&std::process::id().to_string()) => {
            Capability::Available
        }
        Ok(_) => Capability::missing(
            "`/proc` is that of another PID namespace",
            "no command can be started: its processes would be looked up by the numbers of others",
            "mount one of this namespace: `mount -t proc proc /proc`",
        ),
        Err(error) => Capability::missing(
            format!("`/proc` can't be read: {error}"),
            "the shepherds' program can't be executed from memory, and descendants can't be found",
            "mount it: `mount -t proc proc /proc`",
        ),
    }
}

fn subreaper() -> Capability {
    // Asked for and not set: that would make the client one.
    let asked = rustix::process::child_subreaper().map(drop);
    let effect = "descendants that lose their parents go to init and can't be ended";
    found(call(asked, "prctl(PR_GET_CHILD_SUBREAPER)", "3.4", effect))
}

fn parent_death_signal() -> Capability {
    let asked = rustix::process::parent_process_death_signal().map(drop);
    let effect = "a child lives on when its shepherd is killed";
    found(call(asked, "prctl(PR_GET_PDEATHSIG)", "2.3.15", effect))
}

fn memfd() -> Capability {
    let effect = "the shepherds' program runs from an unlinked file in a private folder";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let tried = match rustix::fs::memfd_create("netrunner-probe", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("netrunner-probe", flags),
        result => result,
    };
    match (&tried, line("/proc/sys/vm/memfd_noexec").as_deref()) {
        (Err(Errno::ACCESS), Some("2")) => Capability::missing(
            "`vm.memfd_noexec` is 2: memory files can't be executed",
            effect,
            "set it to 0 or 1: `sysctl vm.memfd_noexec=1`",
        ),
        _ => found(call(tried.map(drop), "memfd_create", "3.17", effect)),
    }
}

fn pidfd() -> Capability {
    let effect = "a copy that the client forks by itself hides its death, guardian and shepherd \
                  killed together leave the command's group, and what has left the group is asked to \
                  end only when its ancestors have ended";
    let probe = || {
        let own = rustix::process::getpid();
        let tried = rustix::process::pidfd_open(own, PidfdFlags::empty());
        let pidfd: OwnedFd = call(tried, "pidfd_open", "5.3", effect)?;
        call(sys::ask_pidfd(pidfd.as_fd()), "pidfd_send_signal", "5.3", effect)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let waited = match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            // Nobody is a child of its own.
            Err(Errno::CHILD) | Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        };
        call(waited, "waitid(P_PIDFD)", "5.4", effect)
    };
    found(probe())
}

fn close_range() -> Capability {
    let effect = "descriptors of the client are closed one by one when a guardian starts";
    found(call(sys::try_close_range(), "close_range", "5.9", effect))
}

fn children_files() -> Capability {
    // As the shepherd opens it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open("/proc/thread-self/children", flags, Mode::empty()) {
        Ok(_) => Capability::Available,
        Err(errno) => Capability::missing(
            format!("`/proc/thread-self/children` can't be opened: {errno}"),
            "every look at a command's descendants reads the whole process table",
            "use a kernel with CONFIG_PROC_CHILDREN (Linux 4.2 or newer)",
        ),
    }
}

fn clone3() -> Capability {
    let effect = "a child can't be born in a cgroup; it moves there by itself";
    found(call(sys::try_clone3(), "clone3", "5.3", effect))
}

fn clone_into_cgroup(clone3: &Capability, kernel: &str) -> Capability {
    // To try it means to clone. The flag is as old as this.
    if is_at_least(kernel, 5, 7) {
        return clone3.clone();
    }
    let effect = "a child can't be born in a cgroup; it moves there by itself";
    let reason = format!("Linux {kernel} has no `CLONE_INTO_CGROUP`");
    Capability::missing(reason, effect, "use Linux 5.7 or newer")
}

fn is_at_least(kernel: &str, major: u32, minor: u32) -> bool {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(is_major)), Some(Ok(is_minor))) => (is_major, is_minor) >= (major, minor),
        _ => false,
    }
}

fn pty() -> Capability {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Closed at once, which gives the terminal back.
    let tried = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).map(drop);
    match tried {
        Ok(()) if Path::new("/dev/pts").is_dir() => Capability::Available,
        tried => {
            let why = tried.map_or_else(|errno| errno.to_string(), |()| "no `/dev/pts`".to_owned());
            Capability::missing(
                format!("`/dev/ptmx` gives no terminal: {why}"),
                "commands can't be given a terminal of their own",
                "mount it: `mount -t devpts -o ptmxmode=666 devpts /dev/pts`, or raise \
                 `kernel.pty.max`",
            )
        }
    }
}

fn has_admin() -> bool {
    let sets = rustix::thread::capabilities(None);
    sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

const NAMESPACE: &str = "containment by PID namespace can't be had without privileges";

/// A namespace can't be made on trial: it would be the process's own. So the call is made with a
/// flag beside it that no kernel takes (`EINVAL`), which a filter that denies it does not notice.
fn namespace(name: &str, file: &str, limit: &str, flag: i32) -> Result<(), Capability> {
    if !Path::new(file).exists() {
        let reason = format!("the kernel has no {name} namespaces (`{file}`)");
        return Err(Capability::missing(reason, NAMESPACE, "use a kernel that has them"));
    }
    if line(limit).as_deref() == Some("0") {
        let reason = format!("`{limit}` is 0");
        let remedy = format!("raise it: `echo 1000 > {limit}`");
        return Err(Capability::missing(reason, NAMESPACE, remedy));
    }
    match sys::try_unshare(flag) {
        Err(Errno::INVAL) | Ok(()) => Ok(()),
        Err(errno) => {
            Err(Capability::missing(format!("`unshare` failed: {errno}"), NAMESPACE, ALLOW))
        }
    }
}

fn user_namespace() -> Capability {
    let limit = "/proc/sys/user/max_user_namespaces";
    let probe = || {
        namespace("user", "/proc/self/ns/user", limit, libc::CLONE_NEWUSER)?;
        // Debian's and Ubuntu's own restrictions are for those without privileges.
        for (file, allowed) in [
            ("/proc/sys/kernel/unprivileged_userns_clone", "1"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0"),
        ] {
            if !has_admin() && line(file).is_some_and(|value| value != allowed) {
                let reason = format!("`{file}` is not {allowed}");
                let remedy = format!("set it: `echo {allowed} > {file}`");
                return Err(Capability::missing(reason, NAMESPACE, remedy));
            }
        }
        Ok(())
    };
    found(probe())
}

/// Whether the process may make PID namespaces now, by itself or inside of a user namespace.
pub(crate) fn pid_namespace_here() -> Capability {
    pid_namespace(&user_namespace())
}

fn pid_namespace(user_namespace: &Capability) -> Capability {
    let limit = "/proc/sys/user/max_pid_namespaces";
    match namespace("PID", "/proc/self/ns/pid", limit, libc::CLONE_NEWPID) {
        Err(missing) => missing,
        Ok(()) if has_admin() => Capability::Available,
        // Without CAP_SYS_ADMIN it takes a user namespace around it.
        Ok(()) => user_namespace.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for kernel in ["5.7", "5.10.0-33-amd64", "6.0-rc1", "10.1.2+"] {
            assert!(is_at_least(kernel, 5, 7), "{kernel}");
        }
        for kernel in ["5.6.19", "4.19.0", "3.10.0-1160.el7", "unknown", ""] {
            assert!(!is_at_least(kernel, 5, 7), "{kernel}");
        }
    }

    #[test]
    fn what_is_missing_says_why_and_what_to_change() {
        let missing = |errno| match found(call(Err::<(), _>(errno), "call", "9.9", "effect")) {
            Capability::Missing(missing) => missing,
            Capability::Available => panic!("it failed"),
        };
        assert!(missing(Errno::NOSYS).remedy.contains("Linux 9.9"));
        assert_eq!(missing(Errno::PERM).remedy, ALLOW);
        assert!(missing(Errno::MFILE).reason.starts_with("`call` failed: "));
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_missing() {
        let source = ShepherdSource::Variable("/no/such/shepherd".into());
        let Capability::Missing(missing) = program(&source, &Capability::Available) else {
            panic!("there is none");
        };
        assert!(missing.reason.contains("`/no/such/shepherd`"), "{missing:?}");
        assert!(missing.remedy.contains("NETRUNNER_SHEPHERD"), "{missing:?}");
        let here = ShepherdSource::Installed("/bin/sh".into());
        assert!(program(&here, &Capability::Available).is_available());
    }

    #[test]
    fn probing_leaves_nothing_behind() {
        let open = || fs::read_dir("/proc/self/fd").expect("the own descriptors").count();
        let state = || {
            let signal = rustix::process::parent_process_death_signal().expect("ask");
            (rustix::process::child_subreaper().expect("ask"), signal)
        };
        let before = state();
        // Other tests open files meanwhile: one quiet moment will do.
        let quiet = (0..100).any(|_| {
            let before = open();
            for _ in 0..50 {
                let _ = all();
            }
            open() <= before
        });
        assert!(quiet, "descriptors are left open");
        assert_eq!(state(), before);
    }
}
