//! From `std::process`.

use super::{Folder, Left, Result, left_by, until};

#[test]
fn output_of_a_command_that_must_succeed() {
    fn before() -> Result<Vec<u8>> {
        use std::process::Command;

        let output = Command::new("sort").arg("--version").output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("sort failed: {}: {stderr}", output.status).into());
        }
        Ok(output.stdout)
    }
    fn after() -> Result<Vec<u8>> {
        use netrunner_sync::Command;

        let output = Command::new("sort").arg("--version").run()?;
        Ok(output.stdout)
    }
    assert_eq!(before().unwrap(), after().unwrap());
}

#[test]
fn input_and_output() {
    fn before(text: String) -> Result<Vec<u8>> {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let mut child =
            Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        // Without this thread both may wait for the other, once the pipes are full.
        let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output()?;
        feeder.join().map_err(|_| "the feeder panicked")??;
        Ok(output.stdout)
    }
    fn after(text: String) -> Result<Vec<u8>> {
        use netrunner_sync::Command;

        let output = Command::new("sort").input(text).run()?;
        Ok(output.stdout)
    }
    let long = "b\na\n".repeat(100_000);
    assert_eq!(before(long.clone()).unwrap(), after(long).unwrap());
}

#[test]
fn a_time_limit() {
    fn before(script: &str) -> Result<()> {
        use std::process::Command;
        use std::time::{Duration, Instant};

        let mut child = Command::new("sh").arg("-c").arg(script).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(1);
        while child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                child.kill()?; // the shell alone: what it has started lives on
                child.wait()?;
                return Err("too slow".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
    fn after(script: &str) -> Result<()> {
        use netrunner_sync::Command;
        use std::time::Duration;

        let mut command = Command::new("sh");
        command.arg("-c").arg(script).timeout(Duration::from_secs(1));
        command.run()?; // on a timeout all of it is gone, and is_timeout() says so
        Ok(())
    }
    assert!(left_by(|script| before(script).unwrap_err()).lives());
    let ends = |script: &str| {
        let error = after(script).unwrap_err();
        assert!(error.downcast::<netrunner_sync::Error>().unwrap().is_timeout());
    };
    assert!(!left_by(ends).lives());
}

#[test]
fn lines_as_they_come() {
    fn before() -> Result<Vec<String>> {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        let mut child = Command::new("seq").arg("3").stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let lines = BufReader::new(stdout).lines().collect::<Result<Vec<_>, _>>()?;
        if !child.wait()?.success() {
            return Err("seq failed".into());
        }
        Ok(lines)
    }
    fn after() -> Result<Vec<String>> {
        use netrunner_sync::Command;

        let lines = Command::new("seq").arg("3").lines()?.collect::<Result<Vec<_>, _>>()?;
        Ok(lines)
    }
    assert_eq!(before().unwrap(), after().unwrap());
}

#[test]
fn many_at_a_time() {
    fn before(words: Vec<String>) -> Result<Vec<Vec<u8>>> {
        use std::process::Command;

        // All at once, or a pool of threads; a failure leaves the others running.
        let threads: Vec<_> = words
            .into_iter()
            .map(|word| std::thread::spawn(|| Command::new("echo").arg(word).output()))
            .collect();
        let mut outputs = Vec::new();
        for thread in threads {
            outputs.push(thread.join().map_err(|_| "a panic")??.stdout);
        }
        Ok(outputs)
    }
    fn after(words: Vec<String>) -> Result<Vec<Vec<u8>>> {
        use netrunner_sync::{Command, Jobs};

        let mut jobs = Jobs::new(8); // on this thread
        jobs.fail_fast(true).in_order(true);
        for word in words {
            let mut echo = Command::new("echo");
            echo.arg(word);
            jobs.push(echo);
        }
        let outputs = jobs.map(|job| Ok(job.result?.stdout)).collect::<Result<Vec<_>>>()?;
        Ok(outputs)
    }
    let words = || ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(before(words()).unwrap(), after(words()).unwrap());
}

#[test]
fn a_process_that_lives_on() {
    fn before(script: &str) -> Result<u32> {
        use std::process::Command;

        let child = Command::new("sh").arg("-c").arg(script).spawn()?;
        let pid = child.id(); // dropping the handle lets it run, and leaves a zombie at its end
        Ok(pid)
    }
    fn after(script: &str) -> Result<u32> {
        use netrunner_sync::Command;

        let child = Command::new("sh").arg("-c").arg(script).spawn()?;
        let pid = child.detach(); // dropping the handle would stop it; this lets it run, and reaps it
        Ok(pid)
    }
    let lives_on = |start: fn(&str) -> Result<u32>| {
        let dir = Folder::new();
        let go = dir.0.join("go");
        let script = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
        let pid = start(&script).unwrap();
        let process = Left(pid.to_string());
        assert!(process.lives());
        std::fs::write(go, "").unwrap();
        until("it ends by itself", || !process.lives());
        std::path::PathBuf::from(format!("/proc/{pid}"))
    };
    assert!(lives_on(before).exists());
    let reaped = lives_on(after);
    until("it is reaped", || !reaped.exists());
}
