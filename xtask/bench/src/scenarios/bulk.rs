//! Much output: 16 MiB captured, and 4 GiB read as it comes.

use std::fs;
use std::io::Read;
use std::time::Instant;

use crate::Result;
use crate::measured::{Measured, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, named};
use crate::ways::Way;

const WAYS: [Way; 2] = [Way::Std, Way::NetRunner];

/// The file that `cat` is given, once or again and again: it stays in the page cache.
const FILE: usize = 16 << 20;
const TIMES: usize = 256;

/// The reads of those who read by themselves.
const BUFFER: usize = 64 * 1024;

/// No two pages of the file are alike, and no period of it is that of a buffer.
fn content() -> Vec<u8> {
    (0u32..(FILE / 4) as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

pub(super) fn captured(context: &Context) -> Result<Measured> {
    let content = content();
    let file = context.programs.dir.join("bulk");
    fs::write(&file, &content)?;
    let rounds = alternate(&Plan::of(context.extent, 200), WAYS.len(), 1, |contender| {
        let began = Instant::now();
        let (status, stdout) = if WAYS[contender] == Way::NetRunner {
            let output = netrunner_sync::Command::new("cat").arg(&file).output()?;
            (output.status, output.stdout)
        } else {
            let output = std::process::Command::new("cat").arg(&file).output()?;
            (output.status, output.stdout)
        };
        let took = began.elapsed();
        if !status.success() || stdout != content {
            return Err(format!("{status}, {} bytes, wrong ones", stdout.len()).into());
        }
        Ok(vec![FILE as f64 / took.as_secs_f64()])
    })?;
    fs::remove_file(&file)?;
    Ok(named(rounds, &[("bulk-16m".to_owned(), Unit::BytesPerSecond)], &WAYS.map(Way::name)))
}

pub(super) fn streamed(context: &Context) -> Result<Measured> {
    let content = content();
    let file = context.programs.dir.join("bulk");
    fs::write(&file, &content)?;
    let files = vec![&file; TIMES];
    let rounds = alternate(&Plan::of(context.extent, 20), WAYS.len(), 1, |contender| {
        let began = Instant::now();
        let status = if WAYS[contender] == Way::NetRunner {
            use netrunner_sync::{Command, Stdio};
            let mut child = Command::new("cat").args(&files).stdout(Stdio::piped()).spawn()?;
            compare(child.stdout.take().ok_or("no pipe")?, &content, TIMES)?;
            child.wait()?
        } else {
            use std::process::{Command, Stdio};
            let mut child = Command::new("cat").args(&files).stdout(Stdio::piped()).spawn()?;
            compare(child.stdout.take().ok_or("no pipe")?, &content, TIMES)?;
            child.wait()?
        };
        let took = began.elapsed();
        if !status.success() {
            return Err(format!("cat: {status}").into());
        }
        Ok(vec![(FILE * TIMES) as f64 / took.as_secs_f64()])
    })?;
    fs::remove_file(&file)?;
    Ok(named(rounds, &[("bulk-4g".to_owned(), Unit::BytesPerSecond)], &WAYS.map(Way::name)))
}

/// Reads to the end what is `content` so many times. The number of bytes must be right, and of each read
/// the first and the last one: to compare all would measure the comparison.
pub(super) fn compare(mut stream: impl Read, content: &[u8], times: usize) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        let Some(last) = count.checked_sub(1) else { break };
        let right = |at: usize| buffer[at] == content[(total + at) % content.len()];
        if !right(0) || !right(last) {
            return Err(format!("wrong bytes after {total}").into());
        }
        total += count;
    }
    let expected = content.len() * times;
    if total == expected {
        return Ok(());
    }
    Err(format!("{total} bytes instead of {expected}").into())
}
