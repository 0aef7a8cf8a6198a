//! Running one command of a task: says what it runs, and fails with its name. Knows nothing of the tasks.

pub(crate) use netrunner_sync::Command;
use netrunner_sync::Stdio;
use std::error::Error;
use std::path::Path;

/// What a task ends with; the message is for people.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// So many characters of a command are shown.
const MAX_SHOWN: usize = 300;

/// The cargo that runs this xtask, working in `dir`.
pub(crate) fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir);
    cargo
}

/// The cargo of another toolchain, also below one of ours.
pub(crate) fn cargo_of(toolchain: &str, dir: &Path) -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", toolchain, "cargo"]).current_dir(dir);
    cargo
}

/// Whether there is such a tool: the command asks it for its version.
pub(crate) fn answers(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs the command on our own streams; anything but exit code 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("xtask: {}", shown(command));
    quietly(command)
}

/// The same without a word, as long as all goes well.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed: {status}", shown(command)).into())
}

/// Like [`run`], but gives back what the command wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    eprintln!("xtask: {}", shown(command));
    let output = command.stderr(Stdio::inherit()).run()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The command as a person would have typed it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line =
        program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    if let Some((end, _)) = line.char_indices().nth(MAX_SHOWN) {
        line.replace_range(end.., "…");
    }
    line
}
