//! NetRunner.
