//! Facts about `attempt`.
