//! Tells the crate whether the compiler's standard library has `std::io::pipe` (1.87), so that
//! `Stdio` can be made from its ends while older compilers still build the rest; and chooses the portable form
//! where the system is not Linux.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_io_pipe)");
    if env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system != "linux") {
        println!("cargo::rustc-cfg=netrunner_portable");
    }
    if minor_version().is_some_and(|minor| minor >= 87) {
        println!("cargo::rustc-cfg=has_io_pipe");
    }
}

/// The 87 of "rustc 1.87.0 (…)"; nothing where the compiler says it in another way.
fn minor_version() -> Option<u32> {
    let rustc = env::var_os("RUSTC")?;
    let output = Command::new(rustc).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}
