//! `Daemon` with servers as they are: ready by port, by line, by file and by probe, crashed and started
//! again, logged, and stopped in order.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use netrunner_sync::{Command, Daemon, DaemonState, Daemons, LogFile, Ready, Reason};
use netrunner_tests::wait::{PATIENCE, scaled, wait_until};

use crate::daemon::eager;
use crate::harness::*;

/// A port that nobody has at the moment.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    listener.local_addr().expect("its address")
}

fn redis(address: SocketAddr) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--dir", ".", "--daemonize", "no"]);
    command
}

fn nginx(address: SocketAddr) -> Command {
    let here = std::env::current_dir().expect("the directory");
    let here = here.display();
    let config = format!(
        "daemon off; pid {here}/nginx.pid; error_log stderr info; user root; worker_processes 2;\n\
         events {{}}\n\
         http {{ access_log /dev/stdout; client_body_temp_path {here}/body;\n\
         proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;\n\
         uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
         server {{ listen {address}; location / {{ return 200 served; }} }} }}\n"
    );
    fs::write("nginx.conf", config).expect("write the configuration");
    let mut command = Command::new("nginx");
    // Not in the path of every user.
    command.env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin");
    command.args(["-e", "stderr", "-p"]).arg(here.to_string()).args(["-c", "nginx.conf"]);
    command
}

/// One line of redis' protocol there and back.
#[track_caller]
fn ping(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(scaled(PATIENCE))).expect("a time limit");
    stream.write_all(b"PING\r\n").expect("ask");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("the answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(scaled(PATIENCE))).expect("a time limit");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    answer
}

/// Everything of a name in this arena.
fn named(name: &str) -> usize {
    others().iter().filter(|proc| proc.comm == name && !proc.is_zombie()).count()
}

#[test]
fn redis_is_ready_by_port_by_line_by_file_and_by_probe() {
    arena(|| {
        if lacks_programs(&["redis-server", "redis-cli"]) {
            return;
        }
        let address = free_address();
        let mut ask = Command::new("redis-cli");
        ask.args(["-p", &address.port().to_string(), "-e", "ping"]);
        let pid_file = std::env::current_dir().expect("the directory").join("redis.pid");
        for ready in [
            Ready::port(address),
            Ready::line("Ready to accept connections"),
            Ready::file(&pid_file),
            Ready::probe(ask),
        ] {
            let by_file = format!("{ready:?}").contains("redis.pid");
            let mut command = redis(address);
            command.arg("--pidfile").arg(&pid_file);
            let daemon = Daemon::builder(command).ready(ready).start().expect("start");
            daemon.wait_ready().expect("ready");
            if by_file {
                // It is written before the port is open.
                wait_until("the port", PATIENCE, || TcpStream::connect(address).is_ok());
            }
            assert_eq!(ping(address), "+PONG\r\n");
            // It obeys SIGTERM, and exits with code 0.
            assert!(daemon.stop().expect("stop").success());
            assert_eq!(named("redis-server"), 0);
        }
    });
}

#[test]
fn redis_that_is_killed_is_back_with_a_new_process_and_the_port_accepts_again() {
    arena(|| {
        if lacks_programs(&["redis-server", "redis-cli"]) {
            return;
        }
        let address = free_address();
        let builder = Daemon::builder(redis(address)).ready(Ready::port(address));
        let log = LogFile::new("redis.log");
        let daemon = builder.restart(eager()).log_file(log).start().expect("start");
        let mut before = None;
        for run in 1..=3 {
            assert!(daemon.wait_run(run, scaled(PATIENCE)).expect("ready"));
            assert_eq!(ping(address), "+PONG\r\n");
            let pid = daemon.id().expect("it runs");
            assert_ne!(before.replace(pid), Some(pid));
            signal(pid, libc::SIGKILL);
        }
        assert!(daemon.wait_run(4, scaled(PATIENCE)).expect("ready"));
        let last = daemon.health().last.expect("told");
        assert_eq!(last.status.signal(), Some(libc::SIGKILL));
        daemon.stop().expect("stop");
        let log = fs::read_to_string("redis.log").expect("the log");
        assert_eq!(log.matches("Ready to accept connections").count(), 4);
    });
}

#[test]
fn a_port_that_another_server_has_is_given_up_after_so_many_tries() {
    arena(|| {
        if lacks_programs(&["redis-server", "redis-cli"]) {
            return;
        }
        let address = free_address();
        let first = Daemon::builder(redis(address)).ready(Ready::port(address)).start();
        let first = first.expect("start");
        first.wait_ready().expect("ready");
        let builder = Daemon::builder(redis(address)).ready(Ready::line("Ready to accept"));
        let second = builder.restart(eager().give_up_after(2)).start().expect("start");
        let error = second.wait_ready().expect_err("the port is taken");
        assert!(error.is_not_ready());
        let output = error.output().expect("what it wrote");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Address already in use"), "{text}");
        let health = second.health();
        assert_eq!((health.state, health.run), (DaemonState::Over, 3));
        assert_eq!(ping(address), "+PONG\r\n");
    });
}

#[test]
fn nginx_with_its_workers_is_ready_logs_and_is_gone_with_its_handle() {
    arena(|| {
        if lacks_programs(&["nginx"]) {
            return;
        }
        let address = free_address();
        let builder = Daemon::builder(nginx(address)).ready(Ready::port(address));
        let log = LogFile::new("access.log").rotate(2_000, 50);
        let daemon = builder.restart(eager()).log_file(log).start().expect("start");
        daemon.wait_ready().expect("ready");
        for _ in 0..100 {
            assert!(get(address).ends_with("served"));
        }
        // The whole tree goes with the first process, and comes again.
        signal(daemon.id().expect("it runs"), libc::SIGKILL);
        assert!(daemon.wait_run(2, scaled(PATIENCE)).expect("ready"));
        assert!(get(address).ends_with("served"));
        let last = daemon.health().last.expect("told");
        assert!(last.leftovers.iter().all(|left| left.name == "nginx"), "{last:?}");
        drop(daemon);
        wait_until("the end of all of it", GRACE_AND_2S + Duration::from_secs(5), || {
            named("nginx") == 0
        });
        let logs = (1..=50).map(|n| format!("access.log.{n}")).chain(["access.log".to_owned()]);
        let text: String = logs.filter_map(|name| fs::read_to_string(name).ok()).collect();
        assert_eq!(text.matches("GET / HTTP/1.0").count(), 101);
        assert!(fs::exists("access.log.1").expect("look"), "nothing was rotated");
    });
}

#[test]
fn a_proxy_is_stopped_before_the_server_that_it_needs() {
    arena(|| {
        if lacks_programs(&["redis-server", "redis-cli", "nginx"]) {
            return;
        }
        let (database, proxy) = (free_address(), free_address());
        let mut daemons = Daemons::new();
        let builder = Daemon::builder(redis(database)).ready(Ready::port(database));
        daemons.push(builder.start().expect("start")).wait_ready().expect("ready");
        let builder = Daemon::builder(nginx(proxy)).ready(Ready::port(proxy));
        daemons.push(builder.start().expect("start")).wait_ready().expect("ready");
        let order = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut order = Vec::new();
                wait_until("both ends", PATIENCE, || {
                    for name in ["redis-server", "nginx"] {
                        if named(name) == 0 && !order.contains(&name) {
                            order.push(name);
                        }
                    }
                    order.len() == 2
                });
                order
            });
            // nginx opens its port before it handles SIGTERM, and may die of it.
            daemons.stop().into_iter().for_each(|status| assert!(status.is_ok(), "{status:?}"));
            watch.join().expect("no panic")
        });
        assert_eq!(order, ["nginx", "redis-server"]);
    });
}

#[test]
fn what_redis_says_at_its_end_is_the_reason() {
    arena(|| {
        if lacks_programs(&["redis-server", "redis-cli"]) {
            return;
        }
        let address = free_address();
        let mut command = redis(address);
        command.timeout(Duration::from_millis(1));
        let builder = Daemon::builder(command).ready(Ready::line("Ready to accept"));
        let daemon = builder.start().expect("start");
        assert!(daemon.wait_ready().unwrap_err().is_not_ready());
        assert_eq!(daemon.health().last.expect("told").reason, Reason::Timeout);
    });
}
