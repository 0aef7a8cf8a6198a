//! What a `Cargo.toml` of the workspace may say: the workspace's lints, and of dependencies only those on
//! the list. Another dependency needs a reason in the commit that adds it here.

use crate::tidy::Source;

/// The published crates and what each may depend on: `?` marks what must be optional, `build:` what only a
/// build script may use. Tests may use anything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("netrunner-core", &[]),
    ("netrunner-pty", &["rustix"]),
    ("netrunner-cgroup", &["rustix"]),
    ("netrunner-shepherd", &["build:netrunner-core"]),
    (
        "netrunner-sync",
        &[
            "netrunner-cgroup",
            "netrunner-pty",
            "netrunner-core",
            "netrunner-shepherd",
            "rustix",
            "libc",
            "polling",
            "crossbeam-channel",
            "clap?",
            "clap_complete?",
            "clap_mangen?",
            "serde_json?",
            "indicatif?",
            "log?",
            "regex?",
        ],
    ),
];

/// The crates that users can download.
pub(crate) fn published() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(name, _)| *name)
}

/// The features of a manifest, `default` aside.
pub(crate) fn features(manifest: &str) -> Vec<String> {
    let after = manifest.split_once("\n[features]\n").map_or("", |(_, after)| after);
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim());
    names.filter(|name| *name != "default").map(str::to_owned).collect()
}

/// The oldest compiler that the workspace's manifest allows.
pub(crate) fn rust_version(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "))?;
    Some(line.trim_matches('"'))
}

/// Complaints about one manifest, each beginning with its line number.
pub(crate) fn complaints(source: &Source) -> Vec<String> {
    let lines = || source.text.lines().map(str::trim);
    if lines().any(|line| line == "[workspace]") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    if !source.text.contains("[lints]\nworkspace = true") {
        complaints
            .push("1: take over the workspace's lints: `[lints]`, `workspace = true`".to_owned());
    }
    if lines().any(|line| line == "publish = false") {
        return complaints;
    }
    let folder = source.path.split('/').next().unwrap_or_default();
    let Some((name, allowed)) = ALLOWED.iter().find(|(name, _)| *name == folder) else {
        complaints
            .push("1: a published crate that xtask/src/manifests.rs does not know".to_owned());
        return complaints;
    };
    // Clippy reads the first to say what is too new, users' cargo too; the registry wants the others.
    for key in ["rust-version.workspace = true", "license.workspace = true", "description = "] {
        if !lines().any(|line| line.starts_with(key)) {
            complaints.push(format!("1: `{name}` is published without `{key}`"));
        }
    }
    let mut section = "";
    for (index, line) in lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if section.contains("dependencies.") {
                complaints.push(format!("{}: write each dependency on one line", index + 1));
            }
        } else if let Some(wanted) = dependency(section, line) {
            if !allowed.contains(&wanted.as_str()) {
                complaints.push(format!("{}: `{name}` may not depend on `{wanted}`", index + 1));
            }
        }
    }
    complaints
}

/// What a line of a dependency section asks for, spelt as in [`ALLOWED`].
fn dependency(section: &str, line: &str) -> Option<String> {
    if section.ends_with("dev-dependencies") || line.is_empty() || line.starts_with('#') {
        return None;
    }
    let prefix = match section {
        _ if section.ends_with("build-dependencies") => "build:",
        _ if section.ends_with("dependencies") => "",
        _ => return None,
    };
    let name = line.split(['.', '=', ' ']).next()?;
    let suffix = if line.contains("optional = true") { "?" } else { "" };
    Some(format!("{prefix}{name}{suffix}"))
}

#[cfg(test)]
mod tests {
    //! Each rule once satisfied and once broken.
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    /// The beginning of a published crate's manifest.
    const HEAD: &str = "description = \"x\"\nrust-version.workspace = true\nlicense.workspace = true\n\
        [lints]\nworkspace = true\n";

    fn found(path: &str, text: &str) -> Vec<String> {
        complaints(&Source { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn missing_lints_are_found() {
        assert_eq!(
            found("xtask/Cargo.toml", &format!("publish = false\n{LINTS}")),
            Vec::<String>::new()
        );
        assert_eq!(found("xtask/Cargo.toml", "publish = false\n[lints]\n").len(), 1);
    }

    #[test]
    fn a_dependency_off_the_list_is_found() {
        let sync = |line: &str| {
            found("netrunner-sync/Cargo.toml", &format!("{HEAD}[dependencies]\n{line}\n"))
        };
        assert_eq!(sync("libc.workspace = true"), Vec::<String>::new());
        assert_eq!(sync("clap = { workspace = true, optional = true }"), Vec::<String>::new());
        assert_eq!(sync("clap.workspace = true"), ["7: `netrunner-sync` may not depend on `clap`"]);
        assert_eq!(sync("tokio = \"1\""), ["7: `netrunner-sync` may not depend on `tokio`"]);
        assert_eq!(sync("[dependencies.tokio]\nversion = \"1\"").len(), 1);
        assert_eq!(sync("[target.'cfg(unix)'.dependencies]\nnix = \"1\"").len(), 1);
    }

    #[test]
    fn build_and_dev_dependencies_are_told_apart() {
        let shepherd = |section: &str| {
            let text = format!("{HEAD}[{section}]\nnetrunner-core.workspace = true\n");
            found("netrunner-shepherd/Cargo.toml", &text)
        };
        assert_eq!(shepherd("build-dependencies"), Vec::<String>::new());
        assert_eq!(shepherd("dev-dependencies"), Vec::<String>::new());
        assert_eq!(shepherd("dependencies").len(), 1);
    }

    #[test]
    fn features_and_the_oldest_compiler_are_found() {
        let text = "rust-version = \"1.85\"\n[features]\ndefault = []\ncli = [\"dep:a\"]\nb = []\n[[bin]]\nc = 1\n";
        assert_eq!(
            (features(text), rust_version(text)),
            (vec!["cli".into(), "b".into()], Some("1.85"))
        );
        assert_eq!((features("[package]\n"), rust_version("")), (Vec::new(), None));
    }

    #[test]
    fn a_published_crate_that_lacks_what_users_or_the_registry_read_is_found() {
        assert_eq!(found("netrunner-pty/Cargo.toml", HEAD), Vec::<String>::new());
        for line in HEAD.lines().take(3) {
            let text = HEAD.replace(&format!("{line}\n"), "");
            assert_eq!(found("netrunner-pty/Cargo.toml", &text).len(), 1, "{line}");
        }
    }

    #[test]
    fn an_unknown_published_crate_is_found() {
        assert_eq!(found("netrunner-new/Cargo.toml", LINTS).len(), 1);
    }
}
