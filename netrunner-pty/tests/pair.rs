//! A pair as its two users see it: sizes and modes, bytes both ways, the end of either side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use netrunner_pty::{Control, Manager, Modes, Pair, WinSize, foreground, open};
use rustix::io::{Errno, FdFlags};

const SIZE: WinSize = WinSize::new(24, 80);

fn pair(modes: &Modes) -> (Manager, File) {
    let Pair { manager, subsidiary } = open(SIZE, modes).unwrap();
    (manager, File::from(subsidiary))
}

fn without_waiting(fd: impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(&fd).unwrap();
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
}

#[test]
fn the_size_is_there_from_the_start_and_follows() {
    let (manager, subsidiary) = pair(&Modes::new());
    assert_eq!(WinSize::of(&subsidiary).unwrap(), SIZE);
    manager.resize(WinSize::new(1, 65535)).unwrap();
    assert_eq!(WinSize::of(&subsidiary).unwrap(), WinSize::new(1, 65535));
    WinSize::new(7, 9).set(&subsidiary).unwrap();
    assert_eq!(manager.size().unwrap(), WinSize::new(7, 9));
}

#[test]
fn the_modes_are_there_from_the_start() {
    let (_manager, plain) = pair(&Modes::new());
    assert!(Modes::is_canonical(&plain).unwrap() && Modes::is_echoing(&plain).unwrap());
    let (manager, silent) = pair(&Modes::new().echo(false));
    assert!(Modes::is_canonical(&silent).unwrap() && !Modes::is_echoing(&manager).unwrap());
    let (_manager, at_once) = pair(&Modes::new().canonical(false));
    assert!(!Modes::is_canonical(&at_once).unwrap() && Modes::is_echoing(&at_once).unwrap());
    let (_manager, same) = pair(&Modes::of(&silent).unwrap());
    assert!(Modes::is_canonical(&same).unwrap() && !Modes::is_echoing(&same).unwrap());
}

#[test]
fn line_ends_are_shown_as_asked_for() {
    for (modes, shown) in [
        (Modes::new(), "a\r\nb\r\n"),
        (Modes::new().crlf(false), "a\nb\n"),
        (Modes::raw().crlf(true), "a\r\nb\r\n"),
    ] {
        let (mut manager, mut subsidiary) = pair(&modes);
        subsidiary.write_all(b"a\nb\n").unwrap();
        drop(subsidiary);
        let mut text = String::new();
        manager.read_to_string(&mut text).unwrap();
        assert_eq!(text, shown);
    }
}

#[test]
fn raw_bytes_go_both_ways_untouched() {
    let every: Vec<u8> = (0..=255).collect();
    let (mut manager, mut subsidiary) = pair(&Modes::raw());
    for _ in 0..8 {
        manager.write_all(&every).unwrap();
        let mut got = [0; 256];
        subsidiary.read_exact(&mut got).unwrap();
        assert_eq!(got[..], every);
        subsidiary.write_all(&every).unwrap();
        manager.read_exact(&mut got).unwrap();
        assert_eq!(got[..], every);
    }
}

/// As much as a terminal holds, written by somebody who is gone when the first byte is read.
#[test]
fn the_end_comes_after_all_that_was_written() {
    for round in 0..200 {
        let (mut manager, mut subsidiary) = pair(&Modes::raw());
        without_waiting(&subsidiary);
        let mut written = Vec::new();
        let piece: Vec<u8> = (0..997_u32).map(|n| (n % 251) as u8 + round as u8 % 4).collect();
        // It says `WouldBlock` when it is full.
        while let Ok(count) = subsidiary.write(&piece) {
            written.extend_from_slice(&piece[..count]);
        }
        assert!(written.len() > 4096, "{} bytes are less than one buffer", written.len());
        drop(subsidiary);
        let mut read = Vec::new();
        manager.read_to_end(&mut read).unwrap();
        assert!(read == written, "{} of {} bytes", read.len(), written.len());
    }
}

#[test]
fn an_end_is_an_end_of_file_again_and_again() {
    let (mut manager, subsidiary) = pair(&Modes::new());
    drop(subsidiary);
    assert_eq!(manager.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(manager.read(&mut [0; 8]).unwrap(), 0);
    // Linux keeps some for whoever might open it next, and must not wait for ever then.
    let error = manager.write_all(&[b'x'; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

/// A writer that waits for room when the last program goes.
#[test]
fn a_writer_that_waits_is_told_of_the_end() {
    let (mut manager, subsidiary) = pair(&Modes::raw());
    let writer = std::thread::spawn(move || manager.write_all(&[b'x'; 1 << 20]));
    let full = || rustix::io::ioctl_fionread(&subsidiary).unwrap();
    while full() < 4095 {
        std::thread::yield_now();
    }
    drop(subsidiary);
    assert_eq!(writer.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn the_subsidiary_ends_with_the_manager() {
    let (manager, mut subsidiary) = pair(&Modes::new());
    drop(manager);
    assert_eq!(subsidiary.read(&mut [0; 8]).unwrap(), 0);
    let error = subsidiary.write(b"x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn an_end_of_file_is_typed() {
    let (manager, mut subsidiary) = pair(&Modes::new().echo(false));
    (&manager).write_all(b"line\npart").unwrap();
    manager.send(Control::EndOfFile).unwrap();
    manager.send(Control::EndOfFile).unwrap();
    let mut text = String::new();
    subsidiary.read_to_string(&mut text).unwrap();
    assert_eq!(text, "line\npart");
}

#[test]
fn a_control_character_is_the_one_that_the_terminal_has() {
    let (manager, subsidiary) = pair(&Modes::new());
    let mut modes = rustix::termios::tcgetattr(&subsidiary).unwrap();
    modes.special_codes[rustix::termios::SpecialCodeIndex::VEOF] = 0x18;
    modes.special_codes[rustix::termios::SpecialCodeIndex::VINTR] = 0;
    rustix::termios::tcsetattr(&subsidiary, rustix::termios::OptionalActions::Now, &modes).unwrap();
    assert_eq!(Control::EndOfFile.of(&manager).unwrap(), Some(0x18));
    assert_eq!(Control::Interrupt.of(&manager).unwrap(), None);
    manager.send(Control::Interrupt).unwrap();
    manager.send(Control::EndOfFile).unwrap();
    assert_eq!((&subsidiary).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_terminal_without_a_session_has_no_foreground() {
    let (manager, _subsidiary) = pair(&Modes::new());
    assert_eq!(manager.foreground().unwrap(), None);
    let null = File::open("/dev/null").unwrap();
    assert_eq!(foreground(&null).unwrap_err().raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
}

#[test]
fn none_is_left_behind() {
    let count = || std::fs::read_dir("/dev/pts").unwrap().count();
    let before = count();
    let pairs: Vec<_> = (0..100).map(|_| pair(&Modes::new())).collect();
    for (manager, subsidiary) in &pairs {
        for fd in [manager.as_fd(), subsidiary.as_fd()] {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
    }
    assert!(count() >= 100);
    drop(pairs);
    // The other tests of this process have one or two open at a time, each.
    assert!(count() < before + 50, "{} of {before}", count());
}
