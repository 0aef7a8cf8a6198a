//! Prints the public API of a crate, one item a line, from the JSON that rustdoc made of it; or only what
//! has no example in its documentation. `cargo xtask check api` makes the JSON, and compares; a crate of its
//! own, so that what reads it is built for nobody else.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use public_api::{Builder, PublicItem};
use rustdoc_types::{Crate, ItemEnum};

/// What the compiler alone asks about a type; it comes and goes with compilers.
const INTERNAL: &[&str] = &["Freeze", "StructuralPartialEq", "UnsafeUnpin"];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let listed = match &arguments[..] {
        [json] => items(json).map(|items| items.iter().map(PublicItem::to_string).collect()),
        [option, json] if option == "--without-example" => without_example(json),
        _ => Err("usage: netrunner-api [--without-example] JSON".into()),
    };
    match listed {
        Ok(lines) => {
            lines.iter().filter(|line| !is_internal(line)).for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("netrunner-api: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What holds for every type whatever it is (`impl<T> Any for T`) says nothing about this crate. That a type
/// is `Send` does, and is promised to users though nobody wrote it down.
fn items(json: &OsString) -> Result<Vec<PublicItem>, Box<dyn Error>> {
    let api = Builder::from_rustdoc_json(json).omit_blanket_impls(true).build()?;
    Ok(api.into_items().collect())
}

fn without_example(json: &OsString) -> Result<Vec<String>, Box<dyn Error>> {
    let krate: Crate = serde_json::from_str(&std::fs::read_to_string(json)?)?;
    let lacks_one = |item: &PublicItem| {
        let Some(found) = krate.index.get(&item.id()) else { return false };
        let has_one = found.docs.as_ref().is_some_and(|docs| docs.contains("```"));
        !has_one && needs_one(&found.inner) && !is_of_a_trait(&krate, item)
    };
    Ok(items(json)?.into_iter().filter(lacks_one).map(|item| item.to_string()).collect())
}

/// Fields and variants are shown by their type's example, modules by their items'.
fn needs_one(item: &ItemEnum) -> bool {
    matches!(
        item,
        ItemEnum::Struct(_)
            | ItemEnum::Enum(_)
            | ItemEnum::Union(_)
            | ItemEnum::Trait(_)
            | ItemEnum::TypeAlias(_)
            | ItemEnum::Function(_)
            | ItemEnum::Constant { .. }
            | ItemEnum::AssocConst { .. }
            | ItemEnum::Static(_)
            | ItemEnum::Macro(_)
    )
}

/// Whether it does what a trait says, which is documented there.
fn is_of_a_trait(krate: &Crate, item: &PublicItem) -> bool {
    let parent = item.parent_id().and_then(|parent| krate.index.get(&parent));
    parent.is_some_and(|it| matches!(&it.inner, ItemEnum::Impl(it) if it.trait_.is_some()))
}

fn is_internal(item: &str) -> bool {
    let of = |name: &&str| item.contains(&format!("core::marker::{name} for "));
    item.starts_with("impl") && INTERNAL.iter().any(of)
}
