//! From subprocess.

use super::{Result, left_by};

#[test]
fn input_and_output() {
    fn before() -> Result<String> {
        use subprocess::Exec;

        let sorted = Exec::cmd("sort").stdin("pear\napple\n").checked().capture()?.stdout_str();
        Ok(sorted)
    }
    fn after() -> Result<String> {
        use netrunner_sync::Command;

        let sorted = Command::new("sort").input("pear\napple\n").run()?.stdout;
        Ok(String::from_utf8(sorted)?)
    }
    assert_eq!(before().unwrap(), after().unwrap());
}

#[test]
fn a_time_limit() {
    fn before(script: &str) -> Result<()> {
        use std::time::Duration;
        use subprocess::Exec;

        let job = Exec::cmd("sh").arg("-c").arg(script).start()?;
        if job.wait_timeout(Duration::from_secs(1))?.is_none() {
            job.kill()?; // the shell alone
            return Err("too slow".into());
        }
        Ok(())
    }
    fn after(script: &str) -> Result<()> {
        use netrunner_sync::Command;
        use std::time::Duration;

        let mut child = Command::new("sh").arg("-c").arg(script).spawn()?;
        if child.wait_timeout(Duration::from_secs(1))?.is_none() {
            child.kill()?; // the shell and all that it has started
            child.wait()?;
            return Err("too slow".into());
        }
        Ok(())
    }
    assert!(left_by(|script| before(script).unwrap_err()).lives());
    assert!(!left_by(|script| after(script).unwrap_err()).lives());
}
