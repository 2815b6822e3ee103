//! The real binary, end to end: exit codes, shapes of documents, and what is left in the folder afterwards.

// Tests make and read files of their own, in a fresh folder each, and print why one is skipped.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod commands;
mod guide;
mod imports;
mod inputs;
mod outputs;
mod replays;
mod runs;
mod sweeps;
mod workspace;
