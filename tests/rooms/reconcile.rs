//! Facts about `reconcile`.
