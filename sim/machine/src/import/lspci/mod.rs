//! `lspci` listings: what `lspci -vvv`, `-xxxx`, `-t` and their kin print of a real machine, with `/proc/iomem`.
//!
//! The steps, each a module: [`source`] texts with places; [`heading`], [`region`], [`capability`], [`details`],
//! [`tree`], [`dump`] lines of their kind; [`listing`] a whole text; [`decode`] bytes of configuration space;
//! [`iomem`] ranges of addresses; [`facts`] what is known of one function.

mod capability;
mod class;
mod decode;
mod details;
mod dump;
mod facts;
mod heading;
mod iomem;
mod listing;
mod region;
mod source;
mod tree;

pub use source::Text;
