//! Facts about `retry`.
