//! Prints the public API of a crate, one item a line, from the JSON that rustdoc made of it. `cargo xtask
//! check api` makes the JSON and compares; a crate of its own, so that what reads it is built for nobody else.

use std::process::ExitCode;

use public_api::Builder;

/// What the compiler alone asks about a type; it comes and goes with compilers.
const INTERNAL: &[&str] = &["Freeze", "StructuralPartialEq", "UnsafeUnpin"];

fn main() -> ExitCode {
    let Some(json) = std::env::args_os().nth(1) else {
        eprintln!("usage: netrunner-api JSON");
        return ExitCode::FAILURE;
    };
    // What holds for every type whatever it is (`impl<T> Any for T`) says nothing about this crate. That
    // a type is `Send` does, and is promised to users though nobody wrote it down.
    match Builder::from_rustdoc_json(json).omit_blanket_impls(true).build() {
        Ok(api) => {
            for item in api.items().map(ToString::to_string).filter(|item| !is_internal(item)) {
                println!("{item}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("netrunner-api: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_internal(item: &str) -> bool {
    let of = |name: &&str| item.contains(&format!("core::marker::{name} for "));
    item.starts_with("impl") && INTERNAL.iter().any(of)
}
