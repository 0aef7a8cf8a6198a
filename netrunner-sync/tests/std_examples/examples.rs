//! The call patterns of std's documentation, item by item, in the order of its pages; what they
//! print or find is ours, and checked.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::{env, thread};

use super::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

/// A file of this test alone; its name says which of the two texts made it.
fn scratch(name: &str) -> std::path::PathBuf {
    let which = module_path!().replace("::", "-");
    env::temp_dir().join(format!("netrunner-{which}-{name}-{}", std::process::id()))
}

// The module's page.

#[test]
fn module_spawns_and_captures() {
    let output = Command::new("echo").arg("a module").output().expect("run echo");
    assert_eq!(b"a module\n", output.stdout.as_slice());
}

#[test]
fn module_reads_a_piped_output() {
    let child =
        Command::new("echo").arg("late").stdout(Stdio::piped()).spawn().expect("start echo");
    let output = child.wait_with_output().expect("wait for echo");
    assert!(output.status.success());
    assert_eq!(b"late\n", output.stdout.as_slice());
}

#[test]
fn module_feeds_from_a_thread() {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start cat");
    let mut stdin = child.stdin.take().expect("a pipe");
    thread::spawn(move || {
        stdin.write_all("fed from a thread".as_bytes()).expect("write");
    });
    let output = child.wait_with_output().expect("read");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fed from a thread");
}

// `Command`.

#[test]
fn command_runs_a_shell() {
    let output = if cfg!(target_os = "windows") {
        Command::new("cmd").args(["/C", "echo hello"]).output().expect("run cmd")
    } else {
        Command::new("sh").arg("-c").arg("echo hello").output().expect("run sh")
    };
    let hello = output.stdout;
    assert_eq!(hello, b"hello\n");
}

#[test]
fn command_is_run_again() {
    let mut echo = Command::new("sh");
    echo.arg("-c").arg("echo hello");
    let first = echo.output().expect("run it");
    let second = echo.output().expect("run it again");
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn command_is_changed_between_runs() {
    let mut list = Command::new("ls");
    list.stdout(Stdio::null());
    list.status().expect("run ls");
    list.current_dir("/");
    list.status().expect("run ls elsewhere");
}

#[test]
fn command_new() {
    let mut child = Command::new("true").spawn().expect("start it");
    assert!(child.wait().expect("wait").success());
}

#[test]
fn command_arg_and_args() {
    let one = Command::new("echo").arg("-n").arg("a b").arg("c").output().expect("run it");
    let all = Command::new("echo").args(["-n", "a b", "c"]).output().expect("run it");
    assert_eq!(one.stdout, b"a b c");
    assert_eq!(one.stdout, all.stdout);
    let owned = vec![String::from("-n"), String::from("x")];
    assert_eq!(Command::new("echo").args(&owned).output().expect("run it").stdout, b"x");
}

#[test]
fn command_env() {
    let mut child = Command::new("true").env("PATH", "/bin:/usr/bin").spawn().expect("start it");
    assert!(child.wait().expect("wait").success());
}

#[test]
fn command_envs_of_a_filtered_map() {
    let filtered: HashMap<String, String> =
        env::vars().filter(|(key, _)| key == "TERM" || key == "TZ" || key == "PATH").collect();
    let output = Command::new("printenv")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .env_clear()
        .envs(&filtered)
        .spawn()
        .expect("start printenv")
        .wait_with_output()
        .expect("wait");
    assert_eq!(output.stdout.split(|&byte| byte == b'\n').count() - 1, filtered.len());
}

#[test]
fn command_env_remove_and_clear() {
    let mut child = Command::new("true").env_remove("PATH").spawn().expect("start it");
    assert!(child.wait().expect("wait").success());
    let output = Command::new("/usr/bin/env").env_clear().output().expect("run it");
    assert_eq!(output.stdout, b"");
}

#[test]
fn command_current_dir() {
    let output = Command::new("pwd").current_dir("/bin").output().expect("run it");
    assert!(output.status.success());
}

#[test]
fn command_streams_to_nowhere() {
    let mut child = Command::new("cat")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start it");
    assert!(child.wait().expect("wait").success());
}

#[test]
fn command_output() {
    let output: Output = Command::new("sh")
        .args(["-c", "echo to stdout; echo to stderr >&2"])
        .output()
        .expect("run it");
    println!("status: {}", output.status);
    io::sink().write_all(&output.stdout).unwrap();
    io::sink().write_all(&output.stderr).unwrap();
    assert!(output.status.success());
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"to stdout\n"[..], &b"to stderr\n"[..])
    );
}

#[test]
fn command_status() {
    let status: ExitStatus = Command::new("cat").arg("/dev/null").status().expect("run it");
    println!("process finished with: {status}");
    assert!(status.success());
}

#[test]
fn command_getters() {
    let cmd = Command::new("echo");
    assert_eq!(cmd.get_program(), "echo");

    let mut cmd = Command::new("echo");
    cmd.arg("first").arg("second");
    let args: Vec<&OsStr> = cmd.get_args().collect();
    assert_eq!(args, &["first", "second"]);
    assert_eq!(cmd.get_args().len(), 2);

    let mut cmd = Command::new("ls");
    cmd.env("TERM", "dumb").env_remove("TZ");
    let envs: Vec<(&OsStr, Option<&OsStr>)> = cmd.get_envs().collect();
    assert_eq!(envs, &[(OsStr::new("TERM"), Some(OsStr::new("dumb"))), (OsStr::new("TZ"), None)]);
    assert_eq!(cmd.get_envs().len(), 2);

    let mut cmd = Command::new("ls");
    assert_eq!(cmd.get_current_dir(), None);
    cmd.current_dir("/bin");
    assert_eq!(cmd.get_current_dir(), Some(Path::new("/bin")));
}

// `Child`.

#[test]
fn child_of_a_failing_command() {
    let mut child = Command::new("/bin/cat")
        .arg("no-such-file.txt")
        .stderr(Stdio::null())
        .spawn()
        .expect("start cat");
    let status = child.wait().expect("wait for cat");
    assert!(!status.success());
}

#[test]
fn child_kill() {
    let mut command = Command::new("yes");
    command.stdout(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        child.kill().expect("kill it");
        assert!(!child.wait().expect("wait").success());
    } else {
        panic!("yes was not started");
    }
}

#[test]
fn child_id() {
    let mut command = Command::new("true");
    if let Ok(mut child) = command.spawn() {
        println!("the child's id is {}", child.id());
        assert_ne!(child.id(), 0);
        child.wait().expect("wait");
    } else {
        panic!("true was not started");
    }
}

#[test]
fn child_wait() {
    let mut command = Command::new("true");
    if let Ok(mut child) = command.spawn() {
        child.wait().expect("it was not running");
    } else {
        panic!("true was not started");
    }
}

#[test]
fn child_try_wait() -> io::Result<()> {
    let mut child: Child = Command::new("true").spawn()?;
    let seen = match child.try_wait() {
        Ok(Some(status)) => status,
        Ok(None) => {
            println!("not yet, so wait");
            child.wait()?
        }
        Err(error) => panic!("error attempting to wait: {error}"),
    };
    assert!(seen.success());
    assert_eq!(child.try_wait()?, Some(seen));
    Ok(())
}

#[test]
fn child_wait_with_output() {
    let child = Command::new("/bin/cat")
        .arg("/dev/null")
        .stdout(Stdio::piped())
        .spawn()
        .expect("start cat");
    let output = child.wait_with_output().expect("wait for cat");
    assert!(output.status.success());
}

#[test]
fn child_stdin_by_value() {
    let mut child =
        Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin: ChildStdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"12345").unwrap();
    // The reader sees the end only now.
    drop(stdin);
    let mut count = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut count).unwrap();
    assert_eq!(count.trim(), "5");
    assert!(child.wait().unwrap().success());
}

// `Stdio`.

#[test]
fn stdio_piped() {
    let output =
        Command::new("echo").arg("through a pipe").stdout(Stdio::piped()).output().expect("run it");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through a pipe\n");
}

#[test]
fn stdio_piped_in() {
    let mut child = Command::new("rev")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start rev");
    let mut stdin = child.stdin.take().expect("a pipe");
    thread::spawn(move || {
        stdin.write_all("desrever".as_bytes()).expect("write");
    });
    let output = child.wait_with_output().expect("read");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "reversed");
}

#[test]
fn stdio_inherit_and_null() {
    let output = Command::new("echo").arg("-n").stdout(Stdio::inherit()).output().expect("run it");
    assert_eq!(output.stdout, b"");
    let output = Command::new("echo").arg("unseen").stdout(Stdio::null()).output().expect("run it");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn stdio_from_a_childs_stdin() {
    let reverse =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start it");
    let _echo = Command::new("echo")
        .arg("into the other")
        .stdout(reverse.stdin.unwrap())
        .output()
        .expect("run echo");
}

#[test]
fn stdio_from_a_childs_stdout() {
    let hello =
        Command::new("echo").arg("olleh").stdout(Stdio::piped()).spawn().expect("start echo");
    let reverse = Command::new("rev").stdin(hello.stdout.unwrap()).output().expect("run rev");
    assert_eq!(reverse.stdout, b"hello\n");
}

#[test]
fn stdio_from_a_childs_stderr() {
    let failing = Command::new("cat")
        .arg("no-such-file.txt")
        .stderr(Stdio::piped())
        .spawn()
        .expect("start it");
    let cat = Command::new("cat").stdin(failing.stderr.unwrap()).output().expect("run cat");
    assert!(String::from_utf8_lossy(&cat.stdout).contains("no-such-file.txt"));
}

#[test]
fn stdio_from_a_file() {
    let path = scratch("file");
    std::fs::write(&path, "in a file\n").unwrap();
    let file = File::open(&path).unwrap();
    let reverse = Command::new("rev").stdin(file).output().expect("run rev");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(reverse.stdout, b"elif a ni\n");
}

#[test]
fn stdio_from_the_programs_own() -> Result<(), Box<dyn std::error::Error>> {
    let output = Command::new("true").stdout(io::stdout()).output()?;
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    let output = Command::new("true").stdout(io::stderr()).stderr(io::stdout()).output()?;
    assert!(output.stderr.is_empty());
    Ok(())
}

#[cfg(has_io_pipe)]
#[allow(clippy::incompatible_msrv)]
#[test]
fn stdio_from_a_pipe() -> io::Result<()> {
    let (mut reader, writer) = io::pipe()?;
    // Both outputs into one pipe, which ends when the command has let go of it.
    let mut command = Command::new("sh");
    command.args(["-c", "echo one; echo two >&2"]).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    assert_eq!(text, "one\ntwo\n");
    assert!(child.wait()?.success());

    let (reader, mut writer) = io::pipe()?;
    writer.write_all(b"buffered")?;
    drop(writer);
    assert_eq!(Command::new("cat").stdin(reader).output()?.stdout, b"buffered");
    Ok(())
}

// `ExitStatus`.

#[test]
fn exit_status_success() {
    let status = Command::new("false").status().expect("run it");
    if status.success() {
        panic!("false is not true");
    } else {
        println!("failed as it should: {status}");
    }
}

#[test]
fn exit_status_code() {
    let status = Command::new("sh").args(["-c", "exit 23"]).status().expect("run it");
    match status.code() {
        Some(code) => assert_eq!(code, 23),
        None => panic!("ended by a signal"),
    }
}

#[test]
fn exit_status_of_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new("sh").args(["-c", "kill -TERM $$"]).status().expect("run it");
    assert_eq!(status.code(), None);
    assert_eq!(status.signal(), Some(15));
    assert_eq!(format!("{status}"), "signal: 15 (SIGTERM)");
}

// What is not there.

#[test]
fn a_missing_program_is_not_found() {
    match Command::new("no-such-program-at-all").spawn() {
        Ok(_) => panic!("it was started"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    }
}
