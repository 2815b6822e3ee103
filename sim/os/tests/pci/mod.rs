//! Enumeration, sizing, assignment and ACS over a fake machine.

mod recordings;
