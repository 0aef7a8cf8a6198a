//! The scriptable child. Its arguments are a script, done word by word; at the end it exits 0.
//!
//! | words | |
//! |---|---|
//! | `print T` `eprint T` `write T` | text to stdout or stderr, with a line end or (`write`) without |
//! | `spew N` `espew N` `both N` | N bytes of the pattern to stdout, stderr, or both in turns |
//! | `cat` `ecat` `count` `read-line` | stdin to stdout, to stderr, counted, or one line of it awaited |
//! | `exit N` `die SIG` `sleep S` `sleep forever` | |
//! | `ignore SIG` `default SIG` `block SIG` `on SIG N` `note SIG FILE` | `on`: exit N; `note`: append its number |
//! | `stop` `setsid` `group` `subreaper` `no-death-signal` `become ID` | about itself |
//! | `fork [ … ]` `daemon [ … ]` `wait` | a copy that runs the script and exits 0; twice, as an orphan; wait for all |
//! | `storm TOTAL CHAINS` `storm-setsid TOTAL CHAINS` | chains of processes that fork and exit, bounded; the last of each makes the file `calm` and sleeps |
//! | `thread [ … ]` `end-thread` | a second thread does the script and ends; the calling thread ends |
//! | `lock FILE` `lock-in DIR` | held until this process is gone |
//! | `touch FILE` `await FILE` `close N` `chdir DIR` | |
//! | `args …` `env` `cwd` `fds` `ids` `signals` `umask` `pid` `ppid` `pgid` `sid` `exe` | print; `args` takes all that is left |
//! | `attack PID` `attack-shepherd` | what works against the process, or against the one above: print |
//! | `strafe` `scribble` `seize` | the shepherd gets all signals that can be blocked, nonsense into its code, or is stopped as by a debugger; makes the file `refused` where that is not allowed |
//! | `read-fd N` | descriptor N to stdout |
//! | `exec PROGRAM …` | takes all that is left |
//!
//! Every puppet ends by SIGALRM after two minutes, or `alarm SECONDS`, so that no failing run leaves one for ever.

#![deny(unsafe_code)]

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netrunner_tests::script::Words;
use netrunner_tests::sys::{self, Forked, OnSignal, Waited};
use netrunner_tests::{attack, pattern, procs, wait};

/// More than any script asks for, and few enough for a machine to live through.
const MOST_FORKS: u64 = 20_000;
const MOST_CHAINS: u64 = 64;

fn main() {
    sys::alarm(wait::scaled(Duration::from_secs(120)).as_secs() as u32);
    sys::no_core_files();
    // std ignores it; ordinary programs do not.
    sys::on_signal(libc::SIGPIPE, OnSignal::Default);
    let script: Vec<OsString> = std::env::args_os().skip(1).collect();
    perform(&mut Words::new(&script));
    sys::exit_now(0);
}

fn perform(words: &mut Words<'_>) {
    while let Some(verb) = words.next_word() {
        let verb = verb.to_str().expect("verbs are UTF-8");
        let known = talk(verb, words)
            || signals(verb, words)
            || family(verb, words)
            || files(verb, words)
            || attack(verb, words)
            || tell_about_itself(verb, words);
        assert!(known, "puppet does not know `{verb}`");
    }
}

fn talk(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "print" => say(&mut io::stdout(), words.raw(verb).as_bytes(), b"\n"),
        "eprint" => say(&mut io::stderr(), words.raw(verb).as_bytes(), b"\n"),
        "write" => say(&mut io::stdout(), words.raw(verb).as_bytes(), b""),
        "spew" => spew(words.number(verb), &mut [unbuffered(io::stdout())]),
        "espew" => spew(words.number(verb), &mut [unbuffered(io::stderr())]),
        "both" => {
            spew(words.number(verb), &mut [unbuffered(io::stdout()), unbuffered(io::stderr())]);
        }
        "cat" => drop(pass_on(&mut io::stdin().lock(), &mut io::stdout().lock())),
        "ecat" => drop(pass_on(&mut io::stdin().lock(), &mut io::stderr().lock())),
        "count" => {
            let count = pass_on(&mut io::stdin().lock(), &mut io::sink());
            print(count.to_string());
        }
        "read-line" => {
            // Byte by byte, so that nothing after the line is taken.
            let mut byte = [0];
            let mut stdin = File::open("/dev/stdin").expect("open stdin once more");
            while stdin.read(&mut byte).expect("read stdin") == 1 && byte[0] != b'\n' {}
        }
        "read-fd" => {
            let number = words.number(verb);
            let mut file =
                File::open(format!("/proc/self/fd/{number}")).expect("open the descriptor");
            pass_on(&mut file, &mut io::stdout().lock());
        }
        _ => return false,
    }
    true
}

/// A stream that nobody reads any more is no reason to panic: the script goes on.
fn say(stream: &mut dyn Write, text: &[u8], end: &[u8]) {
    let _ = stream.write_all(&[text, end].concat());
    let _ = stream.flush();
}

fn print(text: impl Into<Vec<u8>>) {
    say(&mut io::stdout(), &text.into(), b"\n");
}

/// The stream without std's line buffer, which cuts each piece in two: a pipe then holds half as much.
fn unbuffered(stream: impl AsFd) -> File {
    File::from(stream.as_fd().try_clone_to_owned().expect("a copy of the stream"))
}

fn spew(len: u64, streams: &mut [File]) {
    // Not a divisor of any pipe size.
    const PIECE: u64 = 4_999;
    let mut at = 0;
    while at < len {
        let end = (at + PIECE).min(len);
        let piece: Vec<u8> = (at..end).map(pattern::byte_at).collect();
        for stream in streams.iter_mut() {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
        at = end;
    }
}

fn pass_on(from: &mut dyn Read, to: &mut dyn Write) -> u64 {
    let mut buffer = [0; 16 * 1024];
    let mut count = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return count,
            Ok(len) => {
                count += len as u64;
                if to.write_all(&buffer[..len]).and_then(|()| to.flush()).is_err() {
                    return count;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("read: {error}"),
        }
    }
}

fn signals(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "ignore" => sys::on_signal(words.signal(verb), OnSignal::Ignore),
        "default" => sys::on_signal(words.signal(verb), OnSignal::Default),
        "block" => sys::block(&[words.signal(verb)]),
        "on" => {
            let signal = words.signal(verb);
            sys::on_signal(signal, OnSignal::Exit(words.number(verb) as i32));
        }
        "note" => {
            let signal = words.signal(verb);
            let notes = OpenOptions::new()
                .append(true)
                .create(true)
                .open(words.raw(verb))
                .and_then(|file| sys::leak_copy(&file))
                .expect("open the file for notes");
            sys::on_signal(signal, OnSignal::Note(notes));
        }
        "die" => {
            let signal = words.signal(verb);
            sys::on_signal(signal, OnSignal::Default);
            sys::unblock(&[signal]);
            sys::kill(std::process::id() as i32, signal).expect("signal oneself");
            sys::pause_for_ever();
        }
        "stop" => sys::kill(std::process::id() as i32, libc::SIGSTOP).expect("stop oneself"),
        "become" => sys::become_user(words.number(verb) as u32).expect("become another user"),
        "no-death-signal" => sys::signal_on_origins_death(0).expect("ask for no signal"),
        _ => return false,
    }
    true
}

/// Whether a puppet leaves the group that it was started in. Who does is not found by NetRunner's portable form,
/// so there the tests' trees stay together: all else of them is to be as it is elsewhere.
const LEAVES: bool = !cfg!(netrunner_portable);

fn family(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "fork" => {
            let script = words.bracketed(verb);
            fork(|| perform(&mut Words::new(script)));
        }
        "daemon" => {
            let script = words.bracketed(verb);
            let between = fork(|| {
                fork(|| perform(&mut Words::new(script)));
            });
            // The orphan is one only when the process between is gone.
            while !matches!(sys::wait_any(true), Waited::Reaped(pid, _) if pid == between) {}
        }
        "wait" => while sys::wait_any(true) != Waited::NoChild {},
        "storm" => storm(words.number(verb), words.number(verb), false),
        "storm-setsid" => storm(words.number(verb), words.number(verb), true),
        "alarm" => drop(sys::alarm(words.number(verb) as u32)),
        "setsid" if LEAVES => sys::setsid().expect("setsid"),
        "group" if LEAVES => sys::own_group().expect("setpgid"),
        "setsid" | "group" => {}
        "subreaper" => sys::become_subreaper().expect("become a subreaper"),
        "thread" => {
            let script = words.bracketed(verb).to_vec();
            std::thread::spawn(move || perform(&mut Words::new(&script)));
        }
        "end-thread" => sys::end_this_thread(),
        "exec" => {
            let rest = words.remaining();
            let (program, args) = rest.split_first().expect("a program to exec");
            let error = Command::new(program).args(args).exec();
            panic!("exec {program:?}: {error}");
        }
        "exit" => sys::exit_now(words.number(verb) as i32),
        "sleep" => match words.text(verb) {
            "forever" => sys::pause_for_ever(),
            seconds => {
                std::thread::sleep(Duration::from_secs_f64(seconds.parse().expect("seconds")));
            }
        },
        _ => return false,
    }
    true
}

fn fork(script: impl FnOnce()) -> u32 {
    match sys::fork().expect("fork") {
        Forked::Origin(pid) => pid,
        Forked::Copy => {
            script();
            sys::exit_now(0);
        }
    }
}

/// Chains of processes, each of which forks the next and exits, so that whoever looks for them
/// looks at numbers that are gone. After `total` forks the last of each chain sleeps.
fn storm(total: u64, chains: u64, new_sessions: bool) {
    assert!(total <= MOST_FORKS && chains <= MOST_CHAINS, "a storm of that size is not a test");
    let forks = sys::shared_counter();
    for _ in 0..chains {
        fork(|| {
            loop {
                if new_sessions && LEAVES {
                    // The leader of a session cannot lead another one; its copy can.
                    let _ = sys::setsid();
                }
                if forks.fetch_add(1, Ordering::Relaxed) >= total {
                    drop(File::create("calm"));
                    sys::pause_for_ever();
                }
                match sys::fork() {
                    Ok(Forked::Copy) => {}
                    Ok(Forked::Origin(_)) => sys::exit_now(0),
                    Err(_no_more_processes) => sys::pause_for_ever(),
                }
            }
        });
    }
}

fn files(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "lock" => lock(&words.raw(verb).clone()),
        "lock-in" => {
            let dir = words.text(verb);
            lock(&OsString::from(format!("{dir}/{}", std::process::id())));
        }
        "touch" => drop(File::create(words.raw(verb)).expect("make the file")),
        "await" => {
            let path = words.raw(verb);
            while !std::path::Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        "close" => sys::close(words.number(verb) as i32),
        "chdir" => std::env::set_current_dir(words.raw(verb)).expect("chdir"),
        _ => return false,
    }
    true
}

fn attack(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "attack" => print(attack::works_on(words.number(verb) as u32).join(", ")),
        "attack-shepherd" => print(attack::works_on(sys::ppid()).join(", ")),
        "strafe" => harm(attack::strafe),
        "scribble" => harm(attack::scribble),
        "seize" => harm(attack::seize),
        _ => return false,
    }
    true
}

/// Does this to the shepherd.
fn harm(how: fn(u32) -> io::Result<()>) {
    if how(sys::ppid()).is_err() {
        drop(File::create("refused").expect("make the file"));
    }
}

fn lock(path: &OsString) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("open the lock file");
    // It must stay locked across an exec, and no copy of it may ever be closed here.
    sys::keep_across_exec(&file).expect("keep the lock across exec");
    sys::lock(&file).expect("take the lock");
    std::mem::forget(file);
}

fn tell_about_itself(verb: &str, words: &mut Words<'_>) -> bool {
    let me = std::process::id();
    match verb {
        "args" => words.remaining().iter().for_each(|word| print(word.as_bytes())),
        "env" => {
            let mut all: Vec<_> = std::env::vars_os().collect();
            all.sort();
            for (name, value) in all {
                print([name.as_bytes(), b"=", value.as_bytes()].concat());
            }
        }
        "cwd" => {
            print(std::env::current_dir().expect("a working directory").into_os_string().into_vec())
        }
        "exe" => print(std::env::args_os().next().unwrap_or_default().into_vec()),
        "fds" => {
            // Collected first: the printing opens nothing.
            for (number, target) in procs::descriptors(me) {
                print(format!("{number} {target}"));
            }
        }
        "ids" => tell_status(&["Uid", "Gid", "Groups", "CapEff", "NoNewPrivs"]),
        "signals" => tell_status(&["SigBlk", "SigIgn", "SigCgt"]),
        "umask" => tell_status(&["Umask"]),
        "pid" => print(me.to_string()),
        "ppid" => print(sys::ppid().to_string()),
        "pgid" => print(procs::Proc::get(me).expect("oneself").pgid.to_string()),
        "sid" => print(procs::Proc::get(me).expect("oneself").sid.to_string()),
        _ => return false,
    }
    true
}

fn tell_status(keys: &[&str]) {
    for line in procs::status_lines("self", keys) {
        print(line);
    }
}
