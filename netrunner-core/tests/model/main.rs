//! Model checking: the real machines of client, shepherd and guardian in a small world of a kernel, a client
//! with its watcher, a guardian, a shepherd, and a child that forks and leaves its group; every order in
//! which messages, exits and kills can come, within bounds, is tried, and every state held to the promises.
//!
//! ```text
//!  client.rs                              shepherd.rs                         kernel.rs
//!  Conversation, Patience ── requests ──▶ Supervisor ── signals, reaping ──▶ a tree of processes
//!            │            ◀── events ───      ▲                                      │
//!            ▼                                │ judged, killed                       │
//!       guardian.rs: Guardian ────────────────┘ ◀─────────── adopted ────────────────┘
//! ```
//!
//! `rules.rs` says what may happen how often, `world.rs` what can happen next, `promises.rs` what must always
//! be so, and `explorer.rs` goes through it all. The flaws in `rules.rs` show that each kind of mistake is
//! found. `NETRUNNER_MODEL=deep` takes the wider bounds.

mod client;
mod explorer;
mod guardian;
mod kernel;
mod promises;
mod rules;
mod scenarios;
mod shepherd;
mod world;
