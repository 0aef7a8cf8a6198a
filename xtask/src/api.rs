//! The public API of the published crates, as listed in `docs/api`: a change of it is a change of these
//! files, so nobody makes one without seeing it. rustdoc writes the items as JSON, `xtask/api` lists them,
//! and tells which have no example.

use std::fs;
use std::path::Path;

use crate::manifests;
use crate::step::{self, Command, Result, capture, cargo};

/// The only form of rustdoc's JSON that the version of public-api in `Cargo.lock` reads.
const FORMAT: &str = "\"format_version\":57";

const FOLDER: &str = "docs/api";

/// So many lines of a difference are shown.
const MAX_SHOWN: usize = 40;

/// One published crate.
struct Listing {
    name: &'static str,
    api: String,
    without_example: String,
}

/// Compares each listing with what the code says.
pub(crate) fn check(root: &Path, target_dir: &Path) -> Result<()> {
    let (mut differences, mut without_example) = (String::new(), String::new());
    for listing in listings(root, target_dir)? {
        let file = root.join(FOLDER).join(format!("{}.txt", listing.name));
        let listed = fs::read_to_string(&file).unwrap_or_default();
        differences.extend(difference(listing.name, &listed, &listing.api));
        without_example.push_str(&listing.without_example);
    }
    if !differences.is_empty() {
        return Err(format!("the public API is not what {FOLDER} lists; if it should change: cargo xtask api\n{differences}").into());
    }
    if !without_example.is_empty() {
        return Err(format!("the documentation has no example of:\n{without_example}").into());
    }
    Ok(())
}

/// Writes the listings anew.
pub(crate) fn write(root: &Path, target_dir: &Path) -> Result<()> {
    for listing in listings(root, target_dir)? {
        fs::create_dir_all(root.join(FOLDER))?;
        fs::write(root.join(FOLDER).join(format!("{}.txt", listing.name)), listing.api)?;
    }
    Ok(())
}

/// All published crates; none where the compiler's JSON is of another form.
fn listings(root: &Path, target_dir: &Path) -> Result<Vec<Listing>> {
    step::run(cargo(root).args(["build", "--quiet", "--package", "netrunner-api"]))?;
    let program = target_dir.join("debug/netrunner-api");
    let mut listings = Vec::new();
    for name in manifests::published() {
        let krate = name.replace('-', "_");
        let mut rustdoc = cargo(root);
        rustdoc.args(["rustdoc", "--quiet", "--lib", "--all-features", "--package", name]);
        rustdoc.args(["--", "-Zunstable-options", "--output-format", "json"]);
        // JSON is unstable, so a stable compiler has to be asked twice; for this crate alone, since others
        // would build something else under it.
        step::run(rustdoc.env("RUSTC_BOOTSTRAP", &krate))?;
        let json = target_dir.join("doc").join(format!("{krate}.json"));
        if !fs::read_to_string(&json)?.contains(FORMAT) {
            let compiler = capture(Command::new("rustc").arg("--version"))?;
            eprintln!("xtask: SKIPPED: the JSON of {} is not {FORMAT}", compiler.trim());
            return Ok(Vec::new());
        }
        listings.push(Listing {
            name,
            api: capture(Command::new(&program).arg(&json))?,
            without_example: capture(Command::new(&program).arg("--without-example").arg(&json))?,
        });
    }
    Ok(listings)
}

/// The lines that only one of the two has, or nothing if they are the same.
fn difference(name: &str, listed: &str, api: &str) -> Option<String> {
    if listed == api {
        return None;
    }
    let only = |these: &str, those: &str, sign: char| -> Vec<String> {
        let missing = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        missing.map(|line| format!("{sign} {line}\n")).collect()
    };
    let mut lines = only(listed, api, '-');
    lines.extend(only(api, listed, '+'));
    let more = lines.len().saturating_sub(MAX_SHOWN);
    lines.truncate(MAX_SHOWN);
    let mut text = format!("{name}:\n{}", lines.concat());
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    } else if lines.is_empty() {
        text.push_str("the same lines in another order or number\n");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_a_removed_and_a_moved_item_are_differences() {
        assert_eq!(difference("a", "x\ny\n", "x\ny\n"), None);
        assert_eq!(difference("a", "x\ny\n", "y\nz\n").as_deref(), Some("a:\n- x\n+ z\n"));
        assert!(difference("a", "x\ny\n", "y\nx\n").is_some_and(|text| text.contains("order")));
        assert!(difference("a", "", "x\n").is_some_and(|text| text.contains("+ x")));
    }
}
