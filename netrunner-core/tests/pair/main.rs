//! Both halves of the protocol as a pair: the real machines, encoders and inboxes, around a
//! simulated kernel under simulated time. What the shells do between them is played by this test.
//!
//! ```text
//!  client.rs                  world.rs                 shepherd.rs           kernel.rs
//!  Conversation ◀─ Inbox ◀─ pipe, cut anywhere ◀─ encode ◀─ Supervisor ─▶ a tree of processes
//!               ─▶ encode ─▶ pipe, cut anywhere ─▶ Inbox ─▶
//! ```

mod client;
mod cuts;
mod fuzzed;
mod kernel;
mod operations;
mod random;
mod scenes;
mod shepherd;
mod world;
