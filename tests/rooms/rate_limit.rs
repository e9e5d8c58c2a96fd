//! Facts about `rate_limit`.
