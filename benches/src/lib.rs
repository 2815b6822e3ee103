//! Benches live in `benches/`; there is no library. See ARCHITECTURE.md for what each one claims.
