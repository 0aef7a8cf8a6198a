//! The kinds of machine that QEMU can be for us, and what has to be known of each.

use std::fmt;
use std::path::Path;

use crate::step::{self, Command, Result};

/// A kind of machine: its processor's name, and what Rust, Debian, QEMU and the kernel call what belongs to it.
#[derive(Debug, PartialEq)]
pub(crate) struct Arch {
    name: &'static str,
    /// The target of the tests' programs.
    pub(super) target: &'static str,
    /// The linker of these programs, on a machine of another kind.
    pub(super) linker: &'static str,
    /// The architecture of Debian's packages.
    pub(super) debian: &'static str,
    pub(super) qemu: &'static str,
    /// Options of QEMU that say what the machine is.
    pub(super) machine: &'static [&'static str],
    /// The kernel's name of the first serial line.
    pub(super) console: &'static str,
}

const ALL: &[Arch] = &[
    Arch {
        name: "x86_64",
        target: "x86_64-unknown-linux-gnu",
        linker: "x86_64-linux-gnu-gcc",
        debian: "amd64",
        qemu: "qemu-system-x86_64",
        machine: &["-M", "q35", "-cpu", "max"],
        console: "ttyS0",
    },
    Arch {
        name: "aarch64",
        target: "aarch64-unknown-linux-gnu",
        linker: "aarch64-linux-gnu-gcc",
        debian: "arm64",
        qemu: "qemu-system-aarch64",
        // Pointers are signed by a cheap function of QEMU's own: the architecture's takes most of the time.
        machine: &["-M", "virt", "-cpu", "max,pauth-impdef=on"],
        console: "ttyAMA0",
    },
];

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Arch {
    /// The kind of this name; without one that of the machine that we run on.
    pub(super) fn named(name: Option<&str>) -> Result<&'static Arch> {
        let name = name.unwrap_or(std::env::consts::ARCH);
        let found = ALL.iter().find(|arch| arch.name == name);
        found.ok_or_else(|| format!("no machine is of the kind `{name}`").into())
    }

    /// Whether it is the kind of machine that we run on.
    pub(super) fn is_ours(&self) -> bool {
        self.name == std::env::consts::ARCH
    }

    /// The variable that tells cargo the linker of the target.
    pub(super) fn linker_variable(&self) -> String {
        let target = self.target.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{target}_LINKER")
    }

    /// Whether the compiler has a standard library for it.
    pub(super) fn has_std(&self) -> Result<bool> {
        has_std(self.target)
    }
}

/// Whether the compiler has a standard library for the target.
pub(crate) fn has_std(target: &str) -> Result<bool> {
    let mut ask = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    ask.args(["--print", "target-libdir", "--target", target]);
    let folder = step::capture(&mut ask)?;
    let Ok(entries) = Path::new(folder.trim()).read_dir() else { return Ok(false) };
    Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_name_and_ours_without() {
        assert_eq!(Arch::named(Some("aarch64")).expect("a kind").console, "ttyAMA0");
        assert!(Arch::named(Some("vax")).is_err());
        assert!(Arch::named(None).is_ok_and(Arch::is_ours));
    }

    #[test]
    fn cargo_is_told_the_linker_by_the_name_that_it_looks_for() {
        let arch = Arch::named(Some("aarch64")).expect("a kind");
        assert_eq!(arch.linker_variable(), "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
    }

    #[test]
    fn only_installed_libraries_are_found() {
        let ours = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        assert!(has_std(&ours).expect("rustc answers"));
        assert!(!has_std("wasm32-wasip2").expect("rustc answers"));
    }
}
