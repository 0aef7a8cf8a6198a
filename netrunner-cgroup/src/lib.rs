//! cgroup v2 for NetRunner: detection, delegation, limits, statistics and removal.
//!
//! Empty so far: commands of NetRunner are contained by process groups and subreapers.
