//! What process 1 owes the others, in a container for one: every orphan that nobody nearer adopts becomes
//! its child, and stays a zombie until it is reaped. What the command leaves is adopted by its shepherd;
//! these are others', of a `docker exec` or a probe of Kubernetes.

use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};

/// Reaps those that have ended, where there can be any. To be called once the command runs: the process
/// that starts the guardian is the library's to wait for, and has been reaped by then.
pub(crate) fn reap() {
    let own = getpid();
    let adopts = own.is_init() || is_subreaper();
    let own = own.as_raw_nonzero().to_string();
    // A `/proc` of another PID namespace has other numbers.
    let has_own_proc =
        || fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str());
    if !adopts || !has_own_proc() {
        return;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok().and_then(Pid::from_raw))
        else {
            continue;
        };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if is_foreign_zombie(&String::from_utf8_lossy(&stat), &own) {
            // It can't be another's: it stays our child until this.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

#[cfg(target_os = "linux")]
fn is_subreaper() -> bool {
    rustix::process::child_subreaper().is_ok_and(|yes| yes.is_some())
}

/// Only Linux has them.
#[cfg(not(target_os = "linux"))]
fn is_subreaper() -> bool {
    false
}

/// Whether a process with this `/proc/PID/stat` has ended as a child of `parent`, and is neither guardian
/// nor shepherd: those are the library's to reap.
fn is_foreign_zombie(stat: &str, parent: &str) -> bool {
    let Some((head, rest)) = stat.rsplit_once(") ") else { return false };
    let ours = head.ends_with("(nr-guardian") || head.ends_with("(nr-shepherd");
    let mut fields = rest.split(' ');
    !ours && fields.next() == Some("Z") && fields.next() == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_of_others_are_told_from_ours() {
        for (stat, expected) in [
            ("7 (sleep) Z 1 0 0", true),
            ("7 (a) Z 2 (b) Z 1 0 0", true),
            ("7 (sleep) S 1 0 0", false),
            ("7 (sleep) Z 12 0 0", false),
            ("7 (nr-guardian) Z 1 0 0", false),
            ("7 (nr-shepherd) Z 1 0 0", false),
            ("", false),
        ] {
            assert_eq!(is_foreign_zombie(stat, "1"), expected, "{stat}");
        }
    }
}
