//! What there is of what NetRunner can use: little of it is found out here, as the portable form does without
//! most, whatever the system has.

use rustix::fs::{Access, Mode, OFlags};

use super::{Capabilities, Capability, Containment, ShepherdSource};
use crate::image;
use crate::launch;
use crate::runtime::Runtime;

pub(super) fn all() -> Capabilities {
    let system = rustix::system::uname();
    let shepherd = launch::source(Runtime::current().pool().program());
    let unused = |what: &str, effect: &str| {
        let reason = format!("the portable form does without {what}");
        Capability::missing(reason, effect, "use Linux, without `--cfg netrunner_portable`")
    };
    let tree = "what leaves the group of its command is not found and not ended";
    let cgroup =
        unused("cgroups", "containment by cgroup, its limits and its statistics can't be had");
    Capabilities {
        kernel: system.release().to_string_lossy().into_owned(),
        program: program(&shepherd),
        shepherd,
        proc_mount: unused("`/proc`", tree),
        subreaper: unused("subreapers", tree),
        parent_death_signal: unused(
            "parent-death signals",
            "a child lives on when its shepherd and its guardian are killed together",
        ),
        memfd: unused(
            "memory files",
            "the shepherds' program runs from a file that is removed then",
        ),
        pidfd: unused("pidfds", "a raw fork of the client hides its death"),
        close_range: unused("`close_range`", "guardians start more slowly"),
        children_files: unused("`/proc`", tree),
        clone3: unused("`clone3`", "children are forked"),
        clone_into_cgroup: cgroup.clone(),
        pty: pty(),
        user_namespace: namespace(),
        pid_namespace: namespace(),
        cgroup_limits: cgroup.clone(),
        cgroup,
        cgroup_place: None,
        containments: vec![Containment::Tree],
    }
}

fn namespace() -> Capability {
    Capability::missing(
        "the portable form does without namespaces",
        "containment by PID namespace can't be had",
        "use Linux, without `--cfg netrunner_portable`",
    )
}

/// None.
pub(crate) fn pid_namespace_here() -> Capability {
    namespace()
}

fn program(source: &ShepherdSource) -> Capability {
    let effect = "no command can be started";
    let path = match source {
        ShepherdSource::Embedded if image::has_private_place() => return Capability::Available,
        ShepherdSource::Embedded => {
            return Capability::missing(
                "no file in `XDG_RUNTIME_DIR`, `TMPDIR`, `XDG_CACHE_HOME`, `HOME`, `/tmp` and `/var/tmp` can \
                 be executed",
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
            "install it there, or unset `NETRUNNER_SHEPHERD`",
        ),
    }
}

fn pty() -> Capability {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Closed at once, which gives the terminal back.
    match rustix::fs::open("/dev/ptmx", flags, Mode::empty()) {
        Ok(_) => Capability::Available,
        Err(errno) => Capability::missing(
            format!("`/dev/ptmx` gives no terminal: {errno}"),
            "commands can't be given a terminal of their own",
            "let there be more, or allow it in the sandbox",
        ),
    }
}
