//! The shepherds' program as a file that can be executed.
//!
//! It is in memory: nothing touches the disk. Where memory files can't be executed, an unlinked file
//! in a private place stands in.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::lane::above_stdio;

/// One that can be executed as long as this is there.
pub(crate) struct Image(OwnedFd);

impl Image {
    /// By which it is executed.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// The program as an executable file, in every form that may work, each made when it is needed.
pub(crate) fn all(bytes: &'static [u8]) -> impl Iterator<Item = io::Result<Image>> {
    let in_memory = std::iter::once_with(move || in_memory(bytes));
    let made = in_memory.chain(private_places().map(move |place| unlinked(&place, bytes)));
    made.map(|made| made.map(Image))
}

/// A sealed memory file.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = "netrunner-shepherd";
    // MFD_EXEC is needed where `vm.memfd_noexec` is 1, and unknown before Linux 6.3.
    // <https://docs.kernel.org/userspace-api/mfd_noexec.html>
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        result => result?,
    };
    let mut file = File::from(above_stdio(fd)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Where an executable file may be allowed.
fn private_places() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let trusted = !crate::sys::is_privileged_by_exec();
    let named = ["XDG_RUNTIME_DIR", "TMPDIR", "XDG_CACHE_HOME", "HOME"].map(variable);
    let fixed = ["/tmp", "/var/tmp", "/dev/shm"].map(|place| Some(OsString::from(place)));
    let named = named.into_iter().filter(move |_| trusted);
    named.chain(fixed).flatten().map(PathBuf::from)
}

/// Whether one of these places takes files without a name and lets them be executed.
pub(crate) fn has_private_place() -> bool {
    private_places().any(|place| {
        let Ok(file) = rustix::fs::open(&place, UNLINKED, Mode::RUSR | Mode::XUSR) else {
            return false;
        };
        rustix::fs::fstatvfs(&file)
            .is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
    })
}

/// O_EXCL: it can't get a name later either.
const UNLINKED: OFlags =
    OFlags::TMPFILE.union(OFlags::EXCL).union(OFlags::RDWR).union(OFlags::CLOEXEC);

/// A file without a name, open for reading alone: one that is open for writing can't be executed.
fn unlinked(place: &Path, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::open(place, UNLINKED, Mode::RUSR | Mode::XUSR)?;
    let mut writer = File::from(above_stdio(fd)?);
    writer.write_all(bytes)?;
    let reader = File::open(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
    drop(writer);
    above_stdio(reader.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Each form is executed, with a program that is known to work.
    #[test]
    fn every_image_can_be_executed() {
        let bytes: &'static [u8] = std::fs::read("/bin/true").unwrap().leak();
        let mut worked = 0;
        for image in all(bytes).flatten() {
            worked +=
                i32::from(Command::new(image.path()).status().is_ok_and(|status| status.success()));
        }
        // In memory, and at least one of /tmp, /var/tmp and /dev/shm.
        assert!(worked >= 2, "{worked}");
    }

    #[test]
    fn the_memory_file_is_sealed() {
        let mut file = File::from(in_memory(b"program").unwrap());
        assert_eq!(file.write(b"x").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(1).is_err());
    }
}
