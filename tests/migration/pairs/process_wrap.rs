//! From process-wrap.

use super::{Result, left_by};

#[test]
fn a_group_that_is_killed() {
    fn before(script: &str) -> Result<()> {
        use process_wrap::std::{ProcessGroup, StdCommandWrap};
        use std::time::Duration;

        let mut command = StdCommandWrap::with_new("sh", |sh| {
            sh.arg("-c").arg(script);
        });
        let mut child = command.wrap(ProcessGroup::leader()).spawn()?;
        std::thread::sleep(Duration::from_secs(1)); // in place of its user's own reason
        child.kill()?; // the group: what has left it by setsid(2) lives on
        Ok(())
    }
    fn after(script: &str) -> Result<()> {
        use netrunner_sync::Command;
        use std::time::Duration;

        let mut child = Command::new("sh").arg("-c").arg(script).spawn()?;
        std::thread::sleep(Duration::from_secs(1)); // in place of its user's own reason
        child.kill()?; // the group and every descendant
        child.wait()?;
        Ok(())
    }
    assert!(left_by(|script| before(script).unwrap()).lives());
    assert!(!left_by(|script| after(script).unwrap()).lives());
}
