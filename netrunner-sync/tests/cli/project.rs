//! A C project to be built: some hundred generated files, the program that they make, and a compiler that
//! counts how many of it are at work at a time.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::Folder;

/// A folder with sources in parts, a makefile in each, and the counting compiler.
pub(crate) struct Project {
    pub(crate) folder: Folder,
    parts: usize,
    /// In each part.
    files: usize,
}

/// Each at work holds a lock for as long as anything of it lives, so that one that is killed does not
/// count for longer than that. Whoever begins counts the locks, one at a time.
const COUNTING: &str = "#!/bin/sh
exec 8> DIR/counting; flock 8
exec 9> DIR/at-work/$$; flock -s 9
now=0
for lock in DIR/at-work/*; do
  if flock -n \"$lock\" true; then rm -f \"$lock\"; else now=$((now + 1)); fi
done
echo $now >> DIR/counts
exec 8>&-
exec \"$@\"
";

impl Project {
    /// So many parts of so many files each.
    pub(crate) fn new(parts: usize, files: usize) -> Project {
        let folder = Folder::new();
        std::fs::create_dir(folder.path("at-work")).unwrap();
        let script = COUNTING.replace("DIR", &folder.path(""));
        let counting = folder.write("counting-cc", &script);
        assert!(Command::new("chmod").args(["+x", &counting]).status().unwrap().success());
        let mut main = String::from("#include <stdio.h>\n");
        let mut sum = String::new();
        for part in 0..parts {
            std::fs::create_dir(folder.path(&format!("part-{part}"))).unwrap();
            let mut objects = String::new();
            for file in 0..files {
                folder.write(&format!("part-{part}/unit-{file}.c"), &source(part, file));
                let _ = write!(objects, " unit-{file}.o");
                let _ = writeln!(main, "long unit_{part}_{file}(long);");
                let _ = write!(sum, " + unit_{part}_{file}(1)");
            }
            let rule = format!(
                "CC = cc\nall:{objects}\n%.o: %.c\n\t@{counting} $(CC) -c -o $@ $<\nclean:\n\t@rm -f *.o\n"
            );
            folder.write(&format!("part-{part}/makefile"), &rule);
        }
        let _ = writeln!(main, "int main(void) {{ printf(\"%ld\\n\", 0L{sum}); }}");
        folder.write("main.c", &main);
        Project { folder, parts, files }
    }

    /// The compiler that counts.
    pub(crate) fn counting(&self) -> String {
        self.folder.path("counting-cc")
    }

    /// A shell command for each file.
    pub(crate) fn compilations(&self) -> Vec<String> {
        let one = |part: usize, file: usize| {
            let unit = self.folder.path(&format!("part-{part}/unit-{file}"));
            format!("cc -c -o {unit}.o {unit}.c")
        };
        (0..self.parts).flat_map(|part| (0..self.files).map(move |file| one(part, file))).collect()
    }

    /// A shell command that makes a part.
    pub(crate) fn make(&self, part: usize) -> String {
        format!("make -s --no-print-directory -C {}", self.folder.path(&format!("part-{part}")))
    }

    /// How many objects there are.
    pub(crate) fn built(&self) -> usize {
        (0..self.parts).map(|part| self.built_in(part)).sum()
    }

    /// And in one part.
    pub(crate) fn built_in(&self, part: usize) -> usize {
        let entries = std::fs::read_dir(self.folder.path(&format!("part-{part}"))).unwrap();
        let is_object = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".o");
        entries.filter(|entry| is_object(&entry.as_ref().unwrap().file_name())).count()
    }

    /// As after a fresh checkout.
    pub(crate) fn clean(&self) {
        for part in 0..self.parts {
            let make =
                Command::new("sh").args(["-c", &format!("{} clean", self.make(part))]).status();
            assert!(make.unwrap().success());
        }
        assert_eq!(self.built(), 0);
    }

    /// Links what was built and runs it: every object is there and whole.
    #[track_caller]
    pub(crate) fn links_and_runs(&self) {
        assert_eq!(self.built(), self.parts * self.files);
        let script = "cc -o program main.c part-*/*.o && ./program";
        let mut link = Command::new("sh");
        let output = link.args(["-c", script]).current_dir(self.folder.path("")).output().unwrap();
        let sum: usize = (0..self.parts)
            .flat_map(|part| (0..self.files).map(move |file| expected(part, file)))
            .sum();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{sum}\n"), "{output:?}");
    }

    /// How many compilers were at work at the same time at most, since the last time, and how many
    /// began.
    pub(crate) fn most(&self) -> (usize, usize) {
        let counts = self.folder.read("counts");
        self.folder.write("counts", "");
        let counts = counts.lines().map(|line| line.parse().unwrap());
        counts.fold((0, 0), |(most, all), count: usize| (most.max(count), all + 1))
    }
}

/// A file that takes a compiler some tens of milliseconds.
fn source(part: usize, file: usize) -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for at in 0..4 {
        let _ = writeln!(
            text,
            "static long step_{at}(long value) {{\n  char text[32];\n  \
             snprintf(text, sizeof text, \"%ld\", value + {at});\n  return atol(text);\n}}"
        );
    }
    let _ = writeln!(
        text,
        "long unit_{part}_{file}(long value) {{\n  \
         return step_0(step_1(step_2(step_3(value)))) + {part} * 1000 + {file};\n}}"
    );
    text
}

/// What `unit_PART_FILE(1)` returns.
fn expected(part: usize, file: usize) -> usize {
    1 + 1 + 2 + 3 + part * 1000 + file
}
