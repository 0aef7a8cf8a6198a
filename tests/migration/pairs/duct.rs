//! From duct.

use super::Result;

#[test]
fn a_pipeline() {
    fn before() -> Result<String> {
        use duct::cmd;

        let sorted = cmd!("printf", "pear\napple\n").pipe(cmd!("sort")).read()?;
        Ok(sorted)
    }
    fn after() -> Result<String> {
        use netrunner_sync::{Command, Pipeline};

        let mut printf = Command::new("printf");
        printf.arg("pear\napple\n");
        let sorted = Pipeline::new(printf).pipe(Command::new("sort")).run()?.stdout().to_vec();
        Ok(String::from_utf8(sorted)?) // with its last line ending, which `read` takes off
    }
    assert_eq!(before().unwrap() + "\n", after().unwrap());
}

#[test]
fn input_and_both_outputs_in_one() {
    fn before() -> Result<Vec<u8>> {
        use duct::cmd;

        let command = cmd!("sh", "-c", "cat; echo err >&2").stdin_bytes("in\n");
        let output = command.stderr_to_stdout().stdout_capture().run()?;
        Ok(output.stdout)
    }
    fn after() -> Result<Vec<u8>> {
        use netrunner_sync::Command;

        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo err >&2"]).input("in\n");
        let output = command.stderr_to_stdout().run()?;
        Ok(output.stdout)
    }
    assert_eq!(before().unwrap(), after().unwrap());
}

#[test]
fn a_failure_that_is_none() {
    fn before() -> Result<Option<i32>> {
        use duct::cmd;

        let status = cmd!("sh", "-c", "exit 3").unchecked().run()?.status;
        Ok(status.code())
    }
    fn after() -> Result<Option<i32>> {
        use netrunner_sync::Command;

        let status = Command::new("sh").args(["-c", "exit 3"]).status()?; // only `run` judges
        Ok(status.code())
    }
    assert_eq!(before().unwrap(), Some(3));
    assert_eq!(after().unwrap(), Some(3));
}
