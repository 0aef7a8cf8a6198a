//! Follows what a command writes, line by line, and stops it when enough was seen.
//!
//! `cargo run --example log_filter -- COUNT TEXT COMMAND…`, for instance
//! `… 3 error tail -F /var/log/syslog`, prints the first COUNT lines with TEXT in them. The command is read
//! only as fast as this program takes its lines, so memory stays small whatever it writes.

use std::error::Error;

use netrunner_sync::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(count), Some(text), Some(program)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: log_filter COUNT TEXT COMMAND…".into());
    };
    let count: usize = count.parse()?;

    let mut seen = 0;
    for line in Command::new(program).args(args).stderr_to_stdout().lines()? {
        let line = line?; // the last item is an error if the command failed
        if line.contains(&text) {
            println!("{line}");
            seen += 1;
        }
        if seen == count {
            return Ok(()); // the iterator is dropped, and with it the command and all below it
        }
    }
    Err(format!("the command ended after {seen} of {count} lines").into())
}
