//! Facts about `idempotency`.
