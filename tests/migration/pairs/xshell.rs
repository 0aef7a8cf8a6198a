//! From xshell.

use super::{Folder, Result};

#[test]
fn a_step_of_a_script() {
    fn before(dir: &str) -> Result<String> {
        use xshell::{Shell, cmd};

        let sh = Shell::new()?;
        sh.change_dir(dir);
        let name = "a file";
        cmd!(sh, "touch {name}").run()?;
        let listing = cmd!(sh, "ls").read()?;
        Ok(listing)
    }
    fn after(dir: &str) -> Result<String> {
        use netrunner_sync::Command;

        let name = "a file";
        Command::new("touch").arg(name).current_dir(dir).run()?;
        let listing = Command::new("ls").current_dir(dir).run()?.stdout;
        Ok(String::from_utf8(listing)?.trim_end().to_owned())
    }
    let dir = Folder::new();
    assert_eq!(before(dir.0.to_str().unwrap()).unwrap(), "a file");
    let dir = Folder::new();
    assert_eq!(after(dir.0.to_str().unwrap()).unwrap(), "a file");
}
