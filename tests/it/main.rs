//! The promises of NetRunner, each shown by tests that carry its number.
//!
//! Every test runs in an arena of its own (`harness`), which counts what outlives it.

#![deny(unsafe_code)]

mod api_parity;
mod bad_input;
mod by_hand;
mod cgroups;
mod chaos;
mod command_ext;
mod credentials;
mod daemon;
mod daemon_ends;
mod daemon_error_cases;
mod daemon_output;
mod daemon_servers;
mod driver;
mod error_cases;
mod errors;
mod exhaustion;
mod extremes;
mod fallbacks;
mod faults;
mod harness;
mod harness_itself;
mod held_up;
mod jobs;
mod jobs_ends;
mod jobs_options;
mod jobs_streams;
mod jobserver;
mod on_terminals;
mod p10_bad_bytes;
mod p10_fuzzed_client;
mod p10_greedy_client;
mod p10_hostile_client;
mod p10_random_client;
mod p1_client_death;
mod p2_handle_drop;
mod p3_shepherd_death;
mod p4_leftovers;
mod p4_whole_tree;
mod p5_no_zombies;
mod p6_no_leaks;
mod p6_steady;
mod p7_arrangements;
mod p7_bulk;
mod p7_memory;
mod p7_no_lost_bytes;
mod p7_streams;
mod p8_no_hang;
mod p9_honest_outcomes;
mod p9_limits;
mod p9_one_truth;
mod p9_silence;
mod pid_namespace;
mod pid_namespace_clients;
mod pid_namespace_kills;
mod pid_namespace_making;
mod pid_namespace_terminal;
mod pipeline;
#[cfg(netrunner_portable)]
mod portable;
mod pty;
mod pty_devices;
mod pty_extremes;
mod pty_programs;
mod security;
mod shapes;
mod std_parity;
mod strange_clients;
mod terminal;
#[path = "../src/told.rs"]
mod told;
mod wait_any;
