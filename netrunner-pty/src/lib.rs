//! Pseudo-terminals for NetRunner: to open a pair, attach a child, and set sizes and modes.
//!
//! Empty so far: commands of NetRunner run on pipes and inherited streams.
