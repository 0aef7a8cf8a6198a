//! A server while you work: started, waited for, watched, started again after a crash, gone with you.
//!
//! `cargo run --example dev_server -- DIR` serves the files of DIR on a free port by Python's web server.
//! Each Enter shows how it is; the end of the input (Ctrl-D) stops it, and so does any death of this program.

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use netrunner_sync::{Command, Daemon, Ready, Restart};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: dev_server DIR")?;
    let address = free_address()?;

    let mut server = Command::new("python3");
    server.args(["-u", "-m", "http.server", "--bind", "127.0.0.1"]);
    server.arg("--directory").arg(dir).arg(address.port().to_string());
    let server = Daemon::builder(server)
        .ready(Ready::port(address).within(Duration::from_secs(30)))
        .restart(Restart::on_failure().pause(Duration::from_millis(100)))
        .on_line(|_, line| {
            // A line that can't be shown is no reason to stop serving.
            let _ = io::stderr().write_all(&[b"server: ", line].concat());
        })
        .start()?;
    server.wait_ready()?; // the error has the server's last words
    println!("http://{address}/");

    for line in io::stdin().lines() {
        line?;
        let health = server.health();
        println!("{:?}, run {}, process {:?}", health.state, health.run, health.pid);
    }
    println!("stopped: {}", server.stop()?);
    Ok(())
}

/// A port that nobody has at the moment.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
