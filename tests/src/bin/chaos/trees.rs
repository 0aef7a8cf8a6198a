//! Random trees of processes, as scripts of puppets. Every process locks a file of its own, in a folder
//! that names its command, and its place in the tree.

use netrunner_tests::random::Random;

/// How the first process of a tree ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Not by itself.
    Never,
    /// With this code, after it has written so much of the pattern.
    Exits { code: u64, bytes: u64 },
    /// As all the others of its tree, when the file `end` is there: nobody else is to end it.
    WhenTold,
}

/// The tree that a process belongs to, from its command line, if it goes on until it is told to end.
pub(crate) fn waits_to_be_told(command_line: &str) -> Option<&str> {
    command_line.contains("\0await\0end\0").then(|| label(command_line)).flatten()
}

/// The label of the first lock in these words.
fn label(words: &str) -> Option<&str> {
    Some(words.split_once("locks/")?.1.split_once('.')?.0)
}

/// The levels below the first process.
const MOST_LEVELS: u32 = 3;

/// The processes of a tree, storms aside.
const MOST: u32 = 9;

/// A tree that grows.
pub(crate) struct Tree<'a> {
    random: &'a mut Random,
    /// The folders of locks that are needed.
    folders: &'a mut Vec<String>,
    label: String,
    puppet: &'a str,
    end: End,
    count: u32,
}

impl<'a> Tree<'a> {
    /// A script for the command that is called `label`.
    pub(crate) fn script(
        random: &'a mut Random,
        folders: &'a mut Vec<String>,
        label: String,
        puppet: &'a str,
        end: End,
    ) -> String {
        Tree { random, folders, label, puppet, end, count: 0 }.first()
    }

    fn first(&mut self) -> String {
        let mut words = Vec::new();
        // A command that is to be kept hears nothing of its client's end, nor of a terminal's.
        if self.end != End::WhenTold {
            words.extend(self.manners());
        }
        words.push(self.lock());
        for _ in 0..self.random.below(4) {
            words.push(self.branch(1));
        }
        if self.end != End::WhenTold && self.random.chance(6) {
            let kind = self.random.pick(&["storm", "storm-setsid"]);
            words.push(format!("{kind} {} {}", 20 + self.random.below(300), self.random.below(5)));
        }
        words.push(match self.end {
            End::Never => self.last_words(),
            End::Exits { code, bytes } => {
                let pause = self.random.pick(&["", "sleep 0.005", "sleep 0.05", "sleep 0.2"]);
                format!("spew {bytes} {pause} exit {code}")
            }
            End::WhenTold => "await end exit 0".to_owned(),
        });
        words.join(" ")
    }

    /// What a process takes from signals, and from orphans below it.
    fn manners(&mut self) -> Vec<String> {
        let all = ["ignore TERM", "ignore HUP ignore INT", "block TERM", "block CONT", "subreaper"];
        let chosen = all.iter().filter(|_| self.random.chance(15));
        chosen.map(|&words| words.to_owned()).collect()
    }

    fn lock(&mut self) -> String {
        let folder = format!("locks/{}.{}", self.label, self.count);
        self.count += 1;
        let words = format!("lock-in {folder}");
        self.folders.push(folder);
        words
    }

    /// A process below another one, with what is below it.
    fn branch(&mut self, level: u32) -> String {
        let how = self.random.pick(&["fork", "daemon"]);
        let away = self.random.pick(&["", "", "setsid", "setsid", "group"]);
        let mut words = vec![how.to_owned(), "[".to_owned(), away.to_owned()];
        if self.end != End::WhenTold {
            words.extend(self.manners());
        }
        words.push(self.lock());
        while level < MOST_LEVELS && self.count < MOST && self.random.chance(40) {
            words.push(self.branch(level + 1));
        }
        words.push(match self.end {
            End::WhenTold => "await end".to_owned(),
            End::Never | End::Exits { .. } => self.last_words(),
        });
        words.push("]".to_owned());
        words.join(" ")
    }

    /// What a process does that nobody waits for.
    fn last_words(&mut self) -> String {
        let (forever, puppet) = ("sleep forever", self.puppet);
        match self.random.below(10) {
            0 => format!("stop {forever}"),
            // To standard output only where nothing else is expected there.
            1 if self.end == End::Never => {
                format!("spew {} {forever}", self.random.pick(&[10, 10_000, 300_000]))
            }
            2 => format!("exec {puppet} {} {forever}", self.lock()),
            3 => "sleep 0.02".to_owned(),
            4 => format!("close 1 close 2 {forever}"),
            5 => format!("sleep 0.1 fork [ setsid {} {forever} ] {forever}", self.lock()),
            _ => forever.to_owned(),
        }
    }
}
