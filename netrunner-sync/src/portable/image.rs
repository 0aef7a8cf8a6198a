//! The shepherds' program as a file that can be executed: one in a private place, by its name, which is removed
//! as soon as it runs. A client that is killed in between leaves it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// One that can be executed as long as this is there.
pub(crate) struct Image(PathBuf);

impl Image {
    /// By which it is executed.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // It is ours; somebody who clears the place may have been quicker.
        let _ = fs::remove_file(&self.0);
    }
}

/// The program in every place that may do, made there when it is needed.
pub(crate) fn all(bytes: &'static [u8]) -> impl Iterator<Item = io::Result<Image>> {
    private_places().map(move |place| named(&place, bytes))
}

/// Where an executable file may be allowed.
fn private_places() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let trusted = !crate::sys::is_privileged_by_exec();
    let named = ["XDG_RUNTIME_DIR", "TMPDIR", "XDG_CACHE_HOME", "HOME"].map(variable);
    let fixed = ["/tmp", "/var/tmp"].map(|place| Some(OsString::from(place)));
    let named = named.into_iter().filter(move |_| trusted);
    named.chain(fixed).flatten().map(PathBuf::from)
}

/// Whether one of these places lets files be executed.
pub(crate) fn has_private_place() -> bool {
    private_places().any(|place| {
        may_execute(&place) && rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

#[cfg(target_os = "linux")]
fn may_execute(place: &Path) -> bool {
    use rustix::fs::StatVfsMountFlags;
    rustix::fs::statvfs(place).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// POSIX has no word for a place that forbids it: the attempt tells.
#[cfg(not(target_os = "linux"))]
fn may_execute(place: &Path) -> bool {
    place.is_dir()
}

/// A new file that its owner alone may read and execute. It must not be there, not even as a link, so that it is
/// nobody else's.
fn named(place: &Path, bytes: &[u8]) -> io::Result<Image> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!(".netrunner-shepherd-{}-{number}", std::process::id()));
        let made = File::options().write(true).create_new(true).mode(0o500).open(&path);
        let mut file = match made {
            // That of a client with this number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        let image = Image(path);
        file.write_all(bytes)?;
        return Ok(image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn every_image_can_be_executed_and_is_removed() {
        let bytes: &'static [u8] = std::fs::read("/bin/true").unwrap().leak();
        let mut worked = 0;
        for image in all(bytes).flatten() {
            let path = image.path();
            worked += i32::from(Command::new(&path).status().is_ok_and(|status| status.success()));
            drop(image);
            assert!(!path.exists());
        }
        assert!(worked >= 1);
    }
}
