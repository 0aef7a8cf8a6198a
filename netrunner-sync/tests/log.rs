//! The feature `log`: which records a command makes, and what is never in one. Each test knows its records by
//! the name of its program, a link to a shell, as there is one logger for all.

use std::path::PathBuf;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use netrunner_sync::{Command, Jobs, Pipeline, Stdio};

/// Level and text of all records.
static RECORDS: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "netrunner_sync");
        let text = record.args().to_string();
        let panics = text.contains("logger-panics");
        RECORDS.lock().unwrap().push((record.level(), text));
        assert!(!panics, "a logger that panics");
    }

    fn flush(&self) {}
}

/// A program of this name that is a shell, in a folder of its own.
struct Program {
    dir: PathBuf,
    path: PathBuf,
}

impl Program {
    fn new(name: &str) -> Program {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&Logger).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
        });
        let dir = std::env::temp_dir().join(format!("netrunner-log-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join(name);
        std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
        Program { dir, path }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["-c", script]);
        command
    }

    /// Its records, once there are so many; later ones would be one too many.
    #[track_caller]
    fn records(&self, count: usize) -> Vec<String> {
        let name = self.path.display().to_string();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let all = RECORDS.lock().unwrap().clone();
            let own: Vec<String> =
                all.into_iter().map(|(_, text)| text).filter(|text| text.contains(&name)).collect();
            if own.len() >= count || Instant::now() > deadline {
                assert_eq!(own.len(), count, "{own:#?}");
                return own;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What is left in the folder for temporary files hurts nobody.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_command_has_a_record_at_its_start_and_one_at_its_end() {
    let program = Program::new("start-and-end");
    let name = program.path.display().to_string();
    let pid = {
        let mut child = program.command("read line; exit 3");
        let mut child = child.stdin(netrunner_sync::Stdio::piped()).spawn().unwrap();
        assert_eq!(program.records(1), [format!("`{name}` is started")]);
        child.wait().unwrap();
        child.id()
    };
    let records = program.records(2);
    assert!(records[1].starts_with(&format!("`{name}` (pid {pid}): Exited, exit status: 3, ")));
    assert!(records[1].ends_with(" s, 0 left over"), "{records:?}");
}

#[test]
fn every_way_to_run_a_command_makes_two() {
    let program = Program::new("every-way");
    let mut count = 0;
    let mut made = || {
        count += 2;
        program.records(count).pop().unwrap()
    };
    program.command("exit 0").status().unwrap();
    assert!(made().contains("exit status: 0"));
    program.command("exit 0").output().unwrap();
    assert!(made().contains("exit status: 0"));
    program.command("sleep 600").timeout(Duration::from_millis(1)).output().unwrap();
    assert!(made().contains(": Timeout, "));
    program.command("echo a").lines().unwrap().for_each(drop);
    assert!(made().contains("exit status: 0"));
    // Its end is heard of by the watcher alone.
    drop(program.command("sleep 600").spawn().unwrap());
    assert!(made().contains(": Stopped, "));
    let mut jobs = Jobs::new(2);
    jobs.push(program.command("exit 4"));
    assert_eq!(jobs.count(), 1);
    assert!(made().contains("exit status: 4"));
    let line = Pipeline::new(program.command("echo a")).pipe(Command::new("cat"));
    line.run().unwrap();
    assert!(made().contains("exit status: 0"));
    program.command("sleep 600 & exit 0").output().unwrap();
    assert!(made().ends_with(" 1 left over"));
}

#[test]
fn what_cannot_be_started_says_why() {
    let program = Program::new("not-started");
    let missing = program.dir.join("missing");
    for failed in [
        Command::new(&missing).spawn().map(drop).unwrap_err(),
        Command::new(&missing).output().map(drop).unwrap_err(),
    ] {
        assert!(failed.is_not_found());
    }
    let all = RECORDS.lock().unwrap().clone();
    let name = missing.display().to_string();
    let own: Vec<_> = all.into_iter().filter(|(_, text)| text.contains(&name)).collect();
    let starts = own.iter().filter(|(_, text)| text.ends_with(" is started")).count();
    let fails = own.iter().filter(|(_, text)| text.contains(" was not started: ")).count();
    assert_eq!((own.len(), starts, fails), (4, 2, 2), "{own:#?}");
}

#[test]
fn a_lost_shepherd_is_a_warning() {
    let program = Program::new("lost");
    // It waits for the end of its input, so that its start has been reported when its shepherd is killed.
    let mut command = program.command("read end; kill -KILL $PPID; sleep 600");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap_err().is_shepherd_lost());
    let text = program.records(2).pop().unwrap();
    assert!(RECORDS.lock().unwrap().contains(&(log::Level::Warn, text)));
}

#[test]
fn a_secret_is_in_no_record() {
    let program = Program::new("secrets");
    let secret = "correct-horse";
    let with_secrets = |script: &str| {
        let mut command = program.command(script);
        command.arg(secret).env("TOKEN", secret).env(secret, "1").input(secret);
        command
    };
    let script = format!("echo {secret}; echo {secret} >&2");
    with_secrets(&script).output().unwrap();
    with_secrets(&format!("{script}; exit 1")).run().unwrap_err();
    with_secrets(&format!("{script}; kill -KILL $$")).run().unwrap_err();
    with_secrets(&script).timeout(Duration::from_millis(1)).run().map(drop).unwrap_or_default();
    with_secrets(&format!("kill -KILL $PPID; {script}; sleep 600")).run().unwrap_err();
    with_secrets(&script).current_dir("/no/such/directory").run().unwrap_err();
    program.records(12);
    let all = RECORDS.lock().unwrap().clone();
    assert!(all.iter().all(|(_, text)| !text.contains(secret)), "{all:#?}");
}

#[test]
fn a_logger_that_panics_keeps_no_command_from_its_end() {
    let program = Program::new("logger-panics");
    assert!(program.command("exit 0").status().unwrap().success());
    // In the watcher as well, which then still looks after others.
    for _ in 0..2 {
        drop(program.command("sleep 600").spawn().unwrap());
    }
    program.records(6);
}
