//! From tokio's processes with `kill_on_drop`.

use super::{Result, left_by};

#[test]
fn kill_on_drop_and_a_time_limit() {
    fn before(script: &str) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            use std::time::Duration;
            use tokio::process::Command;

            let mut command = Command::new("sh");
            let mut child = command.arg("-c").arg(script).kill_on_drop(true).spawn()?;
            // On a timeout the drop kills the shell alone, as long as this program lives.
            tokio::time::timeout(Duration::from_secs(1), child.wait()).await??;
            Ok(())
        })
    }
    fn after(script: &str) -> Result<()> {
        use netrunner_sync::Command;
        use std::time::Duration;

        let mut command = Command::new("sh");
        command.arg("-c").arg(script).timeout(Duration::from_secs(1));
        command.run()?; // no runtime; all of it ends, also if this program is killed meanwhile
        Ok(())
    }
    assert!(left_by(|script| before(script).unwrap_err()).lives());
    assert!(!left_by(|script| after(script).unwrap_err()).lives());
}
