//! The `netrunner` command, tested as scripts use it: the built binary, its options, exit codes,
//! messages and reports. What the library promises is tested beside it, with the whole workspace;
//! these tests hold the command line to what it says about itself.

mod arena;
mod builds;
mod cgroup;
mod descriptors;
mod doctor;
mod generate;
mod harness;
mod jobs;
mod jobs_ends;
mod jobs_trace;
mod jobserver;
mod jobserver_builds;
mod limits;
mod options;
mod outcomes;
mod pid_namespace;
mod pid_one;
mod project;
mod ps;
mod pty;
mod recipes;
mod reports;
mod screen;
mod signals;
mod slurm;
mod systemd;
mod terminal;
mod tty;
mod usage;
