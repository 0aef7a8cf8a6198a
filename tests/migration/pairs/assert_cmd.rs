//! From assert_cmd.

#[test]
fn a_test_of_a_command() {
    fn before() {
        use assert_cmd::Command;
        use std::time::Duration;

        let mut command = Command::new("sort");
        command.write_stdin("pear\napple\n").timeout(Duration::from_secs(10));
        command.assert().success().stdout("apple\npear\n");
    }
    fn after() {
        use netrunner_sync::{Command, testing};
        use std::time::Duration;

        let mut command = Command::new("sort");
        command.input("pear\napple\n").timeout(Duration::from_secs(10));
        let output = command.output().unwrap();
        testing::assert_success(&output);
        testing::assert_stdout(&output, "apple\npear\n"); // shows the lines that differ
        testing::assert_no_leftovers(&output); // nothing was left running
    }
    before();
    after();
}
