//! What the contenders run: a tiny static program, compiled here from a few lines, and what the
//! system has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Without a library, so that the time of its own start is next to nothing. Without arguments it
/// writes one line and ends; with one that begins with a digit it ends with that exit code; with any
/// other it stays, but not for ever.
const TINY: &str = r#"
static long call(long n, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
__attribute__((used)) void begin(long *stack) {
    char **argv = (char **)(stack + 1);
    if (stack[0] < 2) {
        call(1, 1, (long)"tiny\n", 5);
        call(231, 0, 0, 0);
    }
    if (argv[1][0] >= '0' && argv[1][0] <= '9') call(231, argv[1][0] - '0', 0, 0);
    call(37, 300, 0, 0);
    for (;;) call(34, 0, 0, 0);
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
"#;

/// What is compiled in the scenario with a compiler.
const SMALL: &str = "#include <stdio.h>\nint main(void) { puts(\"small\"); return 0; }\n";

/// Where the programs are, once they are made.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// Our folder.
    pub(crate) dir: PathBuf,
    pub(crate) tiny: PathBuf,
}

impl Programs {
    /// Makes them in `dir`.
    pub(crate) fn make(dir: &Path) -> Result<Programs> {
        fs::create_dir_all(dir)?;
        let programs = Programs::at(dir)?;
        fs::write(programs.small_c(), SMALL)?;
        let source = dir.join("tiny.c");
        fs::write(&source, TINY)?;
        let mut cc = Command::new(find("cc")?);
        cc.args(["-Os", "-static", "-nostdlib", "-fno-stack-protector", "-fcf-protection=none"]);
        cc.args(["-fno-pie", "-no-pie", "-Wl,--build-id=none", "-o"])
            .arg(&programs.tiny)
            .arg(&source);
        let output = cc.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("failed to compile `{}`: {said}", source.display()).into());
        }
        Ok(programs)
    }

    /// Finds them in `dir`, where they were made.
    pub(crate) fn at(dir: &Path) -> Result<Programs> {
        let dir = dir.canonicalize()?;
        Ok(Programs { tiny: dir.join("tiny"), dir })
    }

    /// The command `netrunner`, which is built beside this program.
    pub(crate) fn netrunner(&self) -> Result<PathBuf> {
        let netrunner = std::env::current_exe()?.with_file_name("netrunner");
        if netrunner.is_file() { Ok(netrunner) } else { Err("`netrunner` is not built".into()) }
    }

    pub(crate) fn small_c(&self) -> PathBuf {
        self.dir.join("small.c")
    }
}

/// The place of a program of the system.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("`{name}` is not installed").into())
}
