//! Where the hierarchy is mounted, where this process stands in it, and whether it may make groups
//! there. Nothing is made to find out: a group that is made is seen by others.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::error::Unavailable;
use crate::kernel;

/// The leaf into which the processes of the own group move when that may have none of its own.
pub(crate) const OWN_LEAF: &str = "self.netrunner";

/// The place below which groups can be made.
///
/// ```
/// match netrunner_cgroup::Place::detect() {
///     Ok(place) => println!("{} offers {}", place.group.display(), place.controllers.join(", ")),
///     Err(missing) => println!("no groups: {missing}; {}", missing.remedy()),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The delegated group: this process's own, or the one above if it was moved to a leaf of it.
    pub group: PathBuf,
    /// Whether version 1 is mounted beside it, and so may have the controllers.
    pub hybrid: bool,
    /// What `cgroup.controllers` offers here.
    pub controllers: Vec<String>,
}

impl Place {
    /// Finds the place of the calling process, where groups can be made.
    ///
    /// ```
    /// if let Ok(place) = netrunner_cgroup::Place::detect() {
    ///     assert!(place.group.starts_with(&place.mount));
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// With a typed reason if none can be made there.
    pub fn detect() -> Result<Self, Unavailable> {
        let place = Self::locate()?;
        place.check()?;
        Ok(place)
    }

    /// Finds the place of the calling process, whatever may be done there.
    ///
    /// ```
    /// if let Ok(place) = netrunner_cgroup::Place::locate() {
    ///     println!("in {}, allowed or not", place.group.display());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// With a typed reason if it has none.
    pub fn locate() -> Result<Self, Unavailable> {
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let own = read(Path::new("/proc/self/cgroup"))?;
        let (mount, own, hybrid) = find(&mounts, &own)?;
        let group = match (own.file_name(), own.parent()) {
            (Some(name), Some(above)) if name == OWN_LEAF => above.to_owned(),
            (Some(_) | None, _) => own,
        };
        let controllers = words(&group, "cgroup.controllers")?;
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        Ok(Self { mount, group, hybrid, controllers })
    }

    /// Whether groups can be made below this place, and processes moved into them.
    ///
    /// ```
    /// use netrunner_cgroup::Place;
    ///
    /// let allowed = Place::locate().and_then(|place| place.check());
    /// assert_eq!(allowed.is_ok(), Place::detect().is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// With a typed reason if not.
    pub fn check(&self) -> Result<(), Unavailable> {
        let group = || self.group.clone();
        // "domain threaded" is a domain that has threaded groups below; ours could only be invalid.
        if words(&self.group, "cgroup.type")?.contains("threaded") {
            return Err(Unavailable::Threaded { group: group() });
        }
        // A process moves only if its mover may write `cgroup.procs` of the common ancestor, too.
        let may = Access::WRITE_OK | Access::EXEC_OK;
        let asked = [(group(), may), (group().join("cgroup.procs"), Access::WRITE_OK)];
        for (path, may) in asked {
            if let Err(errno) = rustix::fs::accessat(CWD, path, may, AtFlags::EACCESS) {
                let errno = errno.raw_os_error();
                return Err(Unavailable::NotWritable { group: group(), errno });
            }
        }
        Ok(())
    }

    /// Whether this is the root of the whole hierarchy, which may have processes and groups.
    pub(crate) fn is_root(&self) -> bool {
        !self.group.join("cgroup.type").exists()
    }

    /// Whether somebody has said that the group is ours to arrange: by the marks that systemd leaves, or
    /// by giving it to a user. Without systemd nobody else would arrange it.
    pub(crate) fn is_delegated(&self) -> bool {
        let marked = ["trusted.delegate", "user.delegate"].iter().any(|mark| {
            let mut value = [0u8; 8];
            let length = kernel::mark_at(&self.group, mark, &mut value);
            length.is_ok_and(|length| value[..length] == *b"1")
        });
        marked
            || !rustix::process::geteuid().is_root()
            || self.group == self.mount
            || !Path::new("/run/systemd/system").exists()
    }
}

/// What a file of the group says; nothing where there is none.
fn words(group: &Path, file: &str) -> Result<String, Unavailable> {
    Ok(String::from_utf8_lossy(&read(&group.join(file))?).into_owned())
}

/// What a file says; nothing where it can't be read for good. For want of something nobody knows what it says.
fn read(file: &Path) -> Result<Vec<u8>, Unavailable> {
    fs::read(file).or_else(|error| match Errno::from_io_error(&error) {
        Some(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
            Err(Unavailable::Unread { file: file.to_owned(), errno: errno.raw_os_error() })
        }
        Some(_) | None => Ok(Vec::new()),
    })
}

/// Mount point, own group and whether version 1 is there too, from the two files of `/proc`.
fn find(mounts: &[u8], own: &[u8]) -> Result<(PathBuf, PathBuf, bool), Unavailable> {
    let mut found = Vec::new();
    let mut hybrid = false;
    for line in mounts.split(|&byte| byte == b'\n') {
        // 36 35 98:0 ROOT MOUNTPOINT options … - TYPE source options (proc_pid_mountinfo(5))
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, mount) = (fields.nth(3), fields.next());
        let kind = fields.skip_while(|&field| field != b"-").nth(1);
        match (kind, root, mount) {
            (Some(b"cgroup2"), Some(root), Some(mount)) => {
                found.push((unescaped(root), unescaped(mount)));
            }
            (Some(b"cgroup"), _, _) => hybrid = true,
            _ => {}
        }
    }
    let own = own.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    let (Some(own), Some((_, first))) = (own, found.first()) else {
        return Err(Unavailable::NotMounted);
    };
    let own = PathBuf::from(OsString::from_vec(own.to_vec()));
    for (root, mount) in &found {
        if let Ok(below) = own.strip_prefix(root) {
            // `/..`: above the root of the process's cgroup namespace.
            if below.starts_with("..") {
                continue;
            }
            // Joined with nothing it would end with a slash.
            let is_root = below.as_os_str().is_empty();
            let group = if is_root { mount.clone() } else { mount.join(below) };
            return Ok((mount.clone(), group, hybrid));
        }
    }
    Err(Unavailable::Outside { mount: first.clone() })
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
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw shared:7 - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_wherever_it_is_mounted() {
        let unified = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let cgroup = PathBuf::from("/sys/fs/cgroup");
        let found = |below: &str, hybrid| Ok((cgroup.clone(), cgroup.join(below), hybrid));
        assert_eq!(find(unified, b"0::/user.slice/a\n"), found("user.slice/a", false));
        let uni = PathBuf::from("/sys/fs/cgroup/uni fied");
        assert_eq!(find(HYBRID, b"2:cpu:/x\n0::/\n"), Ok((uni.clone(), uni, true)));
        let part = b"30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(find(part, b"0::/docker/1/x\n"), found("x", false));
        let outside = Err(Unavailable::Outside { mount: cgroup.clone() });
        assert_eq!(find(part, b"0::/docker/2\n"), outside);
        assert_eq!(find(unified, b"0::/../b\n"), outside);
        // A part of it may be mounted elsewhere first.
        let two = [&part[..], &unified[..]].concat();
        assert_eq!(find(&two, b"0::/docker/2\n"), found("docker/2", false));
    }

    #[test]
    fn nothing_is_made_up_where_there_is_none() {
        assert_eq!(find(b"", b""), Err(Unavailable::NotMounted));
        assert_eq!(find(b"1 2 3\nnonsense - cgroup2\n", b"0::/\n"), Err(Unavailable::NotMounted));
        assert_eq!(find(HYBRID, b"2:cpu:/x\n"), Err(Unavailable::NotMounted));
    }
}
