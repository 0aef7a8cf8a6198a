//! Whether docs/MIGRATION.md shows what is tested here: each of its blocks is found, line by line, in one of
//! these files, and each `before` and `after` of theirs is shown.

use std::path::Path;

/// The lines of a text without the indentation that all of them have.
fn dedented(lines: &[&str]) -> Vec<String> {
    let indents = lines.iter().filter(|line| !line.trim().is_empty());
    let common = indents.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or_default().to_owned()).collect()
}

fn holds(source: &[&str], block: &[String]) -> bool {
    source.windows(block.len()).any(|window| dedented(window) == block)
}

/// The Rust blocks of a page, each with the number of its first line.
fn blocks(page: &str) -> Vec<(usize, Vec<String>)> {
    let mut blocks: Vec<(usize, Vec<String>)> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match line {
            "```rust" => {
                inside = true;
                blocks.push((number + 2, Vec::new()));
            }
            "```" => inside = false,
            _ if inside => blocks.last_mut().unwrap().1.push(line.to_owned()),
            _ => {}
        }
    }
    blocks
}

/// How many functions of this name are in a source.
fn count(source: &str, name: &str) -> usize {
    source.lines().filter(|line| line.trim_start().contains(&format!("fn {name}("))).count()
}

#[test]
fn the_page_shows_what_is_tested() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/MIGRATION.md")).unwrap();
    let mut sources = Vec::new();
    for entry in here.join("pairs").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("page.rs") && !path.ends_with("features.rs") {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
    let blocks = blocks(&page);
    for (line, block) in &blocks {
        let found = sources.iter().any(|source| holds(&source.lines().collect::<Vec<_>>(), block));
        assert!(found, "docs/MIGRATION.md:{line}: this block is not tested:\n{}", block.join("\n"));
    }
    let befores: usize = sources.iter().map(|source| count(source, "before")).sum();
    let afters: usize = sources.iter().map(|source| count(source, "after")).sum();
    assert_eq!(befores, afters);
    assert_eq!(blocks.len(), befores + afters, "a pair is tested and not shown, or the other way");
}

#[test]
fn a_block_that_is_not_tested_is_found() {
    let source = ["fn before() {", "    let a = 1;", "", "    if a == 1 {", "        b();"];
    let block = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(holds(&source, &block(&["let a = 1;", "", "if a == 1 {", "    b();"])));
    assert!(!holds(&source, &block(&["let a = 1;", "", "if a == 1 {", "b();"])));
    assert!(!holds(&source, &block(&["let a = 2;"])));
    let found = blocks("text\n```rust\nlet a = 1;\n```\n```sh\nls\n```\n```rust\n```\n");
    assert_eq!(found, [(3, block(&["let a = 1;"])), (9, Vec::new())]);
}
