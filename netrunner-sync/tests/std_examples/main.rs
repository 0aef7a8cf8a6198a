//! The calls that std's documentation of `std::process` shows, as one text that is compiled twice:
//! once with std's types, once with ours. Nothing but the `use` line differs, and both have to pass.

mod by_std;
mod by_us;
