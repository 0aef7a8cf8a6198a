//! The recipe for systemd of docs/RECIPES.md, below a user manager of the test's own: it has a PID namespace,
//! so that nothing of it stays, and a mount namespace, in which cgroup v2 stands alone and its sockets are
//! nobody else's.

use std::process::Command;

use crate::harness::*;

const MANAGER: &str = "/lib/systemd/systemd";

/// Starts the manager, runs the words after it, and gives their code.
const SCRIPT: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/system && mkdir -m 700 /run/manager || exit 99
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup || exit 99
mkdir "$0" && echo $$ > "$0/cgroup.procs" || exit 99
export XDG_RUNTIME_DIR=/run/manager
systemd --user </dev/null >/dev/null 2>&1 &
until [ -S /run/manager/systemd/private ]; do kill -0 $! || exit 99; sleep 0.01; done
"$@"
code=$?
systemctl --user exit; wait
echo $$ > /sys/fs/cgroup/cgroup.procs; find "$0" -depth -type d -exec rmdir {} \;
exit $code
"#;

/// These words beside a manager in a cgroup of this name.
fn managed(name: &str, words: &[&str]) -> Command {
    let script = SCRIPT.replace("systemd --user", &format!("{MANAGER} --user"));
    let mut unshare = fresh("unshare");
    unshare.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        &script,
    ]);
    unshare.arg(format!("/sys/fs/cgroup/nr_systemd_{name}_{}", std::process::id())).args(words);
    unshare
}

fn possible(name: &str) -> bool {
    let tried = end(managed(&format!("{name}_tried"), &["systemctl", "--user", "list-units"]));
    let possible = tried.status.success();
    if !possible {
        eprintln!("SKIPPED: systemd can't be had: {tried:?}");
    }
    possible
}

#[test]
fn a_scope_that_is_delegated_has_a_group_for_each_command() {
    if !possible("scope") {
        return;
    }
    let mut words = vec!["systemd-run", "--user", "--quiet", "--scope", "-p", "Delegate=yes"];
    words.extend([NETRUNNER, "run", "--cgroup", "--", "cat", "/proc/self/cgroup"]);
    let ended = end(managed("scope", &words)).expect(0);
    let place = ended.stdout.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let (scope, own) = place.rsplit_once('/').unwrap();
    assert!(scope.ends_with(".scope") && own.starts_with("netrunner-"), "{place}");
}

/// A service of which systemd itself ends the first process and no other, to see who ends the rest: one that has
/// left the session and ignores SIGTERM.
#[test]
fn a_service_ends_as_a_whole() {
    if !possible("service") {
        return;
    }
    let script = r#"
        file=$1; how=$2; shift 2
        systemd-run --user --quiet --unit=step -p Delegate=yes -p KillMode=process "$@" sh -c '
            setsid sh -c "trap \"\" TERM; echo \$\$ > $0.new; mv $0.new $0; exec sleep 1000" & wait' "$file"
        until [ -e "$file" ]; do sleep 0.01; done
        systemctl --user $how step
        left=$(cat "$file")
        while kill -0 $left 2>/dev/null; do
            [ "$how" != stop ] || { kill -9 $left; exit 8; }
            sleep 0.01
        done
        exit 7
    "#;
    let folder = Folder::new();
    let netrunner = [NETRUNNER, "run", "--cgroup", "--grace", "1s", "--"];
    let ways = [
        ("stopped", "stop", &netrunner[..], 7),
        ("killed", "kill --signal=KILL --kill-who=main", &netrunner[..], 7),
        // What it is for.
        ("without", "stop", &[][..], 8),
    ];
    for (name, how, before, code) in ways {
        let file = folder.path(name);
        let mut words = vec!["sh", "-c", script, "sh", &file, how];
        words.extend(before);
        end(managed(name, &words)).expect(code);
    }
}
