//! Facts about `collect`.
