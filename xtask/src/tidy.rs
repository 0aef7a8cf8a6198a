//! Tidy: the project's own rules about its files, those that prose would only wish for. Each rule is a
//! function from one file to complaints. What a `Cargo.toml` may say is in [`crate::manifests`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::manifests;
use crate::step::{self, Result};

/// Longer files answer more than one question. There are no exceptions.
const MAX_LINES: usize = 500;

/// The only files (or, with a slash at the end, folders) where the keyword may stand.
const MAY_BE_UNSAFE: &[&str] = &[
    "netrunner-shepherd/src/sys/",
    "netrunner-shepherd/src/main.rs",
    "netrunner-sync/src/poll.rs",
    "netrunner-sync/src/sys.rs",
    "netrunner-sync/src/sys/linux.rs",
    "netrunner-sync/src/bin/netrunner/sys.rs",
    "tests/src/seccomp.rs",
    "tests/src/sys.rs",
    "xtask/bench/src/floor.rs",
    "xtask/bench/src/sys.rs",
];

/// Words of other projects, in pieces so that this file passes its own rule. The ends of a pseudo-terminal
/// are manager and subsidiary.
const FORBIDDEN_WORDS: &[&str] = &[concat!("mas", "ter"), concat!("sla", "ve")];

/// One text file: its path from the workspace's folder with `/`, and what it says.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }
}

/// Runs every rule over every file and reports all complaints at once.
pub(crate) fn check(root: &Path) -> Result<()> {
    eprintln!("xtask: tidy");
    let mut paths = BTreeSet::new();
    walk(root, "", &mut paths)?;
    let mut complaints = Vec::new();
    for path in &paths {
        if !["rs", "md", "toml"].iter().any(|e| path.ends_with(&format!(".{e}"))) {
            continue;
        }
        let text =
            fs::read_to_string(root.join(path)).map_err(|error| format!("`{path}`: {error}"))?;
        let source = Source { path: path.clone(), text };
        complaints
            .extend(complaints_about(&source, &paths).into_iter().map(|c| format!("{path}:{c}")));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!("tidy found {} things to mend\n{}", complaints.len(), complaints.join("\n")).into())
}

/// The declared MSRV knows no let-chains, but edition 2024 on a newer compiler lets them pass. Read as
/// edition 2021 they are a syntax error; rustfmt is the cheapest reader. (New library items are found by
/// clippy's `incompatible_msrv`.)
pub(crate) fn old_syntax(root: &Path) -> Result<()> {
    let mut paths = BTreeSet::new();
    walk(root, "", &mut paths)?;
    let mut rustfmt = step::Command::new("rustfmt");
    rustfmt.current_dir(root).args([
        "--check",
        "--edition",
        "2021",
        "--config",
        "style_edition=2024",
    ]);
    step::run(rustfmt.args(paths.iter().filter(|path| path.ends_with(".rs"))))
}

/// Collects files and folders below `root`, but not what cargo made or what is hidden.
pub(crate) fn walk(root: &Path, below: &str, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        }
        found.insert(path);
    }
    Ok(())
}

/// All complaints about one file, each beginning with its line number.
fn complaints_about(source: &Source, paths: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = words(source);
    if source.is("rs") {
        complaints.extend(head(source));
        complaints.extend(length(source));
        complaints.extend(unsafe_places(source));
    } else if source.is("md") {
        complaints.extend(dead_links(source, paths));
    } else if source.path.ends_with("Cargo.toml") {
        complaints.extend(manifests::complaints(source));
    }
    complaints
}

fn head(source: &Source) -> Vec<String> {
    let says_something = source.text.strip_prefix("//!").and_then(|rest| rest.lines().next());
    if says_something.is_some_and(|line| !line.trim().is_empty()) {
        return Vec::new();
    }
    vec!["1: open the file with `//!`: its job and what it leaves to others".to_owned()]
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![format!(
        "{lines}: {lines} lines are too many, split the file by question ({MAX_LINES} at most)"
    )]
}

fn unsafe_places(source: &Source) -> Vec<String> {
    let allowed = |place: &&str| match place.strip_suffix('/') {
        Some(_) => source.path.starts_with(*place),
        None => source.path == **place,
    };
    if MAY_BE_UNSAFE.iter().any(allowed) {
        return Vec::new();
    }
    let keyword = concat!("un", "safe");
    let mut complaints = Vec::new();
    for (number, line) in numbered(&source.text) {
        let code = line.split("//").next().unwrap_or_default();
        if code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == keyword) {
            complaints.push(format!(
                "{number}: {keyword} code belongs into {}",
                MAY_BE_UNSAFE.join(", ")
            ));
        }
    }
    complaints
}

fn words(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in numbered(&source.text) {
        let line = line.to_lowercase();
        for word in FORBIDDEN_WORDS.iter().filter(|word| line.contains(**word)) {
            complaints.push(format!("{number}: not a word of this project: {word}"));
        }
    }
    complaints
}

/// Relative links in Markdown must lead to a file or folder of the workspace.
fn dead_links(source: &Source, paths: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_code = false;
    for (number, line) in numbered(&source.text) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for after in line.split("](").skip(1) {
            let link = after.split(')').next().unwrap_or_default();
            let file = link.split(['#', ' ']).next().unwrap_or_default();
            if file.is_empty() || file.contains(':') {
                continue;
            }
            if !resolve(&source.path, file)
                .is_some_and(|path| path.is_empty() || paths.contains(&path))
            {
                complaints.push(format!("{number}: dead link: {link}"));
            }
        }
    }
    complaints
}

/// A link as a path from the workspace's folder; `None` if it leads out of it.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    //! Each rule once satisfied and once broken: a rule that cannot fail is no rule.
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_file_without_head_is_found() {
        assert_eq!(head(&source("a.rs", "//! What it does.\n")), Vec::<String>::new());
        assert_eq!(head(&source("a.rs", "use std::fs;\n//! Late.\n")).len(), 1);
        assert_eq!(head(&source("a.rs", "//!\n//! Says nothing first.\n")).len(), 1);
        assert_eq!(head(&source("a.rs", "")).len(), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(length(&source("a.rs", &"x\n".repeat(MAX_LINES))), Vec::<String>::new());
        assert_eq!(length(&source("a.rs", &"x\n".repeat(MAX_LINES + 1))).len(), 1);
    }

    #[test]
    fn unsafe_outside_the_list_is_found() {
        let block = concat!("fn f() {\n    un", "safe { g() }\n}\n");
        let found = unsafe_places(&source("netrunner-sync/src/pool.rs", block));
        assert!(found[0].starts_with("2: "), "{found:?}");
        assert_eq!(unsafe_places(&source("netrunner-sync/src/poll.rs.rs", block)).len(), 1);
        assert_eq!(
            unsafe_places(&source("netrunner-sync/src/poll.rs", block)),
            Vec::<String>::new()
        );
        assert_eq!(
            unsafe_places(&source("netrunner-shepherd/src/sys/clone.rs", block)),
            Vec::<String>::new()
        );
        let prose = concat!("#![forbid(un", "safe_code)] // nothing un", "safe here\n");
        assert_eq!(unsafe_places(&source("a.rs", prose)), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_word_is_found_in_prose_and_names() {
        for word in FORBIDDEN_WORDS {
            let name = format!("fine\nlet pty_{}_end = 1;", word.to_uppercase());
            assert!(words(&source("a.rs", &name))[0].starts_with("2: "));
        }
        assert_eq!(words(&source("a.md", "manager and subsidiary")), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_is_found() {
        let paths: BTreeSet<String> = ["README.md", "docs", "docs/a.md"].map(str::to_owned).into();
        let good = "[a](../README.md#top) [b](a.md) [c](https://example.org/x) [d](#here) [e](../docs/) [f](..) [g](a.md \"x\")\n```\n[x](y)\n```";
        assert_eq!(dead_links(&source("docs/a.md", good), &paths), Vec::<String>::new());
        let bad = dead_links(
            &source("docs/a.md", "\n[a](README.md) and [b](../../out.md \"x\")"),
            &paths,
        );
        assert_eq!(bad, ["2: dead link: README.md", "2: dead link: ../../out.md \"x\""]);
    }

    #[test]
    fn every_rule_is_applied_to_its_kind_of_file() {
        let paths = BTreeSet::new();
        let code = concat!("un", "safe {}\n").repeat(MAX_LINES + 1);
        assert_eq!(complaints_about(&source("a.rs", &code), &paths).len(), MAX_LINES + 3);
        assert_eq!(complaints_about(&source("a.md", "[x](y)"), &paths).len(), 1);
        assert_ne!(complaints_about(&source("a/Cargo.toml", "[package]"), &paths).len(), 0);
    }
}
