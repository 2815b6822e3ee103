//! Reports of results made by hand.

mod compare;
mod html;
mod json;
mod sample;
mod text;
