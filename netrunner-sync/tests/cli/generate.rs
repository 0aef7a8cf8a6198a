//! Completions and manual pages, as shells and man(1) take them.

use std::process::Command;

use crate::harness::{Folder, end, netrunner};

#[test]
fn bash_completes_subcommands_options_and_values() {
    let folder = Folder::new();
    let script = end(netrunner(["completions", "bash"])).expect(0).stdout;
    let script = folder.write("netrunner.bash", &script);
    for (words, expected) in [
        (&["netrunner", "doc"][..], "doctor"),
        (&["netrunner", "run", "--idle"], "--idle-timeout"),
        (&["netrunner", "jobs", "--fail"], "--fail-fast"),
        (&["netrunner", "run", "--leftovers", "k"], "keep"),
        (&["netrunner", "completions", "zs"], "zsh"),
    ] {
        // As bash calls it: what is typed, and what it is to become at the last word.
        let complete = format!(
            "source {script}; COMP_WORDS=({}); COMP_CWORD={}; \
             _netrunner netrunner {} {}; echo ${{COMPREPLY[@]}}",
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2]
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &complete]);
        assert_eq!(end(bash).expect(0).stdout.trim(), expected, "{words:?}");
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = end(netrunner(["completions", shell])).expect(0).stdout;
        assert!(script.contains("idle-timeout") && script.contains("fail-fast"), "{shell}");
    }
    end(netrunner(["completions", "tcsh"])).expect(125).says(&["tcsh", "bash"]);
}

#[test]
fn there_is_a_manual_page_for_each_subcommand() {
    let folder = Folder::new();
    let dir = folder.path("new/man1");
    end(netrunner(["man", &dir])).expect(0);
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let pages = ["-completions", "-doctor", "-jobs", "-man", "-ps", "-run", ""];
    assert_eq!(names, pages.map(|name| format!("netrunner{name}.1")));

    let page = folder.read("new/man1/netrunner-run.1");
    assert!(page.contains(".TH netrunner-run 1"), "{page}");
    assert!(page.contains("\n\\&netrunner run [OPTIONS] \\-\\- CMD [ARG]...\n"), "{page}");
    // Its table of exit codes keeps its lines.
    assert!(page.contains("\n.SH DETAILS\n.nf\n"), "{page}");
    assert!(page.contains("\n\\&  124      it timed out"), "{page}");
    for option in ["idle\\-timeout", "max\\-output", "leftovers", "pty"] {
        assert!(page.contains(option), "{option}: {page}");
    }

    end(netrunner(["man", "/dev/null/dir"])).expect(125).says(&["`/dev/null/dir`"]);
}

#[test]
fn groff_has_nothing_to_say_against_the_pages() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("SKIPPED: needs groff");
        return;
    }
    let folder = Folder::new();
    end(netrunner(["man", &folder.path("man1")])).expect(0);
    for name in ["netrunner", "netrunner-run", "netrunner-jobs", "netrunner-doctor"] {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww"]).arg(folder.path(&format!("man1/{name}.1")));
        let ended = end(groff).expect(0);
        assert_eq!(ended.stderr, "", "{name}");
        assert!(ended.stdout.contains("Print help"), "{name}");
    }
}
