//! Bytes and messages: what is said arrives as it was said however it is cut, and what is not a
//! message is refused with a typed error and little memory.

mod decoders;
mod framing;
mod fuzzed;
mod malformed;
mod messages;
mod samples;
