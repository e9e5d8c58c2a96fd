//! The `sturdy` program.
fn main() {}
