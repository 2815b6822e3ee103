//! A scenario's result as text, JSON and HTML, and its comparison with a baseline.
//!
//! Everything here is a function of a [`peerbus_scenario::ScenarioResult`] (or of two documents made from one):
//! the same result gives the same bytes. Rendering adds no number that does not follow from the result.
//! Nothing here reads files or the terminal; callers hand in text and get text back.
//!
//! Modules in reading order: [`number`] (integers to decimals), [`document`] (`peerbus.run/1`), [`json`] (its
//! text, whole or as a baseline), [`describe`] and [`summary`] (what text and HTML both say: of one thing, of
//! many), [`sweep`] (a line of JSON per point), `rows` (of tables that both show), [`text`], [`chart`] and [`html`], [`compare`],
//! [`validation`] (measured values of many scenarios).

pub mod chart;
pub mod compare;
pub mod describe;
pub mod document;
pub mod html;
pub mod json;
pub mod limits;
pub mod number;
mod orders;
mod rows;
pub mod summary;
pub mod sweep;
pub mod text;
pub mod validation;

/// Version of the tool, as written into every document.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");
