//! Private memory in both designs: worked examples, random lives, and what is found where there is no memory.

mod random;
mod worked;
