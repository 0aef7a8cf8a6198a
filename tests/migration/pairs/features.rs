//! The table "Beside others" of README.md: what it says of each crate is done with that crate, and each claim
//! about NetRunner leads to a test that is there. The calls of the crates are in [`peers`].

mod peers;
mod table;

use std::process::Command;
use std::time::Duration;

use super::{Folder, Left, until};
use peers::{Ended, Peer};

/// Where the program that is to be killed finds what to run, and with what.
const PEER: &str = "NETRUNNER_FEATURES_PEER";
const SCRIPT: &str = "NETRUNNER_FEATURES_SCRIPT";

/// A shell, a member of its group, and one of another session; each killed at the end if it lives.
struct Tree {
    dir: Folder,
}

impl Tree {
    fn new() -> Tree {
        Tree { dir: Folder::new() }
    }

    fn numbers(&self) -> std::path::PathBuf {
        self.dir.0.join("numbers")
    }

    /// What the shell is to do: it tells the numbers when all three are what they are to be. Then `last`.
    fn script(&self, last: &str) -> String {
        format!(
            "setsid sleep 300 >/dev/null 2>&1 & away=$!
            sleep 300 >/dev/null 2>&1 & member=$!
            until read -r _ _ _ _ _ session _ </proc/$away/stat && [ $session = $away ]; do :; done
            echo $$ $member $away > {0}.new; mv {0}.new {0}
            {last}",
            self.numbers().display(),
        )
    }

    fn is_complete(&self) -> bool {
        self.numbers().exists()
    }

    fn processes(&self) -> [Left; 3] {
        let text = std::fs::read_to_string(self.numbers()).unwrap();
        let mut numbers = text.split_whitespace().map(|number| Left(number.to_owned()));
        std::array::from_fn(|_| numbers.next().expect("three numbers"))
    }

    /// Whether an end has come to so many of them, and to the others not.
    #[track_caller]
    fn expect(&self, what: &str, reach: Reach) {
        let processes = self.processes();
        let (ended, alive) = processes.split_at(reach as usize);
        until(&format!("{what}: {reach:?} ends"), || ended.iter().all(|process| !process.lives()));
        // Time for the others to end, if something does end them after all.
        std::thread::sleep(Duration::from_millis(200));
        assert!(alive.iter().all(Left::lives), "{what}: more than {reach:?} ends");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.is_complete() {
            // Kills what is left.
            drop(self.processes());
        }
    }
}

/// How many of a [`Tree`] an end comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Nothing = 0,
    Child = 1,
    Group = 2,
    All = 3,
}

/// Something of which a row tells how far it reaches. `false`: there is no call for it.
type Act = fn(Peer, &mut Tree) -> bool;

const ACTS: &[(&str, Act)] = &[
    ("What ends when the program is killed", |peer, tree| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "features::a_program_to_be_killed", "--nocapture"]);
        program.env(PEER, peer.name()).env(SCRIPT, tree.script("wait"));
        let mut program = program.stdout(std::process::Stdio::null()).spawn().unwrap();
        until("the command runs", || tree.is_complete());
        program.kill().unwrap();
        program.wait().unwrap();
        true
    }),
    ("What ends when the handle is dropped", |peer, tree| {
        let handle = peer.spawn(&tree.script("wait"));
        until("the command runs", || tree.is_complete());
        // One of them waits in its `drop`.
        std::thread::spawn(move || drop(handle));
        true
    }),
    ("What a `kill` ends", |peer, tree| {
        let mut handle = peer.spawn(&tree.script("wait"));
        until("the command runs", || tree.is_complete());
        handle.kill();
        true
    }),
    ("What a time limit ends", |peer, tree| {
        let mut limit = Duration::from_secs(1);
        // On a busy machine the limit may come before the command is there.
        while limit < super::PATIENCE {
            match peer.limited(&tree.script("wait"), limit) {
                None => return false,
                Some(Ended::InTime) => panic!("it never ends by itself"),
                Some(Ended::ByLimit) if tree.is_complete() => return true,
                Some(Ended::ByLimit) => (limit, *tree) = (limit * 2, Tree::new()),
            }
        }
        panic!("the command is never there");
    }),
    ("What ends with a command that leaves something", |peer, tree| {
        let mut handle = peer.spawn(&tree.script("exit"));
        handle.wait();
        assert!(tree.is_complete());
        true
    }),
];

/// Something that a crate does or does not.
type Trait = fn(Peer) -> bool;

const TRAITS: &[(&str, Trait)] = &[
    ("A child that is dropped after its end is no zombie", |peer| {
        let dir = Folder::new();
        let file = dir.0.join("number");
        let handle = peer.spawn(&format!("echo $$ > {0}.new; mv {0}.new {0}", file.display()));
        until("it has told its number", || file.exists());
        let number = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", number.trim());
        let stat = || std::fs::read_to_string(&stat).unwrap_or_default();
        until("it has ended", || stat().is_empty() || stat().contains(") Z "));
        drop(handle);
        // NetRunner's watcher may take a moment, and tokio's runtime is over by now.
        let mut tries = 0..100;
        while !stat().is_empty() && tries.next().is_some() {
            std::thread::sleep(Duration::from_millis(10));
        }
        stat().is_empty()
    }),
    ("A missing directory is told from a missing program", |peer| {
        peer.error_in("/no/such/directory").contains("/no/such/directory")
    }),
    ("Descriptors of the program stay out of the child", |peer| {
        // Without close-on-exec, as a C library may open one.
        let open = rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        !peer.succeeds(&format!("[ -e /proc/self/fd/{number} ]"))
    }),
    ("Input and output at once, without a thread of one's own", |peer| {
        let long = "a\n".repeat(500_000);
        match peer.fed(&long) {
            Some(output) => {
                assert!(output == long, "{peer:?} lost bytes");
                true
            }
            None => false,
        }
    }),
    ("Pipelines", |peer| match peer.piped() {
        Some(output) => {
            assert_eq!(output.trim_end(), "apple\npear");
            true
        }
        None => false,
    }),
];

/// The part of [`ACTS`] that runs in a program of its own.
#[test]
fn a_program_to_be_killed() {
    let (Ok(name), Ok(script)) = (std::env::var(PEER), std::env::var(SCRIPT)) else {
        return; // run among the other tests
    };
    let peer = Peer::ALL.into_iter().find(|peer| peer.name() == name).unwrap();
    let _handle = peer.spawn(&script);
    std::thread::sleep(Duration::from_secs(1000));
}

#[test]
fn the_table_says_what_each_crate_does() {
    let table = table::read();
    let rows: Vec<&str> = table.iter().map(|row| row.what.as_str()).collect();
    let known: Vec<&str> =
        ACTS.iter().map(|(what, _)| *what).chain(TRAITS.iter().map(|(what, _)| *what)).collect();
    assert_eq!(rows, known, "the rows of README.md, and what is done here");
    std::thread::scope(|scope| {
        for row in &table {
            scope.spawn(move || check(row));
        }
    });
}

/// Does what a row is about with each crate.
fn check(row: &table::Row) {
    for (peer, cell) in Peer::ALL.into_iter().zip(&row.cells) {
        let what = format!("{}, by {peer:?}", row.what);
        if let Some((_, does)) = TRAITS.iter().find(|(name, _)| *name == row.what) {
            let said = match cell.as_str() {
                "yes" => true,
                "no" => false,
                other => panic!("{what}: neither yes nor no: {other}"),
            };
            assert_eq!(does(peer), said, "{what}");
            continue;
        }
        let reach = match cell.as_str() {
            "–" => None,
            "nothing" => Some(Reach::Nothing),
            "child" => Some(Reach::Child),
            "group" => Some(Reach::Group),
            "all" => Some(Reach::All),
            other => panic!("{what}: no reach: {other}"),
        };
        let (_, act) = ACTS.iter().find(|(name, _)| *name == row.what).expect("rows are known");
        let mut tree = Tree::new();
        let has_a_call = act(peer, &mut tree);
        assert_eq!(has_a_call, reach.is_some(), "{what}: whether there is a call for it");
        if let Some(reach) = reach {
            tree.expect(&what, reach);
        }
    }
}
