//! Full-screen programs under `netrunner run`, in a terminal emulator (tmux) whose screen is read.

use std::process::{Command, Output, Stdio};

use crate::harness::{Folder, NETRUNNER, fresh, until};

/// A window of a tmux server of the test's own.
struct Window {
    folder: Folder,
}

/// What a shell in the window prompts with.
const PROMPT: &str = "ready>";

const SHELL: &[&str] =
    &["env", "PS1=ready> ", "bash", "--norc", "--noprofile", "--noediting", "-i"];

/// Opens a window of 80 by 24 that runs these words; `None`, loudly, where a program is missing.
fn open(needs: &[&str], words: &[&str]) -> Option<Window> {
    for program in ["tmux"].iter().chain(needs) {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
        if !found.expect("sh runs").status.success() {
            eprintln!("SKIPPED: needs {program}");
            return None;
        }
    }
    let window = Window { folder: Folder::new() };
    let size = ["-x", "80", "-y", "24"];
    let mut command = window.command();
    command.args(["-f", "/dev/null", "new-session", "-d"]).args(size).args(words);
    let started = command.stdin(Stdio::null()).output().expect("tmux starts");
    assert!(started.status.success(), "{started:?}");
    Some(window)
}

fn open_shell(needs: &[&str]) -> Option<Window> {
    let window = open(needs, SHELL)?;
    window.shows(&[PROMPT]);
    Some(window)
}

impl Window {
    fn command(&self) -> Command {
        let mut command = fresh("tmux");
        command.args(["-u", "-S", &self.folder.path("socket")]);
        command.env("NETRUNNER", NETRUNNER).env_remove("TMUX").env_remove("ENV");
        command
    }

    fn ask(&self, words: &[&str]) -> Output {
        self.command().args(words).stdin(Stdio::null()).output().expect("tmux starts")
    }

    /// Waits for an empty prompt.
    #[track_caller]
    fn prompts(&self) {
        self.until(&|screen| screen.iter().any(|line| line == PROMPT), &[PROMPT]);
    }

    /// Types a text.
    fn type_in(&self, text: &str) {
        assert!(self.ask(&["send-keys", "-l", text]).status.success(), "type {text:?}");
    }

    /// Presses a key by tmux's name for it.
    fn press(&self, key: &str) {
        assert!(self.ask(&["send-keys", key]).status.success(), "press {key}");
    }

    fn line(&self, text: &str) {
        self.type_in(text);
        self.press("Enter");
    }

    fn screen(&self) -> Vec<String> {
        let screen =
            String::from_utf8_lossy(&self.ask(&["capture-pane", "-p"]).stdout).into_owned();
        screen.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the screen's lines begin so; those after the last are not looked at.
    #[track_caller]
    fn begins(&self, lines: &[&str]) {
        self.until(
            &|screen| screen.len() >= lines.len() && screen.iter().zip(lines).all(|(a, b)| a == b),
            lines,
        );
    }

    /// Waits until the last lines that are not empty are these.
    #[track_caller]
    fn shows(&self, lines: &[&str]) {
        let ends = |screen: &[String]| {
            let filled = screen.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
            let from = filled.saturating_sub(lines.len());
            screen[from..filled].iter().eq(lines)
        };
        self.until(&ends, lines);
    }

    #[track_caller]
    fn until(&self, holds: &dyn Fn(&[String]) -> bool, lines: &[&str]) {
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{lines:?} is never on {screen:#?}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Holds the exit code of the shell's last command to this.
    #[track_caller]
    fn expect_code(&self, code: i32) {
        self.line("clear; echo code=$?");
        self.begins(&[&format!("code={code}"), PROMPT]);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // It is gone with its window where the test has closed that.
        let _ = self.ask(&["kill-server"]);
    }
}

/// The lines of numbers from `first` on.
fn numbers(first: u32, count: u32) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}

fn lines(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

#[test]
fn an_editor_draws_suspends_and_saves() {
    let Some(window) = open_shell(&["vi"]) else { return };
    let file = window.folder.path("file");
    window.line(&format!("$NETRUNNER run -- vi -u NONE -N {file}"));
    window.until(&|screen| screen.len() > 20 && screen[20] == "~", &["~"]);
    window.type_in("ifirst");
    window.press("Enter");
    window.type_in("second");
    window.press("Escape");
    window.begins(&["first", "second", "~"]);
    window.press("C-z");
    window.until(&|screen| screen.iter().any(|line| line.contains("Stopped")), &["Stopped"]);
    window.line("clear; echo between");
    window.begins(&["between", PROMPT]);
    window.line("fg");
    window.begins(&["first", "second", "~"]);
    window.line(":wq");
    window.prompts();
    assert_eq!(window.folder.read("file"), "first\nsecond\n");
    window.expect_code(0);
    // Typing is seen: the modes are the shell's.
    window.type_in("echo visible");
    window.shows(&["ready> echo visible"]);
}

#[test]
fn an_editor_without_a_shell_has_the_window() {
    let words = [NETRUNNER, "run", "--", "vi", "-u", "NONE", "-N"];
    let Some(window) = open(&["vi"], &words) else { return };
    window.until(&|screen| screen.len() > 20 && screen[20] == "~", &["~"]);
    window.press("C-z");
    window.type_in("igoes on");
    window.press("Escape");
    window.until(&|screen| screen.first().is_some_and(|line| line == "goes on"), &["goes on"]);
    window.line(":q!");
    until("the window closes", || !window.ask(&["list-sessions"]).status.success());
}

#[test]
fn a_pager_pages_and_follows_the_windows_size() {
    let Some(window) = open_shell(&["less"]) else { return };
    let path = window.folder.path("numbers");
    window.line(&format!("seq 500 >{path}; clear; $NETRUNNER run -- less {path}"));
    window.begins(&lines(&numbers(1, 23)));
    window.press("Space");
    window.begins(&lines(&numbers(24, 23)));
    window.press("C-z");
    window.until(&|screen| screen.iter().any(|line| line.contains("Stopped")), &["Stopped"]);
    window.line("fg");
    window.begins(&lines(&numbers(24, 23)));
    assert!(window.ask(&["resize-window", "-x", "90", "-y", "30"]).status.success());
    window.begins(&lines(&numbers(24, 29)));
    // Ctrl-C is the pager's own business. It may forget keys that come at the same time.
    window.press("C-c");
    let top = numbers(1, 29);
    until("the top", || {
        window.press("g");
        window.screen().starts_with(&top)
    });
    window.press("q");
    window.prompts();
    window.expect_code(0);
}

#[test]
fn a_pager_reads_from_a_pipe_and_its_keys_from_the_terminal() {
    let Some(window) = open_shell(&["less"]) else { return };
    // On either side of the pipe.
    for command in ["seq 500 | $NETRUNNER run -- less", "$NETRUNNER run -- seq 500 | less"] {
        window.line(&format!("clear; {command}"));
        window.begins(&lines(&numbers(1, 23)));
        window.press("Space");
        window.begins(&lines(&numbers(24, 23)));
        window.press("C-z");
        window.until(&|screen| screen.iter().any(|line| line.contains("Stopped")), &["Stopped"]);
        window.line("clear; fg");
        window.begins(&lines(&numbers(24, 23)));
        window.press("q");
        window.prompts();
        window.expect_code(0);
    }
}

#[test]
fn an_editor_on_a_terminal_of_its_own_draws_follows_and_saves() {
    let Some(window) = open_shell(&["vi"]) else { return };
    let file = window.folder.path("file");
    window.line(&format!("$NETRUNNER run --pty -- vi -u NONE -N {file}"));
    window.until(&|screen| screen.len() > 20 && screen[20] == "~", &["~"]);
    window.type_in("ifirst");
    window.press("Enter");
    window.type_in("second");
    window.press("Escape");
    window.begins(&["first", "second", "~"]);
    assert!(window.ask(&["resize-window", "-x", "90", "-y", "34"]).status.success());
    window.until(&|screen| screen.len() > 30 && screen[30] == "~", &["~"]);
    // Key by key, an escape sequence of the terminal's among them.
    window.press("Up");
    window.type_in("x");
    window.begins(&["firs", "second", "~"]);
    window.line(":wq");
    window.prompts();
    assert_eq!(window.folder.read("file"), "firs\nsecond\n");
    window.expect_code(0);
    // Typing is seen: the modes are the shell's.
    window.type_in("echo visible");
    window.shows(&["ready> echo visible"]);
}

#[test]
fn a_pager_on_a_terminal_of_its_own_fills_the_screen_and_follows() {
    let Some(window) = open_shell(&["less"]) else { return };
    let file = window.folder.write("numbers", &(numbers(1, 500).join("\n") + "\n"));
    window.line(&format!("clear; $NETRUNNER run --pty -- less {file}"));
    window.begins(&lines(&numbers(1, 23)));
    window.press("Space");
    window.begins(&lines(&numbers(24, 23)));
    assert!(window.ask(&["resize-window", "-x", "90", "-y", "30"]).status.success());
    window.begins(&lines(&numbers(24, 29)));
    window.press("q");
    window.prompts();
    window.expect_code(0);
}
