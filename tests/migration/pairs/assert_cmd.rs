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
        use netrunner_sync::Command;
        use std::time::Duration;

        let mut command = Command::new("sort");
        command.input("pear\napple\n").timeout(Duration::from_secs(10));
        let output = command.run().unwrap(); // the panic has status, outputs and report
        assert_eq!(output.stdout, b"apple\npear\n");
        assert!(output.report.leftovers.is_empty()); // and nothing was left running
    }
    before();
    after();
}
