//! Compiles the shepherd's program with `$RUSTC`, once for `netrunner-core` and once for `main.rs`.
//!
//! Not with a nested cargo: that would need the lock file, the sources and the source replacement of
//! the user's build, and cargo tells a build script none of them (`ARCHITECTURE.md`). The program
//! needs no crate but `netrunner-core`, which says where its sources are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Has the program made of what POSIX has alone, on Linux as well, where this is the default elsewhere.
const PORTABLE: &str = "netrunner_portable";

fn main() {
    println!("cargo::rerun-if-changed=src");
    let portable = variable("CARGO_CFG_TARGET_OS") != "linux"
        || env::var_os("CARGO_CFG_NETRUNNER_PORTABLE").is_some();
    if portable {
        println!("cargo::rustc-cfg={PORTABLE}");
    }
    println!("cargo::rerun-if-env-changed=NETRUNNER_SHEPHERD_INSTALLED");
    let out = PathBuf::from(variable("OUT_DIR"));
    let program = out.join("shepherd");
    if env::var_os("NETRUNNER_SHEPHERD_INSTALLED").is_some() {
        std::fs::write(&program, b"").expect("OUT_DIR is writable");
        return;
    }
    let core = out.join("netrunner-core");
    std::fs::create_dir_all(&core).expect("OUT_DIR is writable");
    for (name, text) in netrunner_core::SOURCES {
        std::fs::write(core.join(name), text).expect("OUT_DIR is writable");
    }
    let library = out.join("libnetrunner_core.rlib");
    compile(
        Command::new(variable("RUSTC"))
            .args(["--crate-type=rlib", "--crate-name=netrunner_core"])
            .arg(core.join("lib.rs"))
            .arg("-o")
            .arg(&library),
    );
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--crate-type=bin", "--crate-name=netrunner_shepherd"])
        .arg(Path::new(&variable("CARGO_MANIFEST_DIR")).join("src/main.rs"))
        .arg("--extern")
        .arg(format!("netrunner_core={}", library.display()))
        .arg("-o")
        .arg(&program)
        .args(["-Clto=fat", "-Cstrip=symbols"]);
    if portable {
        rustc.args(["--cfg", PORTABLE]);
    } else {
        rustc
            .arg("-Crelocation-model=static")
            .arg("-Clink-args=-static -nostartfiles -nostdlib -no-pie")
            .arg("-Clink-args=-Wl,--build-id=none -Wl,-z,norelro -Wl,--no-eh-frame-hdr");
        // The compiler's own copy of musl would bring a beginning of the program with it.
        if variable("CARGO_CFG_TARGET_ENV") == "musl" {
            rustc.arg("-Clink-self-contained=no");
        }
    }
    // The linker that cargo found for the target, if it is not the default.
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", Path::new(&linker).display()));
    }
    compile(&mut rustc);
}

/// Runs the compiler with what both compilations share.
fn compile(rustc: &mut Command) {
    rustc
        .args(["--edition=2024", "--target", &variable("TARGET")])
        .args(["-Cpanic=abort", "-Copt-level=s", "-Ccodegen-units=1", "-Cembed-bitcode=yes"])
        // The user's flags may name sanitizers, coverage or another code model, none of which works
        // without a standard library.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS");
    let status = rustc.status().unwrap_or_else(|error| panic!("{rustc:?}: {error}"));
    assert!(status.success(), "{rustc:?}: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
