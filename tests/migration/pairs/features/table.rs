//! README.md's two tables beside other crates, read: what the first says of each, and whether what is linked
//! for NetRunner is a test.

use std::path::{Path, PathBuf};

use super::Peer;

/// One row of the first table.
pub(super) struct Row {
    pub(super) what: String,
    /// One for each of [`Peer::ALL`], without its links.
    pub(super) cells: Vec<String>,
}

/// A link to a test: its text, the file, and the name of the test in its title.
struct Link {
    text: String,
    file: String,
    test: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The section's tables, each with its head, as cells.
fn tables() -> Vec<Vec<Vec<String>>> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) =
        readme.split_once("\n## Beside others\n").expect("README.md has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        if !inside {
            tables.push(Vec::new());
            inside = true;
        }
        if !row.starts_with("---") {
            let cells = row.split('|').map(|cell| cell.trim().to_owned()).collect();
            tables.last_mut().expect("one was begun").push(cells);
        }
    }
    tables
}

/// The cell's text without links, and the links.
fn links(cell: &str) -> (String, Vec<Link>) {
    let mut text = String::new();
    let mut links = Vec::new();
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once('[') {
        let (label, after) = after.split_once("](").expect("a link");
        let (target, after) = after.split_once(')').expect("the end of a link");
        let (file, title) = match target.split_once(' ') {
            Some((file, title)) => (file, Some(title.trim_matches('"').to_owned())),
            None => (target, None),
        };
        text += before;
        text += label;
        links.push(Link { text: label.to_owned(), file: file.to_owned(), test: title });
        rest = after;
    }
    (text + rest, links)
}

pub(super) fn read() -> Vec<Row> {
    let table = tables().into_iter().next().expect("a first table");
    let rows = table.into_iter().skip(1).map(|mut cells| {
        let what = cells.remove(0);
        assert_eq!(cells.len(), Peer::ALL.len(), "{what}");
        Row { what, cells: cells.iter().map(|cell| links(cell).0).collect() }
    });
    rows.collect()
}

#[test]
fn each_claim_about_netrunner_leads_to_a_test() {
    for table in tables() {
        for row in table.iter().skip(1) {
            let (text, links) = links(&row[1]);
            assert!(text == "no" || !links.is_empty(), "nothing proves it: {row:?}");
            for Link { text, file, test } in links {
                let test = test.unwrap_or_else(|| panic!("`{text}` of {row:?} names no test"));
                let source = std::fs::read_to_string(root().join(&file)).unwrap();
                assert!(holds_test(&source, &test), "{file} has no test `{test}`");
            }
        }
    }
}

/// Whether there is such a test in this file.
fn holds_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}() ");
    let found = lines.iter().position(|line| line.starts_with(&head));
    found.is_some_and(|at| lines[..at].iter().rev().take(4).any(|line| *line == "#[test]"))
}

#[test]
fn the_versions_are_those_that_were_asked() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for table in tables() {
        let [_, heads @ ..] = &table[0][..] else { panic!("no head") };
        assert_eq!(heads.len(), Peer::ALL.len());
        for (peer, head) in Peer::ALL.into_iter().zip(heads) {
            let (name, version) = head.split_once(' ').unwrap_or((head, ""));
            assert_eq!(name, peer.name());
            if matches!(peer, Peer::NetRunner | Peer::Std) {
                continue; // of the same commit, and of whatever compiler there is
            }
            let entry = format!("name = \"{name}\"\nversion = \"{version}.");
            assert!(lock.contains(&entry), "Cargo.lock has another version of {head}");
        }
    }
}

#[test]
fn a_link_is_read_and_a_missing_test_is_found() {
    let (text, found) = links("[all](tests/a.rs \"x_y\"), [or](tests/b.rs) so");
    assert_eq!(text, "all, or so");
    assert_eq!(found[0].file, "tests/a.rs");
    assert_eq!(found[0].test.as_deref(), Some("x_y"));
    assert_eq!(found[1].test, None);
    let source = "#[test]\nfn x_y() {\n}\n\nfn z() {\n}\n\n\n\n\nfn w() {}";
    assert!(holds_test(source, "x_y"));
    assert!(!holds_test(source, "x"));
    assert!(!holds_test(source, "w"));
}
