//! The process's own place in the hierarchy of cgroup v2, and whether it may make groups there.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use super::{Capability, CgroupPlace};

const EFFECT: &str = "containment by cgroup, its limits and its statistics can't be had";

/// What the two files of `/proc` say.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nowhere,
    /// Mounted here, but the own group lies outside of what is mounted.
    Outside(PathBuf),
    Place {
        mount: PathBuf,
        group: PathBuf,
        hybrid: bool,
    },
}

/// Whether groups can be made, whether they can have limits, and where.
pub(super) fn probe() -> (Capability, Capability, Option<CgroupPlace>) {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read("/proc/self/cgroup").unwrap_or_default();
    let missing = match find(&mounts, &own) {
        Found::Nowhere => Capability::missing(
            "cgroup v2 is not mounted",
            EFFECT,
            "mount it (`mount -t cgroup2 none /sys/fs/cgroup`), or ask whoever runs the container \
             for it",
        ),
        Found::Outside(mount) => Capability::missing(
            format!("the own group is not below what is mounted at `{}`", mount.display()),
            EFFECT,
            "start the container with a cgroup namespace of its own",
        ),
        Found::Place { mount, group, hybrid } => {
            let words = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
            let offered = words("cgroup.controllers");
            let controllers = offered.split_whitespace().map(str::to_owned).collect();
            let groups = delegated(&group, &words("cgroup.type"));
            let place = CgroupPlace { mount, group, hybrid, controllers };
            let limits = if groups.is_available() { limits(&place) } else { groups.clone() };
            return (groups, limits, Some(place));
        }
    };
    (missing.clone(), missing, None)
}

/// Whether the controllers are there that limits are made of.
fn limits(place: &CgroupPlace) -> Capability {
    let offered = |name: &&str| place.controllers.iter().any(|controller| controller == name);
    let lacking: Vec<&str> =
        ["memory", "pids", "cpu"].into_iter().filter(|name| !offered(name)).collect();
    if lacking.is_empty() {
        return Capability::Available;
    }
    let lacking = lacking.join(", ");
    Capability::missing(
        format!("the own group `{}` is not offered: {lacking}", place.group.display()),
        "these limits, and the statistics that belong to them, can't be had",
        match place.hybrid {
            true => {
                "boot with `systemd.unified_cgroup_hierarchy=1` or `cgroup_no_v1=all`, so that \
                 version 1 does not have them"
            }
            false => {
                "have them delegated: `systemd-run --user --scope -p Delegate=yes`, or write \
                 `+memory +pids +cpu` into `cgroup.subtree_control` of the groups above"
            }
        },
    )
}

/// Whether groups can be made below this one, and processes moved into them. It is asked for and
/// not tried, for a group that is made is seen by others.
fn delegated(group: &Path, kind: &str) -> Capability {
    if kind.contains("threaded") {
        let reason = format!("the own group `{}` is a threaded one", group.display());
        let remedy = "start the program in a group of its own (`systemd-run --user --scope`)";
        return Capability::missing(reason, EFFECT, remedy);
    }
    let may = Access::WRITE_OK | Access::EXEC_OK;
    let asked = [(group.to_owned(), may), (group.join("cgroup.procs"), Access::WRITE_OK)]
        .into_iter()
        .try_for_each(|(path, may)| rustix::fs::accessat(CWD, path, may, AtFlags::EACCESS));
    match asked {
        Ok(()) => Capability::Available,
        Err(errno) => Capability::missing(
            format!("the own group `{}` can't be changed: {errno}", group.display()),
            EFFECT,
            "have it delegated: start the program by `systemd-run --user --scope -p Delegate=yes`, \
             or give the group's folder and `cgroup.procs` to this user",
        ),
    }
}

fn find(mounts: &[u8], own: &[u8]) -> Found {
    let mut found = None;
    let mut hybrid = false;
    for line in mounts.split(|&byte| byte == b'\n') {
        // 36 35 98:0 ROOT MOUNTPOINT options … - TYPE source options (proc_pid_mountinfo(5))
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, mount) = (fields.nth(3), fields.next());
        let kind = fields.skip_while(|&field| field != b"-").nth(1);
        match (kind, root, mount) {
            // What is mounted last on a place is what is seen there, and the first place will do.
            (Some(b"cgroup2"), Some(root), Some(mount)) if found.is_none() => {
                found = Some((unescaped(root), unescaped(mount)));
            }
            (Some(b"cgroup"), _, _) => hybrid = true,
            _ => {}
        }
    }
    let group = own.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    let (Some((root, mount)), Some(group)) = (found, group) else { return Found::Nowhere };
    let group = PathBuf::from(std::ffi::OsString::from_vec(group.to_vec()));
    match group.strip_prefix(&root) {
        // `/..`: above the root of the process's cgroup namespace.
        Ok(below) if !below.starts_with("..") => {
            // Joined with nothing it would end with a slash.
            let is_root = below.as_os_str().is_empty();
            let group = if is_root { mount.clone() } else { mount.join(below) };
            Found::Place { group, mount, hybrid }
        }
        Ok(_) | Err(_) => Found::Outside(mount),
    }
}

/// Blanks and the like stand there as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => bytes.push(first),
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw shared:7 - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:9 - cgroup2 cgroup2 rw\n";

    fn place(mount: &str, group: &str, hybrid: bool) -> Found {
        Found::Place { mount: mount.into(), group: group.into(), hybrid }
    }

    #[test]
    fn the_own_group_is_found_wherever_it_is_mounted() {
        let unified = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            find(unified, b"0::/user.slice/a\n"),
            place("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/a", false)
        );
        let uni = "/sys/fs/cgroup/uni fied";
        assert_eq!(find(HYBRID, b"2:cpu:/x\n0::/\n"), place(uni, uni, true));
        // A part of the hierarchy is mounted.
        let part = b"30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find(part, b"0::/docker/1/x\n"),
            place("/sys/fs/cgroup", "/sys/fs/cgroup/x", false)
        );
        assert_eq!(find(part, b"0::/docker/2\n"), Found::Outside("/sys/fs/cgroup".into()));
        assert_eq!(find(unified, b"0::/../b\n"), Found::Outside("/sys/fs/cgroup".into()));
    }

    #[test]
    fn limits_need_their_controllers() {
        let place = |controllers: &[&str], hybrid| CgroupPlace {
            mount: "/m".into(),
            group: "/m/g".into(),
            hybrid,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        };
        assert!(limits(&place(&["cpu", "io", "memory", "pids"], false)).is_available());
        for (hybrid, remedy) in [(true, "cgroup_no_v1"), (false, "subtree_control")] {
            let Capability::Missing(missing) = limits(&place(&["cpu"], hybrid)) else {
                panic!("two are missing");
            };
            assert!(missing.reason.ends_with("memory, pids"), "{missing:?}");
            assert!(missing.remedy.contains(remedy), "{missing:?}");
        }
    }

    #[test]
    fn nothing_is_made_up_where_there_is_none() {
        assert_eq!(find(b"", b""), Found::Nowhere);
        assert_eq!(find(b"1 2 3\nnonsense - cgroup2\n", b"0::/\n"), Found::Nowhere);
        assert_eq!(find(HYBRID, b"2:cpu:/x\n"), Found::Nowhere);
    }
}
