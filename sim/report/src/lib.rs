//! A scenario's result as text, JSON and HTML, and its comparison with a baseline.
