//! The protocol between a NetRunner client, its guardian and its shepherds.
//!
//! Everything here is pure: bytes in, bytes out, inputs and a [`Time`] in, actions out. No
//! descriptor, thread, clock or system call; the crates around it perform what these machines ask
//! for. That is what lets the tests step both ends as a pair, under simulated time, cut at every
//! byte.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`wire`] | how do bytes become frames, whatever the splits? |
//! | [`message`] | what can client, guardian and shepherd say? |
//! | [`spawn`] | what does a request to start a command hold? |
//! | [`client`] | which event may come now, and when is a shepherd given up? |
//! | [`supervise`] | what does a shepherd do next with its command? |
//! | [`terminal`] | who has the terminal, and what follows when a child stops? |
//! | [`guard`] | which shepherd does the guardian end, and when? |
//!
//! The crate is for NetRunner's own parts; programs use `netrunner-sync`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
pub mod client;
mod delays;
mod encoded;
mod ending;
pub mod guard;
mod ladder;
pub mod message;
pub mod namespace;
mod order;
mod placement;
mod setup;
pub mod spawn;
mod strings;
pub mod supervise;
pub mod terminal;
pub mod time;
pub mod wire;

pub use time::Time;

/// This crate's sources, for the build script that compiles the shepherd from them. The text and not its
/// place: a cached target dir may outlive the folder that it was built from.
#[doc(hidden)]
pub const SOURCES: &[(&str, &str)] = &[
    ("action.rs", include_str!("action.rs")),
    ("client.rs", include_str!("client.rs")),
    ("delays.rs", include_str!("delays.rs")),
    ("encoded.rs", include_str!("encoded.rs")),
    ("ending.rs", include_str!("ending.rs")),
    ("guard.rs", include_str!("guard.rs")),
    ("ladder.rs", include_str!("ladder.rs")),
    ("lib.rs", include_str!("lib.rs")),
    ("message.rs", include_str!("message.rs")),
    ("namespace.rs", include_str!("namespace.rs")),
    ("order.rs", include_str!("order.rs")),
    ("placement.rs", include_str!("placement.rs")),
    ("setup.rs", include_str!("setup.rs")),
    ("spawn.rs", include_str!("spawn.rs")),
    ("strings.rs", include_str!("strings.rs")),
    ("supervise.rs", include_str!("supervise.rs")),
    ("terminal.rs", include_str!("terminal.rs")),
    ("time.rs", include_str!("time.rs")),
    ("wire.rs", include_str!("wire.rs")),
];
