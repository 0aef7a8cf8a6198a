//! What the machine is made of: one archive with busybox, the static test programs under the very
//! paths where the tests look for them, and an `/init` that runs them and tells of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::arch::Arch;
use super::machine::{CONTROLLERS, EXIT, RELEASE, SLOWNESS};
use super::{Selection, kernels};
use crate::step::{self, Command, Result, cargo};

/// Builds the tests and packs them; returns the archive.
pub(super) fn build(
    root: &Path,
    dir: &Path,
    arch: &Arch,
    selections: &[Selection],
) -> Result<PathBuf> {
    let mut build = cargo(root);
    build.args(["test", "--no-run", "--all-features", "--message-format=json"]);
    build.args(["--target", arch.target, "--lib", "--bins", "--tests"]);
    if !arch.is_ours() {
        build.env(arch.linker_variable(), arch.linker);
    }
    for selection in selections {
        build.args(["--package", selection.package]);
    }
    // Static, as there is no loader in the machine; without debug information, as all of it is
    // unpacked into the machine's memory.
    build.env("RUSTFLAGS", "-C target-feature=+crt-static -C debuginfo=0 -C strip=debuginfo");
    // The flags are others than those of all other builds, so the folder is one of its own as well.
    build.arg("--target-dir").arg(dir.join("target"));
    let messages = step::capture(&mut build)?;
    let programs: Vec<Program> = messages.lines().filter_map(Program::of).collect();

    let tree = dir.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    for program in &programs {
        let to = tree.join(program.path.strip_prefix("/")?);
        fs::create_dir_all(to.parent().ok_or("a program without a folder")?)?;
        fs::copy(&program.path, to)?;
    }
    let busybox = if arch.is_ours() {
        let found = step::capture(Command::new("sh").args(["-c", "command -v busybox"]))?;
        PathBuf::from(found.trim())
    } else {
        kernels::busybox(arch, dir)?
    };
    fs::copy(busybox, tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh"))?;
    symlink("bin", tree.join("sbin"))?;
    fs::create_dir_all(tree.join("usr"))?;
    symlink("../bin", tree.join("usr/bin"))?;
    symlink("../bin", tree.join("usr/sbin"))?;
    fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )?;
    fs::write(tree.join("etc/group"), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")?;
    let init = tree.join("init");
    fs::write(&init, script(&programs, selections))?;
    fs::set_permissions(&init, PermissionsExt::from_mode(0o755))?;

    let image = dir.join("initramfs.gz");
    let pack = "find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 > \"$0\"";
    step::run(Command::new("sh").args(["-ec", pack]).arg(&image).current_dir(&tree))?;
    Ok(image)
}

/// Two empty disks beside a machine's kernel, one to swap to and one to read: what does not fit and what is
/// slow is a matter of limits, too.
pub(super) fn disks(kernel: &Path) -> Result<[PathBuf; 2]> {
    let disks = ["swap", "disk"].map(|name| kernel.with_file_name(name));
    for disk in &disks {
        fs::File::create(disk)?.set_len(64 << 20)?;
    }
    Ok(disks)
}

/// One line of cargo's messages that tells of a program.
struct Program {
    package: String,
    path: PathBuf,
    is_test: bool,
}

impl Program {
    fn of(message: &str) -> Option<Program> {
        let value = |key: &str| message.split(&format!("\"{key}\":\"")).nth(1)?.split('"').next();
        // `path+file:///…/FOLDER#VERSION` where the folder has the package's name, else `…#NAME@VERSION`.
        let (folder, rest) = value("package_id")?.rsplit_once('#')?;
        let package = match rest.split_once('@') {
            Some((name, _)) => name,
            None => folder.rsplit('/').next()?,
        };
        Some(Program {
            package: package.to_owned(),
            path: value("executable")?.into(),
            is_test: message.contains("\"test\":true},"),
        })
    }
}

/// The machine's first program. It reports the worst exit code of all test programs.
fn script(programs: &[Program], selections: &[Selection]) -> String {
    let mut runs = String::new();
    for Selection { package, filters } in selections {
        for test in programs.iter().filter(|it| it.is_test && it.package == *package) {
            let (test, filters) = (test.path.display(), filters.join(" "));
            runs.push_str(&format!("setsid -c \"{test}\" {filters} || worst=$?\n"));
        }
    }
    format!(
        "#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb TMPDIR=/run NETRUNNER_TEST_SLOWNESS={SLOWNESS}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /run
chmod 1777 /tmp
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ip link set lo up
# Devices are looked for while the machine goes on, and numbered as they are found.
for second in 1 2 3 4 5 6 7 8 9 10; do
  [ -b /dev/nvme0n1 ] && [ -b /dev/nvme1n1 ] && break
  sleep 1
done
mkswap /dev/nvme0n1 >/dev/null && swapon /dev/nvme0n1
export NETRUNNER_TEST_DISK=/dev/nvme1n1
chmod a+r /dev/nvme1n1
ulimit -n 20000
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
cd /root
echo \"{RELEASE} $(uname -r)\"
echo \"{CONTROLLERS} $(cat /sys/fs/cgroup/cgroup.controllers)\"
worst=0
{runs}echo
echo \"{EXIT} $worst\"
poweroff -f
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(package_id: &str, test: bool, path: &str) -> Program {
        let message = format!(
            "{{\"package_id\":\"{package_id}\",\"profile\":{{\"test\":{test}}},\
             \"executable\":\"{path}\",\"fresh\":true}}"
        );
        Program::of(&message).expect("a program")
    }

    const TESTS: &str = "path+file:///work/tests#netrunner-tests@0.1.0";

    #[test]
    fn programs_and_tests_are_told_apart() {
        let test = program(TESTS, true, "/t/it-1");
        assert!(test.is_test && test.path == Path::new("/t/it-1"));
        assert!(!program(TESTS, false, "/t/it-1").is_test);
        assert!(Program::of("{\"package_id\":\"a#b@1\",\"executable\":null}").is_none());
    }

    #[test]
    fn a_package_has_its_name_from_its_folder_or_beside_its_version() {
        assert_eq!(program(TESTS, true, "/a").package, "netrunner-tests");
        let same = "path+file:///work/netrunner-cgroup#0.1.0";
        assert_eq!(program(same, true, "/a").package, "netrunner-cgroup");
    }

    #[test]
    fn one_failed_program_is_enough_and_each_package_has_its_filters() {
        let programs = [
            program(TESTS, true, "/a"),
            program(TESTS, false, "/puppet"),
            program("path+file:///work/netrunner-cgroup#0.1.0", true, "/b"),
        ];
        let selections = [
            Selection { package: "netrunner-cgroup", filters: Vec::new() },
            Selection { package: "netrunner-tests", filters: vec!["p1_".to_owned()] },
        ];
        let script = script(&programs, &selections);
        assert!(script.contains("setsid -c \"/a\" p1_ || worst=$?\n"));
        assert!(script.contains("setsid -c \"/b\"  || worst=$?\n"));
        assert!(!script.contains("/puppet"));
    }
}
