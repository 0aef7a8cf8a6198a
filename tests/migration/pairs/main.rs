//! The pairs of docs/MIGRATION.md, compiled and run; one file for each crate that it leads away from.
//!
//! Each test is a section of the page: `before` and `after` do the same, and where they don't, the test says
//! what is different. The module `page` holds the page to these texts.

mod assert_cmd;
mod by_std;
mod duct;
mod features;
mod page;
mod process_wrap;
mod subprocess;
mod tokio;
mod xshell;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Runs what ends a shell after a second or so, and gives a process of another session that this shell had
/// started. On a busy machine a second can be too short for that, and it is tried again.
#[track_caller]
fn left_by<T>(mut run: impl FnMut(&str) -> T) -> Left {
    for _ in 0..20 {
        let dir = Folder::new();
        let number = dir.0.join("left");
        let sleep = format!("setsid sleep 1000 > /dev/null 2>&1 & echo $! > {}", number.display());
        run(&format!("{sleep}; wait"));
        match std::fs::read_to_string(number) {
            Ok(number) if number.ends_with('\n') => return Left(number.trim().to_owned()),
            _ => {}
        }
    }
    panic!("the shell was never quick enough");
}

/// A folder of the test's own, removed at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netrunner-migration-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that may have been left; killed at the end of the test if it was.
struct Left(String);

impl Left {
    fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.lives() {
            // It fails only if it is gone by now.
            let _ = std::process::Command::new("kill").args(["-KILL", &self.0]).status();
        }
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
